//! Logs: to stderr, as much as `RUST_LOG` says. A reader that goes away (a closed session, a log daemon that restarts) costs
//! the lines, never the process.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How much is logged when `RUST_LOG` says nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verbosity {
    /// A verb: warnings.
    Verb,
    /// A switch: what it does.
    Switch,
}

/// Sets the process's subscriber up; a second call changes nothing.
pub(super) fn start(verbosity: Verbosity) {
    let default = match verbosity {
        Verbosity::Verb => "warn",
        Verbosity::Switch => "info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would complain about a closed stderr on stderr, and panic.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .finish();
    // An error means that one is set already.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
