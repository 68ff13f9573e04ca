//! The conformance suite against every implementor here: the model, the local switch with real packets on memory
//! ports, and the native client talking to a switch; and against switches that are wrong on purpose, which it must catch.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

#[path = "support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::conformance::{Attempt, Bench, Connection, Ending, Fate, Plan, Report, Subject, Testbed, run};
use acm_switch::acm::connect::{Connect, SwitchProfile};
use acm_switch::acm::error::{AcmError, Feature};
use acm_switch::acm::event::EventId;
use acm_switch::acm::list::{Filter, Listing};
use acm_switch::acm::model::{FlowId, ModelSwitch, Opened};
use acm_switch::acm::primitive::{Add, Caller, Done, Outcome, Primitive, SetService, Tenure};
use acm_switch::acm::rules::request::{Reply, Request, Served};
use acm_switch::acm::switch::{AcmSwitch, Answer, EventStream, perform};
use acm_switch::acm::words::ServiceKey;
use acm_switch::api::listen::{Endpoint, Listener};
use acm_switch::api::task::serve;
use acm_switch::base::id::Name;
use acm_switch::cli::console::{self, CliConfig};
use acm_switch::driver::Registry;
use acm_switch::driver::native::NativeClient;
use support::fabric::Fabric;

fn judge(subject: impl Subject) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(&subject))
}

/// The model with its own traffic, seen through a wrapper of it.
struct ModelBench<S> {
    model: Arc<ModelSwitch>,
    seen: S,
    flows: std::sync::Mutex<Vec<(FlowId, SocketAddr, ServiceKey)>>,
    retoss: bool,
}

impl<S: AcmSwitch> Bench for ModelBench<S> {
    fn switch(&self) -> &dyn AcmSwitch {
        &self.seen
    }

    fn testbed(&self) -> Option<&dyn Testbed> {
        Some(self)
    }
}

impl<S: AcmSwitch> Testbed for ModelBench<S> {
    fn open(&self, client: SocketAddr, service: ServiceKey) -> Answer<'_, Attempt> {
        Box::pin(async move {
            let mut client = client;
            if self.retoss {
                // A switch that forgets its verdict: every SYN is another attempt.
                client.set_port(fastrand::u16(10_000..));
            }
            match self.model.open(client, service) {
                Opened::Refused(refusal) => Attempt::Refused(refusal),
                Opened::To(flow, real) => {
                    let mut flows = self.flows.lock().unwrap();
                    flows.push((flow, client, service));
                    Attempt::To(Connection(flows.len() as u64 - 1), real)
                }
            }
        })
    }

    fn close(&self, connection: Connection) -> Answer<'_, ()> {
        Box::pin(async move { self.model.close(self.flows.lock().unwrap()[connection.0 as usize].0) })
    }

    fn fate(&self, connection: Connection) -> Answer<'_, Fate> {
        Box::pin(async move {
            match self.model.is_reset(self.flows.lock().unwrap()[connection.0 as usize].0) {
                true => Fate::Reset,
                false => Fate::Alive,
            }
        })
    }

    fn set_healthy(&self, real: SocketAddr, healthy: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            let health = if healthy { Ok(()) } else { Err(format!("TCP connect to {real} refused")) };
            self.model.set_health(real, health);
        })
    }

    fn pass(&self, time: Duration) -> Answer<'_, ()> {
        Box::pin(async move { self.model.advance(time) })
    }

    fn ask<'a>(&'a self, client: SocketAddr, service: ServiceKey, request: &'a Request) -> Answer<'a, Option<Reply>> {
        Box::pin(async move { Some(self.model.request(client, service, request)) })
    }

    fn babble(&self, client: SocketAddr, service: ServiceKey) -> Answer<'_, Option<Served>> {
        Box::pin(async move { Some(self.model.stranger(client, service)) })
    }
}

/// The model, seen as it is or with a flaw.
struct Model {
    flaw: Flaw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    LosesARow,
    IgnoresRemove,
    LiesAboutTheCut,
    SaysOkToTheUnknown,
    TossesEachSyn,
    ForgetsToCut,
    SortsRules,
    HalfApplies,
}

