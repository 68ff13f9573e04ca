//! Bodies: where they end.

use acm_switch::content::body::{BodyReader, Now};
use acm_switch::content::head::Framing;
use acm_switch::content::refusal::Refusal;

/// Checks what must hold for any bytes.
pub fn check(data: &[u8]) {
    let whole = end(data, data.len().max(1), false);
    for (stride, passes) in [(1, false), (1, true), (5, false), (5, true)] {
        assert_eq!(end(data, stride, passes), whole, "cut into pieces of {stride}, passing: {passes}");
    }
    if let Ok(Some(at)) = whole {
        assert_eq!(plainly(data), Some(at), "where a plain decoder ends");
    }
}

/// Where the body ends, if it does.
fn end(data: &[u8], stride: usize, passes: bool) -> Result<Option<usize>, Refusal> {
    let mut body = BodyReader::new(Framing::Chunked);
    let mut at = 0;
    while at < data.len() && !body.is_over() {
        let piece = &data[at..data.len().min(at + stride)];
        let unread = usize::try_from(body.passable()).unwrap_or(usize::MAX).min(piece.len());
        if passes && unread > 0 {
            body.pass(unread as u64);
            at += unread;
            continue;
        }
        let fed = body.feed(piece)?;
        assert!(fed.used <= piece.len() && (fed.now == Now::Over || fed.used == piece.len()), "all, or up to the end");
        at += fed.used;
    }
    Ok(body.is_over().then_some(at))
}

/// A decoder that believes everything.
fn plainly(data: &[u8]) -> Option<usize> {
    let line = |from: usize| data.get(from..)?.windows(2).position(|two| two == b"\r\n").map(|at| from + at);
    let mut at = 0;
    loop {
        let end = line(at)?;
        let size = data[at..end].split(|byte| !byte.is_ascii_hexdigit()).next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        at = end + 2;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?.checked_add(2)?;
    }
    loop {
        let end = line(at)?;
        if end == at {
            return Some(at + 2);
        }
        at = end + 2;
    }
}
