//! The Linux port: all frames of one interface through an `AF_PACKET` socket, offloads included.
//!
//! With `PACKET_VNET_HDR` the kernel passes super-frames and unfinished checksums through as they are and tells us of
//! them, and takes them back from us, so bulk traffic crosses in few, large steps. Frames move in batches by `recvmmsg`
//! and `sendmmsg`, straight into and out of the batch's buffers: one copy by the kernel each way, none by us.
//!
//! Why not mapped rings: measured by `benches/port_ways` on two cores and Linux 6.18. `TPACKET_V3` is out: it holds a
//! frame back for up to a millisecond, so a closed loop of 64 connections reached 39,000 requests a second where
//! `recvmmsg` reached 99,000. `TPACKET_V2` and `recvmmsg` lie within each other's spread (quiet machine: 86,000 and 99,000
//! requests a second, 1.8 and 2.0 GB/s; busy machine: the other way round), V2 with a tenth to a fifth less processor
//! time a frame; but that is a ring sent from in place, and here frames live in the batch's buffers, so V2 would pay one
//! more copy. A transmit ring lost a fifth of the bulk rate. Going past the queueing discipline ([`Qdisc::Bypass`])
//! changed nothing; spinning for 20 us before sleeping halves the round trip of a lone connection, gains nothing with
//! 64, and costs a core.
//!
//! * Own and locally originated frames are not received (`PACKET_IGNORE_OUTGOING`).
//! * VLAN tags, which the kernel takes out of every received frame, are put back.
//! * An interface that goes down or away makes `recv` and `send` fail with a [`PortError`] naming it. Once an
//!   interface of that name is there and up, a later call to either finds it and carries on, with the same descriptor.
//! * The kernel's own stack sees every frame too; it must not own addresses the switch answers for.
//!
//! Not here: which frames go where (`plane`), waiting (`wait`).

mod messages;
mod socket;
mod vlan;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

pub use socket::{Options, Qdisc, WhenDown};
pub(super) use socket::{deaf_to_itself, request};

use super::error::PortError;
use super::{Port, PortCounters, virtio};
use crate::base::time::Time;
use crate::wire::frame::{Batch, FrameBuf};
use messages::{Fit, MESSAGES, Messages};
use socket::{Interface, Socket};

/// A broken interface is looked for at most this often.
const CHECK_EVERY: Duration = Duration::from_millis(200);

/// Frames the kernel cannot describe come as errors, one a call; after this many in a row we go on to other work.
const REFUSALS_MAX: usize = 64;

/// What became of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Working,
    Broken { check_at: Time, how: Broken },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    Down,
    Gone,
}

/// All frames of one interface.
pub struct AfPacket {
    name: String,
    socket: Socket,
    index: u32,
    link: Link,
    rx: Messages,
    tx: Messages,
    counters: PortCounters,
}

/// What an error of the system means for a frame, and for those after it.
enum Trouble {
    /// Only this frame is affected.
    ThisFrame,
    /// Nothing is waiting, or nothing more fits for now.
    NotNow,
    /// Interrupted: try the same again.
    Again,
    /// The interface is down or gone.
    Interface,
    /// The socket itself is broken.
    Socket,
}

impl Trouble {
    fn of(error: &io::Error) -> Trouble {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => Trouble::NotNow,
            Some(libc::EINTR) => Trouble::Again,
            Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => Trouble::Interface,
            // EINVAL: offloads that make no sense, or a frame the kernel cannot describe; EMSGSIZE: longer than the
            // MTU; ENOBUFS: the queue of the interface is full; ENOMEM, EFBIG: no memory for one of that size.
            Some(libc::EINVAL | libc::EMSGSIZE | libc::ENOBUFS | libc::ENOMEM | libc::EFBIG) => Trouble::ThisFrame,
            _ => Trouble::Socket,
        }
    }
}

impl AfPacket {
    /// Opens an interface as a port.
    ///
    /// # Errors
    /// See [`PortError`]: each names the interface and what to do.
    pub fn open(name: &str, options: Options) -> Result<AfPacket, PortError> {
        let (socket, index) = Socket::open(name, options)?;
        Ok(AfPacket {
            name: name.to_owned(),
            socket,
            index,
            link: Link::Working,
            rx: Messages::new(),
            tx: Messages::new(),
            counters: PortCounters::default(),
        })
    }

    fn error(&self, how: Broken) -> io::Error {
        let name = self.name.clone();
        match how {
            Broken::Down => PortError::Down { name }.into(),
            Broken::Gone => PortError::Gone { name }.into(),
        }
    }

    /// Nothing, if the interface works or works again.
    fn check_link(&mut self, now: Time) -> io::Result<()> {
        match self.link {
            Link::Working => Ok(()),
            Link::Broken { check_at, how } if now < check_at => Err(self.error(how)),
            Link::Broken { .. } => self.look_for_interface(now),
        }
    }

