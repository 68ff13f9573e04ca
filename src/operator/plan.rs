//! What a person says about a roll, and what follows from it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::base::id::Name;
use crate::base::text::cut;

/// Everything a roll is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Which service, as the agents' configuration calls it.
    pub service: Name,
    /// How many servers may be out of service at a time.
    pub at_once: AtOnce,
    /// How long connections may take to finish.
    pub drain: Drain,
    /// How long a server may take to be healthy again, from its start.
    pub wait_healthy: Duration,
    /// Pause after a server is back: the switches check it themselves before they forward anything.
    pub settle: Duration,
    /// Restart the only server of a service, too, which interrupts it.
    pub force: bool,
}

/// How many servers may be out of service at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtOnce {
    /// This many, at least 1.
    Count(u16),
    /// This share of them in per cent, 1 to 100, rounded down, at least one.
    Percent(u8),
}

impl AtOnce {
    /// How many of so many.
    pub fn of(self, servers: usize) -> usize {
        match self {
            AtOnce::Count(count) => usize::from(count).max(1),
            AtOnce::Percent(percent) => (servers * usize::from(percent) / 100).max(1),
        }
    }
}

/// A text that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct NotThat {
    text: String,
    what: &'static str,
}

fn not(text: &str, what: &'static str) -> NotThat {
    NotThat { text: cut(text), what }
}

impl FromStr for AtOnce {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<AtOnce, NotThat> {
        let wrong = || not(text, "a number of servers such as 1, or a share of them such as 25%");
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse() {
                Ok(percent @ 1..=100) => Ok(AtOnce::Percent(percent)),
                _ => Err(wrong()),
            },
            None => match text.parse() {
                Ok(count @ 1..) => Ok(AtOnce::Count(count)),
                _ => Err(wrong()),
            },
        }
    }
}

/// How long connections may take to finish before they are cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drain {
    /// As each agent is configured.
    Agents,
    /// This long.
    Fixed(Duration),
    /// As long as this target asks for.
    For(Target),
}

/// What is to be kept of a service's connections while it is restarted, even if none of them ends by itself.
///
/// The unit is the *connection-second*. At worst every connection is cut at the deadline of its server's drain. Its client
/// connects again, perhaps to a server whose turn is still to come, and is cut once more. With connections evenly spread,
/// one is cut less than twice on average in a whole roll (`e - 1` = 1.72 times with many servers one at a time; the
/// test below counts). Each cut costs the client the time of a `reconnect`, and the roll lasts for `rounds` drains at
/// least, so the part of its connection-seconds that is lost is less than
///
/// ```text
///     2 * reconnect / (rounds * drain)     and this shall be at most   1 - availability
///
///     drain = 2 * reconnect / (rounds * (1 - availability))        rounds = servers / at once, rounded up
/// ```
///
/// With three servers one at a time and a reconnect of one second: 67 s for 99 %, 11 minutes for 99.9 %, 111 minutes for
/// 99.99 %. A server restarts as soon as its last connection has ended; this is how long the last ones are waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// How much.
    pub availability: Availability,
    /// How long a client whose connection is cut is without one.
    pub reconnect: Duration,
}

/// No drain is longer.
pub const DRAIN_MAX: Duration = Duration::from_secs(24 * 3600);

/// A drain that is longer than any server should be kept from its restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the target asks for a drain of {} hours, and at most {} are accepted; lower --availability, or --at-once",
    .0.as_secs() / 3600, DRAIN_MAX.as_secs() / 3600
)]
pub struct DrainTooLong(pub Duration);

