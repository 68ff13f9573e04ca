//! `host[:port]`, as it stands in `Host`, in an absolute request target and in that of CONNECT (RFC 9110, section 7.2;
//! RFC 3986, section 3.2).

use super::refusal::Refusal;

/// The host's name of `host[:port]`: without port and final dot, in the case it has.
///
/// # Errors
/// `MalformedHost` if it is none. Percent-escapes, user names and IPv6 zones are none.
pub(super) fn name(authority: &[u8]) -> Result<&[u8], Refusal> {
    let (name, port) = match authority.first() {
        Some(b'[') => {
            let end = authority.iter().position(|byte| *byte == b']').ok_or(Refusal::MalformedHost)?;
            let inner = &authority[1..end];
            let legal = inner.contains(&b':')
                && inner.len() <= 45
                && inner.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
            if !legal {
                return Err(Refusal::MalformedHost);
            }
            (&authority[..=end], &authority[end + 1..])
        }
        _ => {
            let end = authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len());
            let name = &authority[..end];
            let name = name.strip_suffix(b".").unwrap_or(name);
            if !is_name(name) {
                return Err(Refusal::MalformedHost);
            }
            (name, &authority[end..])
        }
    };
    match port {
        [] => Ok(name),
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => Ok(name),
        _ => Err(Refusal::MalformedHost),
    }
}

/// 1 to 255 characters that host names have, or are seen to have: `_` and `~` are tolerated.
pub(super) fn is_name(name: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    !name.is_empty() && name.len() <= 255 && name[0] != b'.' && name.iter().all(legal)
}

/// True if two `host[:port]` mean one: in any case, and a missing port is the default of `http`.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    let port = |authority: &[u8], name: &[u8]| -> u32 {
        let digits = authority[name.len()..].trim_ascii_start();
        let digits = digits.strip_prefix(b".").unwrap_or(digits);
        let digits = digits.strip_prefix(b":").unwrap_or(digits);
        match digits {
            [] => 80,
            digits => digits.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0')),
        }
    };
    match (name(one), name(other)) {
        (Ok(a), Ok(b)) => a.eq_ignore_ascii_case(b) && port(one, a) == port(other, b),
        _ => false,
    }
}

/// True if two `host[:port]` name one host, whatever the ports.
pub(super) fn same_name(one: &[u8], other: &[u8]) -> bool {
    matches!((name(one), name(other)), (Ok(a), Ok(b)) if a.eq_ignore_ascii_case(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_others_refused() {
        for (authority, want) in [
            ("example.com", Some("example.com")),
            ("Example.com:8080", Some("Example.com")),
            ("example.com.:80", Some("example.com")),
            ("10.0.0.1:1", Some("10.0.0.1")),
            ("[2001:db8::1]:80", Some("[2001:db8::1]")),
            ("[::ffff:10.0.0.1]", Some("[::ffff:10.0.0.1]")),
            ("a_b", Some("a_b")),
            ("example.com:", Some("example.com")),
            ("", None),
            (".", None),
            (".a", None),
            (":80", None),
            ("a b", None),
            ("a,b", None),
            ("user@a", None),
            ("a:b", None),
            ("a:80:80", None),
            ("a:123456", None),
            ("a/b", None),
            ("[", None),
            ("[]", None),
            ("[fe80::1%eth0]", None),
            ("[::1]x", None),
            ("a%41", None),
            ("ä", None),
        ] {
            assert_eq!(name(authority.as_bytes()).ok(), want.map(str::as_bytes), "{authority}");
        }
        assert!(name(&[b'a'; 256]).is_err());
    }

    #[test]
    fn a_host_has_several_spellings() {
        for (a, b, want) in [
            ("a", "A:80", true),
            ("a.", "a", true),
            ("a.:8080", "a:8080", true),
            ("a:", "a", true),
            ("a:81", "a", false),
            ("a", "b", false),
            ("[::1]:80", "[::1]", true),
            ("a:080", "a", true),
        ] {
            assert_eq!(same(a.as_bytes(), b.as_bytes()), want, "{a} {b}");
        }
    }
}
