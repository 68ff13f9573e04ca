//! Cases about content: rules and groups as data, which need nothing but the trait, and requests that go where rules
//! say, which need a [`Testbed`] that asks. A switch that does not look into requests says `Unsupported` to all of it, or
//! keeps rules and says so to the one who wants them obeyed; in both cases nothing of the refused call is done.

use std::collections::BTreeSet;
use std::time::Duration;

use super::control::{call, remove, until};
use super::settings::invalid;
use super::traffic::{bring_up, client};
use super::{Case, Plan, Room, Run, Stop, Testbed, Verdict, expect};
use crate::acm::error::AcmError;
use crate::acm::event::EventKind;
use crate::acm::list::{Filter, ServiceRow};
use crate::acm::primitive::{Primitive, SetService};
use crate::acm::rules::request::{Reply, Request, SAYS_COOKIE, Served};
use crate::acm::rules::{
    Action, Case as Letters, Condition, Content, DropShare, HashOptions, InsertCookie, LearnCookie, LoadFactor, Named,
    Persistence, Redirect, Rule, RuleEdit, SameSite, Strangers, Switching, TextMatch, Turned, UrlPart,
};
use crate::acm::switch::AcmSwitch;
use crate::acm::words::{DropMode, Refusal, Scheduler, ServiceKey};
use crate::base::addr::Protocol;
use crate::base::fraction::Fraction;
use crate::base::id::Name;
use crate::base::span::Span;

macro_rules! cases {
    (control { $($name:literal => |$switch:ident, $plan:ident| $body:block)* }
     traffic { $($case:literal => |$over:ident, $testbed:ident, $with:ident| $then:block)* }) => {
        /// The cases.
        pub const CASES: &[Case] = &[
            $(Case {
                name: $name,
                room: Room::Content,
                run: Run::Control(|$switch, $plan| Box::pin(async move { $body })),
            },)*
            $(Case {
                name: $case,
                room: Room::Content,
                run: Run::Traffic(|$over, $testbed, $with| Box::pin(async move { $then })),
            },)*
        ];
    };
}

/// A name of the suite's own.
fn name(text: &str) -> Result<Name, Stop> {
    text.parse().map_err(|why| Stop::Failed(format!("{text}: {why}")))
}

fn group(text: &str) -> Result<Action, Stop> {
    Ok(Action::Group(name(text)?))
}

fn rule(text: &str, when: Vec<Condition>, then: Action) -> Result<Rule, Stop> {
    Ok(Rule { name: name(text)?, when, case: Letters::Sensitive, then })
}

fn suffix(text: &str) -> Condition {
    Condition::Path(TextMatch::Suffix(text.into()))
}

fn prefix(text: &str) -> Condition {
    Condition::Path(TextMatch::Prefix(text.into()))
}

fn service(plan: &Plan) -> SetService {
    SetService::new(plan.services[0])
}

/// Sets something of service 0; whether it changed anything.
async fn set(switch: &dyn AcmSwitch, set: SetService) -> Result<bool, Stop> {
    Ok(call(switch, Primitive::SetService(set)).await?.changed)
}

async fn edit(switch: &dyn AcmSwitch, plan: &Plan, edit: RuleEdit) -> Result<bool, Stop> {
    set(switch, SetService { edit: Some(edit), ..service(plan) }).await
}

async fn listed(switch: &dyn AcmSwitch, plan: &Plan) -> Result<ServiceRow, Stop> {
    let listing = switch.list(&Filter::service(plan.services[0])).await?;
    let row = listing.services.into_iter().find(|row| row.service == plan.services[0]);
    row.ok_or_else(|| Stop::Failed("the service is not listed".into()))
}

/// The names of the rules, in their order.
async fn order(switch: &dyn AcmSwitch, plan: &Plan) -> Result<String, Stop> {
    let row = listed(switch, plan).await?;
    Ok(row.rules.iter().map(|row| row.rule.name.as_str()).collect::<Vec<_>>().join(" "))
}

async fn in_order(switch: &dyn AcmSwitch, plan: &Plan, wanted: &str) -> Verdict {
    let found = order(switch, plan).await?;
    expect(found == wanted, format!("rules are in the order `{found}`, not `{wanted}`"))
}

