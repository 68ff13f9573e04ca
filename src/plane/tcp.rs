//! Following TCP from the middle: far enough for ageing, for counting live connections, and for resets that both
//! ends accept.
//!
//! The switch forwards; it never decides whether a segment is acceptable, with one exception: what it believes. A RST
//! ends a flow here only if its sequence number is exactly the next byte expected (RFC 5961, section 3.2), so that a
//! forged one cannot make us forget a connection that lives on.

use std::time::Duration;

use super::flow_table::{Side, TcpNumbers};
use crate::base::seq::Seq;
use crate::wire::parse::{Tcp, TcpFlags};

/// Where a flow stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpState {
    /// UDP.
    NotTcp,
    /// The client's SYN was forwarded.
    SynSent,
    /// The server's SYN-ACK was forwarded.
    SynReceived,
    /// The client has acknowledged it.
    Established,
    /// The client has sent FIN.
    ClientClosed,
    /// The server has sent FIN.
    ServerClosed,
    /// Both have, or one has sent an exact RST: not a live connection any more; the last segments still pass.
    Closed,
    /// Cut by force: segments that still come are answered with a RST.
    Tombstone,
}

impl TcpState {
    /// True if it counts as a connection of its binding.
    pub fn is_live(self) -> bool {
        !matches!(self, TcpState::Closed | TcpState::Tombstone)
    }

    /// True before the handshake is complete.
    pub fn is_embryonic(self) -> bool {
        matches!(self, TcpState::SynSent | TcpState::SynReceived)
    }
}

/// How long a silent flow is remembered, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Handshake not complete.
    pub embryonic: Duration,
    /// Established, also when one side has closed.
    pub established: Duration,
    /// After both FINs, or an exact RST.
    pub closed: Duration,
    /// After being cut by force.
    pub tombstone: Duration,
    /// UDP.
    pub udp: Duration,
    /// UDP of a draining binding, idle.
    pub udp_draining_idle: Duration,
    /// UDP of a draining binding, at most.
    pub udp_draining: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            embryonic: Duration::from_secs(60),
            established: Duration::from_secs(30 * 60),
            closed: Duration::from_secs(10),
            tombstone: Duration::from_secs(5),
            udp: Duration::from_secs(5 * 60),
            udp_draining_idle: Duration::from_secs(30),
            udp_draining: Duration::from_secs(60),
        }
    }
}

impl Timeouts {
    /// The one for a state.
    pub fn of(&self, state: TcpState) -> Duration {
        match state {
            TcpState::NotTcp => self.udp,
            TcpState::SynSent | TcpState::SynReceived => self.embryonic,
            TcpState::Established | TcpState::ClientClosed | TcpState::ServerClosed => self.established,
            TcpState::Closed => self.closed,
            TcpState::Tombstone => self.tombstone,
        }
    }
}

/// What a segment meant for its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing that matters beyond the numbers.
    Ordinary,
    /// An exact RST.
    Reset,
    /// A RST that is not exact: forwarded, not believed, and no sign of life either.
    InexactReset,
}

/// The numbers after the client's SYN.
pub fn first_syn(syn: &Tcp) -> TcpNumbers {
    let next = (syn.seq + 1).0;
    TcpNumbers { client_next: next, server_next: 0, client_ack: 0, server_ack: next }
}

/// Follows one segment.
#[inline]
pub fn follow(state: &mut TcpState, numbers: &mut TcpNumbers, side: Side, segment: &Tcp) -> Meaning {
    if segment.flags.contains(TcpFlags::RST) {
        return follow_rst(state, numbers, side, segment);
    }
    advance(*state, numbers, side, segment);
    let fin = segment.flags.contains(TcpFlags::FIN);
    *state = match (*state, side) {
        (TcpState::SynSent, Side::Server) if segment.flags.contains(TcpFlags::SYN | TcpFlags::ACK) => {
            TcpState::SynReceived
        }
        (TcpState::SynReceived, Side::Client) if fin && acknowledges_syn(numbers, segment) => TcpState::ClientClosed,
        (TcpState::SynReceived, Side::Client) if acknowledges_syn(numbers, segment) => TcpState::Established,
        (TcpState::SynReceived | TcpState::Established, Side::Server) if fin => TcpState::ServerClosed,
        (TcpState::Established, Side::Client) if fin => TcpState::ClientClosed,
        (TcpState::ClientClosed, Side::Server) | (TcpState::ServerClosed, Side::Client) if fin => TcpState::Closed,
        (state, _) => state,
    };
    Meaning::Ordinary
}

/// The client acknowledges the server's SYN; `client_ack` is the number after it from the SYN-ACK on.
fn acknowledges_syn(numbers: &TcpNumbers, segment: &Tcp) -> bool {
    segment.flags.contains(TcpFlags::ACK)
        && segment.ack >= Seq(numbers.client_ack)
        && segment.ack <= Seq(numbers.server_next)
}

