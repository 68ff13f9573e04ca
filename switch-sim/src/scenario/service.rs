//! Who serves a port of a virtual server: bound, and neither disabled nor on the way out.

use std::collections::BTreeSet;

use crate::slb::balancer::SlbBox;
use crate::slb::config::Config;
use crate::slb::words::{Admin, Name, Port};

/// The real servers in service behind `port` of a virtual server.
pub(super) fn in_service(config: &Config, server: &Name, port: Port) -> BTreeSet<Name> {
    let Some(row) = config.virtual_server(server).and_then(|server| server.ports.get(&port)) else {
        return BTreeSet::new();
    };
    let serves = |real: &Name, real_port: Port| {
        config.real(real).is_some_and(|real| {
            let port = real.ports.get(&real_port);
            real.admin == Admin::Enabled && port.is_some_and(|port| port.admin == Admin::Enabled)
        })
    };
    let pairs = row.binds.iter().map(|(pair, ())| pair);
    pairs.filter(|(real, port)| serves(real, *port)).map(|(real, _)| real.clone()).collect()
}

/// The connections of all ports of a real server.
pub(super) fn connections(config: &Config, balancer: &dyn SlbBox, real: &Name) -> u64 {
    let ports = config.real(real).into_iter().flat_map(|real| real.ports.keys());
    ports.map(|port| balancer.real_port(real, *port).counters.current).sum()
}

/// A name that is a constant here.
pub(super) fn name(text: &str) -> Option<Name> {
    Name::new(text).ok()
}

/// The servers of the prepared configurations.
pub(super) fn serving_v1(config: &Config) -> BTreeSet<String> {
    let serving = name("v1").map(|v1| in_service(config, &v1, Port::HTTP)).unwrap_or_default();
    serving.iter().map(Name::to_string).collect()
}
