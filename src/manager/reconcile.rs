//! From what is wanted and what a switch shows to what is to be done there. Pure: one call, no memory.
//!
//! What is wanted is added. What is there and not wanted goes by its reason:
//!
//! | not wanted, because | goes | unless |
//! |---|---|---|
//! | its agent withdrew it | at once | |
//! | its agent says it fails | at once | it is the last member, or the brake |
//! | silent or reported, and the probe was refused just now | at once | last member, brake |
//! | silent or reported, and the probe met silence | at once | the switch's own check passes, last member, brake |
//! | nobody speaks of it, and its probe fails as above | after the hold-down | as above |
//! | nobody speaks of it, and its probe passes | when unclaimed for long | we hear nobody of its service, last member, brake |
//!
//! *Brake*: of a service's members at most a share, and at least one, goes in one pass without an agent's own request.
//! *Last member*: nothing but that request takes the last one. *The switch's own check*: it is the switch that
//! forwards, so when it reaches a server and we do not, it is we who are cut off. Adds come before removals, so that
//! capacity never dips.
//!
//! Rows of another owner are never touched. A row that drains is left to drain. A List that failed makes no plan.

use std::collections::{BTreeMap, BTreeSet};

use super::cache::{Absence, Want, Wanted, Wish};
use super::probe::{Evidence, Finding, Target};
use crate::acm::list::{BindingRow, Listing, State};
use crate::acm::primitive::{Add, ForceRemove, Primitive, Remove};
use crate::acm::words::{BindingKey, HealthDepth, HealthProfile, ServiceKey, default_group};
use crate::base::id::{BindingId, Name};
use crate::base::span::Span;
use crate::base::time::Time;
use crate::beacon::message::Withdrawal;

/// The share of a service's members that goes in one pass at most; one may go of however few.
const BRAKE: f64 = 0.3;

/// What is worth remembering of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its identity.
    pub id: BindingId,
    /// Whose it is.
    pub owner: Name,
    /// Its state.
    pub state: State,
    /// Its group.
    pub group: Name,
    /// Its weight.
    pub weight: u16,
    /// Its limit.
    pub max_conns: Option<u32>,
    /// Has it a lease? A manager sets none, lest its own end move packets.
    pub leased: bool,
    /// How it is checked.
    pub health: HealthProfile,
}

impl From<BindingRow> for Row {
    fn from(row: BindingRow) -> Row {
        Row {
            id: row.id,
            owner: row.owner,
            state: row.state,
            group: row.group,
            weight: row.weight,
            max_conns: row.max_conns,
            leased: row.lease.is_some(),
            health: row.health,
        }
    }
}

impl Row {
    /// True if the switch itself found the server well, by more than its link address.
    fn is_vouched_for(&self) -> bool {
        let looked = self.health.depth >= HealthDepth::L3 || self.health.http.is_some();
        looked && matches!(self.state, State::Active | State::Lapsed)
    }
}

/// A switch's bindings as listed.
pub type Observed = BTreeMap<BindingKey, Row>;

/// The rows of a listing.
pub fn observed(listing: Listing) -> Observed {
    listing.bindings.into_iter().map(|row| (row.key, Row::from(row))).collect()
}

/// What may be done.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Whose bindings we look after.
    pub owner: &'a Name,
    /// How what we add is to be checked; absent: as the service says.
    pub health: Option<&'a HealthProfile>,
    /// How long a binding that is taken out for its own sake may drain.
    pub drain: Span,
    /// What of the unknown may go.
    pub unknown: Unknown,
    /// The latest findings about servers that nobody speaks of.
    pub found: &'a BTreeMap<Target, Evidence>,
    /// A refusal from before this moment is believed no more than silence: the server may have come back since.
    pub refusals_since: Time,
}

/// How long we have listened, and so what may become of bindings that nobody speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unknown {
    /// We have just begun to lead: nothing.
    Kept,
    /// The hold-down is over: those whose server does not answer.
    DeadMayGo,
    /// For very long: all.
    AllMayGo,
}

