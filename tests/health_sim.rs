//! The health checks, from outside: simulated reals on a simulated segment, under simulated time.

#[path = "health_sim/world.rs"]
mod world;

#[path = "health_sim/depths.rs"]
mod depths;

#[path = "health_sim/hostile.rs"]
mod hostile;

#[path = "health_sim/many.rs"]
mod many;
