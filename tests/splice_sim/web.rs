//! Servers. Each says its name in every answer and notes what it was asked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use acm_switch::base::addr::Mac;
use acm_switch::base::time::Time;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, State};

use super::hello::Hello;
use super::host::{Host, Manner};
use super::segment::{SYN, be16, be32, parts};
use super::talk::{AskId, Asked, Piece, Reader, read_request};

/// Clients connect from this port on, one each.
pub(crate) const FIRST_PORT: u32 = 40_000;

/// One server on one port.
pub(crate) struct Web {
    pub(crate) name: u32,
    pub(crate) host: Host,
    port: u16,
    conversations: Vec<Conversation>,
    /// The number of the last SYN from each port.
    begun: BTreeMap<u16, u32>,
    /// Requests whose last byte came, and how often.
    pub(crate) served: BTreeMap<AskId, u32>,
    /// Every path asked for, and by which client.
    pub(crate) paths: BTreeSet<(u32, String)>,
    pub(crate) accepted: u32,
    pub(crate) wrong: Vec<String>,
    /// Some client lies, so what is asked need not make sense.
    pub(crate) hears_lies: bool,
    /// Connections it aborts: the n-th accepted one, after it has sent so many bytes.
    pub(crate) aborts: BTreeMap<u32, usize>,
}

fn is_open(socket: &tcp::Socket<'_>) -> bool {
    socket.is_active() && socket.state() != State::SynReceived
}

struct Conversation {
    handle: SocketHandle,
    /// Its number, once it is one.
    number: Option<u32>,
    reader: Reader,
    hello: Option<Hello>,
    has_begun: bool,
    asked: Option<Asked>,
    unsent: Vec<u8>,
    sent: usize,
    closes: bool,
}

impl Web {
    pub(crate) fn new(name: u32, mac: Mac, ip: Ipv4Addr, port: u16, manner: Manner, now: Time) -> Web {
        Web {
            name,
            host: Host::new(mac, ip, manner, now),
            port,
            conversations: vec![],
            begun: BTreeMap::new(),
            served: BTreeMap::new(),
            paths: BTreeSet::new(),
            accepted: 0,
            wrong: vec![],
            hears_lies: false,
            aborts: BTreeMap::new(),
        }
    }

    /// A SYN sent again is not another connection; smoltcp, with several sockets on one port, would take it for one.
    pub(crate) fn hear(&mut self, frame: Vec<u8>, now: Time) {
        if let Some(at) = parts(&frame).filter(|at| at.flags == SYN) {
            let host = &mut self.host;
            let (from, number) = (be16(&frame, at.tcp), be32(&frame, at.tcp + 4));
            let is_known = self.conversations.iter().any(|talk| {
                let socket = host.tcp(talk.handle);
                let is_live = !matches!(socket.state(), State::Listen | State::Closed);
                is_live && socket.remote_endpoint().is_some_and(|peer| peer.port == from)
            });
            if is_known && self.begun.get(&from) == Some(&number) {
                return;
            }
            self.begun.insert(from, number);
        }
        self.host.hear(frame, now);
        self.host.work(now);
    }

    /// Serves until there is nothing more to do at this instant.
    pub(crate) fn turn(&mut self, now: Time) {
        self.keep_listening();
        for _ in 0..100 {
            self.host.work(now);
            let mut busy = false;
            for n in 0..self.conversations.len() {
                busy |= self.serve(n);
            }
            self.keep_listening();
            if !busy {
                return;
            }
        }
        self.wrong.push(format!("server {} never rests", self.name));
    }

    /// Two sockets wait for connections. Ended ones stay in the set, closed: a SYN sent again must meet the connection it
    /// began, and smoltcp asks its sockets in order.
    fn keep_listening(&mut self) {
        let host = &mut self.host;
        self.conversations.retain(|talk| host.tcp(talk.handle).state() != State::Closed);
        let waiting = self.conversations.iter().filter(|talk| host.tcp(talk.handle).is_listening()).count();
        for _ in waiting..2 {
            let handle = host.listen(self.port);
            let reader = Reader::new();
            let fresh = Conversation {
                handle,
                number: None,
                reader,
                hello: None,
                has_begun: false,
                asked: None,
                unsent: vec![],
                sent: 0,
                closes: false,
            };
            self.conversations.push(fresh);
        }
    }

    /// Connections that are not over. Not those that a late SYN began, which nobody completes.
    pub(crate) fn open(&mut self) -> usize {
        let host = &mut self.host;
        self.conversations.iter().filter(|talk| is_open(host.tcp(talk.handle))).count()
    }

    fn serve(&mut self, n: usize) -> bool {
        let talk = &mut self.conversations[n];
        let socket = self.host.tcp(talk.handle);
        if matches!(socket.state(), State::Listen | State::SynReceived | State::Closed) {
            return false;
        }
        let number = *talk.number.get_or_insert_with(|| {
            self.accepted += 1;
            self.accepted
        });
        let mut busy = false;
        while socket.can_recv() {
            let reader = &mut talk.reader;
            let _ = socket.recv(|bytes| {
                reader.feed(bytes);
                (bytes.len(), ())
            });
            busy = true;
        }
        loop {
            match talk.reader.next() {
                Ok(None) => break,
                Ok(Some(Piece::Head(head))) => match read_request(&head) {
                    Ok(asked) => {
                        talk.has_begun = true;
                        let asker = socket.remote_endpoint().map(|peer| u32::from(peer.port) - FIRST_PORT);
                        if asker != Some(asked.id.client) {
                            // Only who lies: garbled, a request may bear another client's number.
                            return self.fail(n, format!("{asker:?} asked {:?}", asked.id));
                        }
                        if talk.hello.is_some_and(|hello| hello.client != asked.id.client) {
                            let why = format!("{:?} behind {:?}", asked.path, talk.hello);
                            return self.fail(n, why);
                        }
                        self.paths.insert((asked.id.client, asked.path.clone()));
                        talk.reader.body(asked.upload, asked.id, 0);
                        talk.asked = Some(asked);
                    }
                    Err(why) => return self.fail(n, why),
                },
                Ok(Some(Piece::Hello(hello))) if !talk.has_begun => {
                    (talk.hello, talk.has_begun) = (Some(hello), true);
                }
                Ok(Some(piece @ (Piece::Hello(_) | Piece::Alert))) => return self.fail(n, format!("{piece:?} amid")),
                Ok(Some(Piece::End)) => {
                    let asked = talk.asked.take().expect("a head came first");
                    *self.served.entry(asked.id).or_default() += 1;
                    if talk.closes {
                        return self.fail(n, format!("{:?} after the last request", asked.id));
                    }
                    talk.closes = asked.answer(self.name, &mut talk.unsent);
                }
                Err(why) => return self.fail(n, why),
            }
        }
        if socket.can_send() && !talk.unsent.is_empty() {
            let sent = socket.send_slice(&talk.unsent).unwrap_or(0);
            talk.unsent.drain(..sent);
            talk.sent += sent;
            busy |= sent > 0;
        }
        if self.aborts.get(&number).is_some_and(|after| talk.sent >= *after) {
            self.aborts.remove(&number);
            socket.abort();
            return true;
        }
        let is_done = talk.closes || !socket.may_recv();
        if is_done && talk.unsent.is_empty() && socket.may_send() {
            socket.close();
            busy = true;
        }
        busy
    }

    fn fail(&mut self, n: usize, why: String) -> bool {
        if !self.hears_lies {
            self.wrong.push(format!("server {}: {why}", self.name));
        }
        self.host.tcp(self.conversations[n].handle).abort();
        true
    }
}
