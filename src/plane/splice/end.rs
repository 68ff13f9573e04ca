//! Ends of content connections: both sides have closed, or one has reset; a binding was removed by force; the table is
//! full.

use super::super::counters::Counter;
use super::super::flow_table::{Flow, FlowId, Side};
use super::super::services::NOBODY;
use super::super::tcp::TcpState;
use super::super::{Out, Plane};
use super::CLIENT_SIDE;
use super::connection::{Connection, Gone, Stage};
use crate::base::addr::Protocol;
use crate::base::time::Time;

impl Plane {
    /// Both sides have said their last, or one has reset: no live connection any more. Last segments still pass.
    pub(super) fn close(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        if connection.stage == Stage::Closed {
            return;
        }
        self.end_parked(connection, now, out);
        let mut legs = std::mem::take(&mut connection.legs);
        legs.iter_mut().for_each(|leg| self.leave(leg, out));
        connection.legs = legs;
        connection.held = None;
        connection.stage = Stage::Closed;
        connection.seen = now;
        (connection.watch, connection.answer, connection.pending, connection.head) = (None, None, None, None);
        (connection.head_due, connection.resend_at) = (None, None);
        // It will be woken when it is to be forgotten, sooner than an established one.
        let place = connection.place;
        let used = self.splices.uses[place as usize];
        if self.splices.closed.len() > self.splices.config.connections_max {
            let uses = &self.splices.uses;
            self.splices.closed.retain(|(place, used)| uses[*place as usize] == *used);
        }
        self.splices.closed.push_back((place, used));
    }

    /// Forgets the connection that has been over for longest. False if none is over.
    pub(super) fn evict_closed(&mut self, out: &mut Out) -> bool {
        while let Some((place, used)) = self.splices.closed.pop_front() {
            if self.splices.uses[place as usize] == used
                && let Some(connection) = self.splices.take(place)
            {
                self.counters.add(Counter::ContentEvicted);
                self.forget(connection, out);
                return true;
            }
        }
        false
    }

    /// Ends a connection whose end was decided.
    pub(super) fn part_with(&mut self, mut connection: Box<Connection>, now: Time, out: &mut Out) {
        if connection.gone == Some(Gone::Buried) {
            self.bury_client(&connection, now);
            for leg in std::mem::take(&mut connection.legs) {
                self.bury_leg(&leg, now, out);
            }
            self.splices.release(connection.place, connection.counted);
            return;
        }
        self.forget(connection, out);
    }

    /// Forgets a connection at once.
    pub(super) fn forget(&mut self, mut connection: Box<Connection>, out: &mut Out) {
        for leg in std::mem::take(&mut connection.legs) {
            self.forget_leg(&leg, out);
        }
        self.flows.get_mut(connection.flow).state = TcpState::Closed;
        self.forget_flow(connection.flow);
        self.splices.release(connection.place, connection.counted);
    }

    /// Force Remove: one entry of a content connection whose binding is being cut. Ends the whole connection if that server
    /// is in use, else only the server connection.
    pub(in crate::plane) fn cut_splice(&mut self, id: FlowId, now: Time, out: &mut Out) {
        let flow = *self.flows.get(id);
        let (place, leg) = (flow.tcp.client_next, flow.tcp.server_next);
        if leg == CLIENT_SIDE {
            return;
        }
        let Some(mut connection) = self.splices.take(place) else { return };
        if connection.leg(leg).is_some_and(|leg| leg.is_live) {
            if let Some(cut) = &mut self.services.binding_mut(flow.binding).cutting {
                *cut += 1;
            }
            self.counters.add(Counter::FlowCut);
            match connection.active == Some(leg) {
                true => self.reset_whole(&mut connection, out),
                false => self.end_leg(&mut connection, leg, now, out),
            }
        }
        self.settle(connection, now, out);
    }

    /// Inserts an entry that is found from one side only; an embryonic flow makes room if it must.
    pub(super) fn insert_one(&mut self, flow: Flow, hash: u64, out: &mut Out) -> Option<FlowId> {
        if let Ok(id) = self.flows.insert_one(flow, hash) {
            return Some(id);
        }
        if !self.evict_embryonic(out) {
            return None;
        }
        self.flows.insert_one(flow, hash).ok()
    }

    /// Takes an entry that is found from one side only out of the flow table. Its end was told before.
    pub(in crate::plane) fn forget_flow(&mut self, id: FlowId) {
        let flow = *self.flows.get(id);
        let client = flow.client();
        let hash = match flow.binding {
            NOBODY => self.flows.hash(Side::Client, client, self.services.service(flow.service).addr, Protocol::Tcp),
            binding => self.flows.hash(Side::Server, client, self.services.binding(binding).real, Protocol::Tcp),
        };
        self.flows.remove_one(id, hash);
        self.services.release(flow.service, flow.binding);
    }
}
