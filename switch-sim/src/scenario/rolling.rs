//! `rolling-reboot`: three servers, out and back in, one at a time, no connection cut.

use std::collections::BTreeSet;

use super::service::{connections, in_service};
use super::{Judging, State, Step};
use crate::chassis::witness::Deed;
use crate::shell::SessionId;
use crate::slb::change::Change;
use crate::slb::config::Config;
use crate::slb::words::{Name, Port};
use crate::time::Time;

/// Servers that are to be rolled.
const SERVERS: usize = 3;

#[derive(Default)]
pub(super) struct Rolling {
    /// The virtual server, once three are bound to it, and those three.
    service: Option<(Name, BTreeSet<Name>)>,
    serving: BTreeSet<Name>,
    rolled: BTreeSet<Name>,
    saved: bool,
    wrong: Option<(Name, String)>,
}

impl Rolling {
    fn find_service(&mut self, config: &Config) {
        let found = config.virtuals().map(|(server, _)| (server, in_service(config, server, Port::HTTP)));
        if let Some((server, serving)) = found.into_iter().find(|(_, serving)| serving.len() >= SERVERS) {
            self.serving.clone_from(&serving);
            self.service = Some((server.clone(), serving));
        }
    }

    fn blame(&mut self, real: &Name, why: String) {
        self.wrong.get_or_insert((real.clone(), why));
    }
}

impl Judging for Rolling {
    fn see(&mut self, by: Option<SessionId>, deed: &Deed<'_>, _now: Time) {
        let Deed::Changed { change, config, balancer } = deed else {
            self.saved |= matches!(deed, Deed::Saved);
            return;
        };
        if by.is_none() {
            return;
        }
        self.saved = false;
        let Some((server, all)) = self.service.clone() else { return self.find_service(config) };
        let serving: BTreeSet<Name> = in_service(config, &server, Port::HTTP).intersection(&all).cloned().collect();
        let out = all.difference(&serving).count();
        let gone: Vec<Name> = self.serving.difference(&serving).cloned().collect();
        if let Some(real) = gone.first().filter(|_| out > 1) {
            self.blame(
                real,
                format!("was taken out while another was out: {} of {} still serve", serving.len(), all.len()),
            );
        }
        if let Change::ClearSessions { real } = change {
            self.blame(real, "had its connections cut".into());
        }
        for real in serving.difference(&self.serving) {
            match connections(config, *balancer, real) {
                0 => drop(self.rolled.insert(real.clone())),
                n => {
                    let why = format!("was put back while {n} of its old connections were still there");
                    self.wrong.get_or_insert((real.clone(), why));
                }
            }
        }
        self.serving = serving;
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps =
            vec![Step::done_if("three real servers bound to port 80 of a virtual server", self.service.is_some())];
        for (n, real) in self.service.iter().flat_map(|(_, all)| all).enumerate() {
            let what = format!("server {} of {SERVERS}, {real}: out gracefully, and back", n + 1);
            steps.push(match &self.wrong {
                Some((wrong, why)) if wrong == real => Step::new(what, State::Wrong(why.clone())),
                _ => Step::done_if(what, self.rolled.contains(real)),
            });
        }
        let all_rolled = self.service.as_ref().is_some_and(|(_, all)| self.rolled.is_superset(all));
        steps.push(Step::done_if("saved at the end", all_rolled && self.saved));
        steps
    }
}
