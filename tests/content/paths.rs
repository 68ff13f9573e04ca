//! Normalisation against a slow reference of another kind: the algorithm of RFC 3986, section 5.2.4, on two buffers, after
//! decoding and merging in passes of their own.

use acm_switch::content::path::normalise;
use proptest::prelude::*;

fn hex(text: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

/// Decodes every escape; `None` for those that mean a slash, a backslash or NUL, or nothing.
fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < path.len() {
        if path[at] == b'%' {
            let byte = hex(path.get(at + 1..at + 3)?)?;
            if matches!(byte, b'/' | b'\\' | 0) {
                return None;
            }
            out.push(byte);
            at += 3;
        } else {
            out.push(path[at]);
            at += 1;
        }
    }
    Some(out)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// RFC 3986, section 5.2.4, except that leaving the root is no path.
fn without_dots(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut output: Vec<u8> = Vec::new();
    while !input.is_empty() {
        if input.starts_with(b"/./") {
            input = &input[2..];
        } else if input == b"/." {
            input = b"/";
        } else if input.starts_with(b"/../") || input == b"/.." {
            let cut = output.iter().rposition(|byte| *byte == b'/')?;
            output.truncate(cut);
            input = if input.len() == 3 { b"/" } else { &input[3..] };
        } else {
            let end = input[1..].iter().position(|byte| *byte == b'/').map_or(input.len(), |at| at + 1);
            output.extend_from_slice(&input[..end]);
            input = &input[end..];
        }
    }
    Some(output)
}

fn reference(path: &[u8]) -> Option<Vec<u8>> {
    if path.first() != Some(&b'/') || path.iter().any(|b| !b.is_ascii_graphic() || matches!(b, b'#' | b'\\')) {
        return None;
    }
    let plain = decoded(path)?;
    let mut pieces = plain.split(|byte| *byte == b'/');
    if pieces.any(|piece| piece.starts_with(b".;") || piece.starts_with(b"..;")) {
        return None;
    }
    if [0xc0u8, 0xc1].iter().any(|byte| plain.contains(byte)) {
        return None;
    }
    if plain.windows(2).any(|pair| {
        (pair[0] == 0xe0 && pair[1] < 0xa0 && pair[1] >= 0x80) || (pair[0] == 0xf0 && pair[1] >= 0x80 && pair[1] < 0x90)
    }) {
        return None;
    }
    // A `..` behind an empty segment, which is not the one behind the last slash.
    let slashes = plain.windows(2).position(|pair| pair == b"//");
    if let Some(at) = slashes
        && (contains(&plain[at..], b"/../") || plain[at..].ends_with(b"/.."))
    {
        return None;
    }
    let mut merged = plain;
    while let Some(at) = merged.windows(2).position(|pair| pair == b"//") {
        merged.remove(at);
    }
    without_dots(&merged)
}

fn piece() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "a", "b", ".", "..", "...", "", "", "%2e", "%2E%2e", ".%2e", "a;x", "..;x", ".;", "%3b", "%2f", "%5C", "%41",
        "%", "%4", "%00", "a.b", ".h", "%c3%a9", "%c0%af", "%e0%80", "%f0%90", "%25", "x%20y", "\\", "#", " ",
    ])
}

fn compare(path: &[u8]) -> Result<(), TestCaseError> {
    let mut room = vec![0xff; path.len()];
    let ours = normalise(path, &mut room);
    let slow = reference(path);
    prop_assert_eq!(ours.ok(), slow.as_deref(), "{} ({:?})", String::from_utf8_lossy(path), ours);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn paths_of_pieces(pieces in proptest::collection::vec(piece(), 1..9)) {
        compare(format!("/{}", pieces.join("/")).as_bytes())?;
    }

    #[test]
    fn paths_of_few_bytes(path in "[/a.%2eE;]{0,12}") {
        compare(path.as_bytes())?;
        compare(format!("/{path}").as_bytes())?;
    }

    /// Normalised paths are their own normal form, unless they hold what needs an escape.
    #[test]
    fn a_normal_path_stays(pieces in proptest::collection::vec("[a-z.]{1,4}", 1..6)) {
        let path = format!("/{}", pieces.join("/"));
        let mut room = vec![0; path.len()];
        if let Ok(normal) = normalise(path.as_bytes(), &mut room) {
            let normal = normal.to_vec();
            let mut room = vec![0; normal.len()];
            prop_assert_eq!(normalise(&normal, &mut room), Ok(&normal[..]));
        }
    }
}
