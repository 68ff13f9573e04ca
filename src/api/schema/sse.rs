//! The event stream on the wire: server-sent events (WHATWG HTML, section 9.2). One event is an `id:` line and one
//! `data:` line of JSON; a line that begins with `:` is a heartbeat and means nothing.

use crate::acm::event::Event;

/// The media type of an event stream.
pub const MEDIA_TYPE: &str = "text/event-stream";
/// What is sent while nothing happens, so that both ends notice a dead connection.
pub const HEARTBEAT: &str = ": alive\n\n";
/// The longest line a reader accepts, in bytes; no event is near it.
pub const LINE_MAX: usize = 64 * 1024;

/// One event as it is sent.
///
/// # Errors
/// serde's; none of the types of an event can fail to be written.
pub fn encode(event: &Event) -> Result<String, serde_json::Error> {
    // JSON of serde_json has no raw line break, so it fits one data line.
    Ok(format!("id: {}\ndata: {}\n\n", event.id, serde_json::to_string(event)?))
}

/// What a reader cannot accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadStream {
    /// A line beyond [`LINE_MAX`].
    #[error("a line of the event stream is longer than {LINE_MAX} bytes")]
    LongLine,
    /// Data that is no event.
    #[error("the event stream carries something that is not an event: {0}")]
    NotAnEvent(String),
}

/// Takes the stream apart, in pieces of any size.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    data: String,
}

impl Decoder {
    /// Takes the next piece and returns the events it completes.
    ///
    /// # Errors
    /// [`BadStream`]; the stream is then of no further use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, BadStream> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + piece.len() > LINE_MAX {
                return Err(BadStream::LongLine);
            }
            self.line.extend_from_slice(piece);
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                events.extend(self.take_line(&line)?);
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &[u8]) -> Result<Option<Event>, BadStream> {
        let text = std::str::from_utf8(line).map_err(|why| BadStream::NotAnEvent(why.to_string()))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if let Some(data) = text.strip_prefix("data:") {
            if self.data.len() + data.len() > LINE_MAX {
                return Err(BadStream::LongLine);
            }
            self.data.push_str(data);
            return Ok(None);
        }
        // An empty line ends an event; `id:` repeats what the data says; comments and unknown fields are skipped.
        if !text.is_empty() || self.data.is_empty() {
            return Ok(None);
        }
        let data = std::mem::take(&mut self.data);
        serde_json::from_str(&data).map(Some).map_err(|why| BadStream::NotAnEvent(why.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acm::event::{EventId, EventKind};
    use crate::acm::list::State;
    use crate::acm::words::{BindingKey, ServiceKey};
    use crate::base::id::{BindingId, Generation};

    fn event(number: u64) -> Event {
        let binding = BindingKey {
            service: ServiceKey::udp("[2001:db8::1]:53".parse().unwrap()),
            real: "[2001:db8::2]:53".parse().unwrap(),
        };
        let kind = EventKind::State {
            binding,
            id: BindingId(7),
            from: State::Pending,
            to: State::Active,
            reason: Some("first\nline".into()),
        };
        Event { id: EventId { boot: 9, number }, at: 1, generation: Generation(4), kind }
    }

    #[test]
    fn events_survive_in_pieces_of_any_size() {
        let sent: Vec<_> = (1..=5).map(event).collect();
        let mut text = String::from("retry: 10\n\n");
        for event in &sent {
            text += HEARTBEAT;
            text += &encode(event).unwrap();
        }
        for size in 1..text.len() {
            let mut decoder = Decoder::default();
            let got: Vec<_> = text.as_bytes().chunks(size).flat_map(|piece| decoder.push(piece).unwrap()).collect();
            assert_eq!(got, sent, "pieces of {size}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(Decoder::default().push(&vec![b'x'; LINE_MAX + 1]), Err(BadStream::LongLine));
        assert!(matches!(Decoder::default().push(b"data: {}\n\n"), Err(BadStream::NotAnEvent(_))));
        assert!(matches!(Decoder::default().push(b"data: \xff\n\n"), Err(BadStream::NotAnEvent(_))));
    }
}
