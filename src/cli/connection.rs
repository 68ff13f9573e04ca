//! Which switch a verb speaks to, with what token, and for whom it prints. The same options for every verb.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::output::Style;
use crate::acm::error::AcmError;
use crate::acm::primitive::{Caller, Done, Primitive};
use crate::acm::switch::perform;
use crate::api::auth::Tokens;
use crate::driver::native::NativeClient;
use crate::driver::target::Target;

/// Options every verb has.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The switch: unix:PATH or http://HOST:PORT
    #[arg(
        long,
        env = "ACM_SWITCH",
        default_value = "unix:/run/acm/switch.sock",
        value_name = "URL",
        help_heading = "Connection"
    )]
    switch: Target,
    /// File whose first token is presented (mode 0600); or put the token into ACM_TOKEN
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

impl Connection {
    /// For whom to print.
    pub(super) fn style(&self) -> Style {
        if self.json { Style::Json } else { Style::Human }
    }

    /// The client; it connects when first used.
    pub(super) fn client(&self) -> Result<NativeClient, Failure> {
        let token = match &self.token_file {
            Some(path) => Some(Tokens::first_of(path).map_err(|why| Failure::Setup(why.to_string()))?),
            None => std::env::var("ACM_TOKEN").ok().filter(|token| !token.is_empty()),
        };
        Ok(NativeClient::new(self.switch.clone(), token))
    }

    /// Performs one primitive as an operator.
    pub(super) async fn perform(&self, client: &NativeClient, primitive: Primitive) -> Result<Done, AcmError> {
        perform(client, &Caller::default(), primitive).await
    }
}
