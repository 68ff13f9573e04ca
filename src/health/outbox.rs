//! The frames the checks send: built here, waiting here until [`Checks::poll`](super::Checks::poll) hands them over.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::base::addr::Mac;
use crate::base::seq::Seq;
use crate::wire::build::{self, Link, Segment};
use crate::wire::frame::FrameBuf;
use crate::wire::parse::{Arp, ArpOp, TcpFlags};
use crate::wire::tcp_options::{self, Options, Timestamps};

use super::host::EchoAsked;

/// Every frame built here is far shorter; frames of HTTP conversations come from smoltcp.
const SCRATCH: usize = 256;
/// Frames waiting at most. At the bound: the frame is dropped, as on a congested wire, and its check retries.
const WAITING_MAX: usize = 65_536;
/// What a SYN says we could receive. We never do: the handshake is not completed.
const SYN_WINDOW: u16 = 1024;

/// Frames on their way out, and whose they are.
#[derive(Debug)]
pub(super) struct Outbox {
    mac: Mac,
    addresses: Vec<IpAddr>,
    scratch: FrameBuf,
    /// Frames, oldest first.
    pub queue: VecDeque<Vec<u8>>,
}

impl Outbox {
    /// For a switch with this link address and these IP addresses.
    pub(super) fn new(mac: Mac, addresses: Vec<IpAddr>) -> Outbox {
        Outbox { mac, addresses, scratch: FrameBuf::with_capacity(SCRATCH), queue: VecDeque::new() }
    }

    /// The switch's link address.
    pub(super) fn mac(&self) -> Mac {
        self.mac
    }

    /// True for the switch's own addresses.
    pub(super) fn is_own(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&ip)
    }

    /// The own address to speak to `to` from: the one that shares the longest prefix with it, since that is the
    /// one most probably on its network. `None` without an address of its family.
    pub(super) fn own_address(&self, to: Ipv4Addr) -> Option<Ipv4Addr> {
        let own = self.addresses.iter().filter_map(|ip| match ip {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        own.min_by_key(|own| own.to_bits() ^ to.to_bits())
    }

    /// Asks who has `host`: the station `only`, or everyone.
    pub(super) fn arp_request(&mut self, own: Ipv4Addr, host: Ipv4Addr, only: Option<Mac>) {
        let arp =
            Arp { op: ArpOp::Request, sender_mac: self.mac, sender_ip: own, target_mac: Mac::ZERO, target_ip: host };
        let link = Link { src: self.mac, dst: only.unwrap_or(Mac::BROADCAST) };
        let built = build::arp(&mut self.scratch, link, &arp);
        self.push(built);
    }

    /// Sends an echo request.
    pub(super) fn echo_request(&mut self, own: Ipv4Addr, host: Ipv4Addr, mac: Mac, asked: &EchoAsked) {
        let link = Link { src: self.mac, dst: mac };
        let (from, to) = (own.into(), host.into());
        let built = build::echo_request(&mut self.scratch, link, from, to, asked.id, asked.seq, &asked.nonce);
        self.push(built);
    }

    /// Sends a SYN that offers everything, so that the answer says what the real has.
    pub(super) fn syn(&mut self, from: SocketAddr, to: SocketAddr, mac: Mac, isn: Seq) {
        let offered = tcp_options::write(&Options {
            mss: Some(1460),
            scale: Some(0),
            sack_permitted: true,
            // No connection comes of it, so any clock will do.
            timestamps: Some(Timestamps { value: isn.0, echo: 0 }),
            has_sack: false,
        });
        let (flags, window) = (TcpFlags::SYN, SYN_WINDOW);
        let syn = Segment { from, to, seq: isn, ack: Seq(0), flags, window, mss: None, payload: &[] };
        self.segment(mac, &syn, offered.bytes());
    }

    /// Sends the RST that answers a segment with this ACK number (RFC 9293, section 3.10.7.1).
    pub(super) fn reset(&mut self, from: SocketAddr, to: SocketAddr, mac: Mac, seq: Seq) {
        let flags = TcpFlags::RST;
        let rst = Segment { from, to, seq, ack: Seq(0), flags, window: 0, mss: None, payload: &[] };
        self.segment(mac, &rst, &[]);
    }

    /// Sends an empty datagram.
    pub(super) fn datagram(&mut self, from: SocketAddr, to: SocketAddr, mac: Mac) {
        let link = Link { src: self.mac, dst: mac };
        let built = build::udp(&mut self.scratch, link, from, to, &[]);
        self.push(built);
    }

    fn segment(&mut self, mac: Mac, segment: &Segment<'_>, options: &[u8]) {
        let link = Link { src: self.mac, dst: mac };
        let built = build::tcp_with(&mut self.scratch, link, segment, options);
        self.push(built);
    }

    fn push(&mut self, built: bool) {
        debug_assert!(built, "a frame did not fit into {SCRATCH} bytes");
        if built && self.queue.len() < WAITING_MAX {
            self.queue.push_back(self.scratch.bytes().to_vec());
        }
    }
}
