//! Waiting for what a primitive began: a binding to become active, a removed one to be empty.
//!
//! Works with every switch: it watches events and lists when one is about the binding; a switch without events is
//! listed four times a second. Callers: the API's `wait` parameter and the command line's `--wait`.

use std::future::poll_fn;
use std::time::Duration;

use super::error::AcmError;
use super::event::EventKind;
use super::list::{BindingRow, Filter, State};
use super::switch::{AcmSwitch, EventStream};
use super::words::BindingKey;

/// How often a switch without events is listed.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// How long the last look may take that says why the time ran out.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What a look at the binding's row showed.
enum Look {
    Done,
    /// Not yet; what is awaited, in plain words.
    Waiting(String),
}

/// Waits until the binding takes connections.
///
/// # Errors
/// `NotFound` if it disappears, `Timeout` with the reason why it is not active yet, and the switch's own.
pub async fn until_active(switch: &dyn AcmSwitch, key: &BindingKey, patience: Duration) -> Result<(), AcmError> {
    until(switch, key, patience, &|row| match row {
        None => Err(AcmError::not_found(format!("binding {key}"))),
        Some(row) if matches!(row.state, State::Active | State::Lapsed) => Ok(Look::Done),
        Some(row) => {
            let reason = row.reason.as_deref().unwrap_or("no reason given");
            Ok(Look::Waiting(format!("{key} to become active; it is {}: {reason}", row.state)))
        }
    })
    .await
}

/// Waits until a removed binding has no connection left and its row is gone.
///
/// # Errors
/// `Invalid` if it was added again meanwhile, `Timeout` with the connections left, and the switch's own.
pub async fn until_drained(switch: &dyn AcmSwitch, key: &BindingKey, patience: Duration) -> Result<(), AcmError> {
    until(switch, key, patience, &|row| match row {
        None => Ok(Look::Done),
        Some(row) if row.state == State::Draining => {
            Ok(Look::Waiting(format!("{key} to drain; {} connections are left", row.connections)))
        }
        Some(_) => Err(AcmError::invalid("real", format!("{key} was added again while it drained"))),
    })
    .await
}

type Judge<'a> = &'a (dyn Fn(Option<&BindingRow>) -> Result<Look, AcmError> + Sync);

async fn until(switch: &dyn AcmSwitch, key: &BindingKey, patience: Duration, judge: Judge<'_>) -> Result<(), AcmError> {
    let attempt = async {
        // Subscribed before the first look, so that nothing falls between the two.
        let mut events = match switch.events(None).await {
            Ok(events) => Some(events),
            Err(AcmError::Unsupported { .. }) => None,
            Err(error) => return Err(error),
        };
        while let Look::Waiting(_) = look(switch, key, judge).await? {
            match &mut events {
                Some(events) => news_of(events, key).await?,
                None => tokio::time::sleep(POLL_EVERY).await,
            }
        }
        Ok(())
    };
    if let Ok(result) = tokio::time::timeout(patience, attempt).await {
        return result;
    }
    // A reason may have changed without an event; say the one that holds now.
    match tokio::time::timeout(LAST_LOOK, look(switch, key, judge)).await {
        Ok(Ok(Look::Done)) => Ok(()),
        Ok(Ok(Look::Waiting(what))) => Err(AcmError::Timeout { waited_for: what }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(AcmError::Timeout { waited_for: format!("{key}; the switch does not answer") }),
    }
}

async fn look(switch: &dyn AcmSwitch, key: &BindingKey, judge: Judge<'_>) -> Result<Look, AcmError> {
    let filter = Filter { service: Some(key.service), real: Some(key.real), ..Filter::default() };
    judge(switch.list(&filter).await?.binding(key))
}

/// Returns at the next event that can have changed the binding's row.
async fn news_of(events: &mut EventStream, key: &BindingKey) -> Result<(), AcmError> {
    loop {
        match poll_fn(|cx| events.as_mut().poll_next(cx)).await {
            None => return Err(AcmError::Unreachable { why: "the event stream ended".into() }),
            Some(event) if concerns(&event.kind, key) => return Ok(()),
            Some(_) => {}
        }
    }
}

fn concerns(kind: &EventKind, key: &BindingKey) -> bool {
    match kind {
        EventKind::Added { binding, .. }
        | EventKind::Changed { binding, .. }
        | EventKind::State { binding, .. }
        | EventKind::Drained { binding, .. }
        | EventKind::ForceRemoved { binding, .. } => binding == key,
        EventKind::ServiceRemoved { service } => *service == key.service,
        EventKind::Lost => true,
        EventKind::ServiceCreated { .. }
        | EventKind::ServiceChanged { .. }
        | EventKind::RulesChanged { .. }
        | EventKind::Drop { .. } => false,
    }
}
