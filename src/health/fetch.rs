//! One HTTP check's conversation: a TCP connection in user space (smoltcp) over two queues of frames.
//!
//! In: frames of exactly this connection, and the time. Out: frames to send, when to be called again, and the
//! judgement. It lives for one check only, and its connection is reset at the end, so that a check leaves no
//! TIME-WAIT behind at either side. Not here: what is asked and expected (`http.rs`), and how long it may take
//! (`steps.rs`).
//!
//! smoltcp retransmits after one second at the earliest, so with a timeout of a second a lost segment fails this one check;
//! `fall` is there for that.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddrV4;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, HardwareAddress,
    IpCidr,
};

use crate::acm::words::HttpCheck;
use crate::base::addr::Mac;
use crate::base::time::Time;

use super::http::{self, Judgement, RESPONSE_MAX, Stream};
use super::reason::HttpFailure;

/// Receive buffer, and with it the window a server may fill unread.
const RECEIVE_BUFFER: usize = 8 * 1024;
/// Ethernet without its checksum: shorter frames are padded.
const SHORTEST: usize = 60;

/// Who talks to whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// The switch's link address.
    pub own_mac: Mac,
    /// The switch's end.
    pub own: SocketAddrV4,
    /// The real's link address.
    pub real_mac: Mac,
    /// The real's end.
    pub real: SocketAddrV4,
}

/// How a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Call again at this time, if any, or when a frame came.
    Waiting(Option<Time>),
    /// It is over: passed, or why not.
    Over(Result<(), HttpFailure>),
}

/// A conversation.
pub(super) struct Fetch {
    ends: Ends,
    interface: Interface,
    sockets: SocketSet<'static>,
    tcp: SocketHandle,
    queues: Queues,
    /// What of the request was not given to TCP yet.
    request: Vec<u8>,
    response: Vec<u8>,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("ends", &self.ends).field("response", &self.response.len()).finish()
    }
}

