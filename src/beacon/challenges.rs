//! The challenges we gave lately. Who echoes one has written after we gave it.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::time::Time;

/// How long an echo proves anything. Several beacon periods: an agent echoes what it heard last in every beacon.
pub const CHALLENGE_LIFE: Duration = Duration::from_secs(60);

/// A challenge is given to everybody for this long, then there is a new one.
const RENEWED_AFTER: Duration = Duration::from_secs(2);

/// A new one is not made sooner, whoever asks for it.
const RENEWED_AT_MOST: Duration = Duration::from_millis(100);

/// How many are remembered: all that can be given in [`CHALLENGE_LIFE`] in quiet times. Whoever makes us give them
/// faster, by replaying recordings, shortens their life to some seconds, which an answer needs a thousandth of.
const KEPT: usize = 32;

/// The latest challenges, newest last.
#[derive(Debug)]
pub(super) struct Challenges {
    given: VecDeque<(u64, Time)>,
    coins: fastrand::Rng,
}

impl Challenges {
    pub(super) fn new(seed: u64) -> Challenges {
        Challenges { given: VecDeque::with_capacity(KEPT), coins: fastrand::Rng::with_seed(seed) }
    }

    /// A challenge to give now, newer than `after` if one may be made already.
    pub(super) fn give(&mut self, now: Time, after: Option<Time>) -> u64 {
        if let Some((challenge, given)) = self.given.back() {
            let age = now.since(*given);
            let is_newer = after.is_none_or(|after| *given > after);
            if (is_newer && age < RENEWED_AFTER) || age < RENEWED_AT_MOST {
                return *challenge;
            }
        }
        if self.given.len() == KEPT {
            self.given.pop_front();
        }
        let challenge = self.coins.u64(..);
        self.given.push_back((challenge, now));
        challenge
    }

    /// When the newest of ours among these was given, if that is not too long ago.
    pub(super) fn newest(&self, echoes: &[u64], now: Time) -> Option<Time> {
        let ours = self.given.iter().rev().find(|(challenge, _)| echoes.contains(challenge));
        ours.map(|(_, given)| *given).filter(|given| now.since(*given) <= CHALLENGE_LIFE)
    }
}
