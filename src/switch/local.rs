//! `LocalSwitch`: the contract on top of the forwarding plane in this process.
//!
//! A primitive is decided under one short lock, published, and answered when every worker uses the new table; what
//! is cut is answered when the workers have cut it. Reads of the plane's counters go through the worker, which
//! alone owns them. One worker forwards in this version; publication and acknowledgement are written for any number.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::AHashMap;
use tokio::sync::{Notify, oneshot};

use super::capture;
use super::control::rows::{self, Tally};
use super::control::{Control, Effects, HealthOrder, Sight};
use super::publication::Publication;
use super::task::{Clock, ControlTask};
use super::worker::{Command, Snapshot, Worker, WorkerHandle};
use crate::acm::error::AcmError;
use crate::acm::event::{EventId, EventKind};
use crate::acm::event_log::EventLog;
use crate::acm::list::{Filter, Listing};
use crate::acm::primitive::{Caller, Outcome, Primitive, Tenure};
use crate::acm::switch::{AcmSwitch, Answer, CaptureStream, EventStream, Inspect, Statistics};
use crate::acm::table::ServiceTable;
use crate::acm::words::BindingKey;
use crate::base::addr::Mac;
use crate::base::id::{BindingId, Generation, Name};
use crate::base::limits::BATCH_MAX;
use crate::base::time::Time;
use crate::health::HealthConfig;
use crate::health::checks::Checks;
use crate::plane::{Notice, Plane, PlaneConfig};
use crate::port::Port;

/// How long an answer that needs the worker may take before the switch admits that it is stuck.
const WORKER_PATIENCE: Duration = Duration::from_secs(5);

/// What a switch needs to know besides its ports.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The MAC that answers for the switch's own addresses and all virtual ones.
    pub mac: Mac,
    /// The switch's own addresses; health checks come from them.
    pub addresses: Vec<IpAddr>,
    /// The plane's settings.
    pub plane: PlaneConfig,
    /// Makes event ids of different starts differ; random.
    pub boot: u32,
    /// For source ports and sequence numbers of health checks; random.
    pub seed: u64,
}

/// A switch in this process.
pub struct LocalSwitch {
    shared: Arc<Shared>,
}

/// What the switch and its control task share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) worker: WorkerHandle,
    /// Tells the control task that something came in.
    pub(super) news: Arc<Notify>,
    publication: Arc<Publication>,
    core: Mutex<Core>,
    events: EventLog,
    stopping: AtomicBool,
}

/// How far the worker's plane looks.
const SIGHT: Sight = Sight::Requests;

/// What is decided under the lock.
struct Core {
    control: Control,
    /// Force Removed bindings the worker has not reported cut yet, and who waits for the number.
    cuts: AHashMap<BindingId, PendingCut>,
    orders: Vec<HealthOrder>,
}

struct PendingCut {
    key: BindingKey,
    answer: Option<oneshot::Sender<u64>>,
}

/// Where one primitive's number of cut connections comes from.
type CutAnswers = Vec<oneshot::Receiver<u64>>;

impl LocalSwitch {
    /// Starts the worker thread on these ports. The [`ControlTask`] must be run by the caller for as long as the
    /// switch shall live: without it nothing becomes active.
    ///
    /// # Errors
    /// The system's, when the thread or its wake-up cannot be made.
    pub fn start(config: LocalConfig, ports: Vec<Box<dyn Port>>) -> std::io::Result<(Arc<LocalSwitch>, ControlTask)> {
        let clock = Clock::start();
        let publication = Arc::new(Publication::new(1));
        let news = Arc::new(Notify::new());
        let plane = Plane::new(config.plane.clone());
        let (worker, reports) = Worker::start(plane, ports, Arc::clone(&publication), Arc::clone(&news), clock)?;
        let shared = Arc::new(Shared {
            clock,
            worker,
            news,
            publication,
            core: Mutex::new(Core {
                control: Control::new(config.addresses.clone(), SIGHT),
                cuts: AHashMap::new(),
                orders: Vec::new(),
            }),
            events: EventLog::new(config.boot),
            stopping: AtomicBool::new(false),
        });
        let health = HealthConfig { mac: config.mac, addresses: config.addresses, seed: config.seed };
        let checks = Checks::new(health, clock.now());
        let task = ControlTask { shared: Arc::clone(&shared), checks, reports };
        Ok((Arc::new(LocalSwitch { shared }), task))
    }

    /// Ends the worker and the control task. Frames in hand are still sent.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.news.notify_one();
        self.shared.worker.stop();
    }
}

