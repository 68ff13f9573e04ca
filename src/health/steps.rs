//! How one check runs: ARP, echo, connect or datagram, HTTP, each step with the profile's timeout, then the verdict and
//! the next start.
//!
//! Lost frames are not a verdict: within its timeout a step asks up to [`TRIES`] times. A first check that fails
//! leaves its binding [`Health::Unknown`] with the reason, until it passes or has failed `fall` times.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use crate::acm::words::{Health, HealthDepth, HealthProfile};
use crate::base::addr::Protocol;
use crate::base::seq::Seq;
use crate::base::time::Time;

use super::CheckId;
use super::checks::Checks;
use super::fetch::{Ends, Fetch, Progress};
use super::host::{ArpAsked, EchoAsked};
use super::reason::{Awaited, Failure};
use super::verdict::Standing;

/// Requests within one step's timeout, evenly spaced: two lost frames are forgiven.
const TRIES: u32 = 3;
/// HTTP conversations at once. More wait their turn: a conversation is some 20 KiB, and hosts that accept
/// connections and then say nothing shall cost a bounded amount.
const FETCHES_MAX: usize = 64;
/// How long an ARP answer serves the checks of a host. Short of it, silence in a deeper step puts it in doubt.
const ARP_FRESH: Duration = Duration::from_secs(10);
/// How long an ARP answer serves a check of depth L2; less than what lies between its refreshes, so that each does ask.
const ARP_FRESH_LINK_ONLY: Duration = Duration::from_secs(30);
/// When to look again for a free source port, if all 32,768 are in use.
const PORT_WAIT: Duration = Duration::from_millis(20);

/// Where a check is.
#[derive(Debug)]
pub(super) enum Step {
    /// Waits for its next start.
    Idle,
    /// Waits for an ARP reply.
    Arp { until: Time, sent: u32 },
    /// The link address is known; to be continued.
    Resolved,
    /// Waits for an echo reply.
    Echo { until: Time },
    /// The echo was answered, or waits for a source port; to be continued.
    Reached,
    /// Waits for a SYN-ACK.
    Syn { until: Time, port: u16, isn: Seq },
    /// Waits whether a port-unreachable comes.
    Datagram { port: u16 },
    /// L4 passed; waits for a free conversation.
    Queued,
    /// Talks HTTP.
    Fetch { until: Time, port: u16, fetch: Box<Fetch> },
}

/// How a conversation is called upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// To go on.
    Next,
    /// To end, for its time is over.
    Last,
}

/// Both ends of an IPv4 check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Between {
    pub own: Ipv4Addr,
    pub real: SocketAddrV4,
}

fn timeout(profile: &HealthProfile) -> Duration {
    profile.timeout.0.max(Duration::from_millis(1))
}

