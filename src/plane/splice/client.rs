//! What the client sends.

use super::super::counters::Counter;
use super::super::{Out, Plane, Verdict};
use super::Packet;
use super::connection::{Connection, Stage};
use super::held::{HELD_MAX, Held};
use super::request::Turn;
use crate::base::time::Time;
use crate::wire::parse::TcpFlags;

/// How far from what is expected a segment may begin, as for L4 flows.
const PLAUSIBLE: u32 = 1 << 24;

impl Plane {
    /// A segment from the client.
    pub(super) fn client_says(
        &mut self,
        connection: &mut Connection,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if let Some(verdict) = self.cut_if_removed(connection, out) {
            return verdict;
        }
        let flags = packet.tcp.flags;
        if flags.contains(TcpFlags::RST) {
            return self.client_resets(connection, packet, now, out);
        }
        if flags.contains(TcpFlags::SYN) {
            return self.client_begins_again(connection, packet, now, out);
        }
        if !flags.contains(TcpFlags::ACK) || !self.is_plausible(connection, packet) {
            self.counters.add(Counter::Implausible);
            return Verdict::Dropped(Counter::ContentImplausible);
        }
        self.note_client(connection, packet, now);
        self.turn(connection, now, out);
        if connection.gone.is_some() {
            return Verdict::Answered;
        }
        match connection.stage {
            Stage::Head => self.client_asks(connection, packet, now, out),
            Stage::Connecting => self.client_goes_on(connection, packet, now, out),
            Stage::Exchange => self.client_in_exchange(connection, packet, now, out),
            Stage::Opaque => self.client_in_opaque(connection, packet, now, out),
            Stage::Answering => self.hear_out(connection, packet, now, out),
            Stage::Closed => self.client_after_end(connection, packet, now, out),
        }
    }

    fn is_plausible(&self, connection: &Connection, packet: &Packet<'_>) -> bool {
        let near = packet.tcp.seq.after(connection.client_next).unsigned_abs() <= PLAUSIBLE;
        let behind = connection.server_next.after(packet.tcp.ack);
        near && (0..=1 << 30).contains(&behind)
    }

    /// Notes numbers, window, clock and place.
    fn note_client(&mut self, connection: &mut Connection, packet: &Packet<'_>, now: Time) {
        let tcp = &packet.tcp;
        connection.seen = now;
        if tcp.ack >= connection.server_acked {
            connection.server_acked = tcp.ack;
            connection.client_window = u32::from(tcp.window) << connection.abilities.scale.unwrap_or(0);
            connection.settle_line();
        }
        if let Some(clocks) = packet.options.timestamps
            && clocks.value.wrapping_sub(connection.client_clock) < 1 << 31
        {
            connection.client_clock = clocks.value;
        }
        let from = (packet.parsed.src_mac, packet.frame.ingress);
        self.flows.get_mut(connection.flow).seen_from(from.0, from.1);
    }

    /// Payload, or the end, while a head is awaited.
    fn client_asks(
        &mut self,
        connection: &mut Connection,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let tcp = packet.tcp;
        let (end, has_fin) = (tcp.seq + tcp.payload, tcp.flags.contains(TcpFlags::FIN));
        let is_old = end <= connection.client_next;
        if tcp.payload == 0 && !has_fin && !is_old {
            // A bare acknowledgement from behind something that was lost: were it answered, two that see the other's late
            // segments as old ones would never be done with it.
            return self.pass_to_server(connection, packet);
        }
        if is_old && !has_fin {
            // A bare acknowledgement, or something again.
            return match tcp.seq < connection.client_next {
                true => self.say_again(connection, now, out),
                false => self.pass_to_server(connection, packet),
            };
        }
        if let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        if has_fin && is_old && end == connection.client_next {
            return self.client_leaves(connection, packet, now, out);
        }
        if is_old {
            return self.say_again(connection, now, out);
        }
        let is_whole = tcp.seq == connection.client_next && tcp.payload as usize <= HELD_MAX;
        if is_whole && connection.held.is_none() && connection.active.is_some() {
            let turn = self.read_head(connection, packet.payload(), tcp.seq, now, out);
            if turn == Turn::Ready && connection.passed == end && connection.has_room_to(end) {
                // The client's own segment will do, and the client will send it again if it must.
                connection.client_next = end;
                connection.sent = end;
                let verdict = self.pass_to_server(connection, packet);
                return self.after_pass(connection, has_fin, verdict, now, out);
            }
            if connection.gone.is_some() || connection.stage == Stage::Answering {
                return Verdict::Answered;
            }
            let passed = connection.passed;
            if let Err(verdict) = self.hold(connection, packet, now, out) {
                return verdict;
            }
            connection.passed = if turn == Turn::Incomplete { connection.passed } else { passed };
            match turn {
                Turn::Ready => self.replay(connection, now, out),
                Turn::Incomplete => {
                    self.acknowledge_server(connection, out);
                    self.acknowledge_client(connection, now, out);
                }
                Turn::Waiting => {}
            }
            return Verdict::Held;
        }
        if let Err(verdict) = self.hold(connection, packet, now, out) {
            return verdict;
        }
        self.read_held_head(connection, now, out);
        if connection.stage == Stage::Head && connection.gone.is_none() {
            self.acknowledge_server(connection, out);
            self.acknowledge_client(connection, now, out);
        }
        Verdict::Held
    }

