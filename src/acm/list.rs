//! The List primitive: every binding with state, health and its reason, connections, owner and generation, as
//! one consistent snapshot.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::rules::{Action, Content, HashOptions, Persistence, Rule, Strangers, Switching};
use super::words::{AdminState, Binding, BindingKey, DropMode, Health, HealthProfile, Refusal, Scheduler, ServiceKey};
use crate::base::addr::Mac;
use crate::base::fraction::Fraction;
use crate::base::id::{BindingId, Generation, Name, ServiceId};
use crate::base::span::Span;
use crate::base::text::quoted;

/// Which rows List shows; absent means all. An unknown service gives an empty list, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.0.0.100:80")]
    pub service: Option<ServiceKey>,
    /// Only bindings of this real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "10.0.0.11:8080")]
    pub real: Option<SocketAddr>,
    /// Only bindings of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Name>,
    /// Only bindings of this owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// Only bindings in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

impl Filter {
    /// All of one service.
    pub fn service(service: ServiceKey) -> Filter {
        Filter { service: Some(service), ..Filter::default() }
    }

    /// True if the row is asked for.
    pub fn wants(&self, row: &BindingRow) -> bool {
        self.service.is_none_or(|key| key == row.key.service)
            && self.real.is_none_or(|real| real == row.key.real)
            && self.group.as_ref().is_none_or(|group| *group == row.group)
            && self.owner.as_ref().is_none_or(|owner| *owner == row.owner)
            && self.state.is_none_or(|state| state == row.state)
    }
}

/// The state of a binding as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Added, its first check has not passed yet.
    Pending,
    /// Takes connections.
    Active,
    /// Checks fail; no new connections.
    Failed,
    /// Removed, connections are finishing.
    Draining,
    /// Its lease ran out, and it stays because no other healthy member could take over. Takes connections.
    Lapsed,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Active => "active",
            State::Failed => "failed",
            State::Draining => "draining",
            State::Lapsed => "lapsed",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for State {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [State::Pending, State::Active, State::Failed, State::Draining, State::Lapsed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| {
                format!("{} is not a state; choose pending, active, failed, draining or lapsed", quoted(text))
            })
    }
}

/// One binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BindingRow {
    /// Service and real.
    #[serde(flatten)]
    pub key: BindingKey,
    /// Stable identity.
    pub id: BindingId,
    /// Its group.
    pub group: Name,
    /// Its state.
    pub state: State,
    /// Why it is not active, in plain words; absent when active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Live connections now.
    pub connections: u64,
    /// Connections given to it since it was added.
    pub total: u64,
    /// Its weight.
    pub weight: u16,
    /// Its connection limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_conns: Option<u32>,
    /// Who added it.
    pub owner: Name,
    /// Its identity for consistent hashing, if it was given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Name>,
    /// Its lease period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    /// How much of the lease is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_left: Option<Span>,
    /// How long until draining turns into Force Remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_left: Option<Span>,
    /// Its link address, once resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its health profile.
    pub health: HealthProfile,
}

/// One group of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GroupRow {
    /// Its name.
    pub group: Name,
    /// How it chooses.
    pub scheduler: Scheduler,
    /// What it hashes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hash: HashOptions,
    /// Whether a client that comes back meets the same real.
    #[serde(default, skip_serializing_if = "is_default")]
    pub persist: Persistence,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl GroupRow {
    /// A group that hashes nothing of requests and keeps nobody.
    pub fn plain(group: Name, scheduler: Scheduler) -> GroupRow {
        GroupRow { group, scheduler, hash: HashOptions::default(), persist: Persistence::None }
    }
}

/// One content rule, in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RuleRow {
    /// The rule.
    pub rule: Rule,
    /// Requests it decided, since it came with this name.
    pub hits: u64,
}

/// One Drop policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DropRow {
    /// Client prefix, or absent for the service's own policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "198.51.100.0/24")]
    pub from: Option<IpNet>,
    /// Fraction refused.
    pub fraction: Fraction,
    /// Per SYN or per attempt.
    pub mode: DropMode,
    /// What a refused client hears.
    pub refusal: Refusal,
    /// How long it still lasts.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub left: Option<Span>,
}

/// One service, its groups and policies. Its bindings are rows of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServiceRow {
    /// Its address.
    #[schema(value_type = String, example = "10.0.0.100:80")]
    pub service: ServiceKey,
    /// Stable identity.
    pub id: ServiceId,
    /// Its groups.
    pub groups: Vec<GroupRow>,
    /// Its Drop policies.
    pub drops: Vec<DropRow>,
    /// How far it looks into what clients send.
    #[serde(default)]
    pub content: Content,
    /// What is chosen for on a keep-alive connection.
    #[serde(default)]
    pub switching: Switching,
    /// What is done with what no rule decides.
    #[serde(default = "Action::default_action")]
    pub default_action: Action,
    /// What becomes of clients that speak something else than the service reads.
    #[serde(default)]
    pub strangers: Strangers,
    /// Its content rules, in order; in force while `content` is not `none`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleRow>,
    /// Profile of bindings that name none.
    pub health: HealthProfile,
    /// What a client hears when no real is eligible.
    pub when_none: Refusal,
    /// New connections admitted since the service was created.
    pub admitted: u64,
    /// SYNs (UDP: datagrams) refused by Drop since the service was created.
    pub dropped: u64,
    /// New connections refused because no real was eligible.
    pub refused: u64,
}

/// The answer of List: rows in order of service, then real.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Listing {
    /// The table the rows are from.
    pub generation: Generation,
    /// Services asked for.
    pub services: Vec<ServiceRow>,
    /// Bindings asked for.
    pub bindings: Vec<BindingRow>,
}

impl Listing {
    /// The row of one binding.
    pub fn binding(&self, key: &BindingKey) -> Option<&BindingRow> {
        self.bindings.iter().find(|row| row.key == *key)
    }
}

impl Binding {
    /// Its state: the will first, then what was observed.
    pub fn state(&self) -> State {
        match (&self.will.admin, &self.observed.health) {
            (AdminState::Draining { .. }, _) => State::Draining,
            (AdminState::Up, Health::Failing(_)) => State::Failed,
            (AdminState::Up, Health::Unknown(_)) => State::Pending,
            (AdminState::Up, Health::Passing) if self.observed.mac.is_none() => State::Pending,
            (AdminState::Up, Health::Passing) if self.observed.lapsed => State::Lapsed,
            (AdminState::Up, Health::Passing) => State::Active,
        }
    }

    /// Why it is not simply active, in plain words.
    pub fn reason(&self) -> Option<String> {
        match (self.state(), &self.observed.health) {
            (State::Active, _) => None,
            (State::Draining, _) => Some("removed; existing connections finish".into()),
            (State::Lapsed, _) => Some("its lease ran out, but no other healthy member could take over".into()),
            (_, Health::Failing(why) | Health::Unknown(why)) => Some(why.to_string()),
            (_, Health::Passing) => Some("its link address is not known".into()),
        }
    }
}
