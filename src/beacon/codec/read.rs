//! Fields to messages. Everything is hostile until it has been read.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::field::{Field, Fields, Malformed, Read, needed, once};
use super::super::message::{
    AckRow, Answer, BINDINGS_PER_MESSAGE_MAX, Condition, ECHOES_MAX, Facts, Message, NodeId, PeerRow, Phase, Restart,
    Role, Stamp, Standing, StandingRow, Standings, Statement, Status, SwitchRow, Withdrawal,
};
use super::super::words::Words;
use super::{Kind, tag};
use crate::acm::words::{BindingKey, HealthDepth};
use crate::base::id::Name;
use crate::base::limits::WEIGHT_MAX;

/// What stands in front of every message, for those who must decide before they read the message itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::beacon) struct Proof {
    pub(in crate::beacon) challenge: Option<u64>,
    pub(in crate::beacon) echoes: Vec<u64>,
}

/// Reads challenge and echoes, and skips everything else.
pub(in crate::beacon) fn read_proof(bytes: &[u8]) -> Read<Proof> {
    let mut proof = Proof::default();
    for field in Fields::of(bytes) {
        let field = field?;
        match field.tag {
            tag::CHALLENGE => once(&mut proof.challenge, field.u64()?)?,
            tag::ECHO => bounded(&mut proof.echoes, field.u64()?, ECHOES_MAX)?,
            _ => {}
        }
    }
    Ok(proof)
}

/// Reads the message of a kind from its fields.
pub(in crate::beacon) fn read(kind: Kind, bytes: &[u8]) -> Read<Message> {
    let mut raw = Raw::default();
    for field in Fields::of(bytes) {
        raw.take(&field?)?;
    }
    raw.message(kind)
}

/// The fields of a message before its kind says which are needed. A field that a kind has no use for is ignored.
#[derive(Default)]
struct Raw {
    term: Option<u64>,
    within: Option<Duration>,
    period: Option<Duration>,
    statements: Vec<Statement>,
    bindings: Vec<BindingKey>,
    deadline: Option<Duration>,
    force: Option<u8>,
    of: Option<Stamp>,
    rows: Vec<AckRow>,
    real: Option<SocketAddr>,
    why: Option<Words>,
    part: Option<(u16, u16)>,
    role: Option<Role>,
    node: Option<u64>,
    agents: Option<u32>,
    count: Option<u32>,
    peers: Vec<PeerRow>,
    switches: Vec<SwitchRow>,
    counters: Vec<(Name, u64)>,
    name: Option<Name>,
    roll: Option<u64>,
    standings: Vec<StandingRow>,
}

impl Raw {
    fn take(&mut self, field: &Field<'_>) -> Read<()> {
        match field.tag {
            tag::CHALLENGE | tag::ECHO => Ok(()),
            tag::TERM => once(&mut self.term, field.u64()?),
            tag::WITHIN => once(&mut self.within, field.millis()?),
            tag::PERIOD => once(&mut self.period, field.millis()?),
            tag::STATEMENT => bounded(&mut self.statements, read_statement(field.value)?, BINDINGS_PER_MESSAGE_MAX),
            tag::BINDING => bounded(&mut self.bindings, field.binding()?, BINDINGS_PER_MESSAGE_MAX),
            tag::DEADLINE => once(&mut self.deadline, field.millis()?),
            tag::FORCE => once(&mut self.force, field.u8()?),
            tag::OF => once(&mut self.of, read_stamp(field.value)?),
            // As many as fit: the datagram is the bound.
            tag::ROW => bounded(&mut self.rows, read_ack_row(field.value)?, usize::MAX),
            tag::REAL => once(&mut self.real, field.endpoint()?),
            tag::WHY => once(&mut self.why, field.words()?),
            tag::PART => once(&mut self.part, read_part(field.value)?),
            tag::ROLE => once(&mut self.role, role(field.u8()?)?),
            tag::NODE => once(&mut self.node, field.u64()?),
            tag::AGENTS => once(&mut self.agents, field.u32()?),
            tag::BINDINGS => once(&mut self.count, field.u32()?),
            tag::PEER => bounded(&mut self.peers, read_peer(field.value)?, usize::MAX),
            tag::SWITCH_ROW => bounded(&mut self.switches, read_switch(field.value)?, usize::MAX),
            tag::COUNTER => bounded(&mut self.counters, read_counter(field.value)?, usize::MAX),
            tag::NAME => once(&mut self.name, field.name()?),
            tag::ROLL => once(&mut self.roll, field.u64()?),
            tag::STANDING_ROW => bounded(&mut self.standings, read_standing(field.value)?, usize::MAX),
            _ => field.skip(),
        }
    }

