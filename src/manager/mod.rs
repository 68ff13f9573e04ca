//! COMICS, the connection manager.

pub mod cache;
pub mod desk;
pub mod election;
mod lacks;
pub mod machine;
pub mod probe;
mod prober;
pub mod reconcile;
mod requests;
pub mod task;
pub mod timing;
