//! Server connections: choosing a member, opening, taking into use, parking and ending them.

use super::super::admit::Arrival;
use super::super::counters::Counter;
use super::super::flow_table::{Flow, FlowId, Side};
use super::super::process::FlowKey;
use super::super::services::NOBODY;
use super::super::tcp::TcpState;
use super::super::{Out, Plane, tick};
use super::connection::{Connection, Leg, PARKED_MAX, Stage};
use super::mark;
use super::numbers::Shift;
use crate::base::addr::Protocol;
use crate::base::id::Name;
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::wire::parse::TcpFlags;

/// Servers asked for one request before it is refused.
const CHOICES: usize = 4;

impl Plane {
    /// The member that a request goes to.
    pub(super) fn pick(
        &mut self,
        connection: &Connection,
        group: &Name,
        (led, content_hash): (Option<u32>, Option<u64>),
        tried: &[u32],
        now: Time,
    ) -> Result<u32, Counter> {
        let whereabouts = self.flows.get(connection.flow).whereabouts();
        let ends = &connection.ends;
        let key = FlowKey { side: Side::Client, client: ends.client, other: ends.service, protocol: Protocol::Tcp };
        let arrival = Arrival { key: &key, client_hash: 0, mac: whereabouts.mac(), port: whereabouts.port() };
        let mut own = [NOBODY; PARKED_MAX + 1];
        let up = connection.legs.iter().filter(|leg| leg.is_up);
        own.iter_mut().zip(up).for_each(|(own, leg)| *own = leg.binding);
        self.choose_among(connection.service, group, &arrival, (led, content_hash), (&own, tried), now)
    }

    /// Opens a connection to a member; the first byte it will get is the client's `first`.
    pub(super) fn open(&mut self, connection: &mut Connection, binding: u32, first: Seq, now: Time, out: &mut Out) {
        self.make_room_for_leg(connection, now, out);
        let (client, real) = (connection.ends.client, self.services.binding(binding).real);
        let mut flow = Flow::new(client, Protocol::Tcp, NOBODY, binding, tick(now));
        let whereabouts = self.flows.get(connection.flow).whereabouts();
        flow.seen_from(whereabouts.mac(), whereabouts.port());
        let id = connection.next_leg;
        mark(&mut flow, connection.place, id);
        let hash = self.flows.hash(Side::Server, client, real, Protocol::Tcp);
        self.clear_grave(client, real, hash, out);
        let Some(flow) = self.insert_one(flow, hash, out) else {
            self.counters.add(Counter::FlowTableFull);
            let kind = connection.pending.as_ref().map(|pending| pending.kind).unwrap_or_default();
            self.no_server(connection, kind, now, out);
            return;
        };
        self.services.hold_server(binding);
        connection.next_leg = connection.next_leg.wrapping_add(1) & 0x7fff_ffff;
        let leg = Leg {
            id,
            binding,
            flow,
            is_up: false,
            is_live: true,
            delta: 0,
            shift: Shift::default(),
            floor: Seq(0),
            acked: first,
            next: Seq(0),
            told: Seq(0),
            sent: first,
            window: 0,
            scale: None,
            mss: 536,
            sack: false,
            timestamps: false,
            clock_delta: 0,
            clock_first: 0,
            clock: 0,
        };
        self.send_syn(connection, &leg, out);
        connection.legs.push(leg);
        connection.active = Some(id);
        connection.stage = Stage::Connecting;
        connection.head_due = None;
        self.await_syn_ack(connection, now);
    }

    /// Whether there is another server than the one being asked.
    pub(super) fn has_other_choice(&mut self, connection: &Connection, now: Time) -> bool {
        let Some(pending) = &connection.pending else { return false };
        let mut tried = pending.tried.clone();
        tried.extend(connection.active().map(|leg| leg.binding));
        let (group, key) = (pending.group.clone(), pending.key);
        tried.len() < CHOICES && self.pick(connection, &group, (None, key), &tried, now).is_ok()
    }

    /// The server being asked has refused, or does not answer: another one is asked, or the client hears that there is
    /// none. Nothing was promised yet.
    pub(super) fn next_choice(&mut self, connection: &mut Connection, has_refused: bool, now: Time, out: &mut Out) {
        let Some(mut pending) = connection.pending.take() else { return };
        let id = connection.active.take();
        let asked = connection.legs.iter().position(|leg| Some(leg.id) == id).map(|at| connection.legs.remove(at));
        let first = asked.as_ref().map_or(connection.passed, |leg| leg.acked);
        if let Some(leg) = asked {
            pending.tried.push(leg.binding);
            match has_refused {
                true => self.forget_leg(&leg, out),
                // It may have heard a SYN all the same, and its answer may be late.
                false => self.bury_leg(&leg, now, out),
            }
        }
        let choice = match pending.tried.len() < CHOICES {
            true => self.pick(connection, &pending.group, (None, pending.key), &pending.tried, now),
            false => Err(Counter::NoReal),
        };
        let kind = pending.kind;
        match choice {
            // One of those already open would have to be taken into use; the client's bytes are held from `first` on.
            Ok(binding) => {
                match connection.legs.iter().find(|leg| leg.is_up && leg.binding == binding).map(|leg| leg.id) {
                    Some(id) => {
                        self.take_into_use(connection, id, first);
                        self.begin_exchange(connection);
                        connection.tries = 0;
                        connection.sent = first;
                        self.replay(connection, now, out);
                    }
                    None => {
                        connection.pending = Some(pending);
                        self.open(connection, binding, first, now, out);
                    }
                }
            }
            Err(_) => {
                self.services.service_mut(connection.service).refused += 1;
                self.no_server(connection, kind, now, out);
            }
        }
    }

