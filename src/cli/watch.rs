//! `acm watch`: events as they happen.

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{self, Style};
use super::signals::stop_requested;
use crate::acm::error::AcmError;
use crate::acm::event::{Event, EventId, EventKind};
use crate::base::text::escaped;

/// Print everything that happens to bindings and services, until Ctrl-C
///
/// A lost connection is made again and nothing is missed; `lost` says that the switch forgot or restarted.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  acm watch --json | jq .event")]
pub(super) struct WatchArgs {
    /// Begin after this event instead of now (the id of an earlier --json line)
    #[arg(long, value_name = "ID")]
    after: Option<EventId>,
    #[command(flatten)]
    pub(super) to: Connection,
}

impl WatchArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let switch = self.to.switch().await?;
        let stop = stop_requested()?;
        tokio::pin!(stop);
        let mut events = switch.events(self.after).await?;
        loop {
            let event = tokio::select! {
                event = std::future::poll_fn(|cx| events.as_mut().poll_next(cx)) => event,
                () = &mut stop => return Ok(()),
            };
            let Some(event) = event else {
                return Err(AcmError::Unreachable { why: "the switch ended the event stream".into() }.into());
            };
            match self.to.style() {
                Style::Json => output::json(&event)?,
                Style::Human => output::line(&describe(&event))?,
            }
        }
    }
}

fn describe(event: &Event) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(event.at)).unwrap_or(UNIX_EPOCH);
    let what = match &event.kind {
        EventKind::ServiceCreated { service } => format!("{service} created"),
        EventKind::ServiceChanged { service } => format!("{service} changed"),
        EventKind::RulesChanged { service, rules } => format!("{service} has {rules} content rules now"),
        EventKind::ServiceRemoved { service } => format!("{service} removed"),
        EventKind::Added { binding, .. } => format!("{binding} added"),
        EventKind::Changed { binding, .. } => format!("{binding} changed"),
        EventKind::State { binding, from, to, reason, .. } => {
            let reason = reason.as_ref().map(|why| format!(" ({})", escaped(why))).unwrap_or_default();
            format!("{binding} {from} -> {to}{reason}")
        }
        EventKind::Drained { binding, .. } => format!("{binding} drained"),
        EventKind::ForceRemoved { binding, cut, .. } => format!("{binding} force removed, {cut} connections cut"),
        EventKind::Drop { service, from, fraction } => {
            let from = from.map(|prefix| format!(" from {prefix}")).unwrap_or_default();
            format!("{service} drops {fraction} of new connections{from}")
        }
        EventKind::Lost => "events were lost or the switch restarted; list again".to_owned(),
    };
    format!("{} {what}", humantime::format_rfc3339_millis(at))
}
