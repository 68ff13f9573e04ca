//! The local switch's decisions against the model's: the same random primitives, health findings, connections and
//! time steps give the same answers and the same List. The two share no code but the words of the contract, with its checks.

#![allow(missing_docs, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use acm_switch::acm::error::{AcmError, Feature};
use acm_switch::acm::list::{BindingRow, Filter, Listing, ServiceRow};
use acm_switch::acm::model::{FlowId, ModelSwitch, Opened};
use acm_switch::acm::primitive::{
    Add, Caller, DropNew, ForceRemove, Outcome, Primitive, Remove, RemoveService, SetService,
};
use acm_switch::acm::rules::{
    Action, Case, Condition, Content, HashOptions, LoadFactor, Rule, RuleEdit, Strangers, Switching, TextMatch,
};
use acm_switch::acm::switch::{AcmSwitch, Answer};
use acm_switch::acm::words::{
    BindingKey, DropMode, Health, HealthDepth, HealthProfile, Refusal, Scheduler, ServiceKey, default_group,
};
use acm_switch::base::fraction::Fraction;
use acm_switch::base::id::BindingId;
use acm_switch::base::span::Span;
use acm_switch::base::time::Time;
use acm_switch::health::{Finding, Target};
use acm_switch::switch::control::rows::{Tally, listing};
use acm_switch::switch::control::{Control, HealthOrder, Sight};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    List(Vec<Primitive>),
    Health(usize, bool),
    Open(u16, usize),
    Close(usize),
    Pass(u64),
}

fn real(n: usize) -> SocketAddr {
    // The last one is a virtual address at times.
    [([10, 0, 0, 11], 80), ([10, 0, 0, 12], 80), ([10, 0, 0, 12], 81), ([10, 0, 1, 2], 80)].map(SocketAddr::from)[n]
}

fn service(n: usize) -> ServiceKey {
    [([10, 0, 1, 1], 80), ([10, 0, 1, 2], 80)].map(|addr| ServiceKey::tcp(SocketAddr::from(addr)))[n]
}

fn profile() -> impl Strategy<Value = HealthProfile> {
    let broken = HealthProfile { rise: 0, ..HealthProfile::default() };
    prop_oneof![
        4 => Just(HealthProfile::default()),
        4 => Just(HealthProfile::link_only()),
        1 => Just(broken),
    ]
}

fn add() -> impl Strategy<Value = Primitive> {
    let ends = (0..2usize, 0..4usize);
    let group = proptest::option::of(prop_oneof![Just("default"), Just("blue")]);
    let weight = proptest::option::of(prop_oneof![8 => 0..4u16, 1 => Just(1001)]);
    let max_conns = proptest::option::of(0..3u32);
    let lease = proptest::option::of(prop_oneof![6 => 1..5u64, 1 => Just(0)]);
    let owner = (prop_oneof![7 => Just("operator"), 1 => Just("team-7")], proptest::option::weighted(0.2, 0..3u8));
    (ends, group, weight, max_conns, lease, proptest::option::of(profile()), owner).prop_map(
        |((to, of), group, weight, max_conns, lease, health, (owner, identity))| {
            Primitive::Add(Add {
                service: service(to),
                real: real(of),
                group: group.map(|name| name.parse().unwrap()),
                weight,
                max_conns,
                lease: lease.map(Span::secs),
                health,
                identity: identity.map(|n| format!("web-{n}").parse().unwrap()),
                owner: owner.parse().unwrap(),
            })
        },
    )
}

fn drop_new() -> impl Strategy<Value = Primitive> {
    let from = proptest::option::of(prop_oneof![Just("198.51.100.0/24"), Just("198.51.100.1/32"), Just("10.1.0.0/8")]);
    let fraction = prop_oneof![Just(0.0), Just(0.5), Just(1.0)];
    let mode = prop_oneof![Just(DropMode::Shed), Just(DropMode::Queue)];
    (0..2usize, fraction, mode, from, proptest::option::of(0..3u64), any::<bool>()).prop_map(
        |(of, fraction, mode, from, lasts, resets)| {
            Primitive::Drop(DropNew {
                service: service(of),
                fraction: Fraction::new(fraction).unwrap(),
                mode,
                from: from.map(|prefix| prefix.parse().unwrap()),
                refusal: if resets { Refusal::Reset } else { Refusal::Silent },
                lasts: lasts.map(Span::secs),
            })
        },
    )
}

