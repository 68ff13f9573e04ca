//! The ways that choose by the request: ours, and the peers that read HTTP. Two real servers, which are two ports of one
//! nginx, so that every way has the same servers; requests go by a consistent hash of the URL.

use crate::rig::{Rig, Running, sh};
use crate::ways::{VIP, route, start_switch};

/// The real servers.
const REALS: [&str; 2] = ["10.0.0.11:8080", "10.0.0.11:8081"];

/// How ours is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// `per-request` or `first-request`.
    pub switching: &'static str,
    /// Rules before the one that matches.
    pub rules: usize,
}

/// Our switch with a content service.
pub fn start_acm(rig: &Rig, setup: Setup) -> Result<Vec<Running>, String> {
    let acm = env!("CARGO_BIN_EXE_acm");
    let socket = format!("unix:{}/acm.sock", rig.dir.display());
    let running = start_switch(rig, &socket)?;
    sh(&format!(
        "{acm} service set --switch {socket} {VIP} --content http --switching {} --group hashed --scheduler url-hash",
        setup.switching
    ))?;
    for real in REALS {
        sh(&format!("{acm} add --switch {socket} {VIP} {real} --group hashed --wait 5s"))?;
    }
    // Rules of all kinds that match nothing wrk asks for, then one that matches all of it.
    let kinds = ["--url-prefix /tenant-", "--url-suffix .type", "--url-contains /part-", "--url-exact /page-"];
    for n in 0..setup.rules {
        let kind = kinds[n % kinds.len()];
        sh(&format!("{acm} rule add --switch {socket} {VIP} {kind}{n} --group hashed"))?;
    }
    sh(&format!("{acm} rule add --switch {socket} {VIP} --url-prefix / --group hashed"))?;
    Ok(vec![running])
}

/// HAProxy in HTTP mode.
pub fn start_haproxy(rig: &Rig) -> Result<Vec<Running>, String> {
    route(rig)?;
    rig.run(&rig.middle, "ip addr add 10.0.0.100/32 dev lo")?;
    let servers: String =
        REALS.iter().enumerate().map(|(n, real)| format!("  server s{n} {real} pool-max-conn -1\n")).collect();
    let config = format!(
        "global\n  nbthread 2\n  maxconn 4000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         listen web\n  bind {VIP}\n  balance uri\n  hash-type consistent\n  http-reuse safe\n{servers}"
    );
    let file = rig.dir.join("haproxy-http.cfg");
    std::fs::write(&file, config).map_err(|error| error.to_string())?;
    Ok(vec![rig.start(&rig.middle, &["haproxy", "-db", "-q", "-f", &file.to_string_lossy()], &[])?])
}

/// nginx as a proxy.
pub fn start_nginx(rig: &Rig) -> Result<Vec<Running>, String> {
    route(rig)?;
    rig.run(&rig.middle, "ip addr add 10.0.0.100/32 dev lo")?;
    let dir = rig.dir.join("proxy");
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let (servers, dir) = (REALS.map(|real| format!("server {real};")).concat(), dir.display());
    let config = format!(
        "daemon off; worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/nginx.log; \
         events {{ worker_connections 4096; }} \
         http {{ access_log off; keepalive_requests 1000000000; \
         client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; \
         upstream reals {{ hash $request_uri consistent; {servers} keepalive 128; }} \
         server {{ listen {VIP} backlog=4096; location / {{ proxy_pass http://reals; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; }} }} }}"
    );
    let file = rig.dir.join("proxy.conf");
    std::fs::write(&file, config).map_err(|error| error.to_string())?;
    let (file, dir) = (file.to_string_lossy().into_owned(), dir.to_string());
    Ok(vec![rig.start(&rig.middle, &["nginx", "-c", &file, "-p", &dir], &[])?])
}
