//! Waiting in front of a person: nothing for a second, then, on a terminal, one line that says what is awaited.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::acm::error::AcmError;
use crate::acm::list::Filter;
use crate::acm::switch::AcmSwitch;
use crate::acm::words::BindingKey;
use crate::base::text::escaped;

/// Waits, showing the binding's state once a second.
pub(super) async fn shown(
    switch: &dyn AcmSwitch,
    key: &BindingKey,
    wait: impl Future<Output = Result<(), AcmError>>,
) -> Result<(), AcmError> {
    if !io::stderr().is_terminal() {
        return wait.await;
    }
    tokio::pin!(wait);
    let filter = Filter { service: Some(key.service), real: Some(key.real), ..Filter::default() };
    let mut seconds = 0;
    let result = loop {
        tokio::select! {
            result = &mut wait => break result,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        seconds += 1;
        if let Ok(listing) = switch.list(&filter).await
            && let Some(row) = listing.binding(key)
        {
            let reason = escaped(row.reason.as_deref().unwrap_or_default());
            progress(&format!("{seconds} s: {key} {}, {} connections {reason}", row.state, row.connections));
        }
    };
    if seconds > 0 {
        progress("");
    }
    result
}

/// Replaces the line the cursor is on. Progress that cannot be shown is not worth failing for.
fn progress(text: &str) {
    let mut err = io::stderr().lock();
    let _ = write!(err, "\r\u{1b}[K{text}");
    let _ = err.flush();
}
