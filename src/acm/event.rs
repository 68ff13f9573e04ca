//! What happened, as data: everything that happens to bindings and services, in one order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::list::State;
use super::words::{BindingKey, ServiceKey};
use crate::base::addr::serde_as_text;
use crate::base::fraction::Fraction;
use crate::base::id::{BindingId, Generation};
use crate::base::text::quoted;
use crate::base::time::WallMillis;

/// The place of an event in one run of one switch: `boot.number`. Numbers grow by one, so a gap is a loss; the
/// boot part changes at each start, so a subscriber that comes back learns that the switch forgot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Chosen at random at each start of the switch.
    pub boot: u32,
    /// From 1.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}", self.boot, self.number)
    }
}

impl FromStr for EventId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{} is not an event id", quoted(text));
        let (boot, number) = text.split_once('.').ok_or_else(wrong)?;
        if boot.len() != 8 {
            return Err(wrong());
        }
        Ok(EventId {
            boot: u32::from_str_radix(boot, 16).map_err(|_| wrong())?,
            number: number.parse().map_err(|_| wrong())?,
        })
    }
}

serde_as_text!(EventId);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Its place.
    #[schema(value_type = String, example = "5f0c21aa.17")]
    pub id: EventId,
    /// When, in milliseconds since 1970 UTC.
    pub at: WallMillis,
    /// The table in force when it happened.
    pub generation: Generation,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A service exists now.
    ServiceCreated {
        /// Which.
        #[schema(value_type = String, example = "10.0.0.100:80")]
        service: ServiceKey,
    },
    /// A service's options changed.
    ServiceChanged {
        /// Which.
        #[schema(value_type = String, example = "10.0.0.100:80")]
        service: ServiceKey,
    },
    /// A service's content rules are others now, or in another order.
    RulesChanged {
        /// Which service.
        #[schema(value_type = String, example = "10.0.0.100:80")]
        service: ServiceKey,
        /// How many it has now.
        rules: usize,
    },
    /// A service is gone, with its bindings.
    ServiceRemoved {
        /// Which.
        #[schema(value_type = String, example = "10.0.0.100:80")]
        service: ServiceKey,
    },
    /// A binding exists now, or a draining one was added again.
    Added {
        /// Which.
        #[serde(flatten)]
        binding: BindingKey,
        /// Its identity; `binding` in JSON, because `id` there is the event's.
        #[serde(rename = "binding")]
        id: BindingId,
    },
    /// An Add changed a binding's options.
    Changed {
        /// Which.
        #[serde(flatten)]
        binding: BindingKey,
        /// Its identity; `binding` in JSON, because `id` there is the event's.
        #[serde(rename = "binding")]
        id: BindingId,
    },
    /// A binding's state changed.
    State {
        /// Which.
        #[serde(flatten)]
        binding: BindingKey,
        /// Its identity; `binding` in JSON, because `id` there is the event's.
        #[serde(rename = "binding")]
        id: BindingId,
        /// From.
        from: State,
        /// To.
        to: State,
        /// Why, in plain words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A removed binding has no connection left; its row is gone.
    Drained {
        /// Which.
        #[serde(flatten)]
        binding: BindingKey,
        /// Its identity; `binding` in JSON, because `id` there is the event's.
        #[serde(rename = "binding")]
        id: BindingId,
    },
    /// A binding was cut; its row is gone.
    ForceRemoved {
        /// Which.
        #[serde(flatten)]
        binding: BindingKey,
        /// Its identity; `binding` in JSON, because `id` there is the event's.
        #[serde(rename = "binding")]
        id: BindingId,
        /// Connections cut.
        cut: u64,
    },
    /// A Drop policy was set, changed, cleared (`fraction` 0) or ran out (`fraction` 0).
    Drop {
        /// Which service.
        #[schema(value_type = String, example = "10.0.0.100:80")]
        service: ServiceKey,
        /// Which clients.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, example = "198.51.100.0/24")]
        from: Option<ipnet::IpNet>,
        /// The fraction in force now.
        fraction: Fraction,
    },
    /// Events before this one were forgotten, or the switch restarted: List again.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_survive_their_text() {
        let id = EventId { boot: 0xbeef, number: 42 };
        assert_eq!(id.to_string(), "0000beef.42");
        assert_eq!("0000beef.42".parse::<EventId>().unwrap(), id);
        for bad in ["", "1.2", "0000beef", "0000beef.x", "zzzzzzzz.1"] {
            assert!(bad.parse::<EventId>().is_err(), "{bad}");
        }
    }
}
