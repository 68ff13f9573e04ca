//! What is remembered of one client's connection to a content service, and of the server connections behind it. Data and
//! small questions about it; what happens is in the other files.
//!
//! Two streams, each with one axis of numbers: what the client sends, as the client counts; and what the client receives,
//! as the client sees it. A server connection, a [`Leg`], has numbers of its own, at a distance from either axis.

use super::cookie::Abilities;
use super::cookie::Ends;
use super::held::{HELD_MAX, Held};
use super::numbers::Shift;
use super::persist::Persist;
use crate::base::id::Name;
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::content::body::BodyReader;
use crate::content::head::{HeadReader, Kind};
use crate::content::response::ResponseReader;
use crate::plane::flow_table::FlowId;
use std::time::Duration;

/// Server connections of one client that are kept for later, besides the one in use.
pub(super) const PARKED_MAX: usize = 4;

/// Window scale of the switch itself: windows up to 8 MiB, in steps of 128 bytes.
pub(super) const OWN_SCALE: u8 = 7;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A request's head is awaited, or has come in part. There may be a server connection from the request before.
    Head,
    /// A server was chosen; its SYN-ACK is awaited.
    Connecting,
    /// A request and its response pass, followed to where they end.
    Exchange,
    /// Nothing is examined any more.
    Opaque,
    /// The switch itself answers, then closes.
    Answering,
    /// Over; the last segments still pass.
    Closed,
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// Where it is among the connections.
    pub(super) place: u32,
    pub(super) ends: Ends,
    pub(super) service: u32,
    /// Its entry in the flow table.
    pub(super) flow: FlowId,
    /// What it was made for: the client hello of TLS is read, not requests. It stays so if the service is changed.
    pub(super) is_tls: bool,
    /// The numbers of the segment that began it.
    pub(super) first: (Seq, Seq),
    pub(super) stage: Stage,
    /// To be forgotten when the segment at hand is done with.
    pub(super) gone: Option<Gone>,
    pub(super) abilities: Abilities,
    /// The next byte of the client's: all before it came by here, or is in a gap of content that may pass unread.
    pub(super) client_next: Seq,
    /// Up to here the client's bytes belong to the server in use; what is behind is held for the next request.
    pub(super) passed: Seq,
    /// The highest acknowledgement sent to the client, by whomever.
    pub(super) client_acked: Seq,
    /// The byte behind the last one sent to the client.
    pub(super) server_next: Seq,
    /// The client's highest acknowledgement.
    pub(super) server_acked: Seq,
    /// The client's window in bytes.
    pub(super) client_window: u32,
    /// The client has sent FIN, and it was passed on or answered.
    pub(super) client_fin: bool,
    /// A server's FIN was passed on.
    pub(super) server_fin: bool,
    /// The client's clock, as last heard.
    pub(super) client_clock: u32,
    /// The highest timestamp sent to the client.
    pub(super) own_clock: u32,
    pub(super) legs: Vec<Leg>,
    /// The server connection in use, by its id.
    pub(super) active: Option<u32>,
    pub(super) next_leg: u32,
    pub(super) held: Option<Box<Held>>,
    /// What of [`Connection::footprint`] is counted among all held bytes.
    pub(super) counted: usize,
    /// Up to where held bytes were sent to the server in use.
    pub(super) sent: Seq,
    /// Reads the head at hand, once a part of it has come.
    pub(super) head: Option<Box<HeadReader>>,
    pub(super) watch: Option<Box<Watch>>,
    pub(super) pending: Option<Box<Pending>>,
    /// What is still to be done so that the client comes back to its server.
    pub(super) persist: Option<Box<Persist>>,
    pub(super) answer: Option<Box<[u8]>>,
    /// The same for every request of the connection, and random among connections.
    pub(super) toss: u64,
    pub(super) seen: Time,
    /// The head at hand must be complete then; or, while the switch answers, the client must have been heard out.
    pub(super) head_due: Option<Time>,
    /// What was sent here and is not acknowledged is sent again then.
    pub(super) resend_at: Option<Time>,
    pub(super) tries: u8,
    /// The earliest wake-up in the queue for this connection.
    pub(super) armed: Time,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// Without a trace.
    Forgotten,
    /// What still comes is answered with a RST for a while.
    Buried,
}

/// The messages at hand.
#[derive(Debug)]
pub(super) struct Watch {
    /// The request in progress.
    pub(super) body: BodyReader,
    /// Its response.
    pub(super) response: ResponseReader,
    /// Where the response begins, as the client sees it.
    pub(super) begin: Seq,
    /// Up to where the response was read, as the client sees it.
    pub(super) read: Seq,
    /// Bytes of it that passed behind a gap and are still to be read.
    pub(super) ahead: Option<Box<Held>>,
    /// The response has ended, and there.
    pub(super) response_end: Option<Seq>,
}

