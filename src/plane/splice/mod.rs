//! Delayed binding: content services. The switch completes a client's handshake itself, reads the request, then chooses the
//! server and splices the two TCP connections segment by segment. Pure, like all of the plane: frames and the time go in,
//! frames come out.
//!
//! ```text
//! SYN ------------> SYN-ACK with a cookie; nothing is remembered                                  (arrive.rs, cookie.rs)
//! ACK, cookie good -> Head: bytes put in order and read, bounded, with a deadline                 (client.rs, held.rs)
//! head complete ----> rule -> group -> member; one that is connected already: Exchange            (request.rs)
//!                     else Connecting: SYN numbered the client's next byte - 1
//! SYN-ACK ----------> the head is replayed, kept and sent again until acknowledged: Exchange      (server.rs, resend.rs)
//! Exchange ---------> both ways translated in place, followed to the end of request and response; then Head again, and
//!                     the next request may go elsewhere
//! Opaque -----------> translated only: first-request mode, tunnels, upgrades, what is not HTTP, after the first FIN
//! Answering --------> what the switch itself says: refusals, 503, redirects; then closes          (speak.rs)
//! Closed -----------> last segments pass for a while
//! ```
//!
//! **Numbers.** The client's stream keeps the client's numbers; a server connection opened for a request begins at the
//! client's own number, so that nothing is added on the way to it. One that is used again later, and everything from servers
//! to the client, is at a distance (`numbers`). A connection is re-bound only when the response before is complete *and*
//! acknowledged by the client, and the request before by its server. So whatever is sent again later lies wholly in the
//! past of whoever receives it, and is answered, or trimmed by the receiver, by its numbers alone.
//!
//! **Who owes what.** Bytes that were held here (a head that came before its server was connected) are the switch's to
//! send again until the server acknowledges them; all others pass in place and are their sender's. A FIN is never owned: it
//! is left unacknowledged until it can pass.
//!
//! **Persistence.** A cookie of ours is put into a response behind its status line; from there on the numbers differ by its
//! length more, and it is the switch's to send again (`persist`).
//!
//! **Ends.** Whom the switch leaves gets a RST, and nobody acknowledges one: it is sent again a few times, and what of the
//! connection still comes is answered with another (`graves`). A client's probe that the switch could answer by itself is
//! passed on all the same: the server may be gone without our hearing of it.
//!
//! **Options.** The SYN-ACK offers a segment size of Ethernet's, and window scale, selective acknowledgements and timestamps
//! to clients that send timestamps; but of all these no more than every real of the service has, as health checks found out. The server is offered what the client has. Where it has less, windows are scaled anew
//! and the options are taken out on the way to it.
//!
//! **Errors.** ICMP errors are translated with the segment they quote; one about a segment of the switch's own makes its
//! segments smaller (`errors`).
//!
//! **Bounds.** Connections: [`ContentConfig::connections_max`]; at the bound those already closed make room, then newcomers
//! are refused. Held bytes: 16 KiB and 16 pieces a connection each way, [`ContentConfig::held_max`] in all. A head has a deadline.
//!
//! In the flow table a content connection has one entry for the client's side and one for each server connection, whose
//! state is [`TcpState::Content`]; L4 packets meet no other look-up than before. Not here: what heads and bodies mean
//! ([`crate::content`]), schedulers, and L4 flows.

mod arrive;
mod client;
mod connection;
mod cookie;
mod end;
mod errors;
mod graves;
mod held;
mod legs;
mod numbers;
mod pass;
mod persist;
mod request;
mod resend;
mod send;
mod server;
mod speak;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::flow_table::{Flow, Side};
use super::{Out, Plane, Verdict};
use crate::base::time::Time;
use crate::content::head::Limits;
use crate::content::rules::Scratch;
use crate::plane::counters::Counter;
use crate::plane::flow_table::FlowId;
use crate::plane::tcp::TcpState;
use crate::wire::frame::FrameBuf;
use crate::wire::parse::{Ip, Parsed, Tcp, Transport};
use crate::wire::tcp_options::{self, Options};
use connection::{Connection, Stage};
use cookie::Cookies;
use graves::Graves;

