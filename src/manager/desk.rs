//! The desk of one switch: what is to be done there next. One job at a time, so a slow switch delays nobody but itself.
//!
//! Pure: it hands out a [`Job`], and is told the result. Its queue is a set of bindings, not of calls: what is to be
//! done about one is looked up in the cache at the moment it is done, so an Add that is followed by a Remove while the
//! switch is busy is one Remove, and the queue is never longer than there are bindings.
//!
//! A switch that keeps an epoch is claimed first, and refuses us when another has claimed it since; then the whole
//! manager steps down. A box that keeps none is listed before every write. What a box cannot do is learnt from its first
//! `Unsupported`, made up where it can be, and said in the answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::cache::{Absence, Cache, Want, Wish};
use super::lacks::{Adapted, Lacks};
use super::probe::Target;
use super::reconcile::{self, Held, Observed, Row, Rules, is_as_wished};
use crate::acm::error::AcmError;
use crate::acm::event::EventKind;
use crate::acm::list::{Filter, Listing, State};
use crate::acm::primitive::{Add, Caller, ForceRemove, Outcome, Primitive, Tenure};
use crate::acm::words::{BindingKey, ServiceKey, default_group};
use crate::base::id::{BindingId, Name};
use crate::base::time::Time;
use crate::beacon::key::VipRange;
use crate::beacon::message::{Answer, SwitchRow};
use crate::beacon::words::Words;

/// What the I/O side is to do at a switch. The result comes back by [`Desk::done`].
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// Connect, and subscribe to its events if it has any.
    Connect,
    /// Claim a tenure.
    Claim,
    /// List.
    List(Filter),
    /// Perform these, unless it is later than `start_by`: then we may have been stopped, and another leads.
    Apply {
        /// Under this tenure.
        caller: Caller,
        /// In this order.
        list: Vec<Primitive>,
        /// Begin no later.
        start_by: Time,
    },
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    /// Connected, or why not.
    Connect(Result<(), AcmError>),
    /// The tenure.
    Claim(Result<Tenure, AcmError>),
    /// The rows.
    List(Result<Listing, AcmError>),
    /// The outcomes.
    Apply(Result<Vec<Outcome>, AcmError>),
}

/// What a desk has to tell the manager.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A switch's answer about a binding somebody may wait for.
    Answered(BindingKey, Answer, Option<Words>),
    /// Servers to be looked at.
    Probe(BTreeSet<Target>),
    /// It granted this.
    Granted(Tenure),
    /// It keeps no epoch.
    Unfenced,
    /// It has granted a newer epoch to another.
    Fenced(AcmError),
    /// It cannot be reached.
    Lost(AcmError),
    /// It is reached.
    Reached,
    /// This was done there without an agent waiting for it.
    Repaired(Primitive),
    /// It refused.
    Refused(Primitive, AcmError),
}

/// What a desk needs to know of the rest.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What is wanted.
    pub cache: &'a Cache,
    /// The rules.
    pub rules: Rules<'a>,
    /// Until when a write may begin.
    pub may_write_until: Time,
    /// From one List to the next.
    pub reconcile: Duration,
    /// How long another leader may be unheard.
    pub heartbeat: Duration,
}

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
struct Task {
    key: BindingKey,
    primitive: Primitive,
    /// Somebody may wait for it.
    asked: bool,
    /// What is done instead of what was wanted, and why.
    note: Option<Words>,
    /// What is left after this long is to be cut.
    cut_after: Option<Duration>,
}

impl Task {
    fn new(key: BindingKey, adapted: Adapted, asked: bool) -> Task {
        let Adapted { primitive, note, cut_after } = adapted;
        Task { key, primitive, asked, note, cut_after }
    }
}

/// What is to be done about a binding that somebody asked about. Short-lived: nobody keeps one.
#[allow(clippy::large_enum_variant, reason = "made and taken apart in one expression")]
enum Step {
    /// This.
    Do(Adapted),
    /// Nothing: this is the answer.
    Answer(Answer, Option<Words>),
    /// It goes by the rules of removal, which need the whole service.
    Judge,
    /// Nobody wants anything of it any more.
    Nothing,
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

/// The options of a row, as far as an Add can change them.
type Options = (Name, u16, Option<u32>, bool, crate::acm::words::HealthProfile);

/// A batch takes about this long, so that what is asked meanwhile waits no longer.
const BATCH_FOR: Duration = Duration::from_millis(500);
/// The largest batch.
const BATCH_MAX: usize = 1024;
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

