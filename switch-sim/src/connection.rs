//! A whole connection without a socket: a terminal, and telnet around it where the peer speaks telnet.
//!
//! The server runs one for each of its sockets; a test runs one in memory and in virtual time:
//!
//! ```text
//!  loop { poll(now); send(take_output(now)); }   until nothing comes
//!  wait for: bytes -> input(bytes, now)  |  next_deadline()  |  another session's doings
//! ```

use std::net::IpAddr;

use crate::shell::{Origin, SessionId, Shell, Transport};
use crate::telnet::Telnet;
use crate::terminal::{Settings, Terminal};
use crate::time::Time;

/// One connection to the device.
#[derive(Debug)]
pub struct Connection {
    terminal: Terminal,
    telnet: Option<Telnet>,
    /// Answers to negotiations, and the opening: they wait for nothing.
    wire: Vec<u8>,
}

impl Connection {
    /// A telnet connection has come in.
    ///
    /// # Errors
    /// What the device prints before it hangs up.
    pub fn telnet(settings: Settings, peer: Option<IpAddr>, shell: &mut dyn Shell, now: Time) -> Result<Self, String> {
        let origin = Origin { transport: Transport::Telnet, peer };
        let terminal = Terminal::open(settings, origin, shell, now)?;
        Ok(Self { terminal, telnet: Some(Telnet::default()), wire: Telnet::OPENING.to_vec() })
    }

    /// An SSH session, logged in already, has asked for a shell, or for one command.
    pub fn ssh(
        settings: Settings,
        peer: Option<IpAddr>,
        session: SessionId,
        command: Option<&str>,
        shell: &mut dyn Shell,
        now: Time,
    ) -> Self {
        let origin = Origin { transport: Transport::Ssh, peer };
        let terminal = match command {
            Some(command) => Terminal::command(settings, origin, session, command, shell, now),
            None => Terminal::resume(settings, origin, session, shell, now),
        };
        Self { terminal, telnet: None, wire: Vec::new() }
    }

    /// How many bytes from the peer are taken now. Who has more waits, and reads no further.
    pub fn room(&self) -> usize {
        self.terminal.room()
    }

    /// Takes bytes from the peer, at most [`Connection::room`]; says how many were taken.
    pub fn input(&mut self, bytes: &[u8], shell: &mut dyn Shell, now: Time) -> usize {
        let taken = bytes.len().min(self.room());
        match &mut self.telnet {
            Some(telnet) => {
                let mut typed = Vec::with_capacity(taken);
                telnet.receive(&bytes[..taken], &mut typed, &mut self.wire);
                self.terminal.input(&typed, shell, now);
            }
            None => {
                self.terminal.input(&bytes[..taken], shell, now);
            }
        }
        taken
    }

    /// Does what has become due.
    pub fn poll(&mut self, shell: &mut dyn Shell, now: Time) {
        self.terminal.poll(shell, now);
    }

    /// Takes what is to be sent now.
    pub fn take_output(&mut self, now: Time) -> Vec<u8> {
        let shown = self.terminal.take_output(now);
        let mut wire = std::mem::take(&mut self.wire);
        match self.telnet {
            Some(_) => Telnet::send(&shown, &mut wire),
            None => wire = shown,
        }
        wire
    }

    /// When there is something to do without the peer.
    pub fn next_deadline(&self, shell: &dyn Shell) -> Option<Time> {
        self.terminal.next_deadline(shell)
    }

    /// True when it is to be closed.
    pub fn is_closed(&self) -> bool {
        self.terminal.is_closed()
    }

    /// True when a fault has cut it.
    pub fn is_cut(&self) -> bool {
        self.terminal.is_cut()
    }

    /// True while only the peer can make something happen.
    pub fn is_waiting(&self) -> bool {
        self.terminal.is_waiting()
    }

    /// True once a key was pressed; negotiations do not count.
    pub fn has_typed(&self) -> bool {
        self.terminal.has_typed()
    }

    /// True once its session is past the login dialogue.
    pub fn is_logged_in(&self) -> bool {
        self.terminal.is_logged_in()
    }

    /// The peer has gone, or is wanted gone.
    pub fn hang_up(&mut self, shell: &mut dyn Shell, now: Time) {
        self.terminal.hang_up(shell, now);
    }
}
