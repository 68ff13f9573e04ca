//! What servers send.

use std::ops::Range;

use super::super::counters::Counter;
use super::super::{Out, Plane, Verdict};
use super::Packet;
use super::connection::{Connection, Stage, Watch};
use super::held::{HELD_MAX, Held};
use super::numbers::Shift;
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::content::head::After;
use crate::content::response::Progress;
use crate::wire::parse::TcpFlags;

/// How far from what is expected a segment may begin, as for L4 flows.
const PLAUSIBLE: u32 = 1 << 24;

/// As what number of tries those to a server that speaks count at most: it is not given up.
const RESENT_TO_THE_LIVING: u8 = 5;

impl Plane {
    /// A segment from a server.
    pub(super) fn server_says(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if let Some(verdict) = self.cut_if_removed(connection, out) {
            return verdict;
        }
        let Some(leg) = connection.leg(id) else { return Verdict::Dropped(Counter::NoFlow) };
        let (binding, is_up, next, sent) = (leg.binding, leg.is_up, leg.next, leg.sent);
        let slot = self.services.binding_mut(binding);
        if slot.mac == Some(packet.parsed.src_mac) {
            slot.port = Some(packet.frame.ingress);
        }
        if !is_up {
            return self.server_answers(connection, id, packet, now, out);
        }
        let tcp = packet.tcp;
        if tcp.flags.contains(TcpFlags::RST) {
            return self.server_resets(connection, id, packet, now, out);
        }
        if tcp.flags.contains(TcpFlags::SYN) {
            // Our acknowledgement was lost.
            let leg = connection.leg(id).cloned();
            leg.iter().for_each(|leg| self.send_server(connection, leg, (TcpFlags::ACK, leg.sent, &[]), out));
            return Verdict::Answered;
        }
        let is_near = tcp.seq.after(next).unsigned_abs() <= PLAUSIBLE;
        let fin = u32::from(connection.client_fin);
        if !tcp.flags.contains(TcpFlags::ACK) || !is_near || tcp.ack > sent + fin {
            self.counters.add(Counter::Implausible);
            return Verdict::Dropped(Counter::ContentImplausible);
        }
        if connection.active != Some(id) {
            return self.parked_speaks(connection, id, packet, now, out);
        }
        self.active_speaks(connection, id, packet, now, out)
    }

    /// The server in use says something.
    fn active_speaks(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let tcp = packet.tcp;
        if tcp.flags.contains(TcpFlags::FIN)
            && let Some(fault) = packet.fault()
        {
            return Verdict::Dropped(fault);
        }
        connection.seen = now;
        // It is alive: what it lacks may be the client's to send again.
        connection.tries = connection.tries.min(RESENT_TO_THE_LIVING);
        let Some(leg) = connection.leg_mut(id) else { return Verdict::Dropped(Counter::NoFlow) };
        if tcp.ack >= leg.acked {
            leg.acked = tcp.ack;
            leg.window = u32::from(tcp.window) << leg.scale.unwrap_or(0);
        }
        if let Some(clocks) = packet.options.timestamps
            && clocks.value.wrapping_sub(leg.clock) < 1 << 31
        {
            leg.clock = clocks.value;
        }
        self.delivered_more(connection, now, out);
        let len = tcp.payload as usize;
        let place = match connection.persist.is_some() && len > 0 {
            true => self.look_for_cookie(connection, id, packet, now, out),
            false => Ok(None),
        };
        let followed = place.and_then(|place| {
            let Some(count) = place else {
                self.follow(connection, id, packet, 0..len, now, out)?;
                return Ok(None);
            };
            self.follow(connection, id, packet, 0..count, now, out)?;
            connection.read_over_line();
            self.follow(connection, id, packet, count..len, now, out)?;
            Ok(Some(count))
        });
        match followed {
            Err(verdict) => verdict,
            Ok(None) => self.pass_on(connection, id, packet, now, out),
            Ok(Some(count)) => self.pass_with_line(connection, id, packet, count, now, out),
        }
    }

    /// A segment of the server in use passes, its FIN included.
    pub(super) fn pass_on(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let verdict = self.pass_to_client(connection, id, packet, now);
        if packet.tcp.flags.contains(TcpFlags::FIN)
            && verdict == Verdict::Forwarded
            && connection.stage != Stage::Closed
        {
            connection.server_fin = true;
            if matches!(connection.stage, Stage::Exchange | Stage::Head) {
                // What is held for another request is void: the client hears that this is all.
                self.ask_no_more(connection, now, out);
            }
            if connection.client_fin {
                self.close(connection, now, out);
            }
        }
        self.turn(connection, now, out);
        verdict
    }

