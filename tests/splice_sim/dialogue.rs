//! A client's half of a conversation, whatever TCP carries it: which requests are made when, and whether each answer is
//! the one that is due.

use std::time::Duration;

use acm_switch::base::time::Time;

use super::hello::Hello;
use super::talk::{Ask, Body, Due, Piece, Reader};

/// What one client does.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    /// What it says before its first request.
    pub(crate) hello: Option<Hello>,
    pub(crate) asks: Vec<Ask>,
    /// Of its request of this number it says only so many bytes, with what comes before the first.
    pub(crate) stalls: Option<(usize, usize)>,
    /// Requests under way at once.
    pub(crate) pipeline: usize,
    /// From an answer to the next request.
    pub(crate) thinks: Duration,
    pub(crate) starts: Time,
    pub(crate) ending: Ending,
    /// A server may reset the connection.
    pub(crate) may_be_reset: bool,
    /// Nobody may tell it that its connection has been ended.
    pub(crate) may_hear_nothing: bool,
    /// The switch may say that there is no server.
    pub(crate) may_be_refused: bool,
    /// The switch may find that a head took too long.
    pub(crate) may_be_late: bool,
    /// It lies, so no answer is wrong.
    pub(crate) anything_goes: bool,
    pub(crate) cookies: Cookies,
    /// Servers that cease to take anything new at some time: nobody is told to come back to them then.
    pub(crate) leaving: Vec<u32>,
}

/// Whether a client is to be told a cookie by which it comes back; it shows the one it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cookies {
    None,
    /// With each response, unless it has shown the one of that server.
    Each,
    /// With the first response of the connection.
    First,
}

/// How a client ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It closes when everything was answered, or the server does.
    Closes,
    /// It closes its direction with the last request.
    HalfCloses,
    /// It resets at this time after it began.
    Aborts(Duration),
    /// It leaves when everything was answered, saying nothing.
    Vanishes,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Waiting,
    Talking,
    /// Everything was answered.
    Done,
    /// The connection ended before.
    Broken,
}

pub(crate) struct Dialogue {
    pub(crate) errand: Errand,
    pub(crate) fate: Fate,
    asked: usize,
    pub(crate) answered: usize,
    reader: Reader,
    /// Who answers the request at hand.
    answering: Option<u32>,
    next_ask: Time,
    pub(crate) wrong: Vec<String>,
    /// Who answered each request: a server, or 0 for the switch.
    pub(crate) answers: Vec<u32>,
    /// The cookie it was told last, and by whom.
    cookie: Option<(String, u32)>,
    /// Whose cookie it showed with each request.
    pub(crate) shown: Vec<Option<u32>>,
}

impl Dialogue {
    pub(crate) fn new(errand: Errand) -> Dialogue {
        Dialogue {
            next_ask: errand.starts,
            errand,
            fate: Fate::Waiting,
            asked: 0,
            answered: 0,
            reader: Reader::new(),
            answering: None,
            wrong: vec![],
            answers: vec![],
            cookie: None,
            shown: vec![],
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.fate, Fate::Done | Fate::Broken)
    }

    pub(crate) fn has_asked_all(&self) -> bool {
        self.asked == self.errand.asks.len()
    }

    /// When it resets its connection.
    pub(crate) fn aborts_at(&self) -> Option<Time> {
        match self.errand.ending {
            Ending::Aborts(after) => Some(self.errand.starts + after),
            _ => None,
        }
    }

    /// When it wants a turn.
    pub(crate) fn wake(&self, now: Time) -> Option<Time> {
        match self.fate {
            Fate::Waiting => Some(self.errand.starts),
            Fate::Talking => {
                let asks = (!self.has_asked_all() && self.next_ask > now).then_some(self.next_ask);
                [asks, self.aborts_at()].into_iter().flatten().min()
            }
            Fate::Done | Fate::Broken => None,
        }
    }

    /// Writes the requests whose time has come.
    pub(crate) fn ask(&mut self, now: Time, to: &mut Vec<u8>) {
        while !self.has_asked_all() && self.asked - self.answered < self.errand.pipeline && now >= self.next_ask {
            let mut ask = self.errand.asks[self.asked].clone();
            if let Some((token, _)) = &self.cookie {
                ask.headers.push_str(&format!("Cookie: acm={token}\r\n"));
            }
            self.shown.push(self.cookie.as_ref().map(|(_, server)| *server));
            let before = to.len();
            if let Some(hello) = self.errand.hello.filter(|_| self.asked == 0) {
                to.extend(hello.write());
            }
            ask.write(to);
            if let Some((_, bytes)) = self.errand.stalls.filter(|(number, _)| *number == self.asked) {
                to.truncate(before + bytes);
            }
            self.asked += 1;
        }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.reader.feed(bytes);
    }

