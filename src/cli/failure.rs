//! How a command fails: one line on stderr and an exit code.

use std::io;
use std::process::ExitCode;

use super::output::Style;
use crate::acm::error::AcmError;
use crate::api::schema::problem::Problem;
use crate::base::text::{cut, escaped, with_cut};

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The switch, or the way to it.
    #[error("{0}")]
    Acm(#[from] AcmError),
    /// What the contract refuses whatever the switch: a mistake in the command line.
    #[error("{0}")]
    Usage(AcmError),
    /// This machine.
    #[error("{0}")]
    System(#[from] io::Error),
    /// Nobody answered in the time allowed; says who, and what to look at.
    #[error("{0}")]
    NoAnswer(String),
    /// Something named by the user is not as it should be.
    #[error("{0}")]
    Setup(String),
}

const REFUSED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const TIMED_OUT: u8 = 4;

impl Failure {
    /// The same refusal, with the option that was typed in place of the field of the contract, where there is one.
    pub(super) fn at(self, option_of: impl Fn(&str) -> Option<String>) -> Failure {
        let renamed = |error| match error {
            AcmError::Invalid { field, why } => AcmError::Invalid { field: option_of(&field).unwrap_or(field), why },
            other => other,
        };
        match self {
            Failure::Acm(error) => Failure::Acm(renamed(error)),
            Failure::Usage(error) => Failure::Usage(renamed(error)),
            other => other,
        }
    }

    fn code(&self) -> u8 {
        match self {
            Failure::Acm(AcmError::Unreachable { .. }) => UNREACHABLE,
            Failure::Acm(AcmError::Timeout { .. }) | Failure::NoAnswer(_) => TIMED_OUT,
            Failure::Acm(_) | Failure::System(_) | Failure::Setup(_) => REFUSED,
            Failure::Usage(_) => USAGE,
        }
    }

    /// What to do about it, where that is not in the words already.
    fn remedy(&self) -> &'static str {
        match self {
            Failure::Acm(AcmError::Unreachable { .. }) => {
                "; is `acm switch`, or the box, running there? --switch or ACM_SWITCH (conformance: --target) chooses"
            }
            Failure::Acm(AcmError::Forbidden { .. }) => "; give a token that may with --token-file or ACM_TOKEN",
            Failure::Acm(AcmError::NotFound { .. }) => {
                "; `acm list` shows what does, `acm rule list VIP:PORT` the rules"
            }
            Failure::Acm(AcmError::Timeout { .. }) => "; what was asked for, if anything, stays in force",
            _ => "",
        }
    }

    fn line(&self, style: Style) -> String {
        match (style, self) {
            (Style::Json, Failure::Acm(error) | Failure::Usage(error)) => problem_line(Problem::from(error.clone())),
            (Style::Json, Failure::NoAnswer(why)) => problem_line(Problem::http(504, "No answer", why.clone())),
            (Style::Json, local) => local_line(local),
            (Style::Human, failure) => format!("acm: {}{}", escaped(&failure.to_string()), failure.remedy()),
        }
    }
}

/// A problem of this machine, or of what is named on it. No server has a part in it, so there is no status; RFC 9457,
/// section 3.1, demands none.
fn local_line(failure: &Failure) -> String {
    let detail = failure.to_string();
    serde_json::json!({ "type": "urn:acm:error:local", "title": "Not done", "detail": detail }).to_string()
}

fn problem_line(problem: Problem) -> String {
    // Strings and numbers; if this could fail, the detail alone would still say it.
    serde_json::to_string(&problem).unwrap_or(problem.detail)
}

/// The exit code of a command, after saying on stderr what went wrong.
pub(super) fn exit(style: Style, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(Failure::System(why)) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.line(style));
            ExitCode::from(failure.code())
        }
    }
}

/// Help and version go to stdout as they are; a wrong command line becomes one line.
pub(super) fn usage(refusal: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match refusal.kind() {
        DisplayHelp | DisplayVersion => match refusal.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => exit(Style::Human, Err(why.into())),
        },
        DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nothing was asked for: the whole help says more than a line could.
            complain(&refusal.to_string());
            ExitCode::from(USAGE)
        }
        _ => {
            let text = repeating_little(refusal);
            let about: Vec<_> = text
                .lines()
                .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect();
            let about = about.join(" ");
            complain(&format!("acm: {} (see --help)", escaped(about.strip_prefix("error: ").unwrap_or(&about))));
            ExitCode::from(USAGE)
        }
    }
}

/// The text of a refusal, in which a value is repeated as far as it helps, and cannot pass for a line of ours.
fn repeating_little(refusal: &clap::Error) -> String {
    let repeated = refusal.context().filter_map(|(_, value)| match value {
        clap::error::ContextValue::String(value) => Some(value),
        _ => None,
    });
    repeated.fold(refusal.to_string(), |text, value| match value.contains(char::is_control) {
        true => text.replace(value, &cut(value)),
        false => with_cut(&text, value),
    })
}

/// Tells what is done all the same, though it may not be what was meant.
pub(super) fn warn(words: &str) {
    complain(&format!("acm: warning: {}", escaped(words)));
}

fn complain(line: &str) {
    use io::Write;
    // If stderr is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "{line}");
}
