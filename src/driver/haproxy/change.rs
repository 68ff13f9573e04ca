//! What a primitive means in HAProxy's commands, given what was seen. Pure: no socket, no clock.
//!
//! A refusal is made here, before anything is sent, wherever it can be. The commands of one line are performed one
//! after the other by HAProxy without anybody else's in between.

use super::answer::Seen;
use super::backend::{Backend, Server, foreign};
use super::name::{Check, ServerName};
use crate::acm::error::{AcmError, Feature};
use crate::acm::primitive::{Add, Remove, SetService};
use crate::acm::rules::HashOptions;
use crate::acm::rules::check::wants_content;
use crate::acm::words::{BindingKey, HealthProfile, Refusal, default_group};
use crate::base::limits::BINDINGS_PER_SERVICE_MAX;

/// HAProxy's weights end here.
const WEIGHT_MAX: u16 = 256;
/// HAProxy's numbers are positive and signed.
const NUMBER_MAX: u32 = i32::MAX as u32;

/// What Add comes to, and what the server is like afterwards.
#[derive(Debug)]
pub(super) enum Addition {
    /// A server is created, then let in. Should that fail, the last line takes it back.
    New { create: String, admit: String, take_back: String, after: Server },
    /// A server that is there is told these commands, if any.
    Known { commands: Option<String>, after: Server },
}

/// What Remove comes to: a command, or nothing if it is removed already; and what the server is like afterwards.
#[derive(Debug)]
pub(super) struct Removing {
    pub(super) command: Option<String>,
    pub(super) after: Server,
}

/// Decides about an Add. `id` is the number a new server gets.
///
/// # Errors
/// `Invalid`, `Unsupported`, `Exists`, `Full`.
pub(super) fn add(backend: &Backend, add: &Add, id: u32) -> Result<Addition, AcmError> {
    check_real(add)?;
    check_options(add)?;
    match backend.at(add.real) {
        None => create(backend, add, id),
        Some(server) => change(backend, server, add),
    }
}

fn check_real(add: &Add) -> Result<(), AcmError> {
    let (vip, real) = (add.service.vip(), add.real);
    if real.ip() == vip {
        let why = format!("{real} is the virtual address itself; a service cannot be bound to itself");
        return Err(AcmError::invalid("real", why));
    }
    if real.is_ipv4() != vip.is_ipv4() {
        return Err(AcmError::invalid("real", format!("{real} and {vip} are of different address families")));
    }
    Ok(())
}

fn check_options(add: &Add) -> Result<(), AcmError> {
    let cannot = |feature, why: &str| Err(AcmError::unsupported(feature, why));
    if add.owner == foreign() {
        return Err(AcmError::invalid("owner", "`foreign` is the owner of what others put into HAProxy"));
    }
    if add.lease.is_some() {
        return cannot(Feature::Leases, "HAProxy keeps none; whoever adds must Remove");
    }
    if add.group.as_ref().is_some_and(|group| *group != default_group()) {
        return cannot(Feature::Option, "a backend of HAProxy is one group; only `default` is there");
    }
    if add.identity.is_some() {
        return cannot(Feature::Option, "HAProxy knows servers by name and address; leave identity out");
    }
    if add.weight.is_some_and(|weight| weight > WEIGHT_MAX) {
        return cannot(Feature::Option, "HAProxy's weights are 0 to 256");
    }
    if add.max_conns.is_some_and(|limit| limit > NUMBER_MAX) {
        return cannot(Feature::Option, "HAProxy's connection limits end at 2147483647");
    }
    Ok(())
}

fn create(backend: &Backend, add: &Add, id: u32) -> Result<Addition, AcmError> {
    if backend.len() >= BINDINGS_PER_SERVICE_MAX {
        return Err(AcmError::Full { what: "bindings of a service".into(), max: BINDINGS_PER_SERVICE_MAX as u64 });
    }
    let check = add.health.as_ref().map_or(Ok(Check::default()), Check::of)?;
    let name = ServerName { real: add.real, owner: add.owner.clone(), check };
    if backend.has_foreign(&name.to_string()) {
        let what = format!("a server `{name}` at another address in HAProxy");
        return Err(AcmError::Exists { what, owner: foreign().to_string() });
    }
    let server = format!("{}/{name}", backend.name);
    let mut create = format!("add server {server} {} id {id}", add.real);
    for (keyword, value) in [("weight", add.weight.map(u32::from)), ("maxconn", add.max_conns)] {
        if let Some(value) = value {
            create += &format!(" {keyword} {value}");
        }
    }
    if let Check::Connect { interval, rise, fall } = check {
        create += &format!(" check inter {interval} rise {rise} fall {fall}");
    }
    let take_back = format!("set server {server} state maint;del server {server}");
    let seen = Seen {
        id,
        name: name.to_string(),
        address: Some(add.real),
        weight: add.weight.unwrap_or(1),
        max_conns: add.max_conns,
        ..Seen::default()
    };
    let after = Server { seen, ours: Some(name) };
    Ok(Addition::New { create, admit: admit(&server, check), take_back, after })
}

