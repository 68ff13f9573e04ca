//! What a terminal shows: bytes of a session become text as a person would see it.
//!
//! CR LF, LF, LF CR and CR CR LF end a line; a lone CR returns to its beginning; a backspace erases, which is how a pager
//! takes `--More--` away. Other control bytes and bytes beyond ASCII mean nothing on a ServerIron and are dropped or
//! shown as `?`. A late `Server NAME successfully deleted.`, which the box prints without a line end in the middle of
//! anything, is taken out wherever it stands, so that what it interrupted is whole again.

/// How a late notice begins and ends.
const NOTICE: (&str, &str) = ("Server ", " successfully deleted.");
/// The longest name between the two; names have at most 32.
const NOTICE_NAME_MAX: usize = 64;
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
    /// Up to where notices were looked for.
    searched: usize,
    /// Servers whose deletion was announced.
    deleted: Vec<String>,
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
                        self.cut_to(self.text.len() - 1);
                    }
                }
                b' '..=b'~' | b'\t' => self.put(char::from(*byte)),
                128.. => self.put('?'),
                _ => {}
            }
        }
        self.take_notices();
    }

    fn put(&mut self, shown: char) {
        if self.after_cr {
            // Back at the beginning: what follows is written over what is there.
            self.after_cr = false;
            self.cut_to(self.open_at);
        }
        self.text.push(shown);
    }

    fn cut_to(&mut self, length: usize) {
        self.text.truncate(length);
        self.searched = self.searched.min(length.saturating_sub(NOTICE.1.len()));
    }

    fn end_line(&mut self) {
        if let Some(more) = self.text[self.open_at..].rfind(MORE) {
            // A pager that did not erase itself: the line is what was written behind it, if that can be told.
            let rest = &self.text[self.open_at + more..];
            let behind = rest.find("Control-c").map_or(MORE.len(), |at| at + "Control-c".len());
            let kept = rest[behind..].trim_start().to_owned();
            self.cut_to(self.open_at);
            self.text.push_str(&kept);
        }
        self.text.push('\n');
        self.open_at = self.text.len();
    }

    fn take_notices(&mut self) {
        loop {
            let Some(at) = self.text[self.searched..].find(NOTICE.1).map(|at| at + self.searched) else { break };
            let end = at + NOTICE.1.len();
            let Some(begin) = self.text[..at].rfind(NOTICE.0) else {
                self.searched = end;
                continue;
            };
            let name = &self.text[begin + NOTICE.0.len()..at];
            if name.is_empty() || name.len() > NOTICE_NAME_MAX || name.contains(char::is_whitespace) {
                self.searched = end;
                continue;
            }
            self.deleted.push(name.to_owned());
            self.text.replace_range(begin..end, "");
            self.searched = begin.saturating_sub(NOTICE.1.len());
        }
        // The beginning of a notice may be here already.
        self.searched = self.searched.max(self.text.len().saturating_sub(NOTICE.1.len()));
        self.open_at = self.text.rfind('\n').map_or(0, |at| at + 1);
    }

    /// Everything.
    pub(super) fn all(&self) -> &str {
        &self.text
    }

    /// The line that has not ended.
    pub(super) fn open_line(&self) -> &str {
        &self.text[self.open_at..]
    }

    /// Whether a pager's line is there, waiting for a key or about to.
    pub(super) fn shows_pager(&self) -> bool {
        self.open_line().contains(MORE)
    }

    /// Forgets everything, except what was announced.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        (self.open_at, self.searched, self.after_cr) = (0, 0, false);
    }

    /// Servers whose deletion was announced since the last call.
    pub(super) fn take_deleted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.deleted)
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
        assert!(text.shows_pager());
        let n = more.len();
        text.push(format!("{}{}{} two\r\n", "\x08".repeat(n), " ".repeat(n), "\x08".repeat(n)).as_bytes());
        assert_eq!(text.all(), "one\n two\n");
        assert_eq!(shown(b"one\r\n--More--\r        \rtwo\r\n"), "one\ntwo\n");
        assert_eq!(shown(format!("one\r\n{more} two\r\n").as_bytes()), "one\ntwo\n");
    }

    #[test]
    fn a_notice_is_taken_out_of_the_middle_of_anything() {
        let notice = "Server rs1.example.com successfully deleted.";
        for (before, after) in
            [("telnet@Server", "Iron#"), ("", "telnet@ServerIron#"), ("port h", "ttp\r\nend\r\n"), ("x ", "")]
        {
            let wire = format!("{before}{notice}{after}");
            for cut in 0..wire.len() {
                let mut text = Text::default();
                text.push(&wire.as_bytes()[..cut]);
                text.push(&wire.as_bytes()[cut..]);
                assert_eq!(text.all(), format!("{before}{after}").replace("\r\n", "\n"), "{wire} cut at {cut}");
                assert_eq!(text.take_deleted(), ["rs1.example.com"]);
            }
        }
        assert_eq!(shown(b"Server a b successfully deleted."), "Server a b successfully deleted.");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_are_the_same(bytes: Vec<u8>, cut: prop::sample::Index) {
            let cut = cut.index(bytes.len() + 1);
            let mut pieces = Text::default();
            pieces.push(&bytes[..cut]);
            pieces.push(&bytes[cut..]);
            prop_assert_eq!(pieces.all(), shown(&bytes));
        }
    }
}
