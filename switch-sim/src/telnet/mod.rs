//! Telnet, without a socket: RFC 854 (the protocol), 855 (options), 857 (ECHO), 858 (SUPPRESS-GO-AHEAD).
//!
//! ```text
//!  from the wire -> receive() -> what was typed, and answers for the wire
//!  for the screen -> send()   -> bytes for the wire, 255 doubled
//! ```
//!
//! The device offers ECHO and SUPPRESS-GO-AHEAD and refuses the rest, without loops: a request for what holds already
//! is not answered (RFC 854). It echoes whatever the client says to that. RFC 857 would have it stop after DONT ECHO,
//! but programs that drive such devices refuse every option and still wait for the echo of what they sent.
//!
//! Not here: line ends. CR NUL, CR LF and the rest are told apart where keys are (`terminal/keys.rs`).

const SE: u8 = 240;
const BREAK: u8 = 243;
const INTERRUPT: u8 = 244;
const ARE_YOU_THERE: u8 = 246;
const ERASE_CHARACTER: u8 = 247;
const ERASE_LINE: u8 = 248;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;

const ECHO: u8 = 1;
const SUPPRESS_GO_AHEAD: u8 = 3;

/// So long a subnegotiation may be. None is wanted here; one that never ends must not swallow the session for good.
pub const SUBNEGOTIATION_MAX: usize = 1024;

/// One side of a telnet connection: the device's.
#[derive(Debug)]
pub struct Telnet {
    state: State,
    echo: Ours,
    go_ahead: Ours,
    /// Whether the client suppresses its go-aheads.
    client_suppresses: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Command,
    Option(u8),
    Sub { seen: usize },
    SubCommand { seen: usize },
}

/// An option of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    Offered,
    On,
    Off,
}

impl Default for Telnet {
    fn default() -> Self {
        Self { state: State::Data, echo: Ours::Offered, go_ahead: Ours::Offered, client_suppresses: false }
    }
}

impl Telnet {
    /// What the device says first.
    pub const OPENING: [u8; 6] = [IAC, WILL, ECHO, IAC, WILL, SUPPRESS_GO_AHEAD];

    /// Takes bytes from the wire: appends what was typed to `typed` and answers to `wire`. Neither grows by more than
    /// two bytes a byte received (the answer to ARE-YOU-THERE, ten for two, aside).
    pub fn receive(&mut self, bytes: &[u8], typed: &mut Vec<u8>, wire: &mut Vec<u8>) {
        for &byte in bytes {
            self.state = self.step(byte, typed, wire);
        }
    }

    /// Appends text for the screen to the wire.
    pub fn send(text: &[u8], wire: &mut Vec<u8>) {
        for &byte in text {
            if byte == IAC {
                wire.push(IAC);
            }
            wire.push(byte);
        }
    }

    fn step(&mut self, byte: u8, typed: &mut Vec<u8>, wire: &mut Vec<u8>) -> State {
        match (self.state, byte) {
            (State::Data, IAC) => State::Command,
            (State::Data, _) => {
                typed.push(byte);
                State::Data
            }
            (State::Command, SB) => State::Sub { seen: 0 },
            (State::Command, WILL | WONT | DO | DONT) => State::Option(byte),
            (State::Command, _) => {
                Self::command(byte, typed, wire);
                State::Data
            }
            (State::Option(verb), option) => {
                self.negotiate(verb, option, wire);
                State::Data
            }
            (State::Sub { seen }, IAC) => State::SubCommand { seen },
            (State::SubCommand { .. }, SE) => State::Data,
            (State::Sub { seen } | State::SubCommand { seen }, _) if seen < SUBNEGOTIATION_MAX => {
                State::Sub { seen: seen + 1 }
            }
            (State::Sub { .. } | State::SubCommand { .. }, _) => State::Data,
        }
    }

    /// The commands of RFC 854 as the keys they stand for; the others do nothing.
    fn command(command: u8, typed: &mut Vec<u8>, wire: &mut Vec<u8>) {
        match command {
            IAC => typed.push(IAC),
            INTERRUPT | BREAK => typed.push(0x03),
            ERASE_CHARACTER => typed.push(0x08),
            ERASE_LINE => typed.push(0x15),
            ARE_YOU_THERE => wire.extend_from_slice(b"\r\n[Yes]\r\n"),
            _ => {}
        }
    }

