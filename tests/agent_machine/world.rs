//! A manager and an operator in the small: they hear what an agent says, and answer what a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::words::BindingKey;
use acm_switch::agent::machine::{Agent, Setup};
use acm_switch::base::secret::Secret;
use acm_switch::base::time::Time;
use acm_switch::beacon::gate::{Config, Gate};
use acm_switch::beacon::key::{Grant, Key, KeyId, KeyRing};
use acm_switch::beacon::message::{
    AckRow, Answer, Envelope, Message, NodeId, Restart, Stamp, Standings, Statement, Withdrawal,
};
use acm_switch::beacon::sealer::Sealer;
use acm_switch::beacon::words::Words;

pub(crate) const PERIOD: Duration = Duration::from_secs(10);
pub(crate) const AGENT: NodeId = NodeId(77);

pub(crate) fn secs(secs: u64) -> Time {
    Time::from_secs(secs)
}

pub(crate) fn binding(port: u16) -> BindingKey {
    BindingKey { service: "10.0.0.100:80".parse().unwrap(), real: SocketAddr::from(([10, 1, 0, 11], port)) }
}

pub(crate) fn statement(port: u16) -> Statement {
    Statement { name: Some("web".parse().unwrap()), ..Statement::new(binding(port)) }
}

fn here() -> SocketAddr {
    "10.1.0.1:7946".parse().unwrap()
}

/// Key 1 is the managers', key 2 the agent's, key 3 an operator's, key 4 that of an operator of other services.
fn ring() -> Arc<KeyRing> {
    let grants = [
        (1, Grant { managers: [NodeId(1)].into(), ..Grant::default() }),
        (2, Grant { vips: vec!["10.0.0.100".parse().unwrap()], ..Grant::default() }),
        (3, Grant { operator: true, ..Grant::default() }),
        (4, Grant { operator: true, vips: vec!["10.0.0.200".parse().unwrap()], ..Grant::default() }),
    ];
    let secret = |id: u16| Secret::from(format!("0123456789abcdef0123456789ab{id:04x}").as_str());
    let key = |(id, grant)| Key::new(KeyId(id), &secret(id), grant).unwrap();
    Arc::new(KeyRing::new(&"comics".parse().unwrap(), grants.map(key)).unwrap())
}

pub(crate) fn agent(now: Time) -> Agent {
    let setup = Setup { node: AGENT, ring: ring(), sign_with: KeyId(2), period: PERIOD, boot: 9, seed: 5 };
    Agent::new(setup, now).unwrap()
}

/// Somebody the agent speaks with, under one key.
pub(crate) struct Peer {
    key: KeyId,
    gate: Gate,
    sealer: Sealer,
    /// What it heard, with the stamp.
    pub(crate) heard: Vec<(Stamp, Message)>,
    /// Datagrams for the agent.
    pub(crate) out: Vec<Vec<u8>>,
}

impl Peer {
    pub(crate) fn manager() -> Peer {
        Peer::new(NodeId(1), KeyId(2))
    }

    pub(crate) fn operator(key: u16) -> Peer {
        Peer::new(NodeId(500 + u64::from(key)), KeyId(key))
    }

    fn new(node: NodeId, key: KeyId) -> Peer {
        let config = Config { own: (node, 1000), late_after: PERIOD, seed: node.0 };
        let gate = Gate::new(ring(), config);
        let sealer = Sealer::new(ring(), node, 1000, key, Time::ZERO).unwrap();
        Peer { key, gate, sealer, heard: Vec::new(), out: Vec::new() }
    }

    /// Hears a datagram; asks for proof if it must.
    pub(crate) fn hear(&mut self, bytes: &[u8], now: Time) {
        match self.gate.open(bytes, now) {
            Ok(heard) => self.heard.push((heard.stamp, heard.message)),
            Err(refused) => {
                if let Some(unproven) = refused.prove {
                    let echoes = unproven.echo.into_iter().collect();
                    let envelope = Envelope { challenge: Some(unproven.challenge), echoes, message: Message::Prove };
                    self.out.push(self.sealer.seal_with(self.key, &envelope, now).unwrap());
                }
            }
        }
    }

    pub(crate) fn say(&mut self, message: Message, now: Time) {
        let envelope = Envelope { challenge: Some(self.gate.challenge(now)), echoes: self.gate.echoes(), message };
        self.out.push(self.sealer.seal(&envelope, now).unwrap());
    }

    /// Answers the latest Add or Remove about these, as one switch would.
    pub(crate) fn ack(&mut self, ports: &[u16], answer: Answer, now: Time) {
        let is_request = |message: &Message| matches!(message, Message::Add { .. } | Message::Remove { .. });
        let of = self.heard.iter().rfind(|(_, message)| is_request(message)).expect("a request was heard").0;
        let row = |port: &u16| AckRow {
            key: binding(*port),
            switch: Some("sw-1".parse().unwrap()),
            answer,
            note: (answer != Answer::Done).then(|| Words::clip("in words")),
        };
        self.say(Message::Ack { of, rows: ports.iter().map(row).collect() }, now);
    }

    /// What it heard since it was asked last.
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.heard).into_iter().map(|(_, message)| message).collect()
    }

    /// The rows of the answers it heard since it was asked last.
    pub(crate) fn rows(&mut self) -> Vec<acm_switch::beacon::message::StandingRow> {
        let rows = self.messages().into_iter().filter_map(|message| match message {
            Message::Standings(Standings { rows, .. }) => Some(rows),
            _ => None,
        });
        rows.flatten().collect()
    }
}

/// Where datagrams to the agent come from.
pub(crate) fn from() -> SocketAddr {
    here()
}

pub(crate) fn restart(roll: u64, port: u16) -> Message {
    Message::Restart(Restart {
        agent: AGENT,
        roll,
        bindings: vec![binding(port)],
        drain: None,
        within: Duration::from_secs(5),
    })
}

pub(crate) fn drain(secs: u64) -> Withdrawal {
    Withdrawal::Drain { deadline: Some(Duration::from_secs(secs)) }
}