impl Fetch {
    /// Opens the connection; the first [`Fetch::turn`] sends its SYN. `seed` makes the initial sequence number.
    pub(super) fn open(ends: Ends, check: &HttpCheck, seed: u64, now: Time) -> Fetch {
        let mut queues = Queues::default();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(ends.own_mac.0)));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut queues, instant(now));
        interface.update_ip_addrs(|addresses| {
            // Prefix 0: every real is on the link, since a real's address was resolved by ARP. Room for one is certain.
            let _ = addresses.push(IpCidr::new((*ends.own.ip()).into(), 0));
        });
        let request = http::request(check, ends.real.into());
        let mut socket = tcp::Socket::new(
            tcp::SocketBuffer::new(vec![0; RECEIVE_BUFFER]),
            tcp::SocketBuffer::new(vec![0; request.len()]),
        );
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        // Fails only for unspecified addresses and ports, which the target's checks exclude; the socket is then
        // closed, and the first turn says so.
        let _ = socket.connect(interface.context(), (*ends.real.ip(), ends.real.port()), ends.own.port());
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let tcp = sockets.add(socket);
        Fetch { ends, interface, sockets, tcp, queues, request, response: Vec::new() }
    }

    /// Takes a frame of this connection; [`Fetch::turn`] afterwards.
    pub(super) fn receive(&mut self, frame: &[u8]) {
        self.queues.inbound.push_back(frame.to_vec());
    }

    /// Does what can be done now.
    pub(super) fn turn(&mut self, check: &HttpCheck, now: Time, frames: &mut VecDeque<Vec<u8>>) -> Progress {
        self.exchange(now, frames);
        let socket = self.sockets.get_mut::<tcp::Socket>(self.tcp);
        if socket.may_send() && !self.request.is_empty() {
            let sent = socket.send_slice(&self.request).unwrap_or(0);
            self.request.drain(..sent);
        }
        while socket.can_recv() && self.response.len() < RESPONSE_MAX {
            let room = RESPONSE_MAX - self.response.len();
            let response = &mut self.response;
            let taken = socket.recv(|bytes| {
                let taken = bytes.len().min(room);
                response.extend_from_slice(&bytes[..taken]);
                (taken, taken)
            });
            if !matches!(taken, Ok(1..)) {
                break;
            }
        }
        let handshake = matches!(socket.state(), tcp::State::SynSent | tcp::State::SynReceived);
        let ended = !handshake && !socket.may_recv() || self.response.len() >= RESPONSE_MAX;
        let stream = if ended { Stream::Ended } else { Stream::Open };
        match http::judge(&self.response, stream, check) {
            Judgement::Undecided => {
                self.exchange(now, frames);
                let at = self.interface.poll_at(instant(now), &self.sockets);
                Progress::Waiting(at.map(|at| Time::from_micros(at.total_micros().max(0) as u64)))
            }
            Judgement::Pass => self.over(Ok(()), now, frames),
            Judgement::Fail(failure) => self.over(Err(failure), now, frames),
        }
    }

    /// Time ran out: resets the connection and says what was missing.
    pub(super) fn give_up(&mut self, now: Time, frames: &mut VecDeque<Vec<u8>>) -> HttpFailure {
        self.abort(now, frames);
        if self.response.is_empty() { HttpFailure::NoAnswer } else { HttpFailure::Unfinished }
    }

    /// Resets the connection, if there is one.
    pub(super) fn abort(&mut self, now: Time, frames: &mut VecDeque<Vec<u8>>) {
        self.sockets.get_mut::<tcp::Socket>(self.tcp).abort();
        self.exchange(now, frames);
    }

    fn over(&mut self, result: Result<(), HttpFailure>, now: Time, frames: &mut VecDeque<Vec<u8>>) -> Progress {
        self.abort(now, frames);
        Progress::Over(result)
    }

    /// Lets smoltcp work, answering its ARP questions from what is known, until it is still.
    fn exchange(&mut self, now: Time, frames: &mut VecDeque<Vec<u8>>) {
        // At most two rounds matter (ARP, then the segment); a bound, because this must end whatever smoltcp does.
        for _ in 0..4 {
            self.interface.poll(instant(now), &mut self.queues, &mut self.sockets);
            while let Some(mut frame) = self.queues.outbound.pop_front() {
                match self.arp_answer(&frame) {
                    Some(reply) => self.queues.inbound.push_back(reply),
                    None => {
                        frame.resize(frame.len().max(SHORTEST), 0);
                        frames.push_back(frame);
                    }
                }
            }
            if self.queues.inbound.is_empty() {
                return;
            }
        }
    }

    /// If `frame` is an ARP request, the reply for the real: its address was resolved before this step, by
    /// questions whose answers are judged more strictly than smoltcp does.
    fn arp_answer(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        if ethernet.ethertype() != EthernetProtocol::Arp {
            return None;
        }
        let (own, real) = (EthernetAddress(self.ends.own_mac.0), EthernetAddress(self.ends.real_mac.0));
        let arp = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: real,
            source_protocol_addr: *self.ends.real.ip(),
            target_hardware_addr: own,
            target_protocol_addr: *self.ends.own.ip(),
        };
        let ethernet = EthernetRepr { src_addr: real, dst_addr: own, ethertype: EthernetProtocol::Arp };
        let mut reply = vec![0; ethernet.buffer_len() + arp.buffer_len()];
        ethernet.emit(&mut EthernetFrame::new_unchecked(&mut reply));
        arp.emit(&mut ArpPacket::new_unchecked(&mut reply[ethernet.buffer_len()..]));
        Some(reply)
    }
}

/// smoltcp counts microseconds in an `i64`; 292,000 years are enough.
fn instant(time: Time) -> Instant {
    Instant::from_micros(i64::try_from(time.micros()).unwrap_or(i64::MAX))
}

