//! An emulated ServerIron in memory, and the driver in front of it: a duplex instead of a socket, and the runtime's
//! clock, which a test may pause.

#![allow(dead_code, unreachable_pub)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use acm_switch::acm::error::AcmError;
use acm_switch::acm::switch::Answer;
use acm_switch::driver::foundry::session::Login;
use acm_switch::driver::foundry::switch::{Dial, Dialled, FoundrySwitch, Framing, Settings};
use switch_sim::chassis::{self, Chassis};
use switch_sim::connection::Connection;
use switch_sim::personality::Personality;
use switch_sim::quirk::{Order, Quirks};
use switch_sim::screens::Templates;
use switch_sim::server::{Bell, Device, Listen, Server};
use switch_sim::shell::{Origin, Reply, Transport};
use switch_sim::simbox::{Levers, Pace, SimSettings, SimulatedBox};
use switch_sim::slb::balancer::SlbBox;
use switch_sim::terminal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// Bytes in flight each way.
const DUPLEX: usize = 64 * 1024;

/// What an emulated box is like.
#[derive(Debug, Clone)]
pub struct Iron {
    pub personality: Personality,
    pub transport: Transport,
    pub quirks: Vec<String>,
    pub pace: Pace,
    pub seed: u64,
    /// A template file in the place of the built-in one.
    pub templates: String,
}

impl Iron {
    pub fn new(personality: Personality) -> Iron {
        Iron {
            personality,
            transport: Transport::Telnet,
            quirks: Vec::new(),
            pace: Pace::None,
            seed: 1,
            templates: String::new(),
        }
    }

    pub fn over(self, transport: Transport) -> Iron {
        Iron { transport, ..self }
    }

    pub fn saying(self, templates: &str) -> Iron {
        Iron { templates: templates.to_owned(), ..self }
    }

    pub fn with(mut self, quirk: &str) -> Iron {
        self.quirks.push(quirk.to_owned());
        self
    }

    /// Switches it on.
    pub fn start(&self) -> Running {
        let orders = self.quirks.iter().map(|text| text.parse::<Order>().expect("an order of a quirk"));
        let quirks = Quirks::new(orders, self.seed).expect("quirks ordered once");
        let mut sim = SimSettings::new(self.personality);
        (sim.quirks, sim.pace, sim.seed) = (quirks.clone(), self.pace, self.seed);
        let balancer = SimulatedBox::new(sim);
        let levers = balancer.levers();
        Running { levers: Some(levers), ..self.before(Box::new(balancer), quirks) }
    }

    /// The same command line in front of another box.
    pub fn before(&self, balancer: Box<dyn SlbBox>, quirks: Quirks) -> Running {
        let bell = Bell::default();
        let mut settings = chassis::Settings::new(self.personality);
        settings.quirks = quirks.clone();
        settings.templates = Templates::with_file(&self.templates, self.personality).expect("a template file");
        settings.sessions_max = 64;
        let mut chassis = Chassis::new(settings, balancer);
        let ring = bell.clone();
        chassis.set_waker(Arc::new(move || ring.ring()));
        let terminal = terminal::Settings { quirks, ..terminal::Settings::default() };
        Running { device: Device::new(chassis, bell.clone()), bell, levers: None, terminal, transport: self.transport }
    }
}

/// A box that runs.
#[derive(Clone)]
pub struct Running {
    device: Device,
    bell: Bell,
    pub levers: Option<Levers>,
    terminal: terminal::Settings,
    transport: Transport,
}

impl Running {
    /// A driver in front of it.
    pub fn driver(&self) -> FoundrySwitch {
        let settings = Settings {
            address: "telnet://memory".into(),
            login: Login::default(),
            owner: "operator".parse().expect("a name"),
        };
        FoundrySwitch::new(settings, Box::new(self.clone()))
    }

