//! What is heard: from managers it goes to the election, from agents, while we lead, to the cache and to the desks.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::cache::Said;
use super::super::election::Word;
use super::super::requests::Request;
use super::{Action, Manager, Notice, To};
use crate::acm::words::BindingKey;
use crate::base::time::Time;
use crate::beacon::codec::Kind;
use crate::beacon::datagram::peek_kind;
use crate::beacon::gate::{Heard, Sender};
use crate::beacon::message::{Answer, Condition, Envelope, Message, NodeId, Role, Stamp, Statement, Withdrawal};
use crate::beacon::words::Words;

impl Manager {
    /// A datagram has come.
    pub fn datagram(&mut self, bytes: &[u8], from: SocketAddr, now: Time) {
        let is_agents =
            matches!(peek_kind(bytes), Some(Kind::Beacon | Kind::Add | Kind::Remove | Kind::Failure | Kind::Leave));
        if is_agents && self.lead.is_none() {
            self.totals.not_leading += 1;
            return;
        }
        match self.gate.open(bytes, now) {
            Ok(heard) => self.heard(heard, from, now),
            Err(refused) => {
                if let Some(unproven) = refused.prove {
                    let echoes = unproven.echo.into_iter().collect();
                    let envelope = Envelope { challenge: Some(unproven.challenge), echoes, message: Message::Prove };
                    self.send(unproven.sender.key, To::One(from), &envelope, now);
                }
            }
        }
    }

    fn heard(&mut self, heard: Heard, from: SocketAddr, now: Time) {
        let Heard { sender, stamp, message, challenge } = heard;
        match message {
            Message::Heartbeat { term } => self.heard_manager(sender.node, Word::Heartbeat(term), now),
            Message::Claim { term } => self.heard_manager(sender.node, Word::Claim(term), now),
            Message::Resign => self.heard_manager(sender.node, Word::Resign, now),
            Message::Prove => self.prove(sender, challenge, from, now),
            Message::Query => self.report_status(sender, from, now),
            Message::Beacon { period, bindings } => {
                self.take_up(sender, stamp, period, bindings, from, None, now);
            }
            Message::Add { period, bindings } => {
                let request = Request::new(from, sender, stamp, now + self.setup.timing.ack);
                self.take_up(sender, stamp, period, bindings, from, Some(request), now);
            }
            Message::Remove { bindings, how } => self.withdraw(sender, stamp, bindings, how, from, now),
            Message::Failure { real, .. } => {
                let targets = self.cache.report(real);
                self.probe(targets);
            }
            Message::Leave => {
                let targets = self.cache.leave(sender);
                self.probe(targets);
            }
            // What managers say to agents and operators, and these to each other.
            Message::Solicit { .. }
            | Message::Ack { .. }
            | Message::Status(_)
            | Message::Who { .. }
            | Message::Standings(_)
            | Message::Restart(_) => {}
        }
    }

    /// Somebody we know asks whether we are who he thinks.
    fn prove(&mut self, sender: Sender, challenge: Option<u64>, from: SocketAddr, now: Time) {
        if let Some(challenge) = challenge {
            let envelope = Envelope { challenge: None, echoes: vec![challenge], message: Message::Prove };
            self.send(sender.key, To::One(from), &envelope, now);
        }
    }

    fn heard_manager(&mut self, node: NodeId, word: Word, now: Time) {
        if node == self.setup.node {
            if self.twin_told.is_none_or(|at| now.since(at) > Duration::from_secs(60)) {
                self.twin_told = Some(now);
                self.actions.push(Action::Notice(Box::new(Notice::Twin(node))));
            }
            return;
        }
        match word {
            Word::Heartbeat(_) => self.peers.insert(node, (Role::Leading, now)),
            Word::Claim(_) => self.peers.insert(node, (Role::Claiming, now)),
            Word::Resign => self.peers.remove(&node),
        };
        let acts = self.election.heard(node, word, now);
        self.act(acts, now);
        self.work(now);
    }

    /// Statements of a beacon or an Add.
    #[allow(clippy::too_many_arguments, reason = "all that a datagram says of itself")]
    fn take_up(
        &mut self,
        sender: Sender,
        stamp: Stamp,
        period: Duration,
        bindings: Vec<Statement>,
        from: SocketAddr,
        mut request: Option<Request>,
        now: Time,
    ) {
        self.totals.beacons += 1;
        // An agent that promises a beacon in a year is not believed for a year.
        let period = period.clamp(Duration::from_millis(50), self.setup.timing.beacon.max(Duration::from_secs(60)));
        let said = Said { agent: sender, stamp, patience: period * self.setup.timing.silent_after };
        let mut stirred = false;
        for statement in bindings {
            self.totals.statements += 1;
            let key = statement.key;
            let waits = matches!(statement.condition, Condition::Serving);
            if !self.is_granted(sender, &key, from, request.as_mut()) {
                continue;
            }
            match self.cache.hear(said, statement, now) {
                Ok(changed) => {
                    self.totals.changes += u64::from(changed);
                    if changed || request.is_some() {
                        stirred = true;
                        self.stir(key, request.as_mut().filter(|_| waits), now);
                    }
                    if let Some(request) = request.as_mut().filter(|_| !waits) {
                        request.answer(key, Answer::Done, Some(Words::clip("known, and not added while it is so")));
                    }
                }
                Err(full) => answer(request.as_mut(), key, Answer::Full, &full.to_string()),
            }
        }
        self.wait_for(request, now);
        if stirred {
            self.work(now);
        }
    }

    fn withdraw(
        &mut self,
        sender: Sender,
        stamp: Stamp,
        bindings: Vec<BindingKey>,
        how: Withdrawal,
        from: SocketAddr,
        now: Time,
    ) {
        let mut request = Request::new(from, sender, stamp, now + self.setup.timing.ack);
        let patience = self.setup.timing.beacon * self.setup.timing.silent_after;
        let said = Said { agent: sender, stamp, patience };
        let may_force = self.gate.grant(sender.key).is_some_and(|grant| grant.force);
        for key in bindings {
            if !self.is_granted(sender, &key, from, Some(&mut request)) {
                continue;
            }
            if how == Withdrawal::Force && !may_force {
                request.answer(key, Answer::Forbidden, Some(Words::clip("the key may not cut connections")));
                continue;
            }
            match self.cache.withdraw(said, key, how, now) {
                Ok(changed) => {
                    self.totals.changes += u64::from(changed);
                    self.stir(key, Some(&mut request), now);
                }
                Err(full) => answer(Some(&mut request), key, Answer::Full, &full.to_string()),
            }
        }
        self.wait_for(Some(request), now);
        self.work(now);
    }

    fn is_granted(
        &mut self,
        sender: Sender,
        key: &BindingKey,
        from: SocketAddr,
        request: Option<&mut Request>,
    ) -> bool {
        let covers = self.gate.grant(sender.key).map(|grant| grant.covers(key, from.ip()));
        let Some(Err(why)) = covers else { return covers.is_some() };
        answer(request, *key, Answer::Forbidden, &why);
        self.totals.not_granted += 1;
        self.actions.push(Action::Notice(Box::new(Notice::NotGranted(sender, why))));
        false
    }
}

/// Answers at once, if somebody waits.
pub(super) fn answer(request: Option<&mut Request>, key: BindingKey, answer: Answer, note: &str) {
    if let Some(request) = request {
        request.answer(key, answer, Some(Words::clip(note)));
    }
}
