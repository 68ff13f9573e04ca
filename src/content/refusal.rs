//! Why something a client or server sent is not acceptable. Reject, never repair: what two parsers could read
//! differently is how requests are smuggled past rules (RFC 9112, section 11.2).

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $why:literal;)*) => {
        /// A reason to refuse. Each has a counter of its own, an HTTP status for the client, and plain words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// Every reason, in the order of the counters.
            pub const ALL: &[Refusal] = &[$(Refusal::$name,)*];

            /// The counter's name, without prefix: `both-lengths`.
            pub fn as_str(self) -> &'static str {
                match self { $(Refusal::$name => $text,)* }
            }

            /// The status a client hears, a 4xx.
            pub fn status(self) -> u16 {
                match self { $(Refusal::$name => $status,)* }
            }

            /// What is wrong, for people.
            pub fn why(self) -> &'static str {
                match self { $(Refusal::$name => $why,)* }
            }
        }
    };
}

refusals! {
    // Framing (RFC 9112, section 6).
    /// `Content-Length` and `Transfer-Encoding` together.
    BothLengths = "both-lengths", 400, "Content-Length and Transfer-Encoding together";
    /// More than one `Content-Length`, equal or not.
    RepeatedLength = "repeated-length", 400, "more than one Content-Length";
    /// A `Content-Length` that is not 1 to 19 digits.
    MalformedLength = "malformed-length", 400, "Content-Length is not a plain number";
    /// A `Transfer-Encoding` other than exactly one `chunked`, or with HTTP/1.0.
    UnknownCoding = "unknown-coding", 400, "Transfer-Encoding is not exactly `chunked`";
    /// A body with a method that has none.
    UnexpectedBody = "unexpected-body", 400, "this method has no body";
    /// A chunk size that is not 1 to 16 hexadecimal digits, or data that is not followed by CRLF.
    ChunkSize = "chunk-size", 400, "malformed chunk";
    /// A chunk extension longer than 256 bytes, or with control characters.
    ChunkExtension = "chunk-extension", 400, "malformed or long chunk extension";
    /// A trailer that is no header field, is too long, or names a framing field.
    Trailer = "trailer", 400, "malformed, long or forbidden trailer";
    // Bytes.
    /// A carriage return that no line feed follows.
    BareCr = "bare-cr", 400, "a carriage return without a line feed";
    /// A line feed that follows no carriage return.
    BareLf = "bare-lf", 400, "a line feed without a carriage return";
    /// A NUL byte, as it is or in an escape.
    Nul = "nul", 400, "a NUL byte";
    // Header fields (RFC 9112, section 5).
    /// A line that continues the one before it.
    Folded = "folded", 400, "a folded header line";
    /// White space between a field's name and its colon.
    SpaceBeforeColon = "space-before-colon", 400, "white space before a colon";
    /// A field without name or colon, or with other characters than a token has.
    FieldName = "field-name", 400, "malformed header name";
    /// A framing field whose hyphen is an underscore: some servers read it as the real one.
    DisguisedField = "disguised-field", 400, "a framing header with an underscore for its hyphen";
    /// Control characters in a field's value.
    FieldValue = "field-value", 400, "a control character in a header value";
    /// No `Host` in HTTP/1.1.
    MissingHost = "missing-host", 400, "no Host header";
    /// More than one `Host`.
    RepeatedHost = "repeated-host", 400, "more than one Host header";
    /// A `Host` that is no host with an optional port.
    MalformedHost = "malformed-host", 400, "malformed Host";
    /// The host in the request line is another than that in `Host`.
    HostMismatch = "host-mismatch", 400, "the request line and Host name different hosts";
    // The request line (RFC 9112, section 3).
    /// Not `method SP target SP version`.
    RequestLine = "request-line", 400, "malformed request line";
    /// A method with other characters than capitals, digits, `-` and `_`, or longer than 32.
    Method = "method", 400, "malformed method";
    /// An HTTP version other than 1.0 and 1.1.
    Version = "version", 400, "the HTTP version is neither 1.0 nor 1.1";
    /// A target in none of the four forms, or with characters that no URL has.
    Target = "target", 400, "malformed request target";
    /// A `#` in the target.
    Fragment = "fragment", 400, "a # in the request target";
    // Paths that mean different things to different servers.
    /// A `%` that two hexadecimal digits do not follow.
    Escape = "escape", 400, "a broken % escape";
    /// A slash or backslash in an escape, or a backslash as it is.
    EncodedSlash = "encoded-slash", 400, "an escaped slash, or a backslash";
    /// `..` above the root.
    AboveRoot = "above-root", 400, "the path leaves the root";
    /// `..` behind an empty segment, or dots with parameters (`/..;x/`).
    AmbiguousDots = "ambiguous-dots", 400, "dot segments that servers read differently";
    /// A character in UTF-8 longer than it must be.
    Overlong = "overlong", 400, "an overlong UTF-8 sequence";
    // Bounds.
    /// A head longer than the limit.
    HeadTooLarge = "head-too-large", 431, "the request head is too large";
    /// More header fields than the limit.
    TooManyFields = "too-many-fields", 431, "too many header fields";
    /// A head that is not complete at its deadline.
    TooSlow = "too-slow", 408, "the request head came too slowly";
    // TLS (RFC 8446, section 4.1.2). There is no status to answer with: an alert is sent.
    /// Not a client hello where one must be, or a malformed one.
    ClientHello = "client-hello", 400, "malformed TLS client hello";
    /// A client hello longer than the limit.
    HelloTooLarge = "hello-too-large", 431, "the TLS client hello is too large";
    /// A server name that is no host name.
    ServerName = "server-name", 400, "malformed TLS server name";
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.why())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_a_4xx() {
        let names: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|refusal| refusal.as_str()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        assert!(Refusal::ALL.iter().all(|refusal| (400..500).contains(&refusal.status())));
    }
}