    /// Makes sense of what has come. `ended`: nothing more will; `was_reset`: and not by a FIN.
    pub(crate) fn read(&mut self, now: Time, ended: bool, was_reset: bool) {
        if let Err(why) = self.read_pieces(now, ended && !was_reset) {
            self.wrong.push(why);
            self.fate = Fate::Broken;
        } else if self.answered == self.errand.asks.len() {
            self.fate = Fate::Done;
        } else if ended {
            self.fate = Fate::Broken;
            self.broke(was_reset);
        }
    }

    fn read_pieces(&mut self, now: Time, ended: bool) -> Result<(), String> {
        loop {
            match self.reader.next()? {
                Some(Piece::Head(head)) => self.read_head(&head)?,
                Some(Piece::End) => self.answer_ended(now),
                Some(Piece::Alert) => self.read_alert()?,
                Some(Piece::Hello(hello)) => return Err(format!("{hello:?} from a server")),
                None => break,
            }
        }
        if ended && self.reader.is_read_to_the_end() {
            self.answer_ended(now);
            self.reader = Reader::new();
        }
        Ok(())
    }

    fn read_head(&mut self, head: &str) -> Result<(), String> {
        let Some(ask) = self.errand.asks.get(self.answered).filter(|_| self.answered < self.asked) else {
            return Err(format!("an answer that nobody asked for: {head:?}"));
        };
        let status: u16 = head.get(9..12).and_then(|text| text.parse().ok()).ok_or(format!("status of {head:?}"))?;
        let cookie = told(head)?;
        if status < 200 && cookie.is_none() {
            return if ask.interim { Ok(()) } else { Err(format!("{head:?} that no server sent")) };
        }
        let name: Option<u32> = head.lines().find_map(|line| line.strip_prefix("Server-Name: s")?.parse().ok());
        match (&ask.due, name) {
            (Due::From(servers), Some(name)) if servers.contains(&name) => {
                self.answering = Some(name);
                let wants = match self.errand.cookies {
                    Cookies::None => false,
                    Cookies::Each => self.shown[self.answered] != Some(name),
                    Cookies::First => self.answered == 0,
                };
                let may_lack = cookie.is_none() && self.errand.leaving.contains(&name);
                if cookie.is_some() != wants && !may_lack {
                    return Err(format!("{:?} was shown, and this was told: {head:?}", self.shown[self.answered]));
                }
                self.cookie = cookie.map(|token| (token, name)).or(self.cookie.take());
                let ask = &self.errand.asks[self.answered];
                let body = if ask.method == "HEAD" { Body::None } else { ask.answer };
                self.reader.body(body, ask.id, name);
                Ok(())
            }
            (Due::From(_), None)
                if (status == 503 && self.errand.may_be_refused) || (status == 408 && self.errand.may_be_late) =>
            {
                self.answered = self.errand.asks.len();
                self.answers.push(0);
                Ok(())
            }
            (Due::Switch(due), None) if status == *due => {
                // Its body is its own affair; it closes afterwards.
                self.answered = self.errand.asks.len();
                self.answers.push(0);
                Ok(())
            }
            (due, _) => Err(format!("{due:?} should answer {:?} {}, but: {head:?}", ask.id, ask.path)),
        }
    }

    fn read_alert(&mut self) -> Result<(), String> {
        let ask = &self.errand.asks[self.answered];
        if ask.due != Due::Alert && !self.errand.may_be_late {
            return Err(format!("{:?} should answer {:?}, but an alert did", ask.due, ask.id));
        }
        self.answered = self.errand.asks.len();
        self.answers.push(0);
        Ok(())
    }

    fn answer_ended(&mut self, now: Time) {
        self.answers.push(self.answering.take().unwrap_or(0));
        self.answered += 1;
        self.next_ask = now + self.errand.thinks;
    }

    /// The connection ended before everything was answered: was it meant to?
    fn broke(&mut self, was_reset: bool) {
        let ask = &self.errand.asks[self.answered];
        match (&ask.due, was_reset) {
            (Due::Reset, true) | (Due::Closed, false) => self.fate = Fate::Done,
            (_, true) if self.errand.may_be_reset => {}
            (due, _) => self.wrong.push(format!(
                "{:?}, reset: {was_reset}, but {due:?} owes an answer to {}; {} bytes left",
                ask.id,
                ask.path,
                self.reader.left().len()
            )),
        }
    }
}

/// The cookie of the switch's own in a head, where it must be and as it must be.
fn told(head: &str) -> Result<Option<String>, String> {
    let lines: Vec<_> = head.lines().collect();
    let cookies = lines.iter().filter(|line| line.starts_with("Set-Cookie")).count();
    let Some(line) = lines.get(1).filter(|_| cookies > 0) else { return Ok(None) };
    let token =
        line.strip_prefix("Set-Cookie: acm=").and_then(|rest| rest.strip_suffix("; Path=/; HttpOnly; SameSite=Lax"));
    match token {
        Some(token) if cookies == 1 && token.len() == 34 => Ok(Some(token.to_owned())),
        _ => Err(format!("not the cookie that should be there: {head:?}")),
    }
}
