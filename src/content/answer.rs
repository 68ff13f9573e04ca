//! What the switch itself says to a client of a content service: refusals, `503`, redirects. Then it closes.
//!
//! Nothing a client sent gets into an answer but the host and target of a redirect, both checked before: a target has
//! visible ASCII characters only, so no line can be added.

use super::head::{Head, Kind};
use super::refusal::Refusal;
use crate::acm::rules::Redirect;

/// The answer to what is refused.
pub fn refused(why: Refusal) -> Vec<u8> {
    whole(why.status(), "", &format!("{why}\n"), Kind::Other)
}

/// The answer of a content-aware Drop.
pub fn unavailable(to: Kind) -> Vec<u8> {
    whole(503, "Retry-After: 1\r\n", "try again later\n", to)
}

/// The answer of a redirect.
///
/// # Errors
/// `MissingHost` if the place names `{host}` and the client named none.
pub fn redirected(redirect: &Redirect, head: &Head<'_>) -> Result<Vec<u8>, Refusal> {
    let place = place(redirect, head)?;
    Ok(whole(redirect.status, &format!("Location: {place}\r\n"), "", head.map().kind()))
}

/// Where a redirect leads this client.
///
/// # Errors
/// As [`redirected`].
pub fn place(redirect: &Redirect, head: &Head<'_>) -> Result<String, Refusal> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = text(head.path());
    let uri = match head.query() {
        Some(query) => format!("{path}?{}", text(query)),
        None => path.clone(),
    };
    let host = match head.host() {
        Some(host) => text(host).to_ascii_lowercase(),
        None if redirect.to.contains("{host}") => return Err(Refusal::MissingHost),
        None => String::new(),
    };
    // In one pass: what is put in is not looked at again.
    let mut place = String::with_capacity(redirect.to.len() + uri.len());
    let mut rest = redirect.to.as_str();
    while let Some(open) = rest.find('{') {
        place.push_str(&rest[..open]);
        rest = &rest[open..];
        let names = [("{host}", &host), ("{path}", &path), ("{uri}", &uri)];
        let (name, value) = names.into_iter().find(|(name, _)| rest.starts_with(name)).unwrap_or(("{", &host));
        place.push_str(value);
        rest = &rest[name.len()..];
    }
    place.push_str(rest);
    Ok(place)
}

fn whole(status: u16, fields: &str, body: &str, to: Kind) -> Vec<u8> {
    let reason = match status {
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Bad Request",
    };
    let kind = if body.is_empty() { "" } else { "Content-Type: text/plain\r\n" };
    let shown = if to == Kind::Head { "" } else { body };
    format!(
        "HTTP/1.1 {status} {reason}\r\n{fields}{kind}Content-Length: {}\r\nConnection: close\r\n\r\n{shown}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::head::{Limits, Step, read};
    use super::*;

    fn to(to: &str, request: &str) -> Result<String, Refusal> {
        let bytes = format!("{request}\r\n\r\n").into_bytes();
        let Step::Head(map) = read(&bytes, Limits::default()) else { panic!("{request}") };
        place(&Redirect { to: to.into(), status: 302 }, &map.view(&bytes))
    }

    #[test]
    fn redirects_go_where_they_say() {
        let request = "GET /a%20b/{host}?q={uri} HTTP/1.1\r\nHost: WWW.Example.com:8080";
        for (template, want) in [
            ("/login", "/login"),
            ("https://{host}{uri}", "https://www.example.com/a%20b/{host}?q={uri}"),
            ("https://other{path}", "https://other/a%20b/{host}"),
            ("{uri}x", "/a%20b/{host}?q={uri}x"),
        ] {
            assert_eq!(to(template, request).as_deref(), Ok(want), "{template}");
        }
        assert_eq!(to("https://{host}/", "GET / HTTP/1.0"), Err(Refusal::MissingHost));
        assert_eq!(to("/x", "GET / HTTP/1.0").as_deref(), Ok("/x"));
        assert_eq!(to("{path}", "GET http://a HTTP/1.1\r\nHost: a").as_deref(), Ok("/"));
    }

    #[test]
    fn every_answer_is_a_response_that_closes() {
        let mut answers: Vec<Vec<u8>> = Refusal::ALL.iter().map(|why| refused(*why)).collect();
        answers.push(unavailable(Kind::Other));
        for answer in answers {
            let mut fields = [httparse::EMPTY_HEADER; 8];
            let mut response = httparse::Response::new(&mut fields);
            let head = response.parse(&answer).unwrap().unwrap();
            let of = |name: &str| {
                let field = response.headers.iter().find(|field| field.name == name);
                field.map(|field| String::from_utf8_lossy(field.value).into_owned())
            };
            assert_eq!(of("Content-Length"), Some((answer.len() - head).to_string()));
            assert_eq!(of("Connection").as_deref(), Some("close"));
            assert!(response.code.is_some_and(|code| code >= 400));
        }
        assert!(unavailable(Kind::Head).ends_with(b"\r\n\r\n"));
    }
}
