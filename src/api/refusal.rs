//! How the API says no: an error of the contract, or a refusal by HTTP itself; both travel as a problem document.

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use super::reply::{Answer, Body};
use super::schema::problem::{MEDIA_TYPE, Problem};
use crate::acm::error::AcmError;

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The switch, or a check of the contract, refused.
    Acm(AcmError),
    /// HTTP refused.
    Http {
        /// The status, 400 to 599.
        status: u16,
        /// What is wrong and what would be right.
        detail: String,
    },
    /// The path exists, the method does not; the text lists what it has.
    Method(&'static str),
    /// No token, or none that is known. Says nothing about the path.
    Unauthenticated,
}

impl Refusal {
    /// 400: not what HTTP or JSON calls a request.
    pub(super) fn malformed(detail: String) -> Refusal {
        Refusal::Http { status: 400, detail }
    }

    /// 404 for a path that is no route.
    pub(super) fn no_such_route() -> Refusal {
        Refusal::Http { status: 404, detail: "no such route; /openapi.json lists them".to_owned() }
    }

    /// The response.
    pub(super) fn into_answer(self) -> Answer {
        let (problem, header) = match self {
            Refusal::Acm(error) => (Problem::from(error), None),
            Refusal::Http { status, detail } => (http(status, detail), None),
            Refusal::Method(allowed) => (
                http(405, format!("this route answers {allowed} only")),
                Some((ALLOW, HeaderValue::from_static(allowed))),
            ),
            Refusal::Unauthenticated => (
                http(401, "a bearer token is needed".to_owned()),
                Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            ),
        };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // A problem is strings and numbers; should writing one ever fail, the status still tells the truth.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

fn http(status: u16, detail: String) -> Problem {
    let phrase = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    Problem::http(status, phrase.unwrap_or("Error"), detail)
}

impl From<AcmError> for Refusal {
    fn from(error: AcmError) -> Refusal {
        Refusal::Acm(error)
    }
}