fn set_service() -> impl Strategy<Value = Primitive> {
    let schedulers = vec![Scheduler::LeastConn, Scheduler::Weighted, Scheduler::SourceHash];
    let scheduler = proptest::option::of(proptest::sample::select(schedulers));
    let group = prop_oneof![Just(default_group()), Just("blue".parse().unwrap())];
    let health = proptest::option::of(profile());
    (0..2usize, group, scheduler, health, proptest::option::of(Just(Refusal::Reset)), content()).prop_map(
        |(of, group, scheduler, health, when_none, content)| {
            let service = service(of);
            Primitive::SetService(SetService { service, group, scheduler, health, when_none, ..content })
        },
    )
}

/// What can be said about content, with some mistakes.
fn content() -> impl Strategy<Value = SetService> {
    let name = || (0..4u8).prop_map(|n| format!("r{n}").parse().unwrap());
    let then = prop_oneof![Just(Action::Reset), Just(Action::default_action())];
    let when = prop_oneof![
        4 => Just(vec![]),
        4 => Just(vec![Condition::Path(TextMatch::Prefix("/img/".into()))]),
        1 => Just(vec![Condition::Path(TextMatch::Prefix("img".into()))]),
    ];
    let rule = move || {
        let parts = (name(), when.clone(), then.clone());
        parts.prop_map(|(name, when, then)| Rule { name, when, case: Case::Sensitive, then })
    };
    let edit = prop_oneof![
        3 => (rule(), proptest::option::of(0..4usize)).prop_map(|(rule, at)| RuleEdit::Insert { rule, at }),
        1 => name().prop_map(|name| RuleEdit::Remove { name }),
        1 => (name(), 0..4usize).prop_map(|(name, at)| RuleEdit::Move { name, at }),
    ];
    let hash = prop_oneof![
        Just(HashOptions { cookie: Some("sid".into()), ..HashOptions::default() }),
        Just(HashOptions { cookie: Some("s d".into()), ..HashOptions::default() }),
        Just(HashOptions { bounded_load: LoadFactor::new(1.25).ok(), ..HashOptions::default() }),
        Just(HashOptions::default()),
    ];
    let rules = proptest::option::weighted(0.2, proptest::collection::vec(rule(), 0..3));
    let all = (rules, proptest::option::weighted(0.4, edit), proptest::option::weighted(0.1, hash));
    let default = proptest::option::weighted(0.1, Just(Action::Reset));
    let content =
        proptest::option::weighted(0.2, prop_oneof![Just(Content::None), Just(Content::Http), Just(Content::Tls)]);
    let switching =
        proptest::option::weighted(0.1, prop_oneof![Just(Switching::PerRequest), Just(Switching::FirstRequest)]);
    let strangers = proptest::option::weighted(0.1, prop_oneof![Just(Strangers::Default), Just(Strangers::Reset)]);
    (all, default, content, switching, strangers).prop_map(
        |((rules, edit, hash), default_action, content, switching, strangers)| SetService {
            rules,
            edit,
            hash,
            default_action,
            content,
            switching,
            strangers,
            ..SetService::new(service(0))
        },
    )
}

fn primitive() -> impl Strategy<Value = Primitive> {
    let ends = || (0..2usize, 0..4usize);
    let deadline = proptest::option::of(0..4u64);
    prop_oneof![
        8 => add(),
        4 => (ends(), deadline).prop_map(|((of, n), deadline)| {
            Primitive::Remove(Remove { service: service(of), real: real(n), deadline: deadline.map(Span::secs) })
        }),
        2 => ends().prop_map(|(of, n)| Primitive::ForceRemove(ForceRemove { service: service(of), real: real(n) })),
        3 => drop_new(),
        2 => set_service(),
        1 => (0..2usize).prop_map(|of| Primitive::RemoveService(RemoveService { service: service(of) })),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec(primitive(), 1..4).prop_map(Step::List),
        2 => (0..4usize, any::<bool>()).prop_map(|(n, up)| Step::Health(n, up)),
        3 => (2000..2006u16, 0..2usize).prop_map(|(port, of)| Step::Open(port, of)),
        2 => any::<usize>().prop_map(Step::Close),
        3 => (1..2500u64).prop_map(Step::Pass),
    ]
}

/// Neither the model nor the control waits.
fn now<T>(mut answer: Answer<'_, T>) -> T {
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the model never waits"),
    }
}

/// Both, and what is around the control: checks that answer at once, and a plane that only counts.
struct Pair {
    model: ModelSwitch,
    control: Control,
    at: Time,
    watched: BTreeMap<BindingId, Target>,
    down: BTreeSet<SocketAddr>,
    flows: Vec<(FlowId, BindingKey)>,
    /// The control's name of a binding and the model's.
    ids: BTreeMap<BindingId, BindingId>,
}

