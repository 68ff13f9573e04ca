//! Our parser against `httparse`, an independent one that many servers use: what we accept it accepts and reads alike;
//! what it accepts and we refuse, we refuse for a reason it does not know.

use acm_switch::content::head::{Limits, Step, read};
use acm_switch::content::refusal::Refusal;
use proptest::prelude::*;

/// Fields, sound and unsound, that heads are put together from.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let sound = prop_oneof![
        Just("Host: example.com"),
        Just("Content-Length: 5"),
        Just("Transfer-Encoding: chunked"),
        Just("Connection: keep-alive"),
        Just("Cookie: a=b; c=d"),
        Just("X-Empty:"),
        Just("X-Text: caf\u{e9}"),
    ];
    let odd = prop_oneof![
        Just("Content-Length: +5"),
        Just("Transfer-Encoding : chunked"),
        Just(" folded"),
        Just("No colon"),
        Just("X: a\rb"),
        Just("X: a\0b"),
        Just(": y"),
        Just("X@Y: z"),
    ];
    prop_oneof![
        6 => sound.prop_map(|text| text.as_bytes().to_vec()),
        1 => odd.prop_map(|text| text.as_bytes().to_vec()),
        2 => ("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", proptest::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(name, value)| [name.as_bytes(), b": ", &value].concat()),
    ]
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        5 => Just(b"GET /a/b?c HTTP/1.1".to_vec()),
        1 => Just(b"POST http://example.com/ HTTP/1.1".to_vec()),
        1 => Just(b"OPTIONS * HTTP/1.0".to_vec()),
        1 => Just(b"GET  / HTTP/1.1".to_vec()),
        1 => Just(b"get / HTTP/1.1".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| [b"GET /", &bytes[..], b" HTTP/1.1"].concat()),
    ]
}

fn head() -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![8 => Just(&b"\r\n"[..]), 1 => Just(&b"\n"[..]), 1 => Just(&b"\r\r\n"[..])];
    (line(), proptest::collection::vec((field(), end), 0..8)).prop_map(|(line, fields)| {
        let mut head = [&line[..], b"\r\n"].concat();
        for (field, end) in fields {
            head.extend_from_slice(&field);
            head.extend_from_slice(end);
        }
        [&head[..], b"\r\n"].concat()
    })
}

/// Reasons that `httparse` leaves to its callers, or is more patient about.
fn is_ours_alone(why: Refusal) -> bool {
    use Refusal::*;
    !matches!(why, Nul | FieldValue | HeadTooLarge | TooManyFields)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_we_accept_others_read_alike(bytes in head()) {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut other = httparse::Request::new(&mut fields);
        let theirs = other.parse(&bytes);
        match read(&bytes, Limits::default()) {
            Step::Head(map) => {
                prop_assert_eq!(theirs, Ok(httparse::Status::Complete(map.len())));
                let ours = map.view(&bytes);
                prop_assert_eq!(ours.method(), other.method.unwrap().as_bytes());
                prop_assert_eq!(ours.target(), other.path.unwrap().as_bytes());
                let theirs: Vec<_> = other.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
                prop_assert_eq!(ours.fields().collect::<Vec<_>>(), theirs);
            }
            Step::Refused(why) => {
                prop_assert!(theirs.is_err() || is_ours_alone(why), "{} but {:?}", why, theirs);
            }
            Step::More => prop_assert!(!matches!(theirs, Ok(httparse::Status::Complete(_)))),
            Step::NotHttp(_) => prop_assert!(theirs.is_err() || bytes.starts_with(b"PRI ")),
        }
    }

    /// Of any bytes at all, in any pieces: no panic, and one verdict.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), stride in 1..50usize) {
        let whole = super::drive::read(&bytes, bytes.len().max(1));
        prop_assert_eq!(super::drive::read(&bytes, stride), whole);
    }

    /// A sound head with one byte changed.
    #[test]
    fn one_byte_changed(at in 0..120usize, byte: u8, stride in 1..50usize) {
        let mut bytes = b"POST /a/../b%20c?q=1 HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n\
                          5;x\r\nhello\r\n0\r\nT: u\r\n\r\n".to_vec();
        let len = bytes.len();
        bytes[at % len] = byte;
        let whole = super::drive::read(&bytes, len);
        prop_assert_eq!(super::drive::read(&bytes, stride), whole);
    }
}
