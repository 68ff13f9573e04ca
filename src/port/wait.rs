//! Waiting: for frames on any of several ports, for a wake-up from another thread, or for a deadline.
//!
//! A worker that has nothing to do calls [`Waiter::wait`] and uses no processor time until a port has frames, somebody
//! calls [`Waker::wake`], or the timeout passes. Never for frames only: a worker parked here must hear of a new service
//! table at once.
//!
//! This file and the ports are the only places that know how the system says "ready"; it uses Linux's `epoll` and
//! `eventfd`. The kernel holds the ports' descriptors by itself, so a port that is dropped simply stops being reported.

#![allow(clippy::disallowed_methods)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use crate::base::limits::PORTS_MAX;

/// Which event means the waker; ports have 0 to [`PORTS_MAX`] - 1.
const WAKER: u64 = PORTS_MAX as u64;

/// Longer timeouts are cut: a worker that looks around once an hour costs nothing, and the sum cannot overflow.
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// The owner looks at everything again before it parks, so a wake-up needs no system call.
const RUNNING: u8 = 0;
/// The owner sleeps, or is about to, in `epoll_wait`.
const PARKED: u8 = 1;
/// A wake-up came that the owner has not seen yet.
const NOTIFIED: u8 = 2;

/// A flag another thread can see through a descriptor: readable from [`Signal::raise`] to [`Signal::lower`].
#[derive(Debug)]
pub(super) struct Signal(OwnedFd);

impl Signal {
    pub(super) fn new() -> io::Result<Signal> {
        Ok(Signal(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn raise(&self) {
        // The only error is EAGAIN, when the counter is about to overflow: then it is raised already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(super) fn lower(&self) {
        // The only error is EAGAIN, when it was not raised.
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[derive(Debug)]
struct Doorbell {
    state: AtomicU8,
    signal: Signal,
}

/// Wakes one [`Waiter`] from any thread.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Doorbell>);

impl Waker {
    /// Ends the wait under way, or the next one if there is none. What was written before is seen by the owner after.
    /// One atomic operation; a system call only if the owner sleeps.
    pub fn wake(&self) {
        if self.0.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            self.0.signal.raise();
        }
    }
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    ports: u64,
    woken: bool,
}

impl Ready {
    /// True if the port with this index (in the order given to [`Waiter::new`]) has frames, or an error to tell.
    pub fn port(self, index: usize) -> bool {
        index < PORTS_MAX && self.ports & (1 << index) != 0
    }

    /// The indices of the ports that are ready, in order.
    pub fn ports(self) -> impl Iterator<Item = usize> {
        (0..PORTS_MAX).filter(move |index| self.port(*index))
    }

    /// True if somebody called [`Waker::wake`].
    pub fn woken(self) -> bool {
        self.woken
    }

    /// True if nothing happened before the timeout.
    pub fn timed_out(self) -> bool {
        !self.woken && self.ports == 0
    }
}

/// Waits for a fixed set of ports and a [`Waker`].
pub struct Waiter {
    epoll: OwnedFd,
    doorbell: Arc<Doorbell>,
}

impl Waiter {
    /// A waiter for the ports with these descriptors ([`super::Port::readable`], in port order). A port without one
    /// has nothing to wait for and is never reported.
    ///
    /// # Errors
    /// More than [`PORTS_MAX`] ports; the system's, when it has no descriptors left.
    pub fn new<'a>(ports: impl IntoIterator<Item = Option<BorrowedFd<'a>>>) -> io::Result<Waiter> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let doorbell = Arc::new(Doorbell { state: AtomicU8::new(RUNNING), signal: Signal::new()? });
        epoll::add(&epoll, &doorbell.signal, EventData::new_u64(WAKER), EventFlags::IN)?;
        for (index, port) in ports.into_iter().enumerate() {
            if index >= PORTS_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {PORTS_MAX} ports")));
            }
            if let Some(port) = port {
                epoll::add(&epoll, port, EventData::new_u64(index as u64), EventFlags::IN)?;
            }
        }
        Ok(Waiter { epoll, doorbell })
    }

    /// Waits no longer for the port with this descriptor: a broken one can be "ready" for as long as it is broken.
    pub fn mute(&self, port: BorrowedFd<'_>) {
        // The one error left is that it is muted already.
        let _ = epoll::delete(&self.epoll, port);
    }

    /// Waits again for a port that was muted, under its index.
    pub fn hear(&self, index: usize, port: BorrowedFd<'_>) {
        // It is heard already, or the system is out of watches; then its owner still looks at it at its next retry.
        let _ = epoll::add(&self.epoll, port, EventData::new_u64(index as u64), EventFlags::IN);
    }

    /// What wakes this waiter.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.doorbell))
    }

