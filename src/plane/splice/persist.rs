//! Persistence on a content connection: a cookie of ours put into a response, or one of the server's learnt from it.
//!
//! The line goes behind the status line of the final response. From there on the server's numbers are further from the
//! client's by its length ([`Shift::inserting`](super::numbers::Shift::inserting)). A segment across that place has the line
//! put into it or, if it would be too long, is cut in two, each time it comes. The line is the switch's own: it is sent again until the client acknowledges it, and then the
//! two distances are one. While the place, or a cookie, is looked for, every byte must be read in order: what lies behind a
//! gap does not pass, and the server sends it again. Until the line is acknowledged the server is told a window smaller
//! by its length.
//!
//! Who is led where by a cookie is [`Keeper`](super::super::keeping::Keeper)'s business.

use super::super::counters::Counter;
use super::super::{Out, Plane, Verdict};
use super::Packet;
use super::connection::{Connection, Gone};
use super::resend::{DATA_TRIES, DATA_WAIT};
use crate::base::id::{BindingId, Name};
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::content::set_cookie::{Seeker, Sought};
use crate::wire::frame::Gso;
use crate::wire::parse::{Tcp, TcpFlags};
use crate::wire::rewrite;

/// What persistence has to do with the request at hand.
#[derive(Debug)]
pub(super) struct Persist {
    group: Name,
    /// The member whose cookie the client has shown, if it need not be told again.
    shown: Option<BindingId>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// The server is not there yet.
    Waiting,
    /// Up to the server's number `read`, its response was looked at: for the value of its cookie, or for the place of the
    /// line, which is empty in the other case.
    Seeking { seeker: Seeker, read: Seq, line: Box<[u8]> },
    /// The line goes before the server's number `at`, where the client's stream is at `begin`.
    Placed { line: Box<[u8]>, at: Seq, begin: Seq, resend_at: Time, tries: u8 },
}

impl Persist {
    /// A request for this group, and whose cookie came with it.
    pub(super) fn new(group: Name, shown: Option<BindingId>) -> Persist {
        Persist { group, shown, work: Work::Waiting }
    }

    /// When the line is sent again.
    pub(super) fn due(&self) -> Option<Time> {
        match &self.work {
            Work::Placed { resend_at, .. } => Some(*resend_at),
            _ => None,
        }
    }
}

impl Connection {
    /// Bytes of the client's window that are not the server's.
    pub(super) fn reserved(&self) -> u32 {
        match self.persist.as_ref().map(|persist| &persist.work) {
            Some(Work::Seeking { line, .. } | Work::Placed { line, .. }) => line.len() as u32,
            _ => 0,
        }
    }

    /// The client's window as the server may use it. Where there is hardly any the server has all of it: what does not fit
    /// is sent again.
    pub(super) fn window_for_server(&self, window: u32) -> u32 {
        let reserved = self.reserved();
        if window > 2 * reserved { window - reserved } else { window }
    }

    /// The client has acknowledged something: perhaps all of the line.
    pub(super) fn settle_line(&mut self) {
        let Some(Work::Placed { line, begin, .. }) = self.persist.as_ref().map(|persist| &persist.work) else { return };
        if self.server_acked < *begin + line.len() as u32 {
            return;
        }
        self.persist = None;
        if let Some(leg) = self.active_mut() {
            leg.shift = leg.shift.settled();
        }
    }

    /// The response was read up to the line: it goes on behind it.
    pub(super) fn read_over_line(&mut self) {
        let Some(Work::Placed { line, begin, .. }) = self.persist.as_ref().map(|persist| &persist.work) else { return };
        let end = *begin + line.len() as u32;
        if let Some(watch) = self.watch.as_mut().filter(|watch| watch.read == *begin) {
            watch.read = end;
        }
    }

    /// Behind how many bytes of a segment of the server in use the line goes.
    fn place_in(&self, packet: &Packet<'_>) -> Option<usize> {
        let Some(Work::Placed { at, .. }) = self.persist.as_ref().map(|persist| &persist.work) else { return None };
        let (start, end) = (packet.tcp.seq, packet.tcp.seq + packet.tcp.payload);
        (start < *at && *at <= end).then(|| at.after(start) as usize)
    }
}

impl Plane {
    /// The exchange of a request begins: what is to be looked for in the response is known now.
    pub(super) fn begin_persist(&mut self, connection: &mut Connection) {
        let Some(mut persist) = connection.persist.take() else { return };
        let Some(leg) = connection.active() else { return };
        let (read, binding) = (leg.next, leg.binding);
        let id = self.services.binding(binding).id;
        let Some(keeper) = self.services.keeper(connection.service, &persist.group) else { return };
        let (seeker, line) = match keeper.learns() {
            Some(cookie) => (Seeker::of_cookie(cookie), Box::default()),
            None if persist.shown == Some(id) => return,
            None => match keeper.line(binding) {
                Some(line) => (Seeker::of_place(), line),
                None => return,
            },
        };
        persist.work = Work::Seeking { seeker, read, line };
        connection.persist = Some(persist);
    }

