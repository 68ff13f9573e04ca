//! Server load balancing as the device's command line has it: the configuration ([`config`]), what may change in it
//! ([`change`]), and the box behind it ([`balancer`]).

pub mod balancer;
pub mod block;
pub mod change;
pub mod config;
pub mod lines;
pub mod ordered;
pub mod report;
pub mod words;