    /// Sleeps until a port is ready, somebody wakes us, or `timeout` has passed (`None`: no limit). May also return
    /// early with nothing to report, after a signal or an hour. A port stays ready until its frames are taken.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Ready {
        let state = &self.doorbell.state;
        if state.compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // Notified while running: no need to sleep, but the ports are looked at all the same.
            let ready = self.poll(Duration::ZERO);
            self.doorbell.state.swap(RUNNING, Ordering::AcqRel);
            return Ready { woken: true, ..ready };
        }
        let ready = self.poll(timeout.unwrap_or(TIMEOUT_MAX).min(TIMEOUT_MAX));
        let notified = self.doorbell.state.swap(RUNNING, Ordering::AcqRel) == NOTIFIED;
        Ready { woken: ready.woken || notified, ..ready }
    }

    /// Which ports are ready now, without sleeping; cheaper than asking each.
    pub fn ready(&self) -> Ready {
        self.poll(Duration::ZERO)
    }

    fn poll(&self, timeout: Duration) -> Ready {
        let timeout = to_timespec(timeout);
        let mut ready = Ready::default();
        let mut events = [MaybeUninit::<Event>::uninit(); PORTS_MAX + 1];
        // The errors left are EINTR, which is an early return, and those of a descriptor that is no epoll.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, Some(&timeout)) else { return ready };
        for event in events {
            match event.data.u64() {
                WAKER => {
                    self.doorbell.signal.lower();
                    ready.woken = true;
                }
                port => ready.ports |= 1 << port,
            }
        }
        ready
    }
}

/// Rounded up to whole milliseconds, which is what `epoll_wait` counts: rounding down would spin before a deadline.
fn to_timespec(timeout: Duration) -> Timespec {
    let millis = timeout.as_micros().div_ceil(1000);
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    Timespec { tv_sec: millis / 1000, tv_nsec: (millis % 1000) * 1_000_000 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_timeout_passes() {
        let mut waiter = Waiter::new([]).unwrap();
        let start = Instant::now();
        assert!(waiter.wait(Some(Duration::from_millis(20))).timed_out());
        assert!(start.elapsed() >= Duration::from_millis(20), "{:?}", start.elapsed());
    }

    #[test]
    fn a_wake_up_before_the_wait_is_not_lost() {
        let mut waiter = Waiter::new([]).unwrap();
        waiter.waker().wake();
        waiter.waker().wake();
        assert!(waiter.wait(None).woken());
        assert!(waiter.wait(Some(Duration::ZERO)).timed_out(), "two wake-ups are one");
    }

    #[test]
    fn a_sleeper_is_woken_every_time() {
        let mut waiter = Waiter::new([]).unwrap();
        let waker = waiter.waker();
        let (asked, ask) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            while let Ok(pause) = ask.recv() {
                std::thread::sleep(pause);
                waker.wake();
            }
        });
        for turn in 0..200u64 {
            asked.send(Duration::from_micros(turn % 7 * 20)).unwrap();
            // Without a limit: a lost wake-up would hang the test.
            while !waiter.wait(None).woken() {}
        }
        drop(asked);
        other.join().unwrap();
    }

    #[test]
    fn the_ready_port_is_named() {
        let signals = [Signal::new().unwrap(), Signal::new().unwrap(), Signal::new().unwrap()];
        let mut waiter = Waiter::new([Some(signals[0].as_fd()), None, Some(signals[2].as_fd())]).unwrap();
        signals[1].raise();
        signals[2].raise();
        let ready = waiter.wait(None);
        assert!(ready.ports().eq([2]) && !ready.woken(), "{ready:?}");
        assert!(waiter.ready().port(2), "stays ready until lowered");
        signals[2].lower();
        assert!(waiter.ready().timed_out());
    }

    #[test]
    fn a_muted_port_is_not_heard() {
        let signal = Signal::new().unwrap();
        let waiter = Waiter::new([Some(signal.as_fd())]).unwrap();
        signal.raise();
        waiter.mute(signal.as_fd());
        waiter.mute(signal.as_fd());
        assert!(waiter.ready().timed_out());
        waiter.hear(0, signal.as_fd());
        assert!(waiter.ready().port(0), "what was raised meanwhile is not lost");
    }

    #[test]
    fn too_many_ports_are_refused() {
        assert!(Waiter::new((0..=PORTS_MAX).map(|_| None)).is_err());
    }
}
