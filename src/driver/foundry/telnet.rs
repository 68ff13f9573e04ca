//! The client's side of telnet (RFC 854, 855): takes commands out of what comes, escapes what goes.
//!
//! `ECHO` and `SUPPRESS-GO-AHEAD` are welcome from the other side; everything else is refused, which every server must
//! accept. An answer is sent only when it changes something, so no peer can make us talk in circles.

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;

const ECHO: u8 = 1;
const SUPPRESS_GO_AHEAD: u8 = 3;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Data,
    Command,
    /// Behind `WILL`, `WONT`, `DO` or `DONT`.
    Option(u8),
    /// Inside a subnegotiation, which is skipped.
    Sub,
    SubCommand,
}

/// The state of one connection.
#[derive(Debug, Clone)]
pub struct Telnet {
    state: State,
    /// Options that the other side has and we agreed to, by number.
    theirs: [bool; 256],
}

impl Default for Telnet {
    fn default() -> Telnet {
        Telnet { state: State::Data, theirs: [false; 256] }
    }
}

impl Telnet {
    /// Takes bytes off the wire: the data in them goes to `data`, what must be answered to `reply`.
    pub fn receive(&mut self, bytes: &[u8], data: &mut Vec<u8>, reply: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(byte) = rest.first().copied() {
            if self.state == State::Data {
                let plain = rest.iter().position(|byte| *byte == IAC).unwrap_or(rest.len());
                data.extend_from_slice(&rest[..plain]);
                rest = &rest[plain..];
                if !rest.is_empty() {
                    self.state = State::Command;
                    rest = &rest[1..];
                }
                continue;
            }
            rest = &rest[1..];
            self.state = match (self.state, byte) {
                (State::Command, WILL | WONT | DO | DONT) => State::Option(byte),
                (State::Command, SB) => State::Sub,
                (State::Command, IAC) => {
                    data.push(IAC);
                    State::Data
                }
                (State::Option(verb), option) => {
                    self.answer(verb, option, reply);
                    State::Data
                }
                (State::Sub, IAC) => State::SubCommand,
                (State::SubCommand, SE) => State::Data,
                (State::Sub | State::SubCommand, _) => State::Sub,
                // GA, NOP, AYT and whatever else: nothing for us.
                (State::Command | State::Data, _) => State::Data,
            };
        }
    }

    fn answer(&mut self, verb: u8, option: u8, reply: &mut Vec<u8>) {
        let has = &mut self.theirs[usize::from(option)];
        match verb {
            WILL if *has => {}
            WILL if matches!(option, ECHO | SUPPRESS_GO_AHEAD) => {
                *has = true;
                reply.extend([IAC, DO, option]);
            }
            WILL => reply.extend([IAC, DONT, option]),
            WONT if *has => {
                *has = false;
                reply.extend([IAC, DONT, option]);
            }
            DO => reply.extend([IAC, WONT, option]),
            // WONT of what is off, and DONT, since we have nothing on: no change, no answer.
            _ => {}
        }
    }

    /// Escapes bytes for the wire: IAC is doubled, and a CR that stands alone is CR NUL.
    pub fn send(&self, bytes: &[u8], wire: &mut Vec<u8>) {
        for byte in bytes {
            if *byte == IAC {
                wire.push(IAC);
            }
            wire.push(*byte);
            if *byte == b'\r' {
                wire.push(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(telnet: &mut Telnet, bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut data, mut reply) = (Vec::new(), Vec::new());
        telnet.receive(bytes, &mut data, &mut reply);
        (data, reply)
    }

    #[test]
    fn echo_is_welcome_and_the_rest_refused() {
        let mut telnet = Telnet::default();
        let offer = [IAC, WILL, ECHO, IAC, DO, 24, IAC, WILL, 5, b'x', IAC, IAC, IAC, DONT, 1];
        let (data, reply) = receive(&mut telnet, &offer);
        assert_eq!(data, [b'x', IAC]);
        assert_eq!(reply, [IAC, DO, ECHO, IAC, WONT, 24, IAC, DONT, 5]);
        assert!(receive(&mut telnet, &[IAC, WILL, ECHO]).1.is_empty(), "agreed already");
        assert_eq!(receive(&mut telnet, &[IAC, WONT, ECHO]).1, [IAC, DONT, ECHO]);
        assert!(receive(&mut telnet, &[IAC, WONT, ECHO]).1.is_empty());
    }

    #[test]
    fn bytes_one_at_a_time_are_the_same() {
        let wire = [b'a', IAC, SB, 24, 1, IAC, IAC, SE, IAC, SE, b'b', IAC, 241, b'c', IAC, WILL, ECHO, b'd'];
        let mut telnet = Telnet::default();
        let (mut data, mut reply) = (Vec::new(), Vec::new());
        for byte in wire {
            telnet.receive(&[byte], &mut data, &mut reply);
        }
        assert_eq!((data, reply), (b"abcd".to_vec(), vec![IAC, DO, ECHO]));
        assert_eq!(receive(&mut Telnet::default(), &wire).0, b"abcd");
    }

    #[test]
    fn what_is_sent_is_escaped() {
        let mut wire = Vec::new();
        Telnet::default().send(b"a\xffb\r", &mut wire);
        assert_eq!(wire, b"a\xff\xffb\r\0");
    }
}
