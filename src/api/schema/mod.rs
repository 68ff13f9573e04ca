//! What travels: paths, headers, bodies and errors of the native API. Both ends read this room's pages, the server
//! and the native client; neither knows the other.
//!
//! * bodies are the contract's own types ([`crate::acm::primitive`], [`crate::acm::list`]) plus the few here;
//! * [`problem`]: errors, RFC 9457;
//! * [`sse`]: the event stream, WHATWG HTML section 9.2 (server-sent events).

pub mod problem;
pub mod sse;

use serde::{Deserialize, Serialize};

use crate::acm::error::AcmError;
use crate::acm::primitive::{Done, Outcome};
use crate::base::id::Name;

/// Paths of the API.
pub mod path {
    /// POST: a list of primitives; answers a list of outcomes.
    pub const APPLY: &str = "/v1/apply";
    /// POST: Add.
    pub const ADD: &str = "/v1/add";
    /// POST: Remove.
    pub const REMOVE: &str = "/v1/remove";
    /// POST: Force Remove.
    pub const FORCE_REMOVE: &str = "/v1/force-remove";
    /// POST: Drop.
    pub const DROP: &str = "/v1/drop";
    /// POST: sets a service's options.
    pub const SET_SERVICE: &str = "/v1/set-service";
    /// POST: removes a service.
    pub const REMOVE_SERVICE: &str = "/v1/remove-service";
    /// GET: List.
    pub const LIST: &str = "/v1/list";
    /// GET: the event stream.
    pub const EVENTS: &str = "/v1/events";
    /// GET: counters as JSON.
    pub const STATS: &str = "/v1/stats";
    /// GET, followed by a port's name: a running capture.
    pub const CAPTURE: &str = "/v1/capture/";
    /// POST: claims leadership.
    pub const CLAIM: &str = "/v1/claim";
    /// GET: counters as Prometheus text.
    pub const METRICS: &str = "/metrics";
    /// GET: the OpenAPI document.
    pub const OPENAPI: &str = "/openapi.json";
}

/// Header with the epoch of the caller's tenure; goes with [`MANAGER`].
pub const EPOCH: &str = "acm-epoch";
/// Header with the manager of the caller's tenure; goes with [`EPOCH`].
pub const MANAGER: &str = "acm-manager";

/// The largest request body, in bytes, except for lists and services: one primitive.
pub const BODY_MAX: usize = 64 * 1024;
/// The largest body of [`path::APPLY`] and [`path::SET_SERVICE`], in bytes: `BATCH_MAX` primitives of 256 bytes each, or
/// as many rules as a service can have, of 16 KiB each.
pub const LIST_BODY_MAX: usize = 16 * 1024 * 1024;

/// Body of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Who claims leadership.
    pub manager: Name,
}

/// One outcome within a list: what was done, or an object with `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum OutcomeBody {
    /// The primitive is in force.
    Done(Done),
    /// The primitive was refused and changed nothing.
    Refused(AcmError),
}

impl From<Outcome> for OutcomeBody {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Ok(done) => OutcomeBody::Done(done),
            Err(error) => OutcomeBody::Refused(error),
        }
    }
}

impl From<OutcomeBody> for Outcome {
    fn from(body: OutcomeBody) -> Self {
        match body {
            OutcomeBody::Done(done) => Ok(done),
            OutcomeBody::Refused(error) => Err(error),
        }
    }
}

/// Bytes that may stand in a path segment or a query value unescaped (RFC 3986, section 2.3, and `:` and `/`,
/// which section 3.4 allows in a query).
fn is_plain(byte: u8, also: &[u8]) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte)
}

/// A text as the value of a query parameter.
pub fn query_value(text: &str) -> String {
    escape(text, b":/")
}

/// A text as one segment of a path.
pub fn path_segment(text: &str) -> String {
    escape(text, b"")
}

fn escape(text: &str, also: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte, also) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The text that was escaped, or `None` if an escape is broken or the result is not UTF-8. A `+` is a plus sign:
/// these are not forms.
pub fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_survive() {
        for text in ["10.0.0.100:80/udp", "[2001:db8::1]:53", "a b&c=d%é", ""] {
            assert_eq!(unescape(&query_value(text)).as_deref(), Some(text));
            assert_eq!(unescape(&path_segment(text)).as_deref(), Some(text));
        }
        for bad in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    #[test]
    fn outcomes_survive_their_json() {
        let done = Done { generation: crate::base::id::Generation(3), binding: None, changed: true, cut: Some(2) };
        for outcome in [Ok(done), Err(AcmError::not_found("service 10.0.0.100:80"))] {
            let text = serde_json::to_string(&OutcomeBody::from(outcome.clone())).unwrap();
            assert_eq!(Outcome::from(serde_json::from_str::<OutcomeBody>(&text).unwrap()), outcome, "{text}");
        }
    }
}
