//! The native API: HTTP/JSON in front of any [`InspectableSwitch`](crate::acm::switch::InspectableSwitch).
//!
//! It listens on a Unix socket (default; only its owner may open it) and, when configured, on TCP with bearer
//! tokens. It decides nothing: a request is read strictly, handed to the switch as a primitive, and the answer or
//! the error is written down.
//!
//! * [`schema`]: what travels; the only page other rooms that speak to the API may read;
//! * [`listen`]: opening the listeners; [`auth`]: tokens and what they allow;
//! * [`task`]: the accept loop and every bound on what a client can hold;
//! * `routes`, `handlers`, `json`, `reply`, `refusal`: from a request to an answer;
//! * `metrics`, [`openapi`]: the Prometheus page and the document of the API.
//!
//! HTTP/1.1 by hyper, without a web framework: fourteen routes are one `match`, and a primitive's answer is a few
//! microseconds away from the switch's own. Not here: TLS (put a proxy in front, or use the Unix socket through
//! SSH), and what a primitive means ([`crate::acm`]).

pub mod auth;
mod handlers;
mod json;
pub mod listen;
mod metrics;
pub mod openapi;
mod refusal;
mod reply;
mod routes;
pub mod schema;
pub mod task;
