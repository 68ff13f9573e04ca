//! The words of content switching: how far a service looks into what clients send, rules, and what a group hashes.
//!
//! A service's rules are ordered and the first that matches decides. All conditions of a rule must hold; a rule
//! without conditions matches everything. A `drop` rule takes its share of what it matches, the rest goes on to the
//! rules below it. What no rule decides goes to the service's default action. A client that speaks something else
//! than the service reads is a *stranger*: one cannot ask him for his path. [`Strangers`] says what becomes of him.
//!
//! Not here: how rules are evaluated quickly (the room `content`) or obviously ([`model`](super::model)). [`check`]
//! says what is acceptable, [`edit`] changes a list of rules in place. No word assumes an address family.

pub mod check;
pub mod edit;
pub mod request;
pub mod share;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::words::{DropMode, Scheduler, default_group};
use crate::base::fraction::Fraction;
use crate::base::id::Name;
use crate::base::span::Span;
use crate::base::text::{cut, quoted};

/// How far a service looks into what its clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Not at all: a connection is one choice, made at its SYN. Rules are kept and do nothing.
    #[default]
    None,
    /// HTTP/1 requests, each of them.
    Http,
    /// The TLS client hello: server name and protocols, nothing that is encrypted.
    Tls,
}

impl Content {
    /// Every mode, for help texts.
    pub const ALL: [Content; 3] = [Content::None, Content::Http, Content::Tls];

    /// What it reads, for people.
    pub fn language(self) -> &'static str {
        match self {
            Content::None => "nothing",
            Content::Http => "HTTP",
            Content::Tls => "TLS",
        }
    }

    /// The name used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Content::None => "none",
            Content::Http => "http",
            Content::Tls => "tls",
        }
    }
}

/// What is chosen for on a keep-alive connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Switching {
    /// Every request anew.
    #[default]
    PerRequest,
    /// The first request; the others of its connection follow it.
    FirstRequest,
}

impl Switching {
    /// Both, for help texts.
    pub const ALL: [Switching; 2] = [Switching::PerRequest, Switching::FirstRequest];

    /// The name used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Switching::PerRequest => "per-request",
            Switching::FirstRequest => "first-request",
        }
    }
}

/// What becomes of a client that does not speak what the service reads: not HTTP/1 on an `http` service (TLS, HTTP/2
/// without asking, anything else), not TLS on a `tls` service. No rule can look at him, so with `default` rules that
/// reset or drop are no access control: who wants past them speaks something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strangers {
    /// The default action decides, as far as it needs no HTTP: a redirect is a reset.
    #[default]
    Default,
    /// The connection is reset.
    Reset,
}

impl Strangers {
    /// Both, for help texts.
    pub const ALL: [Strangers; 2] = [Strangers::Default, Strangers::Reset];

    /// The name used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Strangers::Default => "default",
            Strangers::Reset => "reset",
        }
    }
}

/// How a text must look. Compared byte by byte; the other text is what [`Condition`] says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TextMatch {
    /// It is there, whatever it says.
    Present,
    /// It is exactly this.
    Exact(String),
    /// It begins with this.
    Prefix(String),
    /// It ends with this.
    Suffix(String),
    /// This occurs in it.
    Contains(String),
}

impl TextMatch {
    /// The text it compares with, if it does.
    pub fn text(&self) -> Option<&str> {
        match self {
            TextMatch::Present => None,
            TextMatch::Exact(text) | TextMatch::Prefix(text) | TextMatch::Suffix(text) | TextMatch::Contains(text) => {
                Some(text)
            }
        }
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextMatch::Present => f.write_str("is present"),
            TextMatch::Exact(text) => write!(f, "is {text:?}"),
            TextMatch::Prefix(text) => write!(f, "begins with {text:?}"),
            TextMatch::Suffix(text) => write!(f, "ends with {text:?}"),
            TextMatch::Contains(text) => write!(f, "contains {text:?}"),
        }
    }
}

/// A header field or a cookie by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name: 1 to 128 token characters (RFC 9110, section 5.6.2).
    pub name: String,
    /// How its value must look.
    pub is: TextMatch,
}