impl Subject for Model {
    fn name(&self) -> &str {
        "the model"
    }

    fn plan(&self) -> Plan {
        Plan::example()
    }

    fn fresh(&self) -> Answer<'_, Box<dyn Bench>> {
        Box::pin(async move {
            let model = Arc::new(ModelSwitch::new(41));
            let seen = Flawed { model: Arc::clone(&model), flaw: self.flaw };
            let retoss = self.flaw == Flaw::TossesEachSyn;
            Box::new(ModelBench { model, seen, flows: Default::default(), retoss }) as Box<dyn Bench>
        })
    }
}

struct Flawed {
    model: Arc<ModelSwitch>,
    flaw: Flaw,
}

impl AcmSwitch for Flawed {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        if self.flaw == Flaw::None {
            return self.model.apply(caller, list);
        }
        Box::pin(async move {
            let passed_on = |primitive: &Primitive| {
                !matches!(
                    (self.flaw, primitive),
                    (Flaw::IgnoresRemove, Primitive::Remove(_)) | (Flaw::ForgetsToCut, Primitive::ForceRemove(_))
                )
            };
            let mut outcomes = Vec::new();
            for primitive in list {
                if !passed_on(&primitive) {
                    outcomes.push(Ok(Done {
                        generation: Default::default(),
                        binding: None,
                        changed: true,
                        cut: Some(20),
                    }));
                    continue;
                }
                if let (Flaw::HalfApplies, Primitive::SetService(set)) = (self.flaw, &primitive) {
                    let half = SetService { rules: None, edit: None, ..set.clone() };
                    let _ = self.model.apply(caller, vec![Primitive::SetService(half)]).await?;
                }
                let mut outcome = self.model.apply(caller, vec![primitive]).await?.remove(0);
                match (self.flaw, &mut outcome) {
                    (Flaw::LiesAboutTheCut, Ok(Done { cut: Some(cut), .. })) => *cut += 1,
                    (Flaw::SaysOkToTheUnknown, Err(AcmError::NotFound { .. })) => {
                        outcome = Ok(Done { generation: Default::default(), binding: None, changed: false, cut: None });
                    }
                    _ => {}
                }
                outcomes.push(outcome);
            }
            Ok(outcomes)
        })
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        Box::pin(async move {
            let mut listing = self.model.list(filter).await?;
            if self.flaw == Flaw::LosesARow {
                listing.bindings.pop();
            }
            if self.flaw == Flaw::SortsRules {
                listing.services.iter_mut().for_each(|row| row.rules.sort_by(|a, b| a.rule.name.cmp(&b.rule.name)));
            }
            Ok(listing)
        })
    }

    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        self.model.events(after)
    }

    fn claim<'a>(&'a self, manager: &'a Name) -> Answer<'a, Result<Tenure, AcmError>> {
        self.model.claim(manager)
    }
}

#[test]
fn the_model() {
    let report = judge(Model { flaw: Flaw::None });
    assert!(report.is_conformant() && report.skipped() + report.cannot() == 0, "{report}");
}

#[test]
fn wrong_switches_are_caught() {
    let flaws = [
        Flaw::LosesARow,
        Flaw::IgnoresRemove,
        Flaw::LiesAboutTheCut,
        Flaw::SaysOkToTheUnknown,
        Flaw::TossesEachSyn,
        Flaw::ForgetsToCut,
        Flaw::SortsRules,
        Flaw::HalfApplies,
    ];
    for flaw in flaws {
        assert!(!judge(Model { flaw }).is_conformant(), "{flaw:?} was not noticed");
    }
}

/// Everything passes, nothing is skipped.
fn conforms(report: &Report) {
    assert!(report.is_conformant() && report.skipped() + report.cannot() == 0, "{report}");
}

struct Local;

impl Subject for Local {
    fn name(&self) -> &str {
        "the local switch"
    }

    fn plan(&self) -> Plan {
        Plan::example()
    }

