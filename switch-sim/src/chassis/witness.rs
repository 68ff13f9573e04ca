//! Who watches what is done at the command line, to judge a driver by it.

use crate::shell::SessionId;
use crate::slb::balancer::SlbBox;
use crate::slb::change::Change;
use crate::slb::config::Config;
use crate::time::Time;

/// Something that a session did.
pub enum Deed<'d> {
    /// A change was applied.
    Changed {
        /// The change.
        change: &'d Change,
        /// The configuration after it.
        config: &'d Config,
        /// The box after it.
        balancer: &'d dyn SlbBox,
    },
    /// A screen was shown; the syntax of its command.
    Shown(&'d str),
    /// `write memory`.
    Saved,
    /// `reload`, and a `y`.
    Reloaded,
}

/// Who watches.
pub trait Witness: Send {
    /// A session has done something. The device's own doings (its start-up file, another hand) have [`None`] for a session.
    fn see(&mut self, by: Option<SessionId>, deed: &Deed<'_>, now: Time);
}
