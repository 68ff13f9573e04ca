//! The switch: the contract on a ServerIron.
//!
//! **One command at a time.** Calls wait for one another. The connection is made by the first call and kept; who waits
//! for an answer drives it. A call that is given up drops the connection, since nobody knows what was half typed.
//!
//! **What the box has** is read once and then kept up to date by the driver's own commands, so that a primitive costs
//! only what it changes. It is read again by every List, after any surprise, and when it is older than [`VIEW_AGE_MAX`].
//!
//! **A connection that breaks in the middle** leaves a primitive half done or done. The driver connects again, reads
//! what there is, plans again from that, and does what is left: primitives are idempotent.
//!
//! **A refusal in the middle** is taken back: what the same primitive did before it is undone.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::backoff::Backoff;
use super::command::{Command, Pair};
use super::config::{self, BoxConfig};
use super::console::{Console, Trouble};
use super::name::{self, Kind};
use super::personality::Personality;
use super::plan::{self, Ending, Plan, Rules};
use super::rows::{Drained, Hits, Memory, Snapshot, filtered};
use super::screen::{self, Table};
use super::session::{Failure, Login};
use super::task::{Clock, Link, SharedRecorder, chance, pause};
use super::telnet::Telnet;
use crate::acm::error::{AcmError, Feature};
use crate::acm::list::{Filter, Listing};
use crate::acm::primitive::{Caller, Done, Outcome, Primitive};
use crate::acm::switch::{AcmSwitch, Answer};
use crate::acm::words::BindingKey;
use crate::base::id::Name;
use crate::base::limits::BATCH_MAX;
use crate::base::time::Time;
use crate::driver::target::Wire;
use crate::ironware::words;

/// How old what is known of the box may be before a change is planned from it. Somebody else may have been at it.
pub const VIEW_AGE_MAX: Duration = Duration::from_secs(60);
/// How long a call waits for its turn to connect again; if it would be longer, it fails at once.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// How often one call begins anew after a surprise.
const ATTEMPTS: usize = 4;
/// Makes connections to one box.
pub trait Dial: Send + Sync {
    /// Connects.
    fn dial(&self) -> Answer<'_, Result<Dialled, AcmError>>;
}

/// A connection that was just made.
pub struct Dialled {
    /// Its bytes.
    pub wire: Pin<Box<dyn Wire>>,
    /// How they are framed.
    pub framing: Framing,
}

/// How the bytes of a connection are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Telnet: options and escapes.
    Telnet,
    /// Plain: an SSH channel.
    Plain,
}

/// What does not change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address, for errors.
    pub address: String,
    /// Who logs in.
    pub login: Login,
    /// Whose everything is whose name on the box is ours.
    pub owner: Name,
}

/// A ServerIron.
pub struct FoundrySwitch {
    pub(super) settings: Settings,
    dial: Box<dyn Dial>,
    recorder: Option<SharedRecorder>,
    pub(super) clock: Clock,
    state: Mutex<State>,
}

impl std::fmt::Debug for FoundrySwitch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FoundrySwitch").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    /// Taken out while a call is under way: a call that is given up leaves none behind.
    desk: Option<Desk>,
    memory: Memory,
    backoff: Backoff,
}

/// A connection and what is known through it.
pub(super) struct Desk {
    pub(super) console: Console,
    pub(super) personality: Personality,
    pub(super) view: Option<View>,
    /// Real servers whose deletion was asked for and not announced yet.
    pub(super) leaving: HashSet<String>,
}

pub(super) struct View {
    pub(super) config: BoxConfig,
    read_at: Time,
}

/// Why a step of a call did not succeed.
pub(super) enum Setback {
    /// It may, after connecting and reading again.
    Again(AcmError),
    /// It will not.
    Final(AcmError),
}

impl FoundrySwitch {
    /// A driver that connects when first used.
    pub fn new(settings: Settings, dial: Box<dyn Dial>) -> FoundrySwitch {
        FoundrySwitch { settings, dial, recorder: None, clock: Clock::start(), state: Mutex::default() }
    }

    /// The same, with a transcript.
    pub(super) fn recorded(self, recorder: Option<SharedRecorder>) -> FoundrySwitch {
        FoundrySwitch { recorder, ..self }
    }

    /// Connects now, so that what is wrong with the address or the passwords shows.
    ///
    /// # Errors
    /// `Unreachable`, `Forbidden`.
    pub async fn log_in(&self) -> Result<Personality, AcmError> {
        let mut state = self.state.lock().await;
        let desk = self.desk(&mut state).await?;
        let personality = desk.personality;
        state.desk = Some(desk);
        Ok(personality)
    }

