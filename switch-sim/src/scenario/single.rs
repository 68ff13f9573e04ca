//! The scenarios in which one thing happens and one answer is right.

use std::collections::BTreeSet;

use super::service::{connections, name, serving_v1};
use super::{Judging, State, Step};
use crate::chassis::witness::Deed;
use crate::shell::SessionId;
use crate::slb::change::Change;
use crate::slb::words::Port;
use crate::time::Time;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A step that is done, open, or wrong.
fn step(what: &str, done: bool, wrong: &Option<String>) -> Step {
    match wrong {
        Some(why) => Step::new(what, State::Wrong(why.clone())),
        None => Step::done_if(what, done),
    }
}

/// `failed-server`: rs2 goes, the others stay.
#[derive(Default)]
pub(super) struct FailedServer {
    out: bool,
    saved: bool,
    wrong: Option<String>,
}

impl Judging for FailedServer {
    fn see(&mut self, by: Option<SessionId>, deed: &Deed<'_>, now: Time) {
        match deed {
            Deed::Changed { config, balancer, .. } if by.is_some() => {
                let serving = serving_v1(config);
                self.saved = false;
                self.out = !serving.contains("rs2");
                if !serving.is_superset(&names(&["rs1", "rs3"])) {
                    self.wrong.get_or_insert(format!("only {serving:?} serve"));
                }
                let well = name("rs2").is_some_and(|rs2| balancer.real(&rs2).failed_for == 0);
                if self.out && well && now.since(Time::ZERO).as_secs() < 2 {
                    self.wrong.get_or_insert("rs2 was taken out while it was well".into());
                }
            }
            Deed::Saved => self.saved = true,
            _ => {}
        }
    }

    fn steps(&self) -> Vec<Step> {
        vec![
            Step::done_if("rs2 is out of service", self.out),
            step("rs1 and rs3 serve all the time", self.out, &self.wrong),
            Step::done_if("saved", self.out && self.saved),
        ]
    }
}

/// `changed-behind`: rs3 comes back, the foreign server stays as it is.
#[derive(Default)]
pub(super) struct ChangedBehind {
    happened: bool,
    restored: bool,
    saved: bool,
    wrong: Option<String>,
}

impl Judging for ChangedBehind {
    fn see(&mut self, by: Option<SessionId>, deed: &Deed<'_>, _now: Time) {
        match deed {
            Deed::Changed { change: Change::AddRealPort { real, .. }, .. }
                if by.is_none() && real.as_str() == "theirs" =>
            {
                self.happened = true;
            }
            Deed::Changed { config, .. } if by.is_some() => {
                self.saved = false;
                self.restored = self.happened && serving_v1(config) == names(&["rs1", "rs2", "rs3"]);
                let theirs = name("theirs").and_then(|name| config.real(&name));
                let untouched = theirs.is_some_and(|real| !real.leaving && real.ports.contains_key(&Port::HTTP));
                if self.happened && !untouched {
                    self.wrong.get_or_insert("the other hand's server was changed".into());
                }
            }
            Deed::Saved => self.saved = true,
            _ => {}
        }
    }

    fn steps(&self) -> Vec<Step> {
        vec![
            Step::done_if("the other hand has changed something", self.happened),
            Step::done_if("rs1, rs2 and rs3 serve again", self.restored),
            step("the other hand's server is untouched", self.restored, &self.wrong),
            Step::done_if("saved", self.restored && self.saved),
        ]
    }
}

/// `reload`: what was saved is there again, and the driver looks.
#[derive(Default)]
pub(super) struct Reload {
    bound: bool,
    saved: bool,
    reloaded: bool,
    looked: bool,
    wrong: Option<String>,
}

impl Judging for Reload {
    fn see(&mut self, by: Option<SessionId>, deed: &Deed<'_>, _now: Time) {
        match deed {
            Deed::Changed { config, .. } if by.is_some() && !self.reloaded => {
                self.saved = false;
                self.bound = serving_v1(config).len() == 3;
            }
            Deed::Saved if self.bound && !self.reloaded => self.saved = true,
            Deed::Reloaded => {
                if !self.saved {
                    self.wrong.get_or_insert("the device was reloaded before the bindings were saved".into());
                }
                self.reloaded = true;
            }
            Deed::Shown(pattern) if self.reloaded && by.is_some() => {
                let looks = ["show running-config", "write terminal", "show server bind", "show server real"];
                self.looked |= looks.iter().any(|look| pattern.starts_with(look));
            }
            _ => {}
        }
    }

    fn steps(&self) -> Vec<Step> {
        vec![
            Step::done_if("rs1, rs2 and rs3 serve", self.bound),
            Step::done_if("saved", self.saved),
            step("reloaded", self.reloaded, &self.wrong),
            Step::done_if("looked afterwards", self.looked),
        ]
    }
}

/// `replace-server`: the old rs1 finishes before the new one comes.
#[derive(Default)]
pub(super) struct ReplaceServer {
    deleted: bool,
    added: bool,
    serving: bool,
    saved: bool,
    wrong: Option<String>,
}

impl Judging for ReplaceServer {
    fn see(&mut self, by: Option<SessionId>, deed: &Deed<'_>, _now: Time) {
        match deed {
            Deed::Changed { change, config, balancer } if by.is_some() => {
                self.saved = false;
                let Some(rs1) = name("rs1") else { return };
                if let Change::ClearSessions { real } = change
                    && *real == rs1
                {
                    self.wrong.get_or_insert("its connections were cut".into());
                }
                self.deleted |= matches!(change, Change::RemoveReal { name } if *name == rs1);
                let new = config.real(&rs1).is_some_and(|real| real.address.to_string() == "10.1.2.11");
                if new && !self.added && connections(config, *balancer, &rs1) > 0 {
                    self.wrong.get_or_insert("the new rs1 began with the old one's connections".into());
                }
                self.added = self.deleted && new;
                self.serving = self.added && serving_v1(config) == names(&["rs1", "rs2", "rs3"]);
                if !serving_v1(config).is_superset(&names(&["rs2", "rs3"])) {
                    self.wrong.get_or_insert("rs2 and rs3 did not serve all the time".into());
                }
            }
            Deed::Saved => self.saved = true,
            _ => {}
        }
    }

    fn steps(&self) -> Vec<Step> {
        vec![
            step("rs1 was deleted and left to finish", self.deleted, &self.wrong),
            Step::done_if("rs1 is at 10.1.2.11", self.added),
            Step::done_if("rs1, rs2 and rs3 serve", self.serving),
            Step::done_if("saved", self.serving && self.saved),
        ]
    }
}