    /// The next primitives: first what was asked, then what the last pass found.
    fn batch(&mut self, context: &Context<'_>, news: &mut Vec<News>, now: Time) -> Vec<Task> {
        let most = (BATCH_FOR.as_micros() / self.pace.as_micros().max(1)).clamp(1, BATCH_MAX as u128) as usize;
        let seen = self.fresh.filter(|_| self.fencing == Fencing::None).unwrap_or(Scope::All);
        let asked: Vec<_> = self.asked.iter().filter(|key| seen.holds(key)).take(most).copied().collect();
        let mut tasks = Vec::new();
        for key in asked {
            self.asked.remove(&key);
            self.planned.retain(|(other, _)| *other != key);
            let is_due = self.cuts.get(&key).is_some_and(|at| *at <= now);
            let step = if is_due { self.cut(&key, context) } else { self.step(&key, context) };
            match step {
                Step::Do(adapted) => tasks.push(Task::new(key, adapted, true)),
                Step::Answer(answer, note) => news.push(News::Answered(key, answer, note)),
                Step::Judge => drop(self.looks.insert(key.service)),
                Step::Nothing => {}
            }
        }
        while tasks.len() < most
            && let Some((key, primitive)) = self.planned.pop_front()
        {
            if is_still_right(&primitive, context.cache.want(&key)) {
                tasks.push(Task::new(key, self.lacks.adapt(primitive), false));
            }
        }
        // Adds first, so that capacity never dips; otherwise in order.
        tasks.sort_by_key(|task| !matches!(task.primitive, Primitive::Add(_)));
        tasks
    }

    /// The deadline of a binding that drains has come: what is left is cut, if it is ours and unwanted still.
    fn cut(&mut self, key: &BindingKey, context: &Context<'_>) -> Step {
        self.cuts.remove(key);
        let drains = |row: &&Row| row.owner == *context.rules.owner && row.state == State::Draining;
        let is_wanted = matches!(context.cache.want(key), Some(Want::Present(_)));
        match self.observed.get(key).filter(drains) {
            Some(_) if !is_wanted => {
                let force = ForceRemove { service: key.service, real: key.real };
                Step::Do(self.lacks.adapt(Primitive::ForceRemove(force)))
            }
            _ => self.step(key, context),
        }
    }