    pub(super) fn unreachable(&self, why: impl std::fmt::Display) -> AcmError {
        AcmError::Unreachable { why: format!("{}: {why}", self.settings.address) }
    }

    fn login_failed(&self, failure: &Failure) -> AcmError {
        match failure {
            Failure::Refused(why) => AcmError::Forbidden { why: format!("{}: {why}", self.settings.address) },
            other => self.unreachable(other),
        }
    }

    /// The desk: the one there is, or a new connection.
    async fn desk(&self, state: &mut State) -> Result<Desk, AcmError> {
        if let Some(mut desk) = state.desk.take()
            && desk.console.is_alive().await
        {
            return Ok(desk);
        }
        let wait = state.backoff.wait(self.clock.now());
        if wait > WAIT_MAX {
            let why = format!("{}; the next try is in {} s", state.backoff.why(), wait.as_secs() + 1);
            return Err(self.unreachable(why));
        }
        pause(wait).await;
        match self.connect().await {
            Ok(desk) => {
                state.backoff.succeeded();
                Ok(desk)
            }
            Err(error) => {
                state.backoff.failed(&error.to_string(), chance(), self.clock.now());
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Desk, AcmError> {
        let Dialled { wire, framing } = self.dial.dial().await?;
        let telnet = (framing == Framing::Telnet).then(Telnet::default);
        let (login, recorder) = (self.settings.login.clone(), self.recorder.clone());
        let link = Link::log_in(wire, telnet, login, recorder, self.clock).await;
        let mut console = Console::new(link.map_err(|failure| self.login_failed(&failure))?);
        let version = match console.run(&Command::ShowVersion).await {
            Ok(version) => version,
            // A level that may not ask is told the least.
            Err(Trouble::Refused { .. }) => String::new(),
            Err(trouble) => return Err(self.unreachable(trouble)),
        };
        let personality = Personality::of(&version);
        tracing::debug!(address = self.settings.address, %personality, "logged in");
        Ok(Desk { console, personality, view: None, leaving: HashSet::new() })
    }

    fn rules(&self, desk: &Desk) -> Rules {
        Rules { owner: self.settings.owner.clone(), personality: desk.personality }
    }

    /// Trouble of a command that should have succeeded whatever the box has.
    pub(super) fn setback(&self, trouble: &Trouble) -> Setback {
        Setback::Again(self.unreachable(trouble))
    }

    async fn read_config(&self, desk: &mut Desk) -> Result<BoxConfig, Setback> {
        let answer = desk.console.run(&Command::ShowRunningConfig).await;
        let answer = answer.map_err(|trouble| self.setback(&trouble))?;
        config::read(&answer).map_err(|why| Setback::Again(self.unreachable(why)))
    }

    pub(super) async fn read_table(&self, desk: &mut Desk, command: Command) -> Result<Table, Setback> {
        let answer = desk.console.run(&command).await.map_err(|trouble| self.setback(&trouble))?;
        let table = match command {
            Command::ShowVirtual => screen::read_virtuals(&answer),
            _ => screen::read_reals(&answer),
        };
        table.map_err(|why| Setback::Again(self.unreachable(why)))
    }

    /// How often the rules of policies decided. A box that does not say has no hits.
    async fn read_hits(&self, desk: &mut Desk, config: &BoxConfig) -> Result<Hits, Setback> {
        let mut hits = Hits::new();
        for (name, server) in &config.virtuals {
            for (port, lines) in &server.content {
                let policy = lines.get("csw-policy").and_then(|line| words(line).into_iter().nth(1));
                let Some(policy) = policy.filter(|policy| config.book.policy(policy).is_some()) else { continue };
                match desk.console.run(&Command::ShowPolicy(policy)).await {
                    Ok(answer) => drop(hits.insert((name.to_string(), *port), screen::read_hits(&answer))),
                    Err(Trouble::Refused { .. }) => {}
                    Err(trouble) => return Err(self.setback(&trouble)),
                }
            }
        }
        Ok(hits)
    }

    /// Makes sure that the box's configuration is known and fresh.
    async fn look(&self, desk: &mut Desk, memory: &mut Memory) -> Result<(), Setback> {
        let now = self.clock.now();
        if desk.view.as_ref().is_some_and(|view| now.since(view.read_at) <= VIEW_AGE_MAX) {
            return Ok(());
        }
        let config = self.read_config(desk).await?;
        self.seen(desk, memory, config);
        Ok(())
    }

    /// Takes a configuration that was just read for what the box has.
    fn seen(&self, desk: &mut Desk, memory: &mut Memory, config: BoxConfig) {
        if desk.view.as_ref().is_none_or(|view| view.config != config) {
            memory.generation = memory.generation.next();
        }
        desk.view = Some(View { config, read_at: self.clock.now() });
    }

    /// One primitive, begun anew after surprises.
    async fn perform(&self, state: &mut State, primitive: &Primitive) -> Outcome {
        let mut promised: Option<Done> = None;
        let mut last = self.unreachable("no attempt was made");
        for _ in 0..ATTEMPTS {
            let mut desk = self.desk(state).await?;
            match self.attempt(&mut desk, &mut state.memory, primitive, &mut promised).await {
                Ok(done) => {
                    state.desk = Some(desk);
                    return Ok(done);
                }
                Err(Setback::Final(error)) => {
                    state.desk = Some(desk);
                    return Err(error);
                }
                Err(Setback::Again(error)) => last = self.begin_anew(state, desk, error).await,
            }
        }
        Err(last)
    }

    /// After a surprise: a connection that still works is kept, and everything is read again through it.
    async fn begin_anew(&self, state: &mut State, mut desk: Desk, error: AcmError) -> AcmError {
        tracing::debug!(%error, "beginning anew");
        desk.view = None;
        if desk.console.is_alive().await {
            state.desk = Some(desk);
        } else {
            state.backoff.failed(&error.to_string(), chance(), self.clock.now());
        }
        error
    }

    async fn attempt(
        &self,
        desk: &mut Desk,
        memory: &mut Memory,
        primitive: &Primitive,
        promised: &mut Option<Done>,
    ) -> Result<Done, Setback> {
        self.look(desk, memory).await?;
        let rules = self.rules(desk);
        let Some(view) = &desk.view else { return Err(Setback::Again(self.unreachable("nothing is known"))) };
        let plan = match plan::plan(&view.config, &rules, primitive) {
            Ok(plan) => plan,
            Err(error) => return settled(memory, primitive, promised, error),
        };
        let key = binding_of(primitive);
        let done = Done {
            generation: memory.generation,
            binding: key.map(|key| memory.binding(&key)),
            changed: !plan.commands.is_empty(),
            cut: plan.ends.as_ref().map(|_| 0),
        };
        if !done.changed {
            return Ok(promised.take().unwrap_or(done));
        }
        // Should the answer be lost, the next attempt may find it done already: this is what was done then.
        let cut = promised.take().map_or(done.cut, |earlier| earlier.cut);
        let done = promised.insert(Done { cut, ..done });
        self.carry_out(desk, &plan, &mut done.cut).await?;
        let done = done.clone();
        remember(memory, primitive, &plan);
        Ok(done)
    }

    async fn snapshot(&self, desk: &mut Desk, memory: &mut Memory) -> Result<Listing, Setback> {
        let config = self.read_config(desk).await?;
        let reals = self.read_table(desk, Command::ShowReal(None)).await?;
        let virtuals = self.read_table(desk, Command::ShowVirtual).await?;
        let hits = self.read_hits(desk, &config).await?;
        let snapshot = Snapshot { config: &config, reals: &reals, virtuals: &virtuals, hits: &hits };
        snapshot.check().map_err(|why| Setback::Again(self.unreachable(why)))?;
        let drained = snapshot.drained();
        // Tables and configuration are of one moment only if nothing changed between; and a slip of one reading shows.
        if self.read_config(desk).await? != config {
            return Err(Setback::Again(self.unreachable("its configuration changed while it was read")));
        }
        self.seen(desk, memory, config);
        self.finish(desk, memory, &drained).await?;
        let rules = self.rules(desk);
        let Some(View { config, .. }) = &desk.view else {
            return Err(Setback::Again(self.unreachable("what it has changed while it was read")));
        };
        let snapshot = Snapshot { config, reals: &reals, virtuals: &virtuals, hits: &hits };
        Ok(snapshot.listing(&rules, memory))
    }

    /// Takes out what has drained: the box does not do so by itself.
    async fn finish(&self, desk: &mut Desk, memory: &mut Memory, drained: &[Drained]) -> Result<(), Setback> {
        for ((server, port), pair) in drained {
            // Twice empty, or what a single reading says would end somebody's connections.
            let ending = Ending { pair: pair.clone(), cuts: true };
            if self.count(desk, std::slice::from_ref(&ending)).await? > 0 {
                continue;
            }
            let Some(View { config, .. }) = &desk.view else { break };
            let key = plan::key_of(config, server, *port, pair);
            let commands = plan::finish(config, &(Arc::clone(server), *port), pair);
            self.type_all(desk, &commands).await?;
            if let Some(key) = key {
                memory.forget(&key);
            }
        }
        if !drained.is_empty() {
            memory.generation = memory.generation.next();
        }
        Ok(())
    }

    async fn list_all(&self) -> Result<Listing, AcmError> {
        let mut state = self.state.lock().await;
        let state = &mut *state;
        let mut last = self.unreachable("no attempt was made");
        for _ in 0..ATTEMPTS {
            let mut desk = self.desk(state).await?;
            match self.snapshot(&mut desk, &mut state.memory).await {
                Ok(listing) => {
                    state.desk = Some(desk);
                    return Ok(listing);
                }
                Err(Setback::Final(error)) => {
                    state.desk = Some(desk);
                    return Err(error);
                }
                Err(Setback::Again(error)) => last = self.begin_anew(state, desk, error).await,
            }
        }
        Err(last)
    }

    async fn apply_all(&self, list: &[Primitive]) -> Result<Vec<Outcome>, AcmError> {
        let mut state = self.state.lock().await;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(list.len());
        // Whether the box can be reached at all is asked once, not for each primitive.
        state.desk = Some(self.desk(&mut state).await?);
        for primitive in list {
            let outcome = self.perform(&mut state, primitive).await;
            if let Err(error @ AcmError::Unreachable { .. }) = outcome {
                if outcomes.is_empty() {
                    return Err(error);
                }
                // The rest would meet the same box.
                outcomes.resize(list.len(), Err(error));
                break;
            }
            outcomes.push(outcome);
        }
        // A list is one change.
        if outcomes.iter().flatten().any(|done| done.changed) {
            state.memory.generation = state.memory.generation.next();
        }
        for done in outcomes.iter_mut().flatten() {
            done.generation = state.memory.generation;
        }
        Ok(outcomes)
    }
}

/// Keeps what the box has no place for.
fn remember(memory: &mut Memory, primitive: &Primitive, plan: &Plan) {
    for key in &plan.lingers {
        let real = name::encode(Kind::Real, key.real.ip()).into();
        memory.linger(*key, Pair { real, port: key.real.port() });
    }
    match primitive {
        Primitive::Add(add) => memory.no_longer_lingers(&add.key()),
        Primitive::ForceRemove(remove) => memory.forget(&remove.key()),
        Primitive::RemoveService(remove) => memory.forget_service(&remove.service),
        Primitive::Remove(_) | Primitive::SetService(_) | Primitive::Drop(_) => {}
    }
}

/// A plan was refused by what the box has. If an earlier attempt, whose answer was lost, is why (there is nothing left
/// to remove), the promise is kept.
fn settled(
    memory: &mut Memory,
    primitive: &Primitive,
    promised: &mut Option<Done>,
    error: AcmError,
) -> Result<Done, Setback> {
    if matches!(error, AcmError::NotFound { .. }) {
        if let Some(done) = promised.take() {
            return Ok(done);
        }
        if let Primitive::Remove(remove) = primitive
            && memory.lingers(&remove.key())
        {
            let binding = Some(memory.binding(&remove.key()));
            return Ok(Done { generation: memory.generation, binding, changed: false, cut: None });
        }
    }
    Err(Setback::Final(error))
}

fn binding_of(primitive: &Primitive) -> Option<BindingKey> {
    match primitive {
        Primitive::Add(add) => Some(add.key()),
        Primitive::Remove(remove) => Some(remove.key()),
        Primitive::ForceRemove(remove) => Some(remove.key()),
        Primitive::SetService(_) | Primitive::RemoveService(_) | Primitive::Drop(_) => None,
    }
}

impl AcmSwitch for FoundrySwitch {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(async move {
            if list.len() > BATCH_MAX {
                let why = format!("{} primitives; at most {BATCH_MAX} in one list", list.len());
                return Err(AcmError::invalid("list", why));
            }
            if caller.tenure.is_some() {
                let why = "a ServerIron stores no epoch; call without a tenure, and List before every write";
                return Err(AcmError::unsupported(Feature::Fencing, why));
            }
            self.apply_all(&list).await
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(async move { Ok(filtered(self.list_all().await?, filter)) })
    }
}