impl Pair {
    fn new() -> Pair {
        Pair {
            model: ModelSwitch::new(7),
            control: Control::new(vec![], Sight::Requests),
            at: Time::ZERO,
            watched: BTreeMap::new(),
            down: BTreeSet::new(),
            flows: Vec::new(),
            ids: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::List(list) => return self.perform(list),
            Step::Health(n, up) => {
                self.model.set_health(real(n), if up { Ok(()) } else { Err("refused".into()) });
                if up {
                    self.down.remove(&real(n))
                } else {
                    self.down.insert(real(n))
                };
            }
            Step::Open(port, of) => {
                let client = SocketAddr::from(([198, 51, 100, 1], port));
                if let Opened::To(flow, real) = self.model.open(client, service(of))
                    && self.flows.iter().all(|(known, _)| *known != flow)
                {
                    let key = BindingKey { service: service(of), real };
                    let binding = self.control.table().binding(&key);
                    prop_assert!(binding.is_some_and(|binding| binding.takes_new()), "{key} takes nothing new");
                    self.flows.push((flow, key));
                }
            }
            Step::Close(n) if !self.flows.is_empty() => {
                let (flow, _) = self.flows.swap_remove(n % self.flows.len());
                self.model.close(flow);
            }
            Step::Close(_) => {}
            Step::Pass(millis) => self.pass(Duration::from_millis(millis)),
        }
        self.settle();
        Ok(())
    }

    fn perform(&mut self, list: Vec<Primitive>) -> Result<(), TestCaseError> {
        let before = self.control.table().generation();
        let decided: Vec<Outcome> = list.iter().map(|primitive| self.control.perform(primitive, self.at)).collect();
        for outcome in decided.iter().flatten() {
            prop_assert!(outcome.generation == before || outcome.generation == before.next(), "one generation a list");
        }
        let flows_before = self.flows.clone();
        self.settle();
        let modelled = now(self.model.apply(&Caller::default(), list.clone())).unwrap();
        for ((primitive, decided), modelled) in list.iter().zip(&decided).zip(&modelled) {
            prop_assert_eq!(answer(decided), answer(modelled), "{:?}: {:?} / {:?}", primitive, decided, modelled);
        }
        let cut: u64 = modelled.iter().flatten().filter_map(|done| done.cut).sum();
        prop_assert_eq!(cut, (flows_before.len() - self.flows.len()) as u64, "{:?}", list);
        Ok(())
    }

    fn pass(&mut self, time: Duration) {
        let until = self.at + time;
        while let Some(due) = self.control.next_deadline().filter(|due| *due <= until) {
            self.at = self.at.max(due);
            self.control.tick(self.at);
            self.settle();
        }
        self.at = until;
        self.model.advance(time);
    }

    /// Does for the control what its surroundings do, until there is nothing left to do.
    fn settle(&mut self) {
        loop {
            let (table, effects) = self.control.commit();
            for cut in &effects.cuts {
                self.flows.retain(|(_, key)| *key != cut.key);
            }
            for order in effects.health {
                match order {
                    HealthOrder::Watch(id, target) => drop(self.watched.insert(id, target)),
                    HealthOrder::Forget(id) => drop(self.watched.remove(&id)),
                }
            }
            self.check_healths();
            self.report_drained();
            if table.is_none() && effects.cuts.is_empty() {
                return;
            }
        }
    }

    fn check_healths(&mut self) {
        let listed = listing(self.control.table(), &Tally::default(), &Filter::default(), self.at);
        let keys: BTreeMap<_, _> = listed.bindings.into_iter().map(|row| (row.id, row.key)).collect();
        for (id, target) in self.watched.clone() {
            let Some(known) = keys.get(&id).and_then(|key| self.control.table().binding(key)) else { continue };
            let mac = Some("02:00:00:00:00:01".parse().unwrap());
            let (health, mac) = match (self.down.contains(&target.real), &known.observed.health) {
                (false, _) => (Health::Passing, mac),
                (true, Health::Unknown(_)) => (Health::Unknown("refused".into()), known.observed.mac),
                (true, _) if target.profile.depth == HealthDepth::L2 => continue,
                (true, _) => (Health::Failing("refused".into()), known.observed.mac),
            };
            self.control.observe(&Finding { binding: id, health, mac, tcp: None }, self.at);
        }
    }

    fn report_drained(&mut self) {
        let listed = listing(self.control.table(), &Tally::default(), &Filter::default(), self.at);
        for row in listed.bindings {
            if self.flows.iter().all(|(_, key)| *key != row.key) {
                // Believed only of draining ones.
                self.control.drained(row.id, self.control.generation());
            }
        }
    }

