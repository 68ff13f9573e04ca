//! Newcomers at a content service: a SYN is answered and forgotten; an acknowledgement that carries a good cookie makes a
//! connection.

use super::super::counters::Counter;
use super::super::flow_table::{Flow, Side};
use super::super::process::FlowKey;
use super::super::services::NOBODY;
use super::super::{Out, Plane, Verdict, tick};
use super::connection::{Connection, OWN_SCALE, Stage};
use super::cookie::{Ends, abilities};
use super::held::HELD_MAX;
use super::{CLIENT_SIDE, Packet, mark};
use crate::acm::rules::Content;
use crate::base::time::Time;
use crate::wire::build::{self, Link, Segment};
use crate::wire::frame::{Egress, FrameBuf};
use crate::wire::parse::{Ip, Parsed, Tcp, TcpFlags};
use crate::wire::tcp_options::{self, Options, Timestamps};

/// The least that is offered as a maximum segment size, whatever a real says: what every host takes.
const MSS_MIN: u16 = 536;

/// The largest segment the switch takes from a client: what fits Ethernet's 1,500 bytes over IPv4, and over IPv6.
pub(super) fn own_mss(ip: std::net::IpAddr) -> u16 {
    if ip.is_ipv4() { 1460 } else { 1440 }
}

impl Plane {
    /// A SYN that may come in: answered with a cookie. Nothing is remembered.
    #[allow(clippy::too_many_arguments)] // see Plane::forward
    pub(in crate::plane) fn answer_syn(
        &mut self,
        service: u32,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        syn: &Tcp,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let packet = Packet::new(frame, parsed, ip, syn);
        self.answer_with_cookie(service, &packet, now, out)
    }

    /// Offers what the switch and every real of the service have.
    pub(super) fn answer_with_cookie(
        &mut self,
        service: u32,
        packet: &Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let reals = self.services.service_mut(service).offer();
        let (ip, syn, options) = (packet.ip, &packet.tcp, &packet.options);
        let (from, to) = ((ip.dst, syn.dst_port).into(), (ip.src, syn.src_port).into());
        let ends = Ends { client: to_endpoint(to), service: to_endpoint(from) };
        let cookies = &self.splices.cookies;
        // A SYN's window is never scaled, and the rest of the options need timestamps to be remembered by.
        let (scale, sack) = (options.scale.filter(|_| reals.scale), options.sack_permitted && reals.sack);
        let timestamps = options
            .timestamps
            .filter(|_| reals.timestamps)
            .map(|theirs| Timestamps { value: cookies.stamp(&ends, scale, sack, now), echo: theirs.value });
        let has_clock = timestamps.is_some();
        let offered = tcp_options::write(&Options {
            mss: Some(own_mss(ip.src).min(reals.mss.max(MSS_MIN))),
            scale: scale.filter(|_| has_clock).map(|_| OWN_SCALE),
            sack_permitted: sack && has_clock,
            timestamps,
            has_sack: false,
        });
        let segment = Segment {
            from,
            to,
            seq: cookies.make(&ends, syn.seq, options.mss, now),
            ack: syn.seq + 1,
            flags: TcpFlags::SYN | TcpFlags::ACK,
            window: HELD_MAX as u16,
            mss: None,
            payload: &[],
        };
        let link = Link { src: self.config.mac, dst: packet.parsed.src_mac };
        let Some(answer) = out.frames.next_free() else {
            self.counters.add(Counter::OutFull);
            return Verdict::Dropped(Counter::OutFull);
        };
        let built = build::tcp_with(answer, link, &segment, offered.bytes());
        answer.egress = if built { Egress::Port(packet.frame.ingress) } else { Egress::None };
        self.counters.add(Counter::CookieSent);
        Verdict::Answered
    }

