//! The service table: what it refuses, what it counts, what two versions differ in.

#![allow(missing_docs, unreachable_pub)]

use std::net::SocketAddr;
use std::sync::Arc;

use acm_switch::acm::error::AcmError;
use acm_switch::acm::table::{Draft, ServiceTable};
use acm_switch::acm::words::{
    AdminState, Binding, BindingKey, DropMode, DropPolicy, Group, Health, HealthProfile, Observed, Refusal, Service,
    ServiceKey, Will, default_group, operator,
};
use acm_switch::base::fraction::Fraction;
use acm_switch::base::id::{BindingId, Generation, ServiceId};
use acm_switch::base::limits::{BINDINGS_PER_SERVICE_MAX, DROPS_PER_SERVICE_MAX, GROUPS_PER_SERVICE_MAX};

fn key(text: &str) -> ServiceKey {
    text.parse().unwrap()
}

fn service(text: &str) -> Service {
    Service::new(ServiceId(1), key(text))
}

fn binding(id: u64, real: &str) -> Binding {
    Binding {
        id: BindingId(id),
        real: real.parse().unwrap(),
        will: Will {
            admin: AdminState::Up,
            group: default_group(),
            weight: 1,
            max_conns: None,
            owner: operator(),
            identity: None,
            lease: None,
            health: Arc::new(HealthProfile::default()),
        },
        observed: Observed { health: Health::Passing, mac: None, lapsed: false, tcp: None },
    }
}

/// A table with these services and, in each, these reals.
fn table(services: &[&str], reals: &[&str]) -> ServiceTable {
    let mut draft = ServiceTable::default().edit();
    for text in services {
        draft.put_service(service(text)).unwrap();
        for (n, real) in reals.iter().enumerate() {
            draft.put_binding(&key(text), binding(n as u64, real)).unwrap();
        }
    }
    draft.finish()
}

fn field(refused: Result<(), AcmError>) -> String {
    match refused {
        Err(AcmError::Invalid { field, .. }) => field,
        other => panic!("expected Invalid, got {other:?}"),
    }
}

fn is_full(refused: &Result<(), AcmError>) -> bool {
    matches!(refused, Err(AcmError::Full { .. }))
}

#[test]
fn addresses_are_counted_in_and_out() {
    let full = table(&["10.0.0.100:80", "10.0.0.100:443", "10.0.0.101:80"], &["10.0.0.11:80", "10.0.0.11:81"]);
    assert_eq!(full.binding_count(), 6);
    let ips = |table: &ServiceTable| table.vips().map(|ip| ip.to_string()).collect::<Vec<_>>();
    assert_eq!(ips(&full), ["10.0.0.100", "10.0.0.101"]);

    let real = "10.0.0.11".parse().unwrap();
    let mut draft = full.edit();
    for (left, text) in [(4, "10.0.0.100:80"), (2, "10.0.0.100:443"), (0, "10.0.0.101:80")] {
        assert!(draft.table().is_real(real) && draft.table().is_vip(key(text).vip()));
        for port in ["10.0.0.11:80", "10.0.0.11:81"] {
            let gone = BindingKey { service: key(text), real: port.parse().unwrap() };
            assert!(draft.remove_binding(&gone).is_some());
            assert!(draft.remove_binding(&gone).is_none(), "once");
        }
        assert_eq!(draft.remove_service(&key(text)), Ok(true));
        assert_eq!(draft.remove_service(&key(text)), Ok(false), "once");
        assert_eq!(draft.table().binding_count(), left);
    }
    let empty = draft.finish();
    assert!(!empty.is_real(real));
    assert_eq!(ips(&empty), [""; 0]);
    assert_eq!(full.binding_count(), 6, "the earlier version is as it was");
}

#[test]
fn a_generation_is_a_change() {
    let first = table(&["10.0.0.100:80"], &["10.0.0.11:80"]);
    assert_eq!(first.generation(), Generation(1), "many steps, one draft");
    let untouched = first.edit();
    assert!(!untouched.is_changed());
    assert_eq!(untouched.finish().generation(), Generation(1));
    let mut draft = first.edit();
    assert!(draft.put_binding(&key("10.0.0.101:80"), binding(9, "10.0.0.12:80")).is_err());
    assert!(!draft.is_changed(), "a refused step changes nothing");
    draft.put_binding(&key("10.0.0.100:80"), binding(9, "10.0.0.12:80")).unwrap();
    assert_eq!(draft.finish().generation(), Generation(2));
}

#[test]
fn what_cannot_be_forwarded_is_refused() {
    let table = table(&["10.0.0.100:80", "10.0.0.101:80"], &["10.0.0.11:80"]);
    let put = |real: &str| table.edit().put_binding(&key("10.0.0.100:80"), binding(9, real));
    for real in ["10.0.0.100:81", "10.0.0.101:81", "[2001:db8::1]:80", "10.0.0.12:0", "127.0.0.1:80", "224.0.0.1:80"] {
        assert_eq!(field(put(real)), "real", "{real}");
    }
    assert_eq!(put("10.0.0.12:80"), Ok(()));
    let put = |text: &str| table.edit().put_service(service(text));
    for text in ["10.0.0.11:80", "10.0.0.102:0", "127.0.0.1:80", "255.255.255.255:80"] {
        assert_eq!(field(put(text)), "service", "{text}");
    }
    assert_eq!(put("10.0.0.102:80"), Ok(()));
    let missing = table.edit().put_binding(&key("10.0.0.109:80"), binding(9, "10.0.0.12:80"));
    assert!(matches!(missing, Err(AcmError::NotFound { .. })), "{missing:?}");
}