/// A device that is two queues.
#[derive(Debug, Default)]
struct Queues {
    inbound: VecDeque<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
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
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// A frame that came.
struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for a frame to go.
struct Sending<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push_back(frame);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    fn ends() -> Ends {
        Ends {
            own_mac: Mac([2, 0, 0, 0, 0, 1]),
            own: "10.0.0.2:40000".parse().unwrap(),
            real_mac: Mac([2, 0, 0, 0, 0, 2]),
            real: "192.0.2.9:80".parse().unwrap(),
        }
    }

    fn check() -> HttpCheck {
        HttpCheck { path: "/".into(), host: None, status: 200, contains: Some("ready".into()) }
    }

    /// Sequence number of our SYN.
    fn isn(frames: &VecDeque<Vec<u8>>) -> u32 {
        let packet = SlicedPacket::from_ethernet(frames.front().expect("a SYN")).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("not TCP") };
        assert!(tcp.syn() && !tcp.ack());
        tcp.sequence_number()
    }

    #[test]
    fn the_first_frame_is_a_syn_with_a_seeded_number() {
        let numbers: Vec<_> = [1, 2, 1]
            .map(|seed| {
                let mut frames = VecDeque::new();
                let mut fetch = Fetch::open(ends(), &check(), seed, Time::from_secs(9));
                assert!(matches!(fetch.turn(&check(), Time::from_secs(9), &mut frames), Progress::Waiting(Some(_))));
                assert_eq!(frames.len(), 1, "and no ARP");
                isn(&frames)
            })
            .into();
        assert!(numbers[0] == numbers[2] && numbers[0] != numbers[1], "{numbers:?}");
    }

    proptest! {
        /// The real may send any segments within its connection.
        #[test]
        fn any_segments(
            seed in any::<u64>(),
            segments in prop::collection::vec((any::<u8>(), -3i32..2000, -3i32..200, any::<u16>(),
                prop::collection::vec(any::<u8>(), 0..90), prop::collection::vec(any::<u8>(), 0..40)), 1..40),
        ) {
            let (ends, check, mut frames) = (ends(), check(), VecDeque::new());
            let mut fetch = Fetch::open(ends, &check, seed, Time::ZERO);
            let _ = fetch.turn(&check, Time::ZERO, &mut frames);
            let ours = isn(&frames);
            for (ms, (flags, seq, ack, window, payload, options)) in segments.into_iter().enumerate() {
                let (seq, ack) = (seq as u32, ours.wrapping_add(ack as u32));
                let mut tcp = etherparse::TcpHeader::new(80, 40_000, seq, window);
                tcp.acknowledgment_number = ack;
                // The first is a handshake that works, so that the rest meets an open connection.
                let flags = if ms == 0 { 0x12 } else { flags };
                (tcp.fin, tcp.syn, tcp.rst) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0 && flags & 0x80 != 0);
                (tcp.psh, tcp.ack, tcp.urg) = (flags & 8 != 0, flags & 16 != 0, flags & 32 != 0);
                if ms == 0 {
                    (tcp.sequence_number, tcp.acknowledgment_number) = (u32::MAX, ours.wrapping_add(1));
                }
                if options.len() % 4 == 0 {
                    let _ = tcp.set_options_raw(&options);
                }
                let mut frame = Vec::new();
                PacketBuilder::ethernet2(ends.real_mac.0, ends.own_mac.0)
                    .ipv4(ends.real.ip().octets(), ends.own.ip().octets(), 64)
                    .tcp_header(tcp)
                    .write(&mut frame, &payload)
                    .unwrap();
                fetch.receive(&frame);
                let now = Time::from_millis(ms as u64);
                if let Progress::Over(result) = fetch.turn(&check, now, &mut frames) {
                    prop_assert!(result.is_err() || fetch.response.windows(5).any(|w| w == b"ready"));
                    break;
                }
                prop_assert!(fetch.response.len() <= RESPONSE_MAX && frames.len() < 1000);
            }
            fetch.give_up(Time::from_secs(1), &mut frames);
            prop_assert!(frames.iter().all(|frame| (60..=1514).contains(&frame.len())));
        }
    }
}
