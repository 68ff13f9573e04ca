//! Failures of peers that the service has seen: told to the managers a few times, and not again for a while. Pure.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::time::Time;
use crate::beacon::message::Message;
use crate::beacon::words::Words;

/// A failure is told this often, since nobody acknowledges it,
const TOLD: u32 = 3;
/// this far apart,
const GAP: Duration = Duration::from_millis(50);
/// and not again for this long.
const QUIET: Duration = Duration::from_secs(1);
/// Peers told of at once. At the bound the oldest gives way.
const PEERS_MAX: usize = 64;

#[derive(Debug)]
struct Failing {
    real: SocketAddr,
    why: Words,
    left: u32,
    /// When it is told next, or was told last.
    at: Time,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<Failing>);

impl Failures {
    /// A peer failed.
    pub(super) fn report(&mut self, real: SocketAddr, why: Words, now: Time) {
        self.0.retain(|failing| failing.left > 0 || now.since(failing.at) < QUIET);
        if self.0.iter().any(|failing| failing.real == real) {
            return;
        }
        if self.0.len() == PEERS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Failing { real, why, left: TOLD, at: now });
    }

    /// When something is to be told next.
    pub(super) fn next_deadline(&self) -> Time {
        let open = self.0.iter().filter(|failing| failing.left > 0);
        open.map(|failing| failing.at).fold(Time::NEVER, Time::min)
    }

    /// What is to be told now.
    pub(super) fn due(&mut self, now: Time) -> Vec<Message> {
        let mut due = Vec::new();
        for failing in self.0.iter_mut().filter(|failing| failing.left > 0 && failing.at <= now) {
            failing.left -= 1;
            failing.at = if failing.left > 0 { now + GAP } else { now };
            due.push(Message::Failure { real: failing.real, why: failing.why.clone() });
        }
        due
    }
}
