//! The contract: what Active Connection Management asks of any switch.
//!
//! * [`words`]: virtual service, real, binding, group, rule, health profile; will and observation are apart.
//! * [`rules`]: the words of content switching: rules, what a group hashes, persistence.
//! * [`primitive`]: the calls (Add, Remove, Force Remove, Drop, service set and remove) and their outcomes, as data.
//! * [`list`]: the List primitive: filters, rows, one consistent snapshot.
//! * [`error`], [`event`]: what can go wrong and what happened, as data.
//! * [`event_log`]: what happened lately, for subscribers that come back.
//! * [`table`]: [`ServiceTable`](table::ServiceTable), everything a switch was told, validated whole, immutable.
//! * [`validate`]: the ranges of a primitive's own fields.
//! * [`model`]: the obvious, slow reference; [`chaos`]: any switch, misbehaving on purpose.
//! * [`conformance`]: the suite every implementor passes, usable from other crates.
//! * [`wait`]: waiting for a binding to become active or empty; [`connect`]: from a profile to a switch; [`recent`]:
//!   what was said to it lately.
//! * [`switch`]: `trait AcmSwitch`, and `trait Inspect` for what only some switches can show.
//!
//! Not here: packets, sockets, clocks. Callers: every room above this one, and driver authors outside.

pub mod chaos;
pub mod conformance;
pub mod connect;
pub mod error;
pub mod event;
pub mod event_log;
pub mod list;
pub mod model;
pub mod primitive;
pub mod recent;
pub mod rules;
pub mod switch;
pub mod table;
pub mod validate;
pub mod wait;
pub mod words;
