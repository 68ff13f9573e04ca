//! Many agents in one place: what each says is sealed here, under its own number and counter.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::words::{BindingKey, HealthDepth, ServiceKey};
use acm_switch::base::time::Time;
use acm_switch::beacon::gate::{Config, Gate};
use acm_switch::beacon::key::{Grant, Key, KeyId, KeyRing};
use acm_switch::beacon::message::{Envelope, Message, NodeId, Statement};
use acm_switch::beacon::sealer::Sealer;

/// Secrets by key: 1 the managers', 2 the agents', 3 the operators'.
pub(crate) fn secret(key: u16) -> String {
    format!("0123456789abcdef0123456789abcde{key}")
}

/// A ring of these keys.
pub(crate) fn ring(keys: impl IntoIterator<Item = (u16, Grant)>) -> Arc<KeyRing> {
    let key = |(id, grant)| Key::new(KeyId(id), &secret(id).as_str().into(), grant).expect("a key");
    Arc::new(KeyRing::new(&"comics".parse().expect("a name"), keys.into_iter().map(key)).expect("a ring"))
}

fn service(n: usize) -> ServiceKey {
    ServiceKey::tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, (n / 250) as u8, 1 + (n % 250) as u8)), 80))
}

/// Binding `n`: one of a hundred services; servers of 10.128.0.0/9.
pub(crate) fn binding(n: usize) -> BindingKey {
    let real = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a80_0001 + n as u32)), 8080);
    BindingKey { service: service(n % 100), real }
}

/// The agents.
pub(crate) struct Crowd {
    sealers: Vec<Sealer>,
    /// Instances of each agent.
    each: usize,
    period: Duration,
    gate: Gate,
    /// The manager's latest challenge, which proves that nobody here is a recording.
    challenge: Option<u64>,
    weights: Vec<u16>,
}

impl Crowd {
    pub(crate) fn new(agents: usize, each: usize, period: Duration, now: Time) -> Crowd {
        let ring = ring([(2, Grant::default())]);
        let boot = std::process::id().into();
        let sealer = |n| Sealer::new(Arc::clone(&ring), NodeId(1000 + n as u64), boot, KeyId(2), now).expect("a key");
        let config = Config { own: (NodeId(1), boot), late_after: Duration::from_secs(60), seed: 1 };
        Crowd {
            sealers: (0..agents).map(sealer).collect(),
            each,
            period,
            gate: Gate::new(ring, config),
            challenge: None,
            weights: vec![1; agents],
        }
    }

    pub(crate) fn agents(&self) -> usize {
        self.sealers.len()
    }

    /// The manager said something.
    pub(crate) fn hear(&mut self, bytes: &[u8], now: Time) {
        let challenge = match self.gate.open(bytes, now) {
            Ok(heard) => heard.challenge,
            // Its challenge is remembered though it proves nothing to us yet.
            Err(_) => self.gate.echoes().first().copied(),
        };
        self.challenge = challenge.or(self.challenge);
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.challenge.is_some()
    }

    /// One instance of this agent is another from now on.
    pub(crate) fn change(&mut self, agent: usize) {
        self.weights[agent] = self.weights[agent] % 1000 + 1;
    }

    /// The next beacon of an agent.
    pub(crate) fn beacon(&mut self, agent: usize, now: Time) -> Vec<u8> {
        let statement = |n| Statement { depth: Some(HealthDepth::L2), ..Statement::new(binding(n)) };
        let mut bindings: Vec<_> = (agent * self.each..(agent + 1) * self.each).map(statement).collect();
        bindings[0].weight = Some(self.weights[agent]);
        let message = Message::Beacon { period: self.period, bindings };
        let echoes = self.challenge.into_iter().collect();
        let envelope = Envelope { challenge: Some(self.gate.challenge(now)), echoes, message };
        self.sealers[agent].seal(&envelope, now).expect("it fits")
    }
}
