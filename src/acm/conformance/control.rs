//! Cases that need nothing but the trait. Bindings may stay pending throughout: nothing here needs a real server.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Case, Plan, Room, Run, Stop, Verdict, expect, unless_lacking};
use crate::acm::error::AcmError;
use crate::acm::event::{Event, EventKind};
use crate::acm::list::{BindingRow, Filter, Listing, State};
use crate::acm::primitive::{
    Add, Caller, Done, DropNew, ForceRemove, Outcome, Primitive, Remove, RemoveService, SetService,
};
use crate::acm::switch::{AcmSwitch, EventStream, perform};
use crate::acm::wait::until_drained;
use crate::acm::words::{BindingKey, DropMode, HealthProfile, Refusal, Scheduler};
use crate::base::fraction::Fraction;
use crate::base::limits::BATCH_MAX;
use crate::base::span::Span;

macro_rules! cases {
    ($($name:literal => |$switch:ident, $plan:ident| $body:block)*) => {
        /// The cases.
        pub const CASES: &[Case] = &[$(Case {
            name: $name,
            room: Room::Control,
            run: Run::Control(|$switch, $plan| Box::pin(async move { $body })),
        },)*];
    };
}

/// One primitive.
pub(super) async fn call(switch: &dyn AcmSwitch, primitive: Primitive) -> Outcome {
    perform(switch, &Caller::default(), primitive).await
}

/// An Add of real `n` to service 0 that needs no server to answer.
pub(super) fn add(plan: &Plan, n: usize) -> Add {
    Add { health: Some(HealthProfile::link_only()), ..Add::new(plan.services[0], plan.reals[n]) }
}

pub(super) fn key(plan: &Plan, n: usize) -> BindingKey {
    BindingKey { service: plan.services[0], real: plan.reals[n] }
}

pub(super) fn remove(plan: &Plan, n: usize) -> Primitive {
    Primitive::Remove(Remove { service: plan.services[0], real: plan.reals[n], deadline: None })
}

pub(super) fn force(plan: &Plan, n: usize) -> Primitive {
    Primitive::ForceRemove(ForceRemove { service: plan.services[0], real: plan.reals[n] })
}

pub(super) fn drop_new(plan: &Plan, fraction: f64) -> DropNew {
    DropNew {
        service: plan.services[0],
        fraction: Fraction::new(fraction).unwrap_or(Fraction::ONE),
        mode: DropMode::Shed,
        from: None,
        refusal: Refusal::Silent,
        lasts: None,
    }
}

pub(super) async fn row(switch: &dyn AcmSwitch, key: &BindingKey) -> Result<Option<BindingRow>, AcmError> {
    Ok(switch.list(&Filter::service(key.service)).await?.binding(key).cloned())
}

async fn must_row(switch: &dyn AcmSwitch, key: &BindingKey) -> Result<BindingRow, Stop> {
    row(switch, key).await?.ok_or_else(|| Stop::Failed(format!("{key} is not listed")))
}

fn is_invalid(outcome: &Outcome, field: &str) -> Verdict {
    unless_lacking(outcome)?;
    match outcome {
        Err(AcmError::Invalid { field: named, .. }) if named.split('.').next() == Some(field) => Ok(()),
        other => Err(Stop::Failed(format!("expected Invalid naming `{field}`, got {other:?}"))),
    }
}

fn is_not_found(outcome: &Outcome) -> Verdict {
    unless_lacking(outcome)?;
    expect(matches!(outcome, Err(AcmError::NotFound { .. })), format!("expected NotFound, got {outcome:?}"))
}

/// The events that are there now.
fn waiting(events: &mut EventStream) -> Vec<Event> {
    let mut context = Context::from_waker(Waker::noop());
    let mut seen = Vec::new();
    while let Poll::Ready(Some(event)) = events.as_mut().poll_next(&mut context) {
        seen.push(event);
    }
    seen
}

