//! Which box the emulator is.

use std::fmt;
use std::str::FromStr;

/// A model of switch. They differ in grammar, screens and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Personality {
    /// ServerIron XL with TrafficWorks 7: url-map, cookie and URL switching; no csw-rule.
    #[default]
    Xl,
    /// ServerIron ADX: csw-rule and csw-policy, roles, other screens.
    Adx,
    /// Our own switch behind a ServerIron's command line.
    Acm,
}

impl Personality {
    /// All of them.
    pub const ALL: [Personality; 3] = [Personality::Xl, Personality::Adx, Personality::Acm];

    /// As it is chosen: `serveriron-xl`.
    pub fn name(self) -> &'static str {
        match self {
            Personality::Xl => "serveriron-xl",
            Personality::Adx => "serveriron-adx",
            Personality::Acm => "acm",
        }
    }

    /// The most connections a real server may be allowed.
    pub fn max_conn_limit(self) -> u32 {
        match self {
            Personality::Xl => 1_000_000,
            Personality::Adx | Personality::Acm => 2_000_000,
        }
    }

    /// What stands before the lines of a virtual server in the configuration.
    pub fn virtual_indent(self) -> &'static str {
        match self {
            Personality::Xl => "  ",
            Personality::Adx | Personality::Acm => " ",
        }
    }
}

impl fmt::Display for Personality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no personality.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no personality `{0}`: serveriron-xl, serveriron-adx and acm are there")]
pub struct UnknownPersonality(String);

impl FromStr for Personality {
    type Err = UnknownPersonality;
    fn from_str(text: &str) -> Result<Personality, UnknownPersonality> {
        Personality::ALL.into_iter().find(|one| one.name() == text).ok_or_else(|| UnknownPersonality(text.to_owned()))
    }
}
