//! The tasks: accept, and serve each connection until it ends, is evicted, or the server goes.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::device::Device;
use super::slots::{Evicted, Slot, Slots};
use super::{Server, session, ssh};
use crate::connection::Connection;
use crate::terminal::Settings;

/// After an accept that failed (no file descriptor left, usually).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A silent peer is asked after this whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
/// How long a goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) device: Device,
    pub(super) settings: Settings,
    pub(super) slots: Slots,
}

pub(super) async fn run(server: Server) {
    let common = Common { device: server.device, settings: server.settings, slots: Slots::new(server.limits) };
    let mut tasks = JoinSet::new();
    let (telnet, ssh) = (server.telnet.as_ref(), server.ssh.as_ref());
    loop {
        tokio::select! {
            (stream, peer) = accept(telnet) => {
                if let Some((slot, evicted)) = common.slots.take(peer, common.device.now()) {
                    tasks.spawn(telnet_peer(stream, peer, common.clone(), slot, evicted));
                }
            }
            (stream, peer) = accept(ssh.map(|(listener, _)| listener)) => {
                let host = ssh.map(|(_, host)| host.clone());
                if let Some(((slot, evicted), host)) = common.slots.take(peer, common.device.now()).zip(host) {
                    tasks.spawn(ssh::peer(stream, peer, common.clone(), host, Arc::new(slot), evicted));
                }
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> (TcpStream, IpAddr) {
    let Some(listener) = listener else { return pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                set_options(&stream);
                // An IPv4 peer of a listener for both is shown, and counted, as what it is.
                return (stream, peer.ip().to_canonical());
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// An echo does not wait for the peer's acknowledgement, and a peer whose machine has gone is noticed one day: it would
/// take one of a handful of sessions for ever. A socket without these options still works.
fn set_options(stream: &TcpStream) {
    stream.set_nodelay(true).ok();
    sockopt::set_socket_keepalive(stream, true).ok();
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_AFTER).ok();
}

async fn telnet_peer(mut stream: TcpStream, peer: IpAddr, common: Common, slot: Slot, evicted: Evicted) {
    let device = &common.device;
    let open = || device.with(|shell, now| Connection::telnet(common.settings.clone(), Some(peer), shell, now));
    let opened = match open() {
        Err(_) if make_room(&common).await => open(),
        opened => opened,
    };
    match opened {
        Ok(connection) => {
            let serve = session::serve(&mut stream, connection, device, &slot);
            // An error is the peer's going; nobody is left to be told.
            tokio::select! {
                _ = serve => {}
                _ = evicted => {}
            }
        }
        Err(refusal) => {
            timeout(GOODBYE_MAX, stream.write_all(format!("{refusal}\r\n").as_bytes())).await.ok();
        }
    }
    timeout(GOODBYE_MAX, stream.shutdown()).await.ok();
}

/// A device that takes no more sessions hangs up on one that nobody uses; true if it found one.
pub(super) async fn make_room(common: &Common) -> bool {
    let evicted = common.slots.evict_silent(common.device.now());
    if evicted {
        // Its task has to run once to tell the shell.
        sleep(Duration::from_millis(10)).await;
    }
    evicted
}