/// Lets a server in that is in maintenance. HAProxy takes a server that leaves maintenance for healthy until its first
/// check says otherwise. So a checked one leaves maintenance for drain, which takes nothing new, is declared down there
/// and only then is ready: what lets connections in is a check that passed.
fn admit(server: &str, check: Check) -> String {
    match check {
        Check::None => format!("set server {server} state ready"),
        Check::Connect { .. } => format!(
            "enable health {server};set server {server} state drain;set server {server} health down;\
             set server {server} state ready"
        ),
    }
}

fn change(backend: &Backend, server: &Server, add: &Add) -> Result<Addition, AcmError> {
    let what = BindingKey { service: add.service, real: add.real }.to_string();
    let Some(name) = &server.ours else { return Err(AcmError::Exists { what, owner: foreign().to_string() }) };
    if name.owner != add.owner {
        return Err(AcmError::Exists { what, owner: name.owner.to_string() });
    }
    if let Some(profile) = &add.health
        && Check::of(profile)? != name.check
    {
        let why = "HAProxy fixes how a server is checked when it is added; Remove it, then Add it anew";
        return Err(AcmError::unsupported(Feature::Option, why));
    }
    let (path, mut after) = (backend.path(server), server.clone());
    let mut commands = Vec::new();
    if let Some(weight) = add.weight.filter(|weight| *weight != server.seen.weight) {
        commands.push(format!("set server {path} weight {weight}"));
        after.seen.weight = weight;
    }
    if let Some(limit) = add.max_conns.filter(|limit| Some(*limit) != server.seen.max_conns) {
        commands.push(format!("set maxconn server {path} {limit}"));
        after.seen.max_conns = Some(limit);
    }
    if server.is_in_maintenance() {
        commands.push(admit(&path, name.check));
    } else if backend.is_removed(server) {
        commands.push(format!("set server {path} state ready"));
    }
    after.be_ready();
    let commands = (!commands.is_empty()).then(|| commands.join(";"));
    Ok(Addition::Known { commands, after })
}

/// Decides about a Remove.
///
/// # Errors
/// `NotFound`, `Forbidden` for a foreign server, `Unsupported` for a deadline.
pub(super) fn remove(backend: &Backend, remove: &Remove) -> Result<Removing, AcmError> {
    let (server, _) = ours(backend, &remove.key())?;
    if remove.deadline.is_some() {
        let why = "HAProxy keeps no deadline; Remove without one, and Force Remove when it is time";
        return Err(AcmError::unsupported(Feature::Option, why));
    }
    let (path, state) = (backend.path(server), backend.removal.state());
    let command = (!backend.is_removed(server)).then(|| format!("set server {path} state {state}"));
    let mut after = server.clone();
    after.be_removed(backend.removal);
    Ok(Removing { command, after })
}

/// The server of a binding, and what its name says.
///
/// # Errors
/// `NotFound`, `Forbidden` for a foreign server.
pub(super) fn ours<'a>(backend: &'a Backend, key: &BindingKey) -> Result<(&'a Server, &'a ServerName), AcmError> {
    let server = backend.at(key.real).ok_or_else(|| AcmError::not_found(format!("binding {key}")))?;
    match &server.ours {
        Some(name) => Ok((server, name)),
        None => {
            let why = format!("{key} is the server `{}` of HAProxy's own, which is not touched", server.seen.name);
            Err(AcmError::Forbidden { why })
        }
    }
}