/// Reads events until one satisfies, for at most two seconds.
pub(super) async fn until(events: &mut EventStream, wanted: impl Fn(&EventKind) -> bool) -> Result<Vec<Event>, Stop> {
    let mut seen = Vec::new();
    for _ in 0..200 {
        seen.extend(waiting(events));
        if seen.iter().any(|event| wanted(&event.kind)) {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(Stop::Failed(format!("the event did not come; seen were {seen:?}")))
}

async fn rejected(switch: &dyn AcmSwitch, primitive: Primitive, field: &str) -> Verdict {
    let before = switch.list(&Filter::default()).await?;
    is_invalid(&call(switch, primitive).await, field)?;
    let after = switch.list(&Filter::default()).await?;
    // Health may move on meanwhile; what was asked for may not.
    let will = |listing: &Listing| {
        let row = |row: &BindingRow| (row.key, row.id, row.weight, row.max_conns, row.lease, row.owner.clone());
        let rows: Vec<_> = listing.bindings.iter().map(row).collect();
        let services: Vec<_> =
            listing.services.iter().map(|row| (row.service, row.groups.clone(), row.drops.len())).collect();
        (rows, services)
    };
    expect(will(&before) == will(&after), format!("a refused call changed {before:?} to {after:?}"))
}

fn done(outcome: Outcome) -> Result<Done, Stop> {
    Ok(outcome?)
}

cases! {
    "an empty switch lists nothing" => |switch, _plan| {
        // Where services belong to a box's own configuration they are always there, and it says that it cannot.
        for row in switch.list(&Filter::default()).await?.services {
            call(switch, Primitive::RemoveService(RemoveService { service: row.service })).await?;
        }
        let listing = switch.list(&Filter::default()).await?;
        expect(listing.bindings.is_empty() && listing.services.is_empty(), format!("{listing:?}"))
    }
    "Add creates the service and the binding" => |switch, plan| {
        let added = done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let listed = must_row(switch, &key(plan, 0)).await?;
        expect(added.changed && added.binding == Some(listed.id), format!("{added:?} {listed:?}"))?;
        expect(listed.weight == 1 && listed.max_conns.is_none() && listed.lease.is_none(), format!("{listed:?}"))?;
        expect(listed.owner.as_str() == "operator" && listed.group.as_str() == "default", format!("{listed:?}"))
    }
    "Add is idempotent" => |switch, plan| {
        let first = done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let again = done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        expect(!again.changed && again.binding == first.binding, format!("{again:?}"))?;
        let count = switch.list(&Filter::default()).await?.bindings.len();
        expect(count == 1, format!("{count} rows"))
    }
    "Add changes options and keeps those it does not name" => |switch, plan| {
        let first = done(call(switch, Primitive::Add(Add { weight: Some(3), max_conns: Some(9), ..add(plan, 0) })).await)?;
        let again = done(call(switch, Primitive::Add(Add { weight: Some(5), ..add(plan, 0) })).await)?;
        let listed = must_row(switch, &key(plan, 0)).await?;
        expect(again.changed && again.binding == first.binding, format!("{again:?}"))?;
        expect((listed.weight, listed.max_conns) == (5, Some(9)), format!("{listed:?}"))
    }
    "Add of another owner's binding is refused" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let Ok(owner) = "somebody-else".parse() else { return Ok(()) };
        let outcome = call(switch, Primitive::Add(Add { owner, weight: Some(7), ..add(plan, 0) })).await;
        unless_lacking(&outcome)?;
        expect(matches!(outcome, Err(AcmError::Exists { .. })), format!("{outcome:?}"))?;
        let listed = must_row(switch, &key(plan, 0)).await?;
        expect(listed.weight == 1 && listed.owner.as_str() == "operator", format!("{listed:?}"))
    }
    "a lease is listed, and an Add without one makes the binding permanent" => |switch, plan| {
        done(call(switch, Primitive::Add(Add { lease: Some(Span::secs(60)), ..add(plan, 0) })).await)?;
        let listed = must_row(switch, &key(plan, 0)).await?;
        let left = listed.lease_left.unwrap_or_default();
        expect(listed.lease == Some(Span::secs(60)) && left <= Span::secs(60) && left > Span::secs(50), format!("{listed:?}"))?;
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let listed = must_row(switch, &key(plan, 0)).await?;
        expect(listed.lease.is_none(), format!("{listed:?}"))
    }
    "a service keeps its bindings apart from another's" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let other = Add { service: plan.services[1], ..add(plan, 0) };
        done(call(switch, Primitive::Add(other.clone())).await)?;
        done(call(switch, force(plan, 0)).await)?;
        must_row(switch, &other.key()).await.map(drop)
    }
    "a binding to the virtual address itself is refused" => |switch, plan| {
        let own = std::net::SocketAddr::new(plan.services[0].vip(), 9);
        rejected(switch, Primitive::Add(Add { real: own, ..add(plan, 0) }), "real").await
    }
    "a virtual address that is a real's is refused" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let mut service = plan.services[0];
        service.addr = std::net::SocketAddr::new(plan.reals[0].ip(), 80);
        rejected(switch, Primitive::SetService(SetService::new(service)), "service").await
    }
    "a real of the other address family is refused" => |switch, plan| {
        let real = match plan.services[0].vip().is_ipv4() {
            true => "[2001:db8::1]:80",
            false => "192.0.2.1:80",
        };
        let Ok(real) = real.parse() else { return Ok(()) };
        let outcome = call(switch, Primitive::Add(Add { real, ..add(plan, 0) })).await;
        let refused = matches!(outcome, Err(AcmError::Invalid { .. } | AcmError::Unsupported { .. }));
        expect(refused, format!("{outcome:?}"))?;
        let count = switch.list(&Filter::default()).await?.bindings.len();
        expect(count == 0, format!("{count} rows"))
    }
    "port 0 is refused" => |switch, plan| {
        let real = std::net::SocketAddr::new(plan.reals[0].ip(), 0);
        rejected(switch, Primitive::Add(Add { real, ..add(plan, 0) }), "real").await
    }
    "a loopback real is refused" => |switch, plan| {
        let Ok(real) = "127.0.0.1:80".parse() else { return Ok(()) };
        rejected(switch, Primitive::Add(Add { real, ..add(plan, 0) }), "real").await
    }
    "a weight out of range is refused" => |switch, plan| {
        rejected(switch, Primitive::Add(Add { weight: Some(1001), ..add(plan, 0) }), "weight").await
    }
    "a connection limit of 0 is refused" => |switch, plan| {
        rejected(switch, Primitive::Add(Add { max_conns: Some(0), ..add(plan, 0) }), "max_conns").await
    }
    "a lease out of range is refused" => |switch, plan| {
        rejected(switch, Primitive::Add(Add { lease: Some(Span::millis(1)), ..add(plan, 0) }), "lease").await
    }
    "a health profile out of range is refused" => |switch, plan| {
        let profile = HealthProfile { rise: 0, ..HealthProfile::default() };
        rejected(switch, Primitive::Add(Add { health: Some(profile), ..add(plan, 0) }), "health").await
    }
    "Remove of an unknown binding is NotFound" => |switch, plan| {
        is_not_found(&call(switch, remove(plan, 0)).await)
    }
    "an empty binding that is removed drains and its row goes" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        done(call(switch, remove(plan, 0)).await)?;
        until_drained(switch, &key(plan, 0), Duration::from_secs(5)).await?;
        let listed = row(switch, &key(plan, 0)).await?;
        expect(listed.is_none(), format!("{listed:?}"))
    }
    "an empty service stays" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        done(call(switch, force(plan, 0)).await)?;
        let listing = switch.list(&Filter::service(plan.services[0])).await?;
        expect(listing.services.len() == 1 && listing.bindings.is_empty(), format!("{listing:?}"))
    }
    "a removed binding that is added again has a new life" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        done(call(switch, remove(plan, 0)).await)?;
        let again = done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let listed = must_row(switch, &key(plan, 0)).await?;
        expect(again.binding == Some(listed.id) && listed.state != State::Draining, format!("{listed:?}"))
    }
    "Force Remove of an unknown binding is NotFound" => |switch, plan| {
        is_not_found(&call(switch, force(plan, 0)).await)
    }
    "Force Remove of an empty binding cuts none, at once" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let cut = done(call(switch, force(plan, 0)).await)?;
        let listed = row(switch, &key(plan, 0)).await?;
        expect(cut.cut == Some(0) && listed.is_none(), format!("{cut:?} {listed:?}"))
    }
    "Drop on an unknown service is NotFound" => |switch, plan| {
        is_not_found(&call(switch, Primitive::Drop(drop_new(plan, 0.5))).await)
    }
    "Drop is listed, replaced, and cleared by 0" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        for fraction in [0.5, 0.9] {
            let set = done(call(switch, Primitive::Drop(drop_new(plan, fraction))).await)?;
            let listing = switch.list(&Filter::default()).await?;
            let drops = &listing.services[0].drops;
            expect(set.changed && drops.len() == 1 && (drops[0].fraction.get() - fraction).abs() < 1e-6, format!("{drops:?}"))?;
        }
        done(call(switch, Primitive::Drop(drop_new(plan, 0.0))).await)?;
        let listing = switch.list(&Filter::default()).await?;
        expect(listing.services[0].drops.is_empty(), format!("{listing:?}"))?;
        let again = done(call(switch, Primitive::Drop(drop_new(plan, 0.0))).await)?;
        expect(!again.changed, format!("{again:?}"))
    }
    "fraction 0 clears exactly the policy named" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let from = Some(plan.clients[0].into());
        done(call(switch, Primitive::Drop(drop_new(plan, 0.5))).await)?;
        done(call(switch, Primitive::Drop(DropNew { from, ..drop_new(plan, 0.9) })).await)?;
        done(call(switch, Primitive::Drop(drop_new(plan, 0.0))).await)?;
        let listing = switch.list(&Filter::default()).await?;
        let drops = &listing.services[0].drops;
        expect(drops.len() == 1 && drops[0].from == from, format!("{drops:?}"))
    }
    "a prefix with host bits is refused" => |switch, plan| {
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let Ok(prefix) = ipnet::IpNet::new(plan.clients[0], 8) else { return Ok(()) };
        rejected(switch, Primitive::Drop(DropNew { from: Some(prefix), ..drop_new(plan, 0.5) }), "from").await
    }
    "a service is set, and set again without effect" => |switch, plan| {
        let set = SetService { scheduler: Some(Scheduler::LeastConn), ..SetService::new(plan.services[0]) };
        let first = done(call(switch, Primitive::SetService(set.clone())).await)?;
        let again = done(call(switch, Primitive::SetService(set)).await)?;
        let listing = switch.list(&Filter::default()).await?;
        expect(first.changed && !again.changed, format!("{first:?} {again:?}"))?;
        expect(listing.services[0].groups[0].scheduler == Scheduler::LeastConn, format!("{listing:?}"))
    }
    "removing a service removes its bindings" => |switch, plan| {
        for n in 0..2 {
            done(call(switch, Primitive::Add(add(plan, n))).await)?;
        }
        let gone = done(call(switch, Primitive::RemoveService(RemoveService { service: plan.services[0] })).await)?;
        let listing = switch.list(&Filter::default()).await?;
        expect(gone.changed && listing.services.is_empty() && listing.bindings.is_empty(), format!("{listing:?}"))
    }
    "removing an unknown service is NotFound" => |switch, plan| {
        is_not_found(&call(switch, Primitive::RemoveService(RemoveService { service: plan.services[0] })).await)
    }
    "generations grow with changes and only with them" => |switch, plan| {
        let first = done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let second = done(call(switch, Primitive::Add(Add { weight: Some(2), ..add(plan, 1) })).await)?;
        expect(second.generation > first.generation, format!("{first:?} {second:?}"))
    }
    "a list is performed in order, and one refusal does not stop the rest" => |switch, plan| {
        let list = vec![
            Primitive::Add(add(plan, 0)),
            Primitive::Add(Add { weight: Some(5000), ..add(plan, 1) }),
            remove(plan, 2),
            Primitive::Add(add(plan, 2)),
        ];
        let outcomes = switch.apply(&Caller::default(), list).await?;
        let which: Vec<bool> = outcomes.iter().map(|outcome| outcome.is_ok()).collect();
        expect(which == [true, false, false, true], format!("{outcomes:?}"))?;
        let count = switch.list(&Filter::default()).await?.bindings.len();
        expect(count == 2, format!("{count} rows"))
    }
    "a list that is too long is refused whole" => |switch, plan| {
        let list = vec![Primitive::Add(add(plan, 0)); BATCH_MAX + 1];
        let refused = switch.apply(&Caller::default(), list).await;
        expect(refused.is_err(), "accepted")?;
        let count = switch.list(&Filter::default()).await?.bindings.len();
        expect(count == 0, format!("{count} rows"))
    }
    "List filters" => |switch, plan| {
        for n in 0..3 {
            done(call(switch, Primitive::Add(add(plan, n))).await)?;
        }
        let by_service = switch.list(&Filter::service(plan.services[0])).await?;
        let by_real = switch.list(&Filter { real: Some(plan.reals[2]), ..Filter::default() }).await?;
        let by_owner = switch.list(&Filter { owner: "nobody".parse().ok(), ..Filter::default() }).await?;
        let unknown = switch.list(&Filter::service(plan.services[1])).await?;
        let counts = [&by_service, &by_real, &by_owner, &unknown].map(|listing| listing.bindings.len());
        expect(counts == [3, 1, 0, 0], format!("{counts:?}"))
    }
    "List filters by group" => |switch, plan| {
        for n in 0..3 {
            done(call(switch, Primitive::Add(Add { group: "blue".parse().ok().filter(|_| n == 1), ..add(plan, n) })).await)?;
        }
        let blue = switch.list(&Filter { group: "blue".parse().ok(), ..Filter::default() }).await?;
        let keys: Vec<_> = blue.bindings.iter().map(|row| row.key).collect();
        expect(keys == [key(plan, 1)], format!("{keys:?}"))
    }
    "List is in order of service, then real" => |switch, plan| {
        for n in [2, 0, 1] {
            done(call(switch, Primitive::Add(add(plan, n))).await)?;
        }
        let keys: Vec<_> = switch.list(&Filter::default()).await?.bindings.into_iter().map(|row| row.key).collect();
        expect(keys.is_sorted(), format!("{keys:?}"))
    }
    "events tell of a binding's life, in order" => |switch, plan| {
        let mut events = switch.events(None).await?;
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        done(call(switch, remove(plan, 0)).await)?;
        let seen = until(&mut events, |kind| matches!(kind, EventKind::Drained { .. })).await?;
        let place = |wanted: fn(&EventKind) -> bool| seen.iter().position(|event| wanted(&event.kind));
        let order = [
            place(|kind| matches!(kind, EventKind::ServiceCreated { .. })),
            place(|kind| matches!(kind, EventKind::Added { .. })),
            place(|kind| matches!(kind, EventKind::State { to: State::Draining, .. })),
            place(|kind| matches!(kind, EventKind::Drained { .. })),
        ];
        expect(order.iter().all(Option::is_some) && order.is_sorted(), format!("{seen:?}"))
    }
    "events can be resumed without loss or repetition" => |switch, plan| {
        let mut events = switch.events(None).await?;
        done(call(switch, Primitive::Add(add(plan, 0))).await)?;
        let first = until(&mut events, |kind| matches!(kind, EventKind::Added { .. })).await?;
        drop(events);
        let last = first.last().map(|event| event.id);
        done(call(switch, Primitive::Drop(drop_new(plan, 0.5))).await)?;
        let mut events = switch.events(last).await?;
        let rest = until(&mut events, |kind| matches!(kind, EventKind::Drop { .. })).await?;
        let numbers: Vec<u64> = rest.iter().map(|event| event.id.number).collect();
        let next = last.map_or(1, |id| id.number + 1);
        expect(numbers.first() == Some(&next) && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), format!("{rest:?}"))
    }
    "a repeated call emits no event" => |switch, plan| {
        done(call(switch, Primitive::SetService(SetService::new(plan.services[0]))).await)?;
        let mut events = switch.events(None).await?;
        done(call(switch, Primitive::SetService(SetService::new(plan.services[0]))).await)?;
        let seen = waiting(&mut events);
        expect(seen.is_empty(), format!("{seen:?}"))
    }
}
