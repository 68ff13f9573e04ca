//! What operators have agents do: so far a rolling restart.
//!
//! * [`roll`]: a service is restarted server by server, as a machine without socket or clock;
//! * [`plan`]: what a person says about it: how many at once, how long a drain may take.
//!
//! An operator speaks beacons only and holds no switch: he asks agents how their bindings stand (`Who`) and commands
//! restarts (`Restart`), see `docs/wire-protocol.md`. What is remembered of a roll, the agents remember, so the
//! operator's process may die at any moment, and managers may, too. Caller: `cli::roll`.

pub mod plan;
pub mod roll;
