//! Reads a whole client stream as the switch would: head, path, body, head, ...

use acm_switch::content::body::{BodyReader, Now};
use acm_switch::content::head::{HeadReader, Limits, Step};

/// What a stream comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// `METHOD path` of each request whose head was accepted, the path normalised.
    pub requests: Vec<String>,
    /// How it ends.
    pub end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing is left over.
    Whole,
    /// Something incomplete is left.
    Incomplete,
    /// Refused, for this reason.
    Refused(&'static str),
    /// Not HTTP/1.
    Stranger,
}

/// Reads bytes that come in pieces of `stride`.
pub fn read(bytes: &[u8], stride: usize) -> Read {
    let mut requests = Vec::new();
    let end = follow(bytes, stride, &mut requests);
    Read { requests, end }
}

fn follow(bytes: &[u8], stride: usize, requests: &mut Vec<String>) -> End {
    let mut from = 0;
    while from < bytes.len() {
        let mut reader = HeadReader::new(Limits::default());
        let mut came = from;
        let map = loop {
            if came == bytes.len() {
                return End::Incomplete;
            }
            came = (came + stride).min(bytes.len());
            match reader.advance(&bytes[from..came]) {
                Step::More => {}
                Step::Head(map) => break map,
                Step::NotHttp(_) => return End::Stranger,
                Step::Refused(why) => return End::Refused(why.as_str()),
            }
        };
        let head = map.view(&bytes[from..]);
        let mut room = vec![0; map.len()];
        match head.normal_path(&mut room) {
            Ok(path) => {
                let line = [head.method(), b" ", path].concat();
                requests.push(String::from_utf8_lossy(&line).into_owned());
            }
            Err(why) => return End::Refused(why.as_str()),
        }
        from += map.len();
        let mut body = BodyReader::new(map.framing());
        while !body.is_over() {
            if from == bytes.len() {
                return End::Incomplete;
            }
            match body.feed(&bytes[from..(from + stride).min(bytes.len())]) {
                Ok(fed) => {
                    assert!(fed.now == Now::Over || fed.used > 0, "a reader that takes nothing never ends");
                    from += fed.used;
                }
                Err(why) => return End::Refused(why.as_str()),
            }
        }
    }
    End::Whole
}
