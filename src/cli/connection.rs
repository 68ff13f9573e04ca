//! Which switch a verb speaks to, with what secrets, and for whom it prints. The same options for every verb and every
//! driver.

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::output::Style;
use crate::acm::connect::{Connect, Credentials, SwitchProfile};
use crate::acm::error::{AcmError, Feature};
use crate::acm::primitive::{Caller, Done, Primitive};
use crate::acm::switch::{AcmSwitch, perform};
use crate::acm::validate;
use crate::api::auth::Tokens;
use crate::base::secret::Secret;
use crate::driver::native::NativeClient;
use crate::driver::target::Target;
use crate::driver::url::DriverUrl;
use crate::driver::{Driver, Registry};

/// Options every verb has.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The switch: unix:PATH, http://HOST:PORT, or SCHEME://[USER@]HOST[:PORT]?driver=NAME
    #[arg(
        long,
        env = "ACM_SWITCH",
        default_value = "unix:/run/acm/switch.sock",
        value_name = "URL",
        value_parser = address_of_a_switch,
        help_heading = "Connection"
    )]
    switch: DriverUrl,
    /// File whose first token is presented (mode 0600); or put the token into ACM_TOKEN
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    token_file: Option<PathBuf>,
    /// Write a transcript of the conversation with the switch, secrets masked (drivers of command lines)
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    record: Option<PathBuf>,
    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// An address that some driver knows what to do with.
fn address_of_a_switch(text: &str) -> Result<DriverUrl, AcmError> {
    let url: DriverUrl = text.parse()?;
    match Driver::of(&url)? {
        Driver::Native => Target::try_from(&url).map(drop)?,
        Driver::Foundry | Driver::Haproxy => {}
    }
    Ok(url)
}

/// A secret from the environment; an empty one is none.
fn from_environment(name: &str) -> Option<Secret> {
    std::env::var(name).ok().filter(|secret| !secret.is_empty()).map(Secret::from)
}

/// The secrets a person gives: a token from this file or `ACM_TOKEN`, passwords from `ACM_PASSWORD` and
/// `ACM_ENABLE_PASSWORD`.
pub(super) fn credentials(token_file: Option<&Path>) -> Result<Credentials, Failure> {
    Ok(Credentials {
        token: token(token_file)?,
        password: from_environment("ACM_PASSWORD"),
        enable_password: from_environment("ACM_ENABLE_PASSWORD"),
    })
}

fn token(file: Option<&Path>) -> Result<Option<Secret>, Failure> {
    match file {
        Some(path) => Ok(Some(Tokens::first_of(path).map_err(|why| Failure::Setup(why.to_string()))?.into())),
        None => Ok(from_environment("ACM_TOKEN")),
    }
}

impl Connection {
    /// For whom to print.
    pub(super) fn style(&self) -> Style {
        if self.json { Style::Json } else { Style::Human }
    }

    /// The switch, whoever speaks to it.
    pub(super) async fn switch(&self) -> Result<Box<dyn AcmSwitch>, Failure> {
        if self.driver()? == Driver::Native {
            // It connects when first used, and its first use is what the verb asks.
            return Ok(Box::new(self.native()?));
        }
        let credentials = credentials(self.token_file.as_deref())?;
        let name = "switch".parse().map_err(|why: crate::base::id::NotAName| Failure::Setup(why.to_string()))?;
        let record = self.record.clone();
        let profile = SwitchProfile { credentials, record, ..SwitchProfile::new(name, self.switch.to_string()) };
        Ok(Registry.connect(&profile).await?)
    }

    /// A native switch, for what only those can show.
    pub(super) fn inspectable(&self, feature: Feature) -> Result<NativeClient, Failure> {
        match self.driver()? {
            Driver::Native => self.native(),
            _ => Err(AcmError::unsupported(feature, "only a switch of this kind shows it").into()),
        }
    }

    fn driver(&self) -> Result<Driver, Failure> {
        Ok(Driver::of(&self.switch)?)
    }

    fn native(&self) -> Result<NativeClient, Failure> {
        if self.record.is_some() {
            let why = "is for drivers of command lines; use `acm capture` here";
            return Err(Failure::Usage(AcmError::invalid("--record", why)));
        }
        let token = token(self.token_file.as_deref())?.map(|token| token.expose().to_owned());
        Ok(NativeClient::new(Target::try_from(&self.switch)?, token))
    }

    /// Performs one primitive as an operator. What no switch would take is told without asking one.
    pub(super) async fn perform(&self, switch: &dyn AcmSwitch, primitive: Primitive) -> Result<Done, Failure> {
        validate::check(&primitive).map_err(Failure::Usage)?;
        Ok(perform(switch, &Caller::default(), primitive).await?)
    }
}