/// Decides about a service's settings: those that are as they are asked for are fine, no other can be set.
///
/// # Errors
/// `Unsupported`.
pub(super) fn set_service(backend: &Backend, set: &SetService) -> Result<(), AcmError> {
    let row = backend.service_row();
    let fixed = |what: &str| {
        let why = format!("{what} of the backend `{}` belongs to HAProxy's configuration", backend.name);
        Err(AcmError::unsupported(Feature::Option, why))
    };
    if wants_content(set) {
        return Err(AcmError::unsupported(Feature::ContentRules, "HAProxy's rules belong to its configuration"));
    }
    let is_there = |scheduler| row.groups.iter().any(|group| group.group == set.group && group.scheduler == scheduler);
    if set.scheduler.is_some_and(|scheduler| !is_there(scheduler)) {
        return fixed("the algorithm");
    }
    if set.hash.as_ref().is_some_and(|hash| *hash != HashOptions::default()) {
        return fixed("what is hashed");
    }
    let same_check = |profile: &HealthProfile| Check::of(profile).is_ok_and(|check| check == Check::default());
    if set.health.as_ref().is_some_and(|profile| !same_check(profile)) {
        return fixed("the health profile");
    }
    if set.when_none.is_some_and(|refusal| refusal != Refusal::Reset) {
        return fixed("what clients hear without a server");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::answer::SeenBackend;
    use super::super::profile::{Mapped, Removal};
    use super::*;
    use crate::acm::words::Scheduler;
    use crate::base::span::Span;

    fn backend(removal: Removal, admin: u32) -> Backend {
        let server = |id, name: &str, last| Seen {
            id,
            name: name.into(),
            address: Some(std::net::SocketAddr::from(([10, 0, 0, last], 80))),
            admin,
            operation: 2,
            weight: 1,
            ..Seen::default()
        };
        let servers = vec![server(7, "acm-10.0.0.11-80", 11), server(8, "web1", 12), server(9, "acm-10.0.0.14-80", 15)];
        let mapped = Mapped { service: "10.0.0.100:80".parse().unwrap(), backend: "web".into() };
        Backend::new(&mapped, removal, SeenBackend { id: 1, algorithm: "roundrobin".into(), total: 0, servers })
    }

    fn an_add(real: &str) -> Add {
        Add::new("10.0.0.100:80".parse().unwrap(), real.parse().unwrap())
    }

    fn added(what: &Add) -> Result<Addition, AcmError> {
        add(&backend(Removal::Drain, 0), what, 99)
    }

    #[test]
    fn a_new_server_is_created_in_maintenance_and_let_in_by_its_check() {
        let asked = Add { weight: Some(3), max_conns: Some(9), ..an_add("10.0.0.13:80") };
        let Addition::New { create, admit, take_back, after } = added(&asked).unwrap() else { panic!() };
        assert_eq!(
            create,
            "add server web/acm-10.0.0.13-80 10.0.0.13:80 id 99 weight 3 maxconn 9 check inter 2000 rise 2 fall 3"
        );
        assert_eq!(
            admit.split(';').collect::<Vec<_>>(),
            [
                "enable health web/acm-10.0.0.13-80",
                "set server web/acm-10.0.0.13-80 state drain",
                "set server web/acm-10.0.0.13-80 health down",
                "set server web/acm-10.0.0.13-80 state ready",
            ]
        );
        assert!(take_back.ends_with("del server web/acm-10.0.0.13-80"), "{take_back}");
        assert_eq!((after.seen.id, after.seen.weight, after.seen.max_conns), (99, 3, Some(9)));
        let unchecked = Add { health: Some(HealthProfile::link_only()), ..an_add("10.0.0.13:80") };
        let Addition::New { create, admit, .. } = added(&unchecked).unwrap() else { panic!() };
        assert_eq!(create, "add server web/acm-10.0.0.13-80:operator:none 10.0.0.13:80 id 99");
        assert_eq!(admit, "set server web/acm-10.0.0.13-80:operator:none state ready");
    }

    #[test]
    fn a_known_server_is_told_only_what_differs() {
        let commands = |removal, admin, what: &Add| match add(&backend(removal, admin), what, 99).unwrap() {
            Addition::Known { commands, after } => {
                assert_eq!((after.seen.id, after.seen.admin), (7, 0));
                commands.unwrap_or_default()
            }
            new => panic!("{new:?}"),
        };
        let same = an_add("10.0.0.11:80");
        assert_eq!(commands(Removal::Drain, 0, &Add { weight: Some(1), ..same.clone() }), "");
        assert_eq!(
            commands(Removal::Drain, 8, &Add { weight: Some(2), max_conns: Some(5), ..same.clone() }),
            "set server web/acm-10.0.0.11-80 weight 2;set maxconn server web/acm-10.0.0.11-80 5;\
             set server web/acm-10.0.0.11-80 state ready"
        );
        // Out of maintenance it goes by way of a check, whoever put it there.
        for removal in [Removal::Drain, Removal::Maintenance] {
            assert!(commands(removal, 1, &same).contains("health down"));
        }
    }

    #[test]
    fn what_haproxy_cannot_do_is_refused_before_it_is_asked() {
        let base = an_add("10.0.0.13:80");
        let l3 = HealthProfile { depth: crate::acm::words::HealthDepth::L3, ..HealthProfile::default() };
        for asked in [
            Add { lease: Some(Span::secs(9)), ..base.clone() },
            Add { group: "blue".parse().ok(), ..base.clone() },
            Add { weight: Some(257), ..base.clone() },
            Add { max_conns: Some(u32::MAX), ..base.clone() },
            Add { health: Some(l3), ..base.clone() },
            Add { health: Some(HealthProfile::link_only()), ..an_add("10.0.0.11:80") },
        ] {
            let refused = added(&asked);
            assert!(matches!(refused, Err(AcmError::Unsupported { .. })), "{asked:?}: {refused:?}");
        }
        for real in ["10.0.0.100:9", "[2001:db8::1]:80"] {
            assert!(matches!(added(&an_add(real)), Err(AcmError::Invalid { field, .. }) if field == "real"), "{real}");
        }
    }

    #[test]
    fn what_is_not_ours_is_not_touched() {
        let backend = backend(Removal::Drain, 0);
        let key = |real: &str| an_add(real).key();
        assert!(matches!(added(&an_add("10.0.0.12:80")), Err(AcmError::Exists { owner, .. }) if owner == "foreign"));
        assert!(matches!(ours(&backend, &key("10.0.0.12:80")), Err(AcmError::Forbidden { .. })));
        assert!(matches!(ours(&backend, &key("10.0.0.19:80")), Err(AcmError::NotFound { .. })));
        let taken = an_add("10.0.0.14:80");
        assert!(matches!(added(&taken), Err(AcmError::Exists { what, .. }) if what.contains("acm-10.0.0.14-80")));
        let other = Add { owner: "other".parse().unwrap(), ..an_add("10.0.0.11:80") };
        assert!(matches!(added(&other), Err(AcmError::Exists { owner, .. }) if owner == "operator"));
        let false_name = Add { owner: foreign(), ..an_add("10.0.0.13:80") };
        assert!(matches!(added(&false_name), Err(AcmError::Invalid { field, .. }) if field == "owner"));
    }

    #[test]
    fn removal_is_a_state_and_repeated_it_is_nothing() {
        let asked =
            Remove { service: "10.0.0.100:80".parse().unwrap(), real: "10.0.0.11:80".parse().unwrap(), deadline: None };
        let command = |removal, admin| remove(&backend(removal, admin), &asked).unwrap().command;
        assert_eq!(command(Removal::Drain, 0).as_deref(), Some("set server web/acm-10.0.0.11-80 state drain"));
        assert_eq!(command(Removal::Maintenance, 0).as_deref(), Some("set server web/acm-10.0.0.11-80 state maint"));
        assert_eq!(command(Removal::Drain, 8), None);
        assert_eq!(command(Removal::Maintenance, 1), None);
        let late = Remove { deadline: Some(Span::secs(1)), ..asked };
        assert!(matches!(remove(&backend(Removal::Drain, 0), &late), Err(AcmError::Unsupported { .. })));
    }

    #[test]
    fn settings_that_hold_already_are_fine() {
        let backend = backend(Removal::Drain, 0);
        let set = SetService::new("10.0.0.100:80".parse().unwrap());
        assert_eq!(set_service(&backend, &set), Ok(()));
        let same = SetService {
            scheduler: Some(Scheduler::Weighted),
            when_none: Some(Refusal::Reset),
            health: Some(HealthProfile::default()),
            rules: Some(vec![]),
            ..set.clone()
        };
        assert_eq!(set_service(&backend, &same), Ok(()));
        let other = SetService { scheduler: Some(Scheduler::LeastConn), ..set };
        assert!(matches!(set_service(&backend, &other), Err(AcmError::Unsupported { .. })));
    }
}
