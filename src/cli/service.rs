//! `acm service set` and `acm service remove`: a service apart from its bindings.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::connection::Connection;
use super::failure::Failure;
use super::group_options::{ContentArgs, HashArgs, PersistArgs};
use super::output::{self, Style};
use crate::acm::list::Filter;
use crate::acm::primitive::{Primitive, RemoveService, SetService};
use crate::acm::words::{HealthDepth, HealthProfile, HttpCheck, Refusal, Scheduler, ServiceKey, default_group};
use crate::base::id::Name;
use crate::base::span::Span;

/// Set or remove a virtual service
#[derive(Debug, Subcommand)]
pub(super) enum ServiceCommand {
    Set(Box<SetArgs>),
    Remove(RemoveArgs),
}

/// Set a service's options; creates it if new. What is not named stays as it is
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acm service set 10.0.0.100:80 --scheduler least-conn\n  \
                        acm service set 10.0.0.100:80 --http-path /healthz --health-interval 5s --when-none reset\n  \
                        acm service set 10.0.0.100:80 --content http --group caches --scheduler url-hash --bounded-load 1.25")]
pub(super) struct SetArgs {
    /// The virtual service, VIP:PORT or VIP:PORT/udp
    #[arg(value_name = "VIP:PORT[/udp]")]
    service: ServiceKey,
    /// The group --scheduler, --hash-... and --persist... are for
    #[arg(long, default_value_t = default_group())]
    group: Name,
    /// How that group chooses: round-robin, weighted, least-conn, random, source-hash, url-hash or cookie-hash
    #[arg(long)]
    scheduler: Option<Scheduler>,
    /// What a client hears when no server can take it. Where requests are looked into, silent: 503; reset: a reset
    #[arg(long, value_parser = PossibleValuesParser::new(["silent", "reset"]).map(refusal))]
    when_none: Option<Refusal>,
    #[command(flatten)]
    content: ContentArgs,
    #[command(flatten)]
    hash: HashArgs,
    #[command(flatten)]
    persist: PersistArgs,
    #[command(flatten)]
    health: HealthArgs,
    #[command(flatten)]
    to: Connection,
}

/// The health profile of bindings added later that name none.
#[derive(Debug, Args)]
#[command(next_help_heading = "Health of bindings added later")]
struct HealthArgs {
    /// How deep: l2 (MAC), l3 (echo), l4 (TCP handshake); without an --http option it ends HTTP checks
    #[arg(long, value_parser = PossibleValuesParser::new(["l2", "l3", "l4"]).map(depth))]
    health_depth: Option<HealthDepth>,
    /// From the start of one check to the start of the next, 100ms to 1h
    #[arg(long, value_name = "SPAN")]
    health_interval: Option<Span>,
    /// How long one step may take, 10ms to the interval
    #[arg(long, value_name = "SPAN")]
    health_timeout: Option<Span>,
    /// Passes in a row that bring a failed binding back
    #[arg(long, value_name = "N")]
    rise: Option<u8>,
    /// Failures in a row that take an active binding out
    #[arg(long, value_name = "N")]
    fall: Option<u8>,
    /// Check with GET of this path
    #[arg(long, value_name = "PATH")]
    http_path: Option<String>,
    /// Host header of that check
    #[arg(long, value_name = "HOST")]
    http_host: Option<String>,
    /// Status it must answer
    #[arg(long, value_name = "CODE")]
    http_status: Option<u16>,
    /// Text that must be in the body
    #[arg(long, value_name = "TEXT")]
    http_contains: Option<String>,
}

/// Remove a service; its bindings are force removed first
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  acm service remove 10.0.0.100:80")]
pub(super) struct RemoveArgs {
    /// The virtual service, VIP:PORT or VIP:PORT/udp
    #[arg(value_name = "VIP:PORT[/udp]")]
    service: ServiceKey,
    #[command(flatten)]
    to: Connection,
}

fn refusal(word: String) -> Refusal {
    if word == "reset" { Refusal::Reset } else { Refusal::Silent }
}

fn depth(word: String) -> HealthDepth {
    match word.as_str() {
        "l2" => HealthDepth::L2,
        "l3" => HealthDepth::L3,
        _ => HealthDepth::L4,
    }
}

impl ServiceCommand {
    pub(super) fn to(&self) -> &Connection {
        match self {
            ServiceCommand::Set(args) => &args.to,
            ServiceCommand::Remove(args) => &args.to,
        }
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            ServiceCommand::Set(args) => args.run().await,
            ServiceCommand::Remove(args) => args.run().await,
        }
    }
}

