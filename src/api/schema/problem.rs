//! Errors on the wire: `application/problem+json` (RFC 9457). An [`AcmError`] travels whole in the member `error`;
//! refusals of HTTP itself (unknown route, no token, too large) have the type `about:blank` and no such member.

use serde::{Deserialize, Serialize};

use crate::acm::error::AcmError;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// `urn:acm:error:` and the word of the error, or `about:blank`.
    #[serde(rename = "type")]
    #[schema(example = "urn:acm:error:invalid")]
    pub kind: String,
    /// The same for every problem of this type.
    #[schema(example = "A field is not acceptable")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// What is wrong this time and what would be right.
    #[schema(example = "fraction: `1.5` is not a fraction from 0 to 1")]
    pub detail: String,
    /// The field at fault, as the caller wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "fraction")]
    pub field: Option<String>,
    /// The error as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AcmError>,
}

/// Status, word and title of each error.
fn class(error: &AcmError) -> (u16, &'static str, &'static str) {
    match error {
        AcmError::NotFound { .. } => (404, "not-found", "No such service or binding"),
        AcmError::Exists { .. } => (409, "exists", "The binding is somebody else's"),
        AcmError::Full { .. } => (507, "full", "A bound of the switch is reached"),
        AcmError::Unsupported { .. } => (501, "unsupported", "The switch cannot do this"),
        AcmError::StaleEpoch { .. } => (409, "stale-epoch", "A newer tenure is in force"),
        AcmError::Forbidden { .. } => (403, "forbidden", "The caller may not do this"),
        AcmError::Invalid { .. } => (422, "invalid", "A field is not acceptable"),
        AcmError::Unreachable { .. } => (502, "unreachable", "The switch cannot be reached"),
        AcmError::Timeout { .. } => (504, "timeout", "Not finished in the time allowed"),
    }
}

impl From<AcmError> for Problem {
    fn from(error: AcmError) -> Problem {
        let (status, word, title) = class(&error);
        let field = match &error {
            AcmError::Invalid { field, .. } => Some(field.clone()),
            _ => None,
        };
        Problem {
            kind: format!("urn:acm:error:{word}"),
            title: title.to_owned(),
            status,
            detail: error.to_string(),
            field,
            error: Some(error),
        }
    }
}

impl Problem {
    /// A refusal by HTTP itself. RFC 9457, section 4.2.1: the title of `about:blank` is the status's own phrase.
    pub fn http(status: u16, phrase: &str, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: phrase.to_owned(),
            status,
            detail: detail.into(),
            field: None,
            error: None,
        }
    }

    /// The error a client gives its caller.
    pub fn into_error(self) -> AcmError {
        if let Some(error) = self.error {
            return error;
        }
        match self.status {
            401 | 403 => AcmError::Forbidden { why: self.detail },
            400 | 413 | 414 | 415 | 422 | 431 => {
                AcmError::Invalid { field: self.field.unwrap_or_else(|| "body".to_owned()), why: self.detail }
            }
            408 | 504 => AcmError::Timeout { waited_for: self.detail },
            _ => AcmError::Unreachable { why: format!("HTTP {}: {}", self.status, self.detail) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acm::error::Feature;

    #[test]
    fn every_error_survives_the_wire() {
        let errors = [
            AcmError::not_found("x"),
            AcmError::Exists { what: "x".into(), owner: "m1".into() },
            AcmError::Full { what: "services".into(), max: 3 },
            AcmError::unsupported(Feature::ContentRules, "not built in"),
            AcmError::StaleEpoch { given: 1, current: 2 },
            AcmError::Forbidden { why: "no".into() },
            AcmError::invalid("fraction", "1.5"),
            AcmError::Unreachable { why: "gone".into() },
            AcmError::Timeout { waited_for: "active".into() },
        ];
        for error in errors {
            let problem = Problem::from(error.clone());
            assert!((400..600).contains(&problem.status));
            let text = serde_json::to_string(&problem).unwrap();
            let word = serde_json::to_value(&error).unwrap()["error"].as_str().unwrap().to_owned();
            assert!(problem.kind.ends_with(&word), "{} names {word}", problem.kind);
            assert_eq!(serde_json::from_str::<Problem>(&text).unwrap().into_error(), error);
        }
    }
}
