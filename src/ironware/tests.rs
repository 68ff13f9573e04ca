//! Contract -> words -> contract is the identity for everything that has words, and what has none is refused by its field.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::book::{Book, Numbers, Policy};
use super::read::{Wants, read};
use super::say::{Said, say};
use super::sweep::sweep;
use super::{Grammar, Unread, Unsaid};
use crate::acm::rules::{
    Action, Case, Condition, Content, DropShare, HashOptions, LoadFactor, Named, Redirect, Rule, TextMatch, UrlPart,
};
use crate::acm::words::{Group, Scheduler, default_group};
use crate::base::id::Name;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Written into a book, as a box would keep it.
fn keep(book: &mut Book, said: &Said) {
    for (name, words) in &said.rules {
        book.set_rule(name, words);
    }
    if let Some((name, lines)) = &said.policy {
        *book.policy_mut(name) = Policy { any_case: false, lines: lines.clone() };
    }
    for (name, lines) in &said.maps {
        *book.map_mut(name) = lines.clone();
    }
}

fn write(book: &Book, wants: &Wants, plain: Scheduler, grammar: Grammar) -> Result<Said, Unsaid> {
    say(wants, plain, book, Numbers::new(book, [1, 3]), grammar)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "/[a-z.*%A-Z ]{0,12}", 2 => "[ -~]{1,20}", 1 => "[ -~]{70,90}"]
}

