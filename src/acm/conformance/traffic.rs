//! Cases about what happens to connections; they need a [`Testbed`].

use std::net::SocketAddr;
use std::time::Duration;

use super::control::{add, call, drop_new, force, key, remove, row};
use super::{Attempt, Case, Connection, Fate, Plan, Room, Run, Stop, Testbed, Verdict, expect};
use crate::acm::error::AcmError;
use crate::acm::list::State;
use crate::acm::primitive::{Add, DropNew, Primitive, Remove};
use crate::acm::switch::AcmSwitch;
use crate::acm::wait::{until_active, until_drained};
use crate::acm::words::{DropMode, Refusal};
use crate::base::span::Span;

macro_rules! cases {
    ($($name:literal => |$switch:ident, $testbed:ident, $plan:ident| $body:block)*) => {
        /// The cases.
        pub const CASES: &[Case] = &[$(Case {
            name: $name,
            room: Room::Traffic,
            run: Run::Traffic(|$switch, $testbed, $plan| Box::pin(async move { $body })),
        },)*];
    };
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Attempts for a share: three standard deviations of a fair coin are 0.106.
const ATTEMPTS: u16 = 200;

/// Adds a real with the plan's checks and waits until it takes connections.
pub(super) async fn bring_up(
    switch: &dyn AcmSwitch,
    plan: &Plan,
    n: usize,
    change: impl FnOnce(&mut Add) + Send,
) -> Verdict {
    let mut add = Add { health: plan.checks.clone(), ..add(plan, n) };
    change(&mut add);
    call(switch, Primitive::Add(add)).await?;
    Ok(until_active(switch, &key(plan, n), PATIENCE).await?)
}

pub(super) fn client(plan: &Plan, port: u16) -> SocketAddr {
    SocketAddr::new(plan.clients[0], port)
}

pub(super) async fn open(testbed: &dyn Testbed, plan: &Plan, port: u16) -> Result<(Connection, SocketAddr), Stop> {
    match testbed.open(client(plan, port), plan.services[0]).await {
        Attempt::To(connection, real) => Ok((connection, real)),
        refused => Err(Stop::Failed(format!("the attempt from port {port} was {refused:?}"))),
    }
}

pub(super) async fn refused(testbed: &dyn Testbed, from: SocketAddr, plan: &Plan) -> Result<Refusal, Stop> {
    match testbed.open(from, plan.services[0]).await {
        Attempt::Refused(refusal) => Ok(refusal),
        Attempt::To(_, real) => Err(Stop::Failed(format!("the attempt from {from} reached {real}"))),
    }
}

pub(super) async fn has_fate(testbed: &dyn Testbed, connection: Connection, fate: Fate) -> Verdict {
    let found = testbed.fate(connection).await;
    expect(found == fate, format!("{connection:?} is {found:?}, expected {fate:?}"))
}

/// Lets time pass until a binding is in a state; `None`: gone.
async fn until_state(
    switch: &dyn AcmSwitch,
    testbed: &dyn Testbed,
    plan: &Plan,
    n: usize,
    state: Option<State>,
) -> Verdict {
    let mut last = None;
    for _ in 0..100 {
        last = row(switch, &key(plan, n)).await?.map(|row| row.state);
        if last == state {
            return Ok(());
        }
        testbed.pass(Duration::from_millis(100)).await;
    }
    Err(Stop::Failed(format!("the binding is {last:?}, expected {state:?}")))
}

cases! {
    "connections reach what was added, and are counted" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        let (connection, real) = open(testbed, plan, 2001).await?;
        has_fate(testbed, connection, Fate::Alive).await?;
        let listed = row(switch, &key(plan, 0)).await?;
        let counts = listed.map(|row| (row.connections, row.total));
        expect(real == plan.reals[0] && counts == Some((1, 1)), format!("{real} {counts:?}"))
    }
    "nothing comes before the checks pass, everything after" => |switch, testbed, plan| {
        testbed.set_healthy(plan.reals[0], false).await;
        call(switch, Primitive::Add(Add { health: plan.checks.clone(), ..add(plan, 0) })).await?;
        refused(testbed, client(plan, 2001), plan).await?;
        testbed.set_healthy(plan.reals[0], true).await;
        until_state(switch, testbed, plan, 0, Some(State::Active)).await?;
        open(testbed, plan, 2002).await.map(drop)
    }
    "a real that fails gets nothing new, keeps what it has, and says why" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        let (connection, _) = open(testbed, plan, 2001).await?;
        testbed.set_healthy(plan.reals[0], false).await;
        until_state(switch, testbed, plan, 0, Some(State::Failed)).await?;
        let reason = row(switch, &key(plan, 0)).await?.and_then(|row| row.reason).unwrap_or_default();
        expect(!reason.is_empty(), "no reason is given")?;
        refused(testbed, client(plan, 2002), plan).await?;
        has_fate(testbed, connection, Fate::Alive).await
    }
    "after Remove's acknowledgement nothing new comes, and what is there goes on until it ends" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        let (first, _) = open(testbed, plan, 2001).await?;
        bring_up(switch, plan, 1, |_| {}).await?;
        call(switch, remove(plan, 0)).await?;
        for port in 2002..2010 {
            let (_, real) = open(testbed, plan, port).await?;
            expect(real == plan.reals[1], format!("the attempt from {port} reached the removed real"))?;
        }
        has_fate(testbed, first, Fate::Alive).await?;
        let listed = row(switch, &key(plan, 0)).await?.map(|row| (row.state, row.connections));
        expect(listed == Some((State::Draining, 1)), format!("{listed:?}"))?;
        testbed.close(first).await;
        Ok(until_drained(switch, &key(plan, 0), PATIENCE).await?)
    }
    "a removed real that is added again takes connections again, as the same binding" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        let (first, _) = open(testbed, plan, 2001).await?;
        let before = row(switch, &key(plan, 0)).await?.map(|row| row.id);
        call(switch, remove(plan, 0)).await?;
        refused(testbed, client(plan, 2002), plan).await?;
        bring_up(switch, plan, 0, |_| {}).await?;
        open(testbed, plan, 2003).await?;
        has_fate(testbed, first, Fate::Alive).await?;
        let after = row(switch, &key(plan, 0)).await?.map(|row| row.id);
        expect(before == after, format!("{before:?} became {after:?}"))
    }
    "Remove with a deadline turns into Force Remove" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        let (connection, _) = open(testbed, plan, 2001).await?;
        let deadline = Some(Span::millis(300));
        call(switch, Primitive::Remove(Remove { service: plan.services[0], real: plan.reals[0], deadline })).await?;
        has_fate(testbed, connection, Fate::Alive).await?;
        until_state(switch, testbed, plan, 0, None).await?;
        has_fate(testbed, connection, Fate::Reset).await
    }
    "Force Remove resets both ends, tells how many, and touches nobody else" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        let mut cut = Vec::new();
        for port in 2001..2021 {
            cut.push(open(testbed, plan, port).await?.0);
        }
        bring_up(switch, plan, 1, |_| {}).await?;
        call(switch, remove(plan, 0)).await?;
        let (other, _) = open(testbed, plan, 2050).await?;
        let done = call(switch, force(plan, 0)).await?;
        expect(done.cut == Some(20), format!("{done:?}"))?;
        for connection in cut {
            has_fate(testbed, connection, Fate::Reset).await?;
        }
        has_fate(testbed, other, Fate::Alive).await
    }
    "Drop 1 refuses every new connection and touches none that exists" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        let (connection, _) = open(testbed, plan, 2001).await?;
        for mode in [DropMode::Shed, DropMode::Queue] {
            call(switch, Primitive::Drop(DropNew { mode, ..drop_new(plan, 1.0) })).await?;
            for port in 2002..2006 {
                refused(testbed, client(plan, port), plan).await?;
            }
        }
        has_fate(testbed, connection, Fate::Alive).await?;
        call(switch, Primitive::Drop(drop_new(plan, 0.0))).await?;
        open(testbed, plan, 2010).await.map(drop)
    }
    "Drop with reset is heard" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        call(switch, Primitive::Drop(DropNew { refusal: Refusal::Reset, ..drop_new(plan, 1.0) })).await?;
        let refusal = refused(testbed, client(plan, 2001), plan).await?;
        expect(refusal == Refusal::Reset, format!("{refusal:?}"))
    }
    "Drop 0.5 refuses about half, in either mode" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        for (mode, base) in [(DropMode::Shed, 3000), (DropMode::Queue, 4000)] {
            call(switch, Primitive::Drop(DropNew { mode, ..drop_new(plan, 0.5) })).await?;
            let mut admitted = 0;
            for port in base..base + ATTEMPTS {
                if let Attempt::To(..) = testbed.open(client(plan, port), plan.services[0]).await {
                    admitted += 1;
                }
            }
            let share = f64::from(admitted) / f64::from(ATTEMPTS);
            expect((share - 0.5).abs() < 0.15, format!("{mode:?} admitted {share}"))?;
        }
        Ok(())
    }
    "shed: a retried SYN meets the verdict of its attempt" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        call(switch, Primitive::Drop(drop_new(plan, 0.5))).await?;
        let mut tried = 0;
        for port in 3000..3040 {
            if let Attempt::Refused(_) = testbed.open(client(plan, port), plan.services[0]).await {
                tried += 1;
                for _ in 0..4 {
                    refused(testbed, client(plan, port), plan).await?;
                }
            }
        }
        expect(tried > 5, format!("only {tried} of 40 were refused"))
    }
    "the longest matching prefix decides" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        let from = Some(plan.clients[1].into());
        call(switch, Primitive::Drop(DropNew { from, ..drop_new(plan, 1.0) })).await?;
        open(testbed, plan, 2001).await?;
        refused(testbed, SocketAddr::new(plan.clients[1], 2001), plan).await.map(drop)
    }
    "a Drop policy ends by itself" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |_| {}).await?;
        call(switch, Primitive::Drop(DropNew { lasts: Some(Span::millis(300)), ..drop_new(plan, 1.0) })).await?;
        refused(testbed, client(plan, 2001), plan).await?;
        testbed.pass(Duration::from_millis(600)).await;
        open(testbed, plan, 2002).await.map(drop)
    }
    "a connection limit is kept" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |add| add.max_conns = Some(2)).await?;
        let (first, _) = open(testbed, plan, 2001).await?;
        open(testbed, plan, 2002).await?;
        refused(testbed, client(plan, 2003), plan).await?;
        testbed.close(first).await;
        open(testbed, plan, 2004).await.map(drop)
    }
    "weight 0 takes no new connections" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |add| add.weight = Some(0)).await?;
        bring_up(switch, plan, 1, |_| {}).await?;
        for port in 2001..2006 {
            let (_, real) = open(testbed, plan, port).await?;
            expect(real == plan.reals[1], format!("{real}"))?;
        }
        Ok(())
    }
    "without rules only group default receives traffic" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |add| add.group = "blue".parse().ok()).await?;
        refused(testbed, client(plan, 2001), plan).await.map(drop)
    }
    "a lease that runs out drains while another healthy member remains" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |add| add.lease = Some(Span::secs(1))).await?;
        bring_up(switch, plan, 1, |_| {}).await?;
        until_state(switch, testbed, plan, 0, None).await?;
        let (_, real) = open(testbed, plan, 2001).await?;
        expect(real == plan.reals[1], format!("{real}"))
    }
    "a lease of the last member lapses and the member stays" => |switch, testbed, plan| {
        bring_up(switch, plan, 0, |add| add.lease = Some(Span::secs(1))).await?;
        until_state(switch, testbed, plan, 0, Some(State::Lapsed)).await?;
        open(testbed, plan, 2001).await?;
        bring_up(switch, plan, 1, |_| {}).await?;
        call(switch, remove(plan, 1)).await?;
        let state = row(switch, &key(plan, 0)).await?.map(|row| row.state);
        expect(state != Some(State::Active), format!("{state:?}: nobody refreshed it"))
    }
    "a refreshed lease holds" => |switch, testbed, plan| {
        bring_up(switch, plan, 1, |_| {}).await?;
        for _ in 0..4 {
            bring_up(switch, plan, 0, |add| add.lease = Some(Span::secs(1))).await?;
            testbed.pass(Duration::from_millis(500)).await;
        }
        let state = row(switch, &key(plan, 0)).await?.map(|row| row.state);
        expect(state == Some(State::Active), format!("{state:?}"))
    }
    "no service, no connection" => |switch, testbed, plan| {
        let error = call(switch, remove(plan, 0)).await;
        expect(matches!(error, Err(AcmError::NotFound { .. })), format!("{error:?}"))?;
        refused(testbed, client(plan, 2001), plan).await.map(drop)
    }
}
