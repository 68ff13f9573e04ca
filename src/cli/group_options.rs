//! The options of `acm service set` about content: how far the service looks, what its groups hash, and persistence;
//! and the lines `acm list` has about the same.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};

use crate::acm::list::{GroupRow, ServiceRow};
use crate::acm::rules::{
    Action, Content, HashOptions, InsertCookie, LearnCookie, LoadFactor, Persistence, Redirect, SameSite, Strangers,
    Switching, UrlPart,
};
use crate::acm::words::Scheduler;
use crate::base::id::Name;
use crate::base::span::Span;
use crate::base::text::escaped;

/// How far the service looks into what clients send.
#[derive(Debug, Args)]
#[command(next_help_heading = "Content")]
#[command(group = ArgGroup::new("default_action").args(["default_group", "default_reset", "default_redirect"]))]
pub(super) struct ContentArgs {
    /// none, http (requests) or tls (the client hello); connections there are keep the mode they began in
    #[arg(long, value_name = "MODE")]
    pub(super) content: Option<Content>,
    /// per-request or first-request: what is chosen for on a keep-alive connection
    #[arg(long, value_name = "WAY")]
    pub(super) switching: Option<Switching>,
    /// What no rule decides goes to this group
    #[arg(long, value_name = "GROUP")]
    default_group: Option<Name>,
    /// What no rule decides is reset
    #[arg(long)]
    default_reset: bool,
    /// What no rule decides is redirected there with 302; {host}, {path} and {uri} stand for what it asked for
    #[arg(long, value_name = "URL")]
    default_redirect: Option<String>,
    /// default or reset: what becomes of clients that do not speak what the service reads (HTTP/1, or TLS). Rules that
    /// reset or drop keep nobody out while strangers are not reset
    #[arg(long, value_name = "WAY")]
    pub(super) strangers: Option<Strangers>,
}

impl ContentArgs {
    pub(super) fn default_action(&self) -> Option<Action> {
        let group = self.default_group.clone().map(Action::Group);
        let redirect = |to: &String| Action::Redirect(Redirect { to: to.clone(), status: 302 });
        group.or_else(|| self.default_redirect.as_ref().map(redirect)).or(self.default_reset.then_some(Action::Reset))
    }
}

/// What the hashing schedulers of the group hash.
#[derive(Debug, Args)]
#[command(next_help_heading = "What the group hashes")]
pub(super) struct HashArgs {
    /// What url-hash hashes: full (host, path, query), path (with query), path-only or host-path
    #[arg(long, value_name = "PART")]
    hash_url: Option<UrlPart>,
    /// The cookie that cookie-hash hashes
    #[arg(long, value_name = "NAME")]
    hash_cookie: Option<String>,
    /// The scheduler for what has nothing to hash
    #[arg(long, value_name = "SCHEDULER")]
    hash_fallback: Option<Scheduler>,
    /// A server that has this many times the average load is passed over, 1.01 to 10; off ends it
    #[arg(long, value_name = "FACTOR|off", value_parser = bound)]
    bounded_load: Option<Bound>,
}

/// A bound on the load of members, or the end of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound(Option<LoadFactor>);

fn bound(text: &str) -> Result<Bound, String> {
    match text {
        "off" => Ok(Bound(None)),
        factor => factor.parse().map(|factor| Bound(Some(factor))).map_err(|why| format!("{why}, or off")),
    }
}

impl HashArgs {
    /// What is named over what there is; `None` if nothing is named.
    pub(super) fn over(&self, now: HashOptions) -> Option<HashOptions> {
        let HashArgs { hash_url, hash_cookie, hash_fallback, bounded_load } = self;
        if hash_url.is_none() && hash_cookie.is_none() && hash_fallback.is_none() && bounded_load.is_none() {
            return None;
        }
        Some(HashOptions {
            url: hash_url.unwrap_or(now.url),
            cookie: hash_cookie.clone().or(now.cookie),
            fallback: hash_fallback.unwrap_or(now.fallback),
            bounded_load: bounded_load.map_or(now.bounded_load, |Bound(factor)| factor),
        })
    }
}