    fn step(&self, key: &BindingKey, context: &Context<'_>) -> Step {
        let row = self.observed.get(key);
        if let Some(row) = row.filter(|row| row.owner != *context.rules.owner) {
            let why = Held::Foreign(row.owner.clone()).to_string();
            return Step::Answer(Answer::Exists, Some(Words::clip(&why)));
        }
        match (context.cache.want(key), row) {
            (Some(Want::Present(wish)), Some(row)) if is_as_wished(row, &wish, &context.rules) => {
                Step::Answer(Answer::Done, None)
            }
            (Some(Want::Present(wish)), row) => {
                Step::Do(self.lacks.adapt(Primitive::Add(reconcile::add(key, &wish, row, &context.rules))))
            }
            (Some(Want::Absent(Absence::Asked(_))), None) => Step::Answer(Answer::NotFound, None),
            (Some(Want::Absent(Absence::Asked(how))), Some(_)) => {
                Step::Do(self.lacks.adapt(reconcile::withdrawal(key, how)))
            }
            (Some(Want::Absent(_)), _) => Step::Judge,
            (None, _) => Step::Nothing,
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

    fn listed(&mut self, scope: Scope, listing: Listing, context: &Context<'_>, news: &mut Vec<News>, now: Time) {
        let rows = reconcile::observed(listing).into_iter().filter(|(key, _)| self.owns(&key.service));
        let rows: Observed = rows.collect();
        self.observed.retain(|key, _| !scope.holds(key));
        self.observed.extend(rows.iter().map(|(key, row)| (*key, row.clone())));
        self.fresh = Some(scope);
        if scope == Scope::All {
            self.list_at = now + context.reconcile;
            self.looks.clear();
        }
        let owns = |service: &ServiceKey| match scope {
            Scope::All => self.owns(service),
            Scope::Service(only) => only == *service,
        };
        let plan = reconcile::plan(&context.cache.wanted(owns, now), &rows, &context.rules);
        self.held.retain(|key, _| !scope.holds(key));
        self.held.extend(plan.held);
        self.planned.retain(|(key, _)| !scope.holds(key));
        for (key, primitive) in plan.steps {
            if !self.is_stubborn(&key, &primitive, rows.get(&key), context.cache) {
                self.planned.push_back((key, primitive));
            }
        }
        if !self.planned.is_empty() {
            self.behind.get_or_insert(now);
        }
        if !plan.probes.is_empty() {
            news.push(News::Probe(plan.probes));
        }
    }

    /// True if the box was told the same before and kept what it has: telling it again would change nothing.
    fn is_stubborn(&mut self, key: &BindingKey, primitive: &Primitive, row: Option<&Row>, cache: &Cache) -> bool {
        let (Primitive::Add(_), Some(row), Some(Want::Present(wish))) = (primitive, row, cache.want(key)) else {
            return false;
        };
        if row.state == State::Draining {
            return false;
        }
        let options = (row.group.clone(), row.weight, row.max_conns, row.leased, row.health.clone());
        let told = (wish, options);
        self.stubborn.insert(*key, told.clone()).is_some_and(|before| before == told)
    }

    fn applied(
        &mut self,
        tasks: Vec<Task>,
        outcomes: Vec<Outcome>,
        since: Time,
        context: &Context<'_>,
        news: &mut Vec<News>,
        now: Time,
    ) {
        let each = now.since(since) / u32::try_from(tasks.len()).unwrap_or(1).max(1);
        self.pace = (self.pace * 3 + each) / 4;
        for (task, outcome) in tasks.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => {
                    self.observe(&task, context, now);
                    if task.asked {
                        news.push(News::Answered(task.key, Answer::Done, task.note));
                    } else {
                        news.push(News::Repaired(task.primitive));
                    }
                }
                Err(AcmError::Unsupported { feature, .. }) if self.lacks.learn(feature, &task.primitive) => {
                    // Once more, without what it lacks.
                    self.asked.insert(task.key);
                }
                Err(why) => self.refused(task, why, news),
            }
        }
    }

    fn refused(&mut self, task: Task, why: AcmError, news: &mut Vec<News>) {
        match &why {
            AcmError::NotFound { .. } => {
                self.observed.remove(&task.key);
            }
            AcmError::Exists { .. } => {
                self.looks.insert(task.key.service);
            }
            _ => {}
        }
        if task.asked {
            news.push(News::Answered(task.key, answer_of(&why), Some(Words::clip(&why.to_string()))));
        }
        news.push(News::Refused(task.primitive, why));
    }

    /// What an acknowledged primitive made of the table, until it is listed again.
    fn observe(&mut self, task: &Task, context: &Context<'_>, now: Time) {
        match &task.primitive {
            Primitive::Add(add) => {
                self.cuts.remove(&task.key);
                let row = row_after(add, self.observed.get(&task.key), context);
                self.observed.insert(task.key, row);
            }
            Primitive::Remove(_) => {
                if let Some(after) = task.cut_after {
                    self.cuts.entry(task.key).or_insert(now + after);
                }
                if let Some(row) = self.observed.get_mut(&task.key) {
                    row.state = State::Draining;
                }
            }
            Primitive::ForceRemove(_) => {
                self.observed.remove(&task.key);
            }
            _ => {}
        }
    }

