//! `acm drop`: the Drop primitive.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ipnet::IpNet;

use super::connection::Connection;
use super::failure::Failure;
use super::output::{self, Style};
use crate::acm::primitive::{DropNew, Primitive};
use crate::acm::words::{DropMode, Refusal, ServiceKey};
use crate::base::fraction::Fraction;
use crate::base::span::Span;

/// Refuse a fraction of new connections; 0 clears exactly the policy named
///
/// Connections that exist are never touched. The longest matching --from prefix wins over the service's own policy.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm drop 10.0.0.100:80 0.5 --mode shed --for 60s\n  \
                        acm drop 10.0.0.100:80 0")]
pub(super) struct DropArgs {
    /// The virtual service, VIP:PORT or VIP:PORT/udp
    #[arg(value_name = "VIP:PORT[/udp]")]
    service: ServiceKey,
    /// How many, 0 to 1
    #[arg(allow_negative_numbers = true)]
    fraction: Fraction,
    /// queue: a fresh coin for each SYN, so that retries delay clients; shed: one verdict per attempt
    #[arg(long, default_value = "shed", value_parser = PossibleValuesParser::new(["queue", "shed"]).map(mode))]
    mode: DropMode,
    /// Only clients of this prefix
    #[arg(long, value_name = "PREFIX")]
    from: Option<IpNet>,
    /// Answer with a reset instead of silence
    #[arg(long)]
    reset: bool,
    /// End by itself after this time
    #[arg(long = "for", value_name = "SPAN")]
    lasts: Option<Span>,
    #[command(flatten)]
    pub(super) to: Connection,
}

pub(super) fn mode(word: String) -> DropMode {
    if word == "queue" { DropMode::Queue } else { DropMode::Shed }
}

impl DropArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let switch = self.to.switch().await?;
        let policy = DropNew {
            service: self.service,
            fraction: self.fraction,
            mode: self.mode,
            from: self.from,
            refusal: if self.reset { Refusal::Reset } else { Refusal::Silent },
            lasts: self.lasts,
        };
        let done = self.to.perform(&*switch, Primitive::Drop(policy)).await?;
        if self.to.style() == Style::Json {
            return output::json(&done);
        }
        let clients = self.from.map(|prefix| format!(" from {prefix}")).unwrap_or_default();
        let (service, generation) = (self.service, done.generation);
        output::line(&match self.fraction {
            Fraction::ZERO => format!("{service}: every new connection{clients} is welcome (generation {generation})"),
            some => format!("{service}: dropping {some} of new connections{clients} (generation {generation})"),
        })
    }
}
