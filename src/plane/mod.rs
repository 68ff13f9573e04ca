//! The forwarding plane: pure. Frames and the time go in, verdicts and frames come out; one [`Plane`] per worker.
//!
//! Inline topology, as a hardware web switch: it bridges its ports, answers ARP and echo for virtual addresses, and
//! for a virtual service rewrites destination address, port and MAC towards the chosen real, and source address,
//! port and MAC on the way back.
//!
//! Its whole face: [`Plane::take_table`], [`Plane::process`], [`Plane::poll`], [`Plane::next_deadline`],
//! [`Plane::originate`] and the counters. Commands are table changes: a binding that turns to draining is reported
//! [`Notice::Drained`] when its last flow ends; a binding that disappears from the table is cut, in slices, and reported
//! [`Notice::Cut`]. Not here: sockets, clocks, health checks (frames for the switch's own address come out as
//! [`Verdict::Delivered`]), and when a table changes (`switch`).

mod maglev;
pub mod schedule;
mod turns;

use crate::base::id::BindingId;

/// What the plane reports to the control side besides frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A draining binding has no flow left in this plane.
    Drained {
        /// Which.
        binding: BindingId,
    },
    /// A binding that left the table has no flow left in this plane; `cut` of them were ended for it.
    Cut {
        /// Which.
        binding: BindingId,
        /// Flows ended.
        cut: u64,
    },
}
