//! The lines entered before, for Ctrl-P, Ctrl-N and the cursor keys.

use std::collections::VecDeque;

/// As many as the device keeps.
pub(crate) const HISTORY_MAX: usize = 20;

#[derive(Debug, Default)]
pub(crate) struct History {
    lines: VecDeque<Vec<u8>>,
    /// Which line is on the screen, counted from the newest; `None` while it is a new one.
    shown: Option<usize>,
    /// What had been typed before an old line was called back.
    draft: Vec<u8>,
}

impl History {
    /// A line was entered. The same line twice in a row is kept once.
    pub(crate) fn push(&mut self, line: &[u8]) {
        self.shown = None;
        self.draft.clear();
        if line.is_empty() || self.lines.front().is_some_and(|last| last == line) {
            return;
        }
        self.lines.truncate(HISTORY_MAX - 1);
        self.lines.push_front(line.to_vec());
    }

    /// The line before the one on the screen, which is `current`.
    pub(crate) fn older(&mut self, current: &[u8]) -> Option<Vec<u8>> {
        let next = self.shown.map_or(0, |shown| shown + 1);
        let line = self.lines.get(next)?.clone();
        if self.shown.is_none() {
            self.draft = current.to_vec();
        }
        self.shown = Some(next);
        Some(line)
    }

    /// The line after the one on the screen; behind the newest is what had been typed.
    pub(crate) fn newer(&mut self) -> Option<Vec<u8>> {
        match self.shown? {
            0 => {
                self.shown = None;
                Some(std::mem::take(&mut self.draft))
            }
            shown => {
                self.shown = Some(shown - 1);
                self.lines.get(shown - 1).cloned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_and_forth_and_the_draft_is_still_there() {
        let mut history = History::default();
        ["one", "two", "two"].iter().for_each(|line| history.push(line.as_bytes()));
        assert_eq!(history.older(b"dra").as_deref(), Some(&b"two"[..]));
        assert_eq!(history.older(b"two").as_deref(), Some(&b"one"[..]));
        assert_eq!(history.older(b"one"), None);
        assert_eq!(history.newer().as_deref(), Some(&b"two"[..]));
        assert_eq!(history.newer().as_deref(), Some(&b"dra"[..]));
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn it_is_bounded() {
        let mut history = History::default();
        (0..100).for_each(|n| history.push(format!("line {n}").as_bytes()));
        let mut seen = 0;
        while history.older(b"").is_some() {
            seen += 1;
        }
        assert_eq!(seen, HISTORY_MAX);
    }
}
