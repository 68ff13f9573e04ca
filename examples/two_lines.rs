//! A web server that announces itself. `ACM_CONFIG=agent.toml cargo run --example two_lines`
//!
//! The first of the two lines was `TcpListener::bind("0.0.0.0:8080")?`; the second is in the configuration:
//! `web = "10.0.0.100:80"`. Everything else is as it was.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let listener = acm_switch::agent::bind("web")?;
    for stream in listener.incoming() {
        std::thread::spawn(|| stream.and_then(answer));
    }
    Ok(())
}

fn answer(mut stream: std::net::TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nhello\n")
}