/// One thing a rule looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// The path as a server would read it: without query, percent-decoded, dot segments resolved, repeated slashes
    /// merged. `present` is no condition for it.
    Path(TextMatch),
    /// The host asked for, without port, in any case. `*.example.com` is every name below example.com.
    Host(String),
    /// The request method, in this case.
    Method(String),
    /// A header field; its name in any case. Where it occurs more than once, one occurrence must be so.
    Header(Named),
    /// A cookie; its name in this case. Where it occurs more than once, the first counts, which is what browsers put
    /// in front as the most specific (RFC 6265, section 5.4).
    Cookie(Named),
    /// The server name in the TLS client hello, in any case. `*.example.com` is every name below example.com.
    Sni(String),
    /// A protocol the TLS client hello offers, such as `h2`.
    Alpn(String),
}

impl Condition {
    /// True if a service that looks so far sees what this is about; else it never holds there.
    pub fn is_seen_with(&self, content: Content) -> bool {
        match self {
            Condition::Sni(_) | Condition::Alpn(_) => content == Content::Tls,
            Condition::Path(_)
            | Condition::Host(_)
            | Condition::Method(_)
            | Condition::Header(_)
            | Condition::Cookie(_) => content == Content::Http,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Condition::Path(is) => write!(f, "path {is}"),
            Condition::Host(name) => write!(f, "host is {name:?}"),
            Condition::Method(name) => write!(f, "method is {name:?}"),
            Condition::Header(Named { name, is }) => write!(f, "header {name} {is}"),
            Condition::Cookie(Named { name, is }) => write!(f, "cookie {name} {is}"),
            Condition::Sni(name) => write!(f, "TLS server name is {name:?}"),
            Condition::Alpn(name) => write!(f, "TLS client offers {name:?}"),
        }
    }
}

/// Whether letters that differ in case are the same. Of ASCII letters only. Hosts and TLS server names are always
/// compared in any case, methods and protocols never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// They differ.
    #[default]
    Sensitive,
    /// They are the same.
    Insensitive,
}

/// What a request refused by a content-aware Drop hears. The handshake is done, so it must hear something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Turned {
    /// A RST.
    #[default]
    Reset,
    /// `503 Service Unavailable`, then close; a RST where no HTTP is spoken.
    Unavailable,
}

/// A share of the matching requests to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropShare {
    /// How many, more than 0 and at most 1.
    pub fraction: Fraction,
    /// `shed`: one verdict per connection. `queue`: a fresh coin for each request.
    #[serde(default)]
    pub mode: DropMode,
    /// What the refused hear.
    #[serde(default)]
    pub refusal: Turned,
}

/// Where a client is sent instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// A URL, `http://…`, `https://…` or beginning with `/`, at most 1,024 visible ASCII characters. `{host}` stands for
    /// the host asked for, without port and in small letters, `{path}` for the path, `{uri}` for path and query, both as
    /// the client wrote them.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    pub status: u16,
}

fn found() -> u16 {
    302
}

/// What is done with what a rule matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It goes to this group, and the group's scheduler chooses. A group without members refuses it.
    Group(Name),
    /// This share of it is refused; the rest goes on to the rules below.
    Drop(DropShare),
    /// The connection is reset.
    Reset,
    /// The client is sent elsewhere. Where no HTTP is spoken the connection is reset.
    Redirect(Redirect),
}

impl Action {
    /// What happens to what no rule decides, unless something else was said.
    pub fn default_action() -> Action {
        Action::Group(default_group())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Group(name) => write!(f, "group {name}"),
            Action::Drop(DropShare { fraction, mode, refusal }) => {
                let mode = if *mode == DropMode::Queue { "queue" } else { "shed" };
                let hears = if *refusal == Turned::Unavailable { "503" } else { "reset" };
                write!(f, "drop {fraction} (mode {mode}, {hears})")
            }
            Action::Reset => f.write_str("reset"),
            Action::Redirect(Redirect { to, status }) => write!(f, "redirect {status} to {to}"),
        }
    }
}

