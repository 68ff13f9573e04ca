//! Messages to fields.

use super::super::field::Writer;
use super::super::message::{
    AckRow, Condition, ECHOES_MAX, Envelope, Message, Restart, StandingRow, Standings, Statement, Status, Withdrawal,
};
use super::tag;
use crate::acm::words::HealthDepth;

/// The fields of an envelope.
pub(in crate::beacon) fn write(envelope: &Envelope, to: &mut Writer) {
    if let Some(challenge) = envelope.challenge {
        to.u64(tag::CHALLENGE, challenge);
    }
    for echo in envelope.echoes.iter().take(ECHOES_MAX) {
        to.u64(tag::ECHO, *echo);
    }
    match &envelope.message {
        Message::Heartbeat { term } | Message::Claim { term } => to.u64(tag::TERM, *term),
        Message::Resign | Message::Prove | Message::Leave | Message::Query => {}
        Message::Solicit { within } => to.millis(tag::WITHIN, *within),
        Message::Beacon { period, bindings } | Message::Add { period, bindings } => {
            to.millis(tag::PERIOD, *period);
            bindings.iter().for_each(|one| to.nested(tag::STATEMENT, |inner| write_statement(one, inner)));
        }
        Message::Remove { bindings, how } => {
            match how {
                Withdrawal::Drain { deadline: Some(deadline) } => to.millis(tag::DEADLINE, *deadline),
                Withdrawal::Drain { deadline: None } => {}
                Withdrawal::Force => to.u8(tag::FORCE, 1),
            }
            bindings.iter().for_each(|key| to.binding(tag::BINDING, key));
        }
        Message::Ack { of, rows } => {
            to.nested(tag::OF, |inner| {
                inner.bytes.extend_from_slice(&of.boot.to_be_bytes());
                inner.bytes.extend_from_slice(&of.counter.to_be_bytes());
            });
            rows.iter().for_each(|row| to.nested(tag::ROW, |inner| write_ack_row(row, inner)));
        }
        Message::Failure { real, why } => {
            to.endpoint(tag::REAL, *real);
            to.text(tag::WHY, why.as_str());
        }
        Message::Status(status) => write_status(status, to),
        Message::Who { name, roll } => {
            if let Some(name) = name {
                to.text(tag::NAME, name.as_str());
            }
            if let Some(roll) = roll {
                to.u64(tag::ROLL, *roll);
            }
        }
        Message::Standings(Standings { part, parts, rows }) => {
            write_part(*part, *parts, to);
            rows.iter().for_each(|row| to.nested(tag::STANDING_ROW, |inner| write_standing(row, inner)));
        }
        Message::Restart(Restart { agent, roll, bindings, drain, within }) => {
            to.u64(tag::NODE, agent.0);
            to.u64(tag::ROLL, *roll);
            to.millis(tag::WITHIN, *within);
            if let Some(drain) = drain {
                to.millis(tag::DEADLINE, *drain);
            }
            bindings.iter().for_each(|key| to.binding(tag::BINDING, key));
        }
    }
}

fn write_statement(one: &Statement, to: &mut Writer) {
    to.binding(tag::BINDING, &one.key);
    if let Some(name) = &one.name {
        to.text(tag::NAME, name.as_str());
    }
    if let Some(group) = &one.group {
        to.text(tag::GROUP, group.as_str());
    }
    if let Some(weight) = one.weight {
        to.u16(tag::WEIGHT, weight);
    }
    if let Some(max) = one.max_conns {
        to.u32(tag::MAX_CONNS, max);
    }
    if let Some(depth) = one.depth {
        to.u8(tag::DEPTH, depth_number(depth));
    }
    match &one.condition {
        Condition::Serving => {}
        Condition::Failing(why) => {
            to.u8(tag::CONDITION, 1);
            to.text(tag::WHY, why.as_str());
        }
        Condition::Leaving => to.u8(tag::CONDITION, 2),
    }
    if let Some(load) = one.facts.load {
        to.u16(tag::LOAD, load);
    }
    if let Some(latency) = one.facts.latency {
        to.u32(tag::LATENCY, latency);
    }
    if let Some(version) = &one.facts.version {
        to.text(tag::VERSION, version.as_str());
    }
}

fn write_ack_row(row: &AckRow, to: &mut Writer) {
    to.binding(tag::BINDING, &row.key);
    if let Some(switch) = &row.switch {
        to.text(tag::SWITCH, switch.as_str());
    }
    to.u8(tag::ANSWER, row.answer as u8);
    if let Some(note) = &row.note {
        to.text(tag::WHY, note.as_str());
    }
}

fn write_part(part: u16, parts: u16, to: &mut Writer) {
    to.nested(tag::PART, |inner| {
        inner.bytes.extend_from_slice(&part.to_be_bytes());
        inner.bytes.extend_from_slice(&parts.to_be_bytes());
    });
}

fn write_standing(row: &StandingRow, to: &mut Writer) {
    to.binding(tag::BINDING, &row.key);
    if let Some(name) = &row.name {
        to.text(tag::NAME, name.as_str());
    }
    to.u8(tag::STANDING, row.standing as u8);
    if let Some(instance) = row.instance {
        to.u16(tag::INSTANCE, instance);
    }
    if let Some((roll, phase)) = row.roll {
        to.u64(tag::ROLL, roll);
        to.u8(tag::PHASE, phase as u8);
    }
    to.millis(tag::AGE, row.age);
    if let Some(why) = &row.why {
        to.text(tag::WHY, why.as_str());
    }
}

fn write_status(status: &Status, to: &mut Writer) {
    write_part(status.part, status.parts, to);
    to.u8(tag::ROLE, status.role as u8);
    to.u64(tag::TERM, status.term);
    if let Some(leader) = status.leader {
        to.u64(tag::NODE, leader.0);
    }
    to.u32(tag::AGENTS, status.agents);
    to.u32(tag::BINDINGS, status.bindings);
    for peer in &status.peers {
        to.nested(tag::PEER, |inner| {
            inner.u64(tag::NODE, peer.node.0);
            inner.u8(tag::ROLE, peer.role as u8);
            inner.millis(tag::AGE, peer.age);
        });
    }
    for row in &status.switches {
        to.nested(tag::SWITCH_ROW, |inner| {
            inner.text(tag::SWITCH, row.name.as_str());
            if let Some(epoch) = row.epoch {
                inner.u64(tag::EPOCH, epoch);
            }
            inner.millis(tag::LAG, row.lag);
            inner.u32(tag::WAITING, row.waiting);
            inner.u32(tag::BINDINGS, row.bindings);
            if let Some(why) = &row.why {
                inner.text(tag::WHY, why.as_str());
            }
        });
    }
    for (name, count) in &status.counters {
        to.nested(tag::COUNTER, |inner| {
            inner.text(tag::NAME, name.as_str());
            inner.u64(tag::COUNT, *count);
        });
    }
}

fn depth_number(depth: HealthDepth) -> u8 {
    match depth {
        HealthDepth::L2 => 2,
        HealthDepth::L3 => 3,
        HealthDepth::L4 => 4,
    }
}
