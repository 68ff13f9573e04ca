//! A machine with a TCP of its own: smoltcp behind two queues of frames.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use acm_switch::base::addr::Mac;
use acm_switch::base::time::Time;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use super::narrow::{self, TooBig};
use super::segment::{ACK, FIN, Parts, RST, SYN, be16, be32, nonsense, parts, seal};

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
    /// It knows of window scale.
    pub(crate) scale: bool,
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
    ip: [u8; 4],
    /// The largest packet that fits its path, as far as it has heard.
    path_max: usize,
    /// The byte behind the last one sent, of each connection.
    sent: BTreeMap<Way, u32>,
    /// Nonsense that it was sent.
    pub(crate) wrong: Vec<String>,
}

impl Host {
    pub(crate) fn new(mac: Mac, ip: Ipv4Addr, manner: Manner, now: Time) -> Host {
        let mut queues = Queues { inbound: VecDeque::new(), outbound: VecDeque::new(), frame_max: manner.frame_max };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        config.random_seed = seed_for(manner.first_isn);
        let mut interface = Interface::new(config, &mut queues, instant(now));
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(ip.into(), 8)).expect("room for one"));
        Host {
            interface,
            sockets: SocketSet::new(vec![]),
            queues,
            manner,
            ip: ip.octets(),
            path_max: 1500,
            sent: BTreeMap::new(),
            wrong: vec![],
        }
    }

    fn socket(&self) -> tcp::Socket<'static> {
        let buffer = |bytes| tcp::SocketBuffer::new(vec![0; bytes]);
        let mut socket = tcp::Socket::new(buffer(self.manner.receive), buffer(self.manner.send));
        socket.set_nagle_enabled(false);
        // A connection whose other end is gone ends by itself. And probes, because smoltcp does not ask again when a window
        // that was closed has opened and the news were lost.
        socket.set_timeout(Some(Duration::from_secs(900)));
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

    pub(crate) fn hear(&mut self, mut frame: Vec<u8>, now: Time) {
        if let Some(error) = narrow::read(&frame) {
            return self.hear_too_big(error);
        }
        let clock = self.manner.timestamps.then(|| self.clock(now));
        self.wrong.extend(nonsense(&frame, clock));
        self.open_closed_window(&mut frame);
        if !self.manner.scale {
            forget_scale(&mut frame);
        }
        match split_fin(&frame) {
            Some(two) => self.queues.inbound.extend(two),
            None => self.queues.inbound.push_back(frame),
        }
    }

    /// What it sent was too big for a router. It must be something that it did send.
    fn hear_too_big(&mut self, error: TooBig) {
        let way = (u32::from_be_bytes(error.to.0), error.to.1, error.from.1);
        let next = self.sent.get(&way).filter(|_| error.from.0 == self.ip);
        if next.is_none_or(|next| !(1..1 << 20).contains(&next.wrapping_sub(error.seq))) {
            self.wrong.push(format!("{error:?}, but {next:?} is next"));
        }
        self.path_max = self.path_max.min(error.mtu);
    }

    /// Lets TCP work.
    pub(crate) fn work(&mut self, now: Time) {
        CLOCK.set(self.clock(now));
        self.interface.poll(instant(now), &mut self.queues, &mut self.sockets);
    }

    /// What it has sent.
    pub(crate) fn sent(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let (sent, scale, path_max) = (&mut self.sent, self.manner.scale, self.path_max);
        self.queues
            .outbound
            .drain(..)
            .map(move |mut frame| {
                if !scale {
                    forget_scale(&mut frame);
                }
                frame
            })
            .flat_map(move |frame| narrow::fitted(frame, path_max))
            .inspect(|frame| {
                let Some(at) = parts(frame) else { return };
                let length = (at.end - at.payload) as u32 + u32::from(at.flags & (SYN | FIN) != 0);
                let end = be32(frame, at.tcp + 4).wrapping_add(length);
                let next = sent.entry(way(frame, at, 30, 2)).or_insert(end);
                if at.flags & SYN != 0 || end.wrapping_sub(*next) < 1 << 31 {
                    *next = end;
                }
            })
    }

    /// A window that closes on data under way is shown ajar. smoltcp would probe it, and when it opens again would have
    /// forgotten that what was under way is to be sent again: it stops for ever, or sends a keep-alive's byte in its place.
    fn open_closed_window(&self, frame: &mut Vec<u8>) {
        let Some(at) = parts(frame).filter(|at| at.flags & (SYN | RST | ACK) == ACK) else { return };
        let next = self.sent.get(&way(frame, at, 26, 0));
        let is_under_way = next.is_some_and(|next| (1..1 << 31).contains(&next.wrapping_sub(be32(frame, at.tcp + 8))));
        if is_under_way && be16(frame, at.tcp + 14) == 0 {
            frame.truncate(at.end);
            frame[at.tcp + 15] = 1;
            seal(frame, at.tcp);
        }
    }

    /// When TCP wants to work again.
    pub(crate) fn wake(&mut self, now: Time) -> Option<Time> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(Time::from_micros(at.total_micros().max(0) as u64))
    }
}

/// A peer's address and port, and the host's port.
type Way = (u32, u16, u16);

/// The way of a segment, whose peer's address and port are at these places; the host's port is at the other.
fn way(frame: &[u8], at: Parts, address: usize, port: usize) -> Way {
    (be32(frame, address), be16(frame, at.tcp + port), be16(frame, at.tcp + 2 - port))
}

/// Takes the window scale out of a SYN, as if nobody had heard of it (RFC 7323, section 2.2). smoltcp always offers one.
fn forget_scale(frame: &mut [u8]) {
    let Some(at) = parts(frame).filter(|at| at.flags & SYN != 0) else { return };
    let mut option = at.tcp + 20;
    while option < at.payload {
        match frame[option] {
            0 => break,
            3 => frame[option..option + 3].fill(1),
            _ => {}
        }
        option += if frame[option] == 1 { 1 } else { usize::from(frame[option + 1]).max(2) };
    }
    seal(frame, at.tcp);
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
