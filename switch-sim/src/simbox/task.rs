//! Real TCP checks: the only place of the simulated box that connects to anything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::checks::{Checks, Outcome};
use crate::slb::balancer::Waker;

/// Connections being tried at one time. A check that finds no place is left out; the next one comes after the interval.
const AT_ONCE_MAX: usize = 256;

/// Connects to real services, on a Tokio runtime.
pub struct TcpChecks {
    runtime: Handle,
    patience: Duration,
    places: Arc<Semaphore>,
    found: Arc<Mutex<Vec<(SocketAddr, Outcome)>>>,
    waker: Option<Waker>,
}

impl TcpChecks {
    /// Checks that give up after `patience`.
    pub fn new(runtime: Handle, patience: Duration) -> TcpChecks {
        TcpChecks {
            runtime,
            patience,
            places: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            found: Arc::default(),
            waker: None,
        }
    }
}

impl Checks for TcpChecks {
    fn begin(&mut self, target: SocketAddr) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let (patience, found, waker) = (self.patience, Arc::clone(&self.found), self.waker.clone());
        self.runtime.spawn(async move {
            let _place = place;
            let outcome = match timeout(patience, TcpStream::connect(target)).await {
                Ok(Ok(_)) => Outcome::Accepts,
                Ok(Err(_)) | Err(_) => Outcome::Refuses,
            };
            found.lock().unwrap_or_else(PoisonError::into_inner).push((target, outcome));
            if let Some(wake) = waker {
                wake();
            }
        });
    }

    fn outcomes(&mut self) -> Vec<(SocketAddr, Outcome)> {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_waker(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }
}