    /// A server that may take nothing new, and that nothing is asked of now, is left: so a drain ends with the last
    /// request, not with the last client.
    pub(in crate::plane) fn leave_idle(&mut self, id: FlowId, now: Time, out: &mut Out) {
        let numbers = self.flows.get(id).tcp;
        let (place, leg) = (numbers.client_next, numbers.server_next);
        let Some(mut connection) = self.splices.take(place) else { return };
        self.leave_if_idle(&mut connection, leg, now, out);
        self.settle(connection, now, out);
    }

    /// The same for one server connection of one client.
    pub(super) fn leave_if_idle(&mut self, connection: &mut Connection, id: u32, now: Time, out: &mut Out) {
        let is_parked = connection.active != Some(id) && connection.stage != Stage::Closed;
        let is_idle = connection.stage == Stage::Head && connection.delivered() == Some(connection.passed);
        let is_draining = connection
            .leg(id)
            .is_some_and(|leg| leg.is_up && leg.is_live && self.services.binding(leg.binding).draining.is_some());
        if !is_draining || !(is_parked || is_idle) {
            return;
        }
        if is_idle && !is_parked {
            self.park(connection, out);
        }
        self.end_leg(connection, id, now, out);
    }

    /// The present server is set aside, and this one gets the client's bytes from `first` on.
    pub(super) fn take_into_use(&mut self, connection: &mut Connection, id: u32, first: Seq) {
        connection.active = Some(id);
        let (server_next, own_clock) = (connection.server_next, connection.own_clock);
        let Some(leg) = connection.leg_mut(id) else { return };
        leg.delta = leg.sent.0.wrapping_sub(first.0);
        leg.shift = Shift::between(leg.next, server_next);
        leg.floor = leg.next;
        if leg.timestamps {
            leg.clock_delta = own_clock.wrapping_sub(leg.clock);
            leg.clock_first = leg.clock;
        }
    }

    /// Sets the server in use aside: all it said is acknowledged, so that it has nothing to send again.
    pub(super) fn park(&mut self, connection: &mut Connection, out: &mut Out) {
        let Some(id) = connection.active.take() else { return };
        let acked = connection.server_acked;
        let Some(leg) = connection.leg_mut(id) else { return };
        let ack = leg.shift.back(acked);
        if leg.told < ack {
            leg.told = ack;
            let leg = leg.clone();
            self.send_server(connection, &leg, (TcpFlags::ACK, leg.sent, &[]), out);
        }
        // The one set aside last is the last to be ended.
        if let Some(at) = connection.legs.iter().position(|leg| leg.id == id) {
            let leg = connection.legs.remove(at);
            connection.legs.push(leg);
        }
    }

    fn make_room_for_leg(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        while connection.legs.len() > PARKED_MAX {
            let Some(oldest) = connection.legs.iter().map(|leg| leg.id).find(|id| connection.active != Some(*id))
            else {
                return;
            };
            self.end_leg(connection, oldest, now, out);
        }
    }

    /// Ends the server connections that are set aside.
    pub(super) fn end_parked(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        while let Some(id) = connection.legs.iter().map(|leg| leg.id).find(|id| connection.active != Some(*id)) {
            self.end_leg(connection, id, now, out);
        }
    }

    /// Ends a server connection with a RST. What of it still comes is answered for a while.
    pub(super) fn end_leg(&mut self, connection: &mut Connection, id: u32, now: Time, out: &mut Out) {
        let Some(at) = connection.legs.iter().position(|leg| leg.id == id) else { return };
        let leg = connection.legs.remove(at);
        if leg.is_live {
            self.reset_server(connection, &leg, out);
            self.bury_leg(&leg, now, out);
        } else {
            self.forget_leg(&leg, out);
        }
    }

    /// A server connection is over, as far as counts go.
    pub(super) fn leave(&mut self, leg: &mut Leg, out: &mut Out) {
        if std::mem::take(&mut leg.is_live) {
            self.ended(leg.binding, out);
        }
    }

    /// Takes a server connection out of the flow table.
    pub(super) fn forget_leg(&mut self, leg: &Leg, out: &mut Out) {
        if leg.is_live {
            self.ended(leg.binding, out);
        }
        self.flows.get_mut(leg.flow).state = TcpState::Closed;
        self.forget_flow(leg.flow);
    }
}
