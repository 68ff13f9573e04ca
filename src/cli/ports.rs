//! The ports of `acm switch`: how they are opened, and the trouble that tests make on them.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::config::SwitchConfig;
use super::failure::Failure;
use crate::base::span::Span;
use crate::base::text::{cut, quoted};
use crate::port::Port;
use crate::port::af_packet::{AfPacket, Options};
use crate::port::fault::{FaultPort, Faults};
use crate::port::pnet::PnetPort;

/// How frames are taken from an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PortKind {
    /// Linux AF_PACKET, with offloads
    #[default]
    AfPacket,
    /// The portable port, without offloads: switch them off at the peers
    Pnet,
}

/// Trouble on one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortFault {
    port: String,
    faults: Faults,
    seed: u64,
}

impl FromStr for PortFault {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (port, words) = text.split_once(':').ok_or("write PORT:FAULTS, for example s1:loss=5,seed=7")?;
        let (mut faults, mut seed) = (Faults::NONE, 1);
        for word in words.split(',') {
            let (key, value) = word.split_once('=').ok_or(format!("{} is not KEY=VALUE", quoted(word)))?;
            let percent = || match value.parse::<f64>() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
                _ => Err(format!("{}: {} is not a percentage from 0 to 100", cut(key), quoted(value))),
            };
            faults = match key {
                "loss" => faults.lose_percent(percent()?),
                "duplicate" => faults.duplicate_percent(percent()?),
                "reorder" => faults.reorder_percent(percent()?),
                "corrupt" => faults.corrupt_percent(percent()?),
                "delay" => delay(faults, value)?,
                "seed" => {
                    seed = value.parse().map_err(|_| format!("seed: {} is not a number", quoted(value)))?;
                    faults
                }
                _ => {
                    return Err(format!(
                        "{} is not a fault; there are loss, duplicate, reorder, corrupt, delay, seed",
                        quoted(key)
                    ));
                }
            };
        }
        Ok(PortFault { port: port.to_owned(), faults, seed })
    }
}

fn delay(faults: Faults, value: &str) -> Result<Faults, String> {
    let span = |text: &str| text.parse::<Span>().map(|span| span.0).map_err(|why| format!("delay: {why}"));
    let (least, most): (Duration, Duration) = match value.split_once('-') {
        Some((least, most)) => (span(least)?, span(most)?),
        None => (span(value)?, span(value)?),
    };
    Ok(faults.delay(least, most))
}

/// Opens the ports of a configuration, in order.
///
/// # Errors
/// A port cannot be opened; trouble is wished for on a port that is none.
pub(super) fn open(config: &SwitchConfig) -> Result<Vec<Box<dyn Port>>, Failure> {
    if let Some(fault) = config.faults.iter().find(|fault| !config.ports.contains(&fault.port)) {
        return Err(Failure::Setup(format!("fault: {} is not one of the switch's ports", quoted(&fault.port))));
    }
    config.ports.iter().map(|name| open_one(config, name)).collect()
}

fn open_one(config: &SwitchConfig, name: &str) -> Result<Box<dyn Port>, Failure> {
    let setup = |why: &dyn std::fmt::Display| Failure::Setup(format!("port {name}: {why}"));
    let port: Box<dyn Port> = match config.port_kind {
        PortKind::AfPacket => Box::new(AfPacket::open(name, Options::default()).map_err(|why| setup(&why))?),
        PortKind::Pnet => Box::new(PnetPort::open(name).map_err(|why| setup(&why))?),
    };
    Ok(match config.faults.iter().find(|fault| fault.port == name) {
        Some(fault) => Box::new(FaultPort::new(port, fault.seed).both_ways(fault.faults)),
        None => port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_strictly() {
        let fault: PortFault = "s1:loss=5,delay=1ms-5ms,seed=7".parse().unwrap();
        assert_eq!((fault.port.as_str(), fault.seed), ("s1", 7));
        for bad in ["s1", "s1:", "s1:loss", "s1:loss=101", "s1:los=1", "s1:delay=5", "s1:seed=x"] {
            assert!(bad.parse::<PortFault>().is_err(), "{bad}");
        }
    }
}
