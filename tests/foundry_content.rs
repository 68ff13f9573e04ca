//! Content rules through the Foundry driver: typed on emulated boxes and on our own command line, read back, repaired, and
//! refused whole where a box has no words.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

mod ironware;

use std::sync::Arc;

use acm_switch::acm::error::{AcmError, Feature};
use acm_switch::acm::list::{Filter, Listing, ServiceRow};
use acm_switch::acm::model::ModelSwitch;
use acm_switch::acm::primitive::{Add, Caller, Outcome, Primitive, Remove, RemoveService, SetService};
use acm_switch::acm::rules::{Action, Content, HashOptions, Persistence, Rule, RuleEdit, Switching};
use acm_switch::acm::switch::{AcmSwitch, perform};
use acm_switch::acm::words::{Scheduler, ServiceKey};
use acm_switch::console::AcmBox;
use acm_switch::driver::foundry::switch::FoundrySwitch;
use ironware::{Iron, Running};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use switch_sim::personality::Personality;
use switch_sim::quirk::Quirks;

const V: &str = "10.0.0.100:80";

fn set() -> SetService {
    SetService::new(V.parse().unwrap())
}

fn rules(json: &str) -> Vec<Rule> {
    serde_json::from_str(json).unwrap()
}

/// Pictures, a tenant, an old host and a method.
fn shop() -> Vec<Rule> {
    rules(
        r#"[{"name":"images","when":[{"path":{"suffix":".png"}},{"method":"GET"}],"case":"insensitive","then":{"group":"images"}},
            {"name":"tenant","when":[{"path":{"prefix":"/tenant-a/"}},{"host":"*.example.com"}],"then":{"group":"7"}},
            {"name":"session","when":[{"header":{"name":"cookie","is":{"contains":"sid=eu-"}}}],"then":{"group":"images"}},
            {"name":"old","when":[{"host":"old.example.com"}],"then":{"redirect":{"to":"https://www.example.com{uri}"}}},
            {"name":"rest","then":"reset"}]"#,
    )
}

async fn done(switch: &dyn AcmSwitch, primitive: Primitive) -> bool {
    perform(switch, &Caller::default(), primitive).await.unwrap().changed
}

async fn tell(switch: &dyn AcmSwitch, set: SetService) -> bool {
    done(switch, Primitive::SetService(set)).await
}

async fn refused(switch: &dyn AcmSwitch, set: SetService) -> String {
    match perform(switch, &Caller::default(), Primitive::SetService(set)).await {
        Err(AcmError::Unsupported { feature: Feature::Option, why }) => why,
        other => panic!("{other:?}"),
    }
}

fn add(last: u8, group: Option<&str>) -> Primitive {
    let real = ([10, 0, 0, last], 8080).into();
    Primitive::Add(Add { group: group.map(|group| group.parse().unwrap()), ..Add::new(V.parse().unwrap(), real) })
}

async fn listing(switch: &dyn AcmSwitch) -> Listing {
    switch.list(&Filter::default()).await.unwrap()
}

async fn row(switch: &dyn AcmSwitch) -> ServiceRow {
    listing(switch).await.services.into_iter().next().unwrap()
}

fn rules_of(row: &ServiceRow) -> Vec<Rule> {
    row.rules.iter().map(|row| row.rule.clone()).collect()
}

async fn groups(switch: &dyn AcmSwitch) -> Vec<String> {
    listing(switch).await.bindings.iter().map(|row| format!("{} {}", row.key.real, row.group)).collect()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(test);
}

/// Our own command line, in front of the model.
fn own(model: &ModelSwitch) -> Running {
    let balancer = AcmBox::new(Arc::new(model.clone()), tokio::runtime::Handle::current());
    Iron::new(Personality::Acm).before(Box::new(balancer), Quirks::none())
}