/// Four servers' worth of content: real 0 in the default group, 1 in `images`, 2 in `caches`, and HTTP looked into.
async fn shop(switch: &dyn AcmSwitch, plan: &Plan, rules: Vec<Rule>) -> Verdict {
    set(switch, SetService { content: Some(Content::Http), rules: Some(rules), ..service(plan) }).await?;
    for (n, at) in [(0, "default"), (1, "images"), (2, "caches")] {
        let at = name(at)?;
        bring_up(switch, plan, n, |add| add.group = Some(at)).await?;
    }
    Ok(())
}

/// The cookie of a switch's own.
fn ours() -> InsertCookie {
    InsertCookie { name: "acm".into(), max_age: None, http_only: true, secure: false, same_site: SameSite::Lax }
}

/// Three servers in turn, and clients that come back are kept so.
async fn keeping(switch: &dyn AcmSwitch, plan: &Plan, persist: Persistence) -> Verdict {
    set(switch, SetService { content: Some(Content::Http), persist: Some(persist), ..service(plan) }).await?;
    for n in 0..3 {
        bring_up(switch, plan, n, |_| {}).await?;
    }
    Ok(())
}

/// What becomes of a request from this port of client 0.
async fn ask(testbed: &dyn Testbed, plan: &Plan, port: u16, request: &Request) -> Result<Served, Stop> {
    Ok(hear(testbed, plan, port, request).await?.served)
}

/// The same with the cookies that come with it.
async fn hear(testbed: &dyn Testbed, plan: &Plan, port: u16, request: &Request) -> Result<Reply, Stop> {
    let reply = testbed.ask(client(plan, port), plan.services[0], request).await;
    reply.ok_or_else(|| Stop::Untestable("needs a testbed that asks requests".into()))
}

async fn goes(testbed: &dyn Testbed, plan: &Plan, port: u16, request: &Request, wanted: Served) -> Verdict {
    let served = ask(testbed, plan, port, request).await?;
    expect(served == wanted, format!("{} {}: {served:?}, not {wanted:?}", request.method, request.target))
}

/// What becomes of a client that speaks something else.
async fn babbles(testbed: &dyn Testbed, plan: &Plan, port: u16, wanted: Served) -> Verdict {
    let served = testbed.babble(client(plan, port), plan.services[0]).await;
    let served = served.ok_or_else(|| Stop::Untestable("needs a testbed that babbles".into()))?;
    expect(served == wanted, format!("a stranger: {served:?}, not {wanted:?}"))
}

/// Refused, naming the field, and nothing of it is in force.
async fn wrong(switch: &dyn AcmSwitch, plan: &Plan, wrong: SetService, field: &str) -> Verdict {
    let before = listed(switch, plan).await?;
    // One right thing beside the wrong one: a call is done whole or not at all.
    let mixed = SetService { when_none: Some(Refusal::Reset), ..wrong };
    invalid(switch, Primitive::SetService(mixed), field).await?;
    let after = listed(switch, plan).await?;
    expect(before == after, format!("a refused call naming {field} changed {before:?} into {after:?}"))
}

