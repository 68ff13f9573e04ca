//! The thin I/O around [`Agent`]: a thread with sockets, clock and signals, for a service that has an agent inside.
//!
//! The program's threads speak to it through one bounded channel, and read how bindings stand from one shared table.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::listener::BindError;
use super::machine::{Action, Agent, AgentFull, Asker, BINDINGS_MAX, Notice, Question, Setup, To};
use crate::acm::words::BindingKey;
use crate::base::time::Time;
use crate::beacon::datagram::DATAGRAM_MAX;
use crate::beacon::message::{Facts, Phase, Standing, Statement, Withdrawal};
use crate::beacon::socket::{Reach, Sockets};
use crate::beacon::words::Words;

/// Orders that wait. At the bound who gives one waits, a millisecond at a time.
const ORDERS_MAX: usize = 1024;
/// Datagrams read before timers and orders have their turn.
const READ_AT_ONCE: usize = 64;
/// Agents hear little: this many bytes are asked for unless the configuration says otherwise.
const SMALL_BUFFER: usize = 1 << 20;

/// What the program wants.
#[derive(Debug)]
pub(super) enum Order {
    Add(Statement),
    Judge(BindingKey, Result<(), Words>),
    Tell(BindingKey, Facts),
    Withdraw(BindingKey),
    Report(SocketAddr, Words),
}

/// How every binding stands, and who waits for a change.
#[derive(Debug, Default)]
struct Board {
    standings: Mutex<BTreeMap<BindingKey, Standing>>,
    changed: Condvar,
}

impl Board {
    fn read(&self) -> MutexGuard<'_, BTreeMap<BindingKey, Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a binding that is announced now. One that is there already is no new one, so it needs no place.
    fn announce(&self, key: BindingKey) -> Result<(), AgentFull> {
        let mut standings = self.read();
        if standings.len() >= BINDINGS_MAX && !standings.contains_key(&key) {
            return Err(AgentFull);
        }
        standings.insert(key, Standing::Announced);
        Ok(())
    }
}

/// The way to the agent's thread.
#[derive(Debug)]
pub(super) struct Handle {
    orders: mpsc::Sender<Order>,
    board: Arc<Board>,
}