    fn message(self, kind: Kind) -> Read<Message> {
        Ok(match kind {
            Kind::Heartbeat => Message::Heartbeat { term: needed(self.term)? },
            Kind::Claim => Message::Claim { term: needed(self.term)? },
            Kind::Resign => Message::Resign,
            Kind::Solicit => Message::Solicit { within: needed(self.within)? },
            Kind::Prove => Message::Prove,
            Kind::Beacon => Message::Beacon { period: needed(self.period)?, bindings: self.statements },
            Kind::Add => Message::Add { period: needed(self.period)?, bindings: self.statements },
            Kind::Remove => {
                let how = match (self.force, self.deadline) {
                    (None | Some(0), deadline) => Withdrawal::Drain { deadline },
                    (Some(1), None) => Withdrawal::Force,
                    _ => return Err(Malformed::Layout("force is 0 or 1, and 1 has no deadline")),
                };
                Message::Remove { bindings: self.bindings, how }
            }
            Kind::Ack => Message::Ack { of: needed(self.of)?, rows: self.rows },
            Kind::Failure => Message::Failure { real: needed(self.real)?, why: needed(self.why)? },
            Kind::Leave => Message::Leave,
            Kind::Query => Message::Query,
            Kind::Who => Message::Who { name: self.name, roll: self.roll },
            Kind::Standings => {
                let (part, parts) = needed(self.part)?;
                Message::Standings(Standings { part, parts, rows: self.standings })
            }
            Kind::Restart => Message::Restart(Restart {
                agent: NodeId(needed(self.node)?),
                roll: needed(self.roll)?,
                bindings: self.bindings,
                drain: self.deadline,
                within: needed(self.within)?,
            }),
            Kind::Status => {
                let (part, parts) = needed(self.part)?;
                Message::Status(Status {
                    part,
                    parts,
                    role: needed(self.role)?,
                    term: needed(self.term)?,
                    leader: self.node.map(NodeId),
                    agents: needed(self.agents)?,
                    bindings: needed(self.count)?,
                    peers: self.peers,
                    switches: self.switches,
                    counters: self.counters,
                })
            }
        })
    }
}

fn bounded<T>(into: &mut Vec<T>, value: T, max: usize) -> Read<()> {
    if into.len() >= max {
        return Err(Malformed::Layout("a field stands too often"));
    }
    into.push(value);
    Ok(())
}

fn read_stamp(bytes: &[u8]) -> Read<Stamp> {
    let wrong = Malformed::Layout("a stamp has 16 bytes");
    let (boot, counter) = bytes.split_first_chunk::<8>().ok_or(wrong)?;
    let counter = counter.try_into().map_err(|_| wrong)?;
    Ok(Stamp { boot: u64::from_be_bytes(*boot), counter: u64::from_be_bytes(counter) })
}

fn read_part(bytes: &[u8]) -> Read<(u16, u16)> {
    let [a, b, c, d] = bytes.try_into().map_err(|_| Malformed::Layout("a part has 4 bytes"))?;
    match (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])) {
        (part, parts) if part < parts => Ok((part, parts)),
        _ => Err(Malformed::Layout("a part is not one of the parts")),
    }
}

fn role(number: u8) -> Read<Role> {
    Role::ALL.into_iter().find(|role| *role as u8 == number).ok_or(Malformed::Layout("there is no such role"))
}

fn read_statement(bytes: &[u8]) -> Read<Statement> {
    let (mut key, mut name, mut group, mut weight, mut max_conns) = (None, None, None, None, None);
    let (mut depth, mut condition, mut why, mut facts) = (None, None, None, Facts::default());
    for field in Fields::of(bytes) {
        let field = field?;
        match field.tag {
            tag::BINDING => once(&mut key, field.binding()?)?,
            tag::NAME => once(&mut name, field.name()?)?,
            tag::GROUP => once(&mut group, field.name()?)?,
            tag::WEIGHT => once(&mut weight, field.u16()?)?,
            tag::MAX_CONNS => once(&mut max_conns, field.u32()?)?,
            tag::DEPTH => once(&mut depth, read_depth(field.u8()?)?)?,
            tag::CONDITION => once(&mut condition, field.u8()?)?,
            tag::WHY => once(&mut why, field.words()?)?,
            tag::LOAD => once(&mut facts.load, field.u16()?)?,
            tag::LATENCY => once(&mut facts.latency, field.u32()?)?,
            tag::VERSION => once(&mut facts.version, field.words()?)?,
            _ => field.skip()?,
        }
    }
    if weight.is_some_and(|weight| weight > WEIGHT_MAX) || max_conns == Some(0) {
        return Err(Malformed::Layout("a weight is at most 1000, and a limit of connections at least 1"));
    }
    let condition = match (condition.unwrap_or(0), why) {
        (0, None) => Condition::Serving,
        (1, Some(why)) => Condition::Failing(why),
        (2, None) => Condition::Leaving,
        _ => return Err(Malformed::Layout("a condition is 0, 1 with a reason, or 2")),
    };
    Ok(Statement { key: needed(key)?, name, group, weight, max_conns, depth, condition, facts })
}

