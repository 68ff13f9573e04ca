//! `show cache-group`, `show cache-hash`.

use std::net::IpAddr;

use super::texts::Text;
use crate::chassis::device::Device;
use crate::slb::block::{Block, BlockKind};
use crate::slb::report::ServerState;
use crate::slb::words::Name;

/// Size of the table (vendor's manual).
const BUCKETS: u32 = 512;

fn members(block: &Block) -> Vec<Name> {
    let named = block.lines.iter().filter_map(|(_, line)| line.strip_prefix("cache-name "));
    named.filter_map(|name| Name::new(name).ok()).collect()
}

fn masks(block: &Block) -> (String, String) {
    let line = block.lines.get("hash-mask").unwrap_or("hash-mask 255.255.255.0 0.0.0.0");
    let mut words = line.split(' ').skip(1).map(str::to_owned);
    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

/// `show cache-group`.
pub(crate) fn groups(device: &Device) -> Vec<String> {
    let mut screen = Vec::new();
    for (number, block) in device.config.blocks(BlockKind::CacheGroup) {
        let members = members(block);
        let states: Vec<ServerState> = members.iter().map(|name| device.balancer.real(name).state).collect();
        let active = states.iter().filter(|state| **state == ServerState::Active).count();
        let admin = if block.lines.get("disable").is_some() { "Disabled" } else { "Enabled" };
        let (destination, source) = masks(block);
        let values: [&dyn std::fmt::Display; 6] = [number, &members.len(), &admin, &active, &destination, &source];
        device.templates.write(&mut screen, Text::CacheGroup, &values);
        for (name, state) in members.iter().zip(states) {
            device.templates.write(&mut screen, Text::CacheServer, &[name, &(state as u8)]);
        }
    }
    screen
}

/// `show cache-hash G DIP SIP`: the bucket of two addresses under the group's masks.
pub(crate) fn hash(device: &Device, group: u32, destination: IpAddr, source: IpAddr) -> Vec<String> {
    let Ok(name) = Name::new(&group.to_string()) else { return Vec::new() };
    let Some(block) = device.config.block(BlockKind::CacheGroup, &name) else { return Vec::new() };
    let (destination_mask, source_mask) = masks(block);
    let sum = masked(destination, &destination_mask).wrapping_add(masked(source, &source_mask));
    let bucket = (sum ^ (sum >> 9) ^ (sum >> 18) ^ (sum >> 27)) % BUCKETS;
    let members = members(block);
    let active: Vec<&Name> =
        members.iter().filter(|name| device.balancer.real(name).state == ServerState::Active).collect();
    let server = if active.is_empty() { "empty" } else { active[bucket as usize % active.len()].as_str() };
    let values: [&dyn std::fmt::Display; 6] = [&group, &BUCKETS, &destination_mask, &source_mask, &bucket, &server];
    device.templates.lines(Text::CacheHash, &values)
}

fn masked(address: IpAddr, mask: &str) -> u32 {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u32::from(v4),
        IpAddr::V6(v6) => u128::from(v6) as u32,
    };
    bits(address) & mask.parse().map_or(u32::MAX, bits)
}
