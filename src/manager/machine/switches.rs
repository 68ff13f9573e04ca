//! The switches: what is to be done there goes to their desks, what they answer comes back, and servers are looked at.

use super::super::cache::{Absence, Want};
use super::super::desk::{Context, Desk, Done, News};
use super::super::probe::{Finding, Target};
use super::super::reconcile::{Rules, Unknown};
use super::super::requests::Request;
use super::hear::answer;
use super::{Action, Manager, Notice};
use crate::acm::event::EventKind;
use crate::acm::words::BindingKey;
use crate::base::span::Span;
use crate::base::time::Time;
use crate::beacon::message::Answer;

impl Manager {
    /// Something else is wanted about a binding, or somebody waits for it: the switches concerned are told.
    pub(super) fn stir(&mut self, key: BindingKey, mut request: Option<&mut Request>, now: Time) {
        let explicit = !matches!(self.cache.want(&key), Some(Want::Absent(Absence::Failing(_) | Absence::Dead(_))));
        let owners: Vec<_> = (0..self.desks.len()).filter(|n| self.desks[*n].owns(&key.service)).collect();
        if owners.is_empty() {
            answer(request, key, Answer::NoSwitch, "no switch of this manager has this virtual address");
            return;
        }
        for switch in owners {
            if let Some(request) = request.as_deref_mut() {
                request.expect(key, switch);
            }
            match explicit {
                true => self.desks[switch].ask(key, now),
                false => self.desks[switch].look(key.service, now),
            }
        }
    }

    pub(super) fn wait_for(&mut self, request: Option<Request>, now: Time) {
        if let Some(done) = request.and_then(|request| self.requests.open(request)) {
            self.acknowledge(done, now);
        }
    }

    /// Begins looks at servers.
    pub(super) fn probe(&mut self, targets: impl IntoIterator<Item = Target>) {
        for target in targets {
            if self.prober.begin(target) {
                self.actions.push(Action::Probe(target));
            }
        }
    }

    /// A look at a server has ended.
    pub fn probed(&mut self, target: Target, found: Finding, now: Time) {
        self.prober.end(target, found, now);
        if self.lead.is_none() {
            return;
        }
        let changed = self.cache.probed(target, found, now);
        if !changed.is_empty() {
            self.actions.push(Action::Notice(Box::new(Notice::Probed(target, found))));
        }
        for key in changed {
            self.stir(key, None, now);
        }
        self.work(now);
    }

    /// A job at a switch has ended.
    pub fn job_done(&mut self, switch: usize, done: Done, now: Time) {
        self.with_desk(switch, now, |desk, context, news| desk.done(done, context, news, now));
        self.work(now);
    }

    /// Something happened at a switch.
    pub fn event(&mut self, switch: usize, event: &EventKind, now: Time) {
        if self.lead.is_some() {
            self.desks[switch].happened(event, &self.cache, now);
            self.work(now);
        }
    }

    /// Every desk that may have a job gets one.
    pub(super) fn work(&mut self, now: Time) {
        for switch in 0..self.desks.len() {
            if self.lead.is_none() {
                return;
            }
            let job = self.with_desk(switch, now, |desk, context, news| desk.next(context, news, now));
            if let Some(job) = job {
                self.actions.push(Action::Job(switch, Box::new(job)));
            }
        }
    }

    /// Lets a desk do something, and hears its news.
    pub(super) fn with_desk<T>(
        &mut self,
        switch: usize,
        now: Time,
        act: impl FnOnce(&mut Desk, &Context<'_>, &mut Vec<News>) -> T,
    ) -> T {
        let unknown = self.lead.as_ref().map_or(Unknown::Kept, |lead| lead.unknown);
        let rules = Rules {
            owner: &self.setup.owner,
            health: self.setup.timing.health.as_ref(),
            drain: Span(self.setup.timing.drain),
            unknown,
            found: self.prober.found(),
            refusals_since: now - self.setup.timing.heartbeat,
        };
        let may_write_until = self.election.may_write_until().unwrap_or(Time::ZERO);
        let (reconcile, heartbeat) = (self.setup.timing.reconcile, self.setup.timing.heartbeat);
        let context = Context { cache: &self.cache, rules, may_write_until, reconcile, heartbeat };
        let mut news = Vec::new();
        let result = act(&mut self.desks[switch], &context, &mut news);
        for one in news {
            self.hear_desk(switch, one, now);
        }
        result
    }

    pub(super) fn hear_desk(&mut self, switch: usize, news: News, now: Time) {
        let notice = match news {
            News::Answered(key, answer, note) => {
                for request in self.requests.answered(key, switch, answer, note.as_ref()) {
                    self.acknowledge(request, now);
                }
                return;
            }
            News::Probe(targets) => return self.probe(targets),
            News::Fenced(why) => {
                self.actions.push(Action::Notice(Box::new(Notice::Fenced(switch, why))));
                let acts = self.election.fenced(now);
                return self.act(acts, now);
            }
            News::Granted(tenure) => Notice::Granted(switch, tenure),
            News::Unfenced => Notice::Unfenced(switch),
            News::Lost(why) => Notice::Lost(switch, why),
            News::Reached => Notice::Reached(switch),
            News::Repaired(primitive) => Notice::Repaired(switch, Box::new(primitive)),
            News::Refused(primitive, why) => Notice::Refused(switch, Box::new(primitive), why),
        };
        self.actions.push(Action::Notice(Box::new(notice)));
    }
}
