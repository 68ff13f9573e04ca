//! `acm managers`: asks every manager how it is, over the same control plane.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::operator::{Operator, Word};
use super::output::{self, Style};
use crate::base::span::Span;
use crate::beacon::gate::Heard;
use crate::beacon::message::{Message, NodeId, Role, Status};

/// Show the managers: who leads, its peers, the switches and how far they lag behind
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm managers --config /etc/acm/manager.toml\n  \
                        acm managers --config /etc/acm/manager.toml --json | jq '.managers[] | select(.role==\"leading\")'\n\n\
                        The file needs a key with `operator = true`, which the managers have too.")]
pub(super) struct ManagersArgs {
    /// Group, network and an operator's key: a manager's configuration has them, or a file of your own
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
        let asked = ask(Operator::open(&self.config)?, self.wait.0).await;
        let managers: Vec<_> = asked.into_iter().map(|(node, parts)| report(node, parts)).collect();
        if managers.is_empty() {
            let why = format!("no manager answered within {}; is `acm manager` running with these keys?", self.wait);
            return Err(Failure::NoAnswer(why));
        }
        match self.style() {
            Style::Json => output::json(&Report { managers }),
            Style::Human => output::text(&tables(&managers)),
        }
    }
}

type Parts = BTreeMap<u16, Status>;

/// Asks until the time is over.
async fn ask(mut operator: Operator, patience: Duration) -> BTreeMap<NodeId, Parts> {
    let mut answers: BTreeMap<NodeId, Parts> = BTreeMap::new();
    let end = tokio::time::Instant::now() + patience;
    let mut repeat = tokio::time::interval(REPEAT);
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(end) => return answers,
            _ = repeat.tick() => operator.say_to_all(&Message::Query),
            () = operator.readable() => {
                for word in operator.hear() {
                    match word {
                        Word::Answer(Heard { sender, message: Message::Status(status), .. }, _) => {
                            answers.entry(sender.node).or_default().insert(status.part, status);
                        }
                        Word::Answer(..) => {}
                        Word::Again(sender, from) => operator.say_to(sender, from, &Message::Query),
                    }
                }
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