    /// A part of a segment of the server in use, seen for what it means.
    fn follow(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &Packet<'_>,
        part: Range<usize>,
        now: Time,
        out: &mut Out,
    ) -> Result<(), Verdict> {
        let Some(leg) = connection.leg(id).filter(|_| !part.is_empty()) else { return Ok(()) };
        let [from, to] = [part.start, part.end].map(|at| packet.tcp.seq + at as u32);
        let (from, to) = (leg.shift.forth(from), leg.shift.forth_end(to));
        if connection.stage == Stage::Head && to > connection.server_next {
            // Nobody asked it anything.
            self.counters.add(Counter::ContentLost);
            self.follow_no_more(connection, now, out);
        }
        match connection.stage {
            Stage::Exchange => self.follow_response(connection, id, packet, part, (from, to), now, out),
            _ => Ok(()),
        }
    }

    /// Reads a server's bytes for where the response ends. What lies behind a gap passes, and is kept to be read in its
    /// turn; what cannot be kept does not pass: the server sends it again.
    #[allow(clippy::too_many_arguments)] // see Plane::forward
    fn follow_response(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &Packet<'_>,
        part: Range<usize>,
        (from, to): (Seq, Seq),
        now: Time,
        out: &mut Out,
    ) -> Result<(), Verdict> {
        let has_room = self.splices.held < self.splices.config.held_max;
        let Some(watch) = &mut connection.watch else { return Ok(()) };
        if to <= watch.read {
            return Ok(());
        }
        let ahead = to.after(watch.read) as u32;
        if watch.ahead.is_none() && u64::from(ahead) <= watch.response.passable() {
            watch.response.pass(u64::from(ahead));
            watch.read = to;
        } else {
            if let Some(fault) = packet.fault() {
                return Err(Verdict::Dropped(fault));
            }
            match watch.read_on(from, packet.payload().get(part).unwrap_or_default(), has_room) {
                Some(true) => {}
                // More than a response, or another than before: nobody can tell what it is.
                Some(false) => {
                    self.counters.add(Counter::ContentLost);
                    self.follow_no_more(connection, now, out);
                    return Ok(());
                }
                None => {
                    // Too far behind a gap where every byte must be read: the server hears what is missing.
                    let leg = connection.leg(id).cloned();
                    leg.iter().for_each(|leg| self.send_server(connection, leg, (TcpFlags::ACK, leg.sent, &[]), out));
                    return Err(Verdict::Dropped(if has_room {
                        Counter::ContentGap
                    } else {
                        Counter::ContentHeldFull
                    }));
                }
            }
        }
        match watch.response.progress() {
            Progress::Within => {}
            Progress::Complete(After::Persists) => watch.response_end = Some(watch.read),
            Progress::Complete(After::Closes) => self.ask_no_more(connection, now, out),
            Progress::Tunnel => self.follow_no_more(connection, now, out),
            Progress::Lost(_) => {
                self.counters.add(Counter::ContentLost);
                self.follow_no_more(connection, now, out);
            }
        }
        Ok(())
    }

    /// The server being asked answers.
    fn server_answers(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let tcp = packet.tcp;
        if let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        let Some(leg) = connection.leg_mut(id) else { return Verdict::Dropped(Counter::NoFlow) };
        let (first, binding) = (leg.sent, leg.binding);
        let is_answer = tcp.flags.contains(TcpFlags::ACK) && tcp.ack == first;
        if tcp.flags.contains(TcpFlags::RST) {
            if !is_answer {
                self.counters.add(Counter::InexactRst);
                return Verdict::Dropped(Counter::ContentImplausible);
            }
            self.counters.add(Counter::ContentRefusedBy);
            self.next_choice(connection, true, now, out);
            return Verdict::Held;
        }
        if !is_answer || !tcp.flags.contains(TcpFlags::SYN) {
            // It remembers another connection on these ends: that one is ended, and the SYN goes out again.
            let leg = leg.clone();
            if tcp.flags.contains(TcpFlags::ACK) {
                self.counters.add(Counter::ContentHalfOpen);
                self.refuse_server(connection, &leg, tcp.ack, out);
                self.send_syn(connection, &leg, out);
            }
            return Verdict::Held;
        }
        let options = packet.options;
        leg.is_up = true;
        (leg.next, leg.told, leg.floor) = (tcp.seq + 1, tcp.seq + 1, tcp.seq + 1);
        leg.acked = first;
        leg.window = u32::from(tcp.window);
        leg.mss = options.mss.unwrap_or(536);
        let abilities = connection.abilities;
        let server_next = connection.server_next;
        let is_first = connection.legs.iter().filter(|leg| leg.is_up).count() == 1;
        if is_first {
            self.advance_clock(connection, now);
        }
        let own_clock = connection.own_clock;
        if abilities.timestamps {
            self.services.binding_mut(binding).has_clock = Some(options.timestamps.is_some());
        }
        let Some(leg) = connection.leg_mut(id) else { return Verdict::Dropped(Counter::NoFlow) };
        leg.shift = Shift::between(leg.next, server_next);
        leg.scale = options.scale.filter(|_| abilities.scale.is_some());
        leg.sack = options.sack_permitted && abilities.sack;
        if let Some(clocks) = options.timestamps.filter(|_| abilities.timestamps) {
            leg.timestamps = true;
            (leg.clock, leg.clock_first) = (clocks.value, clocks.value);
            leg.clock_delta = own_clock.wrapping_sub(clocks.value);
        }
        connection.tries = 0;
        connection.resend_at = None;
        connection.sent = first;
        connection.seen = now;
        self.counters.add(Counter::ContentSpliced);
        self.begin_exchange(connection);
        self.replay(connection, now, out);
        if connection.sent == first {
            // Nothing could be sent that would acknowledge its SYN.
            let leg = connection.leg(id).cloned();
            leg.iter().for_each(|leg| self.send_server(connection, leg, (TcpFlags::ACK, leg.sent, &[]), out));
        }
        Verdict::Held
    }