    /// Whether a segment of a connection that is over begins another one on the same ends.
    pub(super) fn is_new_client(&self, connection: &Connection, packet: &Packet<'_>, now: Time) -> bool {
        let Packet { tcp, .. } = packet;
        let is_answer = tcp.flags.contains(TcpFlags::ACK) && !tcp.flags.intersects(TcpFlags::SYN | TcpFlags::RST);
        // Again the one that began the connection that is over is not meant.
        is_answer
            && (tcp.seq, tcp.ack) != connection.first
            && self.splices.cookies.read(&connection.ends, tcp.seq - 1, tcp.ack - 1, now).is_some()
    }

    /// A segment for a content service that belongs to no connection and is no SYN: with a good cookie it makes one.
    #[allow(clippy::too_many_arguments)] // see Plane::forward
    pub(in crate::plane) fn accept(
        &mut self,
        service: u32,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        tcp: &Tcp,
        (key, client_hash): (&FlowKey, u64),
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        debug_assert!(key.side == Side::Client);
        let mut packet = Packet::new(frame, parsed, ip, tcp);
        if !tcp.flags.contains(TcpFlags::ACK) || tcp.flags.intersects(TcpFlags::SYN | TcpFlags::RST) {
            return Verdict::Dropped(Counter::NoFlow);
        }
        let ends = Ends { client: key.client, service: key.other };
        let Some(mss) = self.splices.cookies.read(&ends, tcp.seq - 1, tcp.ack - 1, now) else {
            return Verdict::Dropped(Counter::Cookie);
        };
        if let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        let mut flow = Flow::new(key.client, key.protocol, service, NOBODY, tick(now));
        flow.seen_from(parsed.src_mac, packet.frame.ingress);
        let Some(place) = self.reserve_place(out) else {
            self.services.service_mut(service).refused += 1;
            return Verdict::Dropped(Counter::ContentFull);
        };
        mark(&mut flow, place, CLIENT_SIDE);
        let Some(id) = self.insert_one(flow, client_hash, out) else {
            self.splices.release(place, 0);
            self.services.service_mut(service).refused += 1;
            return Verdict::Dropped(Counter::FlowTableFull);
        };
        self.services.hold_client(service);
        self.counters.add(Counter::ContentAccepted);
        let clocks = packet.options.timestamps;
        let abilities = abilities(mss, clocks.map(|clocks| clocks.echo));
        let mut connection = Box::new(Connection {
            place,
            is_tls: self.services.service(service).row.content == Content::Tls,
            first: (tcp.seq, tcp.ack),
            ends,
            service,
            flow: id,
            stage: Stage::Head,
            gone: None,
            abilities,
            client_next: tcp.seq,
            passed: tcp.seq,
            client_acked: tcp.seq,
            server_next: tcp.ack,
            server_acked: tcp.ack,
            client_window: u32::from(tcp.window) << abilities.scale.unwrap_or(0),
            client_fin: false,
            server_fin: false,
            client_clock: clocks.map_or(0, |clocks| clocks.value),
            own_clock: clocks.map_or(0, |clocks| clocks.echo),
            legs: Vec::new(),
            active: None,
            next_leg: 0,
            held: None,
            counted: 0,
            sent: tcp.seq,
            head: None,
            watch: None,
            pending: None,
            persist: None,
            answer: None,
            toss: self.coins.u64(..),
            seen: now,
            head_due: Some(now + self.splices.config.head_deadline),
            resend_at: None,
            tries: 0,
            armed: Time::NEVER,
        });
        let verdict = self.client_says(&mut connection, &mut packet, now, out);
        self.settle(connection, now, out);
        verdict
    }

    /// A place for a connection; one that is over makes room if it must.
    fn reserve_place(&mut self, out: &mut Out) -> Option<u32> {
        if let Some(place) = self.splices.reserve() {
            return Some(place);
        }
        self.evict_closed(out).then(|| self.splices.reserve())?
    }
}

fn to_endpoint(addr: std::net::SocketAddr) -> super::super::flow_table::Endpoint {
    addr.into()
}
