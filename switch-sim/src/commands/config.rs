//! Commands of the configuration mode, which every mode below it understands as well.

use super::{Action, Call, Step, Trouble, both, run, set};
use crate::chassis::mode::Mode;
use crate::grammar::{Form, Row};
use crate::slb::balancer::Ability;
use crate::slb::change::{Change, Refusal};
use crate::slb::words::{Predictor, RealKind};

/// See the module.
pub(super) static ROWS: &[Row<Action>] = &[
    run("server real <name> [<ip>]", "Real server", local),
    run("server real-name <name> [<ip>]", "Real server", local),
    run("no server real <name> [<ip>]", "Real server", no_real),
    run("no server real-name <name> [<ip>]", "Real server", no_real),
    run("server remote <name> [<ip>]", "Real server behind a router", remote),
    run("server remote-name <name> [<ip>]", "Real server behind a router", remote),
    run("no server remote <name> [<ip>]", "Real server behind a router", no_real),
    run("no server remote-name <name> [<ip>]", "Real server behind a router", no_real),
    run("server cache-name <name> [<ip>]", "Cache server", cache).needs(Ability::CacheSwitching),
    run("no server cache-name <name> [<ip>]", "Cache server", no_real).needs(Ability::CacheSwitching),
    run("server virtual <name> [<ip>]", "Virtual server", virtual_server),
    run("server virtual-name <name> [<ip>]", "Virtual server", virtual_server),
    run("server virtual-name-or-ip <name> [<ip>]", "Virtual server", virtual_server),
    run("no server virtual <name> [<ip>]", "Virtual server", no_virtual),
    run("no server virtual-name <name> [<ip>]", "Virtual server", no_virtual),
    run("no server virtual-name-or-ip <name> [<ip>]", "Virtual server", no_virtual),
    both("server predictor {least-conn|round-robin|weighted}", "How real servers are chosen", predictor),
    set("server tcp-age <2-60>", "Minutes until an idle TCP session ends"),
];

fn local(call: &mut Call<'_>) -> Result<Step, Trouble> {
    real(call, RealKind::Local)
}

fn remote(call: &mut Call<'_>) -> Result<Step, Trouble> {
    real(call, RealKind::Remote)
}

fn cache(call: &mut Call<'_>) -> Result<Step, Trouble> {
    real(call, RealKind::Cache)
}

/// With an address: a new real server, or the same again. Without: one that is there.
fn real(call: &mut Call<'_>, kind: RealKind) -> Result<Step, Trouble> {
    let name = call.name(0)?;
    match call.found.arguments.ip(0) {
        Some(address) => {
            let change = Change::AddReal { name: name.clone(), address: *address, kind };
            Ok(Step::Change(change, Some(Mode::Real(name))))
        }
        None => match call.device.config.real(&name) {
            Some(real) if real.leaving => Err(Refusal::RealLeaving { name }.into()),
            Some(_) => Ok(Step::Enter(Mode::Real(name))),
            None => Err(Refusal::NoSuchReal { name }.into()),
        },
    }
}

fn no_real(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let name = call.name(0)?;
    Ok(Step::Change(Change::RemoveReal { name }, Some(Mode::Config)))
}

/// With an address: a new virtual server. Without: one that is there.
fn virtual_server(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let name = call.name(0)?;
    match call.found.arguments.ip(0) {
        Some(address) => {
            let change = Change::AddVirtual { name: name.clone(), address: *address };
            Ok(Step::Change(change, Some(Mode::Virtual(name))))
        }
        None if call.device.config.virtual_server(&name).is_some() => Ok(Step::Enter(Mode::Virtual(name))),
        None => Err(Refusal::NoSuchVirtual { name }.into()),
    }
}

fn no_virtual(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let name = call.name(0)?;
    Ok(Step::Change(Change::RemoveVirtual { name }, Some(Mode::Config)))
}

fn predictor(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let predictor = chosen_predictor(call)?;
    Ok(Step::Change(Change::SetPredictor { server: None, predictor }, None))
}

/// The predictor of this line; `None` behind `no`.
pub(super) fn chosen_predictor(call: &Call<'_>) -> Result<Option<Predictor>, Trouble> {
    if call.form() == Form::No {
        return Ok(None);
    }
    let words = [call.found.arguments.choice(0), call.found.arguments.choice(1)];
    let words: Vec<&str> = words.into_iter().flatten().copied().collect();
    let wanted = words.join(" ");
    let known = Predictor::ALL.into_iter().find(|predictor| predictor.keyword() == wanted);
    known.map(Some).ok_or(Trouble::Incomplete)
}
