//! Every kind of message through its bytes.

use std::time::Duration;

use acm_switch::acm::words::{BindingKey, HealthDepth};
use acm_switch::base::time::Time;
use acm_switch::beacon::codec::Kind;
use acm_switch::beacon::key::{KeyId, Speaker};
use acm_switch::beacon::message::*;
use acm_switch::beacon::words::Words;

use super::{gate, sealer};

pub(crate) fn binding(service: &str, real: &str) -> BindingKey {
    BindingKey { service: service.parse().unwrap(), real: real.parse().unwrap() }
}

pub(crate) fn web() -> BindingKey {
    binding("10.0.0.100:80", "10.1.0.11:8080")
}

/// One of each kind, with every field it can have.
pub(crate) fn every_message() -> Vec<Message> {
    let six = binding("[2001:db8::100]:53/udp", "[2001:db8::11]:5353");
    let full = Statement {
        name: Some("web".parse().unwrap()),
        group: Some("blue".parse().unwrap()),
        weight: Some(1000),
        max_conns: Some(7),
        depth: Some(HealthDepth::L2),
        condition: Condition::Failing(Words::clip("disk is failing")),
        facts: Facts { load: Some(512), latency: Some(1700), version: Some(Words::clip("2.1")) },
        ..Statement::new(six)
    };
    let leaving = Statement { condition: Condition::Leaving, ..Statement::new(web()) };
    let period = Duration::from_secs(10);
    let row = |switch: Option<&str>, answer, note: Option<&str>| AckRow {
        key: web(),
        switch: switch.map(|name| name.parse().unwrap()),
        answer,
        note: note.map(Words::clip),
    };
    let rows = Answer::ALL.into_iter().map(|answer| row(Some("sw-1"), answer, Some("in words")));
    let rows = rows.chain([row(None, Answer::NoSwitch, None)]).collect();
    let status = Status {
        part: 0,
        parts: 2,
        role: Role::Leading,
        term: 7,
        leader: Some(NodeId(1)),
        agents: 3,
        bindings: 12,
        peers: vec![PeerRow { node: NodeId(2), role: Role::Watching, age: Duration::from_millis(1500) }],
        switches: vec![SwitchRow {
            name: "sw-1".parse().unwrap(),
            epoch: Some(4),
            lag: Duration::from_millis(20),
            waiting: 2,
            bindings: 10,
            why: Some(Words::clip("no force remove")),
        }],
        counters: vec![("accepted".parse().unwrap(), u64::MAX)],
    };
    vec![
        Message::Heartbeat { term: u64::MAX },
        Message::Claim { term: 1 },
        Message::Resign,
        Message::Solicit { within: Duration::from_secs(1) },
        Message::Prove,
        Message::Beacon { period, bindings: vec![Statement::new(web()), full.clone(), leaving] },
        Message::Add { period, bindings: vec![full] },
        Message::Remove {
            bindings: vec![web(), six],
            how: Withdrawal::Drain { deadline: Some(Duration::from_secs(30)) },
        },
        Message::Ack { of: Stamp { boot: 9, counter: 12 }, rows },
        Message::Failure { real: web().real, why: Words::clip("connection reset") },
        Message::Leave,
        Message::Query,
        Message::Status(status),
        Message::Who { name: Some("web".parse().unwrap()), roll: Some(u64::MAX) },
        Message::Standings(Standings { part: 1, parts: 3, rows: standing_rows() }),
        Message::Restart(Restart {
            agent: NodeId(77),
            roll: 1,
            bindings: vec![web(), six],
            drain: Some(Duration::from_secs(30)),
            within: Duration::from_secs(20),
        }),
    ]
}

