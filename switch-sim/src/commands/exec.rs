//! Commands outside the configuration: logging out, `enable`, paging, saving, reloading.

use super::{Action, Call, Question, Step, Trouble, run};
use crate::chassis::access::Level;
use crate::chassis::mode::Mode;
use crate::grammar::Row;
use crate::screens::Text;
use crate::shell::Echo;

/// At `>`.
pub(super) static USER: &[Row<Action>] = &[
    run("enable", "Enter Privileged mode", enable).level(Level::READ_ONLY),
    run("logout", "Leave the device", logout).level(Level::READ_ONLY),
];

/// At `#`.
pub(super) static PRIVILEGED: &[Row<Action>] = &[
    run("configure terminal", "Configure from the terminal", configure).level(Level::PORT_CONFIG),
    run("disable", "Go back to User mode", disable).level(Level::READ_ONLY),
    run("skip-page-display", "Disable page display mode", skip_page),
    run("page-display", "Enable page display mode", page),
    run("reload", "Halt and perform a cold restart", reload),
    run("logout", "Leave the device", logout).level(Level::READ_ONLY),
];

/// At `#` and in every configuration mode.
pub(super) static SAVING: &[Row<Action>] = &[
    run("write memory", "Save the configuration to flash", write_memory),
    run("write terminal", "Display the configuration", super::show::running_config),
    run("clear server session <name>", "End the sessions of a real server", clear_session),
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
        call.device.promote(call.session, Level::SUPER_USER);
        Step::Say(said)
    } else {
        let question = templates.word(Text::EnablePassword, &[]);
        Step::Ask { question, echo: Echo::Secret, asked: Question::EnablePassword(None) }
    })
}

fn configure(_: &mut Call<'_>) -> Result<Step, Trouble> {
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

fn reload(_: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Reload)
}

fn write_memory(call: &mut Call<'_>) -> Result<Step, Trouble> {
    Ok(Step::Say(call.device.save()))
}

fn clear_session(call: &mut Call<'_>) -> Result<Step, Trouble> {
    let real = call.name(0)?;
    Ok(Step::Change(crate::slb::change::Change::ClearSessions { real }, None))
}