#[test]
fn a_service_keeps_its_bindings() {
    let table = table(&["10.0.0.100:80"], &["10.0.0.11:80"]);
    assert_eq!(field(table.edit().put_service(service("10.0.0.100:80"))), "service", "bindings would be lost");
    assert_eq!(field(table.edit().remove_service(&key("10.0.0.100:80")).map(drop)), "service");
    let mut changed = (**table.service(&key("10.0.0.100:80")).unwrap()).clone();
    changed.when_none = Refusal::Reset;
    let mut draft = table.edit();
    draft.put_service(changed).unwrap();
    let now = draft.finish();
    let kept = now.service(&key("10.0.0.100:80")).unwrap();
    assert_eq!((kept.when_none, kept.bindings.len()), (Refusal::Reset, 1));
}

#[test]
fn bounds_are_kept() {
    let mut draft: Draft = table(&["10.0.0.100:80"], &[]).edit();
    let of = key("10.0.0.100:80");
    let real = |n: usize| SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 80)).to_string();
    for n in 0..BINDINGS_PER_SERVICE_MAX {
        draft.put_binding(&of, binding(n as u64, &real(n))).unwrap();
    }
    assert!(is_full(&draft.put_binding(&of, binding(0, "10.9.0.1:80"))));
    assert_eq!(draft.put_binding(&of, binding(0, &real(0))), Ok(()), "one that is there can be replaced");
    assert_eq!(draft.table().binding_count(), BINDINGS_PER_SERVICE_MAX);

    let policy = |n: usize| DropPolicy {
        from: Some(ipnet::IpNet::new([10, 2, (n >> 8) as u8, n as u8].into(), 32).unwrap()),
        fraction: Fraction::ONE,
        mode: DropMode::Shed,
        refusal: Refusal::Silent,
        until: None,
        salt: 0,
    };
    for (count, refused) in [(DROPS_PER_SERVICE_MAX, false), (DROPS_PER_SERVICE_MAX + 1, true)] {
        let drops = (0..count).map(policy).collect();
        let put = table(&[], &[]).edit().put_service(Service { drops, ..service("10.0.0.100:80") });
        assert_eq!(is_full(&put), refused, "{count} policies: {put:?}");
    }
    for (count, refused) in [(GROUPS_PER_SERVICE_MAX, false), (GROUPS_PER_SERVICE_MAX + 1, true)] {
        let groups = (0..count).map(|n| (format!("g{n}").parse().unwrap(), Group::default())).collect();
        let put = table(&[], &[]).edit().put_service(Service { groups, ..service("10.0.0.100:80") });
        assert_eq!(is_full(&put), refused, "{count} groups: {put:?}");
    }
}

#[test]
fn versions_tell_what_they_differ_in() {
    let before = table(&["10.0.0.100:80", "10.0.0.101:80", "10.0.0.102:80"], &["10.0.0.11:80", "10.0.0.12:80"]);
    let mut draft = before.edit();
    let mut heavier = binding(0, "10.0.0.11:80");
    heavier.will.weight = 7;
    draft.put_binding(&key("10.0.0.100:80"), heavier).unwrap();
    draft.put_binding(&key("10.0.0.100:80"), binding(5, "10.0.0.13:80")).unwrap();
    draft.remove_binding(&BindingKey { service: key("10.0.0.100:80"), real: "10.0.0.12:80".parse().unwrap() });
    for real in ["10.0.0.11:80", "10.0.0.12:80"] {
        draft.remove_binding(&BindingKey { service: key("10.0.0.102:80"), real: real.parse().unwrap() });
    }
    draft.remove_service(&key("10.0.0.102:80")).unwrap();
    draft.put_service(service("10.0.0.103:80")).unwrap();
    let after = draft.finish();

    let mut seen = Vec::new();
    for change in after.services_since(&before) {
        let name = change.new.or(change.old).unwrap().key.to_string();
        let kind = (change.old.is_some(), change.new.is_some());
        let sign = |change: acm_switch::acm::table::BindingChange<'_>| match (change.old, change.new) {
            (None, Some(new)) => format!("+{}", new.real),
            (Some(old), None) => format!("-{}", old.real),
            (Some(old), Some(new)) => format!("{} {}>{}", new.real, old.will.weight, new.will.weight),
            (None, None) => "nothing".into(),
        };
        let mut bindings: Vec<_> = change.bindings().map(sign).collect();
        bindings.sort();
        seen.push((name, kind, bindings.join(", ")));
    }
    seen.sort();
    let line = |name: &str, kind, bindings: &str| (name.to_owned(), kind, bindings.to_owned());
    assert_eq!(
        seen,
        [
            line("10.0.0.100:80", (true, true), "+10.0.0.13:80, -10.0.0.12:80, 10.0.0.11:80 1>7"),
            line("10.0.0.102:80", (true, false), "-10.0.0.11:80, -10.0.0.12:80"),
            line("10.0.0.103:80", (false, true), ""),
        ]
    );
    let new: Vec<_> = after.vips_since(&before).map(|ip| ip.to_string()).collect();
    assert_eq!(new, ["10.0.0.103"]);
    assert_eq!(after.services_since(&after.clone()).count(), 0);
}