    fn negotiate(&mut self, verb: u8, option: u8, wire: &mut Vec<u8>) {
        let ours = match option {
            ECHO => Some(&mut self.echo),
            SUPPRESS_GO_AHEAD => Some(&mut self.go_ahead),
            _ => None,
        };
        let answer = match (verb, ours) {
            (DO, Some(ours)) => {
                let said_before = std::mem::replace(ours, Ours::On) != Ours::Off;
                (!said_before).then_some(WILL)
            }
            // A refused offer needs no answer, a withdrawn consent does.
            (DONT, Some(ours)) => (std::mem::replace(ours, Ours::Off) == Ours::On).then_some(WONT),
            (DO, None) => Some(WONT),
            (WILL, _) if option == SUPPRESS_GO_AHEAD => {
                (!std::mem::replace(&mut self.client_suppresses, true)).then_some(DO)
            }
            (WONT, _) if option == SUPPRESS_GO_AHEAD => {
                std::mem::replace(&mut self.client_suppresses, false).then_some(DONT)
            }
            (WILL, _) => Some(DONT),
            // DONT and WONT for what is off already.
            _ => None,
        };
        if let Some(answer) = answer {
            wire.extend_from_slice(&[IAC, answer, option]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes whole and one by one: both must come to the same.
    fn receive(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut typed, mut wire) = (Vec::new(), Vec::new());
        Telnet::default().receive(bytes, &mut typed, &mut wire);
        let (mut slowly, mut answers, mut telnet) = (Vec::new(), Vec::new(), Telnet::default());
        bytes.iter().for_each(|byte| telnet.receive(&[*byte], &mut slowly, &mut answers));
        assert_eq!((&slowly, &answers), (&typed, &wire), "bytewise is as in a burst");
        (typed, wire)
    }

    #[test]
    fn consent_to_an_offer_needs_no_answer_and_neither_does_its_refusal() {
        assert_eq!(receive(&[IAC, DO, ECHO, IAC, DO, SUPPRESS_GO_AHEAD, b'x']), (vec![b'x'], vec![]));
        assert_eq!(receive(&[IAC, DONT, ECHO, IAC, DONT, SUPPRESS_GO_AHEAD, b'x']), (vec![b'x'], vec![]));
    }

    #[test]
    fn a_change_of_mind_is_acknowledged_once() {
        let (_, wire) = receive(&[IAC, DO, ECHO, IAC, DONT, ECHO, IAC, DONT, ECHO, IAC, DO, ECHO, IAC, DO, ECHO]);
        assert_eq!(wire, [IAC, WONT, ECHO, IAC, WILL, ECHO]);
    }

    #[test]
    fn everything_else_is_refused() {
        let (typed, wire) = receive(&[IAC, DO, 24, IAC, WILL, 31, IAC, DONT, 24, IAC, WONT, 31, IAC, WILL, ECHO]);
        assert_eq!(typed, []);
        assert_eq!(wire, [IAC, WONT, 24, IAC, DONT, 31, IAC, DONT, ECHO]);
    }

    #[test]
    fn a_clients_suppression_is_welcome() {
        let sga = SUPPRESS_GO_AHEAD;
        let (_, wire) = receive(&[IAC, WILL, sga, IAC, WILL, sga, IAC, WONT, sga, IAC, WONT, sga]);
        assert_eq!(wire, [IAC, DO, sga, IAC, DONT, sga]);
    }

    #[test]
    fn commands_are_keys() {
        let (typed, wire) = receive(&[b'a', IAC, IAC, IAC, INTERRUPT, IAC, ERASE_LINE, IAC, ERASE_CHARACTER, IAC, 241]);
        assert_eq!((typed, wire), (vec![b'a', IAC, 0x03, 0x15, 0x08], vec![]));
        assert_eq!(receive(&[IAC, ARE_YOU_THERE]).1, b"\r\n[Yes]\r\n");
    }

    #[test]
    fn a_subnegotiation_is_skipped_and_ends_at_its_bound() {
        assert_eq!(receive(&[IAC, SB, 24, 0, b'x', IAC, IAC, b'y', IAC, SE, b'z']), (vec![b'z'], vec![]));
        let mut endless = vec![IAC, SB];
        endless.extend(vec![b'x'; SUBNEGOTIATION_MAX + 1]);
        endless.extend(b"show");
        assert_eq!(receive(&endless).0, b"show");
    }

    #[test]
    fn the_screen_may_show_every_byte() {
        let mut wire = Vec::new();
        Telnet::send(&[b'a', IAC, b'b'], &mut wire);
        assert_eq!(wire, [b'a', IAC, IAC, b'b']);
    }
}