/// Moves the numbers on; never back, and acknowledgements never past what the other side has sent.
#[inline(always)] // on the short way the flags and most of the states are known when this is compiled
pub(super) fn advance(state: TcpState, numbers: &mut TcpNumbers, side: Side, segment: &Tcp) {
    let end = segment.seq + segment.seq_len();
    let has_ack = segment.flags.contains(TcpFlags::ACK);
    let acked = |last: u32, ack: Seq, sent: u32| match ack > Seq(last) && ack <= Seq(sent) {
        true => ack.0,
        false => last,
    };
    match side {
        Side::Client => {
            numbers.client_next = Seq(numbers.client_next).max(end).0;
            if has_ack {
                numbers.client_ack = acked(numbers.client_ack, segment.ack, numbers.server_next);
            }
        }
        Side::Server if state == TcpState::SynSent => {
            // The server's numbers begin here: the byte after its SYN is what the client will expect. Data may come with
            // the SYN (RFC 7413), and the client need not take it.
            if segment.flags.contains(TcpFlags::SYN | TcpFlags::ACK) {
                numbers.server_next = end.0;
                numbers.client_ack = (segment.seq + 1).0;
                numbers.server_ack = acked(numbers.server_ack, segment.ack, numbers.client_next);
            }
        }
        Side::Server => {
            numbers.server_next = Seq(numbers.server_next).max(end).0;
            if has_ack {
                numbers.server_ack = acked(numbers.server_ack, segment.ack, numbers.client_next);
            }
        }
    }
}

fn follow_rst(state: &mut TcpState, numbers: &TcpNumbers, side: Side, segment: &Tcp) -> Meaning {
    let seq = segment.seq.0;
    let exact = match (side, *state) {
        // Nothing of the server's is known yet: the RST must acknowledge the SYN (RFC 9293, section 3.5.2).
        (Side::Server, TcpState::SynSent) => {
            segment.flags.contains(TcpFlags::ACK) && segment.ack.0 == numbers.client_next
        }
        // What was forwarded last, or what the receiver acknowledged last: either may be the next byte expected.
        (Side::Client, _) => seq == numbers.client_next || seq == numbers.server_ack,
        (Side::Server, _) => seq == numbers.server_next || seq == numbers.client_ack,
    };
    if !exact {
        return Meaning::InexactReset;
    }
    *state = TcpState::Closed;
    Meaning::Reset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: u8, seq: u32, ack: u32, payload: u32) -> Tcp {
        Tcp { src_port: 1, dst_port: 2, seq: Seq(seq), ack: Seq(ack), flags: TcpFlags(flags), payload, window: 1000 }
    }

    const SYN: u8 = 2;
    const ACK: u8 = 16;
    const FIN: u8 = 1;
    const RST: u8 = 4;

    fn established() -> (TcpState, TcpNumbers) {
        let syn = segment(SYN, u32::MAX, 0, 0);
        let (mut state, mut numbers) = (TcpState::SynSent, first_syn(&syn));
        follow(&mut state, &mut numbers, Side::Server, &segment(SYN | ACK, 500, 0, 0));
        assert_eq!(state, TcpState::SynReceived);
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 0, 501, 0));
        assert_eq!(state, TcpState::Established);
        (state, numbers)
    }

    #[test]
    fn a_client_may_leave_the_data_of_a_syn_ack() {
        let (mut state, mut numbers) = (TcpState::SynSent, first_syn(&segment(SYN, 0, 0, 0)));
        follow(&mut state, &mut numbers, Side::Server, &segment(SYN | ACK, 500, 1, 6));
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 1, 501, 0));
        assert_eq!(state, TcpState::Established);
    }

    #[test]
    fn a_life() {
        let (mut state, mut numbers) = established();
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 0, 501, 100));
        follow(&mut state, &mut numbers, Side::Server, &segment(ACK, 501, 100, 1000));
        assert_eq!((numbers.client_next, numbers.server_next, numbers.server_ack), (100, 1501, 100));
        follow(&mut state, &mut numbers, Side::Server, &segment(FIN | ACK, 1501, 100, 0));
        assert_eq!(state, TcpState::ServerClosed);
        assert!(state.is_live());
        follow(&mut state, &mut numbers, Side::Client, &segment(FIN | ACK, 100, 1502, 0));
        assert_eq!(state, TcpState::Closed);
    }

    #[test]
    fn only_an_exact_rst_is_believed() {
        for (seq, meaning) in [(0, Meaning::Reset), (1, Meaning::InexactReset), (u32::MAX, Meaning::InexactReset)] {
            let (mut state, mut numbers) = established();
            assert_eq!(follow(&mut state, &mut numbers, Side::Client, &segment(RST, seq, 0, 0)), meaning);
            assert_eq!(state == TcpState::Closed, meaning == Meaning::Reset);
        }
        let (mut state, mut numbers) = (TcpState::SynSent, first_syn(&segment(SYN, 9, 0, 0)));
        assert_eq!(
            follow(&mut state, &mut numbers, Side::Server, &segment(RST | ACK, 0, 11, 0)),
            Meaning::InexactReset
        );
        assert_eq!(follow(&mut state, &mut numbers, Side::Server, &segment(RST | ACK, 0, 10, 0)), Meaning::Reset);
    }

    #[test]
    fn acknowledgements_of_what_was_never_sent_count_for_nothing() {
        let (mut state, mut numbers) = established();
        follow(&mut state, &mut numbers, Side::Client, &segment(ACK, 0, 90_000, 0));
        assert_eq!(numbers.client_ack, 501);
    }
}
