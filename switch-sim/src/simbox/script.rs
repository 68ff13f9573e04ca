//! What happens to the simulated network: a script, and levers to pull while it runs.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::slb::balancer::Waker;
use crate::slb::change::{Change, Refusal};
use crate::slb::words::{Name, Port};
use crate::time::Time;

/// Something that happens to the box from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A machine stops answering.
    ServerDown(IpAddr),
    /// It answers again.
    ServerUp(IpAddr),
    /// A service on a machine stops answering.
    PortDown(IpAddr, Port),
    /// It answers again.
    PortUp(IpAddr, Port),
    /// Connections come to a real server's port through each virtual server that uses it; they stay until they are closed or cleared.
    Open(Name, Port, u32),
    /// All connections of a real server's port end.
    Close(Name, Port),
    /// New connections a second to each active port that is bound.
    Traffic(u32),
    /// Something changes in the box that did not come through the command line.
    Amend(Change),
    /// The next change is refused.
    RefuseNext(Refusal),
}

/// Actions with the moments at which they happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script(Vec<(Duration, Action)>);

impl Script {
    /// Adds an action, so long after the start.
    #[must_use]
    pub fn at(mut self, after: Duration, action: Action) -> Script {
        self.0.push((after, action));
        self.0.sort_by_key(|(after, _)| *after);
        self
    }

    /// Takes out what is due.
    pub(super) fn due(&mut self, now: Time) -> Vec<Action> {
        let due = self.0.partition_point(|(after, _)| Time::after(*after) <= now);
        self.0.drain(..due).map(|(_, action)| action).collect()
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.0.first().map(|(after, _)| Time::after(*after))
    }
}

/// Pulls on a box that is already behind a chassis. Clones pull on the same box.
#[derive(Clone, Default)]
pub struct Levers {
    shared: Arc<Mutex<Pulled>>,
}

#[derive(Default)]
struct Pulled {
    actions: Vec<Action>,
    waker: Option<Waker>,
}

impl Levers {
    /// Lets something happen; the box learns of it the next time it is asked anything.
    pub fn pull(&self, action: Action) {
        let waker = {
            let mut pulled = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            pulled.actions.push(action);
            pulled.waker.clone()
        };
        if let Some(wake) = waker {
            wake();
        }
    }

    pub(super) fn take(&self) -> Vec<Action> {
        std::mem::take(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner).actions)
    }

    pub(super) fn set_waker(&self, waker: Waker) {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).waker = Some(waker);
    }
}
