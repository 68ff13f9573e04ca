//! COMICS, the connection manager.

pub mod cache;
pub mod election;
pub mod probe;
pub mod reconcile;
pub mod timing;
