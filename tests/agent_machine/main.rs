//! The agent's machines from outside, on simulated time: what they say to a manager and an operator, and what they do
//! to a command. The other side is made of the beacon room's own gate and sealer.

mod agent;
mod sidecar;
mod world;
