//! A client of either kind.

use acm_switch::base::time::Time;

use super::browser::Browser;
use super::dialogue::Dialogue;
use super::host::Manner;
use super::raw::{Raw, Style};

/// Which TCP carries a client's requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Carrier {
    Smoltcp(Manner),
    Raw(Style),
}

pub(crate) enum Client {
    Browser(Box<Browser>),
    Raw(Box<Raw>),
}

impl Client {
    pub(crate) fn dialogue(&self) -> &Dialogue {
        match self {
            Client::Browser(client) => &client.dialogue,
            Client::Raw(client) => &client.dialogue,
        }
    }

    /// Everything that was wrong.
    pub(crate) fn wrong(&mut self) -> Vec<String> {
        match self {
            Client::Browser(client) => {
                [&mut client.dialogue.wrong, &mut client.host.wrong].map(std::mem::take).concat()
            }
            Client::Raw(client) => std::mem::take(&mut client.dialogue.wrong),
        }
    }

    pub(crate) fn hear(&mut self, frame: Vec<u8>, now: Time) {
        match self {
            Client::Browser(client) => client.hear(frame, now),
            Client::Raw(client) => client.hear(&frame, now),
        }
    }

    /// Does what is to be done now; returns what it sends.
    pub(crate) fn turn(&mut self, now: Time) -> Vec<Vec<u8>> {
        match self {
            Client::Browser(client) => {
                client.turn(now);
                client.host.sent().collect()
            }
            Client::Raw(client) => {
                client.turn(now);
                client.sent().collect()
            }
        }
    }

    pub(crate) fn wake(&mut self, now: Time) -> Option<Time> {
        match self {
            Client::Browser(client) => client.wake(now),
            Client::Raw(client) => client.wake(now),
        }
    }

    /// A hand-made client forgets its connection.
    pub(crate) fn quit(&mut self) {
        if let Client::Raw(client) = self {
            client.quit();
        }
    }

    pub(crate) fn is_open(&mut self) -> bool {
        match self {
            Client::Browser(client) => client.is_open(),
            Client::Raw(client) => client.is_open(),
        }
    }
}
