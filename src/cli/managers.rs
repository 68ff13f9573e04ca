//! `acm managers`: asks every manager how it is, over the same control plane.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::manager::config::ManagerConfig;
use super::output::{self, Style};
use crate::acm::error::AcmError;
use crate::base::span::Span;
use crate::base::time::Time;
use crate::beacon::config::random;
use crate::beacon::datagram::DATAGRAM_MAX;
use crate::beacon::gate::{Config, Gate};
use crate::beacon::key::KeyRing;
use crate::beacon::message::{Envelope, Message, NodeId, Role, Status};
use crate::beacon::sealer::Sealer;
use crate::beacon::socket::{Reach, Sockets, Way};

/// Show the managers: who leads, its peers, the switches and how far they lag behind
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm managers --config /etc/acm/manager.toml\n  \
                        acm managers --config /etc/acm/manager.toml --json | jq '.managers[] | select(.role==\"leading\")'\n\n\
                        The file needs a key with `operator = true`, which the managers have too.")]
pub(super) struct ManagersArgs {
    /// A manager's configuration: its network and its keys
    #[arg(long, value_name = "FILE", env = "ACM_MANAGER_CONFIG", default_value = "/etc/acm/manager.toml")]
    config: PathBuf,
    /// How long to wait for answers
    #[arg(long, value_name = "TIME", default_value = "1s")]
    wait: Span,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How often the question is repeated.
const REPEAT: Duration = Duration::from_millis(200);

/// Everything, as JSON.
#[derive(Debug, Serialize)]
struct Report {
    managers: Vec<ManagerReport>,
}

#[derive(Debug, Serialize)]
struct ManagerReport {
    node: u64,
    role: Role,
    term: u64,
    leader: Option<u64>,
    agents: u32,
    bindings: u32,
    peers: Vec<PeerReport>,
    switches: Vec<SwitchReport>,
    counters: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize)]
struct PeerReport {
    node: u64,
    role: Role,
    age_ms: u64,
}

#[derive(Debug, Serialize)]
struct SwitchReport {
    name: String,
    epoch: Option<u64>,
    lag_ms: u64,
    waiting: u32,
    bindings: u32,
    why: Option<String>,
}

impl ManagersArgs {
    pub(super) fn style(&self) -> Style {
        if self.json { Style::Json } else { Style::Human }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let setup = |why: &dyn std::fmt::Display| Failure::Setup(why.to_string());
        let config = ManagerConfig::read(&self.config).map_err(|why| setup(&why))?;
        let ring = config.ring().map_err(|why| setup(&why))?;
        // The managers' own port, if it is fixed, is theirs.
        let mut reach = config.reach().map_err(|why| setup(&why))?;
        let peer = config.network.listen;
        reach.listen.set_port(0);
        if let (Way::Peers(peers), Some(own)) = (&mut reach.way, peer) {
            peers.push(own);
        }
        let asked = Asking::new(ring, &reach)?.ask(self.wait.0).await?;
        let managers: Vec<_> = asked.into_iter().map(|(node, parts)| report(node, parts)).collect();
        if managers.is_empty() {
            let why = format!("no manager answered within {}; is `acm manager` running with these keys?", self.wait);
            return Err(AcmError::Timeout { waited_for: why }.into());
        }
        match self.style() {
            Style::Json => output::json(&Report { managers }),
            Style::Human => output::text(&tables(&managers)),
        }
    }
}

type Parts = BTreeMap<u16, Status>;

/// One round of asking.
struct Asking {
    sockets: Sockets,
    sealer: Sealer,
    gate: Gate,
    began: Instant,
}

impl Asking {
    fn new(ring: Arc<KeyRing>, reach: &Reach) -> Result<Asking, Failure> {
        let setup = |why: &dyn std::fmt::Display| Failure::Setup(why.to_string());
        let key = ring.keys().find(|key| key.grant.operator).map(|key| key.id);
        let key = key.ok_or_else(|| setup(&"key: none is an operator's; add one with operator = true"))?;
        let (node, boot) = (NodeId(random()?), random()?);
        let own = Config { own: (node, boot), late_after: Duration::from_secs(10), seed: random()? };
        let sockets = Sockets::open(reach).map_err(|why| setup(&why))?;
        let sealer = Sealer::new(Arc::clone(&ring), node, boot, key, Time::ZERO).map_err(|why| setup(&why))?;
        Ok(Asking { sockets, sealer, gate: Gate::new(ring, own), began: Instant::now() })
    }