    /// Somebody else at the command line, in `(config)`: what each line was answered.
    pub async fn types(&self, lines: &[&str]) -> Vec<String> {
        let origin = Origin { transport: Transport::Telnet, peer: None };
        let session = self.device.with(|shell, now| shell.connect(origin, now)).expect("a session is free");
        let mut said = Vec::new();
        for line in ["enable", "configure terminal"].iter().chain(lines) {
            let mut reply = self.device.with(|shell, now| shell.submit(session, line, now));
            while reply == Reply::Pending {
                tokio::time::sleep(Duration::from_millis(1)).await;
                reply = self.device.with(|shell, now| shell.poll(session, now)).unwrap_or(Reply::Pending);
            }
            match reply {
                Reply::Done(text) => said.push(text.join("\n")),
                other => panic!("{line}: {other:?}"),
            }
        }
        self.device.with(|shell, now| shell.disconnect(session, now));
        said.split_off(2)
    }

    /// The lines of `show running-config`, without what stands before them.
    pub async fn config(&self) -> Vec<String> {
        let text = self.types(&["show running-config"]).await.remove(0);
        text.lines().skip_while(|line| *line != "!").map(str::to_owned).collect()
    }

    /// Takes telnet connections at this address, for as long as this is polled.
    pub async fn serve(&self, telnet: SocketAddr) {
        let listen = Listen { telnet: Some(telnet), ..Listen::default() };
        let server = Server::bind(self.device.clone(), self.terminal.clone(), listen).await;
        server.expect("the address is free").run().await;
    }

    fn connect(&self) -> Result<Connection, String> {
        let peer = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let settings = self.terminal.clone();
        self.device.with(|shell, now| match self.transport {
            Transport::Telnet => Connection::telnet(settings, peer, shell, now),
            Transport::Ssh => {
                let session = shell.connect(Origin { transport: Transport::Ssh, peer }, now)?;
                shell.admit(session, "admin", now);
                Ok(Connection::ssh(settings, peer, session, None, shell, now))
            }
        })
    }
}

impl Dial for Running {
    fn dial(&self) -> Answer<'_, Result<Dialled, AcmError>> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(DUPLEX);
            let connection = self.connect().map_err(|why| AcmError::Unreachable { why })?;
            tokio::spawn(serve(theirs, connection, self.device.clone(), self.bell.clone()));
            let framing = match self.transport {
                Transport::Telnet => Framing::Telnet,
                Transport::Ssh => Framing::Plain,
            };
            Ok(Dialled { wire: Box::pin(ours), framing })
        })
    }
}

/// The least time between two looks at a connection.
const REST: Duration = Duration::from_millis(1);

/// Serves one connection until either side ends it.
async fn serve(mut stream: DuplexStream, mut connection: Connection, device: Device, bell: Bell) {
    let started = tokio::time::Instant::now() - device.now().since(switch_sim::time::Time::ZERO);
    let mut buffer = [0; 4096];
    loop {
        loop {
            let output = device.with(|shell, now| {
                connection.poll(shell, now);
                connection.take_output(now)
            });
            if output.is_empty() {
                break;
            }
            if stream.write_all(&output).await.is_err() {
                break;
            }
        }
        if connection.is_closed() {
            break;
        }
        // As the server does: what cannot be done now is tried again a little later, not at once.
        let deadline = device.with(|shell, now| Some(connection.next_deadline(shell)?.max(now + REST)));
        let until = started + deadline.unwrap_or_default().since(switch_sim::time::Time::ZERO);
        let room = connection.room().min(buffer.len());
        tokio::select! {
            read = stream.read(&mut buffer[..room]), if room > 0 => match read {
                Ok(count) if count > 0 => {
                    device.with(|shell, now| connection.input(&buffer[..count], shell, now));
                }
                _ => break,
            },
            () = tokio::time::sleep_until(until), if deadline.is_some() => {}
        }
    }
    device.with(|shell, now| connection.hang_up(shell, now));
    bell.ring();
}
