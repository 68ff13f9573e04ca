//! Late notices: `Server NAME successfully deleted.`, which the box prints without a line end some time after a deletion,
//! in the middle of whatever it is printing then: a prompt, an echo, a row of a table, between CR and LF, another notice.
//!
//! They are taken out of the bytes, so that what they interrupted is whole again. Bytes that may be the beginning of a
//! notice are held back until the next ones tell; at most some hundred.

const BEGINS: &[u8] = b"Server ";
const ENDS: &[u8] = b" successfully deleted.";
/// The longest name between the two; names have at most 32.
const NAME_MAX: usize = 64;

/// So many beginnings are remembered: some notices in one another.
const BEGINNINGS_MAX: usize = 8;
/// The most that is held back.
const HELD_MAX: usize = 512;

/// The filter.
#[derive(Debug, Clone, Default)]
pub(super) struct Notices {
    /// What may be the beginning of a notice, or of one that others interrupt.
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

/// Where the first notice may begin that is not over yet; others may interrupt it, and one another.
fn first_beginning(bytes: &[u8]) -> usize {
    let mut beginnings = vec![bytes.len()];
    for at in (0..bytes.len()).rev().filter(|at| bytes[*at] == BEGINS[0]) {
        if beginnings.len() > BEGINNINGS_MAX {
            break;
        }
        if beginnings.iter().any(|end| matches!(fit(&bytes[at..*end]), Fit::Beginning)) {
            beginnings.push(at);
        }
    }
    beginnings.pop().unwrap_or_default()
}

impl Notices {
    /// Passes bytes on, without notices.
    pub(super) fn pass(&mut self, bytes: &[u8], on: &mut Vec<u8>) {
        for byte in bytes {
            if self.held.is_empty() && *byte != BEGINS[0] {
                on.push(*byte);
                continue;
            }
            self.held.push(*byte);
            self.take_whole();
            let gone = if self.held.len() > HELD_MAX { HELD_MAX } else { first_beginning(&self.held) };
            on.extend(self.held.drain(..gone));
        }
    }

    /// Takes the notice out that has just become whole, if one has.
    fn take_whole(&mut self) {
        for at in (0..self.held.len()).rev().filter(|at| self.held[*at] == BEGINS[0]) {
            if let Fit::Whole(name) = fit(&self.held[at..]) {
                let name = &self.held[at + BEGINS.len()..][..name];
                self.deleted.push(String::from_utf8_lossy(name).into_owned());
                self.held.truncate(at);
                return;
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
        fn taken_out_of_one_another(places: Vec<prop::sample::Index>) {
            let prompt = "telnet@ServerIron(config-rs-acm-r-10.0.0.11)#";
            let mut wire = prompt.to_owned();
            let names: Vec<String> = places.iter().take(5).enumerate().map(|(n, _)| format!("rS{n}")).collect();
            for (name, place) in names.iter().zip(&places) {
                wire.insert_str(place.index(wire.len() + 1), &format!("Server {name} successfully deleted."));
            }
            let (text, mut deleted) = passed(&[wire.as_bytes()]);
            deleted.sort();
            prop_assert_eq!((text, deleted), (prompt.to_owned(), names), "{}", wire);
        }

        #[test]
        fn pieces_do_not_matter(text in "(Server |rs1|x| successfully deleted\\.|S| ){0,20}", cut: prop::sample::Index) {
            let cut = cut.index(text.len() + 1);
            let whole = passed(&[text.as_bytes()]);
            prop_assert_eq!(passed(&[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]), whole);
        }
    }
}