impl SetArgs {
    async fn run(self) -> Result<(), Failure> {
        let switch = self.to.switch().await?;
        let service = self.service;
        // Profiles and hash options are set as a whole, so what is not named comes from those in force.
        let now = switch.list(&Filter::service(service)).await?.services.into_iter().next();
        let group = now.iter().flat_map(|row| &row.groups).find(|row| row.group == self.group);
        let hash = self.hash.over(group.map(|row| row.hash.clone()).unwrap_or_default());
        let health =
            self.health.names_something().then(|| self.health.over(now.map(|row| row.health).unwrap_or_default()));
        let set = SetService {
            group: self.group,
            scheduler: self.scheduler,
            hash,
            persist: self.persist.persistence(),
            health,
            when_none: self.when_none,
            content: self.content.content,
            switching: self.content.switching,
            default_action: self.content.default_action(),
            strangers: self.content.strangers,
            ..SetService::new(service)
        };
        let done = self.to.perform(&*switch, Primitive::SetService(set)).await.map_err(|why| why.at(option_of))?;
        match self.to.style() {
            Style::Json => output::json(&done),
            Style::Human => {
                let what = if done.changed { "set" } else { "unchanged" };
                output::line(&format!("{what} {service} (generation {})", done.generation))
            }
        }
    }
}

/// The option that a field of the contract is given by.
fn option_of(field: &str) -> Option<String> {
    const OPTIONS: [(&str, &str); 16] = [
        ("hash.cookie", "--hash-cookie"),
        ("hash.fallback", "--hash-fallback"),
        ("hash.bounded_load", "--bounded-load"),
        ("persist.insert.name", "--persist-cookie"),
        ("persist.learn.name", "--persist-cookie"),
        ("persist.insert.same_site", "--persist-same-site"),
        ("persist.insert.max_age", "--persist-max-age"),
        ("persist.learn.idle", "--persist-idle"),
        ("default_action.redirect.to", "--default-redirect"),
        ("health.interval", "--health-interval"),
        ("health.timeout", "--health-timeout"),
        ("health.rise", "--rise"),
        ("health.fall", "--fall"),
        ("health.http.path", "--http-path"),
        ("health.http.host", "--http-host"),
        ("health.http.status", "--http-status"),
    ];
    let known =
        OPTIONS.iter().chain([&("health.http.contains", "--http-contains"), &("health.http", "--health-depth")]);
    known.copied().find(|(known, _)| *known == field).map(|(_, option)| option.to_owned())
}

impl HealthArgs {
    fn names_http(&self) -> bool {
        self.http_path.is_some()
            || self.http_host.is_some()
            || self.http_status.is_some()
            || self.http_contains.is_some()
    }

    fn names_something(&self) -> bool {
        self.names_http()
            || self.health_depth.is_some()
            || self.health_interval.is_some()
            || self.health_timeout.is_some()
            || self.rise.is_some()
            || self.fall.is_some()
    }

    /// This profile with what is named changed.
    fn over(self, now: HealthProfile) -> HealthProfile {
        let names_http = self.names_http();
        let http = match now.http {
            _ if names_http => {
                let now = now.http.unwrap_or(HttpCheck { path: "/".into(), host: None, status: 200, contains: None });
                Some(HttpCheck {
                    path: self.http_path.unwrap_or(now.path),
                    host: self.http_host.or(now.host),
                    status: self.http_status.unwrap_or(now.status),
                    contains: self.http_contains.or(now.contains),
                })
            }
            _ if self.health_depth.is_some() => None,
            unchanged => unchanged,
        };
        let depth = match self.health_depth {
            Some(depth) => depth,
            // An HTTP check stands on the handshake.
            None if names_http => HealthDepth::L4,
            None => now.depth,
        };
        HealthProfile {
            depth,
            http,
            interval: self.health_interval.unwrap_or(now.interval),
            timeout: self.health_timeout.unwrap_or(now.timeout),
            rise: self.rise.unwrap_or(now.rise),
            fall: self.fall.unwrap_or(now.fall),
        }
    }
}

impl RemoveArgs {
    async fn run(self) -> Result<(), Failure> {
        let switch = self.to.switch().await?;
        let service = self.service;
        let done = self.to.perform(&*switch, Primitive::RemoveService(RemoveService { service })).await?;
        match self.to.style() {
            Style::Json => output::json(&done),
            Style::Human => {
                let cut = done.cut.unwrap_or_default();
                output::line(&format!("removed {service}, {cut} connections cut (generation {})", done.generation))
            }
        }
    }
}
