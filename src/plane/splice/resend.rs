//! What the switch itself sent and nobody acknowledged yet: sent again, ever more slowly, and given up in the end. And
//! everything else that happens by time.

use std::cmp::Reverse;
use std::time::Duration;

use super::super::counters::Counter;
use super::super::{Out, Plane};
use super::connection::{Connection, Gone, Stage};
use crate::base::time::Time;
use crate::content::refusal::Refusal;
use crate::wire::parse::TcpFlags;

/// The first wait for a server's SYN-ACK; the others are twice the one before.
const SYN_WAIT: Duration = Duration::from_millis(250);
/// SYNs to one server, in 1.75 seconds together.
const SYN_TRIES: u8 = 3;
/// SYNs to one that there is no other for, in 7.75 seconds together.
const SYN_TRIES_LAST: u8 = 5;
/// The first wait for the acknowledgement of data; the others are twice the one before. Linux's least is the same.
pub(super) const DATA_WAIT: Duration = Duration::from_millis(200);
/// How often data is sent, in 51 seconds together.
pub(super) const DATA_TRIES: u8 = 8;
/// Frames of room a wake-up may need.
const FRAMES: usize = 32;
/// Wake-ups served in one go.
const WAKEUPS: usize = 4096;

impl Plane {
    /// Does what is due in content connections.
    pub(in crate::plane) fn poll_splices(&mut self, now: Time, out: &mut Out) {
        self.poll_graves(now, out);
        for _ in 0..WAKEUPS {
            let is_due = self.splices.next_wakeup().is_some_and(|at| at <= now);
            if !is_due || out.frames.room() < FRAMES {
                return;
            }
            let Some(Reverse((at, place, used))) = self.splices.wakeups.pop() else { return };
            if self.splices.uses[place as usize] != used {
                continue;
            }
            let Some(mut connection) = self.splices.take(place) else { continue };
            if connection.armed == at {
                connection.armed = Time::NEVER;
            }
            self.wake(&mut connection, now, out);
            self.settle(connection, now, out);
        }
    }

    /// When content connections need [`Plane::poll`] next.
    pub(in crate::plane) fn splices_deadline(&self) -> Option<Time> {
        [self.splices.next_wakeup(), self.splices.graves.next()].into_iter().flatten().min()
    }

    /// How long a silent connection is remembered.
    pub(super) fn idle_time(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Closed | Stage::Answering => self.config.timeouts.closed,
            _ => self.config.timeouts.established,
        }
    }

    fn wake(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        if connection.head_due.is_some_and(|at| at <= now) {
            connection.head_due = None;
            self.head_is_late(connection, now, out);
        } else if connection.resend_at.is_some_and(|at| at <= now) {
            connection.resend_at = None;
            self.send_again(connection, now, out);
        } else if connection.persist.as_ref().and_then(|persist| persist.due()).is_some_and(|at| at <= now) {
            self.line_is_late(connection, now, out);
        } else if connection.seen + self.idle_time(connection.stage) <= now {
            self.counters.add(Counter::FlowExpired);
            connection.gone = Some(Gone::Forgotten);
            if !matches!(connection.stage, Stage::Closed | Stage::Answering) {
                self.reset_whole(connection, out);
            }
        }
    }

    /// The deadline of a head has passed. Who has not begun one is no slow client: he is let go without a word. Who was
    /// answered and still goes on is reset.
    fn head_is_late(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        match (connection.stage, connection.held.is_some()) {
            (Stage::Head, true) => self.refuse_request(connection, Refusal::TooSlow, now, out),
            (Stage::Answering, _) => {
                self.counters.add(Counter::ContentGivenUp);
                self.reset_whole(connection, out);
            }
            (Stage::Head, false) => {
                self.counters.add(Counter::ContentUnused);
                self.say(connection, Vec::new(), now, out);
            }
            _ => {}
        }
    }

    fn send_again(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        connection.tries += 1;
        match connection.stage {
            Stage::Connecting
                if connection.tries < SYN_TRIES
                    || (connection.tries < SYN_TRIES_LAST && !self.has_other_choice(connection, now)) =>
            {
                self.counters.add(Counter::ContentResent);
                if let Some(leg) = connection.active().cloned() {
                    self.send_syn(connection, &leg, out);
                }
                connection.resend_at = Some(now + SYN_WAIT * (1 << connection.tries));
            }
            Stage::Connecting => {
                self.counters.add(Counter::ContentUnanswered);
                self.next_choice(connection, false, now, out);
            }
            _ if connection.tries >= DATA_TRIES => {
                self.counters.add(Counter::ContentGivenUp);
                self.reset_all(connection, out);
                connection.gone = Some(Gone::Buried);
            }
            Stage::Answering => {
                self.counters.add(Counter::ContentResent);
                self.send_answer(connection, now, out);
            }
            _ if connection.owes_server() => {
                self.counters.add(Counter::ContentResent);
                connection.sent = connection.delivered().unwrap_or(connection.sent);
                self.replay(connection, now, out);
            }
            _ => connection.tries = 0,
        }
    }

    /// A SYN has been sent for the first time.
    pub(super) fn await_syn_ack(&self, connection: &mut Connection, now: Time) {
        connection.tries = 0;
        connection.resend_at = Some(now + SYN_WAIT);
    }

    /// Data of the switch's own is under way.
    pub(super) fn await_acknowledgement(&self, connection: &mut Connection, now: Time) {
        connection.resend_at = Some(now + DATA_WAIT * (1 << connection.tries.min(DATA_TRIES)));
    }

    /// Sends the server in use what is held for it and was not sent yet, as far as its window goes.
    pub(super) fn replay(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        let Some(leg) = connection.active().filter(|leg| leg.is_up).cloned() else { return };
        let Some(held) = connection.held.take() else { return };
        // One byte goes also into a window that is closed: so it is heard when it opens.
        let edge = leg.acked - leg.delta + leg.window.max(u32::from(connection.tries > 0));
        let until = if connection.passed < edge { connection.passed } else { edge };
        let size = connection.server_mss(&leg);
        let mut from = connection.sent.max(held.start());
        let mut sent = leg.sent;
        let bytes = held.between(from, until);
        let mut pieces = bytes.chunks(size).peekable();
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { TcpFlags::PSH } else { TcpFlags::default() };
            self.send_server(connection, &leg, (last, from + leg.delta, piece), out);
            from = from + piece.len() as u32;
            sent = sent.max(from + leg.delta);
        }
        connection.sent = connection.sent.max(from);
        connection.held = Some(held);
        if let Some(leg) = connection.active_mut() {
            leg.sent = sent;
        }
        // Once it runs, only an acknowledgement puts it off: a client that goes on in small steps does not.
        if connection.owes_server() && connection.resend_at.is_none() {
            self.await_acknowledgement(connection, now);
        }
    }

    /// A server acknowledged something: what is held for it is released, and more may be sent.
    pub(super) fn delivered_more(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        let Some(delivered) = connection.delivered() else { return };
        let Some(held) = &mut connection.held else { return };
        let before = held.start();
        let up_to = if delivered < connection.passed { delivered } else { connection.passed };
        held.release(up_to);
        let has_moved = held.start() != before;
        let is_empty = held.is_empty();
        connection.sent = connection.sent.max(held.start());
        if is_empty {
            connection.held = None;
        }
        if has_moved {
            connection.tries = 0;
            connection.resend_at = None;
        }
        if !connection.owes_server() {
            connection.resend_at = None;
        } else if has_moved || connection.sent < connection.passed {
            self.replay(connection, now, out);
        }
    }
}