/// What is to be done, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The primitives, adds first.
    pub steps: Vec<(BindingKey, Primitive)>,
    /// What is other than wanted and stays so, and why.
    pub held: Vec<(BindingKey, Held)>,
    /// Servers to be probed before the next pass.
    pub probes: BTreeSet<Target>,
}

/// Why something stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It is somebody else's.
    Foreign(Name),
    /// Nobody speaks of it yet; we have not listened long enough, or not looked yet.
    HoldDown,
    /// Nobody speaks of it, and it lives.
    Unclaimed,
    /// The switch's own check passes.
    Vouched,
    /// It is the service's last member.
    LastMember,
    /// Enough goes in this pass.
    Brake,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Held::Foreign(owner) => write!(f, "it belongs to {owner}"),
            Held::HoldDown => f.write_str("no agent speaks of it yet"),
            Held::Unclaimed => f.write_str("no agent speaks of it, but its server answers"),
            Held::Vouched => f.write_str("the switch's own check of it passes"),
            Held::LastMember => f.write_str("it is the last member of its service"),
            Held::Brake => f.write_str("enough is removed in one pass"),
        }
    }
}

/// The Add for a wish, given what there is: what an Add does not name stays as it is, and the default group is a wish.
pub fn add(key: &BindingKey, wish: &Wish, row: Option<&Row>, rules: &Rules<'_>) -> Add {
    let strays = row.filter(|row| row.group != default_group()).map(|_| default_group());
    Add {
        group: wish.group.clone().or(strays),
        weight: wish.weight,
        max_conns: wish.max_conns,
        health: health_of(wish, rules),
        owner: rules.owner.clone(),
        ..Add::new(key.service, key.real)
    }
}

fn health_of(wish: &Wish, rules: &Rules<'_>) -> Option<HealthProfile> {
    match (wish.depth, rules.health) {
        (None, health) => health.cloned(),
        (Some(depth), health) => Some(HealthProfile { depth, ..health.cloned().unwrap_or_default() }),
    }
}

/// The primitive that withdraws a binding as its agent asked.
pub fn withdrawal(key: &BindingKey, how: Withdrawal) -> Primitive {
    let (service, real) = (key.service, key.real);
    match how {
        Withdrawal::Force => Primitive::ForceRemove(ForceRemove { service, real }),
        Withdrawal::Drain { deadline } => Primitive::Remove(Remove { service, real, deadline: deadline.map(Span) }),
    }
}

/// True if the row is as wished, as far as the wish says.
pub fn is_as_wished(row: &Row, wish: &Wish, rules: &Rules<'_>) -> bool {
    let group = wish.group.clone().unwrap_or_else(default_group);
    row.state != State::Draining
        && !row.leased
        && row.group == group
        && wish.weight.is_none_or(|weight| weight == row.weight)
        && (wish.max_conns.is_none() || wish.max_conns == row.max_conns)
        && health_of(wish, rules).is_none_or(|health| health == row.health)
}

/// Makes the plan.
pub fn plan(wanted: &Wanted, observed: &Observed, rules: &Rules<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut members = Members::default();
    for (key, _) in observed.iter().filter(|(_, row)| row.state != State::Draining) {
        members.count(key);
    }
    for (key, want) in &wanted.bindings {
        match (want, observed.get(key)) {
            (Want::Present(_), Some(row)) if row.owner != *rules.owner => {
                plan.held.push((*key, Held::Foreign(row.owner.clone())));
            }
            (Want::Present(wish), row) => {
                if !row.is_some_and(|row| is_as_wished(row, wish, rules)) {
                    plan.steps.push((*key, Primitive::Add(add(key, wish, row, rules))));
                }
                if row.is_none_or(|row| row.state == State::Draining) {
                    members.joins(key);
                }
            }
            (Want::Absent(_), _) => {}
        }
    }
    removals(wanted, observed, rules, &mut members, &mut plan);
    plan
}

