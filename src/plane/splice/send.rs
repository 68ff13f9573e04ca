//! Segments of the switch's own, in a connection it splices: to the client in the servers' place, to a server in the
//! client's.

use super::super::counters::Counter;
use super::super::{Out, Plane};
use super::arrive::own_mss;
use super::connection::{Connection, Leg};
use crate::base::id::PortId;
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::wire::build::{self, Link, Segment};
use crate::wire::frame::Egress;
use crate::wire::parse::TcpFlags;
use crate::wire::tcp_options::{self, Options, Timestamps};

/// Bytes of timestamps in every segment.
pub(super) const CLOCKS: u16 = 12;

impl Plane {
    /// A segment to the client, acknowledging what may be acknowledged.
    pub(super) fn send_client(
        &mut self,
        connection: &mut Connection,
        (flags, seq, payload): (TcpFlags, Seq, &[u8]),
        now: Time,
        out: &mut Out,
    ) {
        let timestamps = connection.abilities.timestamps.then(|| {
            // From the first server on its clock rules, which need not run as ours does.
            let is_spliced = connection.legs.iter().any(|leg| leg.is_up && leg.timestamps);
            if !is_spliced {
                self.advance_clock(connection, now);
            }
            Timestamps { value: connection.own_clock, echo: connection.client_clock }
        });
        let edge = match connection.active().filter(|leg| leg.is_up) {
            Some(leg) => leg.acked - leg.delta + leg.window,
            None => connection.own_edge(),
        };
        let window = connection.window_to(edge, connection.client_acked);
        let segment = Segment {
            from: connection.ends.service.socket(),
            to: connection.ends.client.socket(),
            seq,
            ack: connection.client_acked,
            flags: flags | TcpFlags::ACK,
            window: connection.written_window(window),
            mss: None,
            payload,
        };
        let (link, port) = self.way_to_client(connection);
        self.send_segment(link, port, &segment, &Options { timestamps, ..Options::default() }, out);
    }

    /// Our own clock as this client sees it. No clock ever runs back.
    pub(super) fn advance_clock(&self, connection: &mut Connection, now: Time) {
        let clock = self.splices.cookies.clock(&connection.ends, now);
        if clock.wrapping_sub(connection.own_clock) < 1 << 31 {
            connection.own_clock = clock;
        }
    }

    /// A bare acknowledgement to the client of all that is held here.
    pub(super) fn acknowledge_client(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        let up_to = connection.owned();
        connection.client_acked = connection.client_acked.max(up_to);
        self.send_client(connection, (TcpFlags::ACK, connection.server_next, &[]), now, out);
        self.counters.add(Counter::ContentAck);
    }

    /// Tells the server in use what the client has acknowledged, if a segment that said so was not passed on.
    pub(super) fn acknowledge_server(&mut self, connection: &mut Connection, out: &mut Out) {
        let Some(leg) = connection.active().filter(|leg| leg.is_up) else { return };
        let heard = connection.heard_of(leg);
        if heard <= leg.told {
            return;
        }
        let leg = leg.clone();
        self.send_server(connection, &leg, (TcpFlags::ACK, leg.sent, &[]), out);
        if let Some(leg) = connection.active_mut() {
            leg.told = heard;
        }
    }

    /// A segment to a server, as the server counts.
    pub(super) fn send_server(
        &mut self,
        connection: &Connection,
        leg: &Leg,
        (flags, seq, payload): (TcpFlags, Seq, &[u8]),
        out: &mut Out,
    ) {
        let clocks = Timestamps { value: connection.client_clock, echo: leg.clock };
        let segment = Segment {
            ack: connection.heard_of(leg),
            flags: flags | TcpFlags::ACK,
            window: client_window(connection, leg),
            ..self.to_server(connection, leg, seq, payload)
        };
        let Some((link, port)) = self.way_to_server(connection, leg) else { return };
        let options = Options { timestamps: leg.timestamps.then_some(clocks), ..Options::default() };
        self.send_segment(link, port, &segment, &options, out);
    }

    /// The SYN to a server, offering what the client has.
    pub(super) fn send_syn(&mut self, connection: &Connection, leg: &Leg, out: &mut Out) {
        let abilities = &connection.abilities;
        let segment = Segment {
            flags: TcpFlags::SYN,
            window: u16::try_from(connection.client_window).unwrap_or(u16::MAX),
            ..self.to_server(connection, leg, leg.sent - 1, &[])
        };
        // A server without timestamps fills its segments, and ours must fit in as well.
        let has_clock = self.services.binding(leg.binding).has_clock == Some(true);
        let spared = if abilities.timestamps && !has_clock { CLOCKS } else { 0 };
        let options = Options {
            mss: Some(abilities.mss.min(own_mss(segment.to.ip())) - spared),
            scale: abilities.scale,
            sack_permitted: abilities.sack,
            timestamps: abilities.timestamps.then_some(Timestamps { value: connection.client_clock, echo: 0 }),
            has_sack: false,
        };
        let Some((link, port)) = self.way_to_server(connection, leg) else { return };
        self.send_segment(link, port, &segment, &options, out);
    }

