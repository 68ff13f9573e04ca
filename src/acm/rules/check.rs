//! What is acceptable in the words of content switching. Every refusal names the field as JSON has it, and what would do.

use super::{Action, Condition, InsertCookie, Named, Persistence, Redirect, Rule, RuleEdit, SameSite, TextMatch};
use crate::acm::error::{AcmError, Feature};
use crate::acm::primitive::SetService;
use crate::acm::words::{Group, Scheduler};
use crate::base::addr::Protocol;
use crate::base::limits::{CONDITIONS_PER_RULE_MAX, RULE_TEXT_MAX, RULES_PER_SERVICE_MAX};
use crate::base::span::Span;
use crate::base::text::quoted;

/// Bytes of a header's, cookie's, method's or protocol's name.
const NAME_MAX: usize = 128;

/// Checks everything about content in a call that sets a service.
///
/// # Errors
/// `Invalid`, naming the field; `Unsupported` for a UDP service.
pub fn check(set: &SetService) -> Result<(), AcmError> {
    if set.service.protocol == Protocol::Udp && set.needs_content() {
        // A datagram is no request, and nothing can be asked of its sender before the choice.
        return Err(AcmError::unsupported(Feature::ContentRules, format!("{} is a UDP service", set.service)));
    }
    match (&set.rules, &set.edit) {
        (Some(_), Some(_)) => return Err(AcmError::invalid("edit", "give either rules or edit, not both")),
        (Some(rules), None) => check_rules(rules)?,
        (None, Some(RuleEdit::Insert { rule, .. })) => check_rule(rule, "edit.insert.rule")?,
        _ => {}
    }
    match (&set.edit, &set.default_action) {
        (Some(RuleEdit::Insert { at: Some(0), .. }), _) => {
            Err(AcmError::invalid("edit.insert.at", "places begin at 1"))
        }
        (Some(RuleEdit::Move { at: 0, .. }), _) => Err(AcmError::invalid("edit.move.at", "places begin at 1")),
        (_, Some(Action::Drop(_))) => {
            let why = "must be a group, reset or redirect; to drop a share put a rule without conditions last";
            Err(AcmError::invalid("default_action", why))
        }
        (_, Some(action)) => check_action(action, "default_action"),
        _ => Ok(()),
    }
}

/// Checks a whole list of rules.
fn check_rules(rules: &[Rule]) -> Result<(), AcmError> {
    if rules.len() > RULES_PER_SERVICE_MAX {
        return Err(AcmError::Full { what: "rules of a service".into(), max: RULES_PER_SERVICE_MAX as u64 });
    }
    let mut names = std::collections::BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        check_rule(rule, &format!("rules[{index}]"))?;
        if !names.insert(&rule.name) {
            return Err(AcmError::invalid(&format!("rules[{index}].name"), format!("{} names two rules", rule.name)));
        }
    }
    Ok(())
}

fn check_rule(rule: &Rule, field: &str) -> Result<(), AcmError> {
    if rule.when.len() > CONDITIONS_PER_RULE_MAX {
        let why = format!("a rule has at most {CONDITIONS_PER_RULE_MAX} conditions");
        return Err(AcmError::invalid(&format!("{field}.when"), why));
    }
    for (index, condition) in rule.when.iter().enumerate() {
        check_condition(condition, &format!("{field}.when[{index}]"))?;
    }
    check_action(&rule.then, &format!("{field}.then"))
}

fn check_condition(condition: &Condition, field: &str) -> Result<(), AcmError> {
    let invalid = |kind: &str, why: String| Err(AcmError::invalid(&format!("{field}.{kind}"), why));
    let wrong = match condition {
        Condition::Path(is) => ("path", wrong_path(is)),
        Condition::Host(name) => ("host", wrong_host(name)),
        Condition::Sni(name) => ("sni", wrong_host(name)),
        Condition::Method(name) => ("method", wrong_method(name)),
        Condition::Alpn(name) => ("alpn", wrong_text(name, NAME_MAX)),
        Condition::Header(named) => ("header", wrong_named(named)),
        Condition::Cookie(named) => ("cookie", wrong_named(named).or_else(|| wrong_cookie_value(&named.is))),
    };
    match wrong {
        (kind, Some(why)) => invalid(kind, why),
        (_, None) => Ok(()),
    }
}