    fn now(&self) -> Time {
        Time::from_micros(self.began.elapsed().as_micros() as u64)
    }

    /// Asks until the time is over, or until all parts of every answer have come and the question was asked twice.
    async fn ask(mut self, patience: Duration) -> Result<BTreeMap<NodeId, Parts>, Failure> {
        let mut answers: BTreeMap<NodeId, Parts> = BTreeMap::new();
        let end = tokio::time::Instant::now() + patience;
        let mut repeat = tokio::time::interval(REPEAT);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return Ok(answers),
                _ = repeat.tick() => self.say(None),
                () = self.sockets.readable() => self.read(&mut answers),
            }
        }
    }

    fn say(&mut self, to: Option<SocketAddr>) {
        let now = self.now();
        let (challenge, echoes) = (Some(self.gate.challenge(now)), self.gate.echoes());
        let envelope = Envelope { challenge, echoes, message: Message::Query };
        let Ok(bytes) = self.sealer.seal(&envelope, now) else { return };
        match to {
            Some(one) => drop(self.sockets.send_to(&bytes, one)),
            None => drop(self.sockets.send_to_all(&bytes)),
        }
    }

    fn read(&mut self, answers: &mut BTreeMap<NodeId, Parts>) {
        let mut buffer = [0; DATAGRAM_MAX + 1];
        let mut turn = 0;
        while let Some((bytes, from)) = self.sockets.receive(turn, &mut buffer) {
            turn += 1;
            match self.gate.open(bytes, self.now()) {
                Ok(heard) => match heard.message {
                    Message::Status(status) => {
                        answers.entry(heard.sender.node).or_default().insert(status.part, status);
                    }
                    Message::Prove => self.say(Some(from)),
                    _ => {}
                },
                Err(refused) if refused.prove.is_some() => self.say(Some(from)),
                Err(_) => {}
            }
        }
    }
}

fn report(node: NodeId, parts: Parts) -> ManagerReport {
    let millis = |span: Duration| span.as_millis() as u64;
    let mut report = ManagerReport {
        node: node.0,
        role: Role::Watching,
        term: 0,
        leader: None,
        agents: 0,
        bindings: 0,
        peers: Vec::new(),
        switches: Vec::new(),
        counters: BTreeMap::new(),
    };
    for status in parts.into_values() {
        (report.role, report.term, report.leader) = (status.role, status.term, status.leader.map(|node| node.0));
        (report.agents, report.bindings) = (status.agents, status.bindings);
        let peer = |peer: crate::beacon::message::PeerRow| PeerReport {
            node: peer.node.0,
            role: peer.role,
            age_ms: millis(peer.age),
        };
        report.peers.extend(status.peers.into_iter().map(peer));
        report.switches.extend(status.switches.into_iter().map(|row| SwitchReport {
            name: row.name.to_string(),
            epoch: row.epoch,
            lag_ms: millis(row.lag),
            waiting: row.waiting,
            bindings: row.bindings,
            why: row.why.map(|why| why.to_string()),
        }));
        report.counters.extend(status.counters.into_iter().map(|(name, count)| (name.to_string(), count)));
    }
    report
}

fn tables(managers: &[ManagerReport]) -> String {
    let or_dash = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let rows: Vec<_> = managers
        .iter()
        .map(|one| {
            let known = |count: u32| if one.role == Role::Leading { count.to_string() } else { "-".into() };
            vec![
                one.node.to_string(),
                one.role.to_string(),
                one.term.to_string(),
                or_dash(one.leader),
                known(one.agents),
                known(one.bindings),
            ]
        })
        .collect();
    let mut text = output::table(&["MANAGER", "ROLE", "TERM", "LEADER", "AGENTS", "BINDINGS"], &rows);
    for leader in managers.iter().filter(|one| one.role == Role::Leading) {
        let rows: Vec<_> = leader
            .switches
            .iter()
            .map(|switch| {
                vec![
                    switch.name.clone(),
                    or_dash(switch.epoch),
                    Span::millis(switch.lag_ms).to_string(),
                    switch.waiting.to_string(),
                    switch.bindings.to_string(),
                    switch.why.clone().unwrap_or_default(),
                ]
            })
            .collect();
        let head = ["SWITCH", "EPOCH", "LAG", "WAITING", "BINDINGS", "WHY"];
        text.push('\n');
        text.push_str(&output::table(&head, &rows));
    }
    text
}