impl Drop for LocalSwitch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        // A panic while deciding would have left a draft behind, never a published table; go on with that.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.core().control.next_deadline()
    }

    pub(super) fn take_health_orders(&self) -> Vec<HealthOrder> {
        std::mem::take(&mut self.core().orders)
    }

    /// Decides something and puts the outcome in force.
    pub(super) fn change(&self, now: Time, decide: impl FnOnce(&mut Control)) {
        let mut core = self.core();
        decide(&mut core.control);
        self.settle(&mut core, now);
    }

    /// A worker's notice.
    pub(super) fn notice(&self, notice: Notice, seen: Generation, now: Time) {
        let mut core = self.core();
        match notice {
            Notice::Drained { binding } => {
                core.control.drained(binding, seen);
                self.settle(&mut core, now);
            }
            Notice::Cut { binding, cut } => {
                let Some(pending) = core.cuts.remove(&binding) else { return };
                let generation = core.control.table().generation();
                let event = EventKind::ForceRemoved { binding: pending.key, id: binding, cut };
                self.events.push(self.clock.wall(now), generation, event);
                if let Some(answer) = pending.answer {
                    // Nobody to tell is no error: the caller may have gone.
                    let _ = answer.send(cut);
                }
            }
        }
    }

    /// Publishes what was decided and passes the effects on. Returns what was to be cut.
    fn settle(&self, core: &mut Core, now: Time) -> Effects {
        let (table, mut effects) = core.control.commit();
        let generation = core.control.table().generation();
        for cutting in &effects.cuts {
            core.cuts.insert(cutting.binding, PendingCut { key: cutting.key, answer: None });
        }
        if let Some(table) = table {
            self.publication.publish(table);
        }
        if !effects.cuts.is_empty() {
            // Published before, so the worker has taken up the table when it obeys.
            let bindings = effects.cuts.iter().map(|cutting| cutting.binding).collect();
            self.worker.command(Command::ConfirmCut(bindings));
        } else if effects.urgent {
            self.worker.wake();
        }
        for event in effects.events.drain(..) {
            self.events.push(self.clock.wall(now), generation, event);
        }
        core.orders.append(&mut effects.health);
        effects
    }

    /// Performs a list under one lock and publishes it as one table.
    fn perform(&self, caller: &Caller, list: &[Primitive]) -> Result<(Vec<Outcome>, Vec<CutAnswers>), AcmError> {
        let now = self.clock.now();
        let mut core = self.core();
        core.control.admit(caller)?;
        let mut cuts_before = 0;
        let mut outcomes = Vec::with_capacity(list.len());
        let mut cuts_of = Vec::with_capacity(list.len());
        for primitive in list {
            outcomes.push(core.control.perform(primitive, now));
            let cuts = core.control.cuts_so_far();
            cuts_of.push(cuts_before..cuts);
            cuts_before = cuts;
        }
        let effects = self.settle(&mut core, now);
        let answers = cuts_of.into_iter().map(|range| {
            let bindings = effects.cuts[range].iter().map(|cutting| cutting.binding);
            bindings.filter_map(|binding| wait_for_cut(&mut core.cuts, binding)).collect()
        });
        let answers = answers.collect();
        drop(core);
        // New bindings to check, or an earlier deadline than the task sleeps for.
        self.news.notify_one();
        Ok((outcomes, answers))
    }

    /// The latest table, once every worker uses it.
    async fn table_in_force(&self) -> Result<Arc<ServiceTable>, AcmError> {
        let table = self.publication.table();
        let acknowledged = self.publication.acknowledged(table.generation());
        match tokio::time::timeout(WORKER_PATIENCE, acknowledged).await {
            Ok(()) => Ok(table),
            Err(_) => Err(AcmError::Timeout { waited_for: "the forwarding worker to take up the new table".into() }),
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, AcmError> {
        let (answer, snapshot) = oneshot::channel();
        if !self.worker.command(Command::Snapshot(answer)) {
            return Err(AcmError::Unreachable { why: "the forwarding worker does not take commands".into() });
        }
        in_time("counters from the forwarding worker", snapshot).await
    }
}

fn wait_for_cut(cuts: &mut AHashMap<BindingId, PendingCut>, binding: BindingId) -> Option<oneshot::Receiver<u64>> {
    let (tell, told) = oneshot::channel();
    cuts.get_mut(&binding)?.answer = Some(tell);
    Some(told)
}

async fn in_time<T>(waited_for: &str, answer: oneshot::Receiver<T>) -> Result<T, AcmError> {
    match tokio::time::timeout(WORKER_PATIENCE, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(AcmError::Unreachable { why: format!("the switch stopped while waiting for {waited_for}") }),
        Err(_) => Err(AcmError::Timeout { waited_for: waited_for.to_owned() }),
    }
}

impl AcmSwitch for LocalSwitch {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(async move {
            if list.len() > BATCH_MAX {
                let why = format!("{} primitives; at most {BATCH_MAX} in one list", list.len());
                return Err(AcmError::invalid("list", why));
            }
            let (mut outcomes, cuts) = self.shared.perform(caller, &list)?;
            self.shared.table_in_force().await?;
            for (outcome, answers) in outcomes.iter_mut().zip(cuts).filter(|(_, answers)| !answers.is_empty()) {
                let mut cut = 0;
                for answer in answers {
                    cut += in_time("the forwarding worker to cut the connections", answer).await?;
                }
                if let Ok(done) = outcome {
                    done.cut = Some(cut);
                }
            }
            Ok(outcomes)
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(async move {
            // Nothing is told that packets do not meet yet.
            let table = self.shared.table_in_force().await?;
            let Snapshot { bindings, services, rules, .. } = self.shared.snapshot().await?;
            let tally = Tally { bindings, services, rules };
            Ok(rows::listing(&table, &tally, filter, self.shared.clock.now()))
        })
    }

    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        Box::pin(async move { Ok(self.shared.events.subscribe(after)) })
    }

    fn claim<'a>(&'a self, manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        Box::pin(async move { Ok(self.shared.core().control.claim(manager)) })
    }
}

impl Inspect for LocalSwitch {
    fn statistics(&self) -> Answer<'_, Result<Statistics, AcmError>> {
        Box::pin(async move {
            let mut statistics = self.shared.snapshot().await?.statistics;
            statistics.uptime_secs = self.shared.clock.now().micros() / 1_000_000;
            Ok(statistics)
        })
    }

    fn capture<'a>(&'a self, port: &'a str) -> Answer<'a, Result<CaptureStream, AcmError>> {
        Box::pin(async move {
            let epoch = Duration::from_millis(self.shared.clock.wall(Time::ZERO));
            capture::start(self.shared.worker.capture(port)?, epoch)
        })
    }
}
