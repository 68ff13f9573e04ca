//! Content switching in the ServerIron's words, on our switch: requests go where `csw-policy`, `url-map`, hashes and
//! cookies say, `acm rule list` shows the same rules, and what has no equivalent is refused.
//!
//! The switch is the model, which serves requests.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use acm_switch::acm::error::{AcmError, Feature};
use acm_switch::acm::list::{Filter, Listing, ServiceRow};
use acm_switch::acm::model::ModelSwitch;
use acm_switch::acm::primitive::{Add, Caller, Outcome, Primitive, SetService};
use acm_switch::acm::rules::request::{Request, Served};
use acm_switch::acm::rules::{Action, Case, Content, Persistence, Rule, Strangers, UrlPart};
use acm_switch::acm::switch::{AcmSwitch, Answer, perform};
use acm_switch::acm::words::{Scheduler, ServiceKey};
use acm_switch::console::AcmBox;
use switch_sim::chassis::{Chassis, Settings};
use switch_sim::personality::Personality;
use switch_sim::shell::{Origin, Reply, SessionId, Shell, Transport};
use switch_sim::time::Time;

const V: &str = "10.0.0.100:80";

struct Desk {
    model: ModelSwitch,
    chassis: Chassis,
    session: SessionId,
    started: Instant,
    clients: u16,
}

impl Desk {
    /// A device without any configuration, at `(config)#`.
    async fn new() -> Desk {
        let model = ModelSwitch::default();
        Desk::before(Arc::new(model.clone()), model).await
    }

    /// The same in front of a switch that has the model behind it.
    async fn before(switch: Arc<dyn AcmSwitch>, model: ModelSwitch) -> Desk {
        let balancer = AcmBox::new(switch, tokio::runtime::Handle::current());
        let mut chassis = Chassis::new(Settings::new(Personality::Acm), Box::new(balancer));
        let session = chassis.connect(Origin { transport: Transport::Telnet, peer: None }, Time::ZERO).unwrap();
        let mut desk = Desk { model, chassis, session, started: Instant::now(), clients: 1000 };
        desk.line("enable").await;
        desk.line("configure terminal").await;
        desk
    }

    /// Servers rs1 to rs4 on 10.0.0.11 to .14, rs2 and rs3 in groups 1 and 2, behind v1, which switches by nothing yet.
    async fn shop() -> Desk {
        Desk::new().await.with_shop().await
    }

    async fn with_shop(self) -> Desk {
        let mut desk = self;
        for n in 1..=4 {
            desk.configure(&[&format!("server real rs{n} 10.0.0.1{n}"), "port 8080"]).await;
        }
        desk.configure(&["server real rs2 10.0.0.12", "port 8080 group-id 1 1"]).await;
        desk.configure(&["server real rs3 10.0.0.13", "port 8080 group-id 2 2"]).await;
        desk.configure(&["server virtual v1 10.0.0.100", "port http", "bind http rs1 8080 rs2 8080 rs3 8080"]).await;
        desk
    }

    async fn line(&mut self, text: &str) -> Vec<String> {
        let mut reply = self.chassis.submit(self.session, text, Time::after(self.started.elapsed()));
        for _ in 0..5_000 {
            match reply {
                Reply::Done(text) => return text,
                other @ (Reply::Close(_) | Reply::Ask { .. }) => panic!("{text}: {other:?}"),
                Reply::Pending => {}
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now = Time::after(self.started.elapsed());
            reply = self.chassis.poll(self.session, now).unwrap_or(Reply::Pending);
        }
        panic!("no answer to `{text}`");
    }

    async fn configure(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.line(line).await, Vec::<String>::new(), "{line}");
        }
    }

    async fn refused(&mut self, line: &str, why: &str) {
        let said = self.line(line).await.join("\n");
        assert!(said.contains(why), "{line}: `{said}` does not say {why}");
    }

    async fn config(&mut self) -> String {
        self.line("show running-config").await.join("\n")
    }

    async fn row(&self) -> ServiceRow {
        let listing = self.model.list(&Filter::service(V.parse().unwrap())).await.unwrap();
        listing.services.into_iter().next().unwrap()
    }

    fn ask(&mut self, request: &Request) -> Served {
        self.clients += 1;
        let service: ServiceKey = V.parse().unwrap();
        self.model.request(([10, 1, 0, 1], self.clients).into(), service, request).served
    }

    /// The last number of the server that gets this path; 0: none.
    fn server(&mut self, target: &str) -> u8 {
        match self.ask(&Request::get(target)) {
            Served::By(std::net::SocketAddr::V4(real)) => real.ip().octets()[3],
            _ => 0,
        }
    }
}