fn wrong_text(text: &str, max: usize) -> Option<String> {
    let legal = !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    (!legal).then(|| format!("a text has 1 to {max} bytes and no control characters"))
}

/// A text that could never match a normalised path is a mistake.
fn wrong_path(is: &TextMatch) -> Option<String> {
    let Some(text) = is.text() else {
        return Some("every request has a path; leave this condition out".into());
    };
    if let Some(why) = wrong_text(text, RULE_TEXT_MAX) {
        return Some(why);
    }
    let from_start = matches!(is, TextMatch::Exact(_) | TextMatch::Prefix(_));
    if from_start && !text.starts_with('/') {
        return Some(format!("{}: a path begins with /", quoted(text)));
    }
    let ends_whole = matches!(is, TextMatch::Exact(_) | TextMatch::Suffix(_));
    let dots = ["/./", "/../"].iter().any(|dots| text.contains(dots))
        || (ends_whole && ["/.", "/.."].iter().any(|dots| text.ends_with(dots)));
    if text.contains("//") || dots {
        return Some(format!(
            "{} never matches: rules see the path with dot segments resolved and repeated slashes merged",
            quoted(text)
        ));
    }
    if text.contains(['?', '#']) {
        return Some(format!("{}: rules see the path without query and fragment", quoted(text)));
    }
    let escaped = |(at, _): (usize, &str)| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    match text.match_indices('%').any(escaped) {
        true => Some(format!(
            "{} never matches: rules see the path percent-decoded; write the characters themselves",
            quoted(text)
        )),
        false => None,
    }
}

/// A host as clients name it, or `*.` and such a name.
fn wrong_host(name: &str) -> Option<String> {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let is_literal = plain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let legal = match is_literal {
        Some(ip) => plain == name && ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)),
    };
    if plain.is_empty() || name.len() > 255 || !legal || plain.starts_with('.') || plain.ends_with('.') {
        return Some(format!(
            "{} is not a host such as www.example.com, *.example.com, 10.0.0.1 or [2001:db8::1], without port",
            quoted(name)
        ));
    }
    None
}

fn is_token(text: &str, max: usize) -> bool {
    // RFC 9110, section 5.6.2.
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.len() <= max && text.bytes().all(legal)
}

fn wrong_method(name: &str) -> Option<String> {
    let legal = is_token(name, 32) && !name.bytes().any(|b| b.is_ascii_lowercase());
    (!legal).then(|| format!("{} is not a method such as GET, in capitals", quoted(name)))
}

fn wrong_named(named: &Named) -> Option<String> {
    if !is_token(&named.name, NAME_MAX) {
        return Some(format!(
            "{} is not a name: 1 to {NAME_MAX} letters, digits and !#$%&'*+-.^_`|~",
            quoted(&named.name)
        ));
    }
    named.is.text().and_then(|text| wrong_text(text, RULE_TEXT_MAX))
}

fn wrong_cookie_value(is: &TextMatch) -> Option<String> {
    is.text().filter(|text| text.contains(';')).map(|text| format!("{} never matches: ; ends a cookie", quoted(text)))
}

fn check_action(action: &Action, field: &str) -> Result<(), AcmError> {
    match action {
        Action::Group(_) | Action::Reset => Ok(()),
        Action::Drop(share) if share.fraction.is_zero() => Err(AcmError::invalid(
            &format!("{field}.drop.fraction"),
            "must be more than 0; to drop none remove the rule",
        )),
        Action::Drop(_) => Ok(()),
        Action::Redirect(redirect) => check_redirect(redirect, &format!("{field}.redirect")),
    }
}

