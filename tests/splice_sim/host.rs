//! A machine with a TCP of its own: smoltcp behind two queues of frames.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::Ipv4Addr;

use acm_switch::base::addr::Mac;
use acm_switch::base::time::Time;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use super::segment::{ACK, FIN, RST, be16, be32, nonsense, parts, seal};

thread_local! {
    /// What the clock of the host at work shows; smoltcp asks a function without arguments.
    static CLOCK: Cell<u32> = const { Cell::new(0) };
}

/// How a host's connections are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// The largest frame it sends.
    pub(crate) frame_max: usize,
    /// Bytes it takes in before the application reads them; above 65,535 it scales its window.
    pub(crate) receive: usize,
    pub(crate) send: usize,
    pub(crate) timestamps: bool,
    /// What its clock shows at time 0.
    pub(crate) clock: u32,
    /// The initial sequence number of its first connection.
    pub(crate) first_isn: u32,
}

pub(crate) struct Host {
    interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    queues: Queues,
    manner: Manner,
    /// Nonsense that it was sent.
    pub(crate) wrong: Vec<String>,
    pub(crate) has_heard_reset: bool,
}

impl Host {
    pub(crate) fn new(mac: Mac, ip: Ipv4Addr, manner: Manner, now: Time) -> Host {
        let mut queues = Queues { inbound: VecDeque::new(), outbound: VecDeque::new(), frame_max: manner.frame_max };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        config.random_seed = seed_for(manner.first_isn);
        let mut interface = Interface::new(config, &mut queues, instant(now));
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(ip.into(), 8)).expect("room for one"));
        Host { interface, sockets: SocketSet::new(vec![]), queues, manner, wrong: vec![], has_heard_reset: false }
    }

    fn socket(&self) -> tcp::Socket<'static> {
        let buffer = |bytes| tcp::SocketBuffer::new(vec![0; bytes]);
        let mut socket = tcp::Socket::new(buffer(self.manner.receive), buffer(self.manner.send));
        socket.set_nagle_enabled(false);
        // A connection whose other end is gone ends by itself. And probes, because smoltcp does not ask again when a window
        // that was closed has opened and the news were lost.
        socket.set_timeout(Some(Duration::from_secs(300)));
        socket.set_keep_alive(Some(Duration::from_secs(15)));
        if self.manner.timestamps {
            socket.set_tsval_generator(Some(|| CLOCK.get()));
        }
        socket
    }

    pub(crate) fn listen(&mut self, port: u16) -> SocketHandle {
        let mut socket = self.socket();
        socket.listen(port).expect("a new socket and a port");
        self.sockets.add(socket)
    }

    pub(crate) fn connect(&mut self, to: (Ipv4Addr, u16), from: u16) -> SocketHandle {
        let mut socket = self.socket();
        socket.connect(self.interface.context(), to, from).expect("addresses and ports that are some");
        self.sockets.add(socket)
    }

    pub(crate) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn clock(&self, now: Time) -> u32 {
        self.manner.clock.wrapping_add(now.millis() as u32)
    }

    pub(crate) fn hear(&mut self, frame: Vec<u8>, now: Time) {
        let clock = self.manner.timestamps.then(|| self.clock(now));
        self.wrong.extend(nonsense(&frame, clock));
        self.has_heard_reset |= parts(&frame).is_some_and(|at| at.flags & RST != 0);
        if is_closed_window(&frame) {
            return;
        }
        match split_fin(&frame) {
            Some(two) => self.queues.inbound.extend(two),
            None => self.queues.inbound.push_back(frame),
        }
    }

    /// Lets TCP work.
    pub(crate) fn work(&mut self, now: Time) {
        CLOCK.set(self.clock(now));
        self.interface.poll(instant(now), &mut self.queues, &mut self.sockets);
    }

    /// What it has sent.
    pub(crate) fn sent(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.queues.outbound.drain(..).map(bare_probe)
    }

    /// When TCP wants to work again.
    pub(crate) fn wake(&mut self, now: Time) -> Option<Time> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(Time::from_micros(at.total_micros().max(0) as u64))
    }
}

/// A bare acknowledgement that closes the window. smoltcp believes one that was overtaken by a later one, and then never asks
/// again whether the window is open, so it does not hear them: it sends, and sends again what was not taken.
fn is_closed_window(frame: &[u8]) -> bool {
    parts(frame).is_some_and(|at| at.flags == ACK && at.payload == at.end && be16(frame, at.tcp + 14) == 0)
}

/// smoltcp probes with a byte of nothing, which it sends even where real bytes are under way; Linux's probes are empty.
fn bare_probe(mut frame: Vec<u8>) -> Vec<u8> {
    if let Some(at) = parts(&frame).filter(|at| at.flags == ACK && frame[at.payload..at.end] == [0]) {
        frame.truncate(at.payload);
        seal(&mut frame, at.tcp);
    }
    frame
}

/// A segment with data and FIN as two. smoltcp never sees a FIN whose data it had before, out of order.
fn split_fin(frame: &[u8]) -> Option<[Vec<u8>; 2]> {
    let at = parts(frame).filter(|at| at.flags & FIN != 0 && at.payload < at.end)?;
    let mut data = frame[..at.end].to_vec();
    data[at.tcp + 13] &= !FIN;
    seal(&mut data, at.tcp);
    let mut fin = frame[..at.payload].to_vec();
    let seq = be32(frame, at.tcp + 4).wrapping_add((at.end - at.payload) as u32);
    fin[at.tcp + 4..at.tcp + 8].copy_from_slice(&seq.to_be_bytes());
    seal(&mut fin, at.tcp);
    Some([data, fin])
}

/// The seed by which smoltcp's generator (a multiplicative congruential one; its output are bits 29 to 60 where the top
/// three are zero) gives `isn` as its second number. The first becomes an IP identification.
fn seed_for(isn: u32) -> u64 {
    const M: u64 = 0xbb2e_fcec_3c39_611d;
    const A: u64 = 0x7590_ef39;
    // Newton: each step doubles the bits that are right; M is odd, so three are to begin with.
    let inverse = (0..5).fold(M, |x, _| x.wrapping_mul(2u64.wrapping_sub(M.wrapping_mul(x))));
    let before = |state: u64| state.wrapping_sub(A).wrapping_mul(inverse);
    before(before(u64::from(isn) << 29))
}

fn instant(time: Time) -> Instant {
    Instant::from_micros(time.micros() as i64)
}

/// A device that is two queues.
struct Queues {
    inbound: VecDeque<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
    frame_max: usize,
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.inbound.pop_front()?;
        Some((Received(frame), Sending(&mut self.outbound)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.outbound))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.frame_max;
        capabilities
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sending<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}