/// A request whose server is being asked.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) group: Name,
    pub(super) key: Option<u64>,
    pub(super) kind: Kind,
    /// Bindings that refused or did not answer.
    pub(super) tried: Vec<u32>,
}

/// A connection to a server.
#[derive(Debug, Clone)]
pub(super) struct Leg {
    pub(super) id: u32,
    pub(super) binding: u32,
    pub(super) flow: FlowId,
    /// The SYN-ACK has come.
    pub(super) is_up: bool,
    /// Counted as a live connection of its binding.
    pub(super) is_live: bool,
    /// What is added to the client's numbers.
    pub(super) delta: u32,
    /// How the server's numbers become those the client sees.
    pub(super) shift: Shift,
    /// The server's number at which its present use began: the client has acknowledged everything before.
    pub(super) floor: Seq,
    /// The server's highest acknowledgement, as the server counts.
    pub(super) acked: Seq,
    /// The byte behind the server's last one, as it counts.
    pub(super) next: Seq,
    /// The last acknowledgement sent to the server, as it counts.
    pub(super) told: Seq,
    /// The byte behind the last one sent to the server, as it counts.
    pub(super) sent: Seq,
    /// The server's window in bytes, from `acked`.
    pub(super) window: u32,
    /// Its scale; `None`: windows are not scaled on this connection.
    pub(super) scale: Option<u8>,
    pub(super) mss: u16,
    pub(super) sack: bool,
    /// It sends timestamps.
    pub(super) timestamps: bool,
    /// What is added to its clock.
    pub(super) clock_delta: u32,
    /// Its clock at first.
    pub(super) clock_first: u32,
    /// Its clock, as last heard.
    pub(super) clock: u32,
}

impl Connection {
    /// The server connection in use.
    pub(super) fn active(&self) -> Option<&Leg> {
        self.legs.iter().find(|leg| Some(leg.id) == self.active)
    }

    /// The same, to be changed.
    pub(super) fn active_mut(&mut self) -> Option<&mut Leg> {
        let active = self.active;
        self.legs.iter_mut().find(|leg| Some(leg.id) == active)
    }

    /// A server connection.
    pub(super) fn leg(&self, id: u32) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.id == id)
    }

    /// The same, to be changed.
    pub(super) fn leg_mut(&mut self, id: u32) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.id == id)
    }

    /// Up to where the switch itself takes what the client sends.
    pub(super) fn own_edge(&self) -> Seq {
        self.held.as_ref().map_or(self.client_next, |held| held.start()) + HELD_MAX as u32
    }

    /// True for a byte that is held here in order: the switch's to send again, not the client's.
    pub(super) fn is_held(&self, seq: Seq) -> bool {
        self.held.as_ref().is_some_and(|held| held.start() <= seq && seq < held.end())
    }

    /// True while something is held that is not for the server in use.
    pub(super) fn holds_back(&self) -> bool {
        self.held.is_some() && self.client_next > self.passed
    }

    /// The client's room in bytes behind an acknowledgement, when a server takes bytes up to `edge`.
    pub(super) fn window_to(&self, edge: Seq, ack: Seq) -> u32 {
        let edge = if self.holds_back() { self.own_edge() } else { edge };
        u32::try_from(edge.after(ack)).unwrap_or(0)
    }

    /// A window in bytes as it is written into a segment to the client: never 0 for one that is not.
    pub(super) fn written_window(&self, bytes: u32) -> u16 {
        let scale = if self.abilities.scale.is_some() { OWN_SCALE } else { 0 };
        let field = u16::try_from(bytes >> scale).unwrap_or(u16::MAX);
        field.max(u16::from(bytes > 0))
    }

    /// The position on the client's axis that the server in use has acknowledged.
    pub(super) fn delivered(&self) -> Option<Seq> {
        self.active().filter(|leg| leg.is_up).map(|leg| leg.acked - leg.delta)
    }

    /// Whether the server in use has room for all of the client's bytes before `end`. The client may have been promised more
    /// by the server before.
    pub(super) fn has_room_to(&self, end: Seq) -> bool {
        self.active().is_some_and(|leg| leg.acked - leg.delta + leg.window >= end)
    }

    /// True while bytes of the client's wait here for a server's acknowledgement.
    pub(super) fn owes_server(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.start() < self.passed && !held.in_order().is_empty())
    }

    /// Memory taken by bytes that are held: of requests, and of a response behind a gap.
    pub(super) fn footprint(&self) -> usize {
        let ahead = self.watch.as_ref().and_then(|watch| watch.ahead.as_ref());
        [self.held.as_ref(), ahead].into_iter().flatten().map(|held| held.footprint()).sum()
    }

    /// When something is to be done at the latest.
    pub(super) fn due(&self, idle: Duration) -> Time {
        let line = self.persist.as_ref().and_then(|persist| persist.due());
        [self.head_due, self.resend_at, line].into_iter().flatten().fold(self.seen + idle, Time::min)
    }
}
