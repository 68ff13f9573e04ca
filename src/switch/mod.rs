//! The assembled switch: [`LocalSwitch`](local::LocalSwitch), the contract on top of the forwarding plane.
//!
//! ```text
//!  apply ──> control (pure) ──> publication ──> worker ──> plane ──> ports
//!    ^          ^    ^                            │ reports
//!    │          │    └── findings ── health <─────┤ delivered frames
//!  answer <─────┴──────── notices  <──────────────┘ drained, cut
//! ```
//!
//! * [`control`]: decides what a primitive, a finding, a notice or a moment does to the table. Pure.
//! * [`publication`]: one immutable table behind one pointer, and who has taken it up.
//! * [`worker`]: the loop of one worker thread: ports, plane, ports.
//! * [`local`]: `LocalSwitch`, the contract's implementor.
//! * [`task`]: the control task: health checks, notices, deadlines; the only clock of this room besides the worker's.
//!
//! Not here: how packets are treated (`plane`), how checks are made (`health`), HTTP (`api`).

mod capture;
pub mod control;
pub mod local;
pub mod publication;
pub mod task;
pub mod worker;