    /// A server that is set aside speaks: acknowledged again what is old; one that has something new to say, or leaves,
    /// is let go.
    fn parked_speaks(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if connection.stage == Stage::Closed {
            return Verdict::Dropped(Counter::NoFlow);
        }
        if let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        let tcp = packet.tcp;
        let Some(leg) = connection.leg_mut(id) else { return Verdict::Dropped(Counter::NoFlow) };
        leg.acked = leg.acked.max(tcp.ack);
        if tcp.seq + tcp.seq_len() > leg.next {
            self.counters.add(Counter::ContentUnparked);
            self.end_leg(connection, id, now, out);
            return Verdict::Answered;
        }
        if tcp.seq_len() == 0 && tcp.seq == leg.next {
            return Verdict::Held;
        }
        let leg = leg.clone();
        self.send_server(connection, &leg, (TcpFlags::ACK, leg.sent, &[]), out);
        Verdict::Answered
    }

    fn server_resets(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &mut Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        if let Some(fault) = packet.fault() {
            return Verdict::Dropped(fault);
        }
        let Some(leg) = connection.leg(id) else { return Verdict::Dropped(Counter::NoFlow) };
        let fin = u32::from(connection.server_fin);
        let seq = packet.tcp.seq;
        let is_exact = seq == leg.next || seq == leg.told || seq == leg.next + fin;
        self.counters.add(if is_exact { Counter::FlowReset } else { Counter::InexactRst });
        if connection.active == Some(id) {
            let verdict = self.pass_to_client(connection, id, packet, now);
            if is_exact {
                self.close(connection, now, out);
            }
            return verdict;
        }
        if is_exact && let Some(at) = connection.legs.iter().position(|leg| leg.id == id) {
            let leg = connection.legs.remove(at);
            self.forget_leg(&leg, out);
        }
        Verdict::Held
    }

    /// Ends the connection, and says so, if the server in use was removed by force meanwhile.
    pub(super) fn cut_if_removed(&mut self, connection: &mut Connection, out: &mut Out) -> Option<Verdict> {
        let leg = connection.active().filter(|leg| leg.is_live)?;
        let cut = self.services.binding_mut(leg.binding).cutting.as_mut()?;
        *cut += 1;
        self.counters.add(Counter::FlowCut);
        self.reset_whole(connection, out);
        Some(Verdict::Dropped(Counter::BeingCut))
    }
}

impl Watch {
    /// Reads on with bytes that begin at `from`, keeping what lies behind a gap. False if the response cannot be followed
    /// any more; `None` if there is no room to keep them, here or (`has_room`) in all.
    fn read_on(&mut self, from: Seq, bytes: &[u8], has_room: bool) -> Option<bool> {
        if self.ahead.is_none() && from <= self.read {
            let fresh = bytes.get(self.read.after(from) as usize..).unwrap_or_default();
            return Some(self.feed(fresh));
        }
        let read = self.read;
        if from > read && !has_room {
            return None;
        }
        let ahead = self.ahead.get_or_insert_with(|| Box::new(Held::new(read)));
        let is_near = from.after(read) + bytes.len() as i32 <= HELD_MAX as i32;
        if !is_near || (from > read && ahead.is_full()) {
            return None;
        }
        if ahead.take(from, bytes, HELD_MAX).is_err() {
            return Some(false);
        }
        let mut ahead = self.ahead.take()?;
        let is_sure = self.feed(ahead.in_order());
        ahead.release(ahead.end());
        self.ahead = Some(ahead).filter(|ahead| !ahead.is_empty());
        Some(is_sure)
    }

    /// Reads the next bytes. False if they are more than the response.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        let fed = self.response.feed(bytes);
        self.read = self.read + bytes.len() as u32;
        fed.used == bytes.len()
    }
}
