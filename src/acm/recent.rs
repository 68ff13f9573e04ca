//! `Recent`: the last lines of a conversation with a switch, for whoever has to explain what went wrong.
//!
//! A driver that was given one (in its [`SwitchProfile`](super::connect::SwitchProfile)) adds each line it sends and
//! receives, secrets masked. Who made it takes the lines when something failed. Not a record: it forgets the oldest.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Lines kept; beyond, the oldest go.
pub const LINES_MAX: usize = 200;
/// Characters kept of a line; beyond, it ends with `…`.
pub const LINE_MAX: usize = 300;

/// The last lines. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Recent(Arc<Mutex<VecDeque<String>>>);

impl Recent {
    /// Adds a line, without its end and without secrets.
    pub fn push(&self, line: impl AsRef<str>) {
        let line = line.as_ref();
        let mut kept: String = line.chars().take(LINE_MAX).collect();
        if kept.len() < line.len() {
            kept.push('…');
        }
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(kept);
    }

    /// Takes what is there, the oldest first.
    pub fn take(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

/// The same only if they share their lines.
impl PartialEq for Recent {
    fn eq(&self, other: &Recent) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Recent {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_both_ways() {
        let recent = Recent::default();
        let other = recent.clone();
        for n in 0..LINES_MAX + 5 {
            other.push(format!("line {n}"));
        }
        other.push("é".repeat(LINE_MAX + 1));
        let lines = recent.take();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES_MAX, "line 6"));
        assert_eq!(lines[LINES_MAX - 1].chars().count(), LINE_MAX + 1);
        assert!(recent.take().is_empty());
    }
}
