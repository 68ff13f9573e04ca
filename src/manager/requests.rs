//! Agents that wait for an acknowledgement, and what each switch has answered so far.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::acm::words::BindingKey;
use crate::base::id::Name;
use crate::base::time::Time;
use crate::beacon::gate::Sender;
use crate::beacon::message::{AckRow, Answer, Stamp};
use crate::beacon::words::Words;

/// Requests that wait at once. At the bound the oldest is answered with `pending` for what is open.
const REQUESTS_MAX: usize = 4096;

/// Where an answer comes from: a switch by its number, or the manager itself.
type Place = (BindingKey, Option<usize>);

/// A request that may be answered.
#[derive(Debug)]
pub(super) struct Request {
    /// Where the answer goes.
    pub(super) to: SocketAddr,
    /// Who asked.
    pub(super) sender: Sender,
    /// With which datagram.
    pub(super) of: Stamp,
    rows: BTreeMap<Place, Option<(Answer, Option<Words>)>>,
    until: Time,
}

impl Request {
    /// A request that nothing is known about yet, answered at `until` whatever is known then.
    pub(super) fn new(to: SocketAddr, sender: Sender, of: Stamp, until: Time) -> Request {
        Request { to, sender, of, rows: BTreeMap::new(), until }
    }

    /// The manager's own answer about a binding.
    pub(super) fn answer(&mut self, key: BindingKey, answer: Answer, note: Option<Words>) {
        self.rows.insert((key, None), Some((answer, note)));
    }

    /// A switch's answer about a binding is awaited.
    pub(super) fn expect(&mut self, key: BindingKey, switch: usize) {
        self.rows.insert((key, Some(switch)), None);
    }

    fn is_whole(&self) -> bool {
        self.rows.values().all(Option::is_some)
    }

    /// The rows of the acknowledgement; what is not answered is pending.
    pub(super) fn rows(self, name: impl Fn(usize) -> Name) -> Vec<AckRow> {
        let row = |((key, switch), answer): (Place, Option<(Answer, Option<Words>)>)| {
            let (answer, note) = answer.unwrap_or((Answer::Pending, None));
            AckRow { key, switch: switch.map(&name), answer, note }
        };
        self.rows.into_iter().map(row).collect()
    }
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<u64, Request>,
    waiting: BTreeMap<(BindingKey, usize), Vec<u64>>,
    next: u64,
}

impl Requests {
    /// Takes a request; returns those that are to be acknowledged now.
    pub(super) fn open(&mut self, request: Request) -> Option<Request> {
        if request.is_whole() {
            return Some(request);
        }
        let oldest = (self.open.len() >= REQUESTS_MAX).then(|| self.open.keys().next().copied()).flatten();
        let pushed_out = oldest.and_then(|id| self.close(id));
        self.next += 1;
        for (key, switch) in request.rows.iter().filter(|(_, row)| row.is_none()).map(|(place, _)| place) {
            if let Some(switch) = switch {
                self.waiting.entry((*key, *switch)).or_default().push(self.next);
            }
        }
        self.open.insert(self.next, request);
        pushed_out
    }

    /// A switch has answered; returns the requests that are whole by that.
    pub(super) fn answered(
        &mut self,
        key: BindingKey,
        switch: usize,
        answer: Answer,
        note: Option<&Words>,
    ) -> Vec<Request> {
        let mut whole = Vec::new();
        for id in self.waiting.remove(&(key, switch)).unwrap_or_default() {
            let Some(request) = self.open.get_mut(&id) else { continue };
            request.rows.insert((key, Some(switch)), Some((answer, note.cloned())));
            if request.is_whole() {
                whole.extend(self.close(id));
            }
        }
        whole
    }

    /// When the first has waited long enough. They are in order, since all wait equally long.
    pub(super) fn next_deadline(&self) -> Time {
        self.open.values().next().map_or(Time::NEVER, |request| request.until)
    }

    /// The requests that have waited long enough.
    pub(super) fn overdue(&mut self, now: Time) -> Vec<Request> {
        let ids: Vec<_> = self.open.iter().take_while(|(_, request)| request.until <= now).map(|(id, _)| *id).collect();
        ids.into_iter().filter_map(|id| self.close(id)).collect()
    }

    fn close(&mut self, id: u64) -> Option<Request> {
        let request = self.open.remove(&id)?;
        for (key, switch) in request.rows.iter().filter(|(_, row)| row.is_none()).map(|(place, _)| place) {
            let Some(switch) = switch else { continue };
            if let Some(ids) = self.waiting.get_mut(&(*key, *switch)) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.waiting.remove(&(*key, *switch));
                }
            }
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beacon::key::KeyId;
    use crate::beacon::message::NodeId;

    fn key(port: u16) -> BindingKey {
        let real = SocketAddr::from(([10, 1, 0, 11], port));
        BindingKey { service: "10.0.0.100:80".parse().unwrap(), real }
    }

    fn request(counter: u64, until: u64) -> Request {
        let sender = Sender { key: KeyId(2), node: NodeId(7) };
        let to = "10.1.0.11:9".parse().unwrap();
        Request::new(to, sender, Stamp { boot: 1, counter }, Time::from_secs(until))
    }

    fn name(switch: usize) -> Name {
        format!("sw-{switch}").parse().unwrap()
    }

    #[test]
    fn an_answer_is_whole_when_every_switch_has_answered() {
        let mut all = Requests::default();
        for counter in 1..=2 {
            let mut both = request(counter, 1);
            both.expect(key(80), 0);
            both.expect(key(80), 1);
            assert!(all.open(both).is_none());
        }
        assert!(all.answered(key(80), 0, Answer::Done, None).is_empty());
        let whole = all.answered(key(80), 1, Answer::Full, Some(&Words::clip("no room")));
        assert_eq!(whole.iter().map(|request| request.of.counter).collect::<Vec<_>>(), [1, 2]);
        let rows = whole.into_iter().next().unwrap().rows(name);
        assert_eq!(rows.iter().map(|row| row.answer).collect::<Vec<_>>(), [Answer::Done, Answer::Full]);
        assert_eq!(rows[1].switch, Some(name(1)));
        assert!(all.open.is_empty() && all.waiting.is_empty());
    }

    #[test]
    fn a_slow_switch_is_pending_and_the_bound_holds() {
        let mut all = Requests::default();
        let mut refused = request(1, 1);
        refused.answer(key(80), Answer::Forbidden, None);
        assert!(all.open(refused).is_some(), "nothing to wait for");
        for counter in 0..REQUESTS_MAX as u64 + 1 {
            let mut one = request(counter, 1);
            one.expect(key(counter as u16), 0);
            assert_eq!(all.open(one).is_some(), counter == REQUESTS_MAX as u64);
        }
        assert!(all.overdue(Time::from_millis(999)).is_empty());
        let late = all.overdue(Time::from_secs(1));
        assert_eq!(late.len(), REQUESTS_MAX);
        assert_eq!(late.into_iter().next().unwrap().rows(name)[0].answer, Answer::Pending);
        assert!(all.waiting.is_empty());
    }
}
