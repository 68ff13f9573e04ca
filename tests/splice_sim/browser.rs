//! A client machine with one connection, carried by smoltcp.

use std::net::Ipv4Addr;

use acm_switch::base::addr::Mac;
use acm_switch::base::time::Time;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

use super::dialogue::{Dialogue, Ending, Errand, Fate};
use super::host::{Host, Manner};

pub(crate) struct Browser {
    pub(crate) host: Host,
    vip: (Ipv4Addr, u16),
    port: u16,
    pub(crate) dialogue: Dialogue,
    handle: Option<SocketHandle>,
    unsent: Vec<u8>,
    has_left: bool,
}

impl Browser {
    pub(crate) fn new(
        (mac, ip, port): (Mac, Ipv4Addr, u16),
        vip: (Ipv4Addr, u16),
        errand: Errand,
        manner: Manner,
        now: Time,
    ) -> Browser {
        Browser {
            host: Host::new(mac, ip, manner, now),
            vip,
            port,
            dialogue: Dialogue::new(errand),
            handle: None,
            unsent: vec![],
            has_left: false,
        }
    }

    pub(crate) fn hear(&mut self, frame: Vec<u8>, now: Time) {
        // Its station still answers for its address: smoltcp would have no time for others while it asks in vain.
        if !self.has_left || frame[12..14] == [8, 6] {
            self.host.hear(frame, now);
        }
    }

    /// True while its TCP still has something of the connection.
    pub(crate) fn is_open(&mut self) -> bool {
        self.handle.is_some_and(|handle| self.host.tcp(handle).is_active())
    }

    /// When it wants a turn.
    pub(crate) fn wake(&mut self, now: Time) -> Option<Time> {
        [self.dialogue.wake(now), self.host.wake(now)].into_iter().flatten().min()
    }

    pub(crate) fn turn(&mut self, now: Time) {
        if self.dialogue.fate == Fate::Waiting && now >= self.dialogue.errand.starts {
            self.handle = Some(self.host.connect(self.vip, self.port));
            self.dialogue.fate = Fate::Talking;
        }
        for _ in 0..100 {
            self.host.work(now);
            if !self.talk(now) {
                return;
            }
        }
        self.dialogue.wrong.push("a client never rests".into());
    }

    fn talk(&mut self, now: Time) -> bool {
        let dialogue = &mut self.dialogue;
        let Some(handle) = self.handle.filter(|_| dialogue.fate == Fate::Talking) else { return false };
        let socket = self.host.tcp(handle);
        if dialogue.aborts_at().is_some_and(|at| now >= at) {
            socket.abort();
            dialogue.fate = Fate::Broken;
            return true;
        }
        dialogue.ask(now, &mut self.unsent);
        let mut busy = false;
        if socket.can_send() && !self.unsent.is_empty() {
            let sent = socket.send_slice(&self.unsent).unwrap_or(0);
            self.unsent.drain(..sent);
            busy |= sent > 0;
        }
        let has_said_all = dialogue.has_asked_all() && self.unsent.is_empty();
        if has_said_all && dialogue.errand.ending == Ending::HalfCloses && socket.may_send() {
            socket.close();
            busy = true;
        }
        while socket.can_recv() {
            let _ = socket.recv(|bytes| {
                dialogue.feed(bytes);
                (bytes.len(), ())
            });
            busy = true;
        }
        let ended = !matches!(socket.state(), State::SynSent | State::SynReceived) && !socket.may_recv();
        dialogue.read(now, ended, socket.state() == State::Closed);
        match dialogue.fate {
            Fate::Done if dialogue.errand.ending == Ending::Vanishes => {
                self.host.sockets.remove(handle);
                self.handle = None;
                self.has_left = true;
                true
            }
            Fate::Done => {
                socket.close();
                true
            }
            Fate::Broken => {
                socket.abort();
                true
            }
            Fate::Waiting | Fate::Talking => busy,
        }
    }
}
