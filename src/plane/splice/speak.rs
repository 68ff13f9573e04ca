//! The switch itself as the server: it answers, says that this is all, and hears the client out.

use std::time::Duration;

use super::super::counters::Counter;
use super::super::{Out, Plane, Verdict};
use super::Packet;
use super::connection::{Connection, Gone, Stage};
use crate::acm::words;
use crate::base::time::Time;
use crate::content::answer;
use crate::content::head::Kind;
use crate::content::hello;
use crate::content::refusal::Refusal;
use crate::wire::parse::TcpFlags;

/// How long a client that was answered is heard out, from the answer on: longer than the answer is sent again.
const HEARD_OUT: Duration = Duration::from_secs(60);

impl Plane {
    /// A request is not acceptable: counted, answered, over. Where a response has begun there is no room for an answer.
    pub(super) fn refuse_request(&mut self, connection: &mut Connection, why: Refusal, now: Time, out: &mut Out) {
        self.counters.add_refusal(why);
        self.counters.add(Counter::ContentRefused);
        let is_amid = connection.stage == Stage::Exchange
            && connection.watch.as_ref().is_none_or(|watch| watch.read != watch.begin);
        match is_amid {
            true => self.reset_whole(connection, out),
            false if connection.is_tls => self.say(connection, hello::ALERT.to_vec(), now, out),
            false => self.say(connection, answer::refused(why), now, out),
        }
    }

    /// There is no server for what the client asks: 503 where there is HTTP to say it in, unless the service resets.
    pub(super) fn no_server(&mut self, connection: &mut Connection, kind: Kind, now: Time, out: &mut Out) {
        self.counters.add(Counter::ContentNoServer);
        let resets = self.services.service(connection.service).row.when_none == words::Refusal::Reset;
        match connection.is_tls || resets {
            true => self.reset_whole(connection, out),
            false => self.say(connection, answer::unavailable(kind), now, out),
        }
    }

    /// Answers with these bytes (none: only the FIN) and closes. All servers are left.
    pub(super) fn say(&mut self, connection: &mut Connection, bytes: Vec<u8>, now: Time, out: &mut Out) {
        connection.active = None;
        connection.pending = None;
        self.end_parked(connection, now, out);
        connection.held = None;
        connection.watch = None;
        connection.persist = None;
        connection.head = None;
        connection.head_due = Some(now + HEARD_OUT);
        connection.stage = Stage::Answering;
        connection.client_acked = connection.client_acked.max(connection.client_next);
        connection.passed = connection.client_next;
        if !bytes.is_empty() {
            self.counters.add(Counter::ContentAnswered);
        }
        // The FIN takes a number too.
        connection.server_next = connection.server_next + bytes.len() as u32 + 1;
        connection.answer = Some(bytes.into());
        connection.tries = 0;
        self.send_answer(connection, now, out);
    }

    /// Sends what of the answer is not acknowledged.
    pub(super) fn send_answer(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        let Some(answer) = connection.answer.take() else { return };
        let begin = connection.server_next - (answer.len() as u32 + 1);
        let done = usize::try_from(connection.server_acked.after(begin)).unwrap_or(0).min(answer.len());
        let size = connection.client_mss();
        let mut at = done;
        loop {
            let piece = &answer[at..(at + size).min(answer.len())];
            let is_last = at + piece.len() == answer.len();
            let flags = if is_last { TcpFlags::FIN | TcpFlags::PSH } else { TcpFlags::default() };
            self.send_client(connection, (flags, begin + at as u32, piece), now, out);
            at += piece.len();
            if is_last {
                break;
            }
        }
        connection.answer = Some(answer);
        self.await_acknowledgement(connection, now);
    }

    /// A client's segment while the switch answers: acknowledged, and else of no interest any more. Nor is what was lost
    /// before it, so it need not come again.
    pub(super) fn hear_out(
        &mut self,
        connection: &mut Connection,
        packet: &Packet<'_>,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let tcp = &packet.tcp;
        if connection.server_acked == connection.server_next {
            connection.resend_at = None;
            connection.answer = None;
        }
        let end = tcp.seq + tcp.payload;
        if tcp.seq_len() > 0 && packet.fault().is_none() {
            if tcp.seq <= connection.own_edge() {
                connection.client_next = connection.client_next.max(end);
            }
            if tcp.flags.contains(TcpFlags::FIN) && end == connection.client_next && !connection.client_fin {
                connection.client_fin = true;
                connection.client_next = end + 1;
            }
            connection.client_acked = connection.client_next;
            self.send_client(connection, (TcpFlags::ACK, connection.server_next, &[]), now, out);
        }
        if connection.client_fin && connection.answer.is_none() {
            self.close(connection, now, out);
        }
        Verdict::Answered
    }

    /// Ends both sides with a RST that they accept.
    pub(super) fn reset_whole(&mut self, connection: &mut Connection, out: &mut Out) {
        self.reset_all(connection, out);
        connection.gone = Some(Gone::Buried);
    }

    /// Sends everybody a RST.
    pub(super) fn reset_all(&mut self, connection: &mut Connection, out: &mut Out) {
        self.reset_client(connection, out);
        for leg in connection.legs.iter().filter(|leg| leg.is_live) {
            self.reset_server(connection, leg, out);
        }
    }
}