cases! {
control {
    "rules are listed in the order they were put in, and are moved and removed by name" => |switch, plan| {
        for (text, at, wanted) in [("a", None, "a"), ("b", None, "a b"), ("c", Some(1), "c a b"), ("d", Some(99), "c a b d")] {
            let rule = rule(text, vec![suffix(&format!(".{text}"))], Action::Reset)?;
            let changed = edit(switch, plan, RuleEdit::Insert { rule, at }).await?;
            expect(changed, format!("inserting {text} changed nothing"))?;
            in_order(switch, plan, wanted).await?;
        }
        edit(switch, plan, RuleEdit::Move { name: name("d")?, at: 2 }).await?;
        in_order(switch, plan, "c d a b").await?;
        edit(switch, plan, RuleEdit::Remove { name: name("a")? }).await?;
        in_order(switch, plan, "c d b").await
    }
    "a rule said again is no change, another one of its name is refused" => |switch, plan| {
        let first = rule("r", vec![suffix(".png")], Action::Reset)?;
        edit(switch, plan, RuleEdit::Insert { rule: first.clone(), at: None }).await?;
        let again = edit(switch, plan, RuleEdit::Insert { rule: first.clone(), at: Some(1) }).await?;
        expect(!again, "the same rule again was a change")?;
        let other = Rule { when: vec![suffix(".jpg")], ..first };
        let insert = SetService { edit: Some(RuleEdit::Insert { rule: other, at: None }), ..service(plan) };
        invalid(switch, Primitive::SetService(insert), "edit.insert.rule.name").await?;
        in_order(switch, plan, "r").await
    }
    "a list of rules takes the place of those there were" => |switch, plan| {
        let rules = |texts: &[&str]| texts.iter().map(|text| rule(text, vec![], Action::Reset)).collect::<Result<Vec<_>, _>>();
        set(switch, SetService { rules: Some(rules(&["a", "b"])?), ..service(plan) }).await?;
        set(switch, SetService { rules: Some(rules(&["c", "b"])?), ..service(plan) }).await?;
        in_order(switch, plan, "c b").await?;
        let again = set(switch, SetService { rules: Some(rules(&["c", "b"])?), ..service(plan) }).await?;
        expect(!again, "the same list again was a change")?;
        set(switch, SetService { rules: Some(vec![]), ..service(plan) }).await?;
        in_order(switch, plan, "").await
    }
    "an edit of a rule that is not there finds nothing" => |switch, plan| {
        edit(switch, plan, RuleEdit::Insert { rule: rule("r", vec![], Action::Reset)?, at: None }).await?;
        for missing in [RuleEdit::Remove { name: name("x")? }, RuleEdit::Move { name: name("x")?, at: 1 }] {
            let refused = call(switch, Primitive::SetService(SetService { edit: Some(missing), ..service(plan) })).await;
            expect(matches!(refused, Err(AcmError::NotFound { .. })), format!("{refused:?}"))?;
        }
        in_order(switch, plan, "r").await
    }
    "a bad rule is refused by its field, and nothing of the call is done" => |switch, plan| {
        edit(switch, plan, RuleEdit::Insert { rule: rule("r", vec![], Action::Reset)?, at: None }).await?;
        let redirect = Action::Redirect(Redirect { to: "ftp://x".into(), status: 302 });
        let teapot = Action::Redirect(Redirect { to: "/x".into(), status: 418 });
        let none = DropShare { fraction: Fraction::ZERO, mode: DropMode::Shed, refusal: Turned::Reset };
        let cookie = Condition::Cookie(Named { name: "a b".into(), is: TextMatch::Present });
        for (when, then, field) in [
            (vec![prefix("img/")], Action::Reset, "rules[1].when[0].path"),
            (vec![Condition::Path(TextMatch::Exact("/a/../b".into()))], Action::Reset, "rules[1].when[0].path"),
            (vec![prefix("/"), Condition::Method("get".into())], Action::Reset, "rules[1].when[1].method"),
            (vec![Condition::Host("a b".into())], Action::Reset, "rules[1].when[0].host"),
            (vec![cookie], Action::Reset, "rules[1].when[0].cookie"),
            (vec![], redirect, "rules[1].then.redirect.to"),
            (vec![], teapot, "rules[1].then.redirect.status"),
            (vec![], Action::Drop(none), "rules[1].then.drop.fraction"),
        ] {
            let rules = vec![rule("good", vec![], Action::Reset)?, rule("bad", when, then)?];
            wrong(switch, plan, SetService { rules: Some(rules), ..service(plan) }, field).await?;
        }
        let twice = vec![rule("r", vec![], Action::Reset)?; 2];
        wrong(switch, plan, SetService { rules: Some(twice), ..service(plan) }, "rules[1].name").await?;
        let nowhere = RuleEdit::Insert { rule: rule("x", vec![], Action::Reset)?, at: Some(0) };
        wrong(switch, plan, SetService { edit: Some(nowhere), ..service(plan) }, "edit.insert.at").await
    }
    "a change of rules is told as one" => |switch, plan| {
        edit(switch, plan, RuleEdit::Insert { rule: rule("a", vec![], Action::Reset)?, at: None }).await?;
        let mut events = switch.events(None).await?;
        edit(switch, plan, RuleEdit::Insert { rule: rule("b", vec![], Action::Reset)?, at: None }).await?;
        let told = |kind: &EventKind| matches!(kind, EventKind::RulesChanged { service, rules: 2 } if *service == plan.services[0]);
        until(&mut events, told).await.map(drop)
    }
    "what a service does with content is listed as it was set, or refused whole" => |switch, plan| {
        let everything = SetService {
            content: Some(Content::Http),
            switching: Some(Switching::FirstRequest),
            default_action: Some(group("web")?),
            strangers: Some(Strangers::Reset),
            rules: Some(vec![rule("r", vec![suffix(".png")], group("images")?)?]),
            ..service(plan)
        };
        // On some boxes the service is there already.
        let before = switch.list(&Filter::service(plan.services[0])).await?.services;
        let outcome = call(switch, Primitive::SetService(everything)).await;
        if let Err(AcmError::Unsupported { .. }) = &outcome {
            let after = switch.list(&Filter::service(plan.services[0])).await?.services;
            expect(after == before, format!("refused, and yet there is {after:?}, not {before:?}"))?;
        }
        outcome?;
        let row = listed(switch, plan).await?;
        let found = (row.content, row.switching, &row.default_action, row.strangers, row.rules.len());
        let wanted = (Content::Http, Switching::FirstRequest, &group("web")?, Strangers::Reset, 1);
        expect(found == wanted, format!("{found:?}"))?;
        set(switch, SetService { content: Some(Content::None), ..service(plan) }).await?;
        let row = listed(switch, plan).await?;
        expect((row.content, row.rules.len()) == (Content::None, 1), "rules stay while they are not in force")
    }
    "content, rules and the default action are listed as they were set" => |switch, plan| {
        let rules = vec![
            rule("images", vec![suffix(".png"), Condition::Method("GET".into())], group("images")?)?,
            rule("rest", vec![Condition::Host("*.example.com".into())], Action::Reset)?,
        ];
        let everything = SetService {
            content: Some(Content::Http),
            default_action: Some(group("web")?),
            rules: Some(rules.clone()),
            ..service(plan)
        };
        expect(set(switch, everything.clone()).await?, "setting rules changed nothing")?;
        let row = listed(switch, plan).await?;
        let found: Vec<Rule> = row.rules.iter().map(|row| row.rule.clone()).collect();
        expect(found == rules, format!("{found:?}, not {rules:?}"))?;
        expect((row.content, &row.default_action) == (Content::Http, &group("web")?), format!("{row:?}"))?;
        expect(!set(switch, everything).await?, "the same again was a change")?;
        set(switch, SetService { content: Some(Content::None), ..service(plan) }).await?;
        let row = listed(switch, plan).await?;
        expect((row.content, row.rules.len()) == (Content::None, 2), "rules stay while they are not in force")
    }
    "what a group hashes and how it keeps clients is listed as it was set" => |switch, plan| {
        let caches = SetService { group: name("caches")?, ..service(plan) };
        let hash = HashOptions {
            url: UrlPart::HostPath,
            cookie: Some("sid".into()),
            fallback: Scheduler::LeastConn,
            bounded_load: LoadFactor::new(1.25).ok(),
        };
        let persist = Persistence::Insert(InsertCookie {
            name: "acm".into(),
            max_age: None,
            http_only: true,
            secure: true,
            same_site: SameSite::Strict,
        });
        let scheduler = Some(Scheduler::UrlHash);
        set(switch, SetService { scheduler, hash: Some(hash.clone()), persist: Some(persist.clone()), ..caches.clone() }).await?;
        let row = listed(switch, plan).await?;
        let found = row.groups.iter().find(|row| row.group == caches.group);
        let is_so = found.is_some_and(|row| (row.scheduler, &row.hash, &row.persist) == (Scheduler::UrlHash, &hash, &persist));
        expect(is_so, format!("{found:?}"))?;
        let nameless = HashOptions { cookie: None, ..hash };
        let by_cookie = SetService { scheduler: Some(Scheduler::CookieHash), hash: Some(nameless), ..caches };
        wrong(switch, plan, by_cookie, "hash.cookie").await
    }
    "a load is bounded where keys are hashed, and nowhere else" => |switch, plan| {
        let caches = SetService { group: name("caches")?, ..service(plan) };
        let hash = Some(HashOptions { bounded_load: LoadFactor::new(1.25).ok(), ..HashOptions::default() });
        let set_it = |scheduler| SetService { scheduler: Some(scheduler), hash: hash.clone(), ..caches.clone() };
        set(switch, service(plan)).await?;
        for scheduler in [Scheduler::RoundRobin, Scheduler::LeastConn, Scheduler::Random] {
            wrong(switch, plan, set_it(scheduler), "hash.bounded_load").await?;
        }
        for scheduler in [Scheduler::SourceHash, Scheduler::UrlHash] {
            set(switch, set_it(scheduler)).await?;
        }
        // What is merged counts, not what the call says.
        let in_turn = SetService { scheduler: Some(Scheduler::RoundRobin), ..caches.clone() };
        wrong(switch, plan, in_turn.clone(), "hash.bounded_load").await?;
        set(switch, SetService { hash: Some(HashOptions::default()), ..in_turn }).await.map(drop)
    }
    "a UDP service has no rules" => |switch, plan| {
        let udp = ServiceKey { protocol: Protocol::Udp, ..plan.services[0] };
        let edit = Some(RuleEdit::Insert { rule: rule("r", vec![], Action::Reset)?, at: None });
        let refused = call(switch, Primitive::SetService(SetService { edit, ..SetService::new(udp) })).await;
        expect(matches!(refused, Err(AcmError::Unsupported { .. })), format!("{refused:?}"))?;
        let listing = switch.list(&Filter::service(udp)).await?;
        expect(listing.services.is_empty(), "the refused call made the service all the same")
    }
}
traffic {
    "the first rule that matches decides, and what none decides goes to the default group" => |switch, testbed, plan| {
        let images = rule("images", vec![suffix(".png"), Condition::Method("GET".into())], group("images")?)?;
        let caches = rule("caches", vec![prefix("/static/")], group("caches")?)?;
        shop(switch, plan, vec![images, caches]).await?;
        let [web, images, caches] = plan.reals.map(Served::By);
        goes(testbed, plan, 2001, &Request::get("/static/a.png"), images.clone()).await?;
        goes(testbed, plan, 2002, &Request::get("/static/a.css"), caches.clone()).await?;
        let post = Request { method: "POST".into(), ..Request::get("/static/a.png") };
        goes(testbed, plan, 2003, &post, caches.clone()).await?;
        goes(testbed, plan, 2004, &Request::get("/a.css"), web).await?;
        edit(switch, plan, RuleEdit::Move { name: name("caches")?, at: 1 }).await?;
        goes(testbed, plan, 2005, &Request::get("/static/a.png"), caches).await?;
        let hits: Vec<u64> = listed(switch, plan).await?.rules.iter().map(|row| row.hits).collect();
        expect(hits == [3, 1], format!("the rules decided {hits:?} requests"))
    }
    "what a path means counts, not how it is written" => |switch, testbed, plan| {
        shop(switch, plan, vec![rule("caches", vec![prefix("/static/")], group("caches")?)?]).await?;
        for (port, target) in (2001..).zip(["/static/x", "//static/x", "/a/../static/x", "/st%61tic/x?q=/other/", "/./static/x"]) {
            goes(testbed, plan, port, &Request::get(target), Served::By(plan.reals[2])).await?;
        }
        goes(testbed, plan, 2011, &Request::get("/x?/static/"), Served::By(plan.reals[0])).await?;
        let twofold = ask(testbed, plan, 2012, &Request::get("/static%2fx")).await?;
        expect(matches!(twofold, Served::Answered(400, _)), format!("an encoded slash was {twofold:?}"))
    }
    "hosts and headers are looked at" => |switch, testbed, plan| {
        let host = rule("host", vec![Condition::Host("*.shop.example".into())], group("images")?)?;
        let named = |text: &str, is| Named { name: text.into(), is };
        let header = rule("header", vec![Condition::Header(named("x-old", TextMatch::Present))], Action::Reset)?;
        let tenant = Condition::Header(named("x-tenant", TextMatch::Prefix("a-".into())));
        shop(switch, plan, vec![host, header, rule("tenant", vec![tenant], group("caches")?)?]).await?;
        let [web, images, caches] = plan.reals.map(Served::By);
        let of = |host: &str| Request { host: host.into(), ..Request::get("/") };
        goes(testbed, plan, 2001, &of("WWW.Shop.Example:80"), images).await?;
        goes(testbed, plan, 2002, &of("shop.example"), web.clone()).await?;
        goes(testbed, plan, 2003, &of("x").with_header("X-Old", ""), Served::Reset).await?;
        goes(testbed, plan, 2004, &of("x").with_header("X-Tenant", "a-1"), caches).await?;
        goes(testbed, plan, 2005, &of("x").with_header("X-Tenant", "A-1"), web).await
    }
    "cookies are looked at" => |switch, testbed, plan| {
        let named = Named { name: "sid".into(), is: TextMatch::Prefix("eu-".into()) };
        shop(switch, plan, vec![rule("cookie", vec![Condition::Cookie(named)], group("caches")?)?]).await?;
        let [web, _, caches] = plan.reals.map(Served::By);
        let with = |cookies: &str| Request::get("/").with_header("Cookie", cookies);
        goes(testbed, plan, 2001, &with("a=b; sid=eu-1"), caches).await?;
        goes(testbed, plan, 2002, &with("sid=us-1; sid=eu-1"), web.clone()).await?;
        goes(testbed, plan, 2003, &with("a=sid=eu-1"), web).await
    }
    "a client is reset or sent elsewhere as the rule says" => |switch, testbed, plan| {
        let to = |to: &str| Action::Redirect(Redirect { to: to.into(), status: 302 });
        let rules = vec![
            rule("reset", vec![prefix("/reset")], Action::Reset)?,
            rule("moved", vec![prefix("/moved")], to("https://{host}{uri}"))?,
            rule("gone", vec![prefix("/gone")], to("http://www.example.org/news"))?,
        ];
        shop(switch, plan, rules).await?;
        set(switch, SetService { default_action: Some(group("caches")?), ..service(plan) }).await?;
        goes(testbed, plan, 2001, &Request::get("/reset"), Served::Reset).await?;
        let place = Some("https://www.example.com/moved/a?b".to_owned());
        goes(testbed, plan, 2002, &Request::get("/moved/a?b"), Served::Answered(302, place)).await?;
        let place = Some("http://www.example.org/news".to_owned());
        goes(testbed, plan, 2003, &Request::get("/gone/a?b"), Served::Answered(302, place)).await?;
        goes(testbed, plan, 2004, &Request::get("/"), Served::By(plan.reals[2])).await
    }
    "a client is turned away, or sent elsewhere for good, as the rule says" => |switch, testbed, plan| {
        let to = Action::Redirect(Redirect { to: "https://{host}{uri}".into(), status: 308 });
        let full = DropShare { fraction: Fraction::ONE, mode: DropMode::Queue, refusal: Turned::Unavailable };
        let rules = vec![
            rule("full", vec![prefix("/full")], Action::Drop(full))?,
            rule("moved", vec![prefix("/moved")], to)?,
        ];
        shop(switch, plan, rules).await?;
        goes(testbed, plan, 2002, &Request::get("/full"), Served::Answered(503, None)).await?;
        let place = "https://www.example.com/moved/a?b".to_owned();
        goes(testbed, plan, 2003, &Request::get("/moved/a?b"), Served::Answered(308, Some(place))).await?;
        goes(testbed, plan, 2004, &Request::get("/"), Served::By(plan.reals[0])).await
    }
    "with no server for it a request hears 503, or a reset if the service says so" => |switch, testbed, plan| {
        set(switch, SetService { content: Some(Content::Http), ..service(plan) }).await?;
        goes(testbed, plan, 2001, &Request::get("/"), Served::Answered(503, None)).await?;
        set(switch, SetService { when_none: Some(Refusal::Reset), ..service(plan) }).await?;
        goes(testbed, plan, 2002, &Request::get("/"), Served::Reset).await?;
        let refused = listed(switch, plan).await?.refused;
        expect(refused == 2, format!("{refused} refusals are counted, not 2"))
    }
    "who speaks something else is a stranger: the default action's, or reset" => |switch, testbed, plan| {
        shop(switch, plan, vec![rule("nobody", vec![], Action::Reset)?]).await?;
        babbles(testbed, plan, 2001, Served::By(plan.reals[0])).await?;
        set(switch, SetService { default_action: Some(group("caches")?), ..service(plan) }).await?;
        babbles(testbed, plan, 2002, Served::By(plan.reals[2])).await?;
        set(switch, SetService { strangers: Some(Strangers::Reset), ..service(plan) }).await?;
        babbles(testbed, plan, 2003, Served::Reset).await?;
        // Where nobody looks there are no strangers.
        set(switch, SetService { content: Some(Content::None), ..service(plan) }).await?;
        babbles(testbed, plan, 2004, Served::By(plan.reals[0])).await
    }
    "each request of a connection is switched" => |switch, testbed, plan| {
        shop(switch, plan, vec![rule("images", vec![suffix(".png")], group("images")?)?]).await?;
        let [web, images, _] = plan.reals.map(Served::By);
        let (page, image) = (Request::get("/"), Request::get("/a.png"));
        for (request, wanted) in [(&page, &web), (&image, &images), (&page, &web)] {
            goes(testbed, plan, 2001, request, wanted.clone()).await?;
        }
        Ok(())
    }
    "the requests of a connection follow the first where the service says so" => |switch, testbed, plan| {
        shop(switch, plan, vec![rule("images", vec![suffix(".png")], group("images")?)?]).await?;
        let images = Served::By(plan.reals[1]);
        let (page, image) = (Request::get("/"), Request::get("/a.png"));
        set(switch, SetService { switching: Some(Switching::FirstRequest), ..service(plan) }).await?;
        for request in [&image, &page, &image] {
            goes(testbed, plan, 2002, request, images.clone()).await?;
        }
        Ok(())
    }
    "with url-hash one URL meets one server, whoever asks" => |switch, testbed, plan| {
        let content = Some(Content::Http);
        set(switch, SetService { content, scheduler: Some(Scheduler::UrlHash), ..service(plan) }).await?;
        for n in 0..3 {
            bring_up(switch, plan, n, |_| {}).await?;
        }
        let mut seen = BTreeSet::new();
        for n in 0..12u16 {
            let request = Request::get(&format!("/static/{n}?v=1"));
            let Served::By(real) = ask(testbed, plan, 2100 + n, &request).await? else {
                return Err(Stop::Failed("a request was not served".into()));
            };
            seen.insert(real);
            goes(testbed, plan, 2200 + n, &request, Served::By(real)).await?;
            let other = std::net::SocketAddr::new(plan.clients[1], 2300 + n);
            let served = testbed.ask(other, plan.services[0], &request).await;
            let served = served.map(|reply| reply.served);
            expect(served == Some(Served::By(real)), format!("{served:?} for another client, not {real}"))?;
        }
        expect(seen.len() > 1, format!("12 URLs all went to {seen:?}"))
    }
    "a cookie of ours leads a client back to its server, and nobody can make one up" => |switch, testbed, plan| {
        let persist = Persistence::Insert(ours());
        keeping(switch, plan, persist).await?;
        let first = hear(testbed, plan, 2401, &Request::get("/")).await?;
        let (Served::By(real), Some(token)) = (&first.served, first.cookie("acm")) else {
            return Err(Stop::Failed(format!("no cookie is set: {first:?}")));
        };
        let with = |value: &str| Request::get("/").with_header("Cookie", &format!("a=b; acm={value}"));
        expect(!token.contains(&real.ip().to_string()), "the cookie tells the server's address")?;
        for port in 2402..2408 {
            let again = hear(testbed, plan, port, &with(token)).await?;
            expect(again == Served::By(*real).into(), format!("with the cookie of {real}: {again:?}"))?;
        }
        // One that is made up is none: another one is set.
        let mut forged = token.to_owned();
        forged.replace_range(3..4, if &forged[3..4] == "1" { "2" } else { "1" });
        for (port, value) in (2411..).zip([forged.as_str(), "", "x"]) {
            let reply = hear(testbed, plan, port, &with(value)).await?;
            let set = reply.cookie("acm");
            expect(set.is_some_and(|set| set != value), format!("with a cookie made up: {reply:?}"))?;
        }
        Ok(())
    }
    "every request of a connection without the cookie is told one, and the server's own stay" => |switch, testbed, plan| {
        keeping(switch, plan, Persistence::Insert(ours())).await?;
        let says = Request::get("/").with_header(SAYS_COOKIE, "own=1; Path=/");
        let first = hear(testbed, plan, 2421, &says).await?;
        let token = first.cookie("acm").map(str::to_owned);
        let (Some(token), Some("1")) = (&token, first.cookie("own")) else {
            return Err(Stop::Failed(format!("{first:?} lacks a cookie")));
        };
        let with = Request::get("/").with_header("Cookie", &format!("acm={token}"));
        for _ in 0..3 {
            let kept = hear(testbed, plan, 2421, &with).await?;
            expect(kept == first.served.clone().into(), format!("{kept:?}, not {:?} and no cookie", first.served))?;
        }
        let other = hear(testbed, plan, 2421, &Request::get("/")).await?;
        expect(other.cookie("acm").is_some(), format!("{other:?} has no cookie"))
    }
    "a cookie of a server that takes nothing new leads elsewhere" => |switch, testbed, plan| {
        keeping(switch, plan, Persistence::Insert(ours())).await?;
        let first = hear(testbed, plan, 2431, &Request::get("/")).await?;
        let token = first.cookie("acm").unwrap_or_default().to_owned();
        let n = plan.reals.iter().position(|real| Served::By(*real) == first.served);
        let n = n.ok_or_else(|| Stop::Failed(format!("{first:?} is of no server")))?;
        call(switch, remove(plan, n)).await?;
        let with = Request::get("/").with_header("Cookie", &format!("acm={token}"));
        for port in 2432..2438 {
            let moved = hear(testbed, plan, port, &with).await?;
            let is_new = moved.cookie("acm").is_some_and(|set| set != token);
            expect(moved.served != first.served && is_new, format!("with a cookie of a removed server: {moved:?}"))?;
        }
        Ok(())
    }
    "a cookie of the servers' own is learnt, and leads back while it is used" => |switch, testbed, plan| {
        keeping(switch, plan, Persistence::Learn(LearnCookie { name: "SID".into(), idle: Span::secs(1) })).await?;
        let says = Request::get("/login").with_header(SAYS_COOKIE, "SID=s1; Path=/; HttpOnly");
        let first = hear(testbed, plan, 2441, &says).await?;
        expect(first.cookies == ["SID=s1; Path=/; HttpOnly"], format!("the cookie came as {first:?}"))?;
        let with = |value: &str| Request::get("/").with_header("Cookie", &format!("SID={value}"));
        for port in 2442..2448 {
            goes(testbed, plan, port, &with("s1"), first.served.clone()).await?;
        }
        let mut others = BTreeSet::new();
        for port in 2450..2456 {
            let Served::By(real) = ask(testbed, plan, port, &with("unknown")).await? else {
                return Err(Stop::Failed("a request with an unknown cookie was not served".into()));
            };
            others.insert(real);
        }
        expect(others.len() > 1, format!("an unknown cookie leads to {others:?} only"))?;
        testbed.pass(Duration::from_millis(1500)).await;
        let mut after = BTreeSet::new();
        for port in 2460..2466 {
            after.insert(format!("{:?}", ask(testbed, plan, port, &with("s1")).await?));
        }
        expect(after.len() > 1, format!("what was long unused leads to {after:?} only"))
    }
}
}
