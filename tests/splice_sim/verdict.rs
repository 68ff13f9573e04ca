//! What was wrong with a world, when it is over.

use std::collections::BTreeMap;

use super::client::Client;
use super::dialogue::{Ending, Errand, Fate};
use super::web::Web;
use super::world::World;

impl World {
    /// Where everybody says good-bye, nothing stays open.
    pub(crate) fn check_connections(&mut self) {
        let is_polite = |errand: &Errand| {
            matches!(errand.ending, Ending::Closes | Ending::HalfCloses)
                && !errand.may_be_reset
                && !errand.anything_goes
        };
        if !self.clients.iter().all(|client| is_polite(&client.dialogue().errand)) {
            return;
        }
        for (n, client) in self.clients.iter_mut().enumerate() {
            if client.is_open() {
                self.wrong.push(format!("client {n}'s connection is still open"));
            }
        }
        for web in self.webs.iter_mut().flatten() {
            let open = web.open();
            if open > 0 {
                self.wrong.push(format!("server {} still has {open} connections", web.name));
            }
        }
    }

    /// What servers say they served is what clients say was answered; nobody was asked what is not his; one path met one
    /// server where paths are hashed.
    pub(crate) fn check_requests(&mut self) {
        for web in self.webs.iter().flatten() {
            // Of who lies nobody knows what the rest of the request was.
            let says = |client: u32| !self.clients[client as usize].dialogue().errand.anything_goes;
            for (_, path) in web.paths.iter().filter(|(client, _)| says(*client)) {
                if !(self.plan.allowed)(path, &self.plan.places).contains(&web.name) {
                    self.wrong.push(format!("server {} was asked for {path}", web.name));
                }
            }
        }
        let mut homes: BTreeMap<&str, u32> = BTreeMap::new();
        for dialogue in self.clients.iter().map(Client::dialogue).filter(|dialogue| !dialogue.errand.anything_goes) {
            for (n, ask) in dialogue.errand.asks.iter().enumerate() {
                let served = |web: &Web| web.served.get(&ask.id).map(|times| (web.name, *times));
                let served: Vec<(u32, u32)> = self.webs.iter().flatten().filter_map(served).collect();
                match (dialogue.answers.get(n), &served[..]) {
                    (Some(0), []) | (None, []) => {}
                    (Some(name), [(server, 1)]) if name == server => {
                        if (self.plan.hashes)(&ask.path) && *homes.entry(&ask.path).or_insert(*name) != *name {
                            self.wrong.push(format!("{} was served by {name} and by another", ask.path));
                        }
                    }
                    (None, [(_, 1)]) if dialogue.fate == Fate::Broken => {}
                    (answer, served) => {
                        let id = ask.id;
                        self.wrong.push(format!("{id:?} was answered by {answer:?} and served by {served:?}"));
                    }
                }
            }
        }
    }

    /// What was wrong, naming the seed.
    pub(crate) fn fault(&self) -> Option<String> {
        let (seed, kind) = (self.plan.seed, self.plan.kind);
        (!self.wrong.is_empty()).then(|| {
            let wrong = self.wrong.join("; ");
            format!("seed {seed}: {wrong}\nreplay: ACM_SIM_SEED={seed} cargo test --test splice_sim one_{kind}_seed")
        })
    }

    /// # Panics
    /// If anything was wrong.
    pub(crate) fn must_be_right(&self) {
        let fault = self.fault();
        assert!(fault.is_none(), "{}", fault.unwrap_or_default());
    }
}
