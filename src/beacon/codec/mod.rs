//! Messages to fields (`write`) and back (`read`). Every message is one arm in each and one in [`Kind`];
//! `docs/wire-protocol.md` has the same tables for those who write another implementation.

mod read;
mod write;

use super::key::Speaker;
use super::message::Message;

pub(super) use read::{Proof, read, read_proof};
pub(super) use write::write;

/// Types of fields. A type means the same wherever it stands. 0x4000 to 0x7fff are free for private use.
mod tag {
    pub(super) const CHALLENGE: u16 = 0x0001;
    pub(super) const ECHO: u16 = 0x0002;
    pub(super) const TERM: u16 = 0x0003;
    pub(super) const WITHIN: u16 = 0x0004;
    pub(super) const PERIOD: u16 = 0x0005;
    pub(super) const STATEMENT: u16 = 0x0006;
    pub(super) const BINDING: u16 = 0x0007;
    pub(super) const DEADLINE: u16 = 0x0008;
    pub(super) const FORCE: u16 = 0x0009;
    pub(super) const OF: u16 = 0x000a;
    pub(super) const ROW: u16 = 0x000b;
    pub(super) const REAL: u16 = 0x000c;
    pub(super) const WHY: u16 = 0x000d;

    pub(super) const NAME: u16 = 0x0010;
    pub(super) const GROUP: u16 = 0x0011;
    pub(super) const WEIGHT: u16 = 0x0012;
    pub(super) const MAX_CONNS: u16 = 0x0013;
    pub(super) const DEPTH: u16 = 0x0014;
    pub(super) const CONDITION: u16 = 0x0015;
    pub(super) const LOAD: u16 = 0x0016;
    pub(super) const LATENCY: u16 = 0x0017;
    pub(super) const VERSION: u16 = 0x0018;
    pub(super) const SWITCH: u16 = 0x0019;
    pub(super) const ANSWER: u16 = 0x001a;

    pub(super) const PART: u16 = 0x0020;
    pub(super) const ROLE: u16 = 0x0021;
    pub(super) const NODE: u16 = 0x0022;
    pub(super) const AGENTS: u16 = 0x0023;
    pub(super) const BINDINGS: u16 = 0x0024;
    pub(super) const PEER: u16 = 0x0025;
    pub(super) const AGE: u16 = 0x0026;
    pub(super) const SWITCH_ROW: u16 = 0x0027;
    pub(super) const EPOCH: u16 = 0x0028;
    pub(super) const LAG: u16 = 0x0029;
    pub(super) const WAITING: u16 = 0x002a;
    pub(super) const COUNTER: u16 = 0x002b;
    pub(super) const COUNT: u16 = 0x002c;

    pub(super) const ROLL: u16 = 0x0030;
    pub(super) const STANDING: u16 = 0x0031;
    pub(super) const PHASE: u16 = 0x0032;
    pub(super) const INSTANCE: u16 = 0x0033;
    pub(super) const STANDING_ROW: u16 = 0x0034;
}

/// What kind of message a datagram holds. The numbers are those on the wire; from 32 on operators and agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the variant of `Message` of the same name")]
pub enum Kind {
    Heartbeat = 1,
    Claim = 2,
    Resign = 3,
    Solicit = 4,
    Prove = 5,
    Beacon = 6,
    Add = 7,
    Remove = 8,
    Ack = 9,
    Failure = 10,
    Leave = 11,
    Query = 12,
    Status = 13,
    Who = 32,
    Standings = 33,
    Restart = 34,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 16] = [
        Kind::Heartbeat,
        Kind::Claim,
        Kind::Resign,
        Kind::Solicit,
        Kind::Prove,
        Kind::Beacon,
        Kind::Add,
        Kind::Remove,
        Kind::Ack,
        Kind::Failure,
        Kind::Leave,
        Kind::Query,
        Kind::Status,
        Kind::Who,
        Kind::Standings,
        Kind::Restart,
    ];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// What a key must allow for this to be believed.
    pub fn speaker(self) -> Speaker {
        match self {
            Kind::Heartbeat | Kind::Claim | Kind::Resign => Speaker::Manager,
            Kind::Beacon | Kind::Add | Kind::Remove | Kind::Failure | Kind::Leave => Speaker::Agent,
            Kind::Query | Kind::Who | Kind::Restart => Speaker::Operator,
            // Managers and agents answer under the key they were asked with, so whoever holds that key believes it.
            Kind::Solicit | Kind::Prove | Kind::Ack | Kind::Status | Kind::Standings => Speaker::Anyone,
        }
    }
}

impl Message {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Message::Heartbeat { .. } => Kind::Heartbeat,
            Message::Claim { .. } => Kind::Claim,
            Message::Resign => Kind::Resign,
            Message::Solicit { .. } => Kind::Solicit,
            Message::Prove => Kind::Prove,
            Message::Beacon { .. } => Kind::Beacon,
            Message::Add { .. } => Kind::Add,
            Message::Remove { .. } => Kind::Remove,
            Message::Ack { .. } => Kind::Ack,
            Message::Failure { .. } => Kind::Failure,
            Message::Leave => Kind::Leave,
            Message::Query => Kind::Query,
            Message::Status(_) => Kind::Status,
            Message::Who { .. } => Kind::Who,
            Message::Standings(_) => Kind::Standings,
            Message::Restart(_) => Kind::Restart,
        }
    }
}
