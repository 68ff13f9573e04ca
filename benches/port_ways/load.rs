//! Client and server on plain sockets: closed-loop requests, and bulk.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

const REQUESTS: u16 = 7;
const BULK: u16 = 8;
/// About what wrk sends and a small answer with its headers has.
const REQUEST: usize = 100;
const ANSWER: usize = 200;

/// A server until it is dropped.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Readiness of numbered streams.
struct Ready(OwnedFd);

impl Ready {
    fn new() -> io::Result<Ready> {
        Ok(Ready(epoll::create(CreateFlags::CLOEXEC)?))
    }

    fn add(&self, stream: impl std::os::fd::AsFd, number: usize) -> io::Result<()> {
        Ok(epoll::add(&self.0, stream, EventData::new_u64(number as u64), EventFlags::IN)?)
    }

    fn wait(&self) -> Vec<usize> {
        let mut events = Vec::with_capacity(128);
        let timeout = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let _ = epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), Some(&timeout));
        events.iter().map(|event: &epoll::Event| event.data.u64() as usize).collect()
    }
}

/// Starts the server in the calling thread's namespace: one thread answers requests, one a connection pours bulk.
pub fn serve() -> io::Result<Server> {
    let (requests, bulk) = (TcpListener::bind((SERVER, REQUESTS))?, TcpListener::bind((SERVER, BULK))?);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        if let Err(error) = answer(&requests, &bulk, &stopped) {
            eprintln!("server: {error}");
        }
    });
    Ok(Server { stop, thread: Some(thread) })
}

fn answer(requests: &TcpListener, bulk: &TcpListener, stop: &AtomicBool) -> io::Result<()> {
    let ready = Ready::new()?;
    requests.set_nonblocking(true)?;
    bulk.set_nonblocking(true)?;
    ready.add(requests, 0)?;
    ready.add(bulk, 1)?;
    let mut streams: Vec<Option<TcpStream>> = vec![None, None];
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::SeqCst) {
        for number in ready.wait() {
            match number {
                0 => {
                    let (stream, _) = requests.accept()?;
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    ready.add(&stream, streams.len())?;
                    streams.push(Some(stream));
                }
                1 => {
                    let (mut stream, _) = bulk.accept()?;
                    // Ends with an error when the client has enough.
                    std::thread::spawn(move || while stream.write_all(&[0x5a; 1 << 18]).is_ok() {});
                }
                _ => {
                    let Some(stream) = &mut streams[number] else { continue };
                    match stream.read(&mut buffer) {
                        Ok(REQUEST) => stream.write_all(&[b'a'; ANSWER])?,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        _ => streams[number] = None,
                    }
                }
            }
        }
    }
    Ok(())
}

/// What a closed loop reached.
pub struct Reached {
    pub per_second: f64,
    pub p99: Duration,
}

/// Each connection sends a request, waits for the answer, and sends the next.
pub fn request_response(connections: usize, time: Duration) -> io::Result<Reached> {
    let ready = Ready::new()?;
    let mut streams = Vec::new();
    for number in 0..connections {
        let mut stream = TcpStream::connect((SERVER, REQUESTS))?;
        stream.set_nodelay(true)?;
        ready.add(&stream, number)?;
        stream.write_all(&[b'q'; REQUEST])?;
        streams.push((stream, Instant::now()));
    }
    let start = Instant::now();
    let mut round_trips = Vec::with_capacity(1 << 20);
    let mut buffer = [0; ANSWER];
    while start.elapsed() < time {
        for number in ready.wait() {
            let (stream, sent) = &mut streams[number];
            stream.read_exact(&mut buffer)?;
            round_trips.push(sent.elapsed());
            *sent = Instant::now();
            stream.write_all(&[b'q'; REQUEST])?;
        }
    }
    let per_second = round_trips.len() as f64 / start.elapsed().as_secs_f64();
    round_trips.sort_unstable();
    let p99 = round_trips.get(round_trips.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
    Ok(Reached { per_second, p99 })
}

/// Bytes a second over some connections, after a short while to get going.
pub fn bulk(connections: usize, time: Duration) -> io::Result<f64> {
    let streams: Result<Vec<_>, _> = (0..connections).map(|_| TcpStream::connect((SERVER, BULK))).collect();
    let (bytes, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for mut stream in streams? {
            let (bytes, stop) = (&bytes, &stop);
            scope.spawn(move || {
                let mut buffer = vec![0; 1 << 18];
                while !stop.load(Ordering::Relaxed) {
                    match stream.read(&mut buffer) {
                        Ok(count @ 1..) => bytes.fetch_add(count as u64, Ordering::Relaxed),
                        _ => break,
                    };
                }
            });
        }
        std::thread::sleep(Duration::from_millis(200));
        let (start, before) = (Instant::now(), bytes.load(Ordering::Relaxed));
        std::thread::sleep(time);
        let moved = bytes.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        Ok(moved as f64 / start.elapsed().as_secs_f64())
    })
}