/// The rules a policy makes, as sentences.
fn said(row: &ServiceRow) -> Vec<String> {
    let sentence = |rule: &Rule| {
        let when: Vec<_> = rule.when.iter().map(ToString::to_string).collect();
        let case = if rule.case == Case::Insensitive { " in any case" } else { "" };
        format!("{}: {}{case}: {}", rule.name, when.join(" and "), rule.then)
    };
    row.rules.iter().map(|row| sentence(&row.rule)).collect()
}

const POLICY: &[&str] = &[
    "csw-rule img url suffix \".png\" case-insensitive",
    "csw-rule shop header host equals shop.example",
    "csw-rule eu header cookie pattern \"sid=eu-\"",
    "csw-rule write method eq PUT",
    "csw-rule both nested-rule \"shop && eu\"",
    "csw-policy p1",
    "match img forward 1",
    "match both redirect \"eu.shop.example\" \"*\" ssl",
    "match eu forward 2",
    "match write reset-client",
    "default forward 0",
];

#[tokio::test]
async fn a_policy_switches_requests() {
    let mut desk = Desk::shop().await;
    desk.configure(POLICY).await;
    assert_eq!(desk.row().await.content, Content::None, "what is not attached is only kept");
    desk.configure(&["server virtual v1", "port http csw-policy p1"]).await;
    assert_eq!(desk.row().await.content, Content::None, "both lines are needed");
    desk.configure(&["port http csw"]).await;
    let row = desk.row().await;
    assert_eq!((row.content, &row.default_action), (Content::Http, &Action::Group("0".parse().unwrap())));
    assert_eq!(
        said(&row),
        [
            "img: path ends with \".png\" in any case: group 1",
            "both: host is \"shop.example\" and header cookie contains \"sid=eu-\": redirect 302 to https://eu.shop.example{uri}",
            "eu: header cookie contains \"sid=eu-\": group 2",
            "write: method is \"PUT\": reset",
        ]
    );
    assert_eq!((desk.server("/a.PNG"), desk.server("/a.png?x")), (12, 12));
    assert_eq!(
        desk.ask(&Request::get("/").with_header("Cookie", "sid=eu-1")),
        Served::By("10.0.0.13:8080".parse().unwrap())
    );
    assert_eq!(desk.server("/"), 0, "nobody is in group 0");
    let moved = Request { host: "shop.example".into(), ..Request::get("/a?b") }.with_header("Cookie", "sid=eu-1");
    assert_eq!(desk.ask(&moved), Served::Answered(302, Some("https://eu.shop.example/a?b".into())));
    assert_eq!(desk.ask(&Request { method: "PUT".into(), ..Request::get("/") }), Served::Reset);

    // Servers that come or change their group later.
    desk.configure(&["server real rs4 10.0.0.14", "port 8080 group-id 0 0", "server virtual v1", "bind http rs4 8080"])
        .await;
    assert_eq!(desk.server("/"), 14);
    desk.configure(&[
        "server real rs1 10.0.0.11",
        "port 8080 group-id 1 1",
        "server real rs2 10.0.0.12",
        "port 8080 disable",
    ])
    .await;
    assert_eq!(desk.server("/b.png"), 11);

    // The policy is changed while it is in use.
    desk.configure(&[
        "csw-policy p1",
        "match img forward 2",
        "no match eu forward",
        "csw-rule img url prefix \"/img/\"",
    ])
    .await;
    assert_eq!((desk.server("/img/x"), desk.server("/b.png")), (13, 14));

    let shown = desk.line("show csw-policy p1").await.join("\n");
    assert!(shown.lines().any(|line| line.contains("match \"img\" forward 2") && line.contains('4')), "{shown}");
    let config = desk.config().await;
    assert!(!config.contains("! 10.0.0.100:80"), "all of it has words:\n{config}");

    // And it is taken off again: every server takes everything.
    desk.configure(&["server virtual v1", "no port http csw"]).await;
    let row = desk.row().await;
    assert_eq!((row.content, row.rules.len()), (Content::None, 3), "rules that are attached wait");
    desk.configure(&["server real rs2 10.0.0.12", "no port 8080 disable"]).await;
    let rows = desk.model.list(&Filter::default()).await.unwrap().bindings;
    assert!(rows.len() == 4 && rows.iter().all(|row| row.group.as_str() == "default"), "{rows:?}");
    desk.configure(&["server virtual v1", "no port http csw-policy"]).await;
    assert_eq!(desk.row().await.rules.len(), 0);
}

