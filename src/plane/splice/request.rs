//! A request's head: reading it, deciding about it, and what follows for the connection.

use std::sync::Arc;

use super::super::counters::Counter;
use super::super::keeping::Led;
use super::super::{Out, Plane};
use super::connection::{Connection, Pending, Stage, Watch};
use super::persist::Persist;
use crate::acm::rules::{Action, Persistence, Strangers, Switching, Turned};
use crate::acm::words::Group;
use crate::base::id::Name;
use crate::base::seq::Seq;
use crate::base::time::Time;
use crate::content::body::BodyReader;
use crate::content::head::{HeadMap, HeadReader, Kind, Step};
use crate::content::hello::{self, Hello};
use crate::content::refusal::Refusal;
use crate::content::response::ResponseReader;
use crate::content::rules::{Facts, Toss};
use crate::content::{answer, cookie, hash};

/// What is done with what a client asks.
enum Course {
    /// It goes to a member of this group: to the one its cookie leads to, or one chosen by this key.
    Group(Name, Option<Led>, Option<u64>),
    /// The switch answers.
    Say(Vec<u8>),
    Reset,
    Refuse(Refusal),
}

/// How the connection stands after a head was decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The head is not complete.
    Incomplete,
    /// A server that is connected is in use: the request can be passed on.
    Ready,
    /// A server is being asked, or the switch answers: nothing is to be passed on now.
    Waiting,
}

impl Plane {
    /// Reads on in a head that begins at `first`; `bytes` is all there is of it and of what is behind it.
    pub(super) fn read_head(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        first: Seq,
        now: Time,
        out: &mut Out,
    ) -> Turn {
        if connection.is_tls {
            return self.read_hello(connection, bytes, first, now, out);
        }
        let limits = self.splices.config.head;
        let mut fresh = None;
        let reader = match &mut connection.head {
            Some(begun) => &mut **begun,
            None => fresh.insert(HeadReader::new(limits)),
        };
        let step = reader.advance(bytes);
        match (step, fresh) {
            (Step::More, Some(begun)) => connection.head = Some(Box::new(begun)),
            (Step::More, None) => {}
            _ => connection.head = None,
        }
        match step {
            Step::More => {
                // The one empty line that may stand before a request is none that has begun: old clients send it
                // behind a body (RFC 9112, section 2.2), and their next request may come much later.
                if connection.head_due.is_none() && !b"\r\n".starts_with(bytes) {
                    connection.head_due = Some(now + self.splices.config.head_deadline);
                }
                Turn::Incomplete
            }
            Step::Refused(why) => {
                self.refuse_request(connection, why, now, out);
                Turn::Waiting
            }
            Step::NotHttp(_) => {
                self.counters.add(Counter::ContentStranger);
                let course = self.course_of_stranger(connection.service);
                self.follow_course(connection, course, None, bytes, first, now, out)
            }
            Step::Head(map) => {
                self.counters.add(Counter::ContentRequest);
                let course = self.course_of(connection, &map, bytes, now);
                self.follow_course(connection, course, Some(&map), bytes, first, now, out)
            }
        }
    }

    /// Reads the client hello of TLS. Nothing behind it is looked at, nothing is decrypted.
    fn read_hello(&mut self, connection: &mut Connection, bytes: &[u8], first: Seq, now: Time, out: &mut Out) -> Turn {
        let mut room = std::mem::take(&mut self.splices.room);
        let course = match hello::read(bytes, usize::from(self.splices.config.head.head), &mut room) {
            hello::Step::More => None,
            hello::Step::Hello(hello) => {
                self.counters.add(Counter::ContentRequest);
                Some(self.course_of_hello(connection, hello))
            }
            hello::Step::NotTls => {
                self.counters.add(Counter::ContentStranger);
                Some(self.course_of_stranger(connection.service))
            }
            hello::Step::Refused(why) => Some(Course::Refuse(why)),
        };
        self.splices.room = room;
        match course {
            None => Turn::Incomplete,
            Some(course) => self.follow_course(connection, course, None, bytes, first, now, out),
        }
    }

