//! The command line: one file a subcommand, each `Args` with a `run`.
//!
//! Exit codes: 0 success; 1 refused or failed; 2 usage; 3 the switch is unreachable; 4 timed out, what was accepted
//! stays in force. Errors are one line on stderr; with `--json` that line is a problem document (RFC 9457). What a
//! program reads is on stdout, everything else (logs, progress) on stderr. A reader that closes the pipe early is no
//! failure.

mod add;
mod capture;
mod completions;
pub mod config;
mod conformance;
mod connection;
pub mod console;
mod drop_new;
mod explain;
pub mod failure;
mod group_options;
mod lab;
mod list;
mod logging;
mod manager;
mod managers;
mod operator;
pub mod output;
pub mod ports;
mod remove;
mod roll;
mod rule;
mod run;
mod service;
mod signals;
mod start;
mod stats;
pub mod switch;
mod waiting;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::Failure;
use logging::Verbosity;

/// A load-balancing switch in software, controlled by Active Connection Management.
#[derive(Debug, Parser)]
#[command(name = "acm", version, propagate_version = true, max_term_width = 120)]
#[command(after_help = "The switch is chosen with --switch or ACM_SWITCH (default unix:/run/acm/switch.sock).\n\
                        Exit codes: 0 success, 1 refused or failed, 2 usage, 3 unreachable, 4 timed out.\n\n\
                        Example:\n  acm add 10.0.0.100:80 10.0.0.11:8080 --wait 10s")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Switch(switch::SwitchArgs),
    Add(add::AddArgs),
    Remove(remove::RemoveArgs),
    List(list::ListArgs),
    Drop(drop_new::DropArgs),
    Watch(watch::WatchArgs),
    Manager(manager::ManagerArgs),
    Managers(managers::ManagersArgs),
    Roll(roll::RollArgs),
    Run(run::RunArgs),
    #[command(name = crate::agent::sidecar::pass::EXEC, hide = true)]
    RunExec(run::ExecArgs),
    Capture(capture::CaptureArgs),
    Stats(stats::StatsArgs),
    Conformance(conformance::ConformanceArgs),
    #[command(subcommand)]
    Service(service::ServiceCommand),
    #[command(subcommand)]
    Rule(rule::RuleCommand),
    Explain(explain::ExplainArgs),
    Completions(completions::CompletionsArgs),
    Lab(lab::LabArgs),
}

/// Parses the command line, does what it says and returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(refusal) => return failure::usage(&refusal),
    };
    match cli.command {
        Command::Lab(args) => lab::run(args),
        Command::Switch(args) => switch::main(args, start::start),
        Command::Add(args) => verb(args.to.style(), args.run()),
        Command::Remove(args) => verb(args.to.style(), args.run()),
        Command::List(args) => verb(args.to.style(), args.run()),
        Command::Drop(args) => verb(args.to.style(), args.run()),
        Command::Manager(args) => manager::main(args),
        Command::Run(args) => run::main(args),
        Command::RunExec(args) => run::exec(&args),
        Command::Managers(args) => verb(args.style(), args.run()),
        Command::Roll(args) => verb(args.style(), args.run()),
        Command::Watch(args) => verb(args.to.style(), args.run()),
        Command::Capture(args) => verb(args.to.style(), args.run()),
        Command::Stats(args) => verb(args.to.style(), args.run()),
        Command::Conformance(args) => verb(output::Style::Human, args.run()),
        Command::Service(command) => verb(command.to().style(), command.run()),
        Command::Rule(command) => verb(command.to().style(), command.run()),
        Command::Explain(args) => verb(args.to.style(), args.run()),
        Command::Completions(args) => failure::exit(output::Style::Human, args.run(&mut Cli::command())),
    }
}

/// Runs a verb on a runtime of one thread.
fn verb(style: output::Style, run: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    logging::start(Verbosity::Verb);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    failure::exit(style, runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(run)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_has_an_example() {
        fn check(command: &clap::Command, path: &str) {
            if command.is_hide_set() {
                return;
            }
            let path = format!("{path} {}", command.get_name());
            let help = command.clone().render_long_help().to_string();
            assert!(command.has_subcommands() || help.contains("Example"), "{path} has no example:\n{help}");
            command.get_subcommands().for_each(|inner| check(inner, &path));
        }
        check(&Cli::command(), "");
    }
}
