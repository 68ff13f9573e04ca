//! When a server or port that came up or went down is seen to have done so: pure functions of moments.
//!
//! ```text
//!  server:  Enabled -arp-> Testing -ping-> Active      Active -interval-> Suspect -interval x retries-> Failed
//!  port:    Enabled (while the server is not Active) -> Testing -check-> Active, and down in the same steps
//! ```
//! The steps are those of the vendor's manual (layer 2 when the server is configured, ping, layer 4 at the bind); the device's
//! periods too: pings each 2 s with 4 retries, checks each 5 s with 3 tries.

use std::time::Duration;

use crate::slb::report::{PortState, ServerState};
use crate::time::Time;

/// How long the steps take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthTimes {
    /// Until a server that is there has answered ARP.
    pub arp: Duration,
    /// Until it has answered a ping after that.
    pub ping: Duration,
    /// Between two pings.
    pub ping_interval: Duration,
    /// Pings without answer, after the first, until the server has failed.
    pub ping_retries: u32,
    /// Until a port that is there has passed its first check.
    pub check: Duration,
    /// Between two checks of a port.
    pub check_interval: Duration,
    /// Checks that fail, after the first, until the port has failed.
    pub check_retries: u32,
}

impl HealthTimes {
    /// As on the device.
    pub const DEVICE: HealthTimes = HealthTimes {
        arp: Duration::from_millis(500),
        ping: Duration::from_secs(2),
        ping_interval: Duration::from_secs(2),
        ping_retries: 4,
        check: Duration::from_millis(500),
        check_interval: Duration::from_secs(5),
        check_retries: 2,
    };

    /// Short enough for tests of drivers, long enough for every state to be seen.
    pub const BRISK: HealthTimes = HealthTimes {
        arp: Duration::from_millis(20),
        ping: Duration::from_millis(20),
        ping_interval: Duration::from_millis(50),
        ping_retries: 2,
        check: Duration::from_millis(20),
        check_interval: Duration::from_millis(50),
        check_retries: 2,
    };
}

/// Since when something has answered, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It answers, since then.
    Up(Time),
    /// It does not, since then; `seen` if it had been found up before.
    Down { since: Time, seen: bool },
}

impl Life {
    /// It went down, or came up.
    pub(super) fn turn(&mut self, up: bool, was_up: bool, now: Time) {
        match (*self, up) {
            (Life::Up(_), false) => *self = Life::Down { since: now, seen: was_up },
            (Life::Down { .. }, true) => *self = Life::Up(now),
            (Life::Up(_), true) | (Life::Down { .. }, false) => {}
        }
    }
}

/// The state of a server that is in service.
pub(super) fn server(life: Life, times: &HealthTimes, now: Time) -> ServerState {
    match life {
        Life::Up(since) if now.since(since) < times.arp => ServerState::Enabled,
        Life::Up(since) if now.since(since) < times.arp + times.ping => ServerState::Testing,
        Life::Up(_) => ServerState::Active,
        Life::Down { seen: false, .. } => ServerState::Enabled,
        Life::Down { since, .. } => match tries(since, times.ping_interval, now) {
            0 => ServerState::Active,
            n if n <= times.ping_retries => ServerState::Suspect,
            _ => ServerState::Failed,
        },
    }
}

/// When a server that came up is found active.
pub(super) fn active_at(life: Life, times: &HealthTimes) -> Option<Time> {
    match life {
        Life::Up(since) => Some(since + times.arp + times.ping),
        Life::Down { .. } => None,
    }
}

/// The state of a port that is bound and in service on a server in this state. `ready` is when it could first be
/// checked: bound, and its server active.
pub(super) fn port(life: Life, server: ServerState, ready: Time, times: &HealthTimes, now: Time) -> PortState {
    match server {
        ServerState::Active | ServerState::Suspect => {}
        ServerState::Failed => return PortState::Failed,
        ServerState::Disabled => return PortState::Disabled,
        ServerState::Shutdown => return PortState::Shutdown,
        ServerState::Enabled | ServerState::Testing => return PortState::Enabled,
    }
    match life {
        Life::Up(since) if now.since(since.max(ready)) < times.check => PortState::Testing,
        Life::Up(_) => PortState::Active,
        Life::Down { since, seen } => match tries(since.max(ready), times.check_interval, now) {
            0 if seen => PortState::Active,
            0 => PortState::Testing,
            n if n <= times.check_retries => PortState::Suspect,
            _ => PortState::Failed,
        },
    }
}

/// How many checks have failed since then.
fn tries(since: Time, interval: Duration, now: Time) -> u32 {
    let interval = interval.as_micros().max(1);
    u32::try_from(now.since(since).as_micros() / interval).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::after(Duration::from_millis(millis))
    }

    #[test]
    fn a_server_comes_up_in_steps_and_fails_in_steps() {
        let times = HealthTimes::DEVICE;
        let mut life = Life::Up(at(0));
        let seen = [0, 499, 500, 2_499, 2_500].map(|ms| server(life, &times, at(ms)));
        use ServerState::{Active, Enabled, Failed, Suspect, Testing};
        assert_eq!(seen, [Enabled, Enabled, Testing, Testing, Active]);
        life.turn(false, true, at(10_000));
        let seen = [10_000, 11_999, 12_000, 19_999, 20_000].map(|ms| server(life, &times, at(ms)));
        assert_eq!(seen, [Active, Active, Suspect, Suspect, Failed]);
        life.turn(true, false, at(30_000));
        assert_eq!(server(life, &times, at(30_000)), Enabled);
    }

    #[test]
    fn a_port_waits_for_its_server() {
        let times = HealthTimes::DEVICE;
        let life = Life::Up(at(0));
        assert_eq!(port(life, ServerState::Testing, at(0), &times, at(60_000)), PortState::Enabled);
        assert_eq!(port(life, ServerState::Active, at(2_500), &times, at(2_999)), PortState::Testing);
        assert_eq!(port(life, ServerState::Active, at(2_500), &times, at(3_000)), PortState::Active);
        let down = Life::Down { since: at(5_000), seen: true };
        let seen = [9_999, 10_000, 19_999, 20_000].map(|ms| port(down, ServerState::Active, at(0), &times, at(ms)));
        assert_eq!(seen, [PortState::Active, PortState::Suspect, PortState::Suspect, PortState::Failed]);
    }
}