    fn compare(&mut self) -> Result<(), TestCaseError> {
        let real = listing(self.control.table(), &Tally::default(), &Filter::default(), self.at);
        let model = now(self.model.list(&Filter::default())).unwrap();
        prop_assert_eq!(bindings(&real), bindings(&model));
        prop_assert_eq!(services(&real), services(&model));
        for (ours, theirs) in real.bindings.iter().zip(&model.bindings) {
            let known = *self.ids.entry(ours.id).or_insert(theirs.id);
            prop_assert_eq!(known, theirs.id, "{} kept its identity in one of the two only", ours.key);
            let live = self.flows.iter().filter(|(_, key)| *key == theirs.key).count() as u64;
            prop_assert_eq!(live, theirs.connections, "{}", theirs.key);
        }
        let pairs: BTreeSet<_> = self.ids.values().collect();
        prop_assert_eq!(pairs.len(), self.ids.len(), "one identity was given twice");
        Ok(())
    }
}

/// What both must answer alike.
fn answer(outcome: &Outcome) -> Result<(bool, bool), String> {
    match outcome {
        Ok(done) => Ok((done.changed, done.binding.is_some())),
        Err(AcmError::Invalid { field, .. }) => Err(format!("invalid {field}")),
        Err(AcmError::Exists { owner, .. }) => Err(format!("exists {owner}")),
        Err(AcmError::NotFound { what }) => Err(format!("not found {what}")),
        Err(other) => Err(format!("{other}")),
    }
}

/// Everything of the rows but identities, counts and link addresses.
fn bindings(listing: &Listing) -> Vec<String> {
    let row = |row: &BindingRow| {
        let row = BindingRow { id: BindingId(0), connections: 0, total: 0, mac: None, ..row.clone() };
        format!("{row:?}")
    };
    listing.bindings.iter().map(row).collect()
}

fn services(listing: &Listing) -> Vec<String> {
    let row = |row: &ServiceRow| {
        let mut drops = row.drops.clone();
        drops.sort_by_key(|policy| policy.from);
        let content = (row.content, row.switching, &row.default_action, row.strangers, &row.rules);
        format!("{} {:?} {drops:?} {:?} {:?} {content:?}", row.service, row.groups, row.health, row.when_none)
    };
    listing.services.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_control_decides_as_the_model(steps in proptest::collection::vec(step(), 1..40)) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step)?;
            pair.compare()?;
        }
    }
}

#[test]
fn a_refreshed_lease_relieves_those_that_lapsed() {
    let add = |n, weight, lease| {
        let plain = Add::new(service(0), real(n));
        Primitive::Add(Add { weight: Some(weight), lease, ..plain })
    };
    let second = Some(Span::secs(1));
    let mut pair = Pair::new();
    for step in [
        Step::List(vec![add(0, 1, second), add(1, 0, second)]),
        Step::Pass(1000),
        // Both lapsed: neither could take over from the other. Now the first can.
        Step::List(vec![add(0, 1, None)]),
    ] {
        pair.take(step).unwrap();
        pair.compare().unwrap();
    }
    let left = now(pair.model.list(&Filter::default())).unwrap().bindings;
    assert_eq!(left.iter().map(|row| row.key.real).collect::<Vec<_>>(), [real(0)]);
}

#[test]
fn a_switch_that_looks_at_packets_only_refuses_to_look_further_and_keeps_rules() {
    let mut control = Control::new(vec![], Sight::Packets);
    let rule = Rule { name: "r".parse().unwrap(), when: vec![], case: Case::Sensitive, then: Action::Reset };
    let with_rule = SetService { rules: Some(vec![rule]), ..SetService::new(service(0)) };
    for content in [Content::Http, Content::Tls] {
        let set = SetService { content: Some(content), ..with_rule.clone() };
        let refused = control.perform(&Primitive::SetService(set), Time::ZERO);
        assert!(matches!(refused, Err(AcmError::Unsupported { feature: Feature::ContentRules, .. })), "{refused:?}");
    }
    assert!(control.table().service(&service(0)).is_none(), "nothing of it was done");
    let plain = SetService { content: Some(Content::None), ..with_rule };
    control.perform(&Primitive::SetService(plain), Time::ZERO).unwrap();
    let listed = listing(control.table(), &Tally::default(), &Filter::default(), Time::ZERO);
    assert_eq!((listed.services[0].content, listed.services[0].rules.len()), (Content::None, 1));
}
