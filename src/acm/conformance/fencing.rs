//! Cases about leadership. They claim it, so whoever manages the switch meanwhile is fenced off and must claim again.

use super::control::{add, call};
use super::{Case, Room, Run, expect};
use crate::acm::error::AcmError;
use crate::acm::list::Filter;
use crate::acm::primitive::{Caller, Primitive, Tenure};
use crate::acm::switch::perform;

macro_rules! cases {
    ($($name:literal => |$switch:ident, $plan:ident| $body:block)*) => {
        /// The cases.
        pub const CASES: &[Case] = &[$(Case {
            name: $name,
            room: Room::Fencing,
            run: Run::Control(|$switch, $plan| Box::pin(async move { $body })),
        },)*];
    };
}

cases! {
    "a later claim fences an earlier tenure off, operators never" => |switch, plan| {
        let Ok(manager) = "manager-1".parse() else { return Ok(()) };
        let first: Tenure = switch.claim(&manager).await?;
        let second = switch.claim(&manager).await?;
        expect(second.epoch > first.epoch, format!("{first:?} {second:?}"))?;
        let stale = Caller { tenure: Some(first) };
        let refused = switch.apply(&stale, vec![Primitive::Add(add(plan, 0))]).await;
        expect(matches!(refused, Err(AcmError::StaleEpoch { .. })), format!("{refused:?}"))?;
        let Ok(other) = "manager-2".parse() else { return Ok(()) };
        let twin = Caller { tenure: Some(Tenure { manager: other, ..second.clone() }) };
        let refused = switch.apply(&twin, vec![Primitive::Add(add(plan, 0))]).await;
        expect(matches!(refused, Err(AcmError::StaleEpoch { .. })), format!("an epoch is one manager's: {refused:?}"))?;
        let current = Caller { tenure: Some(second) };
        perform(switch, &current, Primitive::Add(add(plan, 0))).await?;
        call(switch, Primitive::Add(add(plan, 1))).await?;
        Ok(())
    }
    "a fenced caller's list changes nothing at all" => |switch, plan| {
        let Ok(manager) = "manager-1".parse() else { return Ok(()) };
        let stale = Caller { tenure: Some(switch.claim(&manager).await?) };
        switch.claim(&manager).await?;
        let list = (0..2).map(|n| Primitive::Add(add(plan, n))).collect();
        let refused = switch.apply(&stale, list).await;
        expect(matches!(refused, Err(AcmError::StaleEpoch { .. })), format!("{refused:?}"))?;
        let listing = switch.list(&Filter::default()).await?;
        expect(listing.services.is_empty() && listing.bindings.is_empty(), format!("{listing:?}"))
    }
}