fn matching() -> impl Strategy<Value = TextMatch> {
    prop_oneof![
        Just(TextMatch::Present),
        text().prop_map(TextMatch::Exact),
        text().prop_map(TextMatch::Prefix),
        text().prop_map(TextMatch::Suffix),
        text().prop_map(TextMatch::Contains),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let header = prop::sample::select(vec!["X-Tenant", "cookie", "host", "Host"]);
    prop_oneof![
        6 => matching().prop_filter("a path is there", |is| *is != TextMatch::Present).prop_map(Condition::Path),
        2 => r"(\*\.)?[a-z]{1,8}\.example".prop_map(Condition::Host),
        2 => "[A-Z]{1,6}".prop_map(Condition::Method),
        3 => (header, matching()).prop_map(|(name, is)| Condition::Header(Named { name: name.into(), is })),
        1 => matching().prop_map(|is| Condition::Cookie(Named { name: "sid".into(), is })),
    ]
}

fn group_name() -> impl Strategy<Value = Name> {
    prop::sample::select(vec!["1", "2", "7", "007", "1023", "1024", "images", "web-1", "default"]).prop_map(name)
}

fn action() -> impl Strategy<Value = Action> {
    let to = prop_oneof![
        r"https?://(\{host\}|[a-z]{1,8}\.example)(\{uri\}|/[a-z/]{0,8}|)",
        "(/|\\{uri\\})[a-z]{0,5}",
        "https://a\\*b/\\*",
    ];
    let redirect = (to, prop::sample::select(vec![302u16, 302, 302, 308]));
    prop_oneof![
        6 => group_name().prop_map(Action::Group),
        2 => Just(Action::Reset),
        2 => redirect.prop_map(|(to, status)| Action::Redirect(Redirect { to, status })),
    ]
}

fn group() -> impl Strategy<Value = Group> {
    let scheduler = prop::sample::select(vec![
        Scheduler::RoundRobin,
        Scheduler::RoundRobin,
        Scheduler::LeastConn,
        Scheduler::UrlHash,
        Scheduler::CookieHash,
    ]);
    let url = prop::sample::select(&UrlPart::ALL[..]);
    (scheduler, url, any::<bool>(), any::<bool>()).prop_map(|(scheduler, url, is_kept, has_cookie)| Group {
        scheduler,
        hash: HashOptions {
            url: if scheduler == Scheduler::UrlHash { url } else { UrlPart::Path },
            cookie: (has_cookie == (scheduler == Scheduler::CookieHash))
                .then(|| "sid".to_owned())
                .filter(|_| has_cookie),
            ..HashOptions::default()
        },
        persist: if is_kept { super::line::inserted("acm") } else { Default::default() },
    })
}

fn wants() -> impl Strategy<Value = Wants> {
    let case = prop::sample::select(vec![Case::Sensitive, Case::Insensitive]);
    let rule = (prop::collection::vec(condition(), 0..7), case, action());
    let groups = prop::collection::btree_map(group_name(), group(), 0..3);
    let content = prop::sample::select(vec![Content::None, Content::Http, Content::Http]);
    (content, prop::collection::vec(rule, 0..5), action(), groups).prop_map(
        |(content, rules, default_action, groups)| {
            let rules = rules.into_iter().enumerate().map(|(n, (when, case, then))| Rule {
                name: name(&format!("r{n}")),
                when,
                case,
                then,
            });
            Wants { content, rules: rules.collect(), default_action, groups }
        },
    )
}

/// With the groups that words speak of, and no others.
fn heard(wants: &Wants, plain: Scheduler) -> Wants {
    let of = |action: &Action| if let Action::Group(name) = action { Some(name.clone()) } else { None };
    let names = wants.rules.iter().map(|rule| &rule.then).chain([&wants.default_action]).filter_map(of);
    let names: BTreeSet<Name> = names.chain([default_group()]).collect();
    let group = |name: &Name| wants.groups.get(name).cloned().unwrap_or_else(|| Group::scheduled_by(plain));
    Wants { groups: names.iter().map(|name| (name.clone(), group(name))).collect(), ..wants.clone() }
}

fn round_trips(grammar: Grammar, cases: u32) -> (u32, u32) {
    let tally = std::cell::Cell::new((0, 0));
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let result = proptest::test_runner::TestRunner::new(config).run(&(wants(), wants()), |(first, second)| {
        let (mut book, plain, mut ports) = (Book::default(), Scheduler::RoundRobin, Vec::new());
        for wants in [first, second] {
            let (said, unsaid) = tally.get();
            match write(&book, &wants, plain, grammar) {
                Ok(words) => {
                    keep(&mut book, &words);
                    let back = read(&book, &words.port, plain, &mut Err::<(), Unread>);
                    prop_assert_eq!(back, Ok(heard(&wants, plain)));
                    // Said again it is the same words: nothing would be typed.
                    let again =
                        write(&book, &wants, plain, grammar).map_err(|why| TestCaseError::fail(why.to_string()))?;
                    prop_assert_eq!((&again.policy, &again.port), (&words.policy, &words.port));
                    let swept = sweep(&book, ports.iter().chain([&words.port]), &BTreeSet::new());
                    prop_assert_eq!(swept, Default::default(), "what is in use stays");
                    ports.push(words.port);
                    tally.set((said + 1, unsaid));
                }
                Err(Unsaid { field, why }) => {
                    prop_assert!(!field.is_empty() && why.len() > 10, "{field}: {why}");
                    tally.set((said, unsaid + 1));
                }
            }
        }
        // Without ports all of it goes.
        let swept = sweep(&book, [], &BTreeSet::new());
        prop_assert_eq!(swept.rules.len(), book.rules().count());
        prop_assert_eq!(swept.policies.len() + swept.maps.len(), book.policies().count() + book.maps().count());
        Ok(())
    });
    if let Err(why) = result {
        panic!("{why}");
    }
    tally.get()
}

#[test]
fn what_is_said_is_read_as_it_was() {
    let (said, unsaid) = round_trips(Grammar::Csw, 6_000);
    assert!(said > 500 && unsaid > 500, "{said} said, {unsaid} refused");
    let (said, unsaid) = round_trips(Grammar::UrlMap, 6_000);
    assert!(said > 100 && unsaid > 500, "{said} said, {unsaid} refused");
}

fn rule(when: Vec<Condition>, then: Action) -> Rule {
    Rule { name: name("r"), when, case: Case::Sensitive, then }
}

fn only(rule: Rule) -> Wants {
    let (content, default_action) = (Content::Http, Action::default_action());
    Wants { content, rules: vec![rule], default_action, groups: BTreeMap::new() }
}

fn refused(wants: &Wants, grammar: Grammar) -> String {
    match write(&Book::default(), wants, Scheduler::RoundRobin, grammar) {
        Err(Unsaid { field, .. }) => field,
        Ok(said) => format!("nothing: {said:?}"),
    }
}

#[test]
fn what_has_no_word_is_named() {
    let images = || Action::Group(name("1"));
    let header = |name: &str, is| Condition::Header(Named { name: name.into(), is });
    let path = |is| vec![Condition::Path(is)];
    let drop = DropShare { fraction: "0.5".parse().unwrap(), mode: Default::default(), refusal: Default::default() };
    let to = |to: &str, status| Action::Redirect(Redirect { to: to.into(), status });
    for (rule, field) in [
        (
            rule(vec![Condition::Cookie(Named { name: "a".into(), is: TextMatch::Present })], images()),
            "rules[0].when[0].cookie",
        ),
        (rule(vec![Condition::Sni("a".into())], images()), "rules[0].when[0].sni"),
        (rule(path(TextMatch::Prefix("/a*".into())), images()), "rules[0].when[0].path"),
        (rule(path(TextMatch::Suffix("a\"b".into())), images()), "rules[0].when[0].path"),
        (rule(path(TextMatch::Suffix("x".repeat(81))), images()), "rules[0].when[0].path"),
        (rule(vec![header("host", TextMatch::Exact("a".into()))], images()), "rules[0].when[0].header"),
        (Rule { case: Case::Insensitive, ..rule(vec![Condition::Host("a".into())], images()) }, "rules[0].case"),
        (rule(vec![], Action::Drop(drop)), "rules[0].then.drop"),
        (rule(vec![], Action::default_action()), "rules[0].then.group"),
        (rule(vec![], to("/moved", 302)), "rules[0].then.redirect.to"),
        (rule(vec![], to("http://{host}{path}", 302)), "rules[0].then.redirect.to"),
        (rule(vec![], to("http://{host}{uri}", 301)), "rules[0].then.redirect.status"),
    ] {
        assert_eq!(refused(&only(rule), Grammar::Csw), field);
    }
    for (rule, field) in [
        (rule(vec![], images()), "rules[0].when"),
        (rule(vec![Condition::Method("GET".into())], images()), "rules[0].when"),
        (rule(path(TextMatch::Exact("/a".into())), images()), "rules[0].when[0].path"),
        (rule(path(TextMatch::Prefix("/a".into())), Action::Reset), "rules[0].then"),
        (rule(path(TextMatch::Prefix("/a".into())), Action::Group(name("images"))), "rules"),
        (Rule { name: name(&"n".repeat(20)), ..rule(path(TextMatch::Prefix("/".into())), images()) }, "rules[0].name"),
    ] {
        assert_eq!(refused(&only(rule), Grammar::UrlMap), field);
    }
    let grouped = |group: &str, of: Group| Wants { groups: [(name(group), of)].into(), ..only(rule(vec![], images())) };
    let hash = |hash| Group { hash, ..Group::scheduled_by(Scheduler::UrlHash) };
    let bounded = HashOptions { bounded_load: LoadFactor::new(1.25).ok(), ..HashOptions::default() };
    for (wants, field) in [
        (grouped("1", Group::scheduled_by(Scheduler::LeastConn)), "scheduler"),
        (grouped("2", Group::scheduled_by(Scheduler::UrlHash)), "scheduler"),
        (Wants { content: Content::None, ..grouped("default", Group::scheduled_by(Scheduler::UrlHash)) }, "scheduler"),
        (grouped("1", hash(bounded)), "hash.bounded_load"),
        (grouped("default", hash(HashOptions { url: UrlPart::Full, ..HashOptions::default() })), "hash.url"),
        (Wants { content: Content::Tls, ..grouped("1", Group::default()) }, "content"),
        (Wants { default_action: to("http://{host}/x", 302), ..grouped("1", Group::default()) }, "default_action"),
    ] {
        assert_eq!(refused(&wants, Grammar::Csw), field);
    }
}

#[test]
fn groups_are_numbered_once_and_remembered() {
    let images = only(rule(vec![], Action::Group(name("images"))));
    let said = write(&Book::default(), &images, Scheduler::RoundRobin, Grammar::Csw).unwrap();
    assert_eq!(said.rules[0], ("acmgroup-2-images".to_owned(), "url exists".to_owned()), "1 and 3 are in use");
    let mut book = Book::default();
    keep(&mut book, &said);
    let both = [
        rule(vec![], Action::Group(name("images"))),
        Rule { name: name("s"), ..rule(vec![], Action::Group(name("2"))) },
    ];
    let said = write(&book, &Wants { rules: both.to_vec(), ..images }, Scheduler::RoundRobin, Grammar::Csw).unwrap();
    let numbers: Vec<_> =
        said.policy.iter().flat_map(|(_, lines)| lines).map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["2", "4"], "2 stands for images here, so the group called 2 has another number");
}

#[test]
fn what_was_changed_by_hand_is_written_anew_beside_it() {
    let wants = only(rule(vec![Condition::Path(TextMatch::Suffix(".png".into()))], Action::Group(name("7"))));
    let mut book = Book::default();
    let said = write(&book, &wants, Scheduler::RoundRobin, Grammar::Csw).unwrap();
    keep(&mut book, &said);
    let policy = said.policy.unwrap().0;
    book.policy_mut(&policy).lines.push("default reset-client".into());
    let read = read(&book, &said.port, Scheduler::RoundRobin, &mut Err::<(), Unread>).unwrap();
    assert_eq!(read.default_action, Action::Reset, "it shows");
    let anew = write(&book, &wants, Scheduler::RoundRobin, Grammar::Csw).unwrap();
    assert_ne!(anew.policy.as_ref().unwrap().0, policy);
    keep(&mut book, &anew);
    assert_eq!(sweep(&book, [&anew.port], &BTreeSet::new()).policies, [policy]);
}
