//! Heads as they come, whole and in pieces. (`tests/content` has the table of smuggling payloads and the oracles.)

use super::*;

fn head(text: &str) -> Step {
    read(text.as_bytes(), Limits::default())
}

fn refused(text: &str) -> &'static str {
    match head(text) {
        Step::Refused(why) => why.as_str(),
        other => panic!("{text:?}: {other:?}"),
    }
}

const WHOLE: &str = "POST http://www.Example.com:80/a/b?x=1?2 HTTP/1.1\r\nHost: www.example.com\r\nX-Empty:\r\n\
                     X-A:\t a b \t\r\nCookie: sid=1\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\
                     Content-Length: 12\r\nExpect: 100-continue\r\n\r\nGET / HTTP";

#[test]
fn a_head_says_what_it_says() {
    let Step::Head(map) = head(WHOLE) else { panic!("{:?}", head(WHOLE)) };
    assert_eq!(map.len(), WHOLE.len() - "GET / HTTP".len());
    assert_eq!((map.framing(), map.kind(), map.after()), (Framing::Length(12), Kind::Other, After::Closes));
    assert!(map.asks_upgrade() && map.expects_continue());
    let head = map.view(WHOLE.as_bytes());
    assert_eq!(head.method(), b"POST");
    assert_eq!(head.target(), b"http://www.Example.com:80/a/b?x=1?2");
    assert_eq!((head.path(), head.query()), (&b"/a/b"[..], Some(&b"x=1?2"[..])));
    assert_eq!(head.authority(), Some(&b"www.Example.com:80"[..]));
    assert_eq!(head.host(), Some(&b"www.Example.com"[..]));
    let fields: Vec<_> = head.fields().collect();
    assert_eq!(fields.len(), 8);
    assert_eq!((fields[1], fields[2]), ((&b"X-Empty"[..], &b""[..]), (&b"X-A"[..], &b"a b"[..])));
    assert_eq!(head.cookie_fields().collect::<Vec<_>>(), [b"sid=1"]);
}

#[test]
fn pieces_come_to_the_same() {
    let whole = head(WHOLE);
    for stride in 1..WHOLE.len() {
        let mut reader = HeadReader::new(Limits::default());
        let mut came = 0;
        let step = loop {
            came = (came + stride).min(WHOLE.len());
            match reader.advance(&WHOLE.as_bytes()[..came]) {
                Step::More if came < WHOLE.len() => {}
                step => break step,
            }
        };
        assert_eq!(step, whole, "by {stride}");
    }
}

#[test]
fn the_four_forms_of_a_target() {
    for (line, path, host) in [
        ("GET / HTTP/1.1", "/", "h"),
        ("GET http://h HTTP/1.1", "/", "h"),
        ("GET HTTP://h?q HTTP/1.1", "/", "h"),
        ("OPTIONS * HTTP/1.1", "*", "h"),
        ("CONNECT h:443 HTTP/1.1", "", "h"),
    ] {
        let text = format!("{line}\r\nHost: h\r\n\r\n");
        let Step::Head(map) = head(&text) else { panic!("{line}: {:?}", head(&text)) };
        let view = map.view(text.as_bytes());
        let mut room = vec![0; text.len()];
        assert_eq!(view.normal_path(&mut room), Ok(path.as_bytes()), "{line}");
        assert_eq!(view.host(), Some(host.as_bytes()));
    }
    for line in
        ["GET * HTTP/1.1", "GET h:443 HTTP/1.1", "CONNECT / HTTP/1.1", "CONNECT h HTTP/1.1", "GET ftp://h/ HTTP/1.1"]
    {
        assert_eq!(refused(&format!("{line}\r\nHost: h\r\n\r\n")), "target", "{line}");
    }
}

#[test]
fn connections_persist_as_versions_say() {
    for (head_text, after) in [
        ("GET / HTTP/1.1\r\nHost: h", After::Persists),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close", After::Closes),
        ("GET / HTTP/1.0", After::Closes),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive", After::Persists),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive, close", After::Closes),
    ] {
        let Step::Head(map) = head(&format!("{head_text}\r\n\r\n")) else { panic!("{head_text}") };
        assert_eq!(map.after(), after, "{head_text}");
    }
}

#[test]
fn strangers_are_recognised_and_nobody_else_is_a_stranger() {
    assert_eq!(head("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Step::NotHttp(Stranger::Http2));
    assert_eq!(head("PRI * HTTP/2.0\r"), Step::More);
    assert_eq!(read(b"\x16\x03\x01\x02", Limits::default()), Step::NotHttp(Stranger::Other));
    assert_eq!(read(b"\x00GET / HTTP/1.1\r\n", Limits::default()), Step::NotHttp(Stranger::Other));
    assert_eq!(refused("SSH-2.0-OpenSSH_9\r\n"), "request-line");
    assert_eq!(refused("GET / HTTP/2.0\r\n"), "version");
    assert_eq!(refused(" GET / HTTP/1.1\r\n"), "method");
}

#[test]
fn bounds_are_kept_to_the_byte() {
    let small = Limits { head: 100, fields: 3 };
    let of = |pad: usize| format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "y".repeat(pad));
    let fits = 100 - of(0).len();
    // The last byte that may come is the last line feed.
    assert!(matches!(read(of(fits).as_bytes(), small), Step::Head(map) if map.len() == 100));
    assert_eq!(read(of(fits + 1).as_bytes(), small), Step::Refused(Refusal::HeadTooLarge));
    assert_eq!(read(of(500).as_bytes(), small), Step::Refused(Refusal::HeadTooLarge));
    assert_eq!(read(&of(500).as_bytes()[..99], small), Step::More);
    let fields = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(3));
    assert_eq!(read(fields.as_bytes(), small), Step::Refused(Refusal::TooManyFields));
    let endless: Vec<u8> = b"GET /".iter().copied().chain(std::iter::repeat_n(b'a', 20_000)).collect();
    assert_eq!(read(&endless, Limits::default()), Step::Refused(Refusal::HeadTooLarge));
}

#[test]
fn one_empty_line_before_is_passed_over() {
    let text = "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert!(matches!(head(text), Step::Head(map) if map.len() == text.len()));
    assert_eq!(refused("\r\n\r\nGET / HTTP/1.1\r\n"), "request-line");
    assert_eq!(refused("\nGET / HTTP/1.1\r\n"), "bare-lf");
}

#[test]
fn several_cookie_fields_are_read_in_order() {
    let text = "GET / HTTP/1.1\r\nCookie: a=1\r\nHost: h\r\ncookie: b=2\r\n\r\n";
    let Step::Head(map) = head(text) else { panic!() };
    assert_eq!(map.view(text.as_bytes()).cookie_fields().collect::<Vec<_>>(), [b"a=1", b"b=2"]);
}

#[test]
fn a_map_is_small() {
    // It is kept for each connection that waits for its request.
    assert!(size_of::<HeadMap>() <= 80, "{}", size_of::<HeadMap>());
    assert!(size_of::<HeadReader>() <= 160, "{}", size_of::<HeadReader>());
}
