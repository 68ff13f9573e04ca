//! Cases about who gets in and who is put out; they need a [`Testbed`](super::Testbed).

use std::net::SocketAddr;

use super::control::{call, drop_new, key, row};
use super::traffic::{bring_up, client, has_fate, open, refused};
use super::{Attempt, Case, Fate, Room, Run, Stop, expect};
use crate::acm::list::Filter;
use crate::acm::primitive::{DropNew, Primitive, RemoveService, SetService};
use crate::acm::words::{DropMode, Refusal, Scheduler};

macro_rules! cases {
    ($($name:literal => |$switch:ident, $testbed:ident, $plan:ident| $body:block)*) => {
        /// The cases.
        pub const CASES: &[Case] = &[$(Case {
            name: $name,
            room: Room::Refusals,
            run: Run::Traffic(|$switch, $testbed, $plan| Box::pin(async move { $body })),
        },)*];
    };
}

cases! {
    "a longer prefix spares its clients from the service's policy" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        // One in a thousand million is as good as none, and it is not 0, which would clear the policy.
        let spared = DropNew { from: Some(plan.clients[1].into()), ..drop_new(plan, 1e-9) };
        call(switch, Primitive::Drop(spared)).await?;
        call(switch, Primitive::Drop(drop_new(plan, 1.0))).await?;
        refused(testbed, client(plan, 2001), plan).await?;
        match testbed.open(SocketAddr::new(plan.clients[1], 2001), plan.services[0]).await {
            Attempt::To(..) => Ok(()),
            Attempt::Refused(_) => Err(Stop::Failed("the client with a policy of its own was refused".into())),
        }
    }
    "queue: a retried SYN meets a fresh coin, so patient clients come in" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        call(switch, Primitive::Drop(DropNew { mode: DropMode::Queue, ..drop_new(plan, 0.5) })).await?;
        let (mut delayed, mut admitted) = (0, 0);
        for port in 3000..3040 {
            let mut opened = false;
            for attempt in 0..20 {
                if let Attempt::To(..) = testbed.open(client(plan, port), plan.services[0]).await {
                    opened = true;
                    delayed += u32::from(attempt > 0);
                    break;
                }
            }
            admitted += u32::from(opened);
        }
        expect(admitted == 40 && delayed > 5, format!("{admitted} of 40 came in, {delayed} of them late"))
    }
    "an unchanged policy keeps its verdicts, another one tosses anew" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        call(switch, Primitive::Drop(drop_new(plan, 0.5))).await?;
        let mut out = Vec::new();
        for port in 3000..3080 {
            if let Attempt::Refused(_) = testbed.open(client(plan, port), plan.services[0]).await {
                out.push(client(plan, port));
            }
        }
        call(switch, Primitive::Drop(drop_new(plan, 0.5))).await?;
        for from in &out {
            refused(testbed, *from, plan).await?;
        }
        call(switch, Primitive::Drop(drop_new(plan, 0.4))).await?;
        let mut admitted = 0;
        for from in &out {
            admitted += u32::from(matches!(testbed.open(*from, plan.services[0]).await, Attempt::To(..)));
        }
        // Fewer than 18 of 80 are refused once in a million runs; that 18 tossed anew all stay out is rarer still.
        expect(admitted > 0, format!("none of {} refused clients was tossed for again", out.len()))
    }
    "what is refused is counted by its reason" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        open(testbed, plan, 2001).await?;
        call(switch, Primitive::Drop(drop_new(plan, 1.0))).await?;
        for port in 2002..2005 {
            refused(testbed, client(plan, port), plan).await?;
        }
        let listing = switch.list(&Filter::service(plan.services[0])).await?;
        let counts: Vec<_> = listing.services.iter().map(|row| (row.admitted, row.dropped, row.refused)).collect();
        expect(counts == [(1, 3, 0)], format!("{counts:?}"))
    }
    "with no real, a client hears what the service says" => |switch, testbed, plan| {
        for (port, when_none) in [(2001, Refusal::Silent), (2002, Refusal::Reset)] {
            let set = SetService { when_none: Some(when_none), ..SetService::new(plan.services[0]) };
            call(switch, Primitive::SetService(set)).await?;
            let heard = refused(testbed, client(plan, port), plan).await?;
            expect(heard == when_none, format!("{heard:?} instead of {when_none:?}"))?;
        }
        let listing = switch.list(&Filter::service(plan.services[0])).await?;
        let counts: Vec<_> = listing.services.iter().map(|row| row.refused).collect();
        expect(counts == [2], format!("{counts:?}"))
    }
    "removing a service resets its connections and tells how many" => |switch, testbed, plan| {
        let mut cut = Vec::new();
        for n in 0..2 {
            bring_up(switch, plan, n, |_| {}).await?;
            for port in 0..3 {
                cut.push(open(testbed, plan, 2001 + 10 * n as u16 + port).await?.0);
            }
        }
        let done = call(switch, Primitive::RemoveService(RemoveService { service: plan.services[0] })).await?;
        expect(done.cut == Some(6), format!("{done:?}"))?;
        for connection in cut {
            has_fate(testbed, connection, Fate::Reset).await?;
        }
        refused(testbed, client(plan, 2040), plan).await.map(drop)
    }
    "round-robin gives each its turn" => |switch, testbed, plan| {
        for n in 0..2 {
            bring_up(switch, plan, n, |_| {}).await?;
        }
        for port in 2001..2011 {
            open(testbed, plan, port).await?;
        }
        for n in 0..2 {
            let total = row(switch, &key(plan, n)).await?.map(|row| row.total);
            expect(total == Some(5), format!("{:?} of 10 to the one of two", total))?;
        }
        Ok(())
    }
    "source-hash gives one client one real" => |switch, testbed, plan| {
        for n in 0..2 {
            bring_up(switch, plan, n, |_| {}).await?;
        }
        let set = SetService { scheduler: Some(Scheduler::SourceHash), ..SetService::new(plan.services[0]) };
        call(switch, Primitive::SetService(set)).await?;
        let (_, first) = open(testbed, plan, 2021).await?;
        for port in 2022..2030 {
            let (_, real) = open(testbed, plan, port).await?;
            expect(real == first, format!("{real} after {first}"))?;
        }
        Ok(())
    }
}