    /// Finds out what became of the interface, and takes up one that came back under the same name.
    fn look_for_interface(&mut self, now: Time) -> io::Result<()> {
        let how = match self.socket.interface(&self.name)? {
            Interface::Up { index } if index == self.index => None,
            Interface::Up { index } => {
                self.socket.bind(index)?;
                self.index = index;
                None
            }
            Interface::Down { .. } => Some(Broken::Down),
            Interface::Absent => Some(Broken::Gone),
        };
        match how {
            None => {
                self.link = Link::Working;
                Ok(())
            }
            Some(how) => {
                self.link = Link::Broken { check_at: now + CHECK_EVERY, how };
                Err(self.error(how))
            }
        }
    }

    /// Keeps those of the first `count` buffers that hold a frame we can use, moved to the front; returns how many.
    fn keep(&mut self, buffers: &mut [FrameBuf], count: usize) -> usize {
        let mut kept = 0;
        for slot in 0..count {
            let arrival = self.rx.arrival(slot);
            let frame = &mut buffers[slot];
            let len = arrival.len.saturating_sub(virtio::LEN);
            frame.set_len(len);
            let offload = virtio::parse(messages::received_header(frame), len);
            frame.offload = offload.unwrap_or_default();
            let tagged = match arrival.tag {
                None => Ok(()),
                Some(tag) => vlan::restore(frame, tag),
            };
            if offload.is_none() || arrival.fit == Fit::Cut || tagged.is_err() {
                self.counters.rx_missed += 1;
                continue;
            }
            self.counters.rx_frames += 1;
            self.counters.rx_bytes += frame.len() as u64;
            if kept != slot {
                buffers.swap(kept, slot);
            }
            kept += 1;
        }
        kept
    }

    /// Sends the messages loaded in the first `count` slots.
    fn transmit(&mut self, frames: &mut [FrameBuf], count: usize, now: Time) -> io::Result<()> {
        let mut done = 0;
        while done < count {
            let error = match self.tx.transmit(self.socket.as_fd(), frames, done..count) {
                Ok(sent) => {
                    self.counters.tx_frames += sent as u64;
                    self.counters.tx_bytes +=
                        (done..done + sent).map(|slot| self.tx.loaded_len(slot) as u64).sum::<u64>();
                    done += sent;
                    continue;
                }
                Err(error) => error,
            };
            match Trouble::of(&error) {
                Trouble::Again => {}
                Trouble::ThisFrame => {
                    self.counters.tx_dropped += 1;
                    done += 1;
                }
                Trouble::NotNow => {
                    self.counters.tx_dropped += (count - done) as u64;
                    return Ok(());
                }
                Trouble::Interface => {
                    self.counters.tx_dropped += (count - done) as u64;
                    return self.look_for_interface(now);
                }
                Trouble::Socket => {
                    self.counters.tx_dropped += (count - done) as u64;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Port for AfPacket {
    fn name(&self) -> &str {
        &self.name
    }

    fn recv(&mut self, batch: &mut Batch, now: Time) -> io::Result<usize> {
        self.check_link(now)?;
        let (mut total, mut refusals) = (0, 0);
        while batch.room() > 0 && refusals < REFUSALS_MAX {
            let free = batch.free_mut();
            let wanted = free.len().min(MESSAGES);
            match self.rx.receive(self.socket.as_fd(), &mut free[..wanted]) {
                Ok(got) => {
                    let kept = self.keep(free, got);
                    batch.extend(kept);
                    total += kept;
                    if got < wanted {
                        break;
                    }
                }
                Err(error) => match Trouble::of(&error) {
                    Trouble::NotNow => break,
                    Trouble::Again => {}
                    Trouble::ThisFrame => {
                        self.counters.rx_missed += 1;
                        refusals += 1;
                    }
                    Trouble::Interface => match self.look_for_interface(now) {
                        Err(error) if total == 0 => return Err(error),
                        // The frames in hand come first; the next call tells.
                        Err(_) => break,
                        // It was down for a moment and is back; do not ask for ever.
                        Ok(()) => refusals += 1,
                    },
                    Trouble::Socket if total == 0 => return Err(error),
                    Trouble::Socket => break,
                },
            }
        }
        Ok(total)
    }

    fn send(&mut self, batch: &mut Batch, which: &[u16], now: Time) -> io::Result<()> {
        if let Err(error) = self.check_link(now) {
            self.counters.tx_dropped += which.len() as u64;
            return Err(error);
        }
        let frames = batch.frames_mut();
        let mut left = which.len();
        for chunk in which.chunks(MESSAGES) {
            left -= chunk.len();
            let mut count = 0;
            for index in chunk {
                let Some(frame) = frames.get_mut(usize::from(*index)) else { continue };
                self.tx.load(count, frame);
                count += 1;
            }
            if let Err(error) = self.transmit(frames, count, now) {
                self.counters.tx_dropped += left as u64;
                return Err(error);
            }
        }
        Ok(())
    }

    fn readable(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn counters(&mut self) -> PortCounters {
        if let Ok(lost) = self.socket.lost() {
            self.counters.rx_missed += lost.0;
        }
        self.counters
    }
}