fn read_depth(number: u8) -> Read<HealthDepth> {
    match number {
        2 => Ok(HealthDepth::L2),
        3 => Ok(HealthDepth::L3),
        4 => Ok(HealthDepth::L4),
        _ => Err(Malformed::Layout("a depth is 2, 3 or 4")),
    }
}

fn read_ack_row(bytes: &[u8]) -> Read<AckRow> {
    let (mut key, mut switch, mut answer, mut note) = (None, None, None, None);
    for field in Fields::of(bytes) {
        let field = field?;
        match field.tag {
            tag::BINDING => once(&mut key, field.binding()?)?,
            tag::SWITCH => once(&mut switch, field.name()?)?,
            tag::ANSWER => once(&mut answer, field.u8()?)?,
            tag::WHY => once(&mut note, field.words()?)?,
            _ => field.skip()?,
        }
    }
    let answer = Answer::ALL.get(usize::from(needed(answer)?)).copied();
    Ok(AckRow { key: needed(key)?, switch, answer: needed(answer)?, note })
}

fn read_peer(bytes: &[u8]) -> Read<PeerRow> {
    let (mut node, mut said, mut age) = (None, None, None);
    for field in Fields::of(bytes) {
        let field = field?;
        match field.tag {
            tag::NODE => once(&mut node, field.u64()?)?,
            tag::ROLE => once(&mut said, role(field.u8()?)?)?,
            tag::AGE => once(&mut age, field.millis()?)?,
            _ => field.skip()?,
        }
    }
    Ok(PeerRow { node: NodeId(needed(node)?), role: needed(said)?, age: needed(age)? })
}

fn read_standing(bytes: &[u8]) -> Read<StandingRow> {
    let (mut key, mut name, mut standing, mut instance) = (None, None, None, None);
    let (mut roll, mut phase, mut age, mut why) = (None, None, None, None);
    for field in Fields::of(bytes) {
        let field = field?;
        match field.tag {
            tag::BINDING => once(&mut key, field.binding()?)?,
            tag::NAME => once(&mut name, field.name()?)?,
            tag::STANDING => once(&mut standing, Standing::ALL.get(usize::from(field.u8()?)).copied())?,
            tag::INSTANCE => once(&mut instance, field.u16()?)?,
            tag::ROLL => once(&mut roll, field.u64()?)?,
            tag::PHASE => once(&mut phase, Phase::ALL.get(usize::from(field.u8()?)).copied())?,
            tag::AGE => once(&mut age, field.millis()?)?,
            tag::WHY => once(&mut why, field.words()?)?,
            _ => field.skip()?,
        }
    }
    let roll = match (roll, phase) {
        (None, None) => None,
        (Some(roll), Some(Some(phase))) => Some((roll, phase)),
        _ => return Err(Malformed::Layout("a roll has a phase from 0 to 5, and a phase a roll")),
    };
    let standing = needed(standing.flatten())?;
    Ok(StandingRow { key: needed(key)?, name, standing, instance, roll, age: needed(age)?, why })
}

fn read_counter(bytes: &[u8]) -> Read<(Name, u64)> {
    let (mut name, mut count) = (None, None);
    for field in Fields::of(bytes) {
        let field = field?;
        match field.tag {
            tag::NAME => once(&mut name, field.name()?)?,
            tag::COUNT => once(&mut count, field.u64()?)?,
            _ => field.skip()?,
        }
    }
    Ok((needed(name)?, needed(count)?))
}

fn read_switch(bytes: &[u8]) -> Read<SwitchRow> {
    let (mut name, mut epoch, mut lag, mut waiting, mut bindings, mut why) = (None, None, None, None, None, None);
    for field in Fields::of(bytes) {
        let field = field?;
        match field.tag {
            tag::SWITCH => once(&mut name, field.name()?)?,
            tag::EPOCH => once(&mut epoch, field.u64()?)?,
            tag::LAG => once(&mut lag, field.millis()?)?,
            tag::WAITING => once(&mut waiting, field.u32()?)?,
            tag::BINDINGS => once(&mut bindings, field.u32()?)?,
            tag::WHY => once(&mut why, field.words()?)?,
            _ => field.skip()?,
        }
    }
    Ok(SwitchRow {
        name: needed(name)?,
        epoch,
        lag: needed(lag)?,
        waiting: needed(waiting)?,
        bindings: needed(bindings)?,
        why,
    })
}
