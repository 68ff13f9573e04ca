//! The desk of one switch: what is to be done there next. One job at a time, so a slow switch delays nobody but itself.
//!
//! Pure: it hands out a [`Job`], and is told the result. Its queue is a set of bindings, not of calls: what is to be
//! done about one is looked up in the cache at the moment it is done, so an Add that is followed by a Remove while the
//! switch is busy is one Remove, and the queue is never longer than there are bindings.
//!
//! A switch that keeps an epoch is claimed first, and refuses us when another has claimed it since; then the whole
//! manager steps down. A box that keeps none is listed before every write. What a box cannot do is learnt from its first
//! `Unsupported`, made up where it can be, and said in the answer.
//!
//! Here: the connection, the tenure, and one job after the other. `words`: jobs, results and news; `steps`: what is to be done
//! about a binding; `table`: what the switch has, as it lists, acknowledges and tells it; `answers`: errors and status in the
//! words of the wire.

mod answers;
mod steps;
mod table;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::answers::{answer_all, answer_asked};
use self::steps::Task;
use self::table::Options;
use super::cache::Wish;
use super::lacks::Lacks;
use super::reconcile::{Held, Observed};
use crate::acm::error::AcmError;
use crate::acm::list::Filter;
use crate::acm::primitive::{Caller, Primitive, Tenure};
use crate::acm::words::{BindingKey, ServiceKey};
use crate::base::id::Name;
use crate::base::time::Time;
use crate::beacon::key::VipRange;

pub use words::{Context, Done, Job, News};

#[derive(Debug)]
enum Link {
    Down { retry_at: Time, tries: u32, why: Option<AcmError> },
    Up,
}

#[derive(Debug, Clone, PartialEq)]
enum Fencing {
    Unclaimed,
    Held(Tenure),
    None,
}

/// How much of the table a List shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Service(ServiceKey),
}

impl Scope {
    fn holds(self, key: &BindingKey) -> bool {
        match self {
            Scope::All => true,
            Scope::Service(service) => service == key.service,
        }
    }
}

#[derive(Debug)]
enum Flight {
    Connecting,
    Claiming,
    Listing(Scope),
    Applying(Vec<Task>, Time),
    /// Begun before we last stopped leading; its result means nothing.
    Void,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Desk {
    /// What people call the switch.
    pub name: Name,
    vips: Vec<VipRange>,
    link: Link,
    fencing: Fencing,
    lacks: Lacks,
    observed: Observed,
    /// A box that keeps no epoch is not written to before: we were cut off from it, so perhaps from another leader too.
    quiet_until: Time,
    /// When the whole table is listed next; at once if it was not yet.
    list_at: Time,
    /// What was listed since the last write.
    fresh: Option<Scope>,
    /// Services to be listed and judged now.
    looks: BTreeSet<ServiceKey>,
    /// Bindings somebody asked about.
    asked: BTreeSet<BindingKey>,
    /// What the last pass found to do.
    planned: VecDeque<(BindingKey, Primitive)>,
    /// What drains on a box that keeps no deadline, and when it is to be cut.
    cuts: BTreeMap<BindingKey, Time>,
    held: BTreeMap<BindingKey, Held>,
    /// Options a box keeps in its own way, whatever it is told.
    stubborn: BTreeMap<BindingKey, (Wish, Options)>,
    flight: Option<Flight>,
    /// Since when it is other than wanted.
    behind: Option<Time>,
    /// How long a primitive takes there.
    pace: Duration,
}

/// The pause after a lost connection; it doubles to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
/// A switch that is back has its bindings within two of these.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// The pause after a password or token that is refused: asking faster helps nobody, and some boxes lock up.
const RETRY_FORBIDDEN: Duration = Duration::from_secs(30);

impl Desk {
    /// The desk of a switch that has these virtual addresses.
    pub fn new(name: Name, vips: Vec<VipRange>) -> Desk {
        Desk {
            name,
            vips,
            link: Link::Down { retry_at: Time::ZERO, tries: 0, why: None },
            fencing: Fencing::Unclaimed,
            lacks: Lacks::default(),
            observed: Observed::new(),
            quiet_until: Time::ZERO,
            list_at: Time::ZERO,
            fresh: None,
            looks: BTreeSet::new(),
            asked: BTreeSet::new(),
            planned: VecDeque::new(),
            cuts: BTreeMap::new(),
            held: BTreeMap::new(),
            stubborn: BTreeMap::new(),
            flight: None,
            behind: None,
            pace: Duration::from_millis(5),
        }
    }

