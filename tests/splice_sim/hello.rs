//! TLS client hellos that say in themselves how they were made, so that a server can check every byte. Written and read
//! here, not with the plane's reader. Behind a hello both sides go on in plain HTTP: whatever it is, it must pass as it is.

use super::segment::be32;

/// The names a hello may ask for; the last is none that TLS would have.
pub(crate) const NAMES: [&str; 6] = ["default", "shop", "images", "gone", "", "a b"];

/// Where a hello says how it was made: in its random, behind record header, message header and version.
const SAYS: usize = 5 + 4 + 2;

/// A client hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) client: u32,
    /// Which of [`NAMES`]; the empty one: it names no server.
    pub(crate) name: usize,
    /// Bytes of an extension that means nothing.
    pub(crate) padding: usize,
    /// How much of it one record holds; at least what is before its random ends.
    pub(crate) record: usize,
}

fn prefixed(data: &[u8]) -> Vec<u8> {
    [&(data.len() as u16).to_be_bytes()[..], data].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &prefixed(data)].concat()
}

impl Hello {
    /// The server it asks for.
    pub(crate) fn name(&self) -> &'static str {
        NAMES[self.name]
    }

    /// As it is on the wire.
    pub(crate) fn write(&self) -> Vec<u8> {
        let name = format!("{}.example", self.name());
        let sni = extension(0, &prefixed(&[&[0][..], &prefixed(name.as_bytes())].concat()));
        let noise: Vec<u8> =
            (0..self.padding).map(|at| (at as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[0]).collect();
        let named = if self.name().is_empty() { vec![] } else { sni };
        let extensions = [named, extension(21, &noise)].concat();
        let mut body = vec![3, 3];
        for number in [self.client, self.name as u32, self.padding as u32, self.record as u32] {
            body.extend(number.to_be_bytes());
        }
        body.extend([7; 16]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend(prefixed(&extensions));
        let [_, a, b, c] = (body.len() as u32).to_be_bytes();
        let message = [&[1, a, b, c], &body[..]].concat();
        message.chunks(self.record).flat_map(|piece| [&[22, 3, 1][..], &prefixed(piece)].concat()).collect()
    }

    /// Reads one: which, and how many bytes it is, once all of it has come.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Hello, usize)>, String> {
        if bytes.len() < SAYS + 16 {
            return Ok(None);
        }
        let says = |n: usize| be32(bytes, SAYS + 4 * n) as usize;
        let hello = Hello { client: says(0) as u32, name: says(1), padding: says(2), record: says(3) };
        if hello.name >= NAMES.len() || hello.padding > 1 << 14 || !(SAYS + 16..1 << 14).contains(&hello.record) {
            return Err(format!("a hello that nobody said: {hello:?}"));
        }
        let said = hello.write();
        match bytes.get(..said.len()) {
            None => Ok(None),
            Some(heard) if heard == said => Ok(Some((hello, said.len()))),
            Some(_) => Err(format!("{hello:?} is not what came")),
        }
    }
}