    fn fresh(&self) -> Answer<'_, Box<dyn Bench>> {
        Box::pin(async { Box::new(Fabric::new(&self.plan())) as Box<dyn Bench> })
    }
}

#[test]
fn the_local_switch() {
    conforms(&judge(Local));
}

/// The native client, over a Unix socket, to a local switch whose traffic the fabric drives.
struct Native;

struct NativeBench {
    client: NativeClient,
    fabric: Fabric,
    _directory: tempfile::TempDir,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for NativeBench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Bench for NativeBench {
    fn switch(&self) -> &dyn AcmSwitch {
        &self.client
    }

    fn testbed(&self) -> Option<&dyn Testbed> {
        Some(&self.fabric)
    }
}

impl Subject for Native {
    fn name(&self) -> &str {
        "the native client"
    }

    fn plan(&self) -> Plan {
        Plan::example()
    }

    fn fresh(&self) -> Answer<'_, Box<dyn Bench>> {
        Box::pin(async {
            let fabric = Fabric::new(&self.plan());
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("switch.sock");
            let listener = Listener::open(&Endpoint::Unix(path.clone()), None).unwrap();
            let switch = Arc::clone(&fabric.switch);
            let server = tokio::spawn(serve(switch, vec![listener], std::future::pending::<()>()));
            let client = NativeClient::new(format!("unix:{}", path.display()).parse().unwrap(), None);
            Box::new(NativeBench { client, fabric, _directory: directory, server }) as Box<dyn Bench>
        })
    }
}

#[test]
fn the_native_client() {
    conforms(&judge(Native));
}

/// The Foundry driver, over telnet, to the ServerIron's command line of a local switch whose traffic the fabric drives.
struct OverTheCommandLine;

struct CommandLineBench {
    driver: Box<dyn AcmSwitch>,
    fabric: Fabric,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for CommandLineBench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Bench for CommandLineBench {
    fn switch(&self) -> &dyn AcmSwitch {
        &*self.driver
    }

    fn testbed(&self) -> Option<&dyn Testbed> {
        Some(&self.fabric)
    }
}

impl Subject for OverTheCommandLine {
    fn name(&self) -> &str {
        "foundry, over our own command line"
    }

    fn plan(&self) -> Plan {
        Plan { checks: None, ..Plan::example() }
    }

    fn lacks(&self) -> &[Feature] {
        // What the ServerIron's words do not say.
        const LACKS: &[Feature] =
            &[Feature::Drop, Feature::Leases, Feature::Fencing, Feature::Events, Feature::Udp, Feature::Option];
        LACKS
    }

    fn fresh(&self) -> Answer<'_, Box<dyn Bench>> {
        Box::pin(async {
            let fabric = Fabric::new(&self.plan());
            let config = CliConfig { telnet: Some(([127, 0, 0, 1], 0).into()), ..CliConfig::default() };
            let server =
                console::open(&config, Arc::clone(&fabric.switch) as Arc<dyn AcmSwitch>).await.unwrap().unwrap();
            let url = format!("telnet://{}?driver=foundry", server.telnet_address().unwrap());
            let server = tokio::spawn(server.run());
            let profile = SwitchProfile::new("own".parse().unwrap(), url);
            let driver = Registry.connect(&profile).await.unwrap();
            Box::new(CommandLineBench { driver, fabric, server }) as Box<dyn Bench>
        })
    }
}

#[test]
fn the_foundry_driver_over_our_own_command_line() {
    let report = judge(OverTheCommandLine);
    assert!(report.is_conformant() && report.skipped() == 0, "{report}");
    println!("{report}");
}

