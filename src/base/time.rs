//! Time as an argument: a point on the monotonic clock, and the wall clock as plain milliseconds.
//!
//! Nothing here reads a clock. The few places that do (`switch/worker.rs`, files named `task.rs`, `port/`, `lab/`,
//! `cli/`) turn what they read into these types; everything that decides takes them as arguments.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in monotonic time: microseconds since the process chose its origin. Good for 584,000 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);
    /// Later than every deadline.
    pub const NEVER: Time = Time(u64::MAX);

    /// The point this many microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Time {
        Time(micros)
    }

    /// The point this many milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis * 1000)
    }

    /// The point this many seconds after the origin.
    pub const fn from_secs(secs: u64) -> Time {
        Time(secs * 1_000_000)
    }

    /// Microseconds since the origin.
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the origin.
    pub const fn millis(self) -> u64 {
        self.0 / 1000
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, by: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, by: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time in milliseconds since 1970-01-01T00:00:00Z; only ever shown to people, never used to decide.
pub type WallMillis = u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates() {
        assert_eq!(Time::NEVER + Duration::from_secs(1), Time::NEVER);
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!(Time::from_millis(1500).since(Time::from_secs(1)), Duration::from_millis(500));
        assert_eq!(Time::from_secs(1).since(Time::from_secs(2)), Duration::ZERO);
    }
}
