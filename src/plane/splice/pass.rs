//! Segments that pass: translated in place. No allocation, no copy; offloads stay as they are.

use super::super::counters::Counter;
use super::super::flow_table::Side;
use super::super::forward::Rewrite;
use super::super::{Plane, Verdict};
use super::Packet;
use super::connection::{Connection, OWN_SCALE, Stage};
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::wire::frame::Egress;
use crate::wire::parse::TcpFlags;
use crate::wire::rewrite;
use crate::wire::tcp_options::{self, Options, Timestamps};

impl Plane {
    /// The client's segment to the server in use.
    pub(super) fn pass_to_server(&mut self, connection: &mut Connection, packet: &mut Packet<'_>) -> Verdict {
        let (scale, client_has_scale) = (connection.abilities.scale.unwrap_or(0), connection.abilities.scale.is_some());
        // After a FIN nothing is held back, and what follows is numbered behind it.
        let is_followed = matches!(connection.stage, Stage::Head | Stage::Connecting | Stage::Exchange);
        let passed = connection.passed;
        let is_reserved = connection.reserved() > 0;
        let client_window = connection.window_for_server(u32::from(packet.tcp.window) << scale);
        let Some(leg) = connection.active_mut().filter(|leg| leg.is_up) else { return Verdict::Held };
        let binding = self.services.binding(leg.binding);
        let (Some(mac), Some(port)) = (binding.mac, binding.port) else {
            return Verdict::Dropped(Counter::RealPortUnknown);
        };
        if port == packet.frame.ingress {
            return Verdict::Dropped(Counter::SameSegment);
        }
        let tcp = &packet.tcp;
        // An acknowledgement numbered behind what is held back for another request: this server has not seen so much.
        let is_bare = tcp.seq_len() == 0 && is_followed && tcp.seq > passed;
        let seq = if is_bare { passed } else { tcp.seq } + leg.delta;
        // Acknowledgements of what came before this server's time are nothing to it.
        let ack = leg.shift.back(tcp.ack).max(leg.floor);
        leg.told = leg.told.max(ack);
        leg.sent = leg.sent.max(seq + tcp.seq_len());
        let window = match (client_has_scale && leg.scale.is_none(), is_reserved) {
            (true, _) => u16::try_from(client_window).unwrap_or(u16::MAX),
            (false, true) => u16::try_from(client_window >> scale).unwrap_or(u16::MAX),
            (false, false) => tcp.window,
        };
        let leg = &*leg;
        rewrite::edit_tcp(packet.frame, packet.ip, |header| {
            set_numbers(header, seq, ack, window);
            let clocks = |clocks: Timestamps| {
                let echo = clocks.echo.wrapping_sub(leg.clock_delta);
                let is_its_own = echo.wrapping_sub(leg.clock_first) < 1 << 31;
                let echo = if is_its_own { echo } else { leg.clock_first };
                leg.timestamps.then_some(Timestamps { echo, ..clocks })
            };
            // While the client lacks a cookie's line but has what is behind it, that begins right at the acknowledgement, and
            // no block may (RFC 2018, section 3).
            let is_block = |edge: &Seq| leg.sack && *edge > leg.floor && !(is_reserved && *edge == ack);
            let edge = |edge: Seq| Some(leg.shift.back(edge)).filter(is_block);
            tcp_options::change(header, clocks, edge);
        });
        let rewrite =
            Rewrite { side: Side::Client, endpoint: binding.socket, dst_mac: Some(mac), src_mac: None, egress: port };
        rewrite.apply(packet.frame, packet.ip);
        packet.frame.egress = Egress::Port(port);
        Verdict::Forwarded
    }

    /// A server's segment to the client.
    pub(super) fn pass_to_client(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &mut Packet<'_>,
        now: Time,
    ) -> Verdict {
        let whereabouts = self.flows.get(connection.flow).whereabouts();
        if whereabouts.port() == packet.frame.ingress {
            return Verdict::Dropped(Counter::SameSegment);
        }
        let tcp = packet.tcp;
        let already = connection.client_acked;
        let Some(leg) = connection.leg_mut(id) else { return Verdict::Dropped(Counter::NoFlow) };
        leg.next = leg.next.max(tcp.seq + tcp.seq_len());
        let seq = leg.shift.forth(tcp.seq);
        let end = leg.shift.forth_end(tcp.seq + tcp.seq_len());
        // Never less than was acknowledged to the client before.
        let own = tcp.ack - leg.delta;
        let ack = own.max(already);
        let edge = own + (u32::from(tcp.window) << leg.scale.unwrap_or(0));
        let (clock_delta, delta, scale, has_clock) = (leg.clock_delta, leg.delta, leg.scale, leg.timestamps);
        let is_reset = tcp.flags.contains(TcpFlags::RST);
        let window = match scale {
            _ if is_reset => tcp.window,
            Some(OWN_SCALE) if own == ack && !connection.holds_back() && connection.abilities.scale.is_some() => {
                tcp.window
            }
            _ => connection.written_window(connection.window_to(edge, ack)),
        };
        let ack = if is_reset { own } else { ack };
        if !is_reset {
            connection.client_acked = ack;
            connection.server_next = connection.server_next.max(end);
        }
        let mut latest = connection.own_clock;
        rewrite::edit_tcp(packet.frame, packet.ip, |header| {
            set_numbers(header, seq, ack, window);
            let clocks = |clocks: Timestamps| {
                let value = clocks.value.wrapping_add(clock_delta);
                if value.wrapping_sub(latest) < 1 << 31 {
                    latest = value;
                }
                Some(Timestamps { value, ..clocks })
            };
            // What is acknowledged already need not be so selectively.
            let edge = |edge: Seq| Some(edge - delta).filter(|edge| own == ack || *edge > ack);
            tcp_options::change(header, clocks, edge);
        });
        connection.own_clock = latest;
        let mut ip = *packet.ip;
        if connection.abilities.timestamps && !has_clock && !is_reset {
            // The client was promised timestamps, and may drop what has none (RFC 7323, section 3.2).
            self.advance_clock(connection, now);
            let clocks = Timestamps { value: connection.own_clock, echo: connection.client_clock };
            let options = Options { timestamps: Some(clocks), ..Options::default() };
            let longer = rewrite::insert_tcp_options(packet.frame, &ip, tcp_options::write(&options).bytes());
            ip = longer.unwrap_or(ip);
        }
        let rewrite = Rewrite {
            side: Side::Server,
            endpoint: connection.ends.service.socket(),
            dst_mac: Some(whereabouts.mac()),
            src_mac: Some(self.config.mac),
            egress: whereabouts.port(),
        };
        rewrite.apply(packet.frame, &ip);
        packet.frame.egress = Egress::Port(whereabouts.port());
        Verdict::Forwarded
    }
}

fn set_numbers(header: &mut [u8], seq: Seq, ack: Seq, window: u16) {
    header[4..8].copy_from_slice(&seq.0.to_be_bytes());
    header[8..12].copy_from_slice(&ack.0.to_be_bytes());
    header[14..16].copy_from_slice(&window.to_be_bytes());
}
