//! The box's hands: primitives, lists and events, performed on the runtime while the command line goes on.

#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use switch_sim::slb::balancer::Waker;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::plan::{Plan, undo};
use crate::acm::error::AcmError;
use crate::acm::event::{Event, EventKind};
use crate::acm::list::{Filter, Listing};
use crate::acm::primitive::{Caller, ForceRemove, Primitive};
use crate::acm::switch::{AcmSwitch, EventStream, perform as one};

/// Events that can wait to be looked at. More at once are one reason to look at everything.
const EVENTS_MAX: usize = 4096;

/// A switch that reports no events is looked at whenever a screen is printed, and no other time.
#[derive(Default)]
struct Tray {
    answers: HashMap<u64, Answer>,
    events: Vec<EventKind>,
    /// Events were lost, or too many came.
    is_lost: bool,
    waker: Option<Waker>,
}

/// What came of an errand.
pub(super) enum Answer {
    /// All of a plan is in force, or none of it.
    Performed(Result<(), AcmError>),
    /// What there is.
    Listed(Result<Listing, AcmError>),
}

/// What happened lately.
pub(super) struct News {
    /// In order.
    pub(super) events: Vec<EventKind>,
    /// True if that is not all.
    pub(super) is_lost: bool,
}

/// Runs errands.
pub(super) struct Hands {
    switch: Arc<dyn AcmSwitch>,
    runtime: Handle,
    tray: Arc<Mutex<Tray>>,
    next: u64,
    watching: AbortHandle,
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn lock(tray: &Mutex<Tray>) -> MutexGuard<'_, Tray> {
    // Nothing in here stops half-way.
    tray.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Changes the tray and wakes whoever waits for it, outside the lock.
fn put(tray: &Mutex<Tray>, change: impl FnOnce(&mut Tray)) {
    let waker = {
        let mut tray = lock(tray);
        change(&mut tray);
        tray.waker.clone()
    };
    if let Some(waker) = waker {
        waker();
    }
}

impl Hands {
    /// Hands on this runtime, watching the switch's events from now on.
    pub(super) fn new(switch: Arc<dyn AcmSwitch>, runtime: Handle) -> Hands {
        let tray = Arc::new(Mutex::new(Tray { is_lost: true, ..Tray::default() }));
        let watching = runtime.spawn(watch(Arc::clone(&switch), Arc::clone(&tray))).abort_handle();
        Hands { switch, runtime, tray, next: 0, watching }
    }

    pub(super) fn set_waker(&self, waker: Waker) {
        lock(&self.tray).waker = Some(waker);
    }

    /// Begins to perform a plan; returns the errand's number.
    pub(super) fn perform(&mut self, plan: Plan) -> u64 {
        let switch = Arc::clone(&self.switch);
        self.errand(async move { Answer::Performed(perform(&*switch, plan).await) })
    }

    /// Performs a plan whose answer nobody waits for.
    pub(super) fn perform_unasked(&self, plan: Plan) {
        let switch = Arc::clone(&self.switch);
        self.runtime.spawn(async move {
            if let Err(why) = perform(&*switch, plan).await {
                tracing::warn!(%why, "what the command line removed could not be cleared away");
            }
        });
    }

    /// Begins to ask for everything there is.
    pub(super) fn list(&mut self) -> u64 {
        let switch = Arc::clone(&self.switch);
        self.errand(async move { Answer::Listed(switch.list(&Filter::default()).await) })
    }

    fn errand(&mut self, work: impl Future<Output = Answer> + Send + 'static) -> u64 {
        self.next += 1;
        let (number, tray) = (self.next, Arc::clone(&self.tray));
        self.runtime.spawn(async move {
            let answer = work.await;
            put(&tray, |tray| drop(tray.answers.insert(number, answer)));
        });
        number
    }

    /// What came of an errand, once.
    pub(super) fn take(&self, number: u64) -> Option<Answer> {
        lock(&self.tray).answers.remove(&number)
    }

    /// What happened since the last call.
    pub(super) fn news(&self) -> News {
        let mut tray = lock(&self.tray);
        News { events: std::mem::take(&mut tray.events), is_lost: std::mem::take(&mut tray.is_lost) }
    }
}

/// All of the plan, or none.
async fn perform(switch: &dyn AcmSwitch, plan: Plan) -> Result<(), AcmError> {
    let caller = Caller::default();
    if let Some(real) = plan.cut {
        cut(switch, &caller, real).await?;
    }
    for primitive in plan.first {
        one(switch, &caller, primitive).await?;
    }
    if plan.primitives.is_empty() {
        return Ok(());
    }
    let outcomes = switch.apply(&caller, plan.primitives.clone()).await?;
    let mut refused = None;
    let mut done = Vec::new();
    for (primitive, outcome) in plan.primitives.iter().zip(outcomes) {
        match outcome {
            Ok(outcome) if outcome.changed => done.extend(undo(primitive)),
            Ok(_) => {}
            // What shall go and is gone already is as it shall be.
            Err(AcmError::NotFound { .. }) if is_removal(primitive) => {}
            Err(why) => drop(refused.get_or_insert(why)),
        }
    }
    let Some(refused) = refused else { return Ok(()) };
    if plan.is_new && !done.is_empty() {
        switch.apply(&caller, done).await?;
    }
    if !plan.undo.is_empty() {
        switch.apply(&caller, plan.undo).await?;
    }
    Err(refused)
}

fn is_removal(primitive: &Primitive) -> bool {
    matches!(primitive, Primitive::Remove(_) | Primitive::ForceRemove(_) | Primitive::RemoveService(_))
}

/// Cuts every connection of a real server.
async fn cut(switch: &dyn AcmSwitch, caller: &Caller, real: IpAddr) -> Result<(), AcmError> {
    let listing = switch.list(&Filter::default()).await?;
    let rows = listing.bindings.iter().filter(|row| row.key.real.ip() == real);
    let cuts = rows.map(|row| Primitive::ForceRemove(ForceRemove { service: row.key.service, real: row.key.real }));
    let cuts: Vec<_> = cuts.collect();
    if cuts.is_empty() {
        return Ok(());
    }
    let outcomes = switch.apply(caller, cuts).await?;
    outcomes
        .into_iter()
        .find(|outcome| !matches!(outcome, Ok(_) | Err(AcmError::NotFound { .. })))
        .map_or(Ok(()), |outcome| outcome.map(drop))
}

/// Collects events until the switch is gone or reports none.
async fn watch(switch: Arc<dyn AcmSwitch>, tray: Arc<Mutex<Tray>>) {
    let Ok(mut events) = switch.events(None).await else { return };
    while let Some(Event { kind, .. }) = next(&mut events).await {
        put(&tray, |tray| match kind {
            EventKind::Lost => tray.is_lost = true,
            _ if tray.events.len() >= EVENTS_MAX => {
                tray.events.clear();
                tray.is_lost = true;
            }
            kind => tray.events.push(kind),
        });
    }
}

async fn next(events: &mut EventStream) -> Option<Event> {
    std::future::poll_fn(|context: &mut Context<'_>| -> Poll<Option<Event>> { Pin::as_mut(events).poll_next(context) })
        .await
}