fn check_redirect(redirect: &Redirect, field: &str) -> Result<(), AcmError> {
    let to = &redirect.to;
    let begins = ["http://", "https://", "/", "{uri}", "{path}"].iter().any(|start| to.starts_with(start));
    if !begins || to.len() > 1024 || !to.bytes().all(|b| b.is_ascii_graphic()) {
        let why = "must begin with http://, https:// or /, and have at most 1024 visible ASCII characters";
        return Err(AcmError::invalid(&format!("{field}.to"), why));
    }
    let known = ["{host}", "{path}", "{uri}"].iter().fold(to.clone(), |text, name| text.replace(name, ""));
    if known.contains(['{', '}']) {
        return Err(AcmError::invalid(&format!("{field}.to"), "knows {host}, {path} and {uri}, and no other braces"));
    }
    match redirect.status {
        301 | 302 | 303 | 307 | 308 => Ok(()),
        other => {
            Err(AcmError::invalid(&format!("{field}.status"), format!("{other} is not 301, 302, 303, 307 or 308")))
        }
    }
}

/// Checks a group's options together, after a call was merged into what there was.
///
/// # Errors
/// `Invalid`, naming the field.
pub fn check_group(group: &Group) -> Result<(), AcmError> {
    let hash = &group.hash;
    if hash.fallback.needs_content() {
        return Err(AcmError::invalid(
            "hash.fallback",
            "must be a scheduler that needs no request, such as round-robin",
        ));
    }
    match &hash.cookie {
        None if group.scheduler == Scheduler::CookieHash => {
            return Err(AcmError::invalid("hash.cookie", "name the cookie that cookie-hash hashes"));
        }
        Some(name) if !is_token(name, NAME_MAX) => return Err(not_a_cookie("hash.cookie", name)),
        _ => {}
    }
    if hash.bounded_load.is_some() && !group.scheduler.hashes() {
        let why = format!(
            "{} gives nobody a share that could be bounded; choose source-hash, url-hash or cookie-hash, or set no bound",
            group.scheduler
        );
        return Err(AcmError::invalid("hash.bounded_load", why));
    }
    match &group.persist {
        Persistence::None => Ok(()),
        Persistence::Learn(learn) if !is_token(&learn.name, NAME_MAX) => {
            Err(not_a_cookie("persist.learn.name", &learn.name))
        }
        Persistence::Learn(learn) => within("persist.learn.idle", learn.idle, Span::secs(7 * 24 * 3600)),
        Persistence::Insert(insert) => check_insert(insert),
    }
}

fn check_insert(insert: &InsertCookie) -> Result<(), AcmError> {
    if !is_token(&insert.name, NAME_MAX) {
        return Err(not_a_cookie("persist.insert.name", &insert.name));
    }
    if insert.same_site == SameSite::None && !insert.secure {
        return Err(AcmError::invalid(
            "persist.insert.same_site",
            "none needs secure; browsers refuse the cookie otherwise",
        ));
    }
    // RFC 6265bis, section 4.1.2.2: user agents cap it at 400 days.
    insert.max_age.map_or(Ok(()), |age| within("persist.insert.max_age", age, Span::secs(400 * 24 * 3600)))
}

fn not_a_cookie(field: &str, name: &str) -> AcmError {
    AcmError::invalid(
        field,
        format!("{} is not a cookie's name: 1 to {NAME_MAX} letters, digits and !#$%&'*+-.^_`|~", quoted(name)),
    )
}

