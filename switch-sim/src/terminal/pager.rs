//! Long answers, a page at a time.

use std::collections::VecDeque;

use super::keys::Key;

/// What comes after the last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// A new prompt.
    Prompt,
    /// The prompt and the line that was being typed, after `?`.
    Draft,
}

/// The lines of an answer that are still to be shown.
#[derive(Debug)]
pub(crate) struct Pager {
    lines: VecDeque<String>,
    pub(crate) after: After,
}

/// What a key at the pager's line does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Lines(usize),
    Quit,
    Nothing,
}

impl Pager {
    pub(crate) fn new(lines: Vec<String>, after: After) -> Self {
        Self { lines: lines.into(), after }
    }

    /// Shows up to so many lines, and the pager's line if more are left. True when all were shown.
    pub(crate) fn show(&mut self, lines: usize, more: &str, screen: &mut Vec<u8>) -> bool {
        for line in self.lines.drain(..lines.min(self.lines.len())) {
            screen.extend_from_slice(line.as_bytes());
            screen.extend_from_slice(b"\r\n");
        }
        if !self.lines.is_empty() {
            screen.extend_from_slice(more.as_bytes());
        }
        self.lines.is_empty()
    }

    pub(crate) fn turn(key: Key, page_lines: usize) -> Turn {
        match key {
            Key::Char(b' ') => Turn::Lines(page_lines),
            Key::Enter => Turn::Lines(1),
            Key::Interrupt | Key::Char(b'q' | b'Q') => Turn::Quit,
            _ => Turn::Nothing,
        }
    }

    /// Takes the pager's line off the screen: backspaces, spaces, backspaces.
    pub(crate) fn erase(more: &str, screen: &mut Vec<u8>) {
        for byte in [0x08, b' ', 0x08] {
            screen.extend(std::iter::repeat_n(byte, more.chars().count()));
        }
    }
}