    /// True if the service's address is one of the switch's.
    pub fn owns(&self, service: &ServiceKey) -> bool {
        self.vips.iter().any(|range| range.holds(service))
    }

    /// We lead from now on. Nothing that was known of the switch is believed.
    pub fn begin(&mut self, now: Time) {
        self.end();
        self.link = Link::Down { retry_at: now, tries: 0, why: None };
        self.list_at = now;
        self.behind = Some(now);
    }

    /// We lead no more: nothing more is done there. A job that is under way is not waited for.
    pub fn end(&mut self) {
        self.fencing = Fencing::Unclaimed;
        self.observed.clear();
        self.held.clear();
        self.looks.clear();
        self.asked.clear();
        self.planned.clear();
        self.cuts.clear();
        self.lacks.forget();
        self.stubborn.clear();
        self.fresh = None;
        self.behind = None;
        self.flight = self.flight.take().map(|_| Flight::Void);
    }

    /// Another may have claimed it while we led: claims it again before the next write.
    pub fn reclaim(&mut self) {
        if let Fencing::Held(_) = self.fencing {
            self.fencing = Fencing::Unclaimed;
        }
    }

    /// Something else is wanted about a binding, or somebody asks about it.
    pub fn ask(&mut self, key: BindingKey, now: Time) {
        self.asked.insert(key);
        self.behind.get_or_insert(now);
    }

    /// A binding's state is to be judged under the rules of removal.
    pub fn look(&mut self, service: ServiceKey, now: Time) {
        self.looks.insert(service);
        self.behind.get_or_insert(now);
    }

    /// The whole table is listed and judged now.
    pub fn relist(&mut self, now: Time) {
        self.list_at = now;
    }

    /// When it may have a job.
    pub fn next_deadline(&self, now: Time) -> Time {
        match (&self.flight, &self.link) {
            (Some(_), _) => Time::NEVER,
            (None, Link::Down { retry_at, .. }) => *retry_at,
            (None, Link::Up) if self.is_quiet(now) => self.quiet_until.min(self.list_at),
            (None, Link::Up) if self.has_work() || self.fencing == Fencing::Unclaimed => Time::ZERO,
            (None, Link::Up) => self.cuts.values().copied().fold(self.list_at, Time::min),
        }
    }

    fn is_quiet(&self, now: Time) -> bool {
        self.fencing == Fencing::None && now < self.quiet_until
    }

    fn has_work(&self) -> bool {
        !self.asked.is_empty() || !self.planned.is_empty() || !self.looks.is_empty()
    }

    /// The next job, if there is one now.
    pub fn next(&mut self, context: &Context<'_>, news: &mut Vec<News>, now: Time) -> Option<Job> {
        if self.flight.is_some() {
            return None;
        }
        if let Link::Down { retry_at, why, .. } = &self.link {
            let is_due = now >= *retry_at;
            if let Some(why) = why {
                // All is listed and judged when it is back; nobody needs to wait for that.
                answer_asked(&mut self.asked, why, news);
            }
            return is_due.then(|| self.fly(Flight::Connecting, Job::Connect));
        }
        if self.fencing == Fencing::Unclaimed {
            return Some(self.fly(Flight::Claiming, Job::Claim));
        }
        let due = self.cuts.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key);
        self.asked.extend(due);
        if let Some(scope) = self.scope_due(now) {
            let filter = match scope {
                Scope::All => Filter::default(),
                Scope::Service(service) => Filter::service(service),
            };
            return Some(self.fly(Flight::Listing(scope), Job::List(filter)));
        }
        if self.is_quiet(now) {
            return None;
        }
        let tasks = self.batch(context, news, now);
        if tasks.is_empty() {
            self.settle();
            return None;
        }
        let tenure = match &self.fencing {
            Fencing::Held(tenure) => Some(tenure.clone()),
            _ => None,
        };
        self.fresh = None;
        let list = tasks.iter().map(|task| task.primitive.clone()).collect();
        let job = Job::Apply { caller: Caller { tenure }, list, start_by: context.may_write_until };
        Some(self.fly(Flight::Applying(tasks, now), job))
    }

