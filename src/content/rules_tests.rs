//! Rules in order, case, and coins. (`tests/content` compares them with the model on random rules and requests.)

use super::super::head::{HeadMap, Limits, Step, read};
use super::*;
use crate::acm::rules::{Named, Turned};

fn rule(name: &str, when: Vec<Condition>, then: Action) -> Rule {
    Rule { name: name.parse().unwrap(), when, case: Case::Sensitive, then }
}

fn group(name: &str) -> Action {
    Action::Group(name.parse().unwrap())
}

fn parsed(bytes: &[u8]) -> HeadMap {
    match read(bytes, Limits::default()) {
        Step::Head(map) => map,
        other => panic!("{}: {other:?}", String::from_utf8_lossy(bytes)),
    }
}

const TOSS: Toss = Toss { connection: 1, request: 2 };

fn decided(rules: &[Rule], request: &str, toss: Toss) -> String {
    let bytes = format!("{request}\r\n\r\n").into_bytes();
    let map = parsed(&bytes);
    let head = map.view(&bytes);
    let mut room = vec![0; head.path().len()];
    let facts = Facts::Http(head, head.normal_path(&mut room).unwrap());
    let ruleset = Ruleset::compile(rules, &Action::default_action()).unwrap();
    ruleset.decide(&facts, toss, &mut Scratch::default()).action.to_string()
}

#[test]
fn the_first_rule_that_matches_decides() {
    let path = |is| Condition::Path(is);
    let cookie = |name: &str, is| Condition::Cookie(Named { name: name.into(), is });
    let header = |name: &str, is| Condition::Header(Named { name: name.into(), is });
    use TextMatch::*;
    let rules = [
        rule("a", vec![path(Suffix(".png".into())), Condition::Method("GET".into())], group("images")),
        rule("b", vec![path(Prefix("/tenant/".into())), Condition::Host("*.example.com".into())], group("tenant")),
        rule("c", vec![cookie("sid", Prefix("a".into()))], group("a")),
        rule("d", vec![cookie("sid", Present)], group("sessions")),
        rule("e", vec![header("X-Debug", Exact("1".into())), path(Contains("debug".into()))], Action::Reset),
        rule("f", vec![path(Exact("/".into()))], group("home")),
    ];
    for (request, want) in [
        ("GET /a/b.png HTTP/1.1\r\nHost: x", "group images"),
        ("POST /a/b.png HTTP/1.1\r\nHost: x", "group default"),
        ("GET /tenant/b.png HTTP/1.1\r\nHost: a.example.com", "group images"),
        ("GET /tenant/b HTTP/1.1\r\nHost: A.Example.COM:80", "group tenant"),
        ("GET /tenant/b HTTP/1.1\r\nHost: example.com", "group default"),
        ("GET /x HTTP/1.1\r\nHost: x\r\nCookie: a=1; sid=abc", "group a"),
        ("GET /x HTTP/1.1\r\nHost: x\r\nCookie: sid=xyz; sid=abc", "group sessions"),
        ("GET /x HTTP/1.1\r\nHost: x\r\nCookie: SID=abc", "group default"),
        ("GET /debug HTTP/1.1\r\nHost: x\r\nx-debug: 1", "reset"),
        ("GET /debug HTTP/1.1\r\nHost: x\r\nx-debug: 0\r\nX-DEBUG: 1", "reset"),
        ("GET /debug HTTP/1.1\r\nHost: x\r\nx-debug: 10", "group default"),
        ("GET / HTTP/1.1\r\nHost: x", "group home"),
        ("GET /?a HTTP/1.1\r\nHost: x", "group home"),
        ("GET /./ HTTP/1.1\r\nHost: x", "group home"),
        ("GET /TENANT/ HTTP/1.1\r\nHost: a.example.com", "group default"),
    ] {
        assert_eq!(decided(&rules, request, TOSS), want, "{request}");
    }
}

#[test]
fn case_is_a_matter_of_the_rule() {
    let when = vec![Condition::Path(TextMatch::Prefix("/Img/".into()))];
    let folded = [Rule { case: Case::Insensitive, ..rule("a", when, group("img")) }];
    assert_eq!(decided(&folded, "GET /iMG/x HTTP/1.1\r\nHost: x", TOSS), "group img");
}

#[test]
fn what_a_drop_spares_goes_on() {
    let share = |mode| {
        let share = DropShare { fraction: "0.3".parse().unwrap(), mode, refusal: Turned::Reset };
        [rule("shed", vec![], Action::Drop(share)), rule("rest", vec![], group("rest"))]
    };
    let count = |rules: &[Rule], toss: fn(u64) -> Toss| {
        let is_dropped = |n: &u64| decided(rules, "GET / HTTP/1.1\r\nHost: x", toss(*n)).starts_with("drop");
        (0..2000).filter(is_dropped).count()
    };
    // 600 expected, and the deviation is 20.5.
    let by_connection = count(&share(DropMode::Shed), |n| Toss { connection: n, request: 7 });
    let by_request = count(&share(DropMode::Queue), |n| Toss { connection: 7, request: n });
    assert!((500..700).contains(&by_connection) && (500..700).contains(&by_request));
    let one_connection = count(&share(DropMode::Shed), |n| Toss { connection: 7, request: n });
    assert!(one_connection == 0 || one_connection == 2000);
}
