//! Real checks of real services: the box says when and whom, an implementation of [`Checks`] connects.

use std::net::SocketAddr;

use crate::slb::balancer::Waker;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Something accepts connections there.
    Accepts,
    /// Nothing does, or not in time.
    Refuses,
}

/// Whoever connects.
pub trait Checks: Send {
    /// Tries to connect once. The outcome comes with [`Checks::outcomes`], after the waker was called.
    fn begin(&mut self, target: SocketAddr);

    /// The outcomes since the last call.
    fn outcomes(&mut self) -> Vec<(SocketAddr, Outcome)>;

    /// What to call when there are outcomes.
    fn set_waker(&mut self, waker: Waker);
}
