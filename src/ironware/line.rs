//! The lines of a `csw-policy`, both ways.

use super::book::Book;
use super::rule::quoted;
use super::{GROUP_MAX, Unread, as_strs, words};
use crate::acm::rules::{Action, InsertCookie, Persistence, Redirect, SameSite, UrlPart};
use crate::base::id::Name;

/// The cookie a device inserts unless told another name.
pub(super) const COOKIE: &str = "ServerID";

/// The parts of a URL that `hash-persist` hashes.
const PARTS: [(UrlPart, &str); 4] = [
    (UrlPart::Full, "complete"),
    (UrlPart::Path, "path-and-parameters"),
    (UrlPart::PathOnly, "path-only"),
    (UrlPart::HostPath, "host-and-path"),
];

/// What a line of a policy does.
#[derive(Debug)]
pub(super) enum Line {
    /// Decides what becomes of what the rule matches.
    Decides(String, Action),
    /// What no rule matches.
    Default(Action),
    /// The rule's group hashes.
    Hashes(String, UrlPart),
    /// The group of the rule, or of all others, keeps clients by a cookie of this name.
    Keeps(Option<String>, Option<String>),
}

/// What the line of a policy does.
pub(super) fn read(book: &Book, line: &str) -> Result<Line, Unread> {
    let words = words(line);
    let cannot = || Unread::NoWord(format!("csw-policy with `{line}`"));
    let own = |text: &&str| (*text).to_owned();
    Ok(match as_strs(&words).as_slice() {
        ["match", rule, "forward", number] => Line::Decides(own(rule), Action::Group(group(book, number)?)),
        ["match", rule, "reset-client"] => Line::Decides(own(rule), Action::Reset),
        ["match", rule, "redirect", domain, url, ssl @ ..] => {
            Line::Decides(own(rule), redirect(domain, url, !ssl.is_empty()))
        }
        ["match", rule, "hash-persist", how @ ..] => Line::Hashes(own(rule), url_part(how).ok_or_else(cannot)?),
        ["match", rule, "rewrite", "insert-cookie", name @ ..] => Line::Keeps(Some(own(rule)), name.first().map(own)),
        ["default", "forward", number] => Line::Default(Action::Group(group(book, number)?)),
        ["default", "reset-client"] => Line::Default(Action::Reset),
        ["default", "rewrite", "insert-cookie", name @ ..] => Line::Keeps(None, name.first().map(own)),
        _ => return Err(cannot()),
    })
}

/// The group of a number; servers by their id have none.
pub(super) fn group(book: &Book, number: &str) -> Result<Name, Unread> {
    match number.parse::<u16>() {
        Ok(number) if number <= GROUP_MAX => Ok(book.group(number)),
        _ => Err(Unread::NoWord(format!("forwarding to server id {number}"))),
    }
}

/// `*` is what the client asked for.
fn redirect(domain: &str, url: &str, ssl: bool) -> Action {
    let scheme = if ssl { "https" } else { "http" };
    let domain = if domain == "*" { "{host}" } else { domain };
    let url = if url == "*" { "{uri}".to_owned() } else { format!("/{}", url.trim_start_matches('/')) };
    Action::Redirect(Redirect { to: format!("{scheme}://{domain}{url}"), status: 302 })
}

fn url_part(words: &[&str]) -> Option<UrlPart> {
    match words.iter().copied().find(|word| *word != "url") {
        None => Some(UrlPart::default()),
        Some(word) => PARTS.iter().find(|(_, known)| *known == word).map(|(part, _)| *part),
    }
}

/// The words behind `hash-persist url`.
pub(super) fn part_word(part: UrlPart) -> &'static str {
    PARTS.iter().find(|(known, _)| *known == part).map_or("", |(_, word)| word)
}

/// The words of a redirect, or why there are none.
pub(super) fn redirect_words(redirect: &Redirect) -> Result<String, (&'static str, String)> {
    if redirect.status != 302 {
        let why = format!("{}: a ServerIron redirects with 302; use that", redirect.status);
        return Err(("redirect.status", why));
    }
    let cannot = |why: &str| Err(("redirect.to", format!("{}: {why}", redirect.to)));
    let (ssl, rest) = match (redirect.to.strip_prefix("https://"), redirect.to.strip_prefix("http://")) {
        (Some(rest), _) => (" ssl", rest),
        (_, Some(rest)) => ("", rest),
        _ => return cannot("a ServerIron needs a whole URL; begin with http:// or https:// and a host or {host}"),
    };
    let at = rest.find(['/', '{']).filter(|at| *at > 0 || rest.starts_with('/'));
    let (domain, url) = match rest.strip_prefix("{host}") {
        Some(url) => ("*", url),
        None => rest.split_at(at.unwrap_or(rest.len())),
    };
    let url = if url == "{uri}" { "*" } else { url };
    let is_text = |text: &str| !text.contains(['{', '}']) && (text == "*" || !text.contains('*'));
    if !is_text(domain) || !is_text(url) || url.is_empty() {
        return cannot("on a ServerIron the host is {host} or a name, and what follows is {uri} or a path");
    }
    let quoted = |text: &str| quoted(text).map_err(|why| ("redirect.to", why));
    Ok(format!("redirect {} {}{ssl}", quoted(domain)?, quoted(url)?))
}

/// The persistence of `insert-cookie`, which says no more than a name.
pub(super) fn inserted(name: &str) -> Persistence {
    let name = name.to_owned();
    Persistence::Insert(InsertCookie { name, max_age: None, http_only: true, secure: false, same_site: SameSite::Lax })
}
