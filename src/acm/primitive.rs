//! The primitives as data. One value says everything a call asks for, so that a call, a list of calls, a JSON
//! body, a transcript and a test speak the same language.

use std::net::SocketAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::error::AcmError;
use super::rules::{Action, Content, HashOptions, Persistence, Rule, RuleEdit, Strangers, Switching};
use super::words::{BindingKey, DropMode, HealthProfile, Refusal, Scheduler, ServiceKey, default_group, operator};
use crate::base::fraction::Fraction;
use crate::base::id::{BindingId, Generation, Name};
use crate::base::span::Span;

/// Add: binds a real to a virtual service, which is created if new. An upsert: repeated, it changes options,
/// refreshes the lease and turns a draining binding active again with the same id.
///
/// An absent option keeps what an existing binding has and takes the default for a new one; an absent `lease`
/// makes an existing binding permanent, since a lease must be asked for each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// The virtual service.
    #[schema(value_type = String, example = "10.0.0.100:80")]
    pub service: ServiceKey,
    /// The real server.
    #[schema(value_type = String, example = "10.0.0.11:8080")]
    pub real: SocketAddr,
    /// Group; default `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Name>,
    /// Weight, 0 to 1000; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Most live connections, at least 1; default no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_conns: Option<u32>,
    /// Lease, 1 s to 1 day: drained unless refreshed within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Span>,
    /// Health profile; default the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthProfile>,
    /// The service's own name for this instance. Consistent hashing and persistence know the binding by it, so that a
    /// server that comes back on another port, or address, keeps its share; default: by its address without the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Name>,
    /// Who adds it; default `operator`. Another owner's binding is not touched: `Exists`.
    #[serde(default = "operator")]
    pub owner: Name,
}

impl Add {
    /// An Add with every option at its default.
    pub fn new(service: ServiceKey, real: SocketAddr) -> Add {
        Add {
            service,
            real,
            group: None,
            weight: None,
            max_conns: None,
            lease: None,
            health: None,
            identity: None,
            owner: operator(),
        }
    }

    /// The binding this is about.
    pub fn key(&self) -> BindingKey {
        BindingKey { service: self.service, real: self.real }
    }
}

/// Remove: after the acknowledgement no new connection goes there; existing ones finish. Repeated Remove is Ok
/// and sets the deadline anew if it names one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// The virtual service.
    #[schema(value_type = String, example = "10.0.0.100:80")]
    pub service: ServiceKey,
    /// The real server.
    #[schema(value_type = String, example = "10.0.0.11:8080")]
    pub real: SocketAddr,
    /// After this, Force Remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
}

impl Remove {
    /// The binding this is about.
    pub fn key(&self) -> BindingKey {
        BindingKey { service: self.service, real: self.real }
    }
}

/// Force Remove: the binding and its connections end now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForceRemove {
    /// The virtual service.
    #[schema(value_type = String, example = "10.0.0.100:80")]
    pub service: ServiceKey,
    /// The real server.
    #[schema(value_type = String, example = "10.0.0.11:8080")]
    pub real: SocketAddr,
}

impl ForceRemove {
    /// The binding this is about.
    pub fn key(&self) -> BindingKey {
        BindingKey { service: self.service, real: self.real }
    }
}

/// Drop: refuses a fraction of new connections. Fraction 0 clears exactly the policy named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropNew {
    /// The virtual service; it must exist.
    #[schema(value_type = String, example = "10.0.0.100:80")]
    pub service: ServiceKey,
    /// How many, 0 to 1.
    pub fraction: Fraction,
    /// Per SYN or per attempt; default `shed`.
    #[serde(default)]
    pub mode: DropMode,
    /// Only clients of this prefix; it must be of the service's address family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "198.51.100.0/24")]
    pub from: Option<IpNet>,
    /// What a refused client hears; default `silent`.
    #[serde(default)]
    pub refusal: Refusal,
    /// The policy ends by itself after this, 1 ms to 10 years.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
}

/// Sets a service's options; creates the service if new. Absent fields stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetService {
    /// The virtual service.
    #[schema(value_type = String, example = "10.0.0.100:80")]
    pub service: ServiceKey,
    /// The group `scheduler`, `hash` and `persist` are for; default `default`.
    #[serde(default = "default_group")]
    pub group: Name,
    /// How that group chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<Scheduler>,
    /// What that group hashes, as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashOptions>,
    /// Whether a client that comes back to that group meets the same real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persist: Option<Persistence>,
    /// Profile of bindings added later that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthProfile>,
    /// What a client hears when no real is eligible. Where requests are looked into the handshake is done by then, so that
    /// there is no silence: with `silent` a request is answered 503, and what is not HTTP is reset; `reset` resets both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_none: Option<Refusal>,
    /// How far the service looks into what clients send. Connections there are keep the mode they began in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// What is chosen for on a keep-alive connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switching: Option<Switching>,
    /// What is done with what no rule decides: a group, `reset` or a redirect; at first group `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_action: Option<Action>,
    /// What becomes of clients that speak something else than the service reads; at first `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strangers: Option<Strangers>,
    /// Content rules, replacing those there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<Rule>>,
    /// Or one change to those there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<RuleEdit>,
}

