//! What the manager says: acknowledgements to agents, its status to operators; all of it signed, and cut to fit.

use std::net::SocketAddr;

use super::super::requests::Request;
use super::{Action, Manager, To, Totals};
use crate::base::id::Name;
use crate::base::time::Time;
use crate::beacon::datagram::DATAGRAM_MAX;
use crate::beacon::gate::Sender;
use crate::beacon::key::KeyId;
use crate::beacon::message::{AckRow, Envelope, Message, NodeId, PeerRow, Role, Stamp, Status};

impl Manager {
    /// Sends the rows of an answer, in as many datagrams as they need; a binding's rows stay together.
    pub(super) fn acknowledge(&mut self, request: Request, now: Time) {
        let (to, sender, of) = (request.to, request.sender, request.of);
        let rows = request.rows(|switch| self.desks[switch].name.clone());
        let size = |row: &AckRow| {
            60 + row.switch.as_ref().map_or(0, |name| name.as_str().len())
                + row.note.as_ref().map_or(0, |note| note.as_str().len())
        };
        let mut some = Vec::new();
        let mut bytes = 0;
        for whole in rows.chunk_by(|a, b| a.key == b.key) {
            let more: usize = whole.iter().map(size).sum();
            if bytes + more > DATAGRAM_MAX - 200 && !some.is_empty() {
                self.ack(sender, of, std::mem::take(&mut some), to, now);
                bytes = 0;
            }
            // So many switches that their notes do not fit: the answers do.
            let fits = more <= DATAGRAM_MAX - 200;
            some.extend(whole.iter().map(|row| AckRow { note: row.note.clone().filter(|_| fits), ..row.clone() }));
            bytes += more;
        }
        self.ack(sender, of, some, to, now);
    }

    pub(super) fn ack(&mut self, sender: Sender, of: Stamp, rows: Vec<AckRow>, to: SocketAddr, now: Time) {
        let echoes = self.gate.echo_for(sender).into_iter().collect();
        let challenge = Some(self.gate.challenge(now));
        let envelope = Envelope { challenge, echoes, message: Message::Ack { of, rows } };
        self.send(sender.key, To::One(to), &envelope, now);
    }

    /// Tells an operator everything, in parts: first head, peers and counters, then the switches, some to a part.
    pub(super) fn report_status(&mut self, sender: Sender, to: SocketAddr, now: Time) {
        const SWITCHES: usize = 4;
        const PEERS: usize = 8;
        let peer = |(node, (role, at)): (&NodeId, &(Role, Time))| {
            let (node, role, age) = (*node, *role, now.since(*at));
            PeerRow { node, role, age }
        };
        let parts = 1 + self.desks.len().div_ceil(SWITCHES) as u16;
        let head = Status {
            part: 0,
            parts,
            role: self.role(),
            term: self.term(),
            leader: self.election.leader(),
            agents: self.cache.agents() as u32,
            bindings: self.cache.len() as u32,
            peers: self.peers.iter().take(PEERS).map(peer).collect(),
            switches: Vec::new(),
            counters: self.counts(),
        };
        let switches: Vec<_> = self.desks.iter().map(|desk| desk.status(now)).collect();
        let some = switches.chunks(SWITCHES).enumerate().map(|(n, some)| Status {
            part: n as u16 + 1,
            switches: some.to_vec(),
            peers: Vec::new(),
            counters: Vec::new(),
            ..head.clone()
        });
        for status in std::iter::once(head.clone()).chain(some) {
            let echoes = self.gate.echo_for(sender).into_iter().collect();
            let envelope = Envelope { challenge: None, echoes, message: Message::Status(status) };
            self.send(sender.key, To::One(to), &envelope, now);
        }
    }

    /// Everything counted that is not zero, by name.
    pub(super) fn counts(&self) -> Vec<(Name, u64)> {
        let gate = self.gate.counters();
        let refused = gate.iter().map(|(cause, count)| (format!("refused.{}", cause.as_str()), count));
        let Totals { beacons, statements, changes, not_granted, not_leading, tenures } = self.totals;
        let own = [
            ("accepted", gate.accepted),
            ("beacons", beacons),
            ("statements", statements),
            ("changes", changes),
            ("not-granted", not_granted),
            ("not-leading", not_leading),
            ("tenures", tenures),
        ];
        let all = own.into_iter().map(|(name, count)| (name.to_owned(), count)).chain(refused);
        all.filter(|(_, count)| *count > 0).filter_map(|(name, count)| Some((name.parse().ok()?, count))).collect()
    }

    /// Says something to all, with our challenge and the echoes of theirs.
    pub(super) fn say(&mut self, key: KeyId, message: Message, now: Time) {
        let (challenge, echoes) = (Some(self.gate.challenge(now)), self.gate.echoes());
        self.send(key, To::All, &Envelope { challenge, echoes, message }, now);
    }

    pub(super) fn send(&mut self, key: KeyId, to: To, envelope: &Envelope, now: Time) {
        // Everything we say is cut to fit before; what did not would be lost as a datagram can be.
        if let Ok(bytes) = self.sealer.seal_with(key, envelope, now) {
            self.actions.push(Action::Send(to, bytes));
        }
    }
}
