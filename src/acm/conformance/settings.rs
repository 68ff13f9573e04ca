//! Cases about services, lists of primitives, and repetition; they need nothing but the trait.

use std::net::SocketAddr;
use std::time::Duration;

use super::control::{add, call, drop_new, force, key, remove, row};
use super::{Case, Room, Run, Stop, Verdict, expect};
use crate::acm::error::AcmError;
use crate::acm::list::{Filter, State};
use crate::acm::primitive::{Add, Caller, DropNew, Primitive, Remove, RemoveService, SetService};
use crate::acm::switch::AcmSwitch;
use crate::acm::wait::until_drained;
use crate::acm::words::{DropMode, HealthProfile, Refusal, Scheduler, ServiceKey};
use crate::base::fraction::Fraction;
use crate::base::span::Span;

macro_rules! cases {
    ($($name:literal => |$switch:ident, $plan:ident| $body:block)*) => {
        /// The cases.
        pub const CASES: &[Case] = &[$(Case {
            name: $name,
            room: Room::Settings,
            run: Run::Control(|$switch, $plan| Box::pin(async move { $body })),
        },)*];
    };
}

/// The call is refused, and the refusal names this field.
pub(super) async fn invalid(switch: &dyn AcmSwitch, primitive: Primitive, field: &str) -> Verdict {
    match call(switch, primitive).await {
        Err(AcmError::Invalid { field: named, .. }) if named == field => Ok(()),
        Err(lacking @ AcmError::Unsupported { .. }) => Err(lacking.into()),
        other => Err(Stop::Failed(format!("expected Invalid naming `{field}`, got {other:?}"))),
    }
}

