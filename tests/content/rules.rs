//! Rules made ready against the model, which goes through them one by one: random rules, random requests, one verdict.

use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use acm_switch::acm::model::ModelSwitch;
use acm_switch::acm::primitive::{Add, Caller, Primitive, SetService};
use acm_switch::acm::rules::request::{Request, Served};
use acm_switch::acm::rules::{Action, Case, Condition, Content, DropShare, Named, Redirect, Rule, TextMatch, Turned};
use acm_switch::acm::switch::{AcmSwitch, Answer};
use acm_switch::acm::words::{DropMode, ServiceKey, default_group};
use acm_switch::base::fraction::Fraction;
use acm_switch::base::id::Name;
use acm_switch::content::answer;
use acm_switch::content::head::{Limits, Step, read};
use acm_switch::content::hello::Hello;
use acm_switch::content::rules::{Facts, Fares, Ruleset, Scratch, Toss, trace};
use proptest::prelude::*;

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)), 2000);
const GROUPS: [&str; 3] = ["default", "one", "two"];

fn service() -> ServiceKey {
    "10.0.0.100:80".parse().unwrap()
}

fn now<T>(mut answer: Answer<'_, T>) -> T {
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the model answers at once"),
    }
}

/// A switch with a real in each group, by whose port the group is known.
fn model(rules: &[Rule], content: Content) -> ModelSwitch {
    let model = ModelSwitch::new(7);
    let mut list = vec![Primitive::SetService(SetService {
        rules: Some(rules.to_vec()),
        content: Some(content),
        ..SetService::new(service())
    })];
    for (group, port) in GROUPS.iter().zip(8000..) {
        let real = SocketAddr::new([10, 0, 0, 11].into(), port);
        list.push(Primitive::Add(Add { group: Some(group.parse().unwrap()), ..Add::new(service(), real) }));
    }
    for outcome in now(model.apply(&Caller::default(), list)).unwrap() {
        outcome.unwrap();
    }
    model
}

fn text() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["/", "/a", "/A/", "/a/b", "a", "b.png", ".png", "1", "ab", "B"])
        .prop_map(str::to_owned)
}

fn text_match(is_path: bool) -> impl Strategy<Value = TextMatch> {
    prop_oneof![
        text().prop_map(TextMatch::Exact),
        text().prop_map(TextMatch::Prefix),
        text().prop_map(TextMatch::Suffix),
        text().prop_map(TextMatch::Contains),
        Just(TextMatch::Present),
    ]
    .prop_filter("every request has a path, which begins with a slash", move |is| match is {
        TextMatch::Present => !is_path,
        TextMatch::Exact(text) | TextMatch::Prefix(text) => !is_path || text.starts_with('/'),
        _ => true,
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let host = proptest::sample::select(vec!["a.example", "*.example", "b.a.example", "10.0.0.1"]);
    let named = |names: Vec<&'static str>| {
        (proptest::sample::select(names), text_match(false)).prop_map(|(name, is)| Named { name: name.into(), is })
    };
    prop_oneof![
        5 => text_match(true).prop_map(Condition::Path),
        2 => host.clone().prop_map(|name| Condition::Host(name.into())),
        2 => proptest::sample::select(vec!["GET", "POST"]).prop_map(|name| Condition::Method(name.into())),
        2 => named(vec!["X-A", "x-b", "Host"]).prop_map(Condition::Header),
        3 => named(vec!["sid", "SID", "t"]).prop_map(Condition::Cookie),
        2 => host.prop_map(|name| Condition::Sni(name.into())),
        1 => proptest::sample::select(vec!["h2", "http/1.1"]).prop_map(|name| Condition::Alpn(name.into())),
    ]
}

/// Actions without chance: a drop takes all it matches, or nearly nothing of it.
fn action() -> impl Strategy<Value = Action> {
    let drop = |fraction: f64, refusal| {
        let share = DropShare { fraction: Fraction::new(fraction).unwrap(), mode: DropMode::Queue, refusal };
        Action::Drop(share)
    };
    prop_oneof![
        6 => proptest::sample::select(GROUPS.to_vec()).prop_map(|name| Action::Group(name.parse().unwrap())),
        1 => Just(Action::Reset),
        1 => Just(drop(1.0, Turned::Unavailable)),
        1 => Just(drop(1.0, Turned::Reset)),
        1 => Just(drop(1e-9, Turned::Reset)),
        1 => Just(Action::Redirect(Redirect { to: "https://{host}{uri}#{path}".into(), status: 301 })),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let case = prop_oneof![Just(Case::Sensitive), Just(Case::Insensitive)];
    let rule = (proptest::collection::vec(condition(), 0..4), case, action());
    proptest::collection::vec(rule, 0..12).prop_map(|rules| {
        let named = |(index, (when, case, then)): (usize, _)| {
            let name: Name = format!("r{index}").parse().unwrap();
            Rule { name, when, case, then }
        };
        rules.into_iter().enumerate().map(named).collect()
    })
}

fn request() -> impl Strategy<Value = Request> {
    let target = proptest::sample::select(vec![
        "/",
        "/a",
        "/A/x",
        "/a/b.png",
        "/a/b.PNG?q=/b",
        "/x/../a/b",
        "//a",
        "/%61b",
        "/a%2fb",
        "/..",
        "/ab/1",
    ]);
    let host = proptest::sample::select(vec!["a.example", "B.A.Example:80", "example", "10.0.0.1:8080", "x.example."]);
    let field = proptest::sample::select(vec![
        ("X-A", "1"),
        ("x-a", "ab"),
        ("X-B", "/A/"),
        ("Cookie", "sid=1"),
        ("Cookie", "t=ab; sid=/a"),
        ("cookie", "SID=b; sid=B; sid=1"),
        ("Cookie", "x=y; sid; =; t=B"),
    ]);
    let method = proptest::sample::select(vec!["GET", "POST", "PUT"]);
    let alpn = proptest::sample::subsequence(vec!["h2", "http/1.1"], 0..=2);
    let sni = proptest::option::of(proptest::sample::select(vec!["a.example", "X.A.example", "other"]));
    (method, target, host, proptest::collection::vec(field, 0..4), sni, alpn).prop_map(
        |(method, target, host, fields, sni, alpn)| Request {
            method: method.into(),
            target: target.into(),
            host: host.into(),
            headers: fields.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            sni: sni.map(str::to_owned),
            alpn: alpn.into_iter().map(str::to_owned).collect(),
        },
    )
}

fn bytes(request: &Request) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.target, request.host);
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    (head + "\r\n").into_bytes()
}