    /// Looks at a segment of the server in use. Returns behind how many bytes of it the line goes, if it goes there.
    pub(super) fn look_for_cookie(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Result<Option<usize>, Verdict> {
        self.seek(connection, id, packet, now, out)?;
        let Some(count) = connection.place_in(packet) else {
            self.line_again_if_missed(connection, packet, now, out);
            return Ok(None);
        };
        match packet.fault() {
            Some(fault) => Err(Verdict::Dropped(fault)),
            None => Ok(Some(count)),
        }
    }

    /// A segment passes with the line in it, if it is not too long then; else it passes in two.
    pub(super) fn pass_with_line(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &mut Packet<'_>,
        count: usize,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let mss = connection.client_mss();
        let Some(Work::Placed { line, begin, resend_at, tries, .. }) =
            connection.persist.as_mut().map(|persist| &mut persist.work)
        else {
            return self.pass_on(connection, id, packet, now, out);
        };
        (*resend_at, *tries) = (now + DATA_WAIT, (*tries).max(1));
        let tcp = packet.tcp;
        // A super-frame is cut into segments of their size on the way out.
        let fits = packet.frame.offload.gso != Gso::None || tcp.payload as usize + line.len() <= mss;
        if fits && let Some(ip) = rewrite::insert_tcp_payload(packet.frame, packet.ip, count, line) {
            let mut longer = Packet::new(&mut *packet.frame, packet.parsed, &ip, &tcp);
            return self.pass_on(connection, id, &mut longer, now, out);
        }
        let (from, end) = (*begin - count as u32, *begin + line.len() as u32);
        let bytes = [&packet.payload()[..count], line].concat();
        connection.server_next = connection.server_next.max(end);
        let Some(ip) = rewrite::cut_tcp_payload(packet.frame, packet.ip, count) else { return Verdict::Held };
        if let Some(leg) = connection.leg_mut(id) {
            leg.next = leg.next.max(tcp.seq + count as u32);
        }
        self.send_own(connection, from, &bytes, now, out);
        let tcp = Tcp { seq: tcp.seq + count as u32, payload: tcp.payload - count as u32, ..tcp };
        let mut rest = Packet::new(&mut *packet.frame, packet.parsed, &ip, &tcp);
        self.pass_on(connection, id, &mut rest, now, out)
    }

    /// Reads on in the response. What is behind a gap is not taken.
    fn seek(
        &mut self,
        connection: &mut Connection,
        id: u32,
        packet: &Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Result<(), Verdict> {
        let Some(persist) = &mut connection.persist else { return Ok(()) };
        let Work::Seeking { seeker, read, line } = &mut persist.work else { return Ok(()) };
        let end = packet.tcp.seq + packet.tcp.payload;
        if end <= *read {
            return Ok(());
        }
        if packet.tcp.seq > *read {
            let leg = connection.leg(id).cloned();
            leg.iter().for_each(|leg| self.send_server(connection, leg, (TcpFlags::ACK, leg.sent, &[]), out));
            return Err(Verdict::Dropped(Counter::ContentGap));
        }
        if let Some(fault) = packet.fault() {
            return Err(Verdict::Dropped(fault));
        }
        let sought = seeker.feed(&packet.payload()[read.after(packet.tcp.seq) as usize..]);
        let from = std::mem::replace(read, end);
        match sought {
            Sought::More => {}
            Sought::Nothing => connection.persist = None,
            Sought::Value(value) => {
                self.counters.add(Counter::ContentCookieLearnt);
                let group = persist.group.clone();
                connection.persist = None;
                let Some(binding) = connection.leg(id).map(|leg| leg.binding) else { return Ok(()) };
                if let Some(keeper) = self.services.keeper(connection.service, &group) {
                    keeper.learn(&value, binding, now);
                }
            }
            Sought::Place(count) => {
                self.counters.add(Counter::ContentCookieSet);
                let (line, at) = (std::mem::take(line), from + count as u32);
                let length = line.len() as u32;
                let Some(leg) = connection.legs.iter_mut().find(|leg| leg.id == id) else { return Ok(()) };
                let begin = leg.shift.forth_end(at);
                leg.shift = leg.shift.inserting(at, length);
                persist.work = Work::Placed { line, at, begin, resend_at: Time::NEVER, tries: 0 };
            }
        }
        Ok(())
    }

    /// The server sends again what is right behind the line: so the client may lack the line too.
    fn line_again_if_missed(&mut self, connection: &mut Connection, packet: &Packet<'_>, now: Time, out: &mut Out) {
        let Some(Work::Placed { at, .. }) = connection.persist.as_ref().map(|persist| &persist.work) else { return };
        let end = packet.tcp.seq + packet.tcp.payload;
        if packet.tcp.seq == *at && connection.active().is_some_and(|leg| end <= leg.next) {
            self.send_line(connection, now, out);
        }
    }

    /// The line is not acknowledged in time.
    pub(super) fn line_is_late(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        let Some(Work::Placed { resend_at, tries, .. }) = connection.persist.as_mut().map(|persist| &mut persist.work)
        else {
            return;
        };
        if *tries >= DATA_TRIES {
            self.counters.add(Counter::ContentGivenUp);
            self.reset_all(connection, out);
            connection.gone = Some(Gone::Buried);
            return;
        }
        *resend_at = now + DATA_WAIT * (1 << *tries);
        *tries += 1;
        self.counters.add(Counter::ContentResent);
        self.send_line(connection, now, out);
    }

    fn send_line(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        let Some(Work::Placed { line, begin, .. }) = connection.persist.as_ref().map(|persist| &persist.work) else {
            return;
        };
        let (line, begin) = (line.clone(), *begin);
        self.send_own(connection, begin, &line, now, out);
    }

    /// Bytes to the client in the server's place.
    fn send_own(&mut self, connection: &mut Connection, from: Seq, bytes: &[u8], now: Time, out: &mut Out) {
        let mut seq = from;
        for piece in bytes.chunks(connection.client_mss()) {
            self.send_client(connection, (TcpFlags::ACK, seq, piece), now, out);
            seq = seq + piece.len() as u32;
        }
    }
}
