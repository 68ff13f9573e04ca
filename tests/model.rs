//! The model's simulation: health, schedulers, UDP flows, one tuple for one connection. Its decisions about primitives
//! are in `control_model.rs`, its promises in `conformance.rs`.

#![allow(missing_docs, unreachable_pub)]

use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use acm_switch::acm::list::{Filter, Listing, State};
use acm_switch::acm::model::{FlowId, ModelSwitch, Opened};
use acm_switch::acm::primitive::{Add, Caller, Done, ForceRemove, Primitive, Remove, SetService};
use acm_switch::acm::switch::{AcmSwitch, Answer};
use acm_switch::acm::words::{HealthProfile, Scheduler, ServiceKey};

fn now<T>(mut answer: Answer<'_, T>) -> T {
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the model never waits"),
    }
}

fn call(switch: &ModelSwitch, primitive: Primitive) -> Done {
    now(switch.apply(&Caller::default(), vec![primitive])).unwrap().remove(0).unwrap()
}

fn list(switch: &ModelSwitch) -> Listing {
    now(switch.list(&Filter::default())).unwrap()
}

fn web() -> ServiceKey {
    "10.0.0.100:80".parse().unwrap()
}

fn dns() -> ServiceKey {
    "10.0.0.100:53/udp".parse().unwrap()
}

fn real(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 8080))
}

fn client(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], port))
}

fn open(switch: &ModelSwitch, port: u16, service: ServiceKey) -> (FlowId, SocketAddr) {
    match switch.open(client(port), service) {
        Opened::To(flow, real) => (flow, real),
        refused => panic!("{refused:?}"),
    }
}

/// A service with reals of these weights, and how many of 400 connections each gets.
fn shares(scheduler: Scheduler, weights: &[u16]) -> Vec<u64> {
    let switch = ModelSwitch::new(5);
    call(&switch, Primitive::SetService(SetService { scheduler: Some(scheduler), ..SetService::new(web()) }));
    for (n, weight) in (1..).zip(weights) {
        call(&switch, Primitive::Add(Add { weight: Some(*weight), ..Add::new(web(), real(n)) }));
    }
    for n in 0..400u16 {
        let [high, low] = n.to_be_bytes();
        let from = SocketAddr::from(([198, 51, high, low], 2000));
        assert!(matches!(switch.open(from, web()), Opened::To(..)));
    }
    list(&switch).bindings.iter().map(|row| row.total).collect()
}

#[test]
fn schedulers_keep_their_shares() {
    assert_eq!(shares(Scheduler::RoundRobin, &[1, 3, 0]), [200, 200, 0]);
    assert_eq!(shares(Scheduler::Weighted, &[1, 3, 0]), [100, 300, 0]);
    assert_eq!(shares(Scheduler::LeastConn, &[1, 3, 0]), [100, 300, 0]);
    for scheduler in [Scheduler::Random, Scheduler::SourceHash] {
        let counts = shares(scheduler, &[1, 3, 0]);
        assert!((60..140).contains(&counts[0]) && counts[2] == 0, "{scheduler}: {counts:?}");
    }
}

#[test]
fn a_binding_that_never_passed_is_pending_and_one_of_depth_l2_never_fails() {
    let switch = ModelSwitch::new(1);
    switch.set_health(real(1), Err("refused".into()));
    call(&switch, Primitive::Add(Add::new(web(), real(1))));
    let seen = |n: usize| list(&switch).bindings.get(n).map(|row| (row.state, row.reason.clone()));
    assert_eq!(seen(0), Some((State::Pending, Some("refused".into()))));
    switch.set_health(real(1), Ok(()));
    assert_eq!(seen(0), Some((State::Active, None)));
    switch.set_health(real(1), Err("reset".into()));
    assert_eq!(seen(0), Some((State::Failed, Some("reset".into()))));
    call(&switch, Primitive::Add(Add { health: Some(HealthProfile::link_only()), ..Add::new(web(), real(2)) }));
    switch.set_health(real(2), Err("reset".into()));
    assert_eq!(seen(1), Some((State::Active, None)));
}

#[test]
fn a_udp_flow_ends_by_being_idle_and_a_removed_one_after_a_minute() {
    let switch = ModelSwitch::new(1);
    call(&switch, Primitive::Add(Add::new(dns(), real(1))));
    let flows = || list(&switch).bindings.first().map(|row| row.connections);
    open(&switch, 2000, dns());
    switch.advance(Duration::from_secs(29));
    let (busy, _) = open(&switch, 2000, dns());
    switch.advance(Duration::from_secs(29));
    assert_eq!(flows(), Some(1), "a datagram made it fresh");
    switch.advance(Duration::from_secs(1));
    assert_eq!(flows(), Some(0));
    assert!(!switch.exchange(busy));

    let (busy, _) = open(&switch, 2001, dns());
    call(&switch, Primitive::Remove(Remove { service: dns(), real: real(1), deadline: None }));
    for second in 0..59 {
        assert!(switch.exchange(busy), "after {second} s");
        switch.advance(Duration::from_secs(1));
    }
    assert_eq!(flows(), Some(1));
    switch.advance(Duration::from_secs(1));
    assert_eq!(flows(), None, "its row went with its last flow");
}

#[test]
fn a_udp_flow_is_cut_in_silence_and_counted() {
    let switch = ModelSwitch::new(1);
    for service in [dns(), web()] {
        call(&switch, Primitive::Add(Add::new(service, real(1))));
        let (flow, _) = open(&switch, 2000, service);
        let done = call(&switch, Primitive::ForceRemove(ForceRemove { service, real: real(1) }));
        assert_eq!((done.cut, switch.is_reset(flow)), (Some(1), service == web()));
        assert!(!switch.exchange(flow));
    }
}

#[test]
fn a_syn_of_a_flow_belongs_to_it_and_one_tuple_is_one_connection() {
    let switch = ModelSwitch::new(1);
    let other: ServiceKey = "10.0.0.100:81".parse().unwrap();
    for service in [web(), other] {
        call(&switch, Primitive::Add(Add::new(service, real(1))));
    }
    let (flow, _) = open(&switch, 2000, web());
    assert_eq!(open(&switch, 2000, web()).0, flow);
    assert!(matches!(switch.open(client(2000), other), Opened::Refused(_)), "that tuple is taken");
    switch.close(flow);
    assert_ne!(open(&switch, 2000, other).0, flow);
}
