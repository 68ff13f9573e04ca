//! The services of these tests: HTTP with keep-alive, saying who answers; and datagrams sent back. What differs is how
//! they come by their socket.

#![allow(unsafe_code)]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::FromRawFd;
use std::process::ExitCode;
use std::sync::Arc;

pub(crate) fn main(way: &str, name: &str) -> ExitCode {
    match serve(way, name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("the service {name}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(way: &str, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let name: Arc<str> = name.into();
    match way {
        "port" => answer_all(&TcpListener::bind(place()?)?, &name)?,
        "socket" => {
            assert_eq!(std::env::var("LISTEN_PID")?, std::process::id().to_string());
            assert_eq!(std::env::var("LISTEN_FDS")?, "1");
            // SAFETY: sd_listen_fds(3): the descriptor is ours, and nobody else in this process knows it.
            answer_all(&unsafe { TcpListener::from_raw_fd(3) }, &name)?;
        }
        "library" => answer_all(&*acm_switch::agent::bind("web")?, &name)?,
        "witness" => {
            let listener = acm_switch::agent::bind("web")?;
            let peer = name.parse()?;
            let mut connection = TcpStream::connect(peer)?;
            std::thread::spawn(move || {
                // Says nothing, so nothing comes but its end.
                let _ = io::Read::read(&mut connection, &mut [0; 1]);
                eprintln!("the peer is gone");
                acm_switch::agent::report_peer_failure(peer, "the connection ended");
            });
            answer_all(&listener, &name)?;
        }
        "port-udp" => send_back(&UdpSocket::bind(place()?)?)?,
        "library-udp" => send_back(&*acm_switch::agent::bind_udp("echo")?)?,
        other => return Err(format!("there is no way {other}").into()),
    }
    Ok(())
}

fn place() -> Result<(IpAddr, u16), Box<dyn std::error::Error>> {
    Ok((std::env::var("ADDRESS")?.parse()?, std::env::var("PORT")?.parse()?))
}

fn answer_all(listener: &TcpListener, name: &Arc<str>) -> io::Result<()> {
    for stream in listener.incoming() {
        let (stream, name) = (stream?, Arc::clone(name));
        std::thread::spawn(move || talk(stream, &name));
    }
    Ok(())
}

fn talk(stream: TcpStream, name: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    loop {
        let mut closes = false;
        let mut is_empty = true;
        for line in lines.by_ref() {
            let line = line?;
            if line.is_empty() {
                break;
            }
            is_empty = false;
            closes |= line.eq_ignore_ascii_case("connection: close");
        }
        if is_empty {
            return Ok(());
        }
        let body = format!("hello from {name}\n");
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        if closes {
            return Ok(());
        }
    }
}

fn send_back(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 65_536];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..length], from)?;
    }
}
