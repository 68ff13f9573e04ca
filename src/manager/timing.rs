//! Every period and patience of a manager, and why it is what it is.

use std::time::Duration;

use crate::acm::words::HealthProfile;
use crate::base::span::Span;

/// How fast a manager is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// From one heartbeat of the leader to the next.
    pub heartbeat: Duration,
    /// Heartbeats missed in a row after which it is dead.
    pub misses: u32,
    /// What agents are expected to beacon at; each says its own period, which counts for its bindings.
    pub beacon: Duration,
    /// Beacons missed after which a binding is silent, so that it is probed. At 5 % loss four in a row are missed by
    /// chance once in 160,000 beacons, and the probe then finds the server alive.
    pub silent_after: u32,
    /// A new leader deletes nothing it has not heard of for this many beacon periods.
    pub hold_down: u32,
    /// A binding on a switch that no beacon speaks of, though its server answers, is drained after this many beacon
    /// periods.
    pub unclaimed_after: u32,
    /// From one List of a switch to the next.
    pub reconcile: Duration,
    /// How long a direct probe of a server may take.
    pub probe: Duration,
    /// How long an acknowledgement waits for a slow switch before it says `pending` for it.
    pub ack: Duration,
    /// The drain that is given to a binding whose server is dead or says that it fails.
    pub drain: Duration,
    /// How the switch is to check what is added; absent: as the switch's service says.
    pub health: Option<HealthProfile>,
}

/// No hold-down is shorter: agents may beacon slower than a manager expects.
const HOLD_DOWN_MIN: Duration = Duration::from_secs(3);

impl Timing {
    /// The values of the study behind COMICS: heartbeat 3 s, dead after 3, beacon 10 s.
    pub fn normal() -> Timing {
        Timing {
            heartbeat: Duration::from_secs(3),
            misses: 3,
            beacon: Duration::from_secs(10),
            silent_after: 4,
            hold_down: 3,
            unclaimed_after: 30,
            reconcile: Duration::from_secs(10),
            probe: Duration::from_secs(1),
            ack: Duration::from_secs(1),
            drain: Duration::from_secs(30),
            health: None,
        }
    }

    /// Everything in 250 ms beats. The switch checks as fast, so that it agrees in time that a server is gone.
    pub fn fast() -> Timing {
        let health = HealthProfile {
            interval: Span::millis(250),
            timeout: Span::millis(200),
            rise: 2,
            fall: 2,
            ..HealthProfile::default()
        };
        Timing {
            heartbeat: Duration::from_millis(250),
            beacon: Duration::from_millis(250),
            silent_after: 3,
            unclaimed_after: 1200,
            reconcile: Duration::from_secs(1),
            probe: Duration::from_millis(200),
            ack: Duration::from_millis(500),
            health: Some(health),
            ..Timing::normal()
        }
    }

    /// How long a new leader deletes nothing on ignorance.
    pub fn hold_down(&self) -> Duration {
        (self.beacon * self.hold_down).max(HOLD_DOWN_MIN)
    }

    /// How long a binding that answers may go unclaimed.
    pub fn unclaimed(&self) -> Duration {
        (self.beacon * self.unclaimed_after).max(self.hold_down())
    }

    /// Agents answer a takeover's Solicit spread over this time: soon, but not all in one burst.
    pub fn solicit_within(&self) -> Duration {
        (self.beacon / 10).clamp(Duration::from_millis(50), Duration::from_secs(1))
    }
}
