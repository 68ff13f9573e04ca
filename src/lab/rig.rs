//! A running lab: the nodes, the cables, the demo servers and the switch.

use std::io;
use std::time::Duration;

use super::namespace::Namespace;
use super::owner::{Claim, LabFile};
use super::process::Process;
use super::{CLIENT, MANAGERS_MAX, SERVERS_MAX, SWITCH, links, manager, server};
use crate::acm::list::Filter;
use crate::acm::switch::AcmSwitch;
use crate::driver::native::NativeClient;

/// How long the switch may take to answer its first call.
const START: Duration = Duration::from_secs(10);

/// A lab. Dropping it removes everything.
pub struct Lab {
    switch: Option<Process>,
    servers: Vec<Option<Process>>,
    nodes: Vec<(String, Namespace)>,
    claim: Claim,
}

impl Lab {
    /// Makes the nodes and the cables between them; nothing runs in them yet.
    ///
    /// # Errors
    /// In the system's words; most often for want of privileges.
    pub fn up(servers: u8) -> io::Result<Lab> {
        if servers == 0 || servers > SERVERS_MAX {
            return Err(io::Error::other(format!("a lab has 1 to {SERVERS_MAX} servers")));
        }
        let claim = Claim::new()?;
        let mut lab = Lab { switch: None, servers: Vec::new(), nodes: Vec::new(), claim };
        lab.add_node("switch")?;
        lab.add_neighbour("client", CLIENT.into())?;
        for n in 1..=servers {
            lab.add_neighbour(&format!("s{n}"), server(n).ip())?;
            lab.servers.push(None);
        }
        Ok(lab)
    }

    /// The same with `m1`, `m2`, ... besides, for managers, and a network of their own between them and the servers:
    /// `eth1` of each, at a bridge in the node `control`.
    ///
    /// # Errors
    /// As [`Lab::up`].
    pub fn up_with_managers(servers: u8, managers: u8) -> io::Result<Lab> {
        let mut lab = Lab::up(servers)?;
        for n in 1..=managers.min(MANAGERS_MAX) {
            lab.add_neighbour(&format!("m{n}"), manager(n))?;
        }
        lab.add_node("control")?;
        links::bridge(lab.node("control")?, "br0")?;
        for (node, namespace) in lab.nodes.iter().filter(|(node, _)| node.starts_with(['s', 'm']) && node != "switch") {
            let control = lab.node("control")?;
            links::cable(namespace, "eth1", control, node)?;
            links::attach(control, node, "br0")?;
            let number: u8 = node[1..].parse().map_err(io::Error::other)?;
            let host = if node.starts_with('m') { 100 + number } else { 10 + number };
            links::address(namespace, "eth1", std::net::Ipv4Addr::new(10, 9, 0, host).into(), 24)?;
        }
        Ok(lab)
    }

