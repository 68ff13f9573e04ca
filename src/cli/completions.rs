//! `acm completions`: what a shell needs to complete our command lines.

use clap::Args;
use clap_complete::Shell;

use super::failure::Failure;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  acm completions bash > /etc/bash_completion.d/acm")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self, grammar: &mut clap::Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, grammar, "acm", &mut script);
        super::output::line(String::from_utf8_lossy(&script).trim_end())
    }
}
