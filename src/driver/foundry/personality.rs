//! What kind of box it is, and what that kind can do.

use crate::ironware::Grammar;

/// Kinds of box, told apart by `show version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// ServerIron XL, 4G, GT, 350 to 850 (TrafficWorks, JetCore): what is not known to be another kind is this one.
    Xl,
    /// ServerIron ADX.
    Adx,
    /// The same command line on a switch of this kind.
    Acm,
}

impl Personality {
    /// Reads the answer of `show version`.
    pub(super) fn of(version: &str) -> Personality {
        let lower = version.to_ascii_lowercase();
        if lower.contains("acm switch") {
            Personality::Acm
        } else if lower.contains("adx") {
            Personality::Adx
        } else {
            Personality::Xl
        }
    }

    /// Whether servers may have IPv6 addresses.
    pub(super) fn knows_ipv6(self) -> bool {
        self != Personality::Xl
    }

    /// Whether `clear server session` reliably ends a server's connections.
    pub(super) fn cuts_reliably(self) -> bool {
        self != Personality::Xl
    }

    /// Which words it has for content.
    pub(super) fn grammar(self) -> Grammar {
        if self == Personality::Xl { Grammar::UrlMap } else { Grammar::Csw }
    }

    /// The largest `max-conn` that is a limit: the device's own maximum means none.
    pub(super) fn max_conn_max(self) -> u32 {
        match self {
            Personality::Xl => 999_999,
            Personality::Adx | Personality::Acm => 1_999_999,
        }
    }
}

impl std::fmt::Display for Personality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Personality::Xl => "a ServerIron XL",
            Personality::Adx => "a ServerIron ADX",
            Personality::Acm => "the command line of a switch",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let adx = "Brocade Communications Systems, Inc. ServerIron ADX 1008-1, TrafficWork Version 12.5.01gT401";
        assert_eq!(Personality::of(adx), Personality::Adx);
        assert_eq!(Personality::of("Foundry Networks, Inc. ServerIronXL, TrafficWorks Version 07.3"), Personality::Xl);
        assert_eq!(Personality::of("ACM switch 0.1.0"), Personality::Acm);
        assert_eq!(Personality::of(""), Personality::Xl);
    }
}
