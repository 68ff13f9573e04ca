//! `acm list`: the List primitive.

use std::net::SocketAddr;

use clap::Args;

use super::connection::Connection;
use super::failure::Failure;
use super::group_options::{content_note, group_note};
use super::output::{self, Style, table};
use crate::acm::list::{BindingRow, DropRow, Filter, Listing, ServiceRow, State};
use crate::acm::words::{Refusal, ServiceKey};
use crate::base::id::Name;
use crate::base::text::escaped;

/// Show every binding with its state and why, connections, weight and owner
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm list\n  acm list 10.0.0.100:80 --state failed --json")]
pub(super) struct ListArgs {
    /// Only this virtual service
    #[arg(value_name = "VIP:PORT[/udp]")]
    service: Option<ServiceKey>,
    /// Only bindings of this real server
    #[arg(long, value_name = "REAL:PORT")]
    real: Option<SocketAddr>,
    /// Only this group
    #[arg(long)]
    group: Option<Name>,
    /// Only this owner
    #[arg(long)]
    owner: Option<Name>,
    /// Only this state: pending, active, failed, draining or lapsed
    #[arg(long)]
    state: Option<State>,
    #[command(flatten)]
    pub(super) to: Connection,
}

impl ListArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let switch = self.to.switch().await?;
        let filter =
            Filter { service: self.service, real: self.real, group: self.group, owner: self.owner, state: self.state };
        let listing = switch.list(&filter).await?;
        match self.to.style() {
            Style::Json => output::json(&listing),
            Style::Human => output::line(describe(&listing).trim_end()),
        }
    }
}

fn describe(listing: &Listing) -> String {
    if listing.services.is_empty() && listing.bindings.is_empty() {
        return "nothing is bound; begin with: acm add VIP:PORT REAL:PORT".to_owned();
    }
    let head = ["SERVICE", "REAL", "GROUP", "STATE", "CONNS", "TOTAL", "WEIGHT", "OWNER", "LEASE", "REASON"];
    let rows: Vec<_> = listing.bindings.iter().map(binding_cells).collect();
    let mut out = if rows.is_empty() { String::new() } else { table(&head, &rows) };
    for service in &listing.services {
        if !listing.bindings.iter().any(|row| row.key.service == service.service) {
            out += &format!("{}: no bindings to show\n", service.service);
        }
        for note in notes(service) {
            out += &format!("{}: {note}\n", service.service);
        }
    }
    out
}

fn binding_cells(row: &BindingRow) -> Vec<String> {
    let limit = row.max_conns.map(|max| format!("/{max}")).unwrap_or_default();
    let dash = || "-".to_owned();
    let mut reason = escaped(row.reason.as_deref().unwrap_or_default());
    if let Some(left) = row.deadline_left {
        reason = format!("{reason} (cut in {left})").trim_start().to_owned();
    }
    vec![
        row.key.service.to_string(),
        row.key.real.to_string(),
        row.group.to_string(),
        row.state.to_string(),
        format!("{}{limit}", row.connections),
        row.total.to_string(),
        row.weight.to_string(),
        row.owner.to_string(),
        row.lease_left.or(row.lease).map_or_else(dash, |left| left.to_string()),
        reason,
    ]
}

/// What is worth a line about a service apart from its bindings.
fn notes(service: &ServiceRow) -> Vec<String> {
    let groups = service.groups.iter().map(group_note);
    let counts = format!(
        "{} connections admitted, {} refused for want of a server, {} packets dropped on request",
        service.admitted, service.refused, service.dropped
    );
    groups.chain(content_note(service)).chain(service.drops.iter().map(drop_note)).chain([counts]).collect()
}

fn drop_note(row: &DropRow) -> String {
    let from = row.from.map(|prefix| format!(" from {prefix}")).unwrap_or_default();
    let reset = if row.refusal == Refusal::Reset { ", with a reset" } else { "" };
    let left = row.left.map(|left| format!(", {left} left")).unwrap_or_default();
    format!("drops {} of new connections{from}, mode {}{reset}{left}", row.fraction, row.mode)
}
