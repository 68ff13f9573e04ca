//! The ServerIron's command line on our own switch: `switch-sim`'s seam to a box ([`SlbBox`]), fulfilled by whatever
//! fulfils [`AcmSwitch`].
//!
//! ```text
//!  command -> Change -> wants.rs, plan.rs: primitives -> task.rs: AcmSwitch -> acknowledgement -> prompt
//!  events, List -> amend.rs: Changes -> the command line's configuration
//!  List -> seen.rs: states, counters, remarks -> screens
//! ```
//!
//! What is configured on the command line is what `acm list` shows, and the other way round: a binding that somebody adds
//! through the API appears in the configuration under names made from its addresses, one that somebody removes is
//! unbound. What the contract has no word for (names, real servers that are not bound, ages) stays in the command line's
//! own configuration; what the command line has no word for (leases, owners, Drop policies, rules
//! that look at cookies) is a remark in `show running-config`. Content switching has words on both sides
//! ([`ironware`](crate::ironware) has the table): `content.rs` obeys them, `reword.rs` writes what others set. Not here: the grammar, sessions and screens (`switch-sim`), and listening (`cli`).
//!
//! [`SlbBox`]: switch_sim::slb::balancer::SlbBox
//! [`AcmSwitch`]: crate::acm::switch::AcmSwitch

mod acm_box;
mod amend;
mod content;
mod plan;
mod reword;
mod seen;
mod task;
mod wants;

pub use acm_box::AcmBox;