/// Every standing and every phase.
fn standing_rows() -> Vec<StandingRow> {
    let bare = |standing| StandingRow {
        key: web(),
        name: None,
        standing,
        instance: None,
        roll: None,
        age: Duration::ZERO,
        why: None,
    };
    let rolled = |phase| StandingRow {
        name: Some("web".parse().unwrap()),
        instance: Some(3),
        roll: Some((9, phase)),
        age: Duration::from_millis(1500),
        why: Some(Words::clip("exit code 1")),
        ..bare(Standing::Absent)
    };
    Standing::ALL.into_iter().map(bare).chain(Phase::ALL.into_iter().map(rolled)).collect()
}

/// A node and a key that may say it.
pub(crate) fn speaker_of(message: &Message) -> (u64, u16) {
    match message.kind().speaker() {
        Speaker::Manager | Speaker::Anyone => (2, 1),
        Speaker::Agent => (77, 2),
        Speaker::Operator => (78, 3),
    }
}

#[test]
fn every_message_survives_its_bytes() {
    let now = Time::from_secs(100);
    let mut kinds: Vec<_> = every_message().iter().map(Message::kind).collect();
    kinds.sort();
    assert_eq!(kinds, Kind::ALL, "the table has every kind");
    for message in every_message() {
        let mut gate = gate(1);
        let (node, key) = speaker_of(&message);
        let envelope = Envelope { challenge: Some(5), echoes: vec![gate.challenge(now)], message };
        let bytes = sealer(node, 4, key, now).seal(&envelope, now).unwrap();
        let heard = gate.open(&bytes, now).unwrap();
        assert_eq!(heard.message, envelope.message);
        assert_eq!((heard.sender.node, heard.sender.key), (NodeId(node), KeyId(key)));
        assert_eq!((heard.stamp, heard.challenge), (Stamp { boot: 4, counter: 1 }, Some(5)));
    }
}

#[test]
fn ways_to_withdraw_survive() {
    let now = Time::ZERO;
    for how in [Withdrawal::Drain { deadline: None }, Withdrawal::Force] {
        let mut gate = gate(1);
        let message = Message::Remove { bindings: vec![web()], how };
        let envelope = Envelope { challenge: None, echoes: vec![gate.challenge(now)], message };
        let bytes = sealer(77, 4, 2, now).seal(&envelope, now).unwrap();
        assert_eq!(gate.open(&bytes, now).unwrap().message, envelope.message);
    }
}

#[test]
fn what_does_not_fit_is_not_sent() {
    let bindings = (0..60u16).map(|n| Statement {
        facts: Facts { version: Some(Words::clip("2.1.7-rc3")), ..Facts::default() },
        ..Statement::new(binding("10.0.0.100:80", &format!("10.1.0.11:{}", n + 1)))
    });
    let message = Message::Beacon { period: Duration::from_secs(10), bindings: bindings.collect() };
    let too_long = sealer(77, 4, 2, Time::ZERO).seal(&Envelope::plain(message), Time::ZERO).unwrap_err();
    assert!(too_long.to_string().contains("1400"), "{too_long}");
}

/// The bytes in `docs/wire-protocol.md`, for those who write another implementation.
#[test]
fn the_documented_bytes() {
    let mut sealer = sealer(77, 0x0102_0304_0506_0708, 2, Time::ZERO);
    let message = Message::Beacon {
        period: Duration::from_secs(10),
        bindings: vec![Statement { name: Some("web".parse().unwrap()), ..Statement::new(web()) }],
    };
    let envelope = Envelope { challenge: Some(0x1111), echoes: vec![0x2222], message };
    let bytes = sealer.seal(&envelope, Time::from_millis(1500)).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let documented: String = include_str!("../../docs/wire-protocol.md")
        .lines()
        .skip_while(|line| *line != "<!-- example -->")
        .skip(2)
        .take_while(|line| *line != "```")
        .map(|line| line.trim_start().split("  ").next().unwrap_or_default())
        .flat_map(|line| line.chars().filter(char::is_ascii_hexdigit))
        .collect();
    assert_eq!(hex, documented);
}
