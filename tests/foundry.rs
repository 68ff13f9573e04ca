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
use switch_sim::screens::Templates;
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
    let mut lacks =
        vec![Feature::Drop, Feature::Leases, Feature::Fencing, Feature::Events, Feature::Udp, Feature::Option];
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

/// Screens that nobody could check on a real box live in one file. A box whose file says it otherwise (here: the older one
/// with the newer one's layout, and other words at the head) is read all the same.
#[test]
fn other_templates_are_read() {
    let newer = Templates::built_in_file();
    let section = |name: &str| {
        let from = newer.find(&format!("[[{name}]]")).expect("a section of the built-in file");
        let text = &newer[from..];
        let end = text[2..].find("\n[[").map_or(text.len(), |at| at + 3);
        text[..end].to_owned()
    };
    let names = ["server-real.head", "server-real.server", "server-real.port", "server-real.total"];
    let file: String = names.map(section).concat().replace("Real Servers Info", "Servers of this box");
    is_conformant(Iron::new(Personality::Xl).saying(&file));
}