    /// Takes a segment in.
    fn hold(
        &mut self,
        connection: &mut Connection,
        packet: &Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Result<(), Verdict> {
        if connection.held.as_ref().is_some_and(|held| held.end() < connection.client_next) {
            // What came between has passed in place; until the server has what is held, there is no room behind it.
            return Err(self.say_again(connection, now, out));
        }
        let (held_max, held_now) = (self.splices.config.held_max, self.splices.held);
        if held_now >= held_max {
            return Err(Verdict::Dropped(Counter::ContentHeldFull));
        }
        let start = connection.client_next;
        let held = connection.held.get_or_insert_with(|| Box::new(Held::new(start)));
        let taken = held.take(packet.tcp.seq, packet.payload(), usize::MAX);
        if taken.is_err() {
            self.counters.add(Counter::ContentConflict);
            self.reset_whole(connection, out);
            return Err(Verdict::Dropped(Counter::ContentOverlap));
        }
        connection.client_next = connection.client_next.max(held.end());
        Ok(())
    }

    /// The client closes between two requests, or before the first.
    fn client_leaves(
        &mut self,
        connection: &mut Connection,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if connection.active.is_some() && connection.held.is_none() {
            self.make_opaque(connection, now, out);
            let verdict = self.pass_to_server(connection, packet);
            return self.after_pass(connection, true, verdict, now, out);
        }
        connection.client_fin = true;
        connection.client_next = connection.client_next + 1;
        self.say(connection, Vec::new(), now, out);
        Verdict::Answered
    }

    /// More of the client's while a server is being asked.
    fn client_goes_on(
        &mut self,
        connection: &mut Connection,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let end = packet.tcp.seq + packet.tcp.payload;
        if packet.tcp.payload == 0 && packet.tcp.seq >= connection.client_next {
            return Verdict::Held;
        }
        if end <= connection.client_next {
            // Again, or a probe, whose byte may be any.
            return self.say_again(connection, now, out);
        }
        if let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        if let Err(verdict) = self.hold(connection, packet, now, out) {
            return verdict;
        }
        if let Err(why) = self.advance_held(connection) {
            self.refuse_request(connection, why, now, out);
            return Verdict::Answered;
        }
        self.acknowledge_client(connection, now, out);
        Verdict::Held
    }

    /// Something that came before comes again, and is no server's business but for what it acknowledges.
    fn say_again(&mut self, connection: &mut Connection, now: Time, out: &mut Out) -> Verdict {
        self.acknowledge_server(connection, out);
        self.acknowledge_client(connection, now, out);
        Verdict::Answered
    }

    /// A client that waits asks whether the other end is still there. The switch is, but the server may have reset and its
    /// RST be lost: so it is asked as well, by a number that it must answer (RFC 9293, section 3.8.4).
    fn pass_probe_on(&mut self, connection: &mut Connection, packet: &Packet<'_>, out: &mut Out) {
        let tcp = packet.tcp;
        let end = tcp.seq + tcp.payload;
        // Of the byte before the next, of the last one, or of the next one where there is no room for it.
        let is_probe = [end + 1, end, end - 1].contains(&connection.client_next);
        if tcp.payload > 1 || !is_probe {
            return;
        }
        let Some(leg) = connection.active().filter(|leg| leg.is_up).cloned() else { return };
        self.send_server(connection, &leg, (TcpFlags::ACK, leg.acked - 1, &[]), out);
    }

    /// How much more of what is held belongs to the request at hand.
    fn advance_held(&mut self, connection: &mut Connection) -> Result<(), crate::content::refusal::Refusal> {
        let Some(held) = &connection.held else { return Ok(()) };
        let Some(watch) = &mut connection.watch else {
            connection.passed = held.end();
            return Ok(());
        };
        let more = held.between(connection.passed, held.end());
        connection.passed = connection.passed + watch.body.feed(more)?.used as u32;
        Ok(())
    }

    /// A segment while request and response pass.
    fn client_in_exchange(
        &mut self,
        connection: &mut Connection,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let tcp = packet.tcp;
        let (end, has_fin) = (tcp.seq + tcp.payload, tcp.flags.contains(TcpFlags::FIN));
        if has_fin && let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        if tcp.payload == 0 && !has_fin && tcp.seq >= connection.passed {
            return self.pass_to_server(connection, packet);
        }
        if end <= connection.client_next {
            let is_held = tcp.payload > 0 && connection.is_held(tcp.seq);
            if end > connection.passed || is_held {
                self.pass_a_part(connection, packet, out);
                self.pass_probe_on(connection, packet, out);
                return self.say_again(connection, now, out);
            }
            let fin_passes = has_fin && end == connection.client_next && end == connection.passed;
            let verdict = self.pass_to_server(connection, packet);
            return self.after_pass(connection, fin_passes, verdict, now, out);
        }
        let Some(watch) = &mut connection.watch else { return Verdict::Held };
        let is_in_order = tcp.seq <= connection.client_next;
        let ahead = end.after(connection.client_next) as u32;
        let has_gap = connection.held.as_ref().is_some_and(|held| held.has_gap());
        if connection.passed == connection.client_next && !has_gap && u64::from(ahead) <= watch.body.passable() {
            // Content: also behind a gap, which the server will see filled.
            watch.body.pass(u64::from(ahead));
            (connection.client_next, connection.passed) = (end, end);
            let verdict = self.pass_to_server(connection, packet);
            return self.after_pass(connection, has_fin, verdict, now, out);
        }
        if let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        if is_in_order && connection.passed == connection.client_next && !has_gap && !watch.body.is_over() {
            let skip = connection.client_next.after(tcp.seq) as usize;
            let fresh = packet.frame.bytes().get(packet.payload.0 + skip..packet.payload.1).unwrap_or_default();
            let mut body = watch.body.clone();
            match body.feed(fresh) {
                Err(why) => {
                    self.refuse_request(connection, why, now, out);
                    return Verdict::Answered;
                }
                Ok(fed) if fed.used == fresh.len() => {
                    watch.body = body;
                    (connection.client_next, connection.passed) = (end, end);
                    let verdict = self.pass_to_server(connection, packet);
                    return self.after_pass(connection, has_fin, verdict, now, out);
                }
                // The next request begins in it.
                Ok(_) => {}
            }
        }
        // Of the next request: it waits for its turn. Or chunks behind a gap: they can be read in order only.
        if connection.held.is_none() {
            connection.sent = connection.client_next;
        }
        let before = connection.client_next;
        if let Err(verdict) = self.hold(connection, packet, now, out) {
            return verdict;
        }
        if connection.client_next == before && is_in_order {
            self.pass_probe_on(connection, packet, out);
        }
        self.counters.add(Counter::ContentPipelined);
        if let Err(why) = self.advance_held(connection) {
            self.refuse_request(connection, why, now, out);
            return Verdict::Answered;
        }
        self.replay(connection, now, out);
        self.acknowledge_server(connection, out);
        self.acknowledge_client(connection, now, out);
        Verdict::Held
    }

    /// Of a segment that comes again, what is the client's own to send again and not held here.
    fn pass_a_part(&mut self, connection: &mut Connection, packet: &Packet<'_>, out: &mut Out) {
        let Some(leg) = connection.active().filter(|leg| leg.is_up).cloned() else { return };
        let own = connection.held.as_ref().map_or(connection.passed, |held| held.start());
        let end = if own < connection.passed { own } else { connection.passed };
        let count = usize::try_from(end.after(packet.tcp.seq)).unwrap_or(0);
        let part = &packet.payload()[..count.min(packet.payload().len())];
        if part.is_empty() || packet.fault().is_some() {
            return;
        }
        let mut seq = packet.tcp.seq + leg.delta;
        for piece in part.chunks(connection.server_mss(&leg)) {
            self.send_server(connection, &leg, (TcpFlags::PSH, seq, piece), out);
            seq = seq + piece.len() as u32;
        }
    }

    /// A segment of a connection that nothing is examined of.
    fn client_in_opaque(
        &mut self,
        connection: &mut Connection,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let tcp = packet.tcp;
        let end = tcp.seq + tcp.payload;
        let has_fin = tcp.flags.contains(TcpFlags::FIN);
        if has_fin && let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        if tcp.payload > 0 && connection.is_held(tcp.seq) && !has_fin {
            self.pass_probe_on(connection, packet, out);
            return self.say_again(connection, now, out);
        }
        connection.client_next = connection.client_next.max(end);
        connection.passed = connection.client_next;
        let verdict = self.pass_to_server(connection, packet);
        self.after_pass(connection, has_fin && end == connection.client_next, verdict, now, out)
    }

    /// The client's FIN has passed, if it was one.
    fn after_pass(
        &mut self,
        connection: &mut Connection,
        has_fin: bool,
        verdict: Verdict,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if has_fin && verdict == Verdict::Forwarded {
            connection.client_fin = true;
            if connection.stage == Stage::Exchange {
                // No other request will come.
                self.ask_no_more(connection, now, out);
            }
            if connection.server_fin {
                self.close(connection, now, out);
            }
        }
        verdict
    }

    /// From here on nothing is examined: everything is the business of client and server, also what was held back.
    pub(super) fn follow_no_more(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        self.make_opaque(connection, now, out);
        connection.passed = connection.client_next;
        self.replay(connection, now, out);
    }

    /// The same for a server that takes no other request: what was held back for one is void.
    pub(super) fn ask_no_more(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        self.make_opaque(connection, now, out);
        let passed = connection.passed;
        if let Some(held) = &mut connection.held {
            held.truncate(passed);
            if held.in_order().is_empty() {
                connection.held = None;
            }
        }
    }

    fn make_opaque(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        (connection.watch, connection.head, connection.head_due) = (None, None, None);
        if let Some(held) = &mut connection.held {
            // What lies behind a gap passes in place when it comes again.
            held.truncate(held.end());
        }
        connection.stage = Stage::Opaque;
        self.end_parked(connection, now, out);
    }

    fn client_after_end(
        &mut self,
        connection: &mut Connection,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if connection.active.is_some() {
            return self.pass_to_server(connection, packet);
        }
        if packet.tcp.seq_len() > 0 {
            self.send_client(connection, (TcpFlags::ACK, connection.server_next, &[]), now, out);
            return Verdict::Answered;
        }
        Verdict::Held
    }

    /// A SYN on the ends of a connection. One that is over makes way; else the client is asked whether it means it
    /// (RFC 5961, section 4): if it does, it resets.
    fn client_begins_again(
        &mut self,
        connection: &mut Connection,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if connection.stage == Stage::Closed && packet.tcp.flags.is_initial_syn() {
            return match packet.fault() {
                Some(fault) => Verdict::Dropped(fault),
                None => self.answer_with_cookie(connection.service, packet, now, out),
            };
        }
        self.counters.add(Counter::ContentChallenged);
        self.send_client(connection, (TcpFlags::ACK, connection.server_next, &[]), now, out);
        Verdict::Answered
    }

    /// A RST. Believed if it is exact; else whoever is at the other end may judge.
    fn client_resets(
        &mut self,
        connection: &mut Connection,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        let seq = packet.tcp.seq;
        let fin = u32::from(connection.client_fin);
        let is_exact =
            seq == connection.client_next || seq == connection.client_acked || seq == connection.client_next + fin;
        let is_spliced = connection.active().is_some_and(|leg| leg.is_up);
        if is_exact {
            self.counters.add(Counter::FlowReset);
        } else {
            self.counters.add(Counter::InexactRst);
        }
        match (is_exact, is_spliced) {
            (true, true) => {
                let verdict = self.pass_to_server(connection, packet);
                self.close(connection, now, out);
                verdict
            }
            (true, false) => {
                connection.active = None;
                self.end_parked(connection, now, out);
                connection.gone = Some(super::connection::Gone::Forgotten);
                Verdict::Held
            }
            (false, true) => self.pass_to_server(connection, packet),
            (false, false) => {
                self.send_client(connection, (TcpFlags::ACK, connection.server_next, &[]), now, out);
                Verdict::Answered
            }
        }
    }
}
