//! What the terminal has to show, on its way out, and the faults that strike it there.

use crate::quirk::{Quirk, Quirks};
use crate::time::Time;

/// What becomes of a session after so many bytes of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lasts,
    FallsSilent { left: usize },
    IsCut { left: usize },
}

/// Bytes for the screen.
#[derive(Debug)]
pub(crate) struct Outlet {
    waiting: Vec<u8>,
    /// So many of them are gone already.
    gone: usize,
    /// Not before this.
    ready_at: Time,
    fate: Fate,
}

impl Outlet {
    pub(crate) fn new(quirks: &Quirks, now: Time) -> Self {
        let bytes = |quirk| usize::try_from(quirks.number(quirk)).unwrap_or(usize::MAX);
        let fate = if quirks.fires(Quirk::DisconnectAfter, now) {
            Fate::IsCut { left: bytes(Quirk::DisconnectAfter) }
        } else if quirks.fires(Quirk::HalfOpen, now) {
            Fate::FallsSilent { left: bytes(Quirk::HalfOpen) }
        } else {
            Fate::Lasts
        };
        Self { waiting: Vec::new(), gone: 0, ready_at: now, fate }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() - self.gone
    }

    /// True once a half-open session shows nothing any more.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.fate, Fate::FallsSilent { left: 0 })
    }

    /// True once the connection is to be cut, whatever else waits.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.fate, Fate::IsCut { left: 0 })
    }

    /// Draws something.
    pub(crate) fn write(&mut self, quirks: &Quirks, now: Time, draw: impl FnOnce(&mut Vec<u8>)) {
        let was_empty = self.len() == 0;
        draw(&mut self.waiting);
        if self.is_silent() || self.is_cut() {
            self.waiting.clear();
        } else if was_empty && self.len() > 0 && quirks.fires(Quirk::SlowOutput, now) {
            self.ready_at = now + quirks.span(Quirk::SlowOutput);
        }
    }

    /// When there is something to take.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        (self.len() > 0).then_some(self.ready_at)
    }

    /// Takes what may go out now.
    pub(crate) fn take(&mut self, quirks: &Quirks, now: Time) -> Vec<u8> {
        if self.len() == 0 || now < self.ready_at {
            return Vec::new();
        }
        let mut out = if quirks.is_on(Quirk::ByteWiseOutput, now) {
            self.ready_at = now + quirks.span(Quirk::ByteWiseOutput);
            self.gone += 1;
            vec![self.waiting[self.gone - 1]]
        } else {
            let mut all = std::mem::take(&mut self.waiting);
            all.drain(..std::mem::take(&mut self.gone));
            all
        };
        if let Fate::FallsSilent { left } | Fate::IsCut { left } = &mut self.fate {
            out.truncate(*left);
            *left -= out.len();
        }
        if self.gone == self.waiting.len() || self.is_silent() || self.is_cut() {
            self.waiting.clear();
            self.gone = 0;
        }
        out
    }
}
