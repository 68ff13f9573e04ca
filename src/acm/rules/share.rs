//! What consistent hashing and persistence cookies know a binding by: its *share*, a number that is the same on every
//! switch that has the same bindings, whatever the order in which they came, and after every restart.
//!
//! A [`BindingId`](crate::base::id::BindingId) cannot serve: each switch counts its own. A real's port cannot either: a
//! server that binds an anonymous port comes back on another one and shall find its share of the keys again. So a share is
//! made from
//!
//! 1. the *identity* that Add gives the binding, if it gives one: the service's own name for the instance;
//! 2. else the real's address without its port.
//!
//! Where several bindings of a group come to the same (instances on one host), the one with the lowest port stands for
//! the host, and the others add their port. So of instances on one host all but one keep their share only with their
//! port; instances that change ports need identities. A binding that is draining does not count: its successor on the
//! same host takes over its share at once.
//!
//! Taking one of N members out moves only its own keys, or, if it stood for a host with others, those of the next
//! on that host as well.

use std::net::{IpAddr, SocketAddr};

use ahash::AHashSet;

use crate::base::hash::fixed;
use crate::base::id::Name;

/// What shares are made from, of one member of a group.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The real server.
    pub real: SocketAddr,
    /// The identity Add gave it.
    pub identity: Option<&'a Name>,
    /// Not draining.
    pub stays: bool,
}

/// The shares of the members of a group, in their order, which must be that of their reals (as in a table or in List).
pub fn shares<'a>(members: impl IntoIterator<Item = Claim<'a>>) -> impl Iterator<Item = u64> {
    let mut named = AHashSet::new();
    let mut host: Option<IpAddr> = None;
    members.into_iter().map(move |member| {
        let is_first = match member.identity {
            // One that drains never stands for others: it would not be chosen.
            _ if !member.stays => false,
            Some(name) => named.insert(name),
            // In order of reals the instances of a host are together, the lowest port first.
            None => host.replace(member.real.ip()) != Some(member.real.ip()),
        };
        share(member, is_first)
    })
}

fn share(member: Claim<'_>, is_first: bool) -> u64 {
    let mut text = Vec::with_capacity(96);
    match (member.identity, member.real.ip()) {
        (Some(name), _) => text.extend_from_slice(name.as_str().as_bytes()),
        // The first byte tells the kinds apart: none of them is a character of a name.
        (None, IpAddr::V4(ip)) => {
            text.push(4);
            text.extend_from_slice(&ip.octets());
        }
        (None, IpAddr::V6(ip)) => {
            text.push(6);
            text.extend_from_slice(&ip.octets());
        }
    }
    if !is_first {
        text.push(0);
        text.extend_from_slice(member.real.to_string().as_bytes());
    }
    fixed(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(members: &[(&str, Option<&str>)]) -> Vec<u64> {
        let names: Vec<Option<Name>> = members.iter().map(|(_, name)| name.map(|name| name.parse().unwrap())).collect();
        let claims: Vec<_> = members
            .iter()
            .zip(&names)
            .map(|((real, _), name)| Claim { real: real.parse().unwrap(), identity: name.as_ref(), stays: true })
            .collect();
        shares(claims).collect()
    }

    #[test]
    fn a_share_survives_another_port() {
        let before = of(&[("10.0.0.11:8080", None), ("10.0.0.12:8080", None), ("[2001:db8::1]:80", None)]);
        let after = of(&[("10.0.0.11:41234", None), ("10.0.0.12:8080", None), ("[2001:db8::1]:99", None)]);
        assert_eq!(before, after);
        assert!(before[0] != before[1] && before[1] != before[2]);
    }

    #[test]
    fn instances_of_a_host_are_told_apart() {
        let all = of(&[("10.0.0.11:1", None), ("10.0.0.11:2", None), ("10.0.0.11:3", None), ("10.0.0.12:2", None)]);
        assert_eq!(all.iter().collect::<AHashSet<_>>().len(), 4);
        // The second goes: nobody else is moved. The first goes: the next stands for the host.
        assert_eq!(of(&[("10.0.0.11:1", None), ("10.0.0.11:3", None)]), [all[0], all[2]]);
        assert_eq!(of(&[("10.0.0.11:2", None), ("10.0.0.11:3", None)]), [all[0], all[2]]);
    }

    #[test]
    fn an_identity_is_all_that_counts() {
        let a = of(&[("10.0.0.11:1", Some("web-1")), ("10.0.0.11:2", Some("web-2"))]);
        let b = of(&[("10.0.0.11:7", Some("web-2")), ("10.0.0.12:2", Some("web-1"))]);
        assert_eq!([a[0], a[1]], [b[1], b[0]]);
        // Two of one name are two all the same.
        let twice = of(&[("10.0.0.11:1", Some("web-1")), ("10.0.0.11:2", Some("web-1"))]);
        assert!(twice[0] == a[0] && twice[1] != a[0]);
    }

    #[test]
    fn a_draining_binding_leaves_its_share_to_its_successor() {
        let claim =
            |port, stays| Claim { real: SocketAddr::new("10.0.0.11".parse().unwrap(), port), identity: None, stays };
        let alone: Vec<_> = shares([claim(5000, true)]).collect();
        let both: Vec<_> = shares([claim(80, false), claim(5000, true)]).collect();
        assert_eq!(both[1], alone[0]);
        assert_ne!(both[0], alone[0]);
    }
}