    /// Something happened at the switch.
    pub fn happened(&mut self, event: &EventKind, cache: &Cache, now: Time) {
        let is_wanted = |key: &BindingKey| matches!(cache.want(key), Some(Want::Present(_)));
        match event {
            // It forgot, or we missed something.
            EventKind::Lost => self.list_at = now,
            EventKind::Drained { binding, .. } | EventKind::ForceRemoved { binding, .. } => {
                self.observed.remove(binding);
                if is_wanted(binding) && self.owns(&binding.service) {
                    self.ask(*binding, now);
                }
            }
            EventKind::State { binding, to, .. } => {
                if let Some(row) = self.observed.get_mut(binding) {
                    row.state = *to;
                }
                if *to == State::Draining && is_wanted(binding) && self.owns(&binding.service) {
                    self.ask(*binding, now);
                }
            }
            EventKind::ServiceRemoved { service } if self.owns(service) => self.look(*service, now),
            // Others' changes of options, and others' Adds, are found by the next List.
            _ => {}
        }
    }

    /// How it is, for people.
    pub fn status(&self, now: Time) -> SwitchRow {
        let epoch = match &self.fencing {
            Fencing::Held(tenure) => Some(tenure.epoch),
            _ => None,
        };
        let held = self.held.iter().next().map(|(key, held)| {
            let more = if self.held.len() > 1 { format!(", and {} more", self.held.len() - 1) } else { String::new() };
            format!("{key}: {held}{more}")
        });
        let why = match &self.link {
            Link::Down { why: Some(why), .. } => Some(why.to_string()),
            Link::Down { why: None, .. } => None,
            Link::Up => held.or_else(|| self.lacks.words()),
        };
        SwitchRow {
            name: self.name.clone(),
            epoch,
            lag: self.behind.map_or(Duration::ZERO, |since| now.since(since)),
            waiting: (self.asked.len() + self.planned.len()) as u32,
            bindings: self.observed.len() as u32,
            why: why.map(|why| Words::clip(&why)),
        }
    }
}

/// True if what a pass found to do is still what is wanted.
fn is_still_right(primitive: &Primitive, want: Option<Want>) -> bool {
    match (primitive, want) {
        (Primitive::Add(_), Some(Want::Present(_))) => true,
        (Primitive::Add(_), _) => false,
        (_, want) => !matches!(want, Some(Want::Present(_))),
    }
}

fn row_after(add: &Add, before: Option<&Row>, context: &Context<'_>) -> Row {
    let before_or = |row: Option<&Row>| row.cloned();
    let mut row = before_or(before).unwrap_or_else(|| Row {
        id: BindingId(0),
        owner: context.rules.owner.clone(),
        state: State::Pending,
        group: default_group(),
        weight: 1,
        max_conns: None,
        leased: false,
        health: Default::default(),
    });
    row.state = if row.state == State::Draining { State::Pending } else { row.state };
    row.leased = false;
    row.group = add.group.clone().unwrap_or(row.group);
    row.weight = add.weight.unwrap_or(row.weight);
    row.max_conns = add.max_conns.or(row.max_conns);
    row.health = add.health.clone().unwrap_or(row.health);
    row
}

/// A switch that is out of reach answers nobody.
fn answer_asked(asked: &mut BTreeSet<BindingKey>, why: &AcmError, news: &mut Vec<News>) {
    for key in std::mem::take(asked) {
        news.push(News::Answered(key, answer_of(why), Some(Words::clip(&why.to_string()))));
    }
}

fn answer_all(tasks: &[Task], why: &AcmError, news: &mut Vec<News>) {
    for task in tasks.iter().filter(|task| task.asked) {
        news.push(News::Answered(task.key, answer_of(why), Some(Words::clip(&why.to_string()))));
    }
}

/// An error in the words of the wire.
fn answer_of(error: &AcmError) -> Answer {
    match error {
        AcmError::NotFound { .. } => Answer::NotFound,
        AcmError::Exists { .. } => Answer::Exists,
        AcmError::Full { .. } => Answer::Full,
        AcmError::Unsupported { .. } => Answer::Unsupported,
        AcmError::StaleEpoch { .. } => Answer::Stale,
        AcmError::Forbidden { .. } => Answer::Forbidden,
        AcmError::Invalid { .. } => Answer::Invalid,
        AcmError::Unreachable { .. } => Answer::Unreachable,
        AcmError::Timeout { .. } => Answer::Timeout,
    }
}
