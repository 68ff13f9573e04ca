//! Which rolls an instance has been through, so that a repeated command changes nothing.

use std::collections::VecDeque;

use crate::base::time::Time;
use crate::beacon::message::Phase;
use crate::beacon::words::Words;

/// Rolls that are remembered after they are over. At the bound the oldest is forgotten: whoever still resumes it would
/// restart the instance once more.
const REMEMBERED: usize = 8;

/// A roll and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roll {
    /// Its number.
    pub(super) id: u64,
    /// How far it is.
    pub(super) phase: Phase,
    /// Since when.
    pub(super) since: Time,
    /// Why it failed.
    pub(super) why: Option<Words>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Rolls {
    under_way: Option<Roll>,
    over: VecDeque<Roll>,
}

impl Rolls {
    /// Begins a roll. False, and nothing is changed, if it was begun before or another one is under way.
    pub(super) fn begin(&mut self, id: u64, now: Time) -> bool {
        if self.under_way.is_some() || self.find(id).is_some() {
            return false;
        }
        self.under_way = Some(Roll { id, phase: Phase::Draining, since: now, why: None });
        true
    }

    /// The roll under way, if there is one, has come to this phase.
    pub(super) fn come_to(&mut self, phase: Phase, now: Time) {
        if let Some(roll) = self.under_way.as_mut().filter(|roll| roll.phase != phase) {
            (roll.phase, roll.since) = (phase, now);
        }
        if phase.is_over() {
            self.close();
        }
    }

    /// The roll under way, if there is one, has failed.
    pub(super) fn fail(&mut self, why: &Words, now: Time) {
        if let Some(roll) = &mut self.under_way {
            roll.why = Some(why.clone());
        }
        self.come_to(Phase::Failed, now);
    }

    fn close(&mut self) {
        if self.over.len() == REMEMBERED {
            self.over.pop_front();
        }
        self.over.extend(self.under_way.take());
    }

    fn find(&self, id: u64) -> Option<&Roll> {
        self.over.iter().chain(&self.under_way).find(|roll| roll.id == id)
    }

    /// What is told when this roll is asked for: it, or the latest.
    pub(super) fn tell(&self, id: Option<u64>) -> Option<&Roll> {
        id.and_then(|id| self.find(id)).or(self.under_way.as_ref()).or(self.over.back())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_is_begun_once() {
        let mut rolls = Rolls::default();
        assert!(rolls.begin(1, Time::ZERO));
        assert!(!rolls.begin(1, Time::ZERO) && !rolls.begin(2, Time::ZERO), "one at a time");
        rolls.come_to(Phase::Done, Time::from_secs(1));
        assert!(!rolls.begin(1, Time::from_secs(2)), "not again when it is over");
        assert!(rolls.begin(2, Time::from_secs(2)));
        rolls.fail(&Words::clip("exit code 1"), Time::from_secs(3));
        assert_eq!(rolls.tell(Some(1)).unwrap().phase, Phase::Done);
        assert_eq!(rolls.tell(None).unwrap().phase, Phase::Failed);
        assert_eq!(rolls.tell(Some(9)).unwrap().id, 2, "of one not known, the latest is told");
    }

    #[test]
    fn eight_are_remembered() {
        let mut rolls = Rolls::default();
        for id in 0..9 {
            assert!(rolls.begin(id, Time::ZERO));
            rolls.come_to(Phase::Done, Time::ZERO);
        }
        assert!(!rolls.begin(1, Time::ZERO) && rolls.begin(0, Time::ZERO));
    }
}