/// What a plane is told about content services.
#[derive(Debug, Clone)]
pub struct ContentConfig {
    /// Connections held; some 700 bytes each while nothing is held of their requests.
    pub connections_max: usize,
    /// Bytes held together, of all requests, and of responses behind gaps where every byte must be read.
    pub held_max: usize,
    /// Bounds of a request's head.
    pub head: Limits,
    /// How long a head may take: the first from the handshake, later ones from their first byte.
    pub head_deadline: Duration,
}

impl Default for ContentConfig {
    fn default() -> ContentConfig {
        ContentConfig {
            connections_max: 65_536,
            held_max: 64 << 20,
            head: Limits::default(),
            head_deadline: Duration::from_secs(5),
        }
    }
}

/// In a flow of a content connection: it is the client's side.
const CLIENT_SIDE: u32 = u32::MAX;

/// All content connections of a plane.
pub(super) struct Splices {
    config: ContentConfig,
    connections: Vec<Option<Box<Connection>>>,
    /// Of each place, how often it was used: tells wake-ups of the past from those of now.
    uses: Vec<u32>,
    free: Vec<u32>,
    len: usize,
    cookies: Cookies,
    wakeups: BinaryHeap<Reverse<(Time, u32, u32)>>,
    /// Connections that were ended by a RST.
    graves: Graves,
    /// Those that are over, the oldest first: place and use.
    closed: VecDeque<(u32, u32)>,
    /// Memory of all held bytes.
    held: usize,
    scratch: Scratch,
    /// Where paths are normalised.
    room: Box<[u8]>,
}

impl Splices {
    pub(super) fn new(config: ContentConfig, secret: [u64; 2]) -> Splices {
        Splices {
            connections: Vec::new(),
            uses: Vec::new(),
            free: Vec::new(),
            len: 0,
            cookies: Cookies::new([secret[0].rotate_left(17), !secret[1]]),
            wakeups: BinaryHeap::new(),
            graves: Graves::default(),
            closed: VecDeque::new(),
            held: 0,
            scratch: Scratch::default(),
            room: vec![0; usize::from(config.head.head)].into(),
            config,
        }
    }

    /// Connections held.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Connections that fit.
    pub(super) fn capacity(&self) -> usize {
        self.config.connections_max
    }

    /// The next place; `None` when all are in use.
    fn reserve(&mut self) -> Option<u32> {
        if self.len >= self.config.connections_max {
            return None;
        }
        self.len += 1;
        Some(self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.uses.push(0);
            self.connections.len() as u32 - 1
        }))
    }

    /// A place is free again; so many held bytes were counted for its connection.
    fn release(&mut self, place: u32, counted: usize) {
        self.held -= counted;
        self.connections[place as usize] = None;
        self.uses[place as usize] = self.uses[place as usize].wrapping_add(1);
        self.free.push(place);
        self.len -= 1;
    }

    /// Takes a connection out for as long as something is done with it.
    fn take(&mut self, place: u32) -> Option<Box<Connection>> {
        self.connections.get_mut(place as usize)?.take()
    }

    /// Wakes a connection at a time, unless it will be woken before.
    fn arm(&mut self, connection: &mut Connection, at: Time) {
        if at >= connection.armed {
            return;
        }
        connection.armed = at;
        let place = connection.place;
        self.wakeups.push(Reverse((at, place, self.uses[place as usize])));
        // Wake-ups of the past are few; if they are not, they are thrown out.
        if self.wakeups.len() > 4 * self.len + 65_536 {
            let uses = &self.uses;
            self.wakeups.retain(|Reverse((_, place, used))| uses[*place as usize] == *used);
        }
    }

    /// The first wake-up, whether or not it is one of the past.
    fn next_wakeup(&self) -> Option<Time> {
        self.wakeups.peek().map(|Reverse((at, ..))| *at)
    }
}