#[tokio::test]
async fn the_configuration_makes_itself_again() {
    let mut desk = Desk::shop().await;
    desk.configure(POLICY).await;
    desk.configure(&["server virtual v1", "port http csw-policy p1", "port http csw"]).await;
    let (config, row) = (desk.config().await, desk.row().await);
    let mut other = Desk::new().await;
    for line in config.lines().skip_while(|line| !line.starts_with("csw-rule")).take_while(|line| *line != "end") {
        other.line(line.trim()).await;
    }
    assert_eq!(said(&other.row().await), said(&row));
    assert_eq!(other.row().await.default_action, row.default_action);
    let groups = async |desk: &Desk| {
        let rows = desk.model.list(&Filter::default()).await.unwrap().bindings;
        rows.iter().map(|row| format!("{} {}", row.key, row.group)).collect::<Vec<_>>()
    };
    assert_eq!(groups(&other).await, groups(&desk).await);
}

#[tokio::test]
async fn maps_hashes_and_cookies_switch_requests() {
    let mut desk = Desk::shop().await;
    desk.configure(&["url-map rest", "method suffix", "match \".gif\" 1", "default 2"]).await;
    desk.configure(&["url-map first", "method prefix", "match \"/api/\" 1", "default rest"]).await;
    desk.configure(&["server virtual v1", "port http url-map first", "port http url-switch"]).await;
    assert_eq!(
        said(&desk.row().await),
        ["first-1: path begins with \"/api/\": group 1", "rest-1: path ends with \".gif\": group 1"]
    );
    assert_eq!((desk.server("/api/x"), desk.server("/x.gif"), desk.server("/x")), (12, 12, 13));
    desk.configure(&["no port http url-switch", "port http url-hash"]).await;
    let row = desk.row().await;
    let of =
        |row: &ServiceRow, name: &str| row.groups.iter().find(|group| group.group.as_str() == name).cloned().unwrap();
    let group = of(&row, "default");
    assert_eq!((row.content, group.scheduler), (Content::Http, Scheduler::UrlHash));
    desk.configure(&["no port http url-hash", "port http cookie-name sid", "port http cookie-hash"]).await;
    let group = of(&desk.row().await, "default");
    assert_eq!((group.scheduler, group.hash.cookie.as_deref()), (Scheduler::CookieHash, Some("sid")));
    desk.configure(&["no port http cookie-hash"]).await;
    assert_eq!(desk.row().await.content, Content::None);

    desk.configure(&["csw-rule static url prefix \"/static/*\"", "csw-policy p2", "match static forward 1"]).await;
    desk.configure(&["match static hash-persist url host-and-path", "default rewrite insert-cookie"]).await;
    desk.configure(&["server virtual v1", "port http csw-policy p2", "port http csw"]).await;
    let row = desk.row().await;
    assert_eq!((of(&row, "1").scheduler, of(&row, "1").hash.url), (Scheduler::UrlHash, UrlPart::HostPath));
    assert!(matches!(&of(&row, "default").persist, Persistence::Insert(cookie) if cookie.name == "sid"), "{row:?}");
    desk.configure(&["predictor round-robin"]).await;
    let row = desk.row().await;
    assert_eq!((of(&row, "1").scheduler, of(&row, "default").scheduler), (Scheduler::UrlHash, Scheduler::RoundRobin));
}

