//! `acm add`: the Add primitive.

use std::net::SocketAddr;

use clap::Args;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{self, Style};
use super::waiting;
use crate::acm::primitive::{Add, Primitive};
use crate::acm::wait;
use crate::acm::words::{HealthProfile, ServiceKey};
use crate::base::id::Name;
use crate::base::span::Span;

/// Bind a real server to a virtual service (created if new); traffic comes once its health check passes
///
/// Repeated, it changes the options given, refreshes the lease and ends a drain. Without --lease the binding is
/// permanent.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  acm add 10.0.0.100:80 10.0.0.11:8080 --weight 2 --wait 10s")]
pub(super) struct AddArgs {
    /// The virtual service, VIP:PORT or VIP:PORT/udp
    #[arg(value_name = "VIP:PORT[/udp]")]
    service: ServiceKey,
    /// The real server
    #[arg(value_name = "REAL:PORT")]
    real: SocketAddr,
    /// Its group
    #[arg(long)]
    group: Option<Name>,
    /// Its share of new connections, 0 to 1000
    #[arg(long, value_name = "N")]
    weight: Option<u16>,
    /// Most live connections
    #[arg(long, value_name = "N")]
    max_conns: Option<u32>,
    /// Drain it unless it is added again within this time, 1s to 1day
    #[arg(long, value_name = "SPAN")]
    lease: Option<Span>,
    /// Succeed only once it is active; when time runs out it stays, pending
    #[arg(long, value_name = "SPAN")]
    wait: Option<Span>,
    /// The service's own name for this instance: url-hash, cookie-hash and cookies know it by that, so that it keeps its
    /// share on another port or address; by default they know it by its address without the port
    #[arg(long, value_name = "NAME")]
    identity: Option<Name>,
    /// No checks beyond its MAC address
    #[arg(long)]
    no_health: bool,
    #[command(flatten)]
    pub(super) to: Connection,
}

impl AddArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let switch = self.to.switch().await?;
        let add = Add {
            group: self.group,
            weight: self.weight,
            max_conns: self.max_conns,
            lease: self.lease,
            identity: self.identity,
            health: self.no_health.then(HealthProfile::link_only),
            ..Add::new(self.service, self.real)
        };
        let key = add.key();
        let done = self.to.perform(&*switch, Primitive::Add(add)).await?;
        if let Some(patience) = self.wait {
            waiting::shown(&*switch, &key, wait::until_active(&*switch, &key, patience.0)).await?;
        }
        match self.to.style() {
            Style::Json => output::json(&done),
            Style::Human => {
                let what = if done.changed { "added" } else { "unchanged" };
                let state = if self.wait.is_some() { ", active" } else { "" };
                output::line(&format!("{what} {key}{state} (generation {})", done.generation))
            }
        }
    }
}
