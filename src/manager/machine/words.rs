//! What the machine is told, what it wants done, and what people may want to know.

use std::net::SocketAddr;
use std::sync::Arc;

use super::super::desk::Job;
use super::super::election::Why;
use super::super::probe::{Finding, Target};
use super::super::timing::Timing;
use crate::acm::error::AcmError;
use crate::acm::primitive::{Primitive, Tenure};
use crate::base::id::Name;
use crate::beacon::gate::Sender;
use crate::beacon::key::{KeyId, KeyRing, VipRange};
use crate::beacon::message::NodeId;

/// What a manager is told at its start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its number; the lowest of those that claim at once leads.
    pub node: NodeId,
    /// Whom it believes.
    pub ring: Arc<KeyRing>,
    /// The key it signs with.
    pub sign_with: KeyId,
    /// Whose bindings it looks after: the owner that its Adds name.
    pub owner: Name,
    /// How fast it is.
    pub timing: Timing,
    /// The switches, and the virtual addresses of each.
    pub switches: Vec<(Name, Vec<VipRange>)>,
    /// Which run this is: another number at each start.
    pub boot: u64,
    /// Bits that nobody outside knows.
    pub seed: u64,
}

/// To whom a datagram goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// The group, or every peer where there is no multicast.
    All,
    /// One.
    One(SocketAddr),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this.
    Send(To, Vec<u8>),
    /// Do this at the switch of this number; tell [`Manager::job_done`](super::Manager::job_done).
    Job(usize, Box<Job>),
    /// Let go of every switch: what is under way may end, nothing more begins.
    Disconnect,
    /// Look at this server; tell [`Manager::probed`](super::Manager::probed).
    Probe(Target),
    /// Tell people.
    Notice(Box<Notice>),
}

/// What people may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// It leads.
    Leads(u64),
    /// It leads no more.
    StepsDown(Why),
    /// Another manager uses its number.
    Twin(NodeId),
    /// A switch granted a tenure.
    Granted(usize, Tenure),
    /// A switch keeps no epoch.
    Unfenced(usize),
    /// A switch has granted a newer epoch.
    Fenced(usize, AcmError),
    /// A switch is out of reach.
    Lost(usize, AcmError),
    /// A switch is reached.
    Reached(usize),
    /// This was done at a switch without an agent waiting.
    Repaired(usize, Box<Primitive>),
    /// A switch refused.
    Refused(usize, Box<Primitive>, AcmError),
    /// A server is dead, or lives again.
    Probed(Target, Finding),
    /// An agent announced what its key does not grant.
    NotGranted(Sender, String),
}

/// What was done, for metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Beacons and requests taken up.
    pub beacons: u64,
    /// Statements in them.
    pub statements: u64,
    /// Statements that changed something.
    pub changes: u64,
    /// Statements that the sender's key does not grant.
    pub not_granted: u64,
    /// Datagrams of agents thrown away unread, because another leads.
    pub not_leading: u64,
    /// Times it began to lead.
    pub tenures: u64,
}