#[tokio::test]
async fn what_the_contract_has_no_word_for_is_refused_and_changes_nothing() {
    let mut desk = Desk::shop().await;
    desk.configure(POLICY).await;
    desk.configure(&["csw-rule spare url exists"]).await;
    desk.configure(&["server virtual v1", "port http csw-policy p1", "port http csw"]).await;
    let before = (desk.config().await, desk.row().await);
    for (place, line, why) in [
        ("server virtual v1", "csw-rule v version eq 1.1", "version"),
        ("server virtual v1", "csw-rule r response-header Set-Cookie pattern x", "response-header"),
        ("server virtual v1", "csw-rule n nested-rule \"img || eu\"", "&&"),
        ("server virtual v1", "csw-rule n nested-rule \"img && eu\"", "different ways"),
        ("server virtual v1", "csw-rule img url prefix \"images/\"", "begins with /"),
        ("server virtual v1", "no csw-rule img", "img is not configured"),
        ("csw-policy p1", "match img forward 1024", "server id 1024"),
        ("csw-policy p1", "match img persist offset 0 length 4", "persist"),
        ("csw-policy p1", "match img log", "log"),
        ("csw-policy p1", "match spare redirect \"x y\" \"/\"", "visible ASCII"),
        ("csw-policy p1", "match img reset-client", "img decides twice"),
        ("csw-policy p1", "match missing forward 1", "missing is not configured"),
        ("csw-policy p1", "match img hash-persist url host-only", "host-only"),
        ("server real rs1 10.0.0.11", "port 8080 group-id 1 2", "one group"),
        ("server real rs1 10.0.0.11", "port 8080 server-id 1024", "server-id"),
        ("server virtual v1", "port http cookie-switch", "cookie-switch"),
    ] {
        desk.line(place).await;
        desk.refused(line, why).await;
    }
    assert_eq!((desk.config().await, desk.row().await), before);
}

/// What is set through the API stands in the configuration in words that make it again, and goes with it.
#[tokio::test]
async fn rules_set_elsewhere_are_lines() {
    let mut desk = Desk::shop().await;
    let service: ServiceKey = V.parse().unwrap();
    let rules = |text: &str| -> Vec<Rule> { serde_json::from_str(text).unwrap() };
    let two = rules(
        r#"[{"name":"images","when":[{"path":{"suffix":".png"}},{"method":"GET"}],"then":{"group":"images"}},
            {"name":"old","when":[{"host":"*.old.example"}],"then":{"redirect":{"to":"https://new.example{uri}"}}}]"#,
    );
    let set = |set: SetService| Primitive::SetService(set);
    let caller = Caller::default();
    let all = SetService { content: Some(Content::Http), rules: Some(two.clone()), ..SetService::new(service) };
    perform(&desk.model, &caller, set(all)).await.unwrap();
    let images = SetService {
        group: "images".parse().unwrap(),
        scheduler: Some(Scheduler::UrlHash),
        ..SetService::new(service)
    };
    perform(&desk.model, &caller, set(images)).await.unwrap();
    let add = Add { group: Some("images".parse().unwrap()), ..Add::new(service, "10.0.0.11:8080".parse().unwrap()) };
    perform(&desk.model, &caller, Primitive::Add(add)).await.unwrap();
    let config = desk.config().await;
    assert!(!config.contains("! 10.0.0.1"), "nothing is a remark:\n{config}");
    for line in
        ["url suffix \".png\"", "method eq GET", "nested-rule", "header \"host\" suffix \".old.example\"", "csw"]
    {
        assert!(config.contains(line), "{line} is not in\n{config}");
    }
    let row = desk.row().await;
    assert_eq!(desk.server("/a.png"), 11);
    let shown = desk.line("show csw-policy").await.join("\n");
    assert!(shown.lines().any(|line| line.contains("images") && line.trim().ends_with(" 1")), "hits:\n{shown}");

    // It makes itself again, on another switch.
    let mut other = Desk::new().await;
    let lines = config.lines().skip_while(|line| !line.starts_with("csw-rule")).take_while(|line| *line != "end");
    for line in lines.filter(|line| *line != "!").collect::<Vec<_>>() {
        other.line(line.trim()).await;
    }
    assert_eq!(said(&other.row().await), said(&row));
    assert_eq!(other.server("/a.png"), 11);
    let at_last = other.config().await;
    assert!(at_last.contains("csw-policy") && !at_last.contains("! 10."), "{at_last}");

    // A policy that somebody typed stays as it is while it says what is so; after another rule it waits, unattached.
    desk.configure(POLICY).await;
    desk.configure(&["server virtual v1", "port http csw-policy p1"]).await;
    assert!(desk.config().await.contains("port http csw-policy \"p1\""));
    let edit = serde_json::from_str(r#"{"remove":{"name":"write"}}"#).unwrap();
    perform(&desk.model, &caller, set(SetService { edit: Some(edit), ..SetService::new(service) })).await.unwrap();
    let config = desk.config().await;
    assert!(config.contains("csw-policy \"p1\"") && !config.contains("port http csw-policy \"p1\""), "{config}");
    assert!(!config.contains("! 10.0.0.1"), "{config}");

    // Switched off, nothing that was made since is left; what somebody typed, or detached, is his.
    let policies = |config: &str| config.lines().filter(|line| line.starts_with("csw-policy")).count();
    assert_eq!(policies(&config), 3, "{config}");
    let off = SetService {
        content: Some(Content::None),
        rules: Some(vec![]),
        default_action: Some(Action::default_action()),
        ..SetService::new(service)
    };
    perform(&desk.model, &caller, set(off)).await.unwrap();
    let config = desk.config().await;
    assert!(policies(&config) == 2 && !config.contains("acm-both") && !config.contains("port http csw"), "{config}");
    assert!(config.contains("csw-policy \"p1\"") && config.contains("csw-rule \"img\""), "somebody's stay:\n{config}");
}

