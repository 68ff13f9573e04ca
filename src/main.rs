//! `acm`: parses the command line and calls one function of `cli/`.

use std::process::ExitCode;

fn main() -> ExitCode {
    acm_switch::cli::main(std::env::args_os())
}
