//! The line being typed: text, cursor, and what an edit makes the screen do.
//!
//! Every edit is one of two moves, [`Line::splice`] and [`Line::go`], and both draw with nothing but characters,
//! spaces and backspaces: a device does not ask what terminal it talks to.

use std::ops::Range;

use super::keys::Key;

/// A longer line is refused whole: a `bind` line of four pairs of 32-character names has 200 characters.
pub const LINE_MAX: usize = 1024;

const BELL: u8 = 0x07;
const BACKSPACE: u8 = 0x08;

/// How typed characters appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    Plain,
    Stars,
    Nothing,
}

/// A line with a cursor in it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Line {
    text: Vec<u8>,
    at: usize,
    too_long: bool,
}

/// A complete line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    Text(String),
    TooLong,
}

impl Line {
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text before the cursor.
    pub(crate) fn before(&self) -> &[u8] {
        &self.text[..self.at]
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// Ends the line. Bytes that are no UTF-8 come out as U+FFFD, which no command knows.
    pub(crate) fn enter(&mut self) -> Entered {
        let line = std::mem::take(self);
        if line.too_long { Entered::TooLong } else { Entered::Text(String::from_utf8_lossy(&line.text).into_owned()) }
    }

    /// Draws the line anew behind a prompt.
    pub(crate) fn redraw(&self, looks: Looks, screen: &mut Vec<u8>) {
        show(&self.text, looks, screen);
        back(self.text.len() - self.at, looks, screen);
    }

    /// Puts text where the cursor is.
    pub(crate) fn insert(&mut self, text: &[u8], looks: Looks, screen: &mut Vec<u8>) {
        if self.text.len() + text.len() > LINE_MAX {
            if !self.too_long {
                screen.push(BELL);
            }
            self.too_long = true;
            return;
        }
        self.splice(self.at..self.at, text, looks, screen);
    }

    /// Replaces the whole line.
    pub(crate) fn replace(&mut self, text: &[u8], looks: Looks, screen: &mut Vec<u8>) {
        self.too_long = false;
        self.splice(0..self.text.len(), text, looks, screen);
    }

    /// Applies an editing key; other keys do nothing.
    pub(crate) fn edit(&mut self, key: Key, looks: Looks, screen: &mut Vec<u8>) {
        let (at, end) = (self.at, self.text.len());
        match key {
            Key::Char(byte) => self.insert(&[byte], looks, screen),
            Key::EraseBack => self.splice(at.saturating_sub(1)..at, b"", looks, screen),
            Key::EraseHere => self.splice(at..end.min(at + 1), b"", looks, screen),
            Key::EraseToEnd => self.splice(at..end, b"", looks, screen),
            Key::EraseToStart => self.splice(0..at, b"", looks, screen),
            Key::EraseWord => self.splice(self.word_start()..at, b"", looks, screen),
            Key::Left => self.go(at.saturating_sub(1), looks, screen),
            Key::Right => self.go(end.min(at + 1), looks, screen),
            Key::ToStart => self.go(0, looks, screen),
            Key::ToEnd => self.go(end, looks, screen),
            _ => {}
        }
    }

    fn word_start(&self) -> usize {
        let before = self.before();
        let word = before.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
        before[..word].iter().rposition(|byte| *byte == b' ').map_or(0, |space| space + 1)
    }

    fn splice(&mut self, range: Range<usize>, new: &[u8], looks: Looks, screen: &mut Vec<u8>) {
        let shorter = range.len().saturating_sub(new.len());
        // A line that overflowed is refused until something is taken away from it.
        self.too_long &= range.is_empty();
        self.go(range.start, looks, screen);
        let cursor = range.start + new.len();
        self.text.splice(range, new.iter().copied());
        show(&self.text[self.at..], looks, screen);
        if looks != Looks::Nothing {
            screen.extend(std::iter::repeat_n(b' ', shorter));
        }
        self.at = cursor;
        back(self.text.len() - cursor + shorter, looks, screen);
    }

    fn go(&mut self, to: usize, looks: Looks, screen: &mut Vec<u8>) {
        back(self.at.saturating_sub(to), looks, screen);
        if to > self.at {
            show(&self.text[self.at..to], looks, screen);
        }
        self.at = to;
    }
}

fn show(text: &[u8], looks: Looks, screen: &mut Vec<u8>) {
    match looks {
        Looks::Plain => screen.extend_from_slice(text),
        Looks::Stars => screen.extend(text.iter().map(|_| b'*')),
        Looks::Nothing => {}
    }
}

fn back(steps: usize, looks: Looks, screen: &mut Vec<u8>) {
    if looks != Looks::Nothing {
        screen.extend(std::iter::repeat_n(BACKSPACE, steps));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a terminal shows: the characters, and where its cursor is.
    fn seen(screen: &[u8]) -> (String, usize) {
        let (mut cells, mut at) = (Vec::new(), 0);
        for &byte in screen {
            match byte {
                BELL => {}
                BACKSPACE => at -= 1,
                _ => {
                    if at == cells.len() {
                        cells.push(byte);
                    }
                    cells[at] = byte;
                    at += 1;
                }
            }
        }
        (String::from_utf8(cells).expect("ASCII was typed").trim_end().to_owned(), at)
    }

    fn typed(keys: &[Key]) -> (Line, Vec<u8>) {
        let (mut line, mut screen) = (Line::default(), Vec::new());
        keys.iter().for_each(|key| line.edit(*key, Looks::Plain, &mut screen));
        (line, screen)
    }

    fn chars(text: &str) -> Vec<Key> {
        text.bytes().map(Key::Char).collect()
    }

    #[test]
    fn a_line_that_is_only_typed_is_echoed_as_it_is() {
        let (mut line, screen) = typed(&chars("show version"));
        assert_eq!(screen, b"show version");
        assert_eq!(line.enter(), Entered::Text("show version".into()));
    }

    #[test]
    fn an_insertion_in_the_middle_and_a_word_less() {
        let mut keys = chars("sow version now");
        keys.extend([Key::ToStart, Key::Right, Key::Char(b'h'), Key::ToEnd, Key::EraseWord, Key::EraseBack]);
        let (mut line, screen) = typed(&keys);
        assert_eq!(seen(&screen), ("show version".into(), 12));
        assert_eq!(line.enter(), Entered::Text("show version".into()));
    }

    #[test]
    fn secrets_do_not_show() {
        let (mut line, mut screen) = (Line::default(), Vec::new());
        for key in chars("abc").into_iter().chain([Key::EraseBack, Key::Left, Key::Char(b'x')]) {
            line.edit(key, Looks::Nothing, &mut screen);
        }
        assert_eq!(screen, b"");
        assert_eq!(line.enter(), Entered::Text("axb".into()));
    }

    #[test]
    fn a_line_too_long_is_refused_until_it_is_shortened() {
        let (mut line, mut screen) = (Line::default(), Vec::new());
        (0..10 * LINE_MAX).for_each(|_| line.edit(Key::Char(b'x'), Looks::Plain, &mut screen));
        assert_eq!(screen.len(), LINE_MAX + 1, "the line and one bell");
        assert_eq!(line.clone().enter(), Entered::TooLong);
        line.edit(Key::EraseBack, Looks::Plain, &mut screen);
        assert_eq!(line.enter(), Entered::Text("x".repeat(LINE_MAX - 1)));
    }

    fn any_key() -> impl Strategy<Value = Key> {
        prop_oneof![
            8 => (b' '..0x7f).prop_map(Key::Char),
            1 => Just(Key::EraseBack), 1 => Just(Key::EraseHere), 1 => Just(Key::EraseWord),
            1 => Just(Key::Left), 1 => Just(Key::Right), 1 => Just(Key::ToStart), 1 => Just(Key::ToEnd),
            1 => Just(Key::EraseToEnd), 1 => Just(Key::EraseToStart),
        ]
    }

    proptest! {
        #[test]
        fn the_screen_shows_the_line(keys in prop::collection::vec(any_key(), 0..200)) {
            let (line, screen) = typed(&keys);
            let (text, at) = seen(&screen);
            let line_text = String::from_utf8_lossy(line.bytes());
            prop_assert_eq!(text, line_text.trim_end());
            prop_assert_eq!(at, line.before().len());
        }
    }
}