impl Target {
    /// The drain that keeps it, rounded up to milliseconds.
    ///
    /// # Errors
    /// [`DrainTooLong`].
    pub fn drain(self, servers: usize, at_once: usize) -> Result<Duration, DrainTooLong> {
        let rounds = servers.div_ceil(at_once.max(1)).max(1);
        let seconds = 2.0 * self.reconnect.as_secs_f64() / (rounds as f64 * (1.0 - self.availability.0));
        let drain = Duration::from_millis((seconds * 1000.0 - 1e-6).ceil().min(1e15) as u64);
        if drain > DRAIN_MAX { Err(DrainTooLong(drain)) } else { Ok(drain) }
    }
}

/// A part of time, above 0 and below 1: `99.99%`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Availability(f64);

impl FromStr for Availability {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Availability, NotThat> {
        let wrong = || not(text, "an availability above 0% and below 100%, such as 99.99%");
        let percent: f64 = text.strip_suffix('%').ok_or_else(wrong)?.trim().parse().map_err(|_| wrong())?;
        // Nearer to 100 no drain is short enough, and the arithmetic of binary fractions is no longer exact enough.
        if percent > 0.0 && percent <= 99.999_999 { Ok(Availability(percent / 100.0)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.0 * 100.0);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once() {
        for (text, of_three, of_ten) in [("1", 1, 1), ("4", 4, 4), ("25%", 1, 2), ("100%", 3, 10), ("1%", 1, 1)] {
            let at_once: AtOnce = text.parse().unwrap();
            assert_eq!((at_once.of(3), at_once.of(10)), (of_three, of_ten), "{text}");
        }
        for bad in ["", "0", "-1", "0%", "101%", "1.5", "many", "%"] {
            assert!(bad.parse::<AtOnce>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_examples_of_the_formula() {
        let drain = |text: &str, servers, at_once| {
            let availability: Availability = text.parse().unwrap();
            assert_eq!(availability.to_string(), text);
            Target { availability, reconnect: Duration::from_secs(1) }.drain(servers, at_once)
        };
        for (text, servers, at_once, millis) in [
            ("99%", 3, 1, 66_667),
            ("99.9%", 3, 1, 666_667),
            ("99.99%", 3, 1, 6_666_667),
            ("99.9%", 10, 1, 200_000),
            ("90%", 1, 1, 20_000),
            ("90%", 3, 2, 10_000),
        ] {
            let drain = drain(text, servers, at_once).unwrap();
            assert!(drain.abs_diff(Duration::from_millis(millis)) <= Duration::from_millis(1), "{text}: {drain:?}");
        }
        assert!(drain("99.99999%", 3, 1).unwrap_err().to_string().contains("--availability"));
        for bad in ["", "100%", "0%", "0.9999", "-1%", "nan%", "101%", "inf%"] {
            assert!(bad.parse::<Availability>().is_err(), "{bad}");
        }
    }

    /// What the formula promises, on servers and connections that move as it says: no connection ever ends by itself.
    #[test]
    fn a_drain_so_long_keeps_the_target() {
        for (servers, at_once, text) in
            [(3usize, 1usize, "99%"), (100, 1, "99.9%"), (8, 2, "99%"), (5, 2, "99%"), (2, 1, "95%"), (4, 3, "99%")]
        {
            let availability: Availability = text.parse().unwrap();
            let reconnect = Duration::from_secs(1);
            let drain = Target { availability, reconnect }.drain(servers, at_once).unwrap().as_secs_f64();
            let mut on = vec![1000.0 / servers as f64; servers];
            let (mut lost, mut all) = (0.0, 0.0);
            let order: Vec<usize> = (0..servers).collect();
            for leaving in order.chunks(at_once) {
                let cut: f64 = leaving.iter().map(|n| std::mem::take(&mut on[*n])).sum();
                let staying = (servers - leaving.len()) as f64;
                for n in (0..servers).filter(|n| !leaving.contains(n)) {
                    on[n] += cut / staying;
                }
                lost += cut * reconnect.as_secs_f64();
                all += 1000.0 * drain;
            }
            assert!(1.0 - lost / all >= availability.0, "{servers} servers, {at_once} at once: {}", 1.0 - lost / all);
        }
    }
}
