//! The portable port, over `pnet::datalink` channels: for systems without `AF_PACKET`, and to compare.
//!
//! A thread reads frames into a bounded queue that a worker can wait for; sending is direct. It carries no offloads,
//! which means:
//! * a frame with an unfinished checksum is finished before it leaves, in place;
//! * a super-frame cannot leave and is dropped and counted, so all ports of a switch should be of this kind;
//! * a *received* frame may have an unfinished checksum that this port cannot see: on a Linux veth or virtio interface
//!   whose sender has transmit offload on, every TCP and UDP frame does. Passed on unchanged it is wrong at the receiver.
//!   So the senders' offloads must be off there (`ethtool -K IF tx off tso off gso off`), as must receive offload on our
//!   side (`gro off`). Real network cards finish checksums before the wire and need only the latter.
//!
//! VLAN tags that the system takes out of received frames are lost here. What it costs besides: a copy and a lock for
//! each frame, and a system call for each frame each way. On Linux prefer [`super::af_packet`].

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ::pnet::datalink::{self, Channel, Config, DataLinkReceiver, DataLinkSender, NetworkInterface};

use super::error::{PortError, no_such_interface};
use super::lane::{Fit, Lane};
use super::{Port, PortCounters};
use crate::base::time::Time;
use crate::wire::checksum;
use crate::wire::frame::{Batch, FrameBuf, Gso, Offload};

/// Frames that wait for the worker; more are lost and counted. 4096 full-size frames are 6 MiB.
const QUEUE: usize = 4096;

/// How often the reading thread looks whether it shall end: the price of a system without a portable way to interrupt.
const LOOK_UP_EVERY: Duration = Duration::from_millis(250);

/// After an error the reading thread waits this long before it tries again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the reading thread and the port share.
struct Shared {
    queue: Arc<Lane>,
    missed: AtomicU64,
    stop: AtomicBool,
}

/// All frames of one interface, without offloads.
pub struct PnetPort {
    name: String,
    sender: Box<dyn DataLinkSender>,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    counters: PortCounters,
}

impl PnetPort {
    /// Opens an interface as a port and starts its reading thread.
    ///
    /// # Errors
    /// See [`PortError`]: each names the interface and what to do.
    pub fn open(name: &str) -> Result<PnetPort, PortError> {
        let interface = find(name)?;
        let system = |doing| move |source| PortError::System { name: name.to_owned(), doing, source };
        let config = Config {
            read_buffer_size: FrameBuf::LARGEST,
            write_buffer_size: FrameBuf::LARGEST,
            read_timeout: Some(LOOK_UP_EVERY),
            // A port never blocks: what cannot leave now is dropped.
            write_timeout: Some(Duration::ZERO),
            socket_fd: silent_socket(name)?,
            ..Config::default()
        };
        let (sender, receiver) = match datalink::channel(&interface, config) {
            Ok(Channel::Ethernet(sender, receiver)) => (sender, receiver),
            Ok(_) => return Err(PortError::NotEthernet { name: name.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(PortError::NotPermitted { name: name.to_owned() });
            }
            Err(error) => return Err(system("open a link-layer channel")(error)),
        };
        let queue = Lane::new(QUEUE).map_err(system("make a queue"))?;
        let shared = Arc::new(Shared { queue, missed: AtomicU64::new(0), stop: AtomicBool::new(false) });
        let theirs = Arc::clone(&shared);
        let reader = std::thread::Builder::new().name(format!("acm-read-{name}"));
        let reader = reader.spawn(move || read(receiver, &theirs)).map_err(system("start its reading thread"))?;
        Ok(PnetPort { name: name.to_owned(), sender, shared, reader: Some(reader), counters: PortCounters::default() })
    }
}

fn find(name: &str) -> Result<NetworkInterface, PortError> {
    let found = datalink::interfaces().into_iter().find(|interface| interface.name == name);
    let interface = found.ok_or_else(|| no_such_interface(name))?;
    if interface.is_loopback() {
        return Err(PortError::NotEthernet { name: name.to_owned() });
    }
    if !interface.is_up() {
        return Err(PortError::Down { name: name.to_owned() });
    }
    Ok(interface)
}

/// A socket that does not hear what is sent through it, for `pnet` to use and to close.
#[cfg(target_os = "linux")]
fn silent_socket(name: &str) -> Result<Option<i32>, PortError> {
    super::af_packet::deaf_to_itself(name).map(Some)
}

#[cfg(not(target_os = "linux"))]
fn silent_socket(_name: &str) -> Result<Option<i32>, PortError> {
    Ok(None)
}

/// The reading thread.
fn read(mut receiver: Box<dyn DataLinkReceiver>, shared: &Shared) {
    while !shared.stop.load(Ordering::SeqCst) {
        match receiver.next() {
            Ok(frame) => {
                if shared.queue.push(frame, Offload::NONE) == Fit::Full {
                    shared.missed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The interface is down or gone. It may come back; nothing here may spin until then.
            Err(_) => std::thread::sleep(RETRY_AFTER),
        }
    }
}

impl Drop for PnetPort {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            // At most LOOK_UP_EVERY. A panic of the thread was reported by the panic hook.
            let _ = reader.join();
        }
    }
}

impl Port for PnetPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn recv(&mut self, batch: &mut Batch, _now: Time) -> io::Result<usize> {
        Ok(self.shared.queue.drain_into(batch, &mut self.counters))
    }

    fn send(&mut self, batch: &mut Batch, which: &[u16], _now: Time) -> io::Result<()> {
        for index in which {
            let Some(frame) = batch.frames_mut().get_mut(usize::from(*index)) else { continue };
            if frame.offload.gso != Gso::None {
                self.counters.tx_dropped += 1;
                continue;
            }
            checksum::finish(frame);
            match self.sender.send_to(frame.bytes(), None) {
                Some(Ok(())) => {
                    self.counters.tx_frames += 1;
                    self.counters.tx_bytes += frame.len() as u64;
                }
                _ => self.counters.tx_dropped += 1,
            }
        }
        Ok(())
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.shared.queue.readable())
    }

    fn counters(&mut self) -> PortCounters {
        PortCounters {
            rx_missed: self.counters.rx_missed + self.shared.missed.load(Ordering::Relaxed),
            ..self.counters
        }
    }
}