cases! {
    "a refreshed lease is no change" => |switch, plan| {
        let leased = Add { lease: Some(Span::secs(60)), ..add(plan, 0) };
        call(switch, Primitive::Add(leased.clone())).await?;
        let again = call(switch, Primitive::Add(leased)).await?;
        let longer = call(switch, Primitive::Add(Add { lease: Some(Span::secs(90)), ..add(plan, 0) })).await?;
        expect(!again.changed && longer.changed, format!("{again:?} {longer:?}"))
    }
    "a binding waits for its checks and says for what" => |switch, plan| {
        call(switch, Primitive::Add(Add::new(plan.services[0], plan.reals[0]))).await?;
        let listed = row(switch, &key(plan, 0)).await?;
        let honest = listed.as_ref().is_some_and(|row| match row.state {
            // Failed: the first check was quick and bad.
            State::Pending | State::Failed => row.reason.as_ref().is_some_and(|why| !why.is_empty()),
            State::Active => row.reason.is_none(),
            _ => false,
        });
        expect(honest, format!("{listed:?}"))
    }
    "a binding's group is listed with the service, and can be changed" => |switch, plan| {
        let Ok(blue) = "blue".parse::<crate::base::id::Name>() else { return Ok(()) };
        let first = call(switch, Primitive::Add(add(plan, 0))).await?;
        let moved = call(switch, Primitive::Add(Add { group: Some(blue.clone()), ..add(plan, 0) })).await?;
        expect(moved.changed && moved.binding == first.binding, format!("{first:?} {moved:?}"))?;
        let listing = switch.list(&Filter::service(plan.services[0])).await?;
        let known = listing.services.iter().any(|service| service.groups.iter().any(|group| group.group == blue));
        let is_there = listing.binding(&key(plan, 0)).is_some_and(|row| row.group == blue);
        expect(known && is_there, format!("{listing:?}"))
    }
    "an absent option of a service stays as it was" => |switch, plan| {
        let set = SetService::new(plan.services[0]);
        let full = SetService { when_none: Some(Refusal::Reset), health: Some(HealthProfile::link_only()), ..set.clone() };
        call(switch, Primitive::SetService(full)).await?;
        let least = SetService { scheduler: Some(Scheduler::LeastConn), ..set };
        let changed = call(switch, Primitive::SetService(least)).await?.changed;
        let listing = switch.list(&Filter::service(plan.services[0])).await?;
        let kept = listing.services.iter().any(|service| {
            service.when_none == Refusal::Reset && service.health == HealthProfile::link_only()
        });
        expect(changed && kept, format!("changed: {changed}; {listing:?}"))
    }
    "a binding that names no profile takes its service's" => |switch, plan| {
        let profile = HealthProfile { interval: Span::secs(7), ..HealthProfile::default() };
        let set = SetService { health: Some(profile.clone()), ..SetService::new(plan.services[0]) };
        call(switch, Primitive::SetService(set)).await?;
        call(switch, Primitive::Add(Add::new(plan.services[0], plan.reals[0]))).await?;
        let listed = row(switch, &key(plan, 0)).await?.map(|row| row.health);
        expect(listed.as_ref() == Some(&profile), format!("{listed:?}"))
    }
    "a service that was removed is gone, and can be made again" => |switch, plan| {
        let gone = Primitive::RemoveService(RemoveService { service: plan.services[0] });
        call(switch, Primitive::Add(add(plan, 0))).await?;
        call(switch, Primitive::Drop(drop_new(plan, 0.5))).await?;
        call(switch, gone.clone()).await?;
        let again = call(switch, gone).await;
        expect(matches!(again, Err(AcmError::NotFound { .. })), format!("{again:?}"))?;
        call(switch, Primitive::Add(add(plan, 0))).await?;
        let listing = switch.list(&Filter::service(plan.services[0])).await?;
        let clean = listing.services.iter().all(|service| service.drops.is_empty());
        expect(clean && listing.bindings.len() == 1, format!("{listing:?}"))
    }
    "identities are never given twice" => |switch, plan| {
        let first = call(switch, Primitive::Add(add(plan, 0))).await?;
        call(switch, force(plan, 0)).await?;
        let second = call(switch, Primitive::Add(add(plan, 0))).await?;
        expect(first.binding.is_some() && first.binding != second.binding, format!("{first:?} {second:?}"))
    }
    "UDP and TCP on one address are two services" => |switch, plan| {
        let udp = ServiceKey::udp(plan.services[0].addr);
        call(switch, Primitive::Add(Add { service: udp, ..add(plan, 0) })).await?;
        call(switch, Primitive::Add(add(plan, 0))).await?;
        call(switch, force(plan, 0)).await?;
        let left: Vec<_> = switch.list(&Filter::default()).await?.bindings.into_iter().map(|row| row.key.service).collect();
        expect(left == [udp], format!("{left:?}"))
    }
    "a Drop policy of limited life says how much is left" => |switch, plan| {
        call(switch, Primitive::SetService(SetService::new(plan.services[0]))).await?;
        call(switch, Primitive::Drop(DropNew { lasts: Some(Span::secs(60)), ..drop_new(plan, 0.5) })).await?;
        let listing = switch.list(&Filter::service(plan.services[0])).await?;
        let left = listing.services.iter().flat_map(|service| &service.drops).find_map(|policy| policy.left);
        expect(left.is_some_and(|left| left > Span::secs(30) && left <= Span::secs(60)), format!("{listing:?}"))
    }
    "a repeated Drop is no change, another mode is" => |switch, plan| {
        call(switch, Primitive::SetService(SetService::new(plan.services[0]))).await?;
        call(switch, Primitive::Drop(drop_new(plan, 0.5))).await?;
        let again = call(switch, Primitive::Drop(drop_new(plan, 0.5))).await?;
        let queue = call(switch, Primitive::Drop(DropNew { mode: DropMode::Queue, ..drop_new(plan, 0.5) })).await?;
        expect(!again.changed && queue.changed, format!("{again:?} {queue:?}"))
    }
    "clearing a policy that is not there is no change" => |switch, plan| {
        call(switch, Primitive::SetService(SetService::new(plan.services[0]))).await?;
        let cleared = call(switch, Primitive::Drop(DropNew { fraction: Fraction::ZERO, ..drop_new(plan, 0.5) })).await?;
        expect(!cleared.changed, format!("{cleared:?}"))
    }
    "a prefix of the other family and a life of nothing are refused" => |switch, plan| {
        call(switch, Primitive::SetService(SetService::new(plan.services[0]))).await?;
        let other = if plan.services[0].vip().is_ipv4() { "2001:db8::/32" } else { "192.0.2.0/24" };
        let from = other.parse().ok();
        invalid(switch, Primitive::Drop(DropNew { from, ..drop_new(plan, 0.5) }), "from").await?;
        let lasts = Some(Span::millis(0));
        invalid(switch, Primitive::Drop(DropNew { lasts, ..drop_new(plan, 0.5) }), "for").await
    }
    "a service on port 0 is refused" => |switch, plan| {
        let mut service = plan.services[0];
        service.addr = SocketAddr::new(service.vip(), 0);
        invalid(switch, Primitive::SetService(SetService::new(service)), "service").await
    }
    "an empty list is answered" => |switch, _plan| {
        let outcomes = switch.apply(&Caller::default(), vec![]).await?;
        expect(outcomes.is_empty(), format!("{outcomes:?}"))
    }
    "a list is one generation, and the answer comes when it is in force" => |switch, plan| {
        let list = (0..3).map(|n| Primitive::Add(add(plan, n))).collect();
        let outcomes = switch.apply(&Caller::default(), list).await?;
        let listed = switch.list(&Filter::default()).await?;
        let generations: Vec<_> = outcomes.iter().flatten().map(|done| done.generation).collect();
        let same = generations.len() == 3 && generations.windows(2).all(|pair| pair[0] == pair[1]);
        expect(same && generations[0] <= listed.generation, format!("{outcomes:?} {listed:?}"))?;
        expect(listed.bindings.len() == 3, format!("{listed:?}"))
    }
    "a repeated Remove is no change, and no error while the binding is there" => |switch, plan| {
        call(switch, Primitive::Add(add(plan, 0))).await?;
        let list = vec![remove(plan, 0), remove(plan, 0)];
        let outcomes = switch.apply(&Caller::default(), list).await?;
        let changed: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map(|done| done.changed)).collect();
        expect(changed == [Ok(true), Ok(false)], format!("{outcomes:?}"))
    }
    "Remove with a deadline of an empty binding does not wait for it" => |switch, plan| {
        call(switch, Primitive::Add(add(plan, 0))).await?;
        let deadline = Some(Span::secs(3600));
        call(switch, Primitive::Remove(Remove { service: plan.services[0], real: plan.reals[0], deadline })).await?;
        Ok(until_drained(switch, &key(plan, 0), Duration::from_secs(5)).await?)
    }
    "Remove and Force Remove leave the other members" => |switch, plan| {
        for n in 0..3 {
            call(switch, Primitive::Add(add(plan, n))).await?;
        }
        call(switch, remove(plan, 0)).await?;
        call(switch, force(plan, 1)).await?;
        until_drained(switch, &key(plan, 0), Duration::from_secs(5)).await?;
        let left: Vec<_> = switch.list(&Filter::default()).await?.bindings.into_iter().map(|row| row.key).collect();
        expect(left == [key(plan, 2)], format!("{left:?}"))
    }
}
