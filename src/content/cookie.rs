//! Cookies that clients send (RFC 6265, section 4.2), and the one we set.
//!
//! Read as servers read them: pairs between semicolons, spaces around them dropped, the name up to the first `=`. Names
//! are compared in their case and values are taken as they are, quotes included. What is no pair is passed over.
//! **Where a name occurs more than once, in one field or several, the first counts**: browsers put the most specific path
//! first (RFC 6265, section 5.4), and most servers take that one.

use super::bytes::trim;

/// The pairs of one `Cookie` field in order.
pub fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            let pair = match memchr::memchr(b';', text) {
                Some(end) => {
                    rest = Some(&text[end + 1..]);
                    &text[..end]
                }
                None => {
                    rest = None;
                    text
                }
            };
            let Some(equals) = memchr::memchr(b'=', pair) else { continue };
            let name = trim(&pair[..equals]);
            if !name.is_empty() {
                return Some((name, trim(&pair[equals + 1..])));
            }
        }
    })
}

/// The value of the first cookie of this name.
pub fn find<'a>(fields: impl Iterator<Item = &'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    fields.flat_map(pairs).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[&str], name: &str) -> Option<String> {
        let fields = fields.iter().map(|field| field.as_bytes());
        find(fields, name.as_bytes()).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn cookies_are_found() {
        for (fields, want) in [
            (&["sid=abc"][..], Some("abc")),
            (&["a=1; sid=abc; b=2"], Some("abc")),
            (&["a=1;sid=abc"], Some("abc")),
            (&["a=1;  sid = abc\t"], Some("abc")),
            (&["sid="], Some("")),
            (&["sid=a=b=c"], Some("a=b=c")),
            (&["sid=\"a b\""], Some("\"a b\"")),
            (&["sid=first; sid=second"], Some("first")),
            (&["a=1", "sid=abc"], Some("abc")),
            (&["sid=x", "sid=y"], Some("x")),
            (&["xsid=1; sidx=2; SID=3"], None),
            (&["sid"], None),
            (&["=sid; ;;; sid"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(of(fields, "sid").as_deref(), want, "{fields:?}");
        }
    }
}
