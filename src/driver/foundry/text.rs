//! What a terminal shows: bytes of a session become text as a person would see it.
//!
//! CR LF, LF, LF CR and CR CR LF end a line; a lone CR returns to its beginning; a backspace erases, which is how a pager
//! takes `--More--` away. Other control bytes and bytes beyond ASCII mean nothing on a ServerIron and are dropped or
//! shown as `?`.

/// What a pager writes.
const MORE: &str = "--More--";

/// Text so far. The last line is open until a line end comes.
#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    text: String,
    /// Where the open line begins.
    open_at: usize,
    /// A CR came, and nothing since that says what it was for.
    after_cr: bool,
}

impl Text {
    /// Takes bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.after_cr = false;
                    self.end_line();
                }
                b'\r' => self.after_cr = true,
                8 | 127 => {
                    self.after_cr = false;
                    if self.text.len() > self.open_at {
                        self.text.pop();
                    }
                }
                b' '..=b'~' | b'\t' => self.put(char::from(*byte)),
                128.. => self.put('?'),
                _ => {}
            }
        }
    }

    fn put(&mut self, shown: char) {
        if self.after_cr {
            // Back at the beginning: what follows is written over what is there.
            self.after_cr = false;
            self.text.truncate(self.open_at);
        }
        self.text.push(shown);
    }

    fn end_line(&mut self) {
        if let Some(more) = self.text[self.open_at..].rfind(MORE) {
            // A pager that did not erase itself: the line is what was written behind it, if that can be told.
            let rest = &self.text[self.open_at + more..];
            let behind = rest.find("Control-c").map_or(MORE.len(), |at| at + "Control-c".len());
            let kept = rest[behind..].trim_start().to_owned();
            self.text.truncate(self.open_at);
            self.text.push_str(&kept);
        }
        self.text.push('\n');
        self.open_at = self.text.len();
    }

    /// Everything.
    pub(super) fn all(&self) -> &str {
        &self.text
    }

    /// The line that has not ended.
    pub(super) fn open_line(&self) -> &str {
        &self.text[self.open_at..]
    }

    /// Where a pager's line begins that waits for a key, or is about to.
    pub(super) fn pager_at(&self) -> Option<usize> {
        self.open_line().contains(MORE).then_some(self.open_at)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Text::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(bytes: &[u8]) -> String {
        let mut text = Text::default();
        text.push(bytes);
        text.all().to_owned()
    }

    #[test]
    fn line_ends() {
        assert_eq!(shown(b"a\r\nb\nc\n\rd\r\r\ne"), "a\nb\nc\nd\ne");
        assert_eq!(shown(b"abc\rxy"), "xy");
        assert_eq!(shown(b"abc\r\0\n"), "abc\n");
    }

    #[test]
    fn bytes_that_are_not_text() {
        assert_eq!(shown(b"a\x07\x1b\xe9\tb\x00"), "a?\tb");
    }

    #[test]
    fn a_pager_erases_itself() {
        let more = "--More--, next page: Space, next line: Return key, quit: Control-c";
        let mut text = Text::default();
        text.push(b"one\r\n");
        text.push(more.as_bytes());
        assert_eq!(text.pager_at(), Some(4));
        let n = more.len();
        text.push(format!("{}{}{} two\r\n", "\x08".repeat(n), " ".repeat(n), "\x08".repeat(n)).as_bytes());
        assert_eq!(text.all(), "one\n two\n");
        assert_eq!(shown(b"one\r\n--More--\r        \rtwo\r\n"), "one\ntwo\n");
        assert_eq!(shown(format!("one\r\n{more} two\r\n").as_bytes()), "one\ntwo\n");
    }

    fn in_two_pieces(bytes: &[u8], cut: usize) -> String {
        let mut pieces = Text::default();
        pieces.push(&bytes[..cut]);
        pieces.push(&bytes[cut..]);
        pieces.all().to_owned()
    }

    #[test]
    fn a_carriage_return_before_a_pagers_blanks_is_the_same_in_two_pieces() {
        // Found once by the property below.
        let bytes = [&[b' '; 24][..], b"\0\0\0\0\x0b\0\r "].concat();
        for cut in 0..=bytes.len() {
            assert_eq!(in_two_pieces(&bytes, cut), shown(&bytes), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_the_same(bytes: Vec<u8>, cut: prop::sample::Index) {
            prop_assert_eq!(in_two_pieces(&bytes, cut.index(bytes.len() + 1)), shown(&bytes));
        }
    }
}
