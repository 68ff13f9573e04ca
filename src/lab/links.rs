//! Cables and addresses: netlink from inside a namespace.

use std::io;
use std::net::IpAddr;

use rtnetlink::packet_route::link::InfoBridge;
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::namespace::Namespace;

/// A cable between two namespaces: `name` here and `other_name` there, both up.
///
/// # Errors
/// The system's, as netlink words it.
pub fn cable(here: &Namespace, name: &str, other: &Namespace, other_name: &str) -> io::Result<()> {
    let there = other.fd();
    talk(here, async |links| {
        links.link().add(LinkVeth::new(name, other_name).build()).execute().await?;
        let message = LinkUnspec::new_with_name(other_name).setns_by_fd(there).build();
        links.link().set(message).execute().await?;
        links.link().set(LinkUnspec::new_with_name(name).up().build()).execute().await
    })?;
    set_up(other, other_name)
}

/// Brings an interface up.
///
/// # Errors
/// The system's.
pub fn set_up(here: &Namespace, name: &str) -> io::Result<()> {
    talk(here, async |links| links.link().set(LinkUnspec::new_with_name(name).up().build()).execute().await)
}

/// Takes an interface down, as if its cable were pulled.
///
/// # Errors
/// The system's.
pub fn set_down(here: &Namespace, name: &str) -> io::Result<()> {
    talk(here, async |links| links.link().set(LinkUnspec::new_with_name(name).down().build()).execute().await)
}

/// A bridge, up, that floods multicast: nobody there would ask who listens, and then listeners are forgotten.
///
/// # Errors
/// The system's.
pub fn bridge(here: &Namespace, name: &str) -> io::Result<()> {
    talk(here, async |links| {
        let floods = InfoBridge::MulticastSnooping(false);
        let message = LinkMessageBuilder::<LinkBridge>::new(name).append_info_data(floods).up().build();
        links.link().add(message).execute().await
    })
}

/// Makes an interface a port of a bridge.
///
/// # Errors
/// The system's; no such bridge.
pub fn attach(here: &Namespace, name: &str, bridge: &str) -> io::Result<()> {
    let bridge = index(here, bridge)?;
    let message = LinkUnspec::new_with_name(name).controller(bridge).build();
    talk(here, async |links| links.link().set(message).execute().await)
}

fn index(here: &Namespace, name: &str) -> io::Result<u32> {
    here.run(|| {
        let found = pnet::datalink::interfaces().into_iter().find(|interface| interface.name == name);
        found.map(|interface| interface.index).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    })
}

/// Gives an interface an address.
///
/// # Errors
/// The system's; no such interface.
pub fn address(here: &Namespace, name: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    let index = index(here, name)?;
    talk(here, async |links| links.address().add(index, address, prefix).execute().await)
}

/// Talks to the kernel from inside a namespace.
fn talk<F>(here: &Namespace, ask: F) -> io::Result<()>
where
    F: AsyncFnOnce(Handle) -> Result<(), rtnetlink::Error> + Send,
{
    here.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection()?;
            tokio::select! {
                done = ask(handle) => done.map_err(io::Error::other),
                () = connection => Err(io::Error::other("netlink closed")),
            }
        })
    })
}
