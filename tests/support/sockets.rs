//! A testbed of ordinary sockets: real servers that listen on addresses of this network namespace, and clients that
//! connect to the virtual services from theirs. For balancers that own the virtual addresses as a host does.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acm_switch::acm::conformance::{Attempt, Connection, Fate, Testbed};
use acm_switch::acm::switch::Answer;
use acm_switch::acm::words::{Refusal, ServiceKey};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// A connection that has not reached a server within this is refused without a word. A balancer may hold a client back
/// until a place is free.
const PATIENCE: Duration = Duration::from_millis(700);
/// What is sent through a live connection comes back within this.
const ECHO_PATIENCE: Duration = Duration::from_millis(500);

/// Servers and clients.
pub struct Sockets {
    servers: Mutex<HashMap<SocketAddr, Server>>,
    /// Serial numbers of connections whose server side has ended.
    ended: Ended,
    clients: tokio::sync::Mutex<Vec<Option<Client>>>,
}

type Ended = Arc<Mutex<HashSet<u64>>>;

/// A real server: it greets with its address and a serial number, then sends back what it gets.
struct Server {
    listening: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(task) = &self.listening {
            task.abort();
        }
    }
}

struct Client {
    wire: BufReader<TcpStream>,
    serial: u64,
}

impl Sockets {
    /// Servers at these addresses, listening.
    pub fn new(reals: &[SocketAddr]) -> io::Result<Sockets> {
        let sockets = Sockets { servers: Mutex::default(), ended: Ended::default(), clients: Default::default() };
        for real in reals {
            let server = Server { listening: Some(sockets.listen(*real)?) };
            sockets.servers.lock().unwrap().insert(*real, server);
        }
        Ok(sockets)
    }

    fn listen(&self, real: SocketAddr) -> io::Result<JoinHandle<()>> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(real)?;
        Ok(tokio::spawn(accept(socket.listen(1024)?, real, Arc::clone(&self.ended))))
    }

    /// One attempt to connect.
    pub async fn attempt(&self, client: SocketAddr, service: SocketAddr) -> Attempt {
        match tokio::time::timeout(PATIENCE, greeting(client, service)).await {
            Err(_) => Attempt::Refused(Refusal::Silent),
            Ok(Err(_)) => Attempt::Refused(Refusal::Reset),
            Ok(Ok((client, real))) => {
                let mut clients = self.clients.lock().await;
                clients.push(Some(client));
                Attempt::To(Connection(clients.len() as u64 - 1), real)
            }
        }
    }

    fn server_has_ended(&self, serial: u64) -> bool {
        self.ended.lock().unwrap().contains(&serial)
    }
}

async fn accept(listener: TcpListener, real: SocketAddr, ended: Ended) {
    static SERIAL: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    while let Ok((mut wire, _)) = listener.accept().await {
        let (serial, ended) = (SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed), Arc::clone(&ended));
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            let mut said = wire.write_all(format!("{real} {serial}\n").as_bytes()).await;
            while said.is_ok() {
                said = match wire.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => wire.write_all(&buffer[..length]).await,
                };
            }
            ended.lock().unwrap().insert(serial);
        });
    }
}

/// Connects and reads which server it is.
async fn greeting(client: SocketAddr, service: SocketAddr) -> io::Result<(Client, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(client)?;
    let wire = socket.connect(service).await?;
    // An attempt that is given up leaves nothing behind, so that its port can be used again at once.
    wire.set_zero_linger()?;
    let mut wire = BufReader::new(wire);
    let mut line = String::new();
    wire.read_line(&mut line).await?;
    let words: Option<(SocketAddr, u64)> =
        line.trim().split_once(' ').and_then(|(real, serial)| Some((real.parse().ok()?, serial.parse().ok()?)));
    let (real, serial) = words.ok_or_else(|| io::Error::other("hung up"))?;
    Ok((Client { wire, serial }, real))
}

impl Client {
    /// Sends a byte and waits for it to come back.
    async fn echo(&mut self) -> io::Result<()> {
        self.wire.write_all(b"x").await?;
        let mut byte = [0];
        self.wire.read_exact(&mut byte).await.map(drop)
    }

    /// True if data is answered with a reset, soon.
    async fn is_reset(&mut self) -> bool {
        for _ in 0..20 {
            if self.wire.write_all(b"x").await.is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Testbed for Sockets {
    fn open(&self, client: SocketAddr, service: ServiceKey) -> Answer<'_, Attempt> {
        Box::pin(self.attempt(client, service.addr))
    }

    fn close(&self, connection: Connection) -> Answer<'_, ()> {
        Box::pin(async move {
            let Some(mut client) = self.clients.lock().await[connection.0 as usize].take() else { return };
            // The server sees the end and ends too, and that comes back.
            let _ = client.wire.shutdown().await;
            let _ = tokio::time::timeout(ECHO_PATIENCE, client.wire.read(&mut [0; 64])).await;
        })
    }

    /// A proxy ends the client's connection with a FIN; what tells a connection that was cut is that data is answered
    /// with a reset, and that the server's side is gone too.
    fn fate(&self, connection: Connection) -> Answer<'_, Fate> {
        Box::pin(async move {
            let mut clients = self.clients.lock().await;
            let Some(client) = &mut clients[connection.0 as usize] else { return Fate::Broken };
            if let Ok(Ok(())) = tokio::time::timeout(ECHO_PATIENCE, client.echo()).await {
                return Fate::Alive;
            }
            match client.is_reset().await && self.server_has_ended(client.serial) {
                true => Fate::Reset,
                false => Fate::Broken,
            }
        })
    }

    fn set_healthy(&self, real: SocketAddr, healthy: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            let previous = match self.servers.lock().unwrap().get_mut(&real) {
                Some(server) => server.listening.take(),
                None => return,
            };
            if let Some(task) = previous {
                task.abort();
                // Its socket is closed once it is gone.
                let _ = task.await;
            }
            if healthy {
                let task = self.listen(real).expect("the address was free before");
                self.servers.lock().unwrap().insert(real, Server { listening: Some(task) });
            }
        })
    }

    fn pass(&self, time: Duration) -> Answer<'_, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}