impl Handle {
    /// Starts the thread.
    ///
    /// # Errors
    /// The sockets cannot be opened, the key to sign with is missing, or there is no thread.
    pub(super) fn start(setup: Setup, reach: Reach, drain: Duration) -> Result<Handle, BindError> {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let board = Arc::new(Board::default());
        let (ready, started) = std_mpsc::sync_channel(1);
        let shown = Arc::clone(&board);
        thread::Builder::new().name("acm-agent".into()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(why) => return drop(ready.send(Err(why.into()))),
            };
            runtime.block_on(async {
                match Host::open(setup, &reach, drain, shown) {
                    Ok(host) => {
                        let is_awaited = ready.send(Ok(())).is_ok();
                        if is_awaited {
                            host.serve(inbox).await;
                        }
                    }
                    Err(why) => drop(ready.send(Err(why))),
                }
            });
        })?;
        let gone = || std::io::Error::other("the agent's thread ended");
        started.recv().map_err(|_| gone())??;
        Ok(Handle { orders, board })
    }

    /// Announces a binding.
    ///
    /// # Errors
    /// [`AgentFull`].
    pub(super) fn add(&self, statement: Statement) -> Result<(), AgentFull> {
        self.board.announce(statement.key)?;
        self.order(Order::Add(statement));
        Ok(())
    }

    /// Gives an order. Works within and without a runtime of the program's own.
    pub(super) fn order(&self, mut order: Order) {
        while let Err(mpsc::error::TrySendError::Full(back)) = self.orders.try_send(order) {
            order = back;
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// How a binding stands.
    pub(super) fn standing(&self, key: &BindingKey) -> Option<Standing> {
        self.board.read().get(key).copied()
    }

    /// Waits until it stands so. False if it does not after this long.
    pub(super) fn wait(
        &self,
        key: &BindingKey,
        patience: Duration,
        is_right: impl Fn(Option<Standing>) -> bool,
    ) -> bool {
        let standings = self.board.read();
        let is_wrong = |standings: &mut BTreeMap<BindingKey, Standing>| !is_right(standings.get(key).copied());
        let waited = self.board.changed.wait_timeout_while(standings, patience, is_wrong);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// The process's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    /// It is zero now.
    pub(super) fn start() -> Clock {
        Clock(Instant::now())
    }

    /// The time.
    pub(super) fn now(self) -> Time {
        Time::from_micros(self.0.elapsed().as_micros() as u64)
    }

    /// When this is, for timers; not further away than an hour.
    pub(super) fn instant(self, at: Time) -> tokio::time::Instant {
        tokio::time::Instant::now() + at.since(self.now()).min(Duration::from_secs(3600))
    }
}

/// The sockets to the managers, and what may be said about them.
pub(super) fn open(reach: &Reach) -> Result<Sockets, crate::beacon::socket::CannotOpen> {
    let reach = Reach { buffer: reach.buffer.min(SMALL_BUFFER), ..reach.clone() };
    Sockets::open(&reach)
}

/// Sends a datagram. What does not go now is said again.
pub(super) fn send(sockets: &Sockets, to: To, bytes: &[u8]) {
    match to {
        To::All => drop(sockets.send_to_all(bytes)),
        To::One(to) => drop(sockets.send_to(bytes, to)),
    }
}

/// Hands the datagrams that wait to `take`, some at most.
pub(super) fn read(sockets: &Sockets, mut take: impl FnMut(&[u8], SocketAddr)) {
    let mut buffer = [0; DATAGRAM_MAX + 1];
    for turn in 0..READ_AT_ONCE {
        let Some((bytes, from)) = sockets.receive(turn, &mut buffer) else { return };
        take(bytes, from);
    }
}

/// Log lines. Texts of others are escaped where they came in.
pub(super) fn tell(notice: &Notice) {
    match notice {
        Notice::Bound(key, rows) => {
            let on: Vec<_> = rows.iter().filter_map(|row| row.switch.as_ref()).map(ToString::to_string).collect();
            info!(service = %key.service, real = %key.real, switches = on.join(" "), "bound");
        }
        Notice::Refused(key, row) => {
            let why = row.note.as_ref().map_or("", |note| note.as_str());
            warn!(service = %key.service, real = %key.real, answer = row.answer.as_str(), why, "not bound; trying on");
        }
        Notice::Withdrawn(key) => info!(service = %key.service, real = %key.real, "nothing new comes; draining"),
        Notice::Gone(key) => info!(service = %key.service, real = %key.real, "taken back"),
        Notice::GivenUp(key) => {
            warn!(service = %key.service, real = %key.real, "nobody said that nothing is left of it");
        }
        Notice::Open(row) => {
            let switch = row.switch.as_ref().map_or("", |name| name.as_str());
            let why = row.note.as_ref().map_or("", |note| note.as_str());
            warn!(service = %row.key.service, switch, answer = row.answer.as_str(), why, "not acknowledged; trying on");
        }
        Notice::NobodyAnswers => warn!("no manager answers; trying on"),
    }
}

struct Host {
    agent: Agent,
    sockets: Sockets,
    clock: Clock,
    board: Arc<Board>,
    drain: Duration,
    interrupt: Signal,
    terminate: Signal,
}

impl Host {
    fn open(setup: Setup, reach: &Reach, drain: Duration, board: Arc<Board>) -> Result<Host, BindError> {
        let (clock, sockets) = (Clock::start(), open(reach)?);
        let agent = Agent::new(setup, clock.now())?;
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Host { agent, sockets, clock, board, drain, interrupt, terminate })
    }

    async fn serve(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut ends = false;
        loop {
            let due = self.clock.instant(self.agent.next_deadline());
            let asked_to_end = tokio::select! {
                () = self.sockets.readable() => {
                    let (agent, clock) = (&mut self.agent, self.clock);
                    read(&self.sockets, |bytes, from| agent.datagram(bytes, from, clock.now()));
                    false
                }
                Some(order) = orders.recv() => {
                    self.take(order);
                    false
                }
                () = tokio::time::sleep_until(due) => false,
                _ = self.interrupt.recv() => true,
                _ = self.terminate.recv() => true,
            };
            if asked_to_end {
                if ends {
                    warn!("asked a second time: ends at once");
                    self.agent.leave(self.clock.now());
                    self.perform();
                    std::process::exit(130);
                }
                ends = true;
                self.withdraw_all();
            }
            self.agent.tick(self.clock.now());
            self.perform();
            self.show();
            if ends && self.agent.is_idle() {
                info!("everything is taken back: ends");
                std::process::exit(0);
            }
        }
    }

    fn take(&mut self, order: Order) {
        let now = self.clock.now();
        match order {
            // The board has as many places as the agent, and was asked before.
            Order::Add(statement) => drop(self.agent.add(statement, now)),
            Order::Judge(key, health) => self.agent.judge(&key, health, now),
            Order::Tell(key, facts) => self.agent.tell(&key, facts),
            Order::Withdraw(key) => self.agent.withdraw(&key, self.how(), now),
            Order::Report(real, why) => self.agent.report(real, why, now),
        }
    }

    fn how(&self) -> Withdrawal {
        Withdrawal::Drain { deadline: Some(self.drain) }
    }

    fn withdraw_all(&mut self) {
        info!("asked to end: everything is taken back first");
        let (how, now) = (self.how(), self.clock.now());
        let keys: Vec<_> = self.agent.rows().map(|row| row.key).collect();
        keys.iter().for_each(|key| self.agent.withdraw(key, how, now));
    }

    fn perform(&mut self) {
        loop {
            let actions = self.agent.actions();
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Send(to, bytes) => send(&self.sockets, to, &bytes),
                    Action::Notice(notice) => tell(&notice),
                    Action::Asked(asker, question) => self.answer(asker, &question),
                }
            }
        }
    }

    /// An agent inside its service cannot restart it: whoever started the service can.
    fn answer(&mut self, asker: Asker, question: &Question) {
        let mut rows: Vec<_> = self.agent.rows().collect();
        match question {
            Question::Who(name, _) => rows.retain(|row| name.is_none() || row.name == *name),
            Question::Restart(restart) => {
                rows.retain(|row| restart.bindings.contains(&row.key));
                for row in &mut rows {
                    row.roll = Some((restart.roll, Phase::Failed));
                    row.why = Some(Words::clip("the agent is part of the service; restart the service itself"));
                }
            }
        }
        self.agent.reply(asker, &rows, self.clock.now());
    }

    /// Everybody may see how bindings stand.
    fn show(&self) {
        let now: BTreeMap<_, _> = self.agent.rows().map(|row| (row.key, row.standing)).collect();
        let mut standings = self.board.read();
        if *standings != now {
            *standings = now;
            self.board.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_board_takes_what_it_has_again_and_nothing_new() {
        let board = Board::default();
        let key = |n: usize| BindingKey {
            service: "10.0.0.100:80".parse().expect("a service"),
            real: SocketAddr::from(([10, 0, 0, 11], 1 + n as u16)),
        };
        for n in 0..BINDINGS_MAX {
            assert!(board.announce(key(n)).is_ok(), "{n}");
        }
        assert!(board.announce(key(BINDINGS_MAX)).is_err());
        assert!(board.announce(key(7)).is_ok(), "said again");
        assert_eq!(board.read().len(), BINDINGS_MAX);
    }
}
