//! `switch-sim`: an emulated Foundry ServerIron on its own.

mod args;
mod start;

use std::io::{self, Write};
use std::process::ExitCode;

use args::Args;
use clap::{CommandFactory, Parser};
use start::StartError;
use switch_sim::quirk::Quirk;
use switch_sim::scenario::{self, Scenario};
use switch_sim::screens::Templates;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(shell) = args.completions {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "switch-sim", &mut script);
        return print(&script);
    }
    if args.list_quirks {
        return print(quirks().as_bytes());
    }
    if args.list_scenarios {
        return print(scenarios().as_bytes());
    }
    if args.print_templates {
        return print(Templates::built_in_file().as_bytes());
    }
    match start::run(&args) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("switch-sim: {why}");
            if matches!(why, StartError::Usage(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Prints an answer; a reader who has seen enough is no error.
fn print(text: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(text) {
        Err(why) if why.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

fn scenarios() -> String {
    let paragraph = |of: &Scenario| {
        let (name, about, task, minutes) = (of.name, of.about, of.task, of.limit.as_secs() / 60);
        format!("{name}\n    {about}\n    {task}\n    Time: {minutes} minutes\n")
    };
    scenario::ALL.iter().map(paragraph).collect()
}

fn quirks() -> String {
    let mut text = String::new();
    for quirk in Quirk::ALL {
        text += &format!("{}{}\n    {}\n", quirk.name(), quirk.takes(), quirk.does());
    }
    text + "\nEach may be scheduled: @after=SPAN @for=SPAN @every=SPAN @count=N @chance=P\n"
}