/// `acm conformance` against a served switch that has a service of somebody's: all that needs no traffic passes, what
/// was there stays, and leadership is claimed only on request.
#[test]
fn the_command_judges_a_native_switch() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let plan = Plan::example();
        let fabric = Fabric::new(&plan);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("switch.sock");
        let listener = Listener::open(&Endpoint::Unix(path.clone()), None).unwrap();
        let switch = Arc::clone(&fabric.switch);
        tokio::spawn(serve(switch, vec![listener], std::future::pending::<()>()));
        let client = NativeClient::new(format!("unix:{}", path.display()).parse().unwrap(), None);
        let somebodys = Add { weight: Some(3), ..Add::new(plan.services[0], plan.reals[0]) };
        perform(&client, &Caller::default(), Primitive::Add(somebodys)).await.unwrap();
        let before = client.list(&Filter::default()).await.unwrap();
        let command = async |more: &[&str]| {
            let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_acm"));
            command.args(["conformance", "--driver", "native", "--report", "json", "--target"]);
            let output = command.arg(format!("unix:{}", path.display())).args(more).output().await.unwrap();
            assert!(output.status.success(), "{output:?}");
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
        };
        let fencing = |report: &serde_json::Value| -> Vec<serde_json::Value> {
            let cases = report["cases"].as_array().unwrap().iter();
            cases.filter(|case| case["about"] == "fencing").map(|case| case["outcome"].clone()).collect()
        };
        let report = command(&[]).await;
        let counts = &report["counts"];
        assert_eq!(&counts["failed"], &serde_json::Value::from(0), "{report}");
        assert_eq!(report["cannot"], serde_json::json!([]), "{report}");
        assert!(counts["passed"].as_u64() >= Some(50), "{report}");
        assert_eq!(fencing(&report), ["skipped", "skipped"], "{report}");
        let claimed = command(&["--claim", "--filter", "fence"]).await;
        assert_eq!(fencing(&claimed), ["passed", "passed"], "{claimed}");
        let after = client.list(&Filter::default()).await.unwrap();
        let wills = |listing: &Listing| {
            let rows = listing.bindings.iter().map(|row| (row.key, row.id, row.weight)).collect::<Vec<_>>();
            (rows, listing.services.iter().map(|row| row.service).collect::<Vec<_>>())
        };
        assert_eq!(wills(&before), wills(&after));
    });
}

/// A switch without traffic, without fencing: what it lacks is excused, and only because it says so.
struct Modest {
    lacks: Vec<Feature>,
}

struct ModestBench(NoFencing);
struct NoFencing(ModelSwitch);

impl AcmSwitch for NoFencing {
    fn apply<'a>(&'a self, caller: &'a Caller, list: Vec<Primitive>) -> Answer<'a, Result<Vec<Outcome>, AcmError>> {
        self.0.apply(caller, list)
    }

    fn list<'a>(&'a self, filter: &'a Filter) -> Answer<'a, Result<Listing, AcmError>> {
        self.0.list(filter)
    }

    fn events(&self, after: Option<EventId>) -> Answer<'_, Result<EventStream, AcmError>> {
        self.0.events(after)
    }
}

impl Bench for ModestBench {
    fn switch(&self) -> &dyn AcmSwitch {
        &self.0
    }

    fn testbed(&self) -> Option<&dyn Testbed> {
        None
    }
}

impl Subject for Modest {
    fn name(&self) -> &str {
        "a modest switch"
    }

    fn plan(&self) -> Plan {
        Plan::example()
    }

    fn lacks(&self) -> &[Feature] {
        &self.lacks
    }

    fn fresh(&self) -> Answer<'_, Box<dyn Bench>> {
        Box::pin(async { Box::new(ModestBench(NoFencing(ModelSwitch::new(1)))) as Box<dyn Bench> })
    }
}

#[test]
fn what_a_switch_lacks_is_excused_only_if_it_says_so() {
    let honest = judge(Modest { lacks: vec![Feature::Fencing] });
    assert!(honest.is_conformant() && honest.skipped() > 10 && honest.cannot() == 2, "{honest}");
    let silent = judge(Modest { lacks: vec![] });
    let failed: Vec<_> = silent
        .endings
        .iter()
        .filter_map(|(_, ending)| match ending {
            Ending::Failed(why) => Some(why),
            _ => None,
        })
        .collect();
    assert!(!failed.is_empty() && failed.iter().all(|why| why.contains("refuses fencing")), "{silent}");
}