impl SetService {
    /// Creates the service if new and changes nothing else.
    pub fn new(service: ServiceKey) -> SetService {
        SetService {
            service,
            group: default_group(),
            scheduler: None,
            hash: None,
            persist: None,
            health: None,
            when_none: None,
            content: None,
            switching: None,
            default_action: None,
            strangers: None,
            rules: None,
            edit: None,
        }
    }

    /// True if it asks for something that needs a look into what clients send. What is as it is without (no rules, the
    /// default group for everything) is no wish, so that what List shows can be given to any switch. A switch without
    /// [`Feature::ContentRules`](super::error::Feature::ContentRules) refuses such a call whole.
    pub fn needs_content(&self) -> bool {
        self.content.is_some_and(|content| content != Content::None)
            || self.switching.is_some_and(|switching| switching != Switching::default())
            || self.rules.as_ref().is_some_and(|rules| !rules.is_empty())
            || self.edit.is_some()
            || self.default_action.as_ref().is_some_and(|action| *action != Action::default_action())
            || self.strangers.is_some_and(|strangers| strangers != Strangers::default())
            || self.scheduler.is_some_and(Scheduler::needs_content)
            || self.persist.as_ref().is_some_and(|persist| *persist != Persistence::None)
    }
}

/// Removes a service: its bindings are Force Removed first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveService {
    /// The virtual service.
    #[schema(value_type = String, example = "10.0.0.100:80")]
    pub service: ServiceKey,
}

/// Any changing call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Primitive {
    /// [`Add`]
    Add(Add),
    /// [`Remove`]
    Remove(Remove),
    /// [`ForceRemove`]
    ForceRemove(ForceRemove),
    /// [`DropNew`]
    Drop(DropNew),
    /// [`SetService`]
    SetService(SetService),
    /// [`RemoveService`]
    RemoveService(RemoveService),
}

impl Primitive {
    /// The service this is about.
    pub fn service(&self) -> ServiceKey {
        match self {
            Primitive::Add(p) => p.service,
            Primitive::Remove(p) => p.service,
            Primitive::ForceRemove(p) => p.service,
            Primitive::Drop(p) => p.service,
            Primitive::SetService(p) => p.service,
            Primitive::RemoveService(p) => p.service,
        }
    }

    /// The word for it in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Primitive::Add(_) => "add",
            Primitive::Remove(_) => "remove",
            Primitive::ForceRemove(_) => "force-remove",
            Primitive::Drop(_) => "drop",
            Primitive::SetService(_) => "set-service",
            Primitive::RemoveService(_) => "remove-service",
        }
    }
}

/// What an acknowledged primitive did. By the time it is returned, every worker uses the table of `generation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// The generation in which it is in force.
    pub generation: Generation,
    /// The binding it was about, for primitives about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<BindingId>,
    /// True if the call changed anything; a repeated call does not.
    pub changed: bool,
    /// Connections cut, for Force Remove and service removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
}

/// One primitive's result within a list.
pub type Outcome = Result<Done, AcmError>;

/// Who calls, for owners and fencing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Caller {
    /// The tenure a manager acts under; `None` for operators and services, who are always allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenure: Option<Tenure>,
}

/// Leadership over a switch, granted by the switch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tenure {
    /// Grows with each claim.
    pub epoch: u64,
    /// Who holds it.
    pub manager: Name,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_strict_and_short() {
        let text = r#"{"op":"add","service":"10.0.0.100:80","real":"10.0.0.11:8080","weight":3}"#;
        let add: Primitive = serde_json::from_str(text).unwrap();
        assert_eq!(add.service().to_string(), "10.0.0.100:80");
        let unknown = text.replace("weight", "wieght");
        assert!(serde_json::from_str::<Primitive>(&unknown).unwrap_err().to_string().contains("wieght"));
        let fraction = r#"{"op":"drop","service":"10.0.0.100:80","fraction":1.5}"#;
        assert!(serde_json::from_str::<Primitive>(fraction).unwrap_err().to_string().contains("fraction"));
    }
}