/// Rules, an edit of each kind, groups and hashes, and everything taken away again.
async fn a_life_of_rules(running: &Running) {
    let driver = running.driver();
    let content = Some(Content::Http);
    assert!(tell(&driver, SetService { content, rules: Some(shop()), ..set() }).await);
    assert!(!tell(&driver, SetService { content, rules: Some(shop()), ..set() }).await, "said again it is no change");
    for (last, group) in [(11, None), (12, Some("images")), (13, Some("7"))] {
        assert!(done(&driver, add(last, group)).await);
    }
    assert!(!done(&driver, add(12, Some("images"))).await);
    // A driver that knows nothing reads the same.
    let stranger = running.driver();
    let read = row(&stranger).await;
    assert_eq!((read.content, rules_of(&read)), (Content::Http, shop()));
    assert_eq!(groups(&stranger).await, ["10.0.0.11:8080 default", "10.0.0.12:8080 images", "10.0.0.13:8080 7"]);

    let mut wanted = shop();
    wanted.remove(3);
    let moved = wanted.remove(2);
    wanted.insert(0, moved);
    let extra = rules(r#"[{"name":"extra","when":[{"method":"PUT"}],"then":{"group":"7"}}]"#).remove(0);
    wanted.insert(1, extra.clone());
    for edit in [
        RuleEdit::Remove { name: "old".parse().unwrap() },
        RuleEdit::Move { name: "session".parse().unwrap(), at: 1 },
        RuleEdit::Insert { rule: extra, at: Some(2) },
    ] {
        assert!(tell(&driver, SetService { edit: Some(edit), ..set() }).await);
    }
    assert_eq!(rules_of(&row(&stranger).await), wanted);

    // Groups change their way to choose, and servers their group.
    let hash = SetService { group: "images".parse().unwrap(), scheduler: Some(Scheduler::UrlHash), ..set() };
    assert!(tell(&driver, hash).await);
    let by_cookie = HashOptions { cookie: Some("sid".into()), ..HashOptions::default() };
    assert!(tell(&driver, SetService { scheduler: Some(Scheduler::CookieHash), hash: Some(by_cookie), ..set() }).await);
    done(&driver, add(11, Some("web"))).await;
    done(&driver, add(12, Some("default"))).await;
    assert!(tell(&driver, SetService { default_action: Some(Action::Group("web".parse().unwrap())), ..set() }).await);
    let read = row(&stranger).await;
    let schedulers: Vec<_> = read.groups.iter().map(|row| format!("{} {}", row.group, row.scheduler)).collect();
    assert_eq!(schedulers, ["7 round-robin", "default cookie-hash", "images url-hash", "web round-robin"]);
    assert_eq!(read.default_action, Action::Group("web".parse().unwrap()));
    assert_eq!(groups(&stranger).await, ["10.0.0.11:8080 web", "10.0.0.12:8080 default", "10.0.0.13:8080 7"]);

    for last in 11..=13 {
        let real = ([10, 0, 0, last], 8080).into();
        done(&driver, Primitive::Remove(Remove { service: V.parse().unwrap(), real, deadline: None })).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    listing(&driver).await;
    done(&driver, Primitive::RemoveService(RemoveService { service: V.parse().unwrap() })).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let left: Vec<_> =
        running.config().await.into_iter().filter(|line| line.contains("acm-") || line.contains("acmgroup")).collect();
    assert_eq!(left, Vec::<String>::new(), "nothing of ours is left behind");
}

#[test]
fn rules_live_on_an_adx() {
    run(async { a_life_of_rules(&Iron::new(Personality::Adx).start()).await });
}

#[test]
fn rules_live_on_our_own_command_line() {
    run(async {
        let model = ModelSwitch::default();
        a_life_of_rules(&own(&model)).await;
    });
}

/// What the driver says is what our switch does, under the contract's names, and the other way round.
#[test]
fn our_own_switch_has_the_same_rules() {
    run(async {
        let model = ModelSwitch::default();
        let running = own(&model);
        let driver = running.driver();
        tell(&driver, SetService { content: Some(Content::Http), rules: Some(shop()), ..set() }).await;
        done(&driver, add(12, Some("images"))).await;
        let (ours, theirs) = (row(&driver).await, row(&model).await);
        assert_eq!((rules_of(&theirs), theirs.content), (shop(), Content::Http));
        assert_eq!(rules_of(&ours), rules_of(&theirs));
        assert_eq!(groups(&model).await, groups(&driver).await);
        // Somebody else's edit, through the switch's own interface.
        let edit = RuleEdit::Move { name: "rest".parse().unwrap(), at: 1 };
        tell(&model, SetService { edit: Some(edit), ..set() }).await;
        assert_eq!(rules_of(&row(&driver).await), rules_of(&row(&model).await));
        // Persistence has words there too.
        let keep = serde_json::from_str(r#"{"insert":{"name":"acm"}}"#).unwrap();
        let group = "images".parse().unwrap();
        assert!(tell(&driver, SetService { group, persist: Some(keep), ..set() }).await);
        let kept = row(&model).await.groups.into_iter().find(|row| row.group.as_str() == "images").unwrap();
        assert!(matches!(kept.persist, Persistence::Insert(cookie) if cookie.name == "acm"));
    });
}

#[test]
fn an_older_box_has_maps() {
    run(async {
        let running = Iron::new(Personality::Xl).start();
        let driver = running.driver();
        let two = rules(
            r#"[{"name":"images","when":[{"path":{"suffix":".png"}}],"then":{"group":"1"}},
                {"name":"shop","when":[{"path":{"prefix":"/shop/"}}],"then":{"group":"2"}}]"#,
        );
        let default_action = Some(Action::Group("3".parse().unwrap()));
        let all = SetService { content: Some(Content::Http), rules: Some(two.clone()), default_action, ..set() };
        assert!(tell(&driver, all.clone()).await && !tell(&driver, all).await);
        done(&driver, add(11, Some("1"))).await;
        let read = row(&running.driver()).await;
        assert_eq!((read.content, rules_of(&read)), (Content::Http, two.clone()));
        assert_eq!(groups(&running.driver()).await, ["10.0.0.11:8080 1"]);
        let config = running.config().await.join("\n");
        for line in ["method suffix", "match \".png\" 1", "default 3", "port http url-switch", "group-id  1 1"] {
            assert!(config.contains(line), "{line} is not in\n{config}");
        }
        let moved = RuleEdit::Move { name: "shop".parse().unwrap(), at: 1 };
        tell(&driver, SetService { edit: Some(moved), ..set() }).await;
        assert_eq!(rules_of(&row(&driver).await), [two[1].clone(), two[0].clone()]);
        assert_eq!(running.config().await.iter().filter(|line| line.starts_with("url-map")).count(), 2, "no old ones");
        for (json, field) in [
            (r#"[{"name":"r","then":"reset"}]"#, "rules[0].then"),
            (r#"[{"name":"r","when":[{"host":"a"}],"then":{"group":"1"}}]"#, "rules[0].when"),
            (r#"[{"name":"r","when":[{"path":{"exact":"/a"}}],"then":{"group":"1"}}]"#, "rules[0].when[0].path"),
            (r#"[{"name":"r","when":[{"path":{"prefix":"/a"}}],"then":{"group":"images"}}]"#, "rules"),
        ] {
            let before = running.config().await;
            let why = refused(&driver, SetService { rules: Some(rules(json)), ..set() }).await;
            assert!(why.starts_with(field), "{why}");
            assert_eq!(running.config().await, before);
        }
        assert!(tell(&driver, SetService { scheduler: Some(Scheduler::UrlHash), ..set() }).await);
        let default = row(&driver).await.groups.into_iter().find(|row| row.group.as_str() == "default").unwrap();
        assert_eq!(default.scheduler, Scheduler::UrlHash);
    });
}

/// Nothing of a call is typed that says anything a box has no word for, and the field is named.
#[test]
fn what_a_box_has_no_word_for_is_refused_before_a_line_is_typed() {
    run(async {
        for personality in [Personality::Adx, Personality::Acm] {
            let running = Iron::new(personality).start();
            let driver = running.driver();
            let content = Some(Content::Http);
            tell(&driver, SetService { content, rules: Some(shop()), ..set() }).await;
            done(&driver, add(12, Some("images"))).await;
            let before = running.config().await;
            let of = |json: &str| SetService { rules: Some([shop(), rules(json)].concat()), ..set() };
            let cookie = r#"[{"name":"c","when":[{"cookie":{"name":"sid","is":"present"}}],"then":"reset"}]"#;
            let group = || "images".parse().unwrap();
            let learn = serde_json::from_str(r#"{"learn":{"name":"sid"}}"#).unwrap();
            for (set, field) in [
                (of(cookie), "rules[5].when[0].cookie"),
                (of(r#"[{"name":"d","then":{"drop":{"fraction":0.5}}}]"#), "rules[5].then.drop"),
                (of(r#"[{"name":"s","when":[{"sni":"a.example"}],"then":"reset"}]"#), "rules[5].when[0].sni"),
                (SetService { switching: Some(Switching::FirstRequest), ..set() }, "switching"),
                (SetService { content: Some(Content::Tls), ..set() }, "content"),
                (SetService { content: Some(Content::None), ..set() }, "content none"),
                (SetService { group: group(), scheduler: Some(Scheduler::LeastConn), ..set() }, "scheduler"),
                (SetService { group: group(), persist: Some(learn), ..set() }, "persist"),
            ] {
                let why = refused(&driver, set).await;
                assert!(why.starts_with(field), "{why}");
                assert_eq!(running.config().await, before, "{why}");
            }
            let elsewhere = Add {
                service: "10.0.0.101:80".parse().unwrap(),
                ..match add(14, Some("images")) {
                    Primitive::Add(add) => add,
                    other => panic!("{other:?}"),
                }
            };
            let refused = perform(&driver, &Caller::default(), Primitive::Add(elsewhere)).await;
            assert!(
                matches!(&refused, Err(AcmError::Unsupported { why, .. }) if why.contains("set content http first"))
            );
            assert_eq!(running.config().await, before);
        }
    });
}

/// Reconciliation sees what somebody did to rules of ours, and saying the wish again repairs it.
#[test]
fn rules_changed_behind_the_drivers_back_show_and_are_repaired() {
    run(async {
        for personality in [Personality::Adx, Personality::Acm] {
            let running = Iron::new(personality).start();
            let driver = running.driver();
            let all = SetService { content: Some(Content::Http), rules: Some(shop()), ..set() };
            tell(&driver, all.clone()).await;
            let clean = running.config().await;
            let head = |what: &str| clean.iter().find(|line| line.starts_with(what)).unwrap().clone();
            let policy = head("csw-policy");
            let rule = head("csw-rule \"acm-session");
            let name = rule.split(' ').nth(1).unwrap();
            for lines in [
                vec![policy.clone(), format!("match {name} log")],
                vec![policy.clone(), format!("no match {name} forward")],
                vec![policy.clone(), "default reset-client".to_owned()],
                vec![format!("csw-rule {name} url prefix \"/other\"")],
                vec!["server virtual acm-v-10.0.0.100".to_owned(), "no port http csw".to_owned()],
                vec!["server virtual acm-v-10.0.0.100".to_owned(), "port http url-hash".to_owned()],
            ] {
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                assert!(running.types(&lines).await.iter().all(String::is_empty), "{lines:?}");
                let seen = row(&driver).await;
                let is_log = lines.iter().any(|line| line.ends_with("log"));
                let default = seen.groups.iter().find(|row| row.group.as_str() == "default").unwrap().scheduler;
                let same = (rules_of(&seen), seen.content, seen.default_action, default);
                let wanted = (shop(), Content::Http, Action::default_action(), Scheduler::RoundRobin);
                assert!(is_log || same != wanted, "{lines:?} does not show");
                let whole = SetService {
                    default_action: Some(Action::default_action()),
                    scheduler: Some(Scheduler::RoundRobin),
                    ..all.clone()
                };
                assert!(tell(&driver, whole).await, "{lines:?}");
                let seen = row(&driver).await;
                assert_eq!((rules_of(&seen), seen.content), (shop(), Content::Http), "{lines:?}");
                let config = running.config().await;
                assert_eq!(config.iter().filter(|line| line.starts_with("csw-policy")).count(), 1, "{config:?}");
                assert!(!config.iter().any(|line| line.contains("log") || line.contains("url-hash")), "{config:?}");
                // From the same start again.
                tell(&driver, SetService { content: Some(Content::None), rules: Some(vec![]), ..set() }).await;
                tell(&driver, all.clone()).await;
                assert_eq!(running.config().await, clean, "{lines:?}");
            }
        }
    });
}

/// What is typed is what the manuals have, under names that say what they stand for.
#[test]
fn the_lines_are_those_of_the_manual() {
    run(async {
        let running = Iron::new(Personality::Adx).start();
        let driver = running.driver();
        let rules = rules(
            r#"[{"name":"images","when":[{"path":{"suffix":".png"}}],"case":"insensitive","then":{"group":"images"}},
                {"name":"old","when":[{"host":"old.example.com"}],"then":{"redirect":{"to":"https://{host}/new"}}}]"#,
        );
        let default_action = Some(Action::Group("8".parse().unwrap()));
        tell(&driver, SetService { content: Some(Content::Http), rules: Some(rules), default_action, ..set() }).await;
        done(&driver, add(12, Some("images"))).await;
        // The hashes in names are not for people.
        let plain = |line: &String| {
            let word = |word: &str| match word.strip_prefix("\"acm-") {
                Some(name) => format!("\"acm-{}", name.rsplit_once('-').map_or("", |(rule, _)| rule)),
                None => word.to_owned(),
            };
            line.split(' ').map(word).collect::<Vec<_>>().join(" ")
        };
        let about = ["csw", "match", "default forward", "group-id"];
        let config = running.config().await;
        let lines: Vec<String> =
            config.iter().filter(|line| about.iter().any(|word| line.contains(word))).map(plain).collect();
        let wanted = [
            "csw-rule \"acmgroup-1-images\" url exists",
            "csw-rule \"acm-images url suffix \".png\" case-insensitive",
            "csw-rule \"acm-old header \"host\" equals \"old.example.com\" case-insensitive",
            "csw-policy \"acm-",
            " match \"acm-images forward 1",
            " match \"acm-old redirect \"*\" \"/new\" ssl",
            " default forward 8",
            " port 8080 group-id  1 1",
            " port http csw-policy \"acm-",
            " port http csw",
        ];
        assert_eq!(lines, wanted);
    });
}

/// A connection that breaks while a policy is typed: the next one finds the half, leaves it, and sweeps it up.
#[test]
fn half_a_policy_is_swept_up() {
    run(async {
        let clean = Iron::new(Personality::Adx).start();
        let all = || SetService { content: Some(Content::Http), rules: Some(shop()), ..set() };
        tell(&clean.driver(), all()).await;
        let lines = |config: Vec<String>| config.iter().filter(|line| line.contains("acm")).count();
        let wanted = lines(clean.config().await);
        for after in (400..4_000).step_by(150) {
            let running = Iron::new(Personality::Adx).with(&format!("disconnect-after={after}@count=1")).start();
            let driver = running.driver();
            while perform(&driver, &Caller::default(), Primitive::SetService(all())).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_secs(31)).await;
            }
            assert_eq!(rules_of(&row(&driver).await), shop(), "broken after {after} bytes");
            assert_eq!(lines(running.config().await), wanted, "broken after {after} bytes");
        }
    });
}

/// A box that is full says so in the middle; what was typed before is taken back.
#[test]
fn a_refusal_in_the_middle_leaves_nothing() {
    run(async {
        let running = Iron::new(Personality::Adx).start();
        let driver = running.driver();
        tell(&driver, set()).await;
        let theirs: Vec<String> = (0..510).map(|n| format!("csw-rule r{n} url exists")).collect();
        running.types(&theirs.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let before = running.config().await;
        let all = SetService { content: Some(Content::Http), rules: Some(shop()), ..set() };
        let full = perform(&driver, &Caller::default(), Primitive::SetService(all)).await;
        assert!(matches!(full, Err(AcmError::Full { max: 512, .. })), "{full:?}");
        assert_eq!(running.config().await, before);
    });
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => prop::sample::select(vec!["images", "7", "web"]).prop_map(|name| Action::Group(name.parse().unwrap())),
        1 => Just(Action::Reset),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let when = prop::sample::select(vec![
        "[]",
        r#"[{"path":{"suffix":".png"}}]"#,
        r#"[{"path":{"exact":"/a b"}},{"host":"a.example"}]"#,
        r#"[{"host":"*.example"},{"method":"PUT"},{"header":{"name":"x-a","is":"present"}}]"#,
        r#"[{"cookie":{"name":"sid","is":"present"}}]"#,
    ]);
    let name = prop::sample::select(vec!["a", "b", "c", "a-long-name.of_a_rule"]);
    (name, when, action()).prop_map(|(name, when, then)| Rule {
        name: name.parse().unwrap(),
        when: serde_json::from_str(when).unwrap(),
        case: Default::default(),
        then,
    })
}

fn step() -> impl Strategy<Value = Primitive> {
    let service = prop::sample::select(vec![V, "10.0.0.100:81", "10.0.0.101:80"]);
    let service = service.prop_map(|text| text.parse::<ServiceKey>().unwrap());
    let edit = prop_oneof![
        4 => (rule(), prop::option::of(1..4usize)).prop_map(|(rule, at)| RuleEdit::Insert { rule, at }),
        1 => rule().prop_map(|rule| RuleEdit::Remove { name: rule.name }),
        1 => (rule(), 1..4usize).prop_map(|(rule, at)| RuleEdit::Move { name: rule.name, at }),
    ];
    let wish = prop_oneof![
        6 => edit.prop_map(|edit| SetService { edit: Some(edit), ..set() }),
        2 => prop::sample::select(vec![Content::Http, Content::Http, Content::None])
            .prop_map(|content| SetService { content: Some(content), ..set() }),
        1 => action().prop_map(|action| SetService { default_action: Some(action), ..set() }),
        1 => prop::collection::vec(rule(), 0..3).prop_map(|rules| SetService { rules: Some(rules), ..set() }),
        1 => prop::sample::select(vec![Scheduler::UrlHash, Scheduler::RoundRobin])
            .prop_map(|scheduler| SetService { scheduler: Some(scheduler), ..set() }),
    ];
    let group = prop::sample::select(vec![None, Some("images"), Some("7"), Some("web")]);
    prop_oneof![
        6 => (service.clone(), wish).prop_map(|(service, wish)| Primitive::SetService(SetService { service, ..wish })),
        3 => (service.clone(), 11u8..14, group).prop_map(|(service, last, group)| match add(last, group) {
            Primitive::Add(add) => Primitive::Add(Add { service, ..add }),
            other => other,
        }),
        1 => service.prop_map(|service| Primitive::RemoveService(RemoveService { service })),
    ]
}

/// What of a List rules and groups are.
fn content(listing: &Listing) -> Vec<String> {
    let services = listing.services.iter().map(|row| {
        let default = row.groups.iter().find(|row| row.group.as_str() == "default").map(|row| row.scheduler);
        format!("{} {} {} {default:?} {:?}", row.service, row.content, row.default_action, rules_of(row))
    });
    let bindings = listing.bindings.iter().map(|row| format!("{} {}", row.key, row.group));
    services.chain(bindings).collect()
}

fn kind(outcome: &Outcome) -> String {
    match outcome {
        Ok(_) => "ok".into(),
        Err(AcmError::NotFound { .. }) => "not found".into(),
        Err(AcmError::Invalid { field, .. }) => format!("invalid {field}"),
        Err(other) => format!("{other:?}"),
    }
}

async fn trip(driver: FoundrySwitch, steps: Vec<Primitive>) -> Result<(usize, usize), TestCaseError> {
    let (model, mut performed, mut unsupported) = (ModelSwitch::default(), 0, 0);
    for step in &steps {
        let ours = perform(&driver, &Caller::default(), step.clone()).await;
        if matches!(ours, Err(AcmError::Unsupported { .. })) {
            unsupported += 1;
        } else {
            performed += 1;
            let wanted = perform(&model, &Caller::default(), step.clone()).await;
            prop_assert_eq!(kind(&ours), kind(&wanted), "{:?}: {:?}", step, ours);
        }
        prop_assert_eq!(content(&listing(&driver).await), content(&listing(&model).await), "after {:?}", step);
    }
    Ok((performed, unsupported))
}

fn trips(cases: u32, start: impl Fn() -> Running) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let sum = std::cell::Cell::new((0, 0));
    let result = runner.run(&prop::collection::vec(step(), 1..14), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (performed, unsupported) = runtime.block_on(async { trip(start().driver(), steps).await })?;
        sum.set((sum.get().0 + performed, sum.get().1 + unsupported));
        Ok(())
    });
    if let Err(why) = result {
        panic!("{why}");
    }
    let (performed, unsupported) = sum.get();
    assert!(
        performed > cases as usize && unsupported > cases as usize / 10,
        "{performed} performed, {unsupported} refused"
    );
}

#[test]
fn random_rules_come_back_from_an_adx_as_the_model_has_them() {
    trips(400, || Iron::new(Personality::Adx).start());
}

#[test]
fn random_rules_come_back_from_our_own_command_line_as_the_model_has_them() {
    trips(200, || own(&ModelSwitch::default()));
}
