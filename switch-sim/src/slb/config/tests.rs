//! Random changes keep the configuration in agreement with itself.

use proptest::prelude::*;

use super::*;
use crate::slb::change::{Change, Checked, Place};

impl Config {
    /// Everything that is kept twice is the same twice.
    fn audit(&self) {
        let mut pairs = BTreeSet::new();
        for (server, row) in self.virtuals.iter() {
            for (port, row) in &row.ports {
                for ((real, real_port), ()) in row.binds.iter() {
                    pairs.insert((server.clone(), *port, real.clone(), *real_port));
                }
            }
        }
        let mut back = BTreeSet::new();
        for (real, row) in self.reals.iter() {
            for (real_port, row) in &row.ports {
                assert!(!(row.leaving && row.is_bound()), "{real} {real_port} is leaving and bound");
                for (server, port) in row.bound_to() {
                    back.insert((server.clone(), port, real.clone(), *real_port));
                }
            }
        }
        assert_eq!(pairs, back);
        assert_eq!(self.binds, pairs.len());
        assert_eq!(self.real_ports, self.reals.iter().map(|(_, real)| real.ports.len()).sum::<usize>());
        assert_eq!(self.virtual_ports, self.virtuals.iter().map(|(_, server)| server.ports.len()).sum::<usize>());
        let addresses = self.reals.iter().map(|(name, real)| (real.address, name.clone()));
        let addresses = addresses.chain(self.virtuals.iter().map(|(name, server)| (server.address, name.clone())));
        assert_eq!(self.addresses, addresses.collect());
        assert!(self.reals.len() <= self.limits.reals && self.virtuals.len() <= self.limits.virtuals);
        assert!(self.binds <= self.limits.binds);
    }
}

fn names(prefix: &'static str) -> impl Strategy<Value = Name> {
    (0..4u8).prop_map(move |n| Name::new(&format!("{prefix}{n}")).expect("a name"))
}

fn ports() -> impl Strategy<Value = Port> {
    prop_oneof![Just(Port::DEFAULT), Just(Port::HTTP), Just(Port::SSL), Just(Port::new(8080))]
}

fn pairs() -> impl Strategy<Value = Vec<(Name, Port)>> {
    proptest::collection::vec((names("r"), ports()), 0..3)
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    (0..9u8).prop_map(|n| IpAddr::from([10, 0, 0, n]))
}

fn changes() -> impl Strategy<Value = Change> {
    let kind = prop_oneof![Just(RealKind::Local), Just(RealKind::Cache)];
    prop_oneof![
        (names("r"), addresses(), kind).prop_map(|(name, address, kind)| Change::AddReal { name, address, kind }),
        names("r").prop_map(|name| Change::RemoveReal { name }),
        names("r").prop_map(|name| Change::ForgetReal { name }),
        (names("r"), ports()).prop_map(|(real, port)| Change::AddRealPort { real, port }),
        (names("r"), ports()).prop_map(|(real, port)| Change::RemoveRealPort { real, port }),
        (names("r"), ports()).prop_map(|(real, port)| Change::ForgetRealPort { real, port }),
        (names("v"), addresses()).prop_map(|(name, address)| Change::AddVirtual { name, address }),
        names("v").prop_map(|name| Change::RemoveVirtual { name }),
        (names("v"), ports()).prop_map(|(server, port)| Change::AddVirtualPort { server, port }),
        (names("v"), ports()).prop_map(|(server, port)| Change::RemoveVirtualPort { server, port }),
        (names("v"), ports(), pairs()).prop_map(|(server, port, to)| Change::Bind { server, port, to }),
        (names("v"), ports(), pairs()).prop_map(|(server, port, from)| Change::Unbind { server, port, from }),
        (names("r"), ports(), any::<bool>()).prop_map(|(name, port, on)| Change::SetAdmin {
            place: Place::RealPort(name, port),
            admin: if on { Admin::Enabled } else { Admin::Disabled },
        }),
        (names("r"), proptest::option::of(0..9u32)).prop_map(|(real, weight)| Change::SetWeight { real, weight }),
        (names("v"), ports(), proptest::option::of("[a-c]")).prop_map(|(name, port, line)| Change::SetLine {
            place: Place::VirtualPort(name, port),
            key: "key".into(),
            line,
        }),
    ]
}

proptest! {
    #[test]
    fn changes_keep_it_consistent(changes in proptest::collection::vec(changes(), 0..60)) {
        let limits = Limits { reals: 3, virtuals: 3, ports: 8, binds: 5, blocks: 2, lines: 2 };
        let mut config = Config::new(limits);
        for change in changes {
            let before = format!("{config:?}");
            let checked = config.check(&change);
            config.apply(&change);
            config.audit();
            match checked {
                Ok(Checked::Needed) => {
                    // Done once, it is so, or cannot be done again.
                    prop_assert_ne!(config.check(&change), Ok(Checked::Needed), "{:?}", change);
                }
                Ok(Checked::AlreadySo) | Err(_) => {
                    prop_assert_eq!(before, format!("{:?}", config), "{:?}", change);
                }
            }
        }
    }
}
