//! What `url-hash` and `cookie-hash` make of a request: a number that is the same on every switch, so that with the
//! same bindings the same request goes to the same server (`plane::schedule` has the tables).
//!
//! The host in small letters and the path normalised: two spellings of one URL are one key. Queries and cookie values
//! are hashed as they stand there. Whoever chooses URLs can choose many with one hash; he can as well ask for one URL many
//! times, and a bounded load answers both.

use std::hash::Hasher;

use super::cookie;
use super::head::Head;
use crate::acm::rules::UrlPart;
use crate::acm::words::{Group, Scheduler};
use crate::base::hash::{fixed, fixed_hasher};

/// The key of a request for this group; `None` if its scheduler hashes nothing of requests, or nothing of this one.
pub fn key(group: &Group, head: &Head<'_>, path: &[u8]) -> Option<u64> {
    match group.scheduler {
        Scheduler::UrlHash => Some(url(group.hash.url, head, path)),
        Scheduler::CookieHash => {
            let value = cookie::find(head.cookie_fields(), group.hash.cookie.as_deref()?.as_bytes())?;
            (!value.is_empty()).then(|| fixed(value))
        }
        _ => None,
    }
}

/// The hash of a part of the URL; `path` is the normalised one.
pub fn url(part: UrlPart, head: &Head<'_>, path: &[u8]) -> u64 {
    let mut hasher = fixed_hasher();
    if matches!(part, UrlPart::Full | UrlPart::HostPath) {
        write_lowercase(&mut hasher, head.host().unwrap_or_default());
    }
    // A path begins with a slash, which no host has, so the parts cannot be confused.
    hasher.write(path);
    if let (UrlPart::Full | UrlPart::Path, Some(query)) = (part, head.query()) {
        hasher.write(b"?");
        hasher.write(query);
    }
    hasher.finish()
}

/// Hosts are short; a few at a time through a small buffer.
fn write_lowercase(hasher: &mut impl Hasher, text: &[u8]) {
    let mut buffer = [0; 64];
    for piece in text.chunks(buffer.len()) {
        let buffer = &mut buffer[..piece.len()];
        buffer.copy_from_slice(piece);
        buffer.make_ascii_lowercase();
        hasher.write(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::{Limits, Step, read};
    use super::*;
    use crate::acm::rules::HashOptions;

    fn of(group: &Group, request: &str) -> Option<u64> {
        let bytes = format!("{request}\r\n\r\n").into_bytes();
        let Step::Head(map) = read(&bytes, Limits::default()) else { panic!("{request}") };
        let head = map.view(&bytes);
        let mut room = vec![0; head.path().len()];
        let path = head.normal_path(&mut room).unwrap();
        key(group, &head, path)
    }

    fn by_url(url: UrlPart) -> Group {
        Group { hash: HashOptions { url, ..HashOptions::default() }, ..Group::scheduled_by(Scheduler::UrlHash) }
    }

    #[test]
    fn each_part_sees_what_it_names() {
        let requests = [
            "GET /a?q=1 HTTP/1.1\r\nHost: x",
            "GET /a?q=2 HTTP/1.1\r\nHost: x",
            "GET /a?q=1 HTTP/1.1\r\nHost: y",
            "GET /a HTTP/1.1\r\nHost: x",
            "GET /b?q=1 HTTP/1.1\r\nHost: x",
        ];
        for (part, same) in [
            (UrlPart::Full, [false, false, false, false]),
            (UrlPart::Path, [false, true, false, false]),
            (UrlPart::PathOnly, [true, true, true, false]),
            (UrlPart::HostPath, [true, false, true, false]),
        ] {
            let keys: Vec<_> = requests.iter().map(|request| of(&by_url(part), request)).collect();
            let equal: Vec<_> = keys[1..].iter().map(|key| *key == keys[0]).collect();
            assert_eq!(equal, same, "{part}");
        }
    }

    #[test]
    fn spellings_of_one_url_are_one_key() {
        let group = by_url(UrlPart::Full);
        let key = of(&group, "GET /a/b?q HTTP/1.1\r\nHost: example.com");
        for request in [
            "GET /a/./b?q HTTP/1.1\r\nHost: EXAMPLE.com:80",
            "GET //a/%62?q HTTP/1.1\r\nHost: example.com.",
            "HEAD http://example.com/x/../a/b?q HTTP/1.1\r\nHost: example.com\r\nCookie: a=b",
        ] {
            assert_eq!(of(&group, request), key, "{request}");
        }
    }

    #[test]
    fn a_key_never_changes() {
        // Switches of different versions must agree.
        let key = of(&by_url(UrlPart::Full), "GET /a?b HTTP/1.1\r\nHost: X");
        assert_eq!(key, Some(fixed(b"x/a?b")));
    }

    #[test]
    fn a_cookie_is_hashed_if_it_is_there() {
        let hash = HashOptions { cookie: Some("sid".into()), ..HashOptions::default() };
        let group = Group { hash, ..Group::scheduled_by(Scheduler::CookieHash) };
        let with = |cookie: &str| of(&group, &format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {cookie}"));
        assert_eq!(with("a=b; sid=7"), Some(fixed(b"7")));
        assert_eq!(with("sid=7; sid=8"), Some(fixed(b"7")));
        assert_eq!((with("sid="), with("a=b")), (None, None));
    }
}