    fn course_of_hello(&mut self, connection: &Connection, hello: Hello<'_>) -> Course {
        let toss = Toss { connection: connection.toss, request: self.coins.u64(..) };
        let slot = self.services.service(connection.service);
        let Some(rules) = slot.rules.clone() else { return Course::Reset };
        let decision = rules.set.decide(&Facts::Tls(hello), toss, &mut self.splices.scratch);
        self.count_decision(connection.service, decision.rule, decision.action);
        match decision.action {
            Action::Group(name) => Course::Group(name.clone(), None, None),
            // There is no HTTP to say it in.
            Action::Drop(_) | Action::Reset | Action::Redirect(_) => Course::Reset,
        }
    }

    /// Whether a request for this group is one that persistence is for. Tunnels are none.
    fn persists(&self, service: u32, group: &Name, map: Option<&HeadMap>) -> bool {
        let row = &self.services.service(service).row;
        map.is_some_and(|map| map.kind() != Kind::Connect)
            && row.groups.get(group).is_some_and(|group| group.persist != Persistence::None)
    }

    fn count_decision(&mut self, service: u32, rule: Option<usize>, action: &Action) {
        let slot = self.services.service_mut(service);
        slot.dropped += u64::from(matches!(action, Action::Drop(_)));
        if let Some(hits) = rule.and_then(|rule| slot.hits.get_mut(rule)) {
            *hits += 1;
        }
        match action {
            Action::Drop(_) => self.counters.add(Counter::ContentDropped),
            Action::Reset => self.counters.add(Counter::ContentReset),
            Action::Redirect(_) => self.counters.add(Counter::ContentRedirected),
            Action::Group(_) => {}
        }
    }

    fn course_of(&mut self, connection: &Connection, map: &HeadMap, bytes: &[u8], now: Time) -> Course {
        let toss = Toss { connection: connection.toss, request: self.coins.u64(..) };
        let slot = self.services.service_mut(connection.service);
        let Some(rules) = slot.rules.clone() else { return Course::Reset };
        let row = Arc::clone(&slot.row);
        let head = map.view(bytes);
        let path = match head.normal_path(&mut self.splices.room) {
            Ok(path) => path,
            Err(why) => return Course::Refuse(why),
        };
        let decision = rules.set.decide(&Facts::Http(head, path), toss, &mut self.splices.scratch);
        let action = decision.action;
        let course = match action {
            Action::Group(name) => {
                let group: Option<&Group> = row.groups.get(name);
                let key = group.and_then(|group| hash::key(group, &head, path));
                let cookie = group.and_then(|group| group.persist.cookie());
                let value = cookie.and_then(|cookie| cookie::find(head.cookie_fields(), cookie.as_bytes()));
                let led = value.and_then(|value| self.services.keeper(connection.service, name)?.lead(value, now));
                Course::Group(name.clone(), led, key)
            }
            Action::Drop(share) => match share.refusal {
                Turned::Reset => Course::Reset,
                Turned::Unavailable => Course::Say(answer::unavailable(map.kind())),
            },
            Action::Reset => Course::Reset,
            Action::Redirect(redirect) => match answer::redirected(redirect, &head) {
                Ok(text) => Course::Say(text),
                Err(why) => Course::Refuse(why),
            },
        };
        self.count_decision(connection.service, decision.rule, action);
        course
    }

    /// One cannot ask a stranger for his path: the default action, as far as it needs no HTTP, unless he is reset.
    fn course_of_stranger(&mut self, service: u32) -> Course {
        let row = &self.services.service(service).row;
        match (row.strangers, &row.default_action) {
            (Strangers::Default, Action::Group(name)) => Course::Group(name.clone(), None, None),
            _ => Course::Reset,
        }
    }

    #[allow(clippy::too_many_arguments)] // see Plane::forward
    fn follow_course(
        &mut self,
        connection: &mut Connection,
        course: Course,
        map: Option<&HeadMap>,
        bytes: &[u8],
        first: Seq,
        now: Time,
        out: &mut Out,
    ) -> Turn {
        connection.head_due = None;
        match course {
            Course::Group(name, led, key) => {
                if let Err(why) = self.watch_request(connection, map, bytes, first) {
                    self.refuse_request(connection, why, now, out);
                    return Turn::Waiting;
                }
                let kind = map.map(HeadMap::kind).unwrap_or_default();
                let shown = led.filter(|led| led.is_current).map(|led| self.services.binding(led.slot).id);
                connection.persist =
                    self.persists(connection.service, &name, map).then(|| Box::new(Persist::new(name.clone(), shown)));
                self.bind(connection, name, (led.map(|led| led.slot), key), kind, first, now, out)
            }
            Course::Say(text) => {
                self.say(connection, text, now, out);
                Turn::Waiting
            }
            Course::Reset => {
                self.reset_whole(connection, out);
                Turn::Waiting
            }
            Course::Refuse(why) => {
                self.refuse_request(connection, why, now, out);
                Turn::Waiting
            }
        }
    }

