//! Managers, agents, switches and the network between them, simulated from a seed: loss, duplication, reordering,
//! partitions (also one-way), pauses, crashes, clocks that drift and stand still. What must hold is checked from what
//! happened at the switches, not from what managers say.
//!
//! `ACM_SIM_SEEDS=100000` runs more seeds; `ACM_SIM_SEED=41` replays one and tells what happens.

mod agent;
mod bounds;
mod core;
mod seeds;
mod truth;
mod world;