/// From one request of a step to the next: in whole microseconds, like [`Time`], and rounded up, so that no retry is
/// early by a part of one and none is left for the very end.
fn gap(profile: &HealthProfile) -> Duration {
    let micros = timeout(profile).as_micros().div_ceil(u128::from(TRIES));
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

impl Checks {
    /// Goes on with a check whose time has come.
    pub(super) fn wake(&mut self, id: CheckId) {
        let Some(check) = self.checks.get(&id) else { return };
        let late = |until: Time| self.now >= until;
        match check.step {
            Step::Idle => self.start(id),
            Step::Arp { until, .. } if late(until) => self.conclude(id, Err(Failure::NoArp)),
            Step::Arp { until, sent } => self.ask_arp(id, until, sent),
            Step::Resolved => self.go_echo(id),
            Step::Echo { until } if late(until) => self.conclude(id, Err(Failure::NoEcho)),
            Step::Echo { until } => self.ask_echo(id, until),
            Step::Reached => self.go_l4(id),
            Step::Syn { until, .. } if late(until) => self.conclude(id, Err(Failure::ConnectTimeout)),
            Step::Syn { until, port, isn } => self.send_syn(id, until, port, isn),
            Step::Datagram { .. } => self.conclude(id, Ok(())),
            Step::Queued => self.go_fetch(id),
            Step::Fetch { until, .. } if late(until) => self.turn_fetch(id, Turn::Last),
            Step::Fetch { .. } => {
                self.turn_fetch(id, Turn::Next);
                self.say_awaited(id, Awaited::Http);
            }
        }
    }

    fn start(&mut self, id: CheckId) {
        let Some(check) = self.checks.get_mut(&id) else { return };
        check.started = self.now;
        let age = if check.is_link_only() { ARP_FRESH_LINK_ONLY } else { ARP_FRESH };
        let until = self.now + timeout(&check.target.profile);
        let ip = check.target.real.ip();
        if let Err(why) = self.between(id) {
            return self.conclude(id, Err(why));
        }
        let Some(host) = self.hosts.get_mut(&ip) else { return };
        if host.arp.is_fresh(self.now, age) {
            return self.go_echo(id);
        }
        host.arp.wait(id);
        self.ask_arp(id, until, 0);
    }

    /// Both ends, or why there are none.
    pub(super) fn between(&self, id: CheckId) -> Result<Between, Failure> {
        let real = self.checks.get(&id).map(|check| check.target.real);
        let Some(SocketAddr::V4(real)) = real else { return Err(Failure::Ipv6) };
        let own = self.out.own_address(*real.ip()).ok_or(Failure::NoOwnAddress)?;
        Ok(Between { own, real })
    }

    fn ask_arp(&mut self, id: CheckId, until: Time, sent: u32) {
        let Ok(Between { own, real }) = self.between(id) else { return };
        let (Some(check), Some(host)) = (self.checks.get_mut(&id), self.hosts.get_mut(&IpAddr::V4(*real.ip()))) else {
            return;
        };
        let gap = gap(&check.target.profile);
        // A host that is known to be down is asked once a check: its return need not be noticed at the first lost frame.
        let tries = if check.verdict.standing() == Standing::Down { 1 } else { TRIES };
        if sent < tries && !host.arp.was_asked_within(self.now, gap) {
            let asked = match (host.mac, host.arp.open()) {
                (_, Some(ArpAsked::Everyone)) => ArpAsked::Everyone,
                (Some(mac), _) if host.arp.is_trusted() && sent == 0 => ArpAsked::Known(mac),
                _ => ArpAsked::Everyone,
            };
            host.arp.ask(asked, self.now);
            let only = match asked {
                ArpAsked::Known(mac) => Some(mac),
                ArpAsked::Everyone => None,
            };
            self.out.arp_request(own, *real.ip(), only);
        }
        check.step = Step::Arp { until, sent: sent + 1 };
        let again = if sent + 1 < tries { (self.now + gap).min(until) } else { until };
        self.timers.set(id, again);
        if sent > 0 {
            self.say_awaited(id, Awaited::Arp);
        }
    }

    fn go_echo(&mut self, id: CheckId) {
        let Some(check) = self.checks.get(&id) else { return };
        let profile = &check.target.profile;
        if profile.depth == HealthDepth::L2 {
            return self.conclude(id, Ok(()));
        }
        let (age, until) = (profile.interval.0 / 2, self.now + timeout(profile));
        let Some(host) = self.hosts.get_mut(&check.target.real.ip()) else { return };
        if host.echo.is_fresh(self.now, age) {
            return self.go_l4(id);
        }
        host.echo.wait(id);
        self.ask_echo(id, until);
    }

    fn ask_echo(&mut self, id: CheckId, until: Time) {
        let Ok(Between { own, real }) = self.between(id) else { return };
        let (Some(check), Some(host)) = (self.checks.get_mut(&id), self.hosts.get_mut(&IpAddr::V4(*real.ip()))) else {
            return;
        };
        let Some(mac) = host.mac else { return self.conclude(id, Err(Failure::NoArp)) };
        let gap = gap(&check.target.profile);
        let again = matches!(check.step, Step::Echo { .. });
        if !host.echo.was_asked_within(self.now, gap) {
            let asked = match host.echo.open() {
                Some(before) => EchoAsked { seq: before.seq.saturating_add(1), ..before },
                None => EchoAsked { id: self.rng.u16(..), seq: 0, nonce: self.rng.u64(..).to_be_bytes() },
            };
            host.echo.ask(asked, self.now);
            self.out.echo_request(own, *real.ip(), mac, &asked);
        }
        check.step = Step::Echo { until };
        self.timers.set(id, (self.now + gap).min(until));
        if again {
            self.say_awaited(id, Awaited::Echo);
        }
    }

    fn go_l4(&mut self, id: CheckId) {
        let Some(check) = self.checks.get_mut(&id) else { return };
        let profile = &check.target.profile;
        if profile.depth == HealthDepth::L3 {
            return self.conclude(id, Ok(()));
        }
        let until = self.now + timeout(profile);
        let Some(port) = self.ports.take() else {
            check.step = Step::Reached;
            return self.timers.set(id, self.now + PORT_WAIT);
        };
        self.by_port.insert(port, id);
        match check.target.protocol {
            Protocol::Tcp => {
                let isn = Seq(self.rng.u32(..));
                check.step = Step::Reached;
                self.send_syn(id, until, port, isn);
            }
            Protocol::Udp => {
                check.step = Step::Datagram { port };
                self.timers.set(id, until);
                if let Some((from, to, mac)) = self.path(id, port) {
                    self.out.datagram(from, to, mac);
                }
                // Silence is what passes, so this takes the whole timeout.
                self.say_awaited(id, Awaited::NoRefusal);
            }
        }
    }

    fn send_syn(&mut self, id: CheckId, until: Time, port: u16, isn: Seq) {
        if let Some((from, to, mac)) = self.path(id, port) {
            self.out.syn(from, to, mac, isn);
        }
        let Some(check) = self.checks.get_mut(&id) else { return };
        let again = matches!(check.step, Step::Syn { .. });
        let gap = gap(&check.target.profile);
        check.step = Step::Syn { until, port, isn };
        self.timers.set(id, (self.now + gap).min(until));
        if again {
            self.say_awaited(id, Awaited::SynAck);
        }
    }

    /// From where and to where a probe from `port` goes.
    fn path(&self, id: CheckId, port: u16) -> Option<(SocketAddr, SocketAddr, crate::base::addr::Mac)> {
        let Between { own, real } = self.between(id).ok()?;
        let mac = self.hosts.get(&IpAddr::V4(*real.ip()))?.mac?;
        Some((SocketAddrV4::new(own, port).into(), real.into(), mac))
    }

    /// L4 passed: on to HTTP if that is asked for.
    pub(super) fn l4_passed(&mut self, id: CheckId) {
        let Some(check) = self.checks.get(&id) else { return };
        if check.target.profile.http.is_none() {
            return self.conclude(id, Ok(()));
        }
        self.leave_step(id);
        if let Some(check) = self.checks.get_mut(&id) {
            check.step = Step::Queued;
            self.timers.set(id, self.now);
        }
    }

    fn go_fetch(&mut self, id: CheckId) {
        if self.fetching >= FETCHES_MAX {
            self.fetch_queue.push_back(id);
            return self.say_awaited(id, Awaited::Http);
        }
        let (Ok(Between { own, real }), Some(check)) = (self.between(id), self.checks.get(&id)) else { return };
        let mac = self.hosts.get(&IpAddr::V4(*real.ip())).and_then(|host| host.mac);
        let Some(real_mac) = mac else { return self.conclude(id, Err(Failure::NoArp)) };
        let Some(http) = &check.target.profile.http else { return self.conclude(id, Ok(())) };
        let Some(port) = self.ports.take() else { return self.timers.set(id, self.now + PORT_WAIT) };
        let ends = Ends { own_mac: self.out.mac(), own: SocketAddrV4::new(own, port), real_mac, real };
        let fetch = Box::new(Fetch::open(ends, http, self.rng.u64(..), self.now));
        let until = self.now + timeout(&check.target.profile);
        self.by_port.insert(port, id);
        self.fetching += 1;
        if let Some(check) = self.checks.get_mut(&id) {
            check.step = Step::Fetch { until, port, fetch };
        }
        self.turn_fetch(id, Turn::Next);
    }

    /// Lets a conversation do what it can, and ends it when it is over or out of time.
    pub(super) fn turn_fetch(&mut self, id: CheckId, turn: Turn) {
        let Some(check) = self.checks.get_mut(&id) else { return };
        let (Step::Fetch { until, fetch, .. }, Some(http)) = (&mut check.step, &check.target.profile.http) else {
            return;
        };
        let until = *until;
        let progress = match turn {
            Turn::Next => fetch.turn(http, self.now, &mut self.out.queue),
            Turn::Last => Progress::Over(Err(fetch.give_up(self.now, &mut self.out.queue))),
        };
        match progress {
            Progress::Over(result) => self.conclude(id, result.map_err(Failure::Http)),
            Progress::Waiting(at) => {
                // A time that has come already would only spin: smoltcp has done all it can do now.
                let at = at.filter(|&at| at > self.now).unwrap_or(until);
                let at = at.min(self.now + gap(&check.target.profile)).min(until);
                self.timers.set(id, at);
            }
        }
    }

    /// Gives back what the step holds; the check is idle then, without a wake-up.
    pub(super) fn leave_step(&mut self, id: CheckId) {
        let Some(check) = self.checks.get_mut(&id) else { return };
        let host = self.hosts.get_mut(&check.target.real.ip());
        self.timers.clear(id);
        let port = match std::mem::replace(&mut check.step, Step::Idle) {
            Step::Idle | Step::Resolved | Step::Reached | Step::Queued => return,
            Step::Arp { .. } => return host.into_iter().for_each(|host| host.arp.leave(id)),
            Step::Echo { .. } => return host.into_iter().for_each(|host| host.echo.leave(id)),
            Step::Syn { port, .. } | Step::Datagram { port, .. } => port,
            Step::Fetch { port, mut fetch, .. } => {
                fetch.abort(self.now, &mut self.out.queue);
                self.fetching -= 1;
                self.next_fetch();
                port
            }
        };
        self.by_port.remove(&port);
        self.ports.give_back(port);
    }

    /// Hands a free conversation to the first who still waits for one.
    fn next_fetch(&mut self) {
        while let Some(id) = self.fetch_queue.pop_front() {
            if self.checks.get(&id).is_some_and(|check| matches!(check.step, Step::Queued)) {
                return self.timers.set(id, self.now);
            }
        }
    }

    /// A check has ended: counts it, puts the verdict into words and sets the next start.
    pub(super) fn conclude(&mut self, id: CheckId, result: Result<(), Failure>) {
        self.leave_step(id);
        let Some(check) = self.checks.get_mut(&id) else { return };
        let host = self.hosts.get_mut(&check.target.real.ip());
        if let (Err(Failure::NoArp | Failure::NoEcho | Failure::ConnectTimeout), Some(host)) = (result, host) {
            host.doubt();
        }
        check.finished += 1;
        check.judge(result);
        self.changed.insert(id);
        let next = check.started + check.pause(&mut self.rng);
        self.timers.set(id, next.max(self.now));
    }

    /// While the very first check of a binding takes its time, says what it waits for.
    fn say_awaited(&mut self, id: CheckId, awaited: Awaited) {
        let Some(check) = self.checks.get_mut(&id) else { return };
        if check.finished == 0 && check.verdict.standing() == Standing::New {
            check.health = Health::Unknown(awaited.text(check.target.real));
            self.changed.insert(id);
        }
    }
}
