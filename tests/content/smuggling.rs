//! Payloads by which requests are smuggled past whoever reads them differently than the server behind, from published
//! collections (the classes of CL.TE, TE.CL, TE.TE, CL.CL, bare CR and LF, chunk extensions, path confusion, hidden
//! requests), each with the verdict the switch must give: how many requests it sees, or why it refuses.
//!
//! `$` in a payload stands for CRLF.

use super::drive::{End, Read, read};

const HIDDEN: &str = "GET /hidden HTTP/1.1$Host: a$$";

/// What must come of a payload.
enum Want {
    /// These requests, and nothing left over.
    Sees(&'static [&'static str]),
    /// These, and then something that is not complete.
    SeesThenWaits(&'static [&'static str]),
    /// Refused for this reason, after these requests.
    Refuses(&'static str, &'static [&'static str]),
    /// Not HTTP/1.
    Stranger,
}

use Want::{Refuses, Sees, SeesThenWaits, Stranger};

/// `@` in a payload is replaced by a hidden request.
const TABLE: &[(&str, &str, Want)] = &[
    // Content-Length against Transfer-Encoding.
    (
        "CL.TE",
        "POST / HTTP/1.1$Host: a$Content-Length: 6$Transfer-Encoding: chunked$$0$$G",
        Refuses("both-lengths", &[]),
    ),
    (
        "TE.CL",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$Content-Length: 3$$8$SMUGGLED$0$$",
        Refuses("both-lengths", &[]),
    ),
    (
        "CL.0 with TE",
        "POST / HTTP/1.1$Host: a$Content-Length: 0$Transfer-Encoding: chunked$$0$$@",
        Refuses("both-lengths", &[]),
    ),
    (
        "CL and TE in lower case",
        "POST / HTTP/1.1$host: a$content-length: 4$transfer-encoding: chunked$$0$$",
        Refuses("both-lengths", &[]),
    ),
    (
        "CL and TE far apart",
        "POST / HTTP/1.1$Content-Length: 4$Host: a$X: y$Transfer-Encoding: chunked$$0$$",
        Refuses("both-lengths", &[]),
    ),
    // Transfer-Encoding that some read as chunked and some do not.
    ("TE xchunked", "POST / HTTP/1.1$Host: a$Transfer-Encoding: xchunked$$0$$@", Refuses("unknown-coding", &[])),
    ("TE chunkedx", "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunkedx$$0$$", Refuses("unknown-coding", &[])),
    ("TE identity", "POST / HTTP/1.1$Host: a$Transfer-Encoding: identity$$", Refuses("unknown-coding", &[])),
    ("TE gzip", "POST / HTTP/1.1$Host: a$Transfer-Encoding: gzip$$", Refuses("unknown-coding", &[])),
    (
        "TE gzip, chunked",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: gzip, chunked$$0$$",
        Refuses("unknown-coding", &[]),
    ),
    (
        "TE chunked, identity",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked, identity$$0$$",
        Refuses("unknown-coding", &[]),
    ),
    (
        "TE chunked, chunked",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked, chunked$$0$$",
        Refuses("unknown-coding", &[]),
    ),
    (
        "TE twice",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$Transfer-Encoding: chunked$$0$$",
        Refuses("unknown-coding", &[]),
    ),
    (
        "TE twice, second wrong",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$Transfer-Encoding: x$$0$$",
        Refuses("unknown-coding", &[]),
    ),
    (
        "TE twice, first wrong",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: x$Transfer-Encoding: chunked$$0$$",
        Refuses("unknown-coding", &[]),
    ),
    ("TE quoted", "POST / HTTP/1.1$Host: a$Transfer-Encoding: \"chunked\"$$0$$", Refuses("unknown-coding", &[])),
    (
        "TE with a parameter",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked;q=1$$0$$",
        Refuses("unknown-coding", &[]),
    ),
    (
        "TE with a comma behind",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked,$$0$$",
        Refuses("unknown-coding", &[]),
    ),
    (
        "TE with a comma in front",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: , chunked$$0$$",
        Refuses("unknown-coding", &[]),
    ),
    ("TE empty", "POST / HTTP/1.1$Host: a$Transfer-Encoding:$$0$$", Refuses("unknown-coding", &[])),
    ("TE in HTTP/1.0", "POST / HTTP/1.0$Host: a$Transfer-Encoding: chunked$$0$$", Refuses("unknown-coding", &[])),
    (
        "TE with a vertical tab",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding:\u{b}chunked$$0$$",
        Refuses("field-value", &[]),
    ),
    (
        "TE with a form feed",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked\u{c}$$0$$",
        Refuses("field-value", &[]),
    ),
    ("TE with obs-text", "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunkéd$$0$$", Refuses("unknown-coding", &[])),
    (
        "TE with a tab is plain white space",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding:\tchunked$$0$$",
        Sees(&["POST /"]),
    ),
    ("TE in mixed case is legal", "POST / HTTP/1.1$Host: a$tRANSFER-eNCODING: cHuNkEd$$0$$", Sees(&["POST /"])),
    (
        "TE with a space before the colon",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding : chunked$$0$$",
        Refuses("space-before-colon", &[]),
    ),
    (
        "TE with a tab before the colon",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding\t: chunked$$0$$",
        Refuses("space-before-colon", &[]),
    ),
    ("TE with a space in front", "POST / HTTP/1.1$ Transfer-Encoding: chunked$Host: a$$0$$", Refuses("folded", &[])),
    ("TE folded", "POST / HTTP/1.1$Host: a$Transfer-Encoding:$ chunked$$0$$", Refuses("unknown-coding", &[])),
    (
        "TE hidden behind a fold",
        "POST / HTTP/1.1$Host: a$X: y$ Transfer-Encoding: chunked$$0$$",
        Refuses("folded", &[]),
    ),
    (
        "TE with an underscore",
        "POST / HTTP/1.1$Host: a$Transfer_Encoding: chunked$Content-Length: 5$$0$$",
        Refuses("disguised-field", &[]),
    ),
    ("CL with an underscore", "POST / HTTP/1.1$Host: a$content_length: 100$$@", Refuses("disguised-field", &[])),
    ("TE with NUL", "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked\0$$0$$", Refuses("nul", &[])),
    ("TE with a NUL name", "POST / HTTP/1.1$Host: a$Transfer-Encoding\0: chunked$$0$$", Refuses("nul", &[])),
    (
        "TE with a control character name",
        "POST / HTTP/1.1$Host: a$\u{1}Transfer-Encoding: chunked$$0$$",
        Refuses("field-value", &[]),
    ),
    (
        "TE in the value of another",
        "POST / HTTP/1.1$Host: a$X: y\rTransfer-Encoding: chunked$$0$$",
        Refuses("bare-cr", &[]),
    ),
    (
        "TE after a bare line feed",
        "POST / HTTP/1.1$Host: a$X: y\nTransfer-Encoding: chunked$$0$$",
        Refuses("bare-lf", &[]),
    ),
    // Content-Length.
    (
        "CL twice, equal",
        "POST / HTTP/1.1$Host: a$Content-Length: 5$Content-Length: 5$$hello",
        Refuses("repeated-length", &[]),
    ),
    (
        "CL twice, different",
        "POST / HTTP/1.1$Host: a$Content-Length: 5$Content-Length: 6$$hello",
        Refuses("repeated-length", &[]),
    ),
    ("CL list", "POST / HTTP/1.1$Host: a$Content-Length: 5, 5$$hello", Refuses("malformed-length", &[])),
    ("CL +5", "POST / HTTP/1.1$Host: a$Content-Length: +5$$hello", Refuses("malformed-length", &[])),
    ("CL -5", "POST / HTTP/1.1$Host: a$Content-Length: -5$$hello", Refuses("malformed-length", &[])),
    ("CL 0x5", "POST / HTTP/1.1$Host: a$Content-Length: 0x5$$hello", Refuses("malformed-length", &[])),
    ("CL 5.0", "POST / HTTP/1.1$Host: a$Content-Length: 5.0$$hello", Refuses("malformed-length", &[])),
    ("CL 5 5", "POST / HTTP/1.1$Host: a$Content-Length: 5 5$$hello", Refuses("malformed-length", &[])),
    ("CL 5_0", "POST / HTTP/1.1$Host: a$Content-Length: 5_0$$hello", Refuses("malformed-length", &[])),
    ("CL empty", "POST / HTTP/1.1$Host: a$Content-Length:$$hello", Refuses("malformed-length", &[])),
    (
        "CL that overflows",
        "POST / HTTP/1.1$Host: a$Content-Length: 18446744073709551621$$hello",
        Refuses("malformed-length", &[]),
    ),
    ("CL in Arabic digits", "POST / HTTP/1.1$Host: a$Content-Length: ٥$$hello", Refuses("malformed-length", &[])),
    ("CL folded", "POST / HTTP/1.1$Host: a$Content-Length: 5$ 0$$hello", Refuses("folded", &[])),
    ("CL 05 is five", "POST / HTTP/1.1$Host: a$Content-Length: 05$$hello@", Sees(&["POST /", "GET /hidden"])),
    ("CL on a GET is a body", "GET / HTTP/1.1$Host: a$Content-Length: 33$$@", Sees(&["GET /"])),
    ("no length is no body", "POST / HTTP/1.1$Host: a$$@", Sees(&["POST /", "GET /hidden"])),
    ("CL on CONNECT", "CONNECT a:443 HTTP/1.1$Host: a:443$Content-Length: 30$$@", Refuses("unexpected-body", &[])),
    ("TE on TRACE", "TRACE / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0$$", Refuses("unexpected-body", &[])),
    // Chunks.
    (
        "a chunk size with a sign",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$+0$$@",
        Refuses("chunk-size", &["POST /"]),
    ),
    (
        "a chunk size 0x0",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0x0$$@",
        Refuses("chunk-size", &["POST /"]),
    ),
    (
        "a chunk size with a space behind",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0 $$@",
        Refuses("chunk-size", &["POST /"]),
    ),
    (
        "a chunk size that wraps 64 bits",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$10000000000000000$$@",
        Refuses("chunk-size", &["POST /"]),
    ),
    (
        "a chunk size that wraps 32 bits",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$100000000$@",
        SeesThenWaits(&["POST /"]),
    ),
    (
        "a chunk size with an underscore",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$1_0$$@",
        Refuses("chunk-size", &["POST /"]),
    ),
    ("no chunk size", "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$$@", Refuses("chunk-size", &["POST /"])),
    (
        "a chunk longer than its size",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$5$hello!$0$$",
        Refuses("chunk-size", &["POST /"]),
    ),
    (
        "a size line that ends in LF",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0\n$@",
        Refuses("bare-lf", &["POST /"]),
    ),
    (
        "a size line that ends in CR",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$5\rhello",
        Refuses("bare-cr", &["POST /"]),
    ),
    (
        "chunk data that ends in LF",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$5$hello\n0$$",
        Refuses("chunk-size", &["POST /"]),
    ),
    (
        "chunk data that ends in XX",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$5$helloXX0$$",
        Refuses("chunk-size", &["POST /"]),
    ),
    (
        "a line feed in an extension",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$2;\nxx$4c$0$$@",
        Refuses("bare-lf", &["POST /"]),
    ),
    (
        "a carriage return in an extension",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0;a\rb$$@",
        Refuses("bare-cr", &["POST /"]),
    ),
    ("NUL in an extension", "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0;\0$$@", Refuses("nul", &["POST /"])),
    (
        "an extension is passed over",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0;a=\"b\"$$@",
        Sees(&["POST /", "GET /hidden"]),
    ),
    (
        "Content-Length in a trailer",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0$Content-Length: 30$$@",
        Refuses("trailer", &["POST /"]),
    ),
    (
        "Host in a trailer",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0$Host: b$$@",
        Refuses("trailer", &["POST /"]),
    ),
    (
        "a request as a trailer",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0$GET /hidden HTTP/1.1$Host: a$$",
        Refuses("space-before-colon", &["POST /"]),
    ),
    (
        "a last chunk without its line",
        "POST / HTTP/1.1$Host: a$Transfer-Encoding: chunked$$0$@",
        Refuses("space-before-colon", &["POST /"]),
    ),
    // Lines.
    ("LF for CRLF throughout", "GET / HTTP/1.1\nHost: a\n\n", Refuses("bare-lf", &[])),
    ("LF ends the head", "GET / HTTP/1.1$Host: a$\n@", Refuses("bare-lf", &[])),
    ("CR CR LF", "GET / HTTP/1.1$Host: a\r$$@", Refuses("bare-cr", &[])),
    ("CR in the request line", "GET / HTTP/1.1\rHost: b$Host: a$$", Refuses("bare-cr", &[])),
    ("NUL in the request line", "GET /\0 HTTP/1.1$Host: a$$", Refuses("nul", &[])),
    ("a header without colon", "GET / HTTP/1.1$Host: a$GET /hidden HTTP/1.1$$", Refuses("field-name", &[])),
    ("a header without name", "GET / HTTP/1.1$Host: a$: x$$", Refuses("field-name", &[])),
    ("a space in a name", "GET / HTTP/1.1$Host: a$Content Length: 30$$@", Refuses("space-before-colon", &[])),
    ("a line that begins with a tab", "GET / HTTP/1.1$\tX: y$Host: a$$", Refuses("folded", &[])),
    ("a line of spaces", "GET / HTTP/1.1$Host: a$  $$@", Refuses("folded", &[])),
    // The request line.
    ("two spaces", "GET  / HTTP/1.1$Host: a$$", Refuses("request-line", &[])),
    ("a tab for a space", "GET\t/ HTTP/1.1$Host: a$$", Refuses("request-line", &[])),
    ("a space behind the version", "GET / HTTP/1.1 $Host: a$$", Refuses("request-line", &[])),
    ("HTTP/0.9", "GET /$", Refuses("request-line", &[])),
    ("HTTP/1.2", "GET / HTTP/1.2$Host: a$$", Refuses("version", &[])),
    ("HTTP/9.9", "GET / HTTP/9.9$Host: a$$", Refuses("version", &[])),
    ("HTTP/1.10", "GET / HTTP/1.10$Host: a$$", Refuses("request-line", &[])),
    ("http/1.1", "GET / http/1.1$Host: a$$", Refuses("request-line", &[])),
    ("two versions", "GET / HTTP/1.1 HTTP/1.0$Host: a$$", Refuses("request-line", &[])),
    ("a method in small letters", "head / HTTP/1.1$Host: a$$", Refuses("method", &[])),
    ("a method with a colon", "GET: / HTTP/1.1$Host: a$$", Refuses("method", &[])),
    ("HTTP/2 without asking", "PRI * HTTP/2.0$$SM$$", Stranger),
    ("TLS on a port for HTTP", "\u{16}\u{3}\u{1}", Stranger),
    // Host.
    ("no host", "GET / HTTP/1.1$$", Refuses("missing-host", &[])),
    ("two hosts", "GET / HTTP/1.1$Host: a$Host: b$$", Refuses("repeated-host", &[])),
    ("two equal hosts", "GET / HTTP/1.1$Host: a$Host: a$$", Refuses("repeated-host", &[])),
    ("a host with a path", "GET / HTTP/1.1$Host: a/b$$", Refuses("malformed-host", &[])),
    ("a host with a user", "GET / HTTP/1.1$Host: a@b$$", Refuses("malformed-host", &[])),
    ("a list of hosts", "GET / HTTP/1.1$Host: a, b$$", Refuses("malformed-host", &[])),
    ("an absolute target for another host", "GET http://b/ HTTP/1.1$Host: a$$", Refuses("host-mismatch", &[])),
    ("an absolute target for another port", "GET http://a:81/ HTTP/1.1$Host: a$$", Refuses("host-mismatch", &[])),
    ("an absolute target with a user", "GET http://a@b/ HTTP/1.1$Host: b$$", Refuses("target", &[])),
    ("an absolute target without Host", "GET http://a/ HTTP/1.1$$", Refuses("missing-host", &[])),
    ("an absolute target that agrees", "GET http://A:80/x HTTP/1.1$Host: a$$", Sees(&["GET /x"])),
    // Paths that lead elsewhere.
    ("a fragment", "GET /a#b HTTP/1.1$Host: a$$", Refuses("fragment", &[])),
    ("an escaped slash", "GET /public/..%2fadmin HTTP/1.1$Host: a$$", Refuses("encoded-slash", &[])),
    ("a backslash", "GET /public\\..\\admin HTTP/1.1$Host: a$$", Refuses("encoded-slash", &[])),
    ("an escaped backslash", "GET /public/..%5cadmin HTTP/1.1$Host: a$$", Refuses("encoded-slash", &[])),
    ("above the root", "GET /../admin HTTP/1.1$Host: a$$", Refuses("above-root", &[])),
    ("escaped dots above the root", "GET /%2e%2e/admin HTTP/1.1$Host: a$$", Refuses("above-root", &[])),
    ("dots with a parameter", "GET /public/..;/admin HTTP/1.1$Host: a$$", Refuses("ambiguous-dots", &[])),
    ("dots behind two slashes", "GET /public//../admin HTTP/1.1$Host: a$$", Refuses("ambiguous-dots", &[])),
    ("escaped NUL", "GET /admin%00.png HTTP/1.1$Host: a$$", Refuses("nul", &[])),
    ("an overlong slash", "GET /public%c0%afadmin HTTP/1.1$Host: a$$", Refuses("overlong", &[])),
    ("a broken escape", "GET /%u0061dmin HTTP/1.1$Host: a$$", Refuses("escape", &[])),
    ("a raw byte of Latin-1", "GET /é HTTP/1.1$Host: a$$", Refuses("target", &[])),
    ("dots are resolved", "GET /public/../admin HTTP/1.1$Host: a$$", Sees(&["GET /admin"])),
    ("escapes are resolved", "GET /%61dmin HTTP/1.1$Host: a$$", Sees(&["GET /admin"])),
    ("escapes are resolved once", "GET /%2561dmin HTTP/1.1$Host: a$$", Sees(&["GET /%61dmin"])),
    ("slashes are merged", "GET //admin HTTP/1.1$Host: a$$", Sees(&["GET /admin"])),
    // Pipelines, honest ones.
    ("two requests", "GET /a HTTP/1.1$Host: a$$GET /b HTTP/1.1$Host: a$$", Sees(&["GET /a", "GET /b"])),
    ("a body and a request", "POST /a HTTP/1.1$Host: a$Content-Length: 5$$hello@", Sees(&["POST /a", "GET /hidden"])),
    (
        "chunks and a request",
        "PUT /a HTTP/1.1$Host: a$Transfer-Encoding: chunked$$5$hello$0$X: y$$@",
        Sees(&["PUT /a", "GET /hidden"]),
    ),
    (
        "an empty line behind a body",
        "POST /a HTTP/1.1$Host: a$Content-Length: 5$$hello$@",
        Sees(&["POST /a", "GET /hidden"]),
    ),
    (
        "an empty line behind chunks",
        "POST /a HTTP/1.1$Host: a$Transfer-Encoding: chunked$$5$hello$0$$$@",
        Sees(&["POST /a", "GET /hidden"]),
    ),
    (
        "two empty lines behind a body",
        "POST /a HTTP/1.1$Host: a$Content-Length: 5$$hello$$@",
        Refuses("request-line", &["POST /a"]),
    ),
    (
        "a bare LF behind a body",
        "POST /a HTTP/1.1$Host: a$Content-Length: 5$$hello\n@",
        Refuses("bare-lf", &["POST /a"]),
    ),
    ("an empty line between", "GET /a HTTP/1.1$Host: a$$$GET /b HTTP/1.1$Host: a$$", Sees(&["GET /a", "GET /b"])),
    ("a body cut short", "POST /a HTTP/1.1$Host: a$Content-Length: 99$$hello", SeesThenWaits(&["POST /a"])),
];

#[test]
fn every_payload_gets_its_verdict_however_it_is_cut() {
    assert!(TABLE.len() >= 80);
    let mut wrong = Vec::new();
    for (name, payload, want) in TABLE {
        let bytes = payload.replace('@', if name.contains("user") { "@" } else { HIDDEN }).replace('$', "\r\n");
        let (requests, end) = match want {
            Sees(requests) => (*requests, End::Whole),
            SeesThenWaits(requests) => (*requests, End::Incomplete),
            Refuses(why, requests) => (*requests, End::Refused(why)),
            Stranger => (&[][..], End::Stranger),
        };
        let want = Read { requests: requests.iter().map(|line| (*line).to_owned()).collect(), end };
        for stride in [1, 2, 3, 7, 16, bytes.len()] {
            let got = read(bytes.as_bytes(), stride);
            if got != want {
                wrong.push(format!("{name}, by {stride}: {got:?}, not {want:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
