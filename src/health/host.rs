//! A host that checks are about: its link address, and the two questions that all checks of one host share, ARP (L2)
//! and echo (L3). Pure data and judgement; who sends the frames is `steps.rs`.
//!
//! Only what was asked is believed. An answer counts while its question is open; a question is open from its first
//! request until its first good answer, or until nobody waits for it any more. So an unsolicited ARP frame, gratuitous or
//! not, never sets or moves a link address. While the address of a host is known and not in doubt, the first request of a
//! question goes to that address alone and only that address may answer; only when it stays silent do the
//! retries ask everyone and accept a new address. So a neighbour who claims a healthy real's address is not heard.

use std::collections::BTreeSet;

use crate::base::addr::Mac;
use crate::base::time::Time;

use super::CheckId;

/// One host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Its link address, as last answered.
    pub mac: Option<Mac>,
    /// L2.
    pub arp: Question<ArpAsked>,
    /// L3.
    pub echo: Question<EchoAsked>,
    /// The checks about it.
    pub checks: BTreeSet<CheckId>,
}

/// A question that several checks may wait for.
#[derive(Debug)]
pub(super) struct Question<Asked> {
    /// The open question: what an answer must match, and when it was last sent.
    open: Option<(Asked, Time)>,
    /// When it was last answered, unless that was put in doubt since.
    answered: Option<Time>,
    /// Who waits.
    waiting: BTreeSet<CheckId>,
}

impl<Asked> Default for Question<Asked> {
    fn default() -> Self {
        Question { open: None, answered: None, waiting: BTreeSet::new() }
    }
}

/// Whom an ARP request went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArpAsked {
    /// The known address, which alone may answer (RFC 1122, section 2.3.2.1, unicast poll).
    Known(Mac),
    /// Everyone on the segment.
    Everyone,
}

/// The open echo request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EchoAsked {
    /// Identifier.
    pub id: u16,
    /// The latest sequence number; earlier ones, down to 0, are answers as well.
    pub seq: u16,
    /// Payload.
    pub nonce: [u8; 8],
}

impl<Asked: Copy> Question<Asked> {
    /// True if an answer came at most `age` ago.
    pub(super) fn is_fresh(&self, now: Time, age: std::time::Duration) -> bool {
        self.answered.is_some_and(|at| now.since(at) <= age)
    }

    /// Puts the last answer in doubt.
    pub(super) fn doubt(&mut self) {
        self.answered = None;
    }

    /// True if the last answer was not put in doubt.
    pub(super) fn is_trusted(&self) -> bool {
        self.answered.is_some()
    }

    /// `check` waits for the answer.
    pub(super) fn wait(&mut self, check: CheckId) {
        self.waiting.insert(check);
    }

    /// `check` waits no longer. Without anyone waiting the question is closed: a later answer is too late.
    pub(super) fn leave(&mut self, check: CheckId) {
        self.waiting.remove(&check);
        if self.waiting.is_empty() {
            self.open = None;
        }
    }

    /// What is open, if anything.
    pub(super) fn open(&self) -> Option<Asked> {
        self.open.map(|(asked, _)| asked)
    }

    /// True if a request went out less than `gap` ago and is still open, so that another one can wait.
    pub(super) fn was_asked_within(&self, now: Time, gap: std::time::Duration) -> bool {
        self.open.is_some_and(|(_, at)| now.since(at) < gap)
    }

    /// Notes a request sent.
    pub(super) fn ask(&mut self, asked: Asked, now: Time) {
        self.open = Some((asked, now));
    }

    /// Closes the question with a good answer and hands over who waited.
    pub(super) fn answer(&mut self, now: Time) -> BTreeSet<CheckId> {
        self.open = None;
        self.answered = Some(now);
        std::mem::take(&mut self.waiting)
    }
}

/// What an ARP reply from the host was worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ArpAnswer {
    /// Not asked for, or not by one who may answer.
    Ignored,
    /// The address is the one known before. These waited.
    Same(BTreeSet<CheckId>),
    /// The address is new. These waited.
    Changed(BTreeSet<CheckId>),
}

impl Host {
    /// Judges an ARP reply that says the host is at `mac`.
    pub(super) fn arp_reply(&mut self, mac: Mac, now: Time) -> ArpAnswer {
        match self.arp.open() {
            None => return ArpAnswer::Ignored,
            Some(ArpAsked::Known(known)) if known != mac => return ArpAnswer::Ignored,
            Some(_) => {}
        }
        let waited = self.arp.answer(now);
        let before = self.mac.replace(mac);
        if before == Some(mac) { ArpAnswer::Same(waited) } else { ArpAnswer::Changed(waited) }
    }

    /// Judges an echo reply. Empty if nobody asked that.
    pub(super) fn echo_reply(&mut self, id: u16, seq: u16, payload: &[u8], now: Time) -> BTreeSet<CheckId> {
        match self.echo.open() {
            Some(asked) if asked.id == id && seq <= asked.seq && payload == asked.nonce => self.echo.answer(now),
            _ => BTreeSet::new(),
        }
    }

    /// A deeper step met silence: the host may be gone or elsewhere, so neither layer's last answer counts now.
    pub(super) fn doubt(&mut self) {
        self.arp.doubt();
        self.echo.doubt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 0xa]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 0xb]);

    #[test]
    fn only_the_asked_answer() {
        let mut host = Host::default();
        assert_eq!(host.arp_reply(B, Time::ZERO), ArpAnswer::Ignored, "nobody asked");
        host.arp.wait(CheckId(1));
        host.arp.ask(ArpAsked::Everyone, Time::ZERO);
        assert_eq!(host.arp_reply(A, Time::ZERO), ArpAnswer::Changed([CheckId(1)].into()));
        assert_eq!(host.arp_reply(B, Time::ZERO), ArpAnswer::Ignored, "the first answer closed it");
        host.arp.wait(CheckId(1));
        host.arp.ask(ArpAsked::Known(A), Time::ZERO);
        assert_eq!(host.arp_reply(B, Time::ZERO), ArpAnswer::Ignored, "asked A alone");
        assert_eq!(host.arp_reply(A, Time::ZERO), ArpAnswer::Same([CheckId(1)].into()));
        assert_eq!(host.mac, Some(A));
    }

    #[test]
    fn an_answer_after_everyone_left_is_too_late() {
        let mut host = Host::default();
        let asked = EchoAsked { id: 7, seq: 1, nonce: *b"12345678" };
        host.echo.wait(CheckId(1));
        host.echo.ask(asked, Time::ZERO);
        for (id, seq, payload) in [(8, 1, b"12345678"), (7, 2, b"12345678"), (7, 1, b"12345679")] {
            assert!(host.echo_reply(id, seq, payload, Time::ZERO).is_empty());
        }
        host.echo.leave(CheckId(1));
        assert!(host.echo_reply(7, 1, b"12345678", Time::ZERO).is_empty());
        assert!(!host.echo.is_trusted());
    }
}
