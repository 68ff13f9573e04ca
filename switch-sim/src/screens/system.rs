//! Screens of the device itself: version, sessions, users, log, addresses.

use std::time::Duration;

use super::texts::Text;
use crate::chassis::device::Device;
use crate::shell::{SessionId, Transport};
use crate::slb::report::Mac;
use crate::time::Time;

fn uptime(since: Duration) -> String {
    let seconds = since.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{days} days {hours} hours {minutes} minutes {} seconds", seconds % 60)
}

/// `show version`.
pub(crate) fn version(device: &Device, now: Time) -> Vec<String> {
    let up = uptime(now.since(device.booted_at));
    device.templates.lines(Text::Version, &[&device.host, &env!("CARGO_PKG_VERSION"), &device.settings.started, &up])
}

/// `show clock`: the moment of the start and how long ago that was, for a device without a clock.
pub(crate) fn clock(device: &Device, now: Time) -> Vec<String> {
    device.templates.lines(Text::Clock, &[&device.settings.started, &uptime(now.since(Time::ZERO))])
}

/// `show who`.
pub(crate) fn who(device: &Device, own: SessionId, now: Time) -> Vec<String> {
    let mut screen = device.templates.lines(Text::WhoConsole, &[]);
    for (transport, head) in [(Transport::Telnet, Text::WhoTelnet), (Transport::Ssh, Text::WhoSsh)] {
        device.templates.write(&mut screen, head, &[]);
        for (id, session) in &device.sessions {
            let Some(origin) = session.origin.filter(|origin| origin.transport == transport) else { continue };
            let peer = origin.peer.map_or("-".into(), |peer| peer.to_string());
            let user = session.user.as_deref().unwrap_or("-");
            let privilege = match session.level.0 {
                0 => "super-user",
                1..=4 => "port-config",
                _ => "read-only",
            };
            let config = if session.mode.is_config() { ", in config mode" } else { "" };
            device.templates.write(&mut screen, Text::WhoRow, &[&id.0, &peer, &user, &privilege, &config]);
            if *id == own {
                device.templates.write(&mut screen, Text::WhoOwn, &[]);
            }
            let idle = now.since(session.last_input).as_secs();
            device.templates.write(&mut screen, Text::WhoIdle, &[&idle]);
        }
    }
    screen
}

/// `show users`.
pub(crate) fn users(device: &Device) -> Vec<String> {
    let mut screen = device.templates.lines(Text::UsersHead, &[]);
    for user in &device.access.users {
        device.templates.write(&mut screen, Text::UsersRow, &[&user.name, &user.level.0]);
    }
    screen
}

/// `show logging`.
pub(crate) fn log(device: &Device) -> Vec<String> {
    let mut screen = device.templates.lines(Text::LogHead, &[&device.log.len()]);
    for (at, text) in &device.log {
        let at = uptime(at.since(Time::ZERO));
        device.templates.write(&mut screen, Text::LogRow, &[&at, text]);
    }
    screen
}

/// `show arp`: the real servers that have answered.
pub(crate) fn arp(device: &Device) -> Vec<String> {
    let mut screen = Vec::new();
    let known = device.config.reals().filter_map(|(name, real)| Some((real.address, device.balancer.real(name).mac?)));
    let known: Vec<_> = known.collect();
    device.templates.write(&mut screen, Text::ArpHead, &[&known.len()]);
    for (n, (address, mac)) in known.into_iter().enumerate() {
        device.templates.write(&mut screen, Text::ArpRow, &[&(n + 1), &address, &Mac(mac)]);
    }
    screen
}

/// `show ip`.
pub(crate) fn ip(device: &Device) -> Vec<String> {
    let line = |key: &str| device.config.system().get(key).and_then(|line| line.strip_prefix(key));
    let word = |line: Option<&str>, n: usize| {
        line.and_then(|line| line.split_whitespace().nth(n)).unwrap_or("0.0.0.0").to_owned()
    };
    let address = line("ip address");
    let gateway = line("ip default-gateway");
    device.templates.lines(Text::Ip, &[&word(address, 0), &word(address, 1), &word(gateway, 0)])
}