/// Whether a client that comes back to the group meets the same server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Persistence of the group")]
pub(super) struct PersistArgs {
    /// insert: by a cookie of the switch; learn: by a cookie of the servers; none
    #[arg(long, value_parser = PossibleValuesParser::new(["none", "insert", "learn"]).map(kind))]
    persist: Option<Kind>,
    /// The cookie's name
    #[arg(long, value_name = "NAME", requires = "persist", required_if_eq_any = [("persist", "insert"), ("persist", "learn")])]
    persist_cookie: Option<String>,
    /// insert: how long the client keeps it, 1s to 400 days; default until the browser is closed
    #[arg(long, value_name = "SPAN", requires = "persist")]
    persist_max_age: Option<Span>,
    /// insert: sent over TLS only
    #[arg(long, requires = "persist")]
    persist_secure: bool,
    /// insert: scripts may read it
    #[arg(long, requires = "persist")]
    persist_scripts: bool,
    /// insert: when it is sent along
    #[arg(long, requires = "persist", default_value = "lax", value_parser = PossibleValuesParser::new(["lax", "strict", "none"]).map(same_site))]
    persist_same_site: SameSite,
    /// learn: how long an unused value is remembered, 1s to 7 days
    #[arg(long, value_name = "SPAN", requires = "persist", default_value = "30m")]
    persist_idle: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    Insert,
    Learn,
}

fn kind(word: String) -> Kind {
    match word.as_str() {
        "insert" => Kind::Insert,
        "learn" => Kind::Learn,
        _ => Kind::None,
    }
}

fn same_site(word: String) -> SameSite {
    match word.as_str() {
        "strict" => SameSite::Strict,
        "none" => SameSite::None,
        _ => SameSite::Lax,
    }
}

impl PersistArgs {
    pub(super) fn persistence(&self) -> Option<Persistence> {
        // The command line demands a name for both.
        let name = self.persist_cookie.clone().unwrap_or_default();
        Some(match self.persist? {
            Kind::None => Persistence::None,
            Kind::Learn => Persistence::Learn(LearnCookie { name, idle: self.persist_idle }),
            Kind::Insert => Persistence::Insert(InsertCookie {
                name,
                max_age: self.persist_max_age,
                http_only: !self.persist_scripts,
                secure: self.persist_secure,
                same_site: self.persist_same_site,
            }),
        })
    }
}

/// A line about a group.
pub(super) fn group_note(row: &GroupRow) -> String {
    let hash = &row.hash;
    let what = match row.scheduler {
        Scheduler::UrlHash => format!(" ({}), else {}", hash.url, hash.fallback),
        Scheduler::CookieHash => format!(" ({}), else {}", hash.cookie.as_deref().unwrap_or("?"), hash.fallback),
        _ => String::new(),
    };
    let bound = hash.bounded_load.map(|factor| format!(", load bounded by {factor}")).unwrap_or_default();
    let persist = match &row.persist {
        Persistence::None => String::new(),
        Persistence::Insert(cookie) => format!(", clients kept by our cookie {}", cookie.name),
        Persistence::Learn(cookie) => format!(", clients kept by the servers' cookie {}", cookie.name),
    };
    escaped(&format!("group {} schedules by {}{what}{bound}{persist}", row.group, row.scheduler))
}

/// A line about a service's content, if it has to do with any.
pub(super) fn content_note(row: &ServiceRow) -> Option<String> {
    if row.content == Content::None && row.rules.is_empty() {
        return None;
    }
    let rules = match row.rules.len() {
        1 => "1 rule".to_owned(),
        count => format!("{count} rules"),
    };
    let idle = if row.content == Content::None { " not in force" } else { "" };
    let switching = if row.content == Content::Http { format!(", {}", row.switching) } else { String::new() };
    let other = escaped(&row.default_action.to_string());
    let strangers = if row.strangers == Strangers::Reset { ", strangers reset" } else { "" };
    Some(format!("content {}{switching}, {rules}{idle}, else {other}{strangers}", row.content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_factors_or_off() {
        assert_eq!(bound("off"), Ok(Bound(None)));
        assert_eq!(bound("1.25"), Ok(Bound(Some(LoadFactor::new(1.25).unwrap()))));
        assert!(bound("1").unwrap_err().ends_with("or off"));
    }

    #[test]
    fn what_is_not_named_stays() {
        let none = HashArgs { hash_url: None, hash_cookie: None, hash_fallback: None, bounded_load: None };
        assert_eq!(none.over(HashOptions::default()), None);
        let now = HashOptions { cookie: Some("sid".into()), ..HashOptions::default() };
        let set = HashArgs { hash_url: Some(UrlPart::Full), ..none };
        assert_eq!(set.over(now.clone()), Some(HashOptions { url: UrlPart::Full, ..now }));
    }
}
