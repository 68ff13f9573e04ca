//! The loop of one worker thread: ports, plane, ports. The one place on the packet path that reads a clock, once a
//! batch.
//!
//! ```text
//! wait -> take up the table -> commands -> recv a batch -> plane -> send -> poll the plane -> wait
//! ```
//!
//! The worker owns its plane and its ports; it shares nothing per packet. Between it and the control side run two
//! bounded rings: commands in, reports out. A full report ring loses delivered frames, as a wire would, but
//! never a notice: those wait here.

#![allow(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::{Notify, oneshot};

use super::publication::Publication;
use super::task::Clock;
use crate::acm::error::AcmError;
use crate::acm::switch::{PortStatistics, Statistics};
use crate::base::id::{BindingId, Generation, Name, PortId, ServiceId};
use crate::base::text::quoted;
use crate::base::time::Time;
use crate::plane::{Notice, Out, Plane, Verdict};
use crate::port::Port;
use crate::port::pcap::{Capture, CapturePort};
use crate::port::wait::{Ready, Waiter, Waker};
use crate::wire::checksum;
use crate::wire::frame::{Batch, Egress, FrameBuf};

/// Frames taken from a port at once. Larger batches save system calls under load; 64 super-frames are 4 MiB.
const BATCH: usize = 64;

/// Commands and reports that can wait. A health burst is 256 frames.
const RING: usize = 1024;

/// How soon a notice that found the ring full is tried again.
const RING_RETRY: Duration = Duration::from_millis(1);

/// A broken port is tried again this often.
const PORT_RETRY: Duration = Duration::from_secs(1);

/// What the control side asks of a worker.
pub(super) enum Command {
    /// Send a frame of the switch's own.
    Originate(Vec<u8>),
    /// Report these bindings cut, unless they are being cut: they may have come and gone between two tables this
    /// worker took up.
    ConfirmCut(Vec<BindingId>),
    /// Tell what was counted.
    Snapshot(oneshot::Sender<Snapshot>),
}

/// What a worker tells the control side.
pub(super) enum Report {
    /// A frame for the switch's own address, checksums finished.
    Delivered(Vec<u8>),
    /// What the plane noticed, under the table it used then.
    Notice {
        /// What.
        notice: Notice,
        /// Under which table.
        seen: Generation,
    },
}

/// Everything counted, at one moment.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// Live and total connections of each binding.
    pub(super) bindings: AHashMap<BindingId, (u64, u64)>,
    /// Admitted, dropped and refused of each service.
    pub(super) services: AHashMap<ServiceId, (u64, u64, u64)>,
    /// Requests each content rule decided about.
    pub(super) rules: AHashMap<(ServiceId, Name), u64>,
    /// The whole switch.
    pub(super) statistics: Statistics,
}

/// The control side's end of a worker.
pub(super) struct WorkerHandle {
    commands: Mutex<Producer<Command>>,
    waker: Waker,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// What starts a capture, by port name, in port order.
    captures: Vec<(String, Capture)>,
}

impl WorkerHandle {
    /// Gives a command and wakes the worker. False if its ring is full.
    pub(super) fn command(&self, command: Command) -> bool {
        let pushed = self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command).is_ok();
        self.wake();
        pushed
    }

    /// Wakes the worker, so that it takes up the table at once.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// What starts captures of a port.
    ///
    /// # Errors
    /// `NotFound`, naming the ports there are.
    pub(super) fn capture(&self, port: &str) -> Result<&Capture, AcmError> {
        let found = self.captures.iter().find(|(name, _)| name == port);
        found.map(|(_, capture)| capture).ok_or_else(|| {
            let names: Vec<_> = self.captures.iter().map(|(name, _)| name.as_str()).collect();
            AcmError::not_found(format!("port {} (there are {})", quoted(port), names.join(", ")))
        })
    }

    /// Ends the thread and waits for its end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the worker was reported by the panic hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// One port and what the worker knows about it.
struct PortSeat {
    port: CapturePort<Box<dyn Port>>,
    /// Indices of the batch's frames that leave here.
    outgoing: Vec<u16>,
    /// When a port that failed is tried again.
    retry_at: Option<Time>,
}

