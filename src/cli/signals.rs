//! Ctrl-C and SIGTERM: a person or a service manager wants the command to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Takes over both signals and returns what resolves at the first of them.
///
/// # Errors
/// The system's, when a handler cannot be installed.
pub(super) fn stop_requested() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
