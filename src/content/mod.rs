//! Content switching, the deciding half: what a client asks, and what a service's rules make of it. Pure: bytes and
//! numbers in, decisions out; no sockets, no clock, no randomness, and nothing allocated for a request.
//!
//! ```text
//! segments -> head.rs (HTTP/1, strict) --> path.rs --> rules.rs: group, drop, reset, redirect -> hash.rs: key -> a scheduler
//!          `-> hello.rs (TLS, SNI, ALPN) ------------^        `-> answer.rs                      token.rs: the same server again
//! afterwards: body.rs and response.rs follow both ways to where the next request may go elsewhere
//! ```
//!
//! * [`head`]: a request's head, read as it comes; [`path`]: its path as servers read it; [`cookie`]: its cookies;
//! * [`hello`]: the TLS client hello; [`refusal`]: every reason to refuse, with counter and status;
//! * [`body`], [`response`]: where a message ends;
//! * [`rules`]: rules made ready for any number of requests; [`hash`]: the keys of `url-hash` and `cookie-hash`;
//! * [`token`]: persistence cookies; [`set_cookie`]: those that servers set, and where one can be put in; [`answer`]: what the switch itself says to a client.
//!
//! Reject, never repair: whatever two parsers could read differently is refused, since a rule is worth nothing if a server
//! sees another request than the switch. What is forwarded is what the client wrote, byte by byte.
//!
//! Not here: TCP, time and retransmission (the plane's delayed binding), which member of a group it will be
//! (`plane::schedule`), and the words themselves (`acm::rules`). Callers: the plane, and `acm explain`.

pub mod answer;
pub mod body;
mod bytes;
pub mod cookie;
pub mod hash;
pub mod head;
pub mod hello;
mod host;
pub mod path;
pub mod refusal;
pub mod response;
pub mod rules;
pub mod set_cookie;
mod text;
pub mod token;
