//! Which servers are being looked at, and what looks at servers nobody speaks of have shown.

use std::collections::{BTreeMap, BTreeSet};

use super::probe::{Evidence, Finding, Target};
use crate::base::time::Time;

/// Looks under way at once, and waiting for a place. At the bound a look is left out; the next pass asks again.
const LOOKS_MAX: usize = 4096;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Prober {
    under_way: BTreeSet<Target>,
    found: BTreeMap<Target, Evidence>,
}

impl Prober {
    /// True if a look is to begin now.
    pub(super) fn begin(&mut self, target: Target) -> bool {
        self.under_way.len() < LOOKS_MAX && self.under_way.insert(target)
    }

    /// A look has ended.
    pub(super) fn end(&mut self, target: Target, found: Finding, now: Time) {
        self.under_way.remove(&target);
        self.found.insert(target, Evidence { found, at: now });
    }

    /// The latest findings.
    pub(super) fn found(&self) -> &BTreeMap<Target, Evidence> {
        &self.found
    }

    /// Forgets findings from before this moment.
    pub(super) fn forget(&mut self, before: Time) {
        self.found.retain(|_, evidence| evidence.at >= before);
    }
}
