//! Waiting for what a primitive began: a binding to become active, a removed one to be empty.

use std::future::poll_fn;
use std::time::Duration;

use super::error::AcmError;
use super::list::{BindingRow, Filter, State};
use super::switch::AcmSwitch;
use super::words::BindingKey;

/// Waits until the binding is active.
///
/// # Errors
/// `NotFound` if it disappears, `Timeout` with the reason it is not active yet.
pub async fn until_active(switch: &dyn AcmSwitch, key: &BindingKey, patience: Duration) -> Result<(), AcmError> {
    until(switch, key, patience, |row| match row {
        None => Err(AcmError::not_found(key)),
        Some(row) if matches!(row.state, State::Active | State::Lapsed) => Ok(None),
        Some(row) => Ok(Some(format!(
            "{key} to become active; it is {} ({})",
            row.state,
            row.reason.as_deref().unwrap_or("no reason given")
        ))),
    })
    .await
}

/// Waits until the row of a removed binding is gone.
///
/// # Errors
/// `Timeout` with the connections left.
pub async fn until_drained(switch: &dyn AcmSwitch, key: &BindingKey, patience: Duration) -> Result<(), AcmError> {
    until(switch, key, patience, |row| match row {
        None => Ok(None),
        Some(row) if row.state != State::Draining => {
            Err(AcmError::not_found(format!("the removal of {key}: it was added again")))
        }
        Some(row) => Ok(Some(format!("{key} to drain; {} connections are left", row.connections))),
    })
    .await
}

async fn until(
    switch: &dyn AcmSwitch,
    key: &BindingKey,
    patience: Duration,
    judge: impl Fn(Option<&BindingRow>) -> Result<Option<String>, AcmError>,
) -> Result<(), AcmError> {
    let mut waiting_for = String::new();
    let attempt = async {
        let mut events = switch.events(None).await?;
        let filter = Filter { service: Some(key.service), real: Some(key.real), ..Filter::default() };
        loop {
            let listing = switch.list(&filter).await?;
            match judge(listing.binding(key))? {
                None => return Ok(()),
                Some(what) => waiting_for = what,
            }
            if poll_fn(|cx| events.as_mut().poll_next(cx)).await.is_none() {
                return Err(AcmError::Unreachable { why: "the event stream ended".into() });
            }
        }
    };
    match tokio::time::timeout(patience, attempt).await {
        Ok(result) => result,
        Err(_) => Err(AcmError::Timeout { waited_for: waiting_for }),
    }
}
