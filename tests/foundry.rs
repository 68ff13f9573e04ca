//! The Foundry driver in front of an emulated ServerIron: the conformance suite on each personality and transport, and
//! what each quirk does to it.

#![allow(missing_docs, unreachable_pub, clippy::disallowed_methods)]

mod ironware;

use acm_switch::acm::conformance::{Bench, Ending, Plan, Report, Subject, Testbed, run};
use acm_switch::acm::error::Feature;
use acm_switch::acm::switch::{AcmSwitch, Answer};
use acm_switch::driver::foundry::switch::FoundrySwitch;
use ironware::Iron;
use switch_sim::personality::Personality;
use switch_sim::shell::Transport;

struct Foundry {
    name: String,
    iron: Iron,
    lacks: Vec<Feature>,
}

struct IronBench(FoundrySwitch);

impl Bench for IronBench {
    fn switch(&self) -> &dyn AcmSwitch {
        &self.0
    }

    fn testbed(&self) -> Option<&dyn Testbed> {
        None
    }
}

impl Subject for Foundry {
    fn name(&self) -> &str {
        &self.name
    }

    fn plan(&self) -> Plan {
        Plan::example()
    }

    fn lacks(&self) -> &[Feature] {
        &self.lacks
    }

    fn fresh(&self) -> Answer<'_, Box<dyn Bench>> {
        Box::pin(async { Box::new(IronBench(self.iron.start().driver())) as Box<dyn Bench> })
    }
}

/// Judges in virtual time.
fn judge(iron: Iron) -> Report {
    let mut lacks = vec![
        Feature::Drop,
        Feature::Leases,
        Feature::Fencing,
        Feature::ContentRules,
        Feature::Events,
        Feature::Udp,
        Feature::Option,
    ];
    if iron.personality == Personality::Xl {
        lacks.push(Feature::ForceRemove);
    }
    let name = format!("foundry, {} over {:?}", iron.personality, iron.transport);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(run(&Foundry { name, iron, lacks }))
}

fn is_conformant(iron: Iron) {
    let report = judge(iron);
    assert!(report.is_conformant(), "{report}");
    let passed = report.endings.iter().filter(|(_, ending)| *ending == Ending::Passed).count();
    // What the box cannot do is reported, not failed; but most of the control cases must have been judged.
    assert!(passed >= 25, "{passed} passed\n{report}");
    println!("{report}");
}

#[test]
fn conformance_xl_telnet() {
    is_conformant(Iron::new(Personality::Xl));
}

#[test]
fn conformance_xl_ssh() {
    is_conformant(Iron::new(Personality::Xl).over(Transport::Ssh));
}

#[test]
fn conformance_adx_telnet() {
    is_conformant(Iron::new(Personality::Adx));
}

#[test]
fn conformance_adx_ssh() {
    is_conformant(Iron::new(Personality::Adx).over(Transport::Ssh));
}

#[test]
fn conformance_acm_telnet() {
    is_conformant(Iron::new(Personality::Acm));
}

#[test]
fn conformance_acm_ssh() {
    is_conformant(Iron::new(Personality::Acm).over(Transport::Ssh));
}

#[test]
#[ignore = "a measurement, printed; run it by name"]
fn speed() {
    use acm_switch::acm::list::Filter;
    use acm_switch::acm::primitive::{Add, Caller, Primitive};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let running = Iron::new(Personality::Adx).start();
        let driver = running.driver();
        let service = "10.0.0.100:80".parse().unwrap();
        let adds: Vec<_> = (0..10_000u32)
            .map(|n| {
                let real = std::net::SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 8080));
                Primitive::Add(Add::new(service, real))
            })
            .filter(|_| true)
            .collect();
        let begun = std::time::Instant::now();
        let outcomes = driver.apply(&Caller::default(), adds).await.unwrap();
        println!(
            "{} adds in {:?}; refused: {:?}",
            outcomes.len(),
            begun.elapsed(),
            outcomes.iter().find(|o| o.is_err())
        );
        let begun = std::time::Instant::now();
        let listing = driver.list(&Filter::default()).await.unwrap();
        println!("List of {} in {:?}", listing.bindings.len(), begun.elapsed());
    });
}
