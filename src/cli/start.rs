//! Starting the switch of this process: from a valid configuration to running workers.

#![allow(clippy::disallowed_methods)]

use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;

use super::config::SwitchConfig;
use super::failure::Failure;
use super::ports;
use crate::acm::switch::InspectableSwitch;
use crate::content::token::{Key, Keys};
use crate::plane::PlaneConfig;
use crate::plane::tcp::Timeouts;
use crate::switch::local::{LocalConfig, LocalSwitch};

/// Opens the ports and starts the switch on them.
///
/// # Errors
/// A port cannot be opened, or the kernel owns an address that is to be the switch's.
pub(super) async fn start(config: SwitchConfig) -> Result<Arc<dyn InspectableSwitch>, Failure> {
    refuse_kernel_addresses(&config)?;
    let local = local_config(&config)?;
    let (switch, task) = LocalSwitch::start(local, ports::open(&config)?)?;
    tokio::spawn(task.run());
    Ok(switch)
}

fn local_config(config: &SwitchConfig) -> Result<LocalConfig, Failure> {
    let mac = config.mac_or_default(&machine_id());
    let addresses: Vec<IpAddr> = config.addresses.iter().map(|net| net.addr()).collect();
    let mut plane = PlaneConfig::new(mac, addresses.clone(), 0);
    plane.secret = [random()?, random()?];
    plane.seed = random()?;
    plane.cookie_keys = match config.cookie_keys().map_err(|why| Failure::Setup(why.to_string()))? {
        Some(keys) => keys,
        None => Keys {
            current: Key::of_secret(&[random()?, random()?, random()?, random()?].map(u64::to_ne_bytes).concat()),
            previous: None,
        },
    };
    plane.flows_max = config.flows.max as usize;
    plane.timeouts = Timeouts {
        established: config.timeouts.established.0,
        embryonic: config.timeouts.embryonic.0,
        closed: config.timeouts.closing.0,
        udp: config.timeouts.udp.0,
        ..Timeouts::default()
    };
    Ok(LocalConfig { mac, addresses, plane, boot: random()? as u32, seed: random()? })
}

/// The kernel would answer for the address too, with another MAC: two stations with one address.
fn refuse_kernel_addresses(config: &SwitchConfig) -> Result<(), Failure> {
    let interfaces = pnet::datalink::interfaces();
    let reserved = config.addresses.iter().map(|net| net.addr());
    let services = config.services.iter().map(|set| set.service.vip());
    let bound = config.bindings.iter().map(|add| add.service.vip());
    for ip in reserved.chain(services).chain(bound) {
        if let Some(interface) = interfaces.iter().find(|interface| interface.ips.iter().any(|net| net.ip() == ip)) {
            return Err(Failure::Setup(format!(
                "{ip} is an address of this machine's {}; remove it there (ip addr del), or give the switch another",
                interface.name
            )));
        }
    }
    Ok(())
}

/// What tells this machine from others, for a MAC that stays the same from start to start.
fn machine_id() -> String {
    let named = ["/etc/machine-id", "/proc/sys/kernel/hostname"];
    named.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
}

/// Bits nobody outside can guess.
fn random() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
