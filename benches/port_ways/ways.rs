//! The ways, each a thread that passes frames between two interfaces until it is told to stop.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use acm_switch::base::time::Time;
use acm_switch::port::Port;
use acm_switch::port::af_packet::{AfPacket, Options, Qdisc};
use acm_switch::port::wait::{Waiter, Waker};
use acm_switch::wire::frame::{Batch, FrameBuf};

use crate::ring::{Ring, TxRing, Version};

/// How frames get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `recvmmsg`, `sendmmsg`.
    Mmsg,
    /// The same, past the queueing discipline.
    Bypass,
    /// The same as the first, looking again for 20 microseconds before it sleeps.
    Spin,
    /// Received in a `TPACKET_V2` ring, sent from there by `sendmmsg`.
    V2,
    /// Received in a `TPACKET_V2` ring, copied into a `TPACKET_V2` transmit ring.
    V2Tx,
    /// Received in a `TPACKET_V3` ring, sent from there by `sendmmsg`.
    V3,
}

/// A running way; ends when dropped.
pub struct Forwarder {
    stop: Arc<AtomicBool>,
    frames: Arc<AtomicU64>,
    task: i32,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What a forwarder has done so far.
pub struct Work {
    pub frames: u64,
    /// On a processor, the receiver's stack that runs on its behalf included.
    pub time: Duration,
}

impl Forwarder {
    pub fn work(&self) -> Work {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.task)).unwrap_or_default();
        let nanos = stat.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Work { frames: self.frames.load(Ordering::Relaxed), time: Duration::from_nanos(nanos) }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const SPIN: Duration = Duration::from_micros(20);

impl Way {
    /// In the order of the table.
    pub const ALL: [Way; 6] = [Way::Mmsg, Way::Bypass, Way::Spin, Way::V2, Way::V2Tx, Way::V3];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Way::Mmsg => "mmsg",
            Way::Bypass => "mmsg-bypass",
            Way::Spin => "mmsg-spin",
            Way::V2 => "v2",
            Way::V2Tx => "v2-txring",
            Way::V3 => "v3",
        }
    }

    /// Starts it between two interfaces of the calling thread's namespace.
    pub fn start(self, names: [&str; 2]) -> io::Result<Forwarder> {
        match self {
            Way::Mmsg => mmsg(names, Options::default(), Duration::ZERO),
            Way::Bypass => mmsg(names, Options { qdisc: Qdisc::Bypass, ..Options::default() }, Duration::ZERO),
            Way::Spin => mmsg(names, Options::default(), SPIN),
            Way::V2 => rings(names, Version::V2),
            Way::V3 => rings(names, Version::V3),
            Way::V2Tx => tx_rings(names),
        }
    }
}

/// Runs `pass`, which says how many frames it passed, and sleeps when there were none.
fn forward<'a>(
    fds: impl IntoIterator<Item = Option<BorrowedFd<'a>>>,
    spin: Duration,
    mut pass: impl FnMut() -> usize + Send + 'static,
) -> io::Result<Forwarder> {
    let mut waiter = Waiter::new(fds)?;
    let (waker, stop) = (waiter.waker(), Arc::new(AtomicBool::new(false)));
    let (stopped, frames) = (Arc::clone(&stop), Arc::new(AtomicU64::new(0)));
    let (count, (tell_task, task)) = (Arc::clone(&frames), std::sync::mpsc::channel());
    let thread = std::thread::spawn(move || {
        let _ = tell_task.send(rustix::thread::gettid().as_raw_nonzero().get());
        let mut idle_since = None;
        while !stopped.load(Ordering::Relaxed) {
            let passed = pass();
            count.fetch_add(passed as u64, Ordering::Relaxed);
            if passed > 0 {
                idle_since = None;
            } else if spin.is_zero() || idle_since.get_or_insert_with(Instant::now).elapsed() >= spin {
                waiter.wait(None);
                idle_since = None;
            }
        }
    });
    let task = task.recv().map_err(io::Error::other)?;
    Ok(Forwarder { stop, frames, task, waker, thread: Some(thread) })
}

fn mmsg(names: [&str; 2], options: Options, spin: Duration) -> io::Result<Forwarder> {
    let mut ports = [AfPacket::open(names[0], options)?, AfPacket::open(names[1], options)?];
    let mut batch = Batch::new(64, FrameBuf::LARGEST);
    let all: Vec<u16> = (0..64).collect();
    let fds: Vec<_> = ports.iter().map(|port| port.readable().map(|fd| fd.try_clone_to_owned())).collect();
    let fds: Vec<_> = fds.into_iter().flatten().collect::<Result<_, _>>()?;
    forward(fds.iter().map(|fd| Some(std::os::fd::AsFd::as_fd(fd))), spin, move || {
        let mut passed = 0;
        for index in 0..2 {
            batch.clear();
            let count = ports[index].recv(&mut batch, Time::ZERO).expect("receive");
            if count > 0 {
                ports[1 - index].send(&mut batch, &all[..count], Time::ZERO).expect("send");
            }
            passed += count;
        }
        passed
    })
}

fn rings(names: [&str; 2], version: Version) -> io::Result<Forwarder> {
    let mut rings = [Ring::open(names[0], version)?, Ring::open(names[1], version)?];
    let fds = [rings[0].clone_fd()?, rings[1].clone_fd()?];
    forward(fds.iter().map(|fd| Some(std::os::fd::AsFd::as_fd(fd))), Duration::ZERO, move || {
        let [left, right] = &mut rings;
        left.pass_to(right) + right.pass_to(left)
    })
}

fn tx_rings(names: [&str; 2]) -> io::Result<Forwarder> {
    let mut rings = [Ring::open(names[0], Version::V2)?, Ring::open(names[1], Version::V2)?];
    let mut out = [TxRing::open(names[0])?, TxRing::open(names[1])?];
    let fds = [rings[0].clone_fd()?, rings[1].clone_fd()?];
    forward(fds.iter().map(|fd| Some(std::os::fd::AsFd::as_fd(fd))), Duration::ZERO, move || {
        let passed = rings[0].copy_to(&mut out[1]);
        passed + rings[1].copy_to(&mut out[0])
    })
}
