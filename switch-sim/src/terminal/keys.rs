//! Bytes as keys: control characters, the escape sequences of cursor keys, and the line ends of every client.
//!
//! A client may end its lines with CR LF, CR NUL, CR or LF. CR LF is one Enter, unless the device is so old that CR
//! and LF are each an Enter.

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A character: printable ASCII, or any byte above it.
    Char(u8),
    /// The line is complete.
    Enter,
    /// Tab.
    Complete,
    /// Backspace and DEL.
    EraseBack,
    /// Ctrl-D and the Delete key.
    EraseHere,
    /// Ctrl-K.
    EraseToEnd,
    /// Ctrl-U and Ctrl-X.
    EraseToStart,
    /// Ctrl-W.
    EraseWord,
    /// Ctrl-B and the cursor key.
    Left,
    /// Ctrl-F and the cursor key.
    Right,
    /// Ctrl-A and Home.
    ToStart,
    /// Ctrl-E and End.
    ToEnd,
    /// Ctrl-P and the cursor key: the line before.
    Older,
    /// Ctrl-N and the cursor key: the line after.
    Newer,
    /// Ctrl-L and Ctrl-R: the line again.
    Redraw,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Leave,
}

/// How CR LF counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// CR LF, CR NUL, CR and LF are one Enter.
    One,
    /// CR and LF are each one.
    Each,
}

/// Longer sequences are not for us.
const SEQUENCE_MAX: u8 = 16;

/// Recognises keys in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Keys {
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Plain,
    AfterCr,
    Escape,
    /// Behind `ESC [` or `ESC O`: the first parameter and how much was seen.
    Sequence {
        parameter: u8,
        seen: u8,
    },
}

impl Keys {
    /// Takes a byte; a key may be complete with it.
    pub(super) fn take(&mut self, byte: u8, ends: LineEnds) -> Option<Key> {
        let state = std::mem::take(&mut self.state);
        match state {
            State::AfterCr if byte == b'\n' && ends == LineEnds::One => None,
            State::Escape => self.escape(byte, ends),
            // A control character ends the sequence that it interrupts.
            State::Sequence { parameter, seen } if byte >= 0x20 => self.sequence(byte, parameter, seen),
            _ => self.plain(byte),
        }
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        Some(match byte {
            b'\r' => {
                self.state = State::AfterCr;
                Key::Enter
            }
            b'\n' => Key::Enter,
            0x1b => {
                self.state = State::Escape;
                return None;
            }
            b'\t' => Key::Complete,
            0x08 | 0x7f => Key::EraseBack,
            0x01 => Key::ToStart,
            0x02 => Key::Left,
            0x03 => Key::Interrupt,
            0x04 => Key::EraseHere,
            0x05 => Key::ToEnd,
            0x06 => Key::Right,
            0x0b => Key::EraseToEnd,
            0x0c | 0x12 => Key::Redraw,
            0x0e => Key::Newer,
            0x10 => Key::Older,
            0x15 | 0x18 => Key::EraseToStart,
            0x17 => Key::EraseWord,
            0x1a => Key::Leave,
            // NUL is padding (CR NUL of RFC 854 among it); the rest means nothing here.
            0x00..0x20 => return None,
            _ => Key::Char(byte),
        })
    }

    fn escape(&mut self, byte: u8, ends: LineEnds) -> Option<Key> {
        match byte {
            b'[' | b'O' => {
                self.state = State::Sequence { parameter: 0, seen: 0 };
                None
            }
            0x00..0x20 => self.take(byte, ends),
            _ => None,
        }
    }

    fn sequence(&mut self, byte: u8, parameter: u8, seen: u8) -> Option<Key> {
        match byte {
            b'A' => Some(Key::Older),
            b'B' => Some(Key::Newer),
            b'C' => Some(Key::Right),
            b'D' => Some(Key::Left),
            b'H' => Some(Key::ToStart),
            b'F' => Some(Key::ToEnd),
            b'~' => match parameter {
                b'1' | b'7' => Some(Key::ToStart),
                b'3' => Some(Key::EraseHere),
                b'4' | b'8' => Some(Key::ToEnd),
                _ => None,
            },
            0x20..=0x3f if seen < SEQUENCE_MAX => {
                self.state = State::Sequence { parameter: if seen == 0 { byte } else { 0 }, seen: seen + 1 };
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8], ends: LineEnds) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.iter().filter_map(|byte| keys.take(*byte, ends)).collect()
    }

    fn enters(bytes: &[u8], ends: LineEnds) -> usize {
        keys(bytes, ends).iter().filter(|key| **key == Key::Enter).count()
    }

    #[test]
    fn every_line_end_is_one_enter() {
        for end in ["\r\n", "\r\0", "\r", "\n"] {
            assert_eq!(enters(format!("a{end}b{end}").as_bytes(), LineEnds::One), 2, "{end:?}");
            assert_eq!(enters(format!("{end}{end}{end}").as_bytes(), LineEnds::One), 3, "{end:?}");
        }
        assert_eq!(enters(b"\r\n\n\r", LineEnds::One), 3);
    }

    #[test]
    fn on_an_old_box_each_counts() {
        assert_eq!(enters(b"a\r\nb\r\0c\rd\n", LineEnds::Each), 5);
    }

    #[test]
    fn cursor_keys_in_both_spellings() {
        let expected = [Key::Older, Key::Newer, Key::Right, Key::Left];
        assert_eq!(keys(b"\x1b[A\x1b[B\x1b[C\x1b[D", LineEnds::One), expected);
        assert_eq!(keys(b"\x1bOA\x1bOB\x1bOC\x1bOD", LineEnds::One), expected);
        assert_eq!(
            keys(b"\x1b[1~\x1b[4~\x1b[3~\x1b[15~\x1b[1;5C", LineEnds::One),
            [Key::ToStart, Key::ToEnd, Key::EraseHere, Key::Right]
        );
    }

    #[test]
    fn a_broken_sequence_costs_no_line_end() {
        assert_eq!(keys(b"\x1b\ra", LineEnds::One), [Key::Enter, Key::Char(b'a')]);
        assert_eq!(keys(b"\x1b[12\ra", LineEnds::One), [Key::Enter, Key::Char(b'a')]);
        assert_eq!(keys(b"\x1b\x1b[A", LineEnds::One), [Key::Older]);
        assert_eq!(keys(b"\x1b[\xffx", LineEnds::One), [Key::Char(b'x')]);
    }
}
