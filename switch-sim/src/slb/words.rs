//! The words of an SLB configuration: names, ports, kinds, predictors.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name of a real or virtual server (`L4ServerName` of the MIB; what operators met on real boxes).
pub const NAME_MAX: usize = 32;

/// A name on the device: 1 to [`NAME_MAX`] printable ASCII characters without blanks and double quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a word is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAName {
    /// No character at all.
    Empty,
    /// More than the device keeps.
    TooLong,
    /// A character that cannot stand in a line of the configuration: a blank, a quote, or not printable ASCII.
    Character,
}

impl Name {
    /// A name of at most [`NAME_MAX`] characters.
    ///
    /// # Errors
    /// If `text` is no name.
    pub fn new(text: &str) -> Result<Name, NotAName> {
        Name::up_to(text, NAME_MAX)
    }

    /// A name of at most `longest` characters: rules of content switching have up to 80.
    ///
    /// # Errors
    /// If `text` is no name.
    pub fn up_to(text: &str, longest: usize) -> Result<Name, NotAName> {
        match text {
            "" => Err(NotAName::Empty),
            _ if text.len() > longest => Err(NotAName::TooLong),
            _ if text.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'"') => Err(NotAName::Character),
            _ => Ok(Name(text.into())),
        }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;
    fn from_str(text: &str) -> Result<Name, NotAName> {
        Name::new(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The names the device prints instead of numbers; it reads both. Sources: the port names of the vendor's manuals.
const PORT_NAMES: [(&str, u16); 11] = [
    ("default", 0),
    ("ftp", 21),
    ("telnet", 23),
    ("smtp", 25),
    ("dns", 53),
    ("tftp", 69),
    ("http", 80),
    ("pop3", 110),
    ("imap4", 143),
    ("ldap", 389),
    ("ssl", 443),
];

/// Ports that the device knows without a profile; every other one it takes for UDP when it checks health.
const WELL_KNOWN: [u16; 26] = [
    21, 22, 23, 25, 53, 69, 80, 109, 110, 119, 123, 143, 161, 389, 443, 554, 636, 993, 995, 1645, 1755, 1812, 3389,
    5060, 5061, 7070,
];

/// An application port of a real or virtual server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(u16);

impl Port {
    /// `default`: every port that is not configured by itself.
    pub const DEFAULT: Port = Port(0);
    /// `http`, 80.
    pub const HTTP: Port = Port(80);
    /// `ssl`, 443.
    pub const SSL: Port = Port(443);

    /// The port of this number; 0 is [`Port::DEFAULT`].
    pub const fn new(number: u16) -> Port {
        Port(number)
    }

    /// The number on the wire; 0 for [`Port::DEFAULT`].
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether the device knows this port without a profile.
    pub fn is_well_known(self) -> bool {
        WELL_KNOWN.contains(&self.0)
    }

    /// Every name that stands for a port.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PORT_NAMES.iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PORT_NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.pad(name),
            None => f.pad(&self.0.to_string()),
        }
    }
}

/// A word that is neither a port number (1 to 65535) nor the name of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAPort;

impl FromStr for Port {
    type Err = NotAPort;
    fn from_str(word: &str) -> Result<Port, NotAPort> {
        if let Some((_, number)) = PORT_NAMES.iter().find(|(name, _)| *name == word) {
            return Ok(Port(*number));
        }
        let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { word.parse().map_err(|_| NotAPort)? } else { 0 };
        if number == 0 { Err(NotAPort) } else { Ok(Port(number)) }
    }
}

/// Where a real server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RealKind {
    /// `server real`: on a network of the device.
    Local,
    /// `server remote-name`: behind a router.
    Remote,
    /// `server cache-name`: a cache.
    Cache,
}

impl RealKind {
    /// The keyword in the configuration.
    pub fn keyword(self) -> &'static str {
        match self {
            RealKind::Local => "real",
            RealKind::Remote => "remote-name",
            RealKind::Cache => "cache-name",
        }
    }
}

/// What the operator wants of a server or a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Admin {
    /// In service.
    #[default]
    Enabled,
    /// `disable`: no new connection; what there is ends by itself.
    Disabled,
}

/// Whether a client stays with its real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sticky {
    /// Yes.
    On,
    /// No.
    Off,
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP; also where the configuration says nothing.
    Tcp,
    /// UDP: `server port N` says so.
    Udp,
}

/// How a real server is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "the keywords say it")]
pub enum Predictor {
    #[default]
    LeastConn,
    RoundRobin,
    Weighted,
    WeightedRoundRobin,
    EnhancedWeighted,
    LeastLocalConn,
    LeastLocalSess,
    ResponseTime,
    DynamicWeightedDirect,
    DynamicWeightedReverse,
}

impl Predictor {
    /// Every predictor.
    pub const ALL: [Predictor; 10] = [
        Predictor::LeastConn,
        Predictor::RoundRobin,
        Predictor::Weighted,
        Predictor::WeightedRoundRobin,
        Predictor::EnhancedWeighted,
        Predictor::LeastLocalConn,
        Predictor::LeastLocalSess,
        Predictor::ResponseTime,
        Predictor::DynamicWeightedDirect,
        Predictor::DynamicWeightedReverse,
    ];

    /// The keyword (for the dynamic ones: two).
    pub fn keyword(self) -> &'static str {
        match self {
            Predictor::LeastConn => "least-conn",
            Predictor::RoundRobin => "round-robin",
            Predictor::Weighted => "weighted",
            Predictor::WeightedRoundRobin => "weighted-round-robin",
            Predictor::EnhancedWeighted => "enhanced-weighted",
            Predictor::LeastLocalConn => "least-local-conn",
            Predictor::LeastLocalSess => "least-local-sess",
            Predictor::ResponseTime => "response-time",
            Predictor::DynamicWeightedDirect => "dynamic-weighted direct",
            Predictor::DynamicWeightedReverse => "dynamic-weighted reverse",
        }
    }
}

impl fmt::Display for Predictor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.keyword())
    }
}