/// The bytes of a client hello with this name and these protocols.
fn hello_bytes(request: &Request) -> Vec<u8> {
    let prefixed = |data: &[u8]| [&(data.len() as u16).to_be_bytes()[..], data].concat();
    let mut extensions = Vec::new();
    if let Some(name) = &request.sni {
        let list = prefixed(&[&[0][..], &prefixed(name.as_bytes())].concat());
        extensions.extend([&[0, 0][..], &prefixed(&list)].concat());
    }
    if !request.alpn.is_empty() {
        let names: Vec<u8> =
            request.alpn.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
        extensions.extend([&[0, 16][..], &prefixed(&prefixed(&names))].concat());
    }
    let body = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], &prefixed(&extensions)].concat();
    let message = [&[1, 0][..], &prefixed(&body)].concat();
    [&[22, 3, 1][..], &prefixed(&message)].concat()
}

/// What the ruleset says, in the model's words.
fn ours(rules: &[Rule], content: Content, request: &Request) -> Served {
    let ruleset = Ruleset::compile(rules, &Action::Group(default_group())).unwrap();
    let (bytes, hello) = (bytes(request), hello_bytes(request));
    let Step::Head(map) = read(&bytes, Limits::default()) else { panic!("{request:?}") };
    let head = map.view(&bytes);
    let mut room = vec![0; bytes.len()];
    let mut hello_room = vec![0; hello.len()];
    let facts = match content {
        Content::Http => match head.normal_path(&mut room) {
            Ok(path) => Facts::Http(head, path),
            Err(why) => return Served::Answered(why.status(), None),
        },
        _ => match acm_switch::content::hello::read(&hello, hello.len(), &mut hello_room) {
            acm_switch::content::hello::Step::Hello(hello) => Facts::Tls(hello),
            other => panic!("{other:?}"),
        },
    };
    let decision = ruleset.decide(&facts, Toss { connection: 1, request: 2 }, &mut Scratch::default());
    agrees_with_the_trace(rules, &facts, decision.rule);
    match decision.action {
        Action::Group(name) => {
            let port = GROUPS.iter().position(|group| *group == name.as_str()).unwrap() as u16 + 8000;
            Served::By(SocketAddr::new([10, 0, 0, 11].into(), port))
        }
        Action::Drop(DropShare { refusal: Turned::Unavailable, .. }) if content == Content::Http => {
            Served::Answered(503, None)
        }
        Action::Redirect(redirect) if content == Content::Http => {
            Served::Answered(redirect.status, answer::place(redirect, &head).ok())
        }
        _ => Served::Reset,
    }
}

/// The trace ends with the rule that decided, or says that none does; a drop on the way may have spared.
fn agrees_with_the_trace(rules: &[Rule], facts: &Facts<'_>, decided: Option<usize>) {
    let steps: Vec<_> = trace(rules, facts).collect();
    let certain = steps.iter().position(|(rule, fares)| {
        *fares == Fares::Matches && !matches!(rule.then, Action::Drop(share) if share.fraction.get() < 0.5)
    });
    assert_eq!(certain, decided, "{steps:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn rules_made_ready_say_what_the_model_says(rules in rules(), requests in proptest::collection::vec(request(), 1..4)) {
        for content in [Content::Http, Content::Tls] {
            let model = model(&rules, content);
            for request in &requests {
                let said = ours(&rules, content, request);
                prop_assert_eq!(model.request(CLIENT, service(), request).served, said, "{:?} {:?}", content, request);
            }
        }
    }
}

#[test]
fn a_hello_without_extensions_matches_rules_that_ask_nothing() {
    let all = Rule { name: "all".parse().unwrap(), when: vec![], case: Case::Sensitive, then: Action::Reset };
    let ruleset = Ruleset::compile(&[all], &Action::Group(default_group())).unwrap();
    let facts = Facts::Tls(Hello::default());
    let toss = Toss { connection: 0, request: 0 };
    assert_eq!(ruleset.decide(&facts, toss, &mut Scratch::default()).rule, Some(0));
}
