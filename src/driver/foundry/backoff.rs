//! When to try again after a connection failed: later each time, and never all drivers at once.

use std::time::Duration;

use crate::base::time::Time;

/// The first pause lies between this and twice this; each further failure doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Backoff {
    failures: u32,
    not_before: Time,
    /// The last failure, in words.
    why: String,
}

impl Backoff {
    /// The connection failed. `chance` is a random number from 0 to 1.
    pub(super) fn failed(&mut self, why: &str, chance: f64, now: Time) {
        let base = PAUSE_MIN * 2u32.saturating_pow(self.failures.min(4));
        let pause = base.mul_f64(1.0 + chance.clamp(0.0, 1.0)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause;
        why.clone_into(&mut self.why);
    }

    /// The box answered.
    pub(super) fn succeeded(&mut self) {
        *self = Backoff::default();
    }

    /// How long to wait before the next try.
    pub(super) fn wait(&self, now: Time) -> Duration {
        self.not_before.since(now)
    }

    /// The last failure.
    pub(super) fn why(&self) -> &str {
        &self.why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds() {
        for (chance, wanted) in [(0.0, [1, 2, 4, 8, 16, 16]), (1.0, [2, 4, 8, 16, 30, 30])] {
            let mut backoff = Backoff::default();
            let now = Time::from_secs(100);
            for seconds in wanted {
                backoff.failed("x", chance, now);
                assert_eq!(backoff.wait(now), Duration::from_secs(seconds));
            }
            backoff.succeeded();
            assert_eq!(backoff.wait(now), Duration::ZERO);
        }
    }
}