/// A worker, in its own thread.
pub(super) struct Worker {
    plane: Plane,
    ports: Vec<PortSeat>,
    waiter: Waiter,
    publication: Arc<Publication>,
    generation: Generation,
    clock: Clock,
    batch: Batch,
    verdicts: Vec<Verdict>,
    out: Out,
    commands: Consumer<Command>,
    reports: Producer<Report>,
    /// Notices that found the ring full.
    unreported: VecDeque<Report>,
    news: Arc<Notify>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when the wake-up or the thread cannot be made.
    pub(super) fn start(
        plane: Plane,
        ports: Vec<Box<dyn Port>>,
        publication: Arc<Publication>,
        news: Arc<Notify>,
        clock: Clock,
    ) -> std::io::Result<(WorkerHandle, Consumer<Report>)> {
        let (commands_in, commands) = RingBuffer::new(RING);
        let (reports, reports_out) = RingBuffer::new(RING);
        let waiter = Waiter::new(ports.iter().map(|port| port.readable()))?;
        let waker = waiter.waker();
        let stop = Arc::new(AtomicBool::new(false));
        let seat =
            |port| PortSeat { port: CapturePort::new(port), outgoing: Vec::with_capacity(BATCH), retry_at: None };
        let ports: Vec<PortSeat> = ports.into_iter().map(seat).collect();
        let captures = ports.iter().map(|seat| (seat.port.name().to_owned(), seat.port.capture())).collect();
        let worker = Worker {
            plane,
            ports,
            waiter,
            publication,
            generation: Generation::default(),
            clock,
            batch: Batch::new(BATCH, FrameBuf::LARGEST),
            verdicts: Vec::with_capacity(BATCH),
            out: Out::new(),
            commands,
            reports,
            unreported: VecDeque::new(),
            news,
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("acm-worker-0".into()).spawn(move || worker.run())?;
        let thread = Mutex::new(Some(thread));
        let handle = WorkerHandle { commands: Mutex::new(commands_in), waker, stop, thread, captures };
        Ok((handle, reports_out))
    }

    fn run(mut self) {
        self.publication.unpark(0);
        while !self.stop.load(Ordering::SeqCst) {
            let ready = self.wait();
            let now = self.clock.now();
            self.take_up(now);
            self.obey(now);
            self.serve_ports(ready, now);
            self.plane.poll(now, &mut self.out);
            self.flush(now);
        }
        // Whoever still publishes must not wait for a worker that is gone.
        self.publication.park(0, self.generation);
    }

    fn take_up(&mut self, now: Time) {
        let Some(prepared) = self.publication.newer_than(self.generation) else { return };
        self.generation = prepared.table().generation();
        self.plane.take_table(&prepared, now, &mut self.out);
        self.publication.take_up(0, self.generation);
    }

    fn obey(&mut self, now: Time) {
        while let Ok(command) = self.commands.pop() {
            match command {
                Command::Originate(frame) => {
                    self.plane.originate(&frame, now, &mut self.out);
                    if self.out.frames.room() == 0 {
                        self.flush(now);
                    }
                }
                Command::ConfirmCut(bindings) => {
                    let cutting: AHashSet<BindingId> = self.plane.cutting().collect();
                    let never_seen = bindings.into_iter().filter(|binding| !cutting.contains(binding));
                    self.out.notices.extend(never_seen.map(|binding| Notice::Cut { binding, cut: 0 }));
                }
                // Nobody to tell is no error: the caller may have gone.
                Command::Snapshot(answer) => drop(answer.send(self.snapshot())),
            }
        }
    }

    /// One batch from each port that has frames; a port with more is ready again at the next wait. A broken port is
    /// looked at when its time has come, ready or not.
    fn serve_ports(&mut self, ready: Ready, now: Time) {
        for index in 0..self.ports.len() {
            let seat = &mut self.ports[index];
            let is_due = match seat.retry_at {
                Some(at) => at <= now,
                None => ready.port(index) || seat.port.next_deadline().is_some_and(|at| at <= now),
            };
            if !is_due {
                continue;
            }
            self.batch.clear();
            match seat.port.recv(&mut self.batch, now) {
                Ok(_) => self.port_works(index),
                Err(error) => {
                    self.report_port(index, &error, now);
                    continue;
                }
            }
            self.serve_batch(PortId(index as u16), now);
        }
    }

    /// Takes up a port that was broken.
    fn port_works(&mut self, index: usize) {
        let seat = &mut self.ports[index];
        if seat.retry_at.take().is_some() {
            tracing::info!(port = seat.port.name(), "port works again");
            seat.port.readable().into_iter().for_each(|fd| self.waiter.hear(index, fd));
        }
    }

    fn serve_batch(&mut self, ingress: PortId, now: Time) {
        if self.batch.is_empty() {
            return;
        }
        for frame in self.batch.frames_mut() {
            frame.ingress = ingress;
        }
        self.verdicts.clear();
        self.plane.process_batch(&mut self.batch, now, &mut self.verdicts, &mut self.out);
        self.deliver();
        send(&mut self.ports, &mut self.batch, now);
        self.flush(now);
    }

    /// Says once that a port broke, and when it will be tried again.
    fn report_port(&mut self, index: usize, error: &std::io::Error, now: Time) {
        let seat = &mut self.ports[index];
        if seat.retry_at.is_none() {
            tracing::warn!(port = seat.port.name(), %error, "port failed; trying again every second");
            seat.port.readable().into_iter().for_each(|fd| self.waiter.mute(fd));
        }
        seat.retry_at = Some(now + PORT_RETRY);
    }

    /// Hands frames for the switch's own address to the health checks.
    fn deliver(&mut self) {
        for (frame, verdict) in self.batch.frames_mut().iter_mut().zip(&self.verdicts) {
            if *verdict == Verdict::Delivered {
                checksum::finish(frame);
                if self.reports.is_full() {
                    self.plane.note_undelivered();
                    continue;
                }
                // There is room: nobody else pushes.
                let _ = self.reports.push(Report::Delivered(frame.bytes().to_vec()));
                self.news.notify_one();
            }
        }
    }

    /// Sends what the plane originated and reports what it noticed.
    fn flush(&mut self, now: Time) {
        if !self.out.frames.is_empty() {
            send(&mut self.ports, &mut self.out.frames, now);
            self.out.frames.clear();
        }
        let seen = self.generation;
        let had_notices = !self.out.notices.is_empty() || !self.unreported.is_empty();
        self.unreported.extend(self.out.notices.drain(..).map(|notice| Report::Notice { notice, seen }));
        while let Some(report) = self.unreported.pop_front() {
            if let Err(rtrb::PushError::Full(report)) = self.reports.push(report) {
                self.unreported.push_front(report);
                break;
            }
        }
        if had_notices {
            self.news.notify_one();
        }
    }

    /// Waits for frames, a command or a deadline; only looks if there is something to do at once.
    fn wait(&mut self) -> Ready {
        // A broken port has nothing to say before its next retry.
        let ports = self.ports.iter().filter_map(|seat| seat.retry_at.or_else(|| seat.port.next_deadline()));
        let deadline = ports.chain(self.plane.next_deadline()).min();
        let full_ring = (!self.unreported.is_empty()).then_some(RING_RETRY);
        let left = deadline.map(|at| at.since(self.clock.now())).into_iter().chain(full_ring).min();
        let is_busy = left == Some(Duration::ZERO) || !self.commands.is_empty();
        if is_busy || !self.publication.park(0, self.generation) {
            return self.waiter.ready();
        }
        let ready = self.waiter.wait(left);
        self.publication.unpark(0);
        ready
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut statistics = Statistics {
            flows: self.plane.flows() as u64,
            flows_max: self.plane.flows_max() as u64,
            ..Statistics::default()
        };
        let counters = self.plane.counters().iter().map(|(name, count)| (name.to_owned(), count));
        statistics.counters = counters.collect();
        for seat in &mut self.ports {
            let counted = seat.port.counters();
            statistics.ports.push(PortStatistics {
                port: seat.port.name().to_owned(),
                rx_frames: counted.rx_frames,
                rx_bytes: counted.rx_bytes,
                tx_frames: counted.tx_frames,
                tx_bytes: counted.tx_bytes,
                rx_missed: counted.rx_missed,
                tx_dropped: counted.tx_dropped,
            });
        }
        Snapshot {
            bindings: self.plane.binding_counts().collect(),
            services: self.plane.service_counts().collect(),
            rules: self.plane.rule_hits().map(|(service, rule, hits)| ((service, rule.clone()), hits)).collect(),
            statistics,
        }
    }
}

/// Sends each frame of a batch where its egress says.
fn send(ports: &mut [PortSeat], batch: &mut Batch, now: Time) {
    for (index, frame) in batch.frames().iter().enumerate() {
        let index = index as u16;
        match frame.egress {
            Egress::None => {}
            Egress::Port(PortId(port)) => {
                if let Some(seat) = ports.get_mut(usize::from(port)) {
                    seat.outgoing.push(index);
                }
            }
            Egress::All => ports.iter_mut().for_each(|seat| seat.outgoing.push(index)),
            Egress::AllBut(PortId(but)) => {
                let others = ports.iter_mut().enumerate().filter(|(port, _)| *port != usize::from(but));
                others.for_each(|(_, seat)| seat.outgoing.push(index));
            }
        }
    }
    for seat in ports.iter_mut().filter(|seat| !seat.outgoing.is_empty()) {
        if let Err(error) = seat.port.send(batch, &seat.outgoing, now) {
            tracing::debug!(port = seat.port.name(), %error, "could not send");
        }
        seat.outgoing.clear();
    }
}
