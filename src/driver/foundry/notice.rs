//! Late notices: `Server NAME successfully deleted.`, which the box prints without a line end some time after a deletion,
//! in the middle of whatever it is printing then: a prompt, an echo, a row of a table, between CR and LF.
//!
//! They are taken out of the bytes, so that what they interrupted is whole again. Bytes that may be the beginning of a
//! notice are held back until the next ones tell; at most some hundred.

const BEGINS: &[u8] = b"Server ";
const ENDS: &[u8] = b" successfully deleted.";
/// The longest name between the two; names have at most 32.
const NAME_MAX: usize = 64;

/// The filter.
#[derive(Debug, Clone, Default)]
pub(super) struct Notices {
    held: Vec<u8>,
    deleted: Vec<String>,
}

enum Fit {
    /// It is one; so long is its name.
    Whole(usize),
    Beginning,
    None,
}

fn fit(bytes: &[u8]) -> Fit {
    let Some(rest) = bytes.strip_prefix(BEGINS) else {
        return if BEGINS.starts_with(bytes) { Fit::Beginning } else { Fit::None };
    };
    let name = rest.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(rest.len());
    match &rest[name..] {
        _ if name > NAME_MAX => Fit::None,
        b"" => Fit::Beginning,
        _ if name == 0 => Fit::None,
        end if end == ENDS => Fit::Whole(name),
        end if ENDS.starts_with(end) => Fit::Beginning,
        _ => Fit::None,
    }
}

impl Notices {
    /// Passes bytes on, without notices.
    pub(super) fn pass(&mut self, bytes: &[u8], on: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(byte) = rest.first() {
            if self.held.is_empty() {
                let plain = rest.iter().position(|byte| *byte == BEGINS[0]).unwrap_or(rest.len());
                on.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
                self.held.extend(rest.first());
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            self.held.push(*byte);
            rest = &rest[1..];
            self.look(on);
        }
    }

    /// Lets go of what is no notice.
    fn look(&mut self, on: &mut Vec<u8>) {
        while !self.held.is_empty() {
            match fit(&self.held) {
                Fit::Beginning => return,
                Fit::Whole(name) => {
                    let name = &self.held[BEGINS.len()..BEGINS.len() + name];
                    self.deleted.push(String::from_utf8_lossy(name).into_owned());
                    self.held.clear();
                }
                Fit::None => {
                    let next = self.held.iter().skip(1).position(|byte| *byte == BEGINS[0]);
                    let gone = next.map_or(self.held.len(), |at| at + 1);
                    on.extend(self.held.drain(..gone));
                }
            }
        }
    }

    /// Servers whose deletion was announced since the last call.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.deleted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(pieces: &[&[u8]]) -> (String, Vec<String>) {
        let (mut notices, mut on) = (Notices::default(), Vec::new());
        for piece in pieces {
            notices.pass(piece, &mut on);
        }
        on.extend(&notices.held);
        (String::from_utf8_lossy(&on).into_owned(), notices.take())
    }

    #[test]
    fn taken_out_of_the_middle_of_anything() {
        let notice = "Server rs1.example.com successfully deleted.";
        for (before, after) in [("telnet@Server", "Iron#"), ("", "Server  Total 0"), ("port h\r", "\nend"), ("S", "S")]
        {
            let wire = format!("{before}{notice}{after}");
            for cut in 0..wire.len() {
                let (text, deleted) = passed(&[&wire.as_bytes()[..cut], &wire.as_bytes()[cut..]]);
                assert_eq!((text, deleted), (format!("{before}{after}"), vec!["rs1.example.com".to_owned()]), "{cut}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_one_is_left() {
        for text in
            ["Server a b successfully deleted.", "Server  successfully deleted.", "ServerServer", "Server rs1 succ"]
        {
            assert_eq!(passed(&[text.as_bytes()]), (text.to_owned(), vec![]));
        }
        let both = "Server Server rs1 successfully deleted.";
        assert_eq!(passed(&[both.as_bytes()]), ("Server ".to_owned(), vec!["rs1".to_owned()]));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "(Server |rs1|x| successfully deleted\\.|S| ){0,20}", cut: prop::sample::Index) {
            let cut = cut.index(text.len() + 1);
            let whole = passed(&[text.as_bytes()]);
            prop_assert_eq!(passed(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]), whole);
        }
    }
}