/// A content rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it is called; of its own within the service.
    pub name: Name,
    /// What must hold, all of it, at most [`CONDITIONS_PER_RULE_MAX`](crate::base::limits::CONDITIONS_PER_RULE_MAX).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// How letters compare in paths, header and cookie values.
    #[serde(default, skip_serializing_if = "is_default")]
    pub case: Case,
    /// What is done then.
    pub then: Action,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What of a URL `url-hash` hashes. The path is the normalised one, so that two spellings of one path meet one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UrlPart {
    /// Host, path and query.
    Full,
    /// Path and query.
    #[default]
    Path,
    /// Path without query.
    PathOnly,
    /// Host and path without query.
    HostPath,
}

impl UrlPart {
    /// Every part, for help texts.
    pub const ALL: [UrlPart; 4] = [UrlPart::Full, UrlPart::Path, UrlPart::PathOnly, UrlPart::HostPath];

    /// The name used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            UrlPart::Full => "full",
            UrlPart::Path => "path",
            UrlPart::PathOnly => "path-only",
            UrlPart::HostPath => "host-path",
        }
    }
}

/// How much more than the average a member may have before the next choice of the hash takes over: 1.01 to 10, in
/// steps of 0.01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = f64, minimum = 1.01, maximum = 10, example = 1.25)]
pub struct LoadFactor(u16);

/// What was wrong with a number that should have been a load factor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a load factor from 1.01 to 10, such as 1.25")]
pub struct NotALoadFactor(pub String);

impl LoadFactor {
    /// Takes a number from 1.01 to 10.
    pub fn new(value: f64) -> Result<LoadFactor, NotALoadFactor> {
        if !(1.01..=10.0).contains(&value) {
            return Err(NotALoadFactor(value.to_string()));
        }
        Ok(LoadFactor((value * 100.0).round() as u16))
    }

    /// In hundredths: 125 for 1.25.
    pub fn hundredths(self) -> u16 {
        self.0
    }
}

impl fmt::Display for LoadFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 100.0)
    }
}

impl FromStr for LoadFactor {
    type Err = NotALoadFactor;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value: f64 = text.trim().parse().map_err(|_| NotALoadFactor(cut(text)))?;
        LoadFactor::new(value).map_err(|_| NotALoadFactor(cut(text)))
    }
}

/// In JSON a load factor is a number.
impl Serialize for LoadFactor {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(f64::from(self.0) / 100.0)
    }
}

impl<'de> Deserialize<'de> for LoadFactor {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        LoadFactor::new(f64::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// What the hashing schedulers of a group hash, and what they do when there is nothing to hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HashOptions {
    /// What `url-hash` hashes.
    pub url: UrlPart,
    /// The cookie `cookie-hash` hashes; it needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// How the group chooses for a request without that cookie, for what is not HTTP, and while the service does not look
    /// into requests: one of the schedulers that need no request.
    pub fallback: Scheduler,
    /// Bounds the load of each member (Mirrokni et al., "Consistent Hashing with Bounded Loads", 2016), for every hashing
    /// scheduler; with another one it is refused. Without it a hot key makes a hot server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounded_load: Option<LoadFactor>,
}

impl Default for HashOptions {
    fn default() -> Self {
        HashOptions { url: UrlPart::Path, cookie: None, fallback: Scheduler::RoundRobin, bounded_load: None }
    }
}

/// The `SameSite` attribute of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// Sent along when a link from elsewhere is followed.
    #[default]
    Lax,
    /// Sent from the site itself only.
    Strict,
    /// Sent from everywhere; needs `secure`.
    None,
}

/// A cookie of the switch's own, by which a client comes back to its server. It is authenticated and names the
/// binding, not its address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InsertCookie {
    /// The cookie's name.
    pub name: String,
    /// How long the client keeps it, 1 s to 400 days; absent: until the browser is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// Hidden from scripts.
    #[serde(default = "yes")]
    pub http_only: bool,
    /// Sent over TLS only.
    #[serde(default)]
    pub secure: bool,
    /// When it is sent along.
    #[serde(default)]
    pub same_site: SameSite,
}

fn yes() -> bool {
    true
}

