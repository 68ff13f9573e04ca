//! Commands outside the configuration: logging out, `enable`, paging, saving, reloading.

use super::{Action, Call, NEWER, Question, Step, Trouble, run};
use crate::chassis::access::Level;
use crate::chassis::mode::Mode;
use crate::grammar::Row;
use crate::quirk::Quirk;
use crate::screens::Text;
use crate::shell::{Echo, SessionId};
use crate::slb::change::Change;

/// At `>`.
pub(super) static USER: &[Row<Action>] = &[run("enable", "Enter Privileged mode", enable).level(Level::READ_ONLY)];

/// At `>` and `#`.
pub(super) static LOOKING: &[Row<Action>] = &[run("logout", "Leave the device", logout).level(Level::READ_ONLY)];

/// At `#`.
pub(super) static PRIVILEGED: &[Row<Action>] = &[
    run("configure terminal", "Configure from the terminal", configure).level(Level::PORT_CONFIG),
    run("disable", "Go back to User mode", disable).level(Level::READ_ONLY),
    run("enable", "Enter Privileged mode", enable).level(Level::READ_ONLY),
    run("skip-page-display", "Disable page display mode", skip_page).level(Level::PORT_CONFIG),
    run("page-display", "Enable page display mode", page).level(Level::READ_ONLY),
    run("reload", "Halt and perform a cold restart", reload),
    run("kill telnet <1-64>", "End a session", kill),
    run("kill ssh <1-64>", "End a session", kill).on(NEWER),
    run("copy tftp running-config <ip> <word>", "Load a configuration", tftp),
    run("copy running-config tftp <ip> <word>", "Save the configuration elsewhere", tftp),
    run("rconsole <1-16> <1-8>", "Go to a barrel processor", rconsole).on(NEWER),
];

/// At `#` and in every configuration mode.
pub(super) static SAVING: &[Row<Action>] = &[
    run("write memory", "Save the configuration to flash", write_memory).level(Level::PORT_CONFIG),
    run("write terminal", "Display the configuration", super::show::running_config).level(Level::PORT_CONFIG),
    run("clear server session <name>", "End the sessions of a real server", clear_session),
    run("clear server traffic", "Counters of server traffic", clear_counters),
    run("clear server keep-alive statistics", "Counters of keep-alive connections", clear_counters).on(NEWER),
    run("clear statistics", "Counters of ports", clear_counters),
    run("clear statistics dos-attack", "Counters of attacks", clear_counters).on(NEWER),
    run("clear logging", "The log", clear_log),
];

/// In every mode.
pub(super) static EVERYWHERE: &[Row<Action>] = &[
    run("exit", "Leave this mode", exit).level(Level::READ_ONLY),
    run("quit", "Leave this mode", exit).level(Level::READ_ONLY),
];

/// In every configuration mode.
pub(super) static IN_CONFIG: &[Row<Action>] = &[run("end", "Leave the configuration", end).level(Level::READ_ONLY)];

fn enable(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let access = &call.device.access;
    let templates = &call.device.templates;
    Ok(if access.enable_asks_user {
        let question = templates.word(Text::EnableName, &[]);
        Step::Ask { question, echo: Echo::Plain, asked: Question::EnableName }
    } else if access.enable.is_empty() {
        let said = templates.lines(Text::NoPassword, &[]);
        call.device.promote(call.session, None);
        Step::Say(said)
    } else {
        let question = templates.word(Text::EnablePassword, &[]);
        Step::Ask { question, echo: Echo::Secret, asked: Question::EnablePassword(None) }
    })
}

fn configure(call: &mut Call<'_>) -> Result<Step, Trouble> {
    if call.device.settings.quirks.fires(Quirk::ConfigSessionBusy, call.now) {
        return Err(Trouble::Said(call.device.templates.lines(Text::ConfigBusy, &[])));
    }
    if call.device.settings.quirks.fires(Quirk::ConfigWarning, call.now) {
        let users = call.device.settings.quirks.number(Quirk::ConfigWarning);
        let warning = call.device.templates.word(Text::ConfigWarning, &[&users]);
        call.device.glue(call.session, warning);
    }
    Ok(Step::Enter(Mode::Config))
}

fn disable(_: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Enter(Mode::User))
}

fn end(_: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Enter(Mode::Privileged))
}

fn exit(call: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(call.mode().up().map_or(Step::Close, Step::Enter))
}

fn logout(_: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Close)
}

fn skip_page(call: &mut Call<'_>) -> Result<Step, Trouble> {
    call.device.set_paging(call.session, false);
    Ok(Step::Say(call.device.templates.lines(Text::SkipPage, &[])))
}

fn page(call: &mut Call<'_>) -> Result<Step, Trouble> {
    call.device.set_paging(call.session, true);
    Ok(Step::Say(call.device.templates.lines(Text::Page, &[])))
}

fn reload(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let question = call.device.templates.word(Text::ReloadQuestion, &[]);
    Ok(Step::Ask { question, echo: Echo::Plain, asked: Question::Reload })
}

fn kill(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let number = call.found.arguments.number(0).copied().ok_or(Trouble::Incomplete)?;
    match call.device.sessions.get_mut(&SessionId(number)) {
        Some(session) if number != 0 => {
            session.ended = true;
            Ok(Step::Say(Vec::new()))
        }
        _ => Err(Trouble::Said(call.device.templates.lines(Text::NoSuchSession, &[&number]))),
    }
}

/// There is no network behind the emulator to load anything from.
fn tftp(call: &mut Call<'_>) -> Result<Step, Trouble> {
    Err(Trouble::Said(call.device.templates.lines(Text::Tftp, &[])))
}

fn rconsole(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let number = |n| call.found.arguments.number(n).copied().ok_or(Trouble::Incomplete);
    Ok(Step::Enter(Mode::Barrel { slot: number(0)?, cpu: number(1)? }))
}

fn write_memory(call: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Say(call.device.save(call.session, call.now)))
}

fn clear_session(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let real = call.name(0)?;
    // Right after `no server real NAME` there may be nothing left to clear; the recipe of operators' drivers clears anyway.
    if call.device.config.real(&real).is_none() {
        return Ok(Step::Say(Vec::new()));
    }
    Ok(Step::Change(Change::ClearSessions { real }, None))
}

fn clear_counters(_: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Say(Vec::new()))
}

fn clear_log(call: &mut Call<'_>) -> Result<Step, Trouble> {
    call.device.log.clear();
    Ok(Step::Say(Vec::new()))
}
