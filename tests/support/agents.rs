//! Agents of `manager_sim` on threads, each with real sockets of its own.

#![allow(dead_code, reason = "included by tests of which none uses everything")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use acm_switch::acm::words::BindingKey;
use acm_switch::base::time::Time;
use acm_switch::beacon::datagram::DATAGRAM_MAX;
use acm_switch::beacon::key::{Grant, Key, KeyId, KeyRing};
use acm_switch::beacon::message::{AckRow, Withdrawal};
use acm_switch::beacon::socket::{Reach, Sockets};

use super::agent::{Agent, Intent};

/// What an agent is told.
pub(crate) struct Told {
    pub(crate) node: u64,
    pub(crate) key: u16,
    pub(crate) secret: String,
    pub(crate) service: &'static str,
    pub(crate) real: SocketAddr,
    pub(crate) period: Duration,
    pub(crate) reach: Reach,
}

/// An agent on a thread.
pub(crate) struct Running {
    agent: Arc<Mutex<Agent>>,
    said: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    began: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts one. `enter` is called first on its thread, to move that to where the sockets are to be.
    pub(crate) fn start(told: Told, enter: impl FnOnce() + Send + 'static) -> Running {
        let Told { node, key, secret, service, real, period, reach } = told;
        let key_itself = Key::new(KeyId(key), &secret.as_str().into(), Grant::default()).unwrap();
        let ring = Arc::new(KeyRing::new(&"comics".parse().unwrap(), [key_itself]).unwrap());
        let binding = BindingKey { service: service.parse().unwrap(), real };
        let began = Instant::now();
        // Another run at each start, as the protocol asks.
        let boot = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
        let agent = Agent::new(&ring, node, key, boot, vec![binding], period, boot ^ node, Time::ZERO);
        let agent = Arc::new(Mutex::new(agent));
        let (said, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let work = (Arc::clone(&agent), Arc::clone(&said), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            enter();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (agent, said, stop) = work;
            runtime.block_on(speak(&reach, &agent, &said, &stop, began));
        });
        Running { agent, said, stop, began, thread: Some(thread) }
    }

    pub(crate) fn is_acknowledged(&self) -> bool {
        self.agent.lock().unwrap().acknowledged.is_some()
    }

    pub(crate) fn intend(&self, intent: Intent) {
        self.agent.lock().unwrap().intend(intent, clock(self.began));
    }

    /// Asks to be removed in this way.
    pub(crate) fn withdraw(&self, how: Withdrawal) {
        self.agent.lock().unwrap().how = how;
        self.intend(Intent::Withdrawn);
    }

    /// What a switch said last about the request.
    pub(crate) fn answer_of(&self, switch: &str) -> Option<AckRow> {
        let agent = self.agent.lock().unwrap();
        let is_of = |row: &&AckRow| row.switch.as_ref().is_some_and(|name| name.as_str() == switch);
        agent.answers.values().find(is_of).cloned()
    }

    /// Everything it has said so far.
    pub(crate) fn recorded(&self) -> Vec<Vec<u8>> {
        self.said.lock().unwrap().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn clock(began: Instant) -> Time {
    Time::from_micros(began.elapsed().as_micros() as u64)
}

async fn speak(reach: &Reach, agent: &Mutex<Agent>, said: &Mutex<Vec<Vec<u8>>>, stop: &AtomicBool, began: Instant) {
    let sockets = Sockets::open(reach).unwrap();
    let mut buffer = [0; DATAGRAM_MAX + 1];
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        let _ = tokio::time::timeout(Duration::from_millis(5), sockets.readable()).await;
        let now = clock(began);
        while let Some((bytes, _)) = sockets.receive(turn, &mut buffer) {
            turn += 1;
            agent.lock().unwrap().datagram(bytes, now, now);
        }
        let say = {
            let mut agent = agent.lock().unwrap();
            if agent.next_deadline() <= now { agent.tick(now) } else { Vec::new() }
        };
        for bytes in say {
            sockets.send_to_all(&bytes);
            said.lock().unwrap().push(bytes);
        }
    }
}