    fn fly(&mut self, flight: Flight, job: Job) -> Job {
        self.flight = Some(flight);
        job
    }

    /// What is to be listed now, if anything.
    fn scope_due(&mut self, now: Time) -> Option<Scope> {
        if now >= self.list_at {
            return Some(Scope::All);
        }
        if let Some(service) = self.looks.pop_first() {
            return Some(Scope::Service(service));
        }
        if self.fencing != Fencing::None {
            return None;
        }
        // A box without fencing is listed before every write.
        let next = self.asked.first().or(self.planned.front().map(|(key, _)| key))?;
        match self.fresh {
            Some(scope) if scope.holds(next) => None,
            _ if self.asked.is_empty() => Some(Scope::All),
            _ => Some(Scope::Service(next.service)),
        }
    }

    /// Nothing is left to do: it is as wanted, as far as we may make it so.
    fn settle(&mut self) {
        if !self.has_work() {
            self.behind = None;
        }
    }

    /// A job has ended.
    pub fn done(&mut self, done: Done, context: &Context<'_>, news: &mut Vec<News>, now: Time) {
        match (self.flight.take(), done) {
            (Some(Flight::Connecting), Done::Connect(result)) => match result {
                Ok(()) => {
                    let was_lost = matches!(self.link, Link::Down { why: Some(_), .. });
                    self.quiet_until = if was_lost { now + context.heartbeat } else { now };
                    self.link = Link::Up;
                    self.list_at = now;
                    news.push(News::Reached);
                }
                Err(why) => self.lose(why, news, now),
            },
            (Some(Flight::Claiming), Done::Claim(result)) => match result {
                Ok(tenure) => {
                    news.push(News::Granted(tenure.clone()));
                    self.fencing = Fencing::Held(tenure);
                }
                Err(AcmError::Unsupported { .. }) => {
                    news.push(News::Unfenced);
                    self.fencing = Fencing::None;
                }
                Err(why) => self.lose(why, news, now),
            },
            (Some(Flight::Listing(scope)), Done::List(result)) => match result {
                Ok(listing) => self.listed(scope, listing, context, news, now),
                Err(why) => self.lose(why, news, now),
            },
            (Some(Flight::Applying(tasks, since)), Done::Apply(result)) => match result {
                Ok(outcomes) => self.applied(tasks, outcomes, since, context, news, now),
                Err(why @ AcmError::StaleEpoch { .. }) => {
                    answer_all(&tasks, &why, news);
                    news.push(News::Fenced(why));
                }
                Err(why) => {
                    answer_all(&tasks, &why, news);
                    self.lose(why, news, now);
                }
            },
            // A result of a job that was begun in an earlier tenure.
            _ => {}
        }
    }

    /// The switch is out of reach. What happened to it is unknown, so all is listed when it is back.
    fn lose(&mut self, why: AcmError, news: &mut Vec<News>, now: Time) {
        let tries = match &self.link {
            Link::Down { tries, .. } => tries.saturating_add(1),
            Link::Up => 0,
        };
        let pause = match why {
            AcmError::Forbidden { .. } => RETRY_FORBIDDEN,
            _ => (RETRY_MIN * 2u32.saturating_pow(tries.min(10))).min(RETRY_MAX),
        };
        answer_asked(&mut self.asked, &why, news);
        // Told once, be it that it was reached before or never yet.
        if !matches!(&self.link, Link::Down { why: Some(_), .. }) {
            news.push(News::Lost(why.clone()));
        }
        self.behind.get_or_insert(now);
        self.fresh = None;
        self.planned.clear();
        self.looks.clear();
        self.link = Link::Down { retry_at: now + pause, tries, why: Some(why) };
    }
}