/// A cookie of the servers' own, by whose value a client comes back to the server that set it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnCookie {
    /// The cookie's name.
    pub name: String,
    /// How long an unused value is remembered, 1 s to 7 days.
    #[serde(default = "half_an_hour")]
    pub idle: Span,
}

fn half_an_hour() -> Span {
    Span::secs(30 * 60)
}

/// Whether a client that comes back meets the server it met before. Never one that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Persistence {
    /// The scheduler decides each time.
    #[default]
    None,
    /// By a cookie of the switch.
    Insert(InsertCookie),
    /// By a cookie of the servers.
    Learn(LearnCookie),
}

impl Persistence {
    /// The name of the cookie it goes by.
    pub fn cookie(&self) -> Option<&str> {
        match self {
            Persistence::None => None,
            Persistence::Insert(insert) => Some(&insert.name),
            Persistence::Learn(learn) => Some(&learn.name),
        }
    }
}

/// A change to a service's rules, made in place, so that two people who change them at once lose nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuleEdit {
    /// Puts a new rule in. The same rule again is no change; another one of the same name is refused.
    Insert {
        /// The rule.
        rule: Rule,
        /// Its place, from 1; what is there and behind moves on. Absent or beyond the end: the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<usize>,
    },
    /// Takes a rule out.
    Remove {
        /// Which.
        name: Name,
    },
    /// Puts a rule elsewhere.
    Move {
        /// Which.
        name: Name,
        /// Its new place, from 1; beyond the end: the last.
        at: usize,
    },
}

macro_rules! named_words {
    ($($type:ty: $what:literal),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                <$type>::ALL.into_iter().find(|word| word.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = <$type>::ALL.iter().map(|word| word.as_str()).collect();
                    format!("{} is not {}; choose one of {}", quoted(text), $what, known.join(", "))
                })
            }
        }
    )*};
}

named_words!(
    Content: "a content mode",
    Switching: "a way of switching",
    Strangers: "a way with strangers",
    UrlPart: "a part of a URL"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_as_documented() {
        let text = r#"{"name":"images","when":[{"path":{"prefix":"/img/"}},{"host":"*.example.com"},
            {"cookie":{"name":"sid","is":"present"}},{"header":{"name":"x-a","is":{"exact":"1"}}},{"method":"GET"}],
            "case":"insensitive","then":{"group":"img"}}"#;
        let rule: Rule = serde_json::from_str(text).unwrap();
        assert_eq!(rule.when.len(), 5);
        assert_eq!(serde_json::from_str::<Rule>(&serde_json::to_string(&rule).unwrap()).unwrap(), rule);
        for then in [
            r#"{"drop":{"fraction":0.5}}"#,
            r#"{"drop":{"fraction":1,"mode":"queue","refusal":"unavailable"}}"#,
            r#""reset""#,
            r#"{"redirect":{"to":"https://{host}{uri}","status":308}}"#,
        ] {
            let text = format!(r#"{{"name":"r","then":{then}}}"#);
            let rule: Rule = serde_json::from_str(&text).unwrap();
            assert!(rule.when.is_empty());
        }
        for bad in [r#"{"then":"reset"}"#, r#"{"name":"r"}"#, r#"{"name":"r","then":"reset","wehn":[]}"#] {
            assert!(serde_json::from_str::<Rule>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn load_factors_are_exact_to_the_hundredth() {
        let factor: LoadFactor = "1.25".parse().unwrap();
        assert_eq!((factor.hundredths(), serde_json::to_string(&factor).unwrap()), (125, "1.25".to_owned()));
        for bad in ["1", "0.5", "10.5", "NaN", "off", ""] {
            assert!(bad.parse::<LoadFactor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rules_read_as_sentences() {
        let condition = Condition::Cookie(Named { name: "sid".into(), is: TextMatch::Prefix("a\n".into()) });
        assert_eq!(condition.to_string(), "cookie sid begins with \"a\\n\"");
        let drop = DropShare { fraction: "0.5".parse().unwrap(), mode: DropMode::Shed, refusal: Turned::Reset };
        assert_eq!(Action::Drop(drop).to_string(), "drop 0.5 (mode shed, reset)");
    }
}