fn within(field: &str, span: Span, max: Span) -> Result<(), AcmError> {
    match span < Span::secs(1) || span > max {
        true => Err(AcmError::invalid(field, format!("{span} is not from 1s to {max}"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Case, Content, DropShare, HashOptions, LearnCookie, LoadFactor, Strangers};
    use super::*;
    use crate::acm::words::ServiceKey;

    fn set() -> SetService {
        SetService::new(ServiceKey::tcp("10.0.0.100:80".parse().unwrap()))
    }

    fn rule(when: Vec<Condition>, then: Action) -> Rule {
        Rule { name: "r".parse().unwrap(), when, case: Case::Sensitive, then }
    }

    fn field(result: Result<(), AcmError>) -> String {
        match result {
            Ok(()) => "none".into(),
            Err(AcmError::Invalid { field, .. }) => field,
            Err(other) => other.to_string(),
        }
    }

    fn of(when: Condition) -> String {
        field(check(&SetService { rules: Some(vec![rule(vec![when], Action::Reset)]), ..set() }))
    }

    #[test]
    fn every_wrong_condition_is_named() {
        let path = |is| Condition::Path(is);
        let cookie = |name: &str, is| Condition::Cookie(Named { name: name.into(), is });
        use TextMatch::*;
        for (when, named) in [
            (path(Prefix("/img/".into())), "none"),
            (path(Suffix(".png".into())), "none"),
            (path(Contains("größe".into())), "none"),
            (path(Exact("/100%".into())), "none"),
            (path(Prefix("/..x/..".into())), "none"),
            (path(Present), "rules[0].when[0].path"),
            (path(Prefix("img/".into())), "rules[0].when[0].path"),
            (path(Exact("/a//b".into())), "rules[0].when[0].path"),
            (path(Exact("/a/../b".into())), "rules[0].when[0].path"),
            (path(Suffix("/..".into())), "rules[0].when[0].path"),
            (path(Exact("/a%20b".into())), "rules[0].when[0].path"),
            (path(Exact("/a?b".into())), "rules[0].when[0].path"),
            (path(Contains("".into())), "rules[0].when[0].path"),
            (path(Contains("a\nb".into())), "rules[0].when[0].path"),
            (path(Contains("x".repeat(1025))), "rules[0].when[0].path"),
            (Condition::Host("*.example.com".into()), "none"),
            (Condition::Host("[2001:db8::1]".into()), "none"),
            (Condition::Host("example.com:80".into()), "rules[0].when[0].host"),
            (Condition::Host("*".into()), "rules[0].when[0].host"),
            (Condition::Host("*.*.com".into()), "rules[0].when[0].host"),
            (Condition::Host("a b".into()), "rules[0].when[0].host"),
            (Condition::Sni("example.com.".into()), "rules[0].when[0].sni"),
            (Condition::Method("get".into()), "rules[0].when[0].method"),
            (Condition::Method("PURGE".into()), "none"),
            (Condition::Alpn("".into()), "rules[0].when[0].alpn"),
            (Condition::Header(Named { name: "a b".into(), is: Present }), "rules[0].when[0].header"),
            (cookie("sid", Prefix("a".into())), "none"),
            (cookie("sid", Prefix("a;b".into())), "rules[0].when[0].cookie"),
            (cookie("", Present), "rules[0].when[0].cookie"),
        ] {
            assert_eq!(of(when.clone()), named, "{when}");
        }
    }

    #[test]
    fn every_wrong_action_is_named() {
        let redirect = |to: &str, status| Action::Redirect(Redirect { to: to.into(), status });
        let drop = |fraction: &str| {
            let fraction = fraction.parse().unwrap();
            Action::Drop(DropShare { fraction, mode: Default::default(), refusal: Default::default() })
        };
        for (then, named) in [
            (redirect("https://{host}{uri}", 301), "none"),
            (redirect("/login", 302), "none"),
            (redirect("javascript:x", 302), "rules[0].then.redirect.to"),
            (redirect("/a b", 302), "rules[0].then.redirect.to"),
            (redirect("/a\r\nX: y", 302), "rules[0].then.redirect.to"),
            (redirect("/{port}", 302), "rules[0].then.redirect.to"),
            (redirect("/", 200), "rules[0].then.redirect.status"),
            (drop("0.5"), "none"),
            (drop("0"), "rules[0].then.drop.fraction"),
        ] {
            let rules = Some(vec![rule(vec![], then.clone())]);
            assert_eq!(field(check(&SetService { rules, ..set() })), named, "{then}");
        }
        assert_eq!(field(check(&SetService { default_action: Some(drop("0.5")), ..set() })), "default_action");
        let twice = Some(vec![rule(vec![], Action::Reset), rule(vec![], Action::Reset)]);
        assert_eq!(field(check(&SetService { rules: twice, ..set() })), "rules[1].name");
        let edit = Some(RuleEdit::Move { name: "r".parse().unwrap(), at: 0 });
        assert_eq!(field(check(&SetService { edit, ..set() })), "edit.move.at");
        let edit = RuleEdit::Insert { rule: rule(vec![Condition::Method("".into())], Action::Reset), at: None };
        assert_eq!(field(check(&SetService { edit: Some(edit), ..set() })), "edit.insert.rule.when[0].method");
    }

    #[test]
    fn a_udp_service_has_no_content() {
        let udp = SetService { service: ServiceKey::udp("10.0.0.100:53".parse().unwrap()), ..set() };
        let refused =
            |set: SetService| matches!(check(&set), Err(AcmError::Unsupported { feature: Feature::ContentRules, .. }));
        assert!(refused(SetService { rules: Some(vec![rule(vec![], Action::Reset)]), ..udp.clone() }));
        assert!(refused(SetService { content: Some(Content::Http), ..udp.clone() }));
        assert!(refused(SetService { scheduler: Some(Scheduler::UrlHash), ..udp.clone() }));
        assert!(refused(SetService { default_action: Some(Action::Reset), ..udp.clone() }));
        assert!(refused(SetService { strangers: Some(Strangers::Reset), ..udp.clone() }));
        assert!(!refused(SetService { strangers: Some(Strangers::Default), ..udp.clone() }));
        assert!(!refused(SetService { rules: Some(vec![]), content: Some(Content::None), ..udp }));
    }

    #[test]
    fn a_group_is_checked_as_a_whole() {
        let hash = |hash| Group { hash, ..Group::default() };
        let persist = |persist| Group { persist, ..Group::default() };
        let bounded = HashOptions { bounded_load: LoadFactor::new(1.25).ok(), ..HashOptions::default() };
        let insert = InsertCookie {
            name: "acm".into(),
            max_age: None,
            http_only: true,
            secure: false,
            same_site: SameSite::Lax,
        };
        for (group, named) in [
            (Group::default(), "none"),
            (Group { scheduler: Scheduler::CookieHash, ..Group::default() }, "hash.cookie"),
            (hash(HashOptions { fallback: Scheduler::UrlHash, ..HashOptions::default() }), "hash.fallback"),
            (hash(HashOptions { cookie: Some("a=b".into()), ..HashOptions::default() }), "hash.cookie"),
            (hash(bounded.clone()), "hash.bounded_load"),
            (Group { scheduler: Scheduler::SourceHash, hash: bounded.clone(), ..Group::default() }, "none"),
            (Group { scheduler: Scheduler::UrlHash, hash: bounded, ..Group::default() }, "none"),
            (persist(Persistence::Insert(insert.clone())), "none"),
            (
                persist(Persistence::Insert(InsertCookie { same_site: SameSite::None, ..insert.clone() })),
                "persist.insert.same_site",
            ),
            (
                persist(Persistence::Insert(InsertCookie { max_age: Some(Span::millis(5)), ..insert.clone() })),
                "persist.insert.max_age",
            ),
            (persist(Persistence::Insert(InsertCookie { name: "".into(), ..insert })), "persist.insert.name"),
            (
                persist(Persistence::Learn(LearnCookie { name: "JSESSIONID".into(), idle: Span::secs(0) })),
                "persist.learn.idle",
            ),
        ] {
            assert_eq!(field(check_group(&group)), named, "{group:?}");
        }
    }
}
