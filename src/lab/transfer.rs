//! Clients that check bytes: a bulk transfer in either direction, and datagrams that must come back as they went.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};

use super::serve::{Digest, pattern};

/// How long a transfer may stand still.
const STALL: Duration = Duration::from_secs(20);

/// A datagram that is not back after this is sent again.
const DATAGRAM_PATIENCE: Duration = Duration::from_millis(500);

/// Datagrams are tried this often.
const DATAGRAM_TRIES: u32 = 5;

fn wrong(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

async fn moving<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(STALL, step)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the transfer stands still"))?
}

/// Reads `bytes` of the server's pattern and compares each.
///
/// # Errors
/// The connection fails, or a byte is not the one that was sent.
pub async fn fetch(target: SocketAddr, bytes: u64) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(256 * 1024, TcpStream::connect(target).await?);
    stream.write_all(format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: demo\r\n\r\n").as_bytes()).await?;
    skip_head(&mut stream).await?;
    let mut at = 0;
    while at < bytes {
        let chunk = moving(stream.fill_buf()).await?;
        if chunk.is_empty() {
            return Err(wrong(format!("ended after {at} of {bytes} bytes")));
        }
        if let Some(off) = chunk.iter().zip(at..).position(|(byte, n)| *byte != pattern(n)) {
            return Err(wrong(format!("byte {} is not the one that was sent", at + off as u64)));
        }
        let read = chunk.len();
        at += read as u64;
        stream.consume(read);
    }
    Ok(())
}

/// Sends `bytes` of the pattern and compares the server's digest of what arrived.
///
/// # Errors
/// The connection fails, or the digest differs.
pub async fn send(target: SocketAddr, bytes: u64) -> io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(target).await?);
    stream
        .write_all(format!("PUT /digest HTTP/1.1\r\nHost: demo\r\nContent-Length: {bytes}\r\n\r\n").as_bytes())
        .await?;
    let mut chunk = vec![0; 256 * 1024];
    let mut sent = 0;
    while sent < bytes {
        let take = chunk.len().min(usize::try_from(bytes - sent).unwrap_or(usize::MAX));
        chunk[..take].iter_mut().zip(sent..).for_each(|(byte, n)| *byte = pattern(n));
        moving(stream.write_all(&chunk[..take])).await?;
        sent += take as u64;
    }
    skip_head(&mut stream).await?;
    let mut told = String::new();
    moving((&mut stream).take(256).read_line(&mut told)).await?;
    let expected = Digest::of_pattern(bytes).to_string();
    if told.trim() == expected {
        Ok(())
    } else {
        Err(wrong(format!("the server has {}, sent was {expected}", told.trim())))
    }
}

async fn skip_head(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if moving((&mut *stream).take(4096).read_line(&mut line)).await? == 0 {
            return Err(wrong("the connection ended before the answer".into()));
        }
        if line == "\r\n" {
            return Ok(());
        }
    }
}

/// Sends every datagram back, until killed.
///
/// # Errors
/// The address cannot be bound.
pub async fn echo(listen: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(listen).await?;
    let mut buffer = vec![0; 65_536];
    loop {
        // An unreachable client is no reason to stop.
        if let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..length], from).await;
        }
    }
}

/// Sends datagrams of all sizes, one at a time, each from a socket of its own every tenth, and compares what comes back.
///
/// # Errors
/// One does not come back, or not as it was.
pub async fn datagrams(target: SocketAddr, count: u32) -> io::Result<()> {
    let mut socket = UdpSocket::bind("0.0.0.0:0").await?;
    for n in 0..count {
        if n % 10 == 0 {
            socket = UdpSocket::bind("0.0.0.0:0").await?;
            socket.connect(target).await?;
        }
        let length = 1 + (n as usize * 37) % 1400;
        let sent: Vec<u8> = (0..length as u64).map(|at| pattern(at + u64::from(n) * 7919)).collect();
        there_and_back(&socket, &sent)
            .await
            .map_err(|error| wrong(format!("datagram {n} of {length} bytes: {error}")))?;
    }
    Ok(())
}

async fn there_and_back(socket: &UdpSocket, sent: &[u8]) -> io::Result<()> {
    let mut buffer = vec![0; 2048];
    for _ in 0..DATAGRAM_TRIES {
        socket.send(sent).await?;
        if let Ok(received) = tokio::time::timeout(DATAGRAM_PATIENCE, socket.recv(&mut buffer)).await {
            let length = received?;
            return if buffer[..length] == *sent { Ok(()) } else { Err(wrong("came back changed".into())) };
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "did not come back"))
}