    /// A directory of this lab that goes with it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(&self) -> io::Result<std::path::PathBuf> {
        self.claim.make_directory()
    }

    fn add_node(&mut self, node: &str) -> io::Result<()> {
        let namespace = Namespace::create(&self.claim.name(node))?;
        links::set_up(&namespace, "lo")?;
        self.nodes.push((node.to_owned(), namespace));
        Ok(())
    }

    /// A node with one interface, `eth0`, cabled to the switch's port of the node's name.
    fn add_neighbour(&mut self, node: &str, address: std::net::IpAddr) -> io::Result<()> {
        self.add_node(node)?;
        let here = self.node(node)?;
        links::cable(here, "eth0", self.node("switch")?, node)?;
        links::address(here, "eth0", address, 24)
    }

    /// A node's namespace.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node(&self, name: &str) -> io::Result<&Namespace> {
        let found = self.nodes.iter().find(|(node, _)| node == name);
        found.map(|(_, namespace)| namespace).ok_or_else(|| {
            let nodes: Vec<_> = self.nodes.iter().map(|(node, _)| node.as_str()).collect();
            io::Error::other(format!("there is no node {name}; there are {}", nodes.join(", ")))
        })
    }

    /// How many servers it has.
    pub fn server_count(&self) -> u8 {
        self.servers.len() as u8
    }

    /// The switch's API.
    pub fn socket(&self) -> String {
        format!("unix:{}", self.claim.file("sock").display())
    }

    /// Starts `acm switch` in its node, with further arguments, and waits until it answers.
    ///
    /// # Errors
    /// It ends, or does not answer in time.
    pub async fn start_switch(&mut self, more: &[&str]) -> io::Result<NativeClient> {
        let socket = self.socket();
        let mut args = vec!["switch", "--address", SWITCH, "--api", &socket];
        let ports: Vec<&str> = self
            .nodes
            .iter()
            .map(|(node, _)| node.as_str())
            .filter(|node| !["switch", "control"].contains(node))
            .collect();
        ports.iter().for_each(|port| args.extend(["--port", port]));
        args.extend(more);
        let mut switch = Process::start(self.node("switch")?, &args)?;
        let client = NativeClient::new(socket.parse().map_err(io::Error::other)?, None);
        let answers = async {
            while client.list(&Filter::default()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = answers => {}
            status = switch.ended() => return Err(io::Error::other(format!("the switch ended: {}", status?))),
            () = tokio::time::sleep(START) => return Err(io::Error::other("the switch does not answer")),
        }
        self.switch = Some(switch);
        Ok(client)
    }

    /// Kills the switch: it forgets everything.
    ///
    /// # Errors
    /// The system's.
    pub async fn kill_switch(&mut self) -> io::Result<()> {
        match self.switch.take() {
            Some(mut switch) => switch.kill().await,
            None => Ok(()),
        }
    }

    /// Starts the demo server of node `s<n>`.
    ///
    /// # Errors
    /// The system's.
    pub async fn start_server(&mut self, n: u8) -> io::Result<()> {
        self.start_server_with(n, 0).await
    }

    /// The same with a cache of so many objects.
    ///
    /// # Errors
    /// The system's.
    pub async fn start_server_with(&mut self, n: u8, cache: usize) -> io::Result<()> {
        let (name, listen, cache) = (format!("s{n}"), server(n).to_string(), cache.to_string());
        let args = ["lab", "node", "serve", "--name", &name, "--listen", &listen, "--cache", &cache];
        let mut process = Process::start(self.node(&name)?, &args)?;
        // Its first report says that it listens.
        process.ask::<super::serve::Report>("report").await?;
        self.servers[usize::from(n) - 1] = Some(process);
        Ok(())
    }

    /// Kills a demo server, as a crash would.
    ///
    /// # Errors
    /// The system's.
    pub async fn kill_server(&mut self, n: u8) -> io::Result<()> {
        match self.servers[usize::from(n) - 1].take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// What a demo server has counted.
    ///
    /// # Errors
    /// It does not run.
    pub async fn server_report(&mut self, n: u8) -> io::Result<super::serve::Report> {
        match &mut self.servers[usize::from(n) - 1] {
            Some(process) => process.ask("report").await,
            None => Err(io::Error::other(format!("s{n} does not run"))),
        }
    }

    /// Starts a client process in the client's node: the words after `acm lab node`.
    ///
    /// # Errors
    /// The system's.
    pub fn start_client(&self, args: &[&str]) -> io::Result<Process> {
        let whole: Vec<&str> = ["lab", "node"].iter().chain(args).copied().collect();
        Process::start(self.node("client")?, &whole)
    }

    /// Lets `acm lab exec` find this lab.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&self) -> io::Result<LabFile> {
        let file = LabFile {
            pid: std::process::id(),
            nodes: self.nodes.iter().map(|(node, _)| node.clone()).collect(),
            socket: self.socket(),
            rootless: super::rootless::is_inside(),
        };
        self.claim.announce(&file)?;
        Ok(file)
    }
}