    /// Follows the request from its head on: up to where it is there, and where it ends. Without a head, or in
    /// first-request mode, nothing is followed and everything belongs to the server.
    fn watch_request(
        &mut self,
        connection: &mut Connection,
        map: Option<&HeadMap>,
        bytes: &[u8],
        first: Seq,
    ) -> Result<(), Refusal> {
        let row = &self.services.service(connection.service).row;
        let map = map.filter(|_| row.switching == Switching::PerRequest);
        let Some(map) = map else {
            connection.watch = None;
            connection.passed = first + bytes.len() as u32;
            return Ok(());
        };
        let mut body = BodyReader::new(map.framing());
        let used = body.feed(bytes.get(map.len()..).unwrap_or_default())?.used;
        connection.passed = first + (map.len() + used) as u32;
        let response = ResponseReader::new(map);
        let read = connection.server_next;
        let watch = Watch { body, response, begin: read, read, ahead: None, response_end: None };
        match &mut connection.watch {
            Some(old) => **old = watch,
            none => *none = Some(Box::new(watch)),
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // see Plane::forward
    fn bind(
        &mut self,
        connection: &mut Connection,
        group: Name,
        (led, key): (Option<u32>, Option<u64>),
        kind: Kind,
        first: Seq,
        now: Time,
        out: &mut Out,
    ) -> Turn {
        let binding = match self.pick(connection, &group, (led, key), &[], now) {
            Ok(binding) => binding,
            Err(why) => {
                self.services.service_mut(connection.service).refused += 1;
                self.counters.add(why);
                self.no_server(connection, kind, now, out);
                return Turn::Waiting;
            }
        };
        if led == Some(binding) {
            self.counters.add(Counter::ContentCookieLed);
        }
        let known = connection.legs.iter().find(|leg| leg.is_up && leg.binding == binding).map(|leg| leg.id);
        match known {
            Some(id) if connection.active == Some(id) => {}
            Some(id) => {
                self.counters.add(Counter::ContentReused);
                self.park(connection, out);
                self.take_into_use(connection, id, first);
            }
            None => {
                if connection.active.is_some() {
                    self.counters.add(Counter::ContentRebound);
                    self.park(connection, out);
                }
                connection.pending = Some(Box::new(Pending { group, key, kind, tried: Vec::new() }));
                self.open(connection, binding, first, now, out);
                return Turn::Waiting;
            }
        }
        self.begin_exchange(connection);
        connection.sent = first;
        connection.tries = 0;
        Turn::Ready
    }

    /// From here on the request passes.
    pub(super) fn begin_exchange(&mut self, connection: &mut Connection) {
        connection.pending = None;
        self.begin_persist(connection);
        connection.stage = match connection.watch {
            Some(_) => Stage::Exchange,
            None => Stage::Opaque,
        };
        if let (Stage::Opaque, Some(held)) = (connection.stage, &mut connection.held) {
            // What lies behind a gap passes in place when it comes again.
            held.truncate(held.end());
        }
    }

    /// If request and response are both complete, and acknowledged, the next request's turn has come.
    pub(super) fn turn(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        let is_over = connection.stage == Stage::Exchange
            && connection.watch.as_ref().is_some_and(|watch| {
                watch.body.is_over() && watch.response_end.is_some_and(|end| connection.server_acked >= end)
            })
            && connection.delivered().is_some_and(|delivered| delivered >= connection.passed);
        if !is_over {
            return;
        }
        connection.stage = Stage::Head;
        connection.head = None;
        if let Some(id) = connection.active {
            self.leave_if_idle(connection, id, now, out);
        }
        self.read_held_head(connection, now, out);
    }

    /// Reads the head that is held, as far as it is there.
    pub(super) fn read_held_head(&mut self, connection: &mut Connection, now: Time, out: &mut Out) {
        let Some(held) = connection.held.take() else { return };
        let turn = self.read_head(connection, held.in_order(), held.start(), now, out);
        if connection.stage == Stage::Answering || connection.gone.is_some() {
            return;
        }
        connection.held = Some(held);
        if turn == Turn::Ready {
            self.replay(connection, now, out);
        }
    }
}
