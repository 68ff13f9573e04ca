//! Who else fulfils the contract: switches that are not in this process.
//!
//! * [`native`]: a switch of this kind, through its API on a Unix socket or TCP;
//! * [`foundry`]: a Foundry ServerIron, through its command line over telnet or SSH;
//! * [`haproxy`]: HAProxy, through its runtime API;
//! * [`url`]: the address of a switch, whoever speaks to it; `credentials`: secrets from files;
//! * [`target`]: where a native switch is; `link`: one connection to it; `resume`: its event stream, which survives
//!   lost connections;
//! * [`Registry`]: from a profile to a driver.
//!
//! The native driver shares with the server only the schema of the API. It starts no task: a connection is driven by
//! the call that uses it, so a client works on any Tokio runtime and leaves nothing behind when dropped.

mod credentials;
pub mod foundry;
pub mod haproxy;
mod link;
pub mod native;
mod resume;
pub mod target;
pub mod url;

use std::str::FromStr;

use crate::acm::connect::{Connect, SwitchProfile};
use crate::acm::error::AcmError;
use crate::acm::list::Filter;
use crate::acm::switch::{AcmSwitch, Answer};
use crate::base::text::quoted;
use native::NativeClient;
use target::Target;
use url::DriverUrl;

/// Every driver there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// A switch of this kind.
    Native,
    /// A Foundry ServerIron, through its command line.
    Foundry,
    /// HAProxy, through its runtime API.
    Haproxy,
}

impl Driver {
    /// Every driver's name and itself.
    const NAMES: &[(&str, Driver)] =
        &[("native", Driver::Native), ("foundry", Driver::Foundry), ("haproxy", Driver::Haproxy)];

    /// The driver for an address: the one it names, or else the one its scheme belongs to.
    ///
    /// # Errors
    /// `Invalid`, naming the drivers there are.
    pub fn of(url: &DriverUrl) -> Result<Driver, AcmError> {
        if let Some(name) = url.driver() {
            return name.parse();
        }
        match url.scheme() {
            "unix" | "http" => Ok(Driver::Native),
            "telnet" | "ssh" => Ok(Driver::Foundry),
            other => {
                let why = format!(
                    "`{other}:` does not say who speaks to the switch; write unix:PATH or http://HOST:PORT, or add \
                     ?driver=NAME"
                );
                Err(AcmError::invalid("switch", why))
            }
        }
    }
}

impl Driver {
    /// The name it is chosen by.
    pub fn name(self) -> &'static str {
        Driver::NAMES.iter().find(|(_, driver)| *driver == self).map_or("", |(name, _)| name)
    }
}

impl FromStr for Driver {
    type Err = AcmError;

    fn from_str(name: &str) -> Result<Driver, AcmError> {
        let found = Driver::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, driver)| *driver).ok_or_else(|| {
            let known: Vec<_> = Driver::NAMES.iter().map(|(name, _)| *name).collect();
            AcmError::invalid(
                "driver",
                format!("there is no driver {}; choose one of {}", quoted(name), known.join(", ")),
            )
        })
    }
}

/// From a profile to a switch, by whichever driver its address asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Registry;

impl Connect for Registry {
    fn connect<'a>(&'a self, profile: &'a SwitchProfile) -> Answer<'a, Result<Box<dyn AcmSwitch>, AcmError>> {
        Box::pin(async move {
            let url: DriverUrl = profile.url.parse()?;
            match Driver::of(&url)? {
                Driver::Native => native_switch(&url, profile).await,
                Driver::Foundry => foundry::connect(&url, profile).await,
                Driver::Haproxy => haproxy::connect(&url, profile).await,
            }
        })
    }
}

async fn native_switch(url: &DriverUrl, profile: &SwitchProfile) -> Result<Box<dyn AcmSwitch>, AcmError> {
    let token = profile.credentials.token.as_ref().map(|token| token.expose().to_owned());
    let client = NativeClient::new(Target::try_from(url)?, token);
    // One binding's list is the cheapest question that needs a token and a living switch.
    let nobody = Filter { service: Some(nowhere()), ..Filter::default() };
    client.list(&nobody).await?;
    Ok(Box::new(client))
}

/// A service no switch can have: its address is not one a host can own.
fn nowhere() -> crate::acm::words::ServiceKey {
    crate::acm::words::ServiceKey::tcp(std::net::SocketAddr::from(([0, 0, 0, 0], 0)))
}
