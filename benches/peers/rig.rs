//! The rig: three namespaces in a row, an nginx behind, and shell commands in them.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PACKAGES: &[(&str, &str)] = &[
    ("haproxy", "haproxy"),
    ("nft", "nftables"),
    ("wrk", "wrk"),
    ("nginx", "nginx-light"),
    ("ip", "iproute2"),
    ("curl", "curl"),
];

/// Installs the peers that are missing.
pub fn install_peers() -> Result<(), String> {
    let missing: Vec<_> =
        PACKAGES.iter().filter(|(program, _)| !is_installed(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    sh("apt-get update -qq")?;
    // No service may start by itself: the peers run only in the namespaces.
    let install = format!(
        "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; \
         DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {}; code=$?; rm -f /usr/sbin/policy-rc.d; exit $code",
        missing.join(" ")
    );
    sh(&install).map(|_| ())
}

fn is_installed(program: &str) -> bool {
    let paths = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/bin"];
    paths.iter().any(|dir| PathBuf::from(dir).join(program).exists())
}

/// Kernel and processors, for the head of the table.
pub fn machine() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
    format!("Linux {}, {cores} cores", release.trim())
}

/// Runs a shell command and returns what it printed.
pub fn sh(command: &str) -> Result<String, String> {
    let output = Command::new("sh").arg("-c").arg(command).stdin(Stdio::null()).output();
    check(command, output.map_err(|error| format!("{command}: {error}"))?)
}

fn check(command: &str, output: Output) -> Result<String, String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{command}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// A process that ends with its handle.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM first, so that haproxy and nginx take their children with them.
        let _ = sh(&format!("kill -TERM {} 2>/dev/null", self.0.id()));
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The namespaces and the server.
pub struct Rig {
    pub client: String,
    pub middle: String,
    server: String,
    pub dir: PathBuf,
    nginx: Option<Running>,
}

impl Rig {
    /// Makes everything and starts nginx.
    pub fn up() -> Result<Rig, String> {
        let pid = std::process::id();
        let name = |node: &str| format!("acm-{pid}-{node}");
        let dir = std::env::temp_dir().join(name("peers"));
        std::fs::create_dir_all(dir.join("www")).map_err(|error| error.to_string())?;
        let mut rig = Rig { client: name("client"), middle: name("middle"), server: name("server"), dir, nginx: None };
        for node in [&rig.client, &rig.middle, &rig.server] {
            sh(&format!("ip netns add {node} && ip -n {node} link set lo up"))?;
            sh(&format!(
                "ip netns exec {node} sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1"
            ))?;
        }
        rig.wire(&rig.client, "client", "10.0.0.1/24")?;
        rig.wire(&rig.server, "server", "10.0.0.11/24")?;
        // Short connections leave TIME-WAIT behind; let the client use its ports again.
        sh(&format!(
            "ip netns exec {} sysctl -qw net.ipv4.tcp_tw_reuse=1 'net.ipv4.ip_local_port_range=1024 65535'",
            rig.client
        ))?;
        rig.nginx = Some(rig.start_nginx()?);
        Ok(rig)
    }

    fn wire(&self, node: &str, name: &str, address: &str) -> Result<(), String> {
        let middle = &self.middle;
        sh(&format!(
            "ip link add eth0 netns {node} type veth peer name {name} netns {middle} && \
             ip -n {node} link set eth0 up && ip -n {middle} link set {name} up && ip -n {node} addr add {address} dev eth0"
        ))
        .map(|_| ())
    }

    fn start_nginx(&self) -> Result<Running, String> {
        let dir = self.dir.display();
        std::fs::write(self.dir.join("www/index.html"), "hello\n").map_err(|error| error.to_string())?;
        std::fs::write(self.dir.join("www/bulk"), vec![b'x'; 1 << 20]).map_err(|error| error.to_string())?;
        let config = format!(
            "daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.log; \
             events {{ worker_connections 4096; }} \
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; \
             client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; \
             server {{ listen 8080 backlog=4096; listen 8081 backlog=4096; root {dir}/www; \
             location /u/ {{ return 200 \"hello\\n\"; }} }} }}"
        );
        std::fs::write(self.dir.join("nginx.conf"), config).map_err(|error| error.to_string())?;
        // The worker runs as another user and reads the files.
        sh(&format!("chmod -R a+rX {dir}"))?;
        self.start(&self.server, &["nginx", "-c", &format!("{dir}/nginx.conf"), "-p", &dir.to_string()], &[])
    }

    /// Starts a program in a namespace.
    pub fn start(&self, node: &str, command: &[&str], env: &[(&str, &str)]) -> Result<Running, String> {
        let mut child = Command::new("ip");
        child.args(["netns", "exec", node]).args(command).envs(env.iter().copied());
        child.stdin(Stdio::null()).stdout(Stdio::null());
        child.spawn().map(Running).map_err(|error| format!("{command:?}: {error}"))
    }

    /// Runs a shell command in a namespace.
    pub fn run(&self, node: &str, command: &str) -> Result<String, String> {
        sh(&format!("ip netns exec {node} sh -c '{command}'"))
    }

    /// Waits until the way forwards.
    pub fn wait_until_served(&self, target: &str) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = self.run(&self.client, &format!("curl -s -m 1 http://{target}/"));
            if answer.as_deref() == Ok("hello\n") {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("http://{target}/ is not served: {answer:?}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Takes everything out of the middle again.
    pub fn reset_middle(&self) -> Result<(), String> {
        let middle = &self.middle;
        self.run(
            middle,
            "sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.client.proxy_arp=0 net.ipv4.conf.server.proxy_arp=0; \
             nft flush ruleset; ip addr flush dev client; ip addr flush dev server; \
             ip addr del 10.0.0.100/32 dev lo 2>/dev/null; ip route flush dev client; ip route flush dev server; true",
        )?;
        for node in [&self.client, &self.server] {
            self.run(node, "ip neigh flush all")?;
        }
        Ok(())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.nginx = None;
        for node in [&self.client, &self.middle, &self.server] {
            let _ = sh(&format!("ip netns del {node}"));
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