/// A TCP segment of a content connection, in its frame.
struct Packet<'a> {
    frame: &'a mut FrameBuf,
    parsed: &'a Parsed,
    ip: &'a Ip,
    tcp: Tcp,
    options: Options,
    /// Where its payload begins and ends in the frame.
    payload: (usize, usize),
}

impl<'a> Packet<'a> {
    fn new(frame: &'a mut FrameBuf, parsed: &'a Parsed, ip: &'a Ip, tcp: &Tcp) -> Packet<'a> {
        let header = tcp_options::header_of(frame.bytes(), ip);
        let (options, end) = (tcp_options::read(header), ip.end as usize);
        let start = (usize::from(ip.l4) + header.len()).min(end);
        Packet { frame, parsed, ip, tcp: *tcp, options, payload: (start, end) }
    }

    fn payload(&self) -> &[u8] {
        self.frame.bytes().get(self.payload.0..self.payload.1).unwrap_or_default()
    }

    /// What is wrong with its checksums.
    fn fault(&self) -> Option<Counter> {
        Plane::checksum_fault(self.frame, self.ip)
    }
}

/// The numbers in a flow that say which connection it is of, and which of its server connections.
fn mark(flow: &mut Flow, place: u32, leg: u32) {
    flow.state = TcpState::Content;
    (flow.tcp.client_next, flow.tcp.server_next) = (place, leg);
}

impl Plane {
    /// A segment of a content connection.
    #[allow(clippy::too_many_arguments)] // see Plane::forward
    pub(super) fn splice(
        &mut self,
        frame: &mut FrameBuf,
        parsed: &Parsed,
        ip: &Ip,
        id: FlowId,
        side: Side,
        now: Time,
        out: &mut Out,
    ) -> Verdict {
        let Transport::Tcp(tcp) = &ip.transport else { return Verdict::Dropped(Counter::Protocol) };
        let numbers = self.flows.get(id).tcp;
        let (place, leg) = (numbers.client_next, numbers.server_next);
        let Some(mut connection) = self.splices.take(place) else { return Verdict::Dropped(Counter::NoFlow) };
        let mut packet = Packet::new(frame, parsed, ip, tcp);
        if connection.stage == Stage::Closed && leg == CLIENT_SIDE && self.is_new_client(&connection, &packet, now) {
            self.counters.add(Counter::FlowReused);
            self.forget(connection, out);
            return self.readmit(frame, parsed, ip, now, out);
        }
        let verdict = match (side, leg) {
            (Side::Client, CLIENT_SIDE) => self.client_says(&mut connection, &mut packet, now, out),
            (Side::Server, leg) if leg != CLIENT_SIDE => self.server_says(&mut connection, leg, &mut packet, now, out),
            _ => Verdict::Dropped(Counter::NoFlow),
        };
        self.settle(connection, now, out);
        verdict
    }

    /// Puts a connection back, or ends it.
    fn settle(&mut self, mut connection: Box<Connection>, now: Time, out: &mut Out) {
        if connection.gone.is_some() {
            self.part_with(connection, now, out);
            return;
        }
        let footprint = connection.footprint();
        self.splices.held = self.splices.held - connection.counted + footprint;
        connection.counted = footprint;
        let due = connection.due(self.idle_time(connection.stage));
        self.splices.arm(&mut connection, due);
        let place = connection.place as usize;
        self.splices.connections[place] = Some(connection);
    }

    /// Content connections held.
    pub fn content_connections(&self) -> usize {
        self.splices.len()
    }

    /// Content connections that fit.
    pub fn content_connections_max(&self) -> usize {
        self.splices.capacity()
    }

    /// Memory taken by held bytes of requests, and of responses behind gaps.
    pub fn content_held(&self) -> usize {
        self.splices.held
    }
}