/// What goes: first what was asked for, then the rest under the rules.
fn removals(wanted: &Wanted, observed: &Observed, rules: &Rules<'_>, members: &mut Members, plan: &mut Plan) {
    let ours = observed.iter().filter(|(_, row)| row.owner == *rules.owner && row.state != State::Draining);
    let mut guarded = Vec::new();
    for (key, row) in ours {
        match wanted.bindings.get(key) {
            Some(Want::Present(_)) => {}
            Some(Want::Absent(Absence::Asked(how))) => {
                members.leaves(key);
                plan.steps.push((*key, withdrawal(key, *how)));
            }
            Some(Want::Absent(Absence::Failing(_))) => guarded.push(key),
            Some(Want::Absent(Absence::Dead(evidence))) => match is_dead(*evidence, row, rules) {
                true => guarded.push(key),
                false => plan.held.push((*key, Held::Vouched)),
            },
            None => match unknown(key, row, wanted, rules) {
                Ok(()) => guarded.push(key),
                Err(held) => plan.held.push((*key, held)),
            },
        }
        if !wanted.bindings.contains_key(key) {
            plan.probes.insert(target(key));
        }
    }
    for key in guarded {
        match members.may_leave(key) {
            Ok(()) => {
                members.leaves(key);
                plan.steps.push((*key, withdrawal(key, Withdrawal::Drain { deadline: Some(rules.drain.0) })));
            }
            Err(held) => plan.held.push((*key, held)),
        }
    }
}

fn target(key: &BindingKey) -> Target {
    Target { real: key.real, protocol: key.service.protocol }
}

fn is_dead(evidence: Evidence, row: &Row, rules: &Rules<'_>) -> bool {
    match evidence.found {
        Finding::Alive => false,
        Finding::Refused if evidence.at >= rules.refusals_since => true,
        Finding::Refused | Finding::Silent => !row.is_vouched_for(),
    }
}

/// May a binding go that nobody speaks of?
fn unknown(key: &BindingKey, row: &Row, wanted: &Wanted, rules: &Rules<'_>) -> Result<(), Held> {
    let Some(evidence) = rules.found.get(&target(key)).filter(|_| rules.unknown > Unknown::Kept) else {
        return Err(Held::HoldDown);
    };
    match (evidence.found, rules.unknown) {
        _ if is_dead(*evidence, row, rules) => Ok(()),
        (Finding::Silent | Finding::Refused, _) => Err(Held::Vouched),
        (Finding::Alive, Unknown::AllMayGo) if wanted.heard.contains(&key.service) => Ok(()),
        (Finding::Alive, _) => Err(Held::Unclaimed),
    }
}

/// The members of each service, as the pass leaves them.
#[derive(Debug, Default)]
struct Members(BTreeMap<ServiceKey, Count>);

#[derive(Debug, Default)]
struct Count {
    before: usize,
    now: usize,
    /// Gone in this pass without having been asked to.
    left: usize,
}

impl Members {
    fn of(&mut self, key: &BindingKey) -> &mut Count {
        self.0.entry(key.service).or_default()
    }

    fn count(&mut self, key: &BindingKey) {
        let count = self.of(key);
        count.before += 1;
        count.now += 1;
    }

    fn joins(&mut self, key: &BindingKey) {
        self.of(key).now += 1;
    }

    fn leaves(&mut self, key: &BindingKey) {
        let count = self.of(key);
        count.now = count.now.saturating_sub(1);
    }

    /// May this one go without having been asked to?
    fn may_leave(&mut self, key: &BindingKey) -> Result<(), Held> {
        let count = self.of(key);
        let most = ((count.before as f64 * BRAKE) as usize).max(1);
        if count.now <= 1 {
            return Err(Held::LastMember);
        }
        if count.left >= most {
            return Err(Held::Brake);
        }
        count.left += 1;
        Ok(())
    }
}