#[tokio::test]
async fn rules_that_have_no_words_are_remarks() {
    let mut desk = Desk::shop().await;
    let rule: Rule = serde_json::from_str(
        r#"{"name":"images","when":[{"path":{"suffix":".png"}},{"method":"GET"}],"then":{"drop":{"fraction":0.5}}}"#,
    )
    .unwrap();
    let service: ServiceKey = V.parse().unwrap();
    let (content, strangers) = (Some(Content::Http), Some(Strangers::Reset));
    let set = SetService { content, strangers, rules: Some(vec![rule]), ..SetService::new(service) };
    perform(&desk.model, &Caller::default(), Primitive::SetService(set)).await.unwrap();
    let blue = Add { group: Some("blue".parse().unwrap()), ..Add::new(service, "10.0.0.11:8080".parse().unwrap()) };
    perform(&desk.model, &Caller::default(), Primitive::Add(blue)).await.unwrap();
    let config = desk.config().await;
    for remark in [
        "! 10.0.0.100:80: rule 1 images: path ends with \".png\", method is \"GET\": drop 0.5 (mode shed, reset)",
        "! 10.0.0.100:80: content http, everything else: group default",
        "! 10.0.0.100:80: strangers are reset",
        "10.0.0.11:8080: group blue",
    ] {
        assert!(config.contains(remark), "{remark} is not in\n{config}");
    }
}

/// The model, but that it does not look into requests.
struct Blind(ModelSwitch);

impl AcmSwitch for Blind {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        Box::pin(async move {
            let mut outcomes = Vec::new();
            for primitive in list {
                let looks = |set: &SetService| set.content.is_some_and(|content| content != Content::None);
                outcomes.push(match &primitive {
                    Primitive::SetService(set) if looks(set) => {
                        Err(AcmError::unsupported(Feature::ContentRules, "it is blind"))
                    }
                    _ => self.0.apply(caller, vec![primitive]).await?.remove(0),
                });
            }
            Ok(outcomes)
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        self.0.list(filter)
    }
}

#[tokio::test]
async fn a_switch_that_cannot_says_so_before_anything_is_done() {
    let model = ModelSwitch::default();
    let mut desk = Desk::before(Arc::new(Blind(model.clone())), model).await.with_shop().await;
    desk.configure(POLICY).await;
    desk.configure(&["server virtual v1", "port http csw-policy p1"]).await;
    let before = (desk.config().await, desk.model.list(&Filter::default()).await.unwrap());
    desk.refused("port http csw", "it is blind").await;
    assert_eq!((desk.config().await, desk.model.list(&Filter::default()).await.unwrap()), before);
}