    /// A RST to the client.
    pub(super) fn reset_client(&mut self, connection: &Connection, out: &mut Out) {
        let (link, port) = self.way_to_client(connection);
        let [first, second] = [connection.server_acked, connection.server_next];
        for seq in [Some(first), (second != first).then_some(second)].into_iter().flatten() {
            let segment = Segment {
                from: connection.ends.service.socket(),
                to: connection.ends.client.socket(),
                seq,
                ack: connection.client_next,
                flags: TcpFlags::RST | TcpFlags::ACK,
                window: 0,
                mss: None,
                payload: &[],
            };
            self.send_segment(link, port, &segment, &Options::default(), out);
            self.counters.add(Counter::ResetSent);
        }
    }

    /// A RST to a server: at its last acknowledgement and, if more was sent since, behind that.
    pub(super) fn reset_server(&mut self, connection: &Connection, leg: &Leg, out: &mut Out) {
        let Some((link, port)) = self.way_to_server(connection, leg) else { return };
        let [first, second] = [leg.acked, leg.sent];
        for seq in [Some(first), (second != first).then_some(second)].into_iter().flatten() {
            let flags = if leg.is_up { TcpFlags::RST | TcpFlags::ACK } else { TcpFlags::RST };
            let ack = if leg.is_up { leg.next } else { Seq(0) };
            let segment = Segment { flags, ack, ..self.to_server(connection, leg, seq, &[]) };
            self.send_segment(link, port, &segment, &Options::default(), out);
            self.counters.add(Counter::ResetSent);
        }
    }

    /// A RST to a server that answered a SYN with something else (RFC 9293, section 3.10.7.3).
    pub(super) fn refuse_server(&mut self, connection: &Connection, leg: &Leg, seq: Seq, out: &mut Out) {
        let Some((link, port)) = self.way_to_server(connection, leg) else { return };
        let segment = Segment { flags: TcpFlags::RST, ..self.to_server(connection, leg, seq, &[]) };
        self.send_segment(link, port, &segment, &Options::default(), out);
        self.counters.add(Counter::ResetSent);
    }

    fn to_server<'p>(&self, connection: &Connection, leg: &Leg, seq: Seq, payload: &'p [u8]) -> Segment<'p> {
        Segment {
            from: connection.ends.client.socket(),
            to: self.services.binding(leg.binding).socket,
            seq,
            ack: Seq(0),
            flags: TcpFlags::default(),
            window: 0,
            mss: None,
            payload,
        }
    }

    fn way_to_client(&self, connection: &Connection) -> (Link, PortId) {
        let whereabouts = self.flows.get(connection.flow).whereabouts();
        (Link { src: self.config.mac, dst: whereabouts.mac() }, whereabouts.port())
    }

    /// A server hears the client's own station: it answers to that, past us.
    fn way_to_server(&self, connection: &Connection, leg: &Leg) -> Option<(Link, PortId)> {
        let binding = self.services.binding(leg.binding);
        let client = self.flows.get(connection.flow).whereabouts().mac();
        Some((Link { src: client, dst: binding.mac? }, binding.port?))
    }

    fn send_segment(&mut self, link: Link, port: PortId, segment: &Segment<'_>, options: &Options, out: &mut Out) {
        let Some(frame) = out.frames.next_free() else {
            self.counters.add(Counter::OutFull);
            return;
        };
        let built = build::tcp_with(frame, link, segment, tcp_options::write(options).bytes());
        frame.egress = if built { Egress::Port(port) } else { Egress::None };
    }
}

/// The client's window as it is written into a segment to this server.
pub(super) fn client_window(connection: &Connection, leg: &Leg) -> u16 {
    let scale = match leg.scale {
        Some(_) => connection.abilities.scale.unwrap_or(0),
        None => 0,
    };
    u16::try_from(connection.window_for_server(connection.client_window) >> scale).unwrap_or(u16::MAX)
}

impl Connection {
    /// Up to where the client's bytes are the switch's own to deliver, and so may be acknowledged.
    fn owned(&self) -> Seq {
        let Some(held) = &self.held else {
            return match self.active {
                // Nothing passes by here then, so all that was taken was taken in.
                None => self.client_next,
                Some(_) => self.client_acked,
            };
        };
        match self.delivered() {
            Some(delivered) if delivered < held.start() => self.client_acked,
            _ => held.end(),
        }
    }

    /// What may be acknowledged to a server: of the one in use, all that the client has; of others, what they were told.
    pub(super) fn heard_of(&self, leg: &Leg) -> Seq {
        match self.active == Some(leg.id) {
            true => leg.shift.back(self.server_acked).max(leg.floor).max(leg.told),
            false => leg.told,
        }
    }

    /// The largest payload of a segment to a server.
    pub(super) fn server_mss(&self, leg: &Leg) -> usize {
        let mss = leg.mss.min(own_mss(self.ends.client.ip()));
        usize::from(mss.saturating_sub(if leg.timestamps { CLOCKS } else { 0 }).max(64))
    }

    /// The largest payload of a segment to the client.
    pub(super) fn client_mss(&self) -> usize {
        let mss = self.abilities.mss.min(own_mss(self.ends.client.ip()));
        usize::from(mss.saturating_sub(if self.abilities.timestamps { CLOCKS } else { 0 }).max(64))
    }
}
