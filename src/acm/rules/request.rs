//! A request as the contract sees one: what rules look at, in plain words. For the model, the conformance suite and
//! whoever tests against them; the plane reads bytes instead (the room `content`).

/// The header field by which a request tells the server of a testbed, or of the model, what `Set-Cookie` to say.
pub const SAYS_COOKIE: &str = "X-Set-Cookie";

/// What a client asks. Texts are as the client wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query, beginning with `/`.
    pub target: String,
    /// The host asked for, perhaps with a port.
    pub host: String,
    /// Other header fields in order, with their names.
    pub headers: Vec<(String, String)>,
    /// The server name in the TLS client hello, on a TLS service.
    pub sni: Option<String>,
    /// The protocols it offers.
    pub alpn: Vec<String>,
}

impl Request {
    /// A GET of this path, without more.
    pub fn get(target: &str) -> Request {
        Request {
            method: "GET".into(),
            target: target.into(),
            host: "www.example.com".into(),
            headers: Vec::new(),
            sni: None,
            alpn: Vec::new(),
        }
    }

    /// The same with a header field more.
    pub fn with_header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Everything before the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// Everything behind the first `?`, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The host's name: without port and final dot, in small letters.
    pub fn host_name(&self) -> String {
        let name = match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.host,
        };
        name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
    }

    /// The value of the first cookie of this name.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let fields = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case("cookie"));
        fields.flat_map(|(_, value)| value.split(';')).find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            (key.trim_matches([' ', '\t']) == name).then(|| value.trim_matches([' ', '\t']))
        })
    }
}

/// What a client hears of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What became of it.
    pub served: Served,
    /// The cookies set with it, `NAME=VALUE` and attributes, in order.
    pub cookies: Vec<String>,
}

impl From<Served> for Reply {
    fn from(served: Served) -> Reply {
        Reply { served, cookies: Vec::new() }
    }
}

impl Reply {
    /// The value of the cookie of this name, if it is set.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find_map(|cookie| {
            let (key, value) = cookie.split_once('=')?;
            (key == name).then(|| value.split(';').next().unwrap_or_default())
        })
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// This real got it.
    By(std::net::SocketAddr),
    /// Its connection was refused before it could be sent, and this is what the client heard.
    Unconnected(super::super::words::Refusal),
    /// The connection was reset.
    Reset,
    /// The switch itself answered with this status; a redirect to the place given, if any.
    Answered(u16, Option<String>),
}
