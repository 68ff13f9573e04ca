//! Deadlines in order, at most one for each key: O(log n) to set, clear and take.

use std::collections::{BTreeSet, HashMap};

use crate::base::time::Time;

use super::CheckId;

/// The next wake-up of each check.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Time, CheckId)>,
    at: HashMap<CheckId, Time, ahash::RandomState>,
}

impl Timers {
    /// Wakes `id` at `at`, and no longer at any earlier set time.
    pub(super) fn set(&mut self, id: CheckId, at: Time) {
        self.clear(id);
        self.queue.insert((at, id));
        self.at.insert(id, at);
    }

    /// `id` sleeps.
    pub(super) fn clear(&mut self, id: CheckId) {
        if let Some(at) = self.at.remove(&id) {
            self.queue.remove(&(at, id));
        }
    }

    /// Takes the earliest that is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<CheckId> {
        let &(at, id) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.clear(id);
        Some(id)
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Time> {
        self.queue.first().map(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_and_one_each() {
        let mut timers = Timers::default();
        timers.set(CheckId(1), Time::from_secs(3));
        timers.set(CheckId(2), Time::from_secs(2));
        timers.set(CheckId(1), Time::from_secs(1));
        timers.set(CheckId(3), Time::from_secs(1));
        timers.clear(CheckId(3));
        assert_eq!(timers.next(), Some(Time::from_secs(1)));
        assert_eq!(timers.pop_due(Time::ZERO), None);
        assert_eq!(timers.pop_due(Time::from_secs(9)), Some(CheckId(1)));
        assert_eq!(timers.pop_due(Time::from_secs(9)), Some(CheckId(2)));
        assert_eq!((timers.pop_due(Time::from_secs(9)), timers.next()), (None, None));
    }
}
