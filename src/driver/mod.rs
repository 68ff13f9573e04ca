//! Who else fulfils the contract: switches that are not in this process.
//!
//! * [`native`]: a switch of this kind, through its API on a Unix socket or TCP;
//! * [`target`]: where such a switch is; `link`: one connection to it; `resume`: its event stream, which survives
//!   lost connections;
//! * [`Registry`]: from a profile to a driver.
//!
//! A driver shares with the server only the schema of the API. It starts no task: a connection is driven by the call
//! that uses it, so a client works on any Tokio runtime and leaves nothing behind when dropped.

mod link;
pub mod native;
mod resume;
pub mod target;

use crate::acm::connect::{Connect, SwitchProfile};
use crate::acm::error::AcmError;
use crate::acm::list::Filter;
use crate::acm::switch::{AcmSwitch, Answer};
use native::NativeClient;

/// Every driver there is, chosen by the scheme of the profile's URL.
#[derive(Debug, Clone, Copy, Default)]
pub struct Registry;

impl Connect for Registry {
    fn connect<'a>(&'a self, profile: &'a SwitchProfile) -> Answer<'a, Result<Box<dyn AcmSwitch>, AcmError>> {
        Box::pin(async move {
            let client = NativeClient::new(profile.url.parse()?, profile.token.clone());
            // One binding's list is the cheapest question that needs a token and a living switch.
            let nobody = Filter { service: Some(nowhere()), ..Filter::default() };
            client.list(&nobody).await?;
            Ok(Box::new(client) as Box<dyn AcmSwitch>)
        })
    }
}

/// A service no switch can have: its address is not one a host can own.
fn nowhere() -> crate::acm::words::ServiceKey {
    crate::acm::words::ServiceKey::tcp(std::net::SocketAddr::from(([0, 0, 0, 0], 0)))
}
