//! `acm remove`: the Remove and Force Remove primitives.

use std::net::SocketAddr;

use clap::Args;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{self, Style};
use super::waiting;
use crate::acm::primitive::{ForceRemove, Primitive, Remove};
use crate::acm::wait;
use crate::acm::words::{BindingKey, ServiceKey};
use crate::base::span::Span;

/// Take a real server out: nothing new goes there, existing connections finish; with --force they end now
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm remove 10.0.0.100:80 10.0.0.11:8080 --deadline 30s --wait 60s\n  \
                        acm remove 10.0.0.100:80 10.0.0.11:8080 --force")]
pub(super) struct RemoveArgs {
    /// The virtual service, VIP:PORT or VIP:PORT/udp
    #[arg(value_name = "VIP:PORT[/udp]")]
    service: ServiceKey,
    /// The real server
    #[arg(value_name = "REAL:PORT")]
    real: SocketAddr,
    /// Cut what is left after this time
    #[arg(long, value_name = "SPAN", conflicts_with = "force")]
    deadline: Option<Span>,
    /// Cut its connections now; prints how many
    #[arg(long, conflicts_with = "wait")]
    force: bool,
    /// Succeed only once no connection is left; when time runs out it drains on
    #[arg(long, value_name = "SPAN")]
    wait: Option<Span>,
    #[command(flatten)]
    pub(super) to: Connection,
}

impl RemoveArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let switch = self.to.switch().await?;
        let key = BindingKey { service: self.service, real: self.real };
        let primitive = if self.force {
            Primitive::ForceRemove(ForceRemove { service: self.service, real: self.real })
        } else {
            Primitive::Remove(Remove { service: self.service, real: self.real, deadline: self.deadline })
        };
        let done = self.to.perform(&*switch, primitive).await?;
        if let Some(patience) = self.wait {
            waiting::shown(&*switch, &key, wait::until_drained(&*switch, &key, patience.0)).await?;
        }
        if self.to.style() == Style::Json {
            return output::json(&done);
        }
        let generation = done.generation;
        output::line(&match (self.force, self.wait) {
            (true, _) => {
                format!("removed {key}, {} connections cut (generation {generation})", done.cut.unwrap_or_default())
            }
            (false, Some(_)) => format!("removed {key}, drained (generation {generation})"),
            (false, None) => format!("removing {key}, draining (generation {generation})"),
        })
    }
}
