//! How a quirk is ordered: the text of the command line and of quirk files, read.

use std::str::FromStr;
use std::time::Duration;

use super::kinds::{Amount, Quirk, Takes};
use crate::time::Time;

/// A quirk with its value and its schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Which.
    pub quirk: Quirk,
    /// Its value, if one was given and it is a length of time or a number.
    pub amount: Option<Amount>,
    /// The chance of each occasion, from 0 to 1.
    pub chance: f64,
    /// Not before this long after the start.
    pub after: Duration,
    /// Not later than this long after `after`.
    pub lasts: Option<Duration>,
    /// At most once in this span.
    pub every: Option<Duration>,
    /// So many times, then never again.
    pub count: Option<u64>,
}

/// Why an order is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No quirk has that name.
    #[error("there is no quirk `{0}`: `switch-sim --list-quirks` names them")]
    Unknown(String),
    /// A value where none belongs.
    #[error("quirk `{0}` takes no value: write `{0}`, or a schedule such as `{0}@count=1`")]
    TakesNone(Quirk),
    /// A value that does not fit.
    #[error("`{word}={given}` of quirk `{quirk}`: {wanted}")]
    Value {
        /// Of which quirk.
        quirk: Quirk,
        /// The quirk's own name, or the word of the schedule.
        word: String,
        /// As given.
        given: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// A word that is no schedule.
    #[error(
        "quirk `{quirk}` has no schedule `@{given}`: after=SPAN, for=SPAN, every=SPAN, count=N and chance=P are there"
    )]
    Schedule {
        /// Of which quirk.
        quirk: Quirk,
        /// As given.
        given: String,
    },
    /// Ordered twice.
    #[error("quirk `{0}` is ordered twice: give it once, with one schedule")]
    Twice(Quirk),
    /// The same, in a file.
    #[error("line {line}: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong in it.
        why: Box<OrderError>,
    },
}

const SPAN: &str = "a length of time is wanted, such as 300 (milliseconds), 300ms, 2s or 1m";
const CHANCE: &str = "a chance is wanted, from 0 to 1 or from 0% to 100%";
const NUMBER: &str = "a whole number is wanted";

impl Order {
    /// Whether `now` lies between `after` and the end of `for`.
    pub fn covers(&self, now: Time) -> bool {
        let begin = Time::ZERO + self.after;
        begin <= now && self.lasts.is_none_or(|lasts| now < begin + lasts)
    }

    fn of(quirk: Quirk) -> Self {
        let chance = match quirk.takes() {
            Takes::Chance(chance) => chance,
            _ => 1.0,
        };
        Self { quirk, amount: None, chance, after: Duration::ZERO, lasts: None, every: None, count: None }
    }

    fn set_value(&mut self, given: &str) -> Result<(), OrderError> {
        let quirk = self.quirk;
        let wrong = |wanted| OrderError::Value { quirk, word: quirk.name().into(), given: given.into(), wanted };
        match quirk.takes() {
            Takes::Nothing => return Err(OrderError::TakesNone(quirk)),
            Takes::Chance(_) => self.chance = chance(given).ok_or(wrong(CHANCE))?,
            Takes::Span(_) => self.amount = Some(Amount::Span(span(given).ok_or(wrong(SPAN))?)),
            Takes::Number(..) => self.amount = Some(Amount::Number(given.parse().map_err(|_| wrong(NUMBER))?)),
        }
        Ok(())
    }

    fn set_schedule(&mut self, given: &str) -> Result<(), OrderError> {
        let quirk = self.quirk;
        let unknown = || OrderError::Schedule { quirk, given: given.into() };
        let (word, value) = given.split_once('=').ok_or_else(unknown)?;
        let wrong = |wanted| OrderError::Value { quirk, word: word.into(), given: value.into(), wanted };
        match word {
            "after" => self.after = span(value).ok_or(wrong(SPAN))?,
            "for" => self.lasts = Some(span(value).ok_or(wrong(SPAN))?),
            "every" => self.every = Some(span(value).ok_or(wrong(SPAN))?),
            "count" => self.count = Some(value.parse().map_err(|_| wrong(NUMBER))?),
            "chance" => self.chance = chance(value).ok_or(wrong(CHANCE))?,
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

impl FromStr for Order {
    type Err = OrderError;

    fn from_str(text: &str) -> Result<Self, OrderError> {
        let mut parts = text.trim().split('@');
        let head = parts.next().unwrap_or_default();
        let (name, value) = match head.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (head, None),
        };
        let known = Quirk::ALL.iter().find(|quirk| quirk.name() == name);
        let mut order = Order::of(*known.ok_or_else(|| OrderError::Unknown(name.into()))?);
        value.map_or(Ok(()), |value| order.set_value(value))?;
        parts.try_for_each(|schedule| order.set_schedule(schedule))?;
        Ok(order)
    }
}

/// Reads a quirk file: an order a line; blank lines and lines that begin with `#` say nothing.
///
/// # Errors
/// [`OrderError::Line`] for the first line that is no order.
pub fn parse_file(text: &str) -> Result<Vec<Order>, OrderError> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let orders = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    orders.map(|(line, text)| text.parse().map_err(|why| OrderError::Line { line, why: Box::new(why) })).collect()
}

fn chance(text: &str) -> Option<f64> {
    let chance = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&chance).then_some(chance)
}

/// A number with `ms`, `s`, `m` or `h`; without, milliseconds.
fn span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Result<Order, String> {
        text.parse::<Order>().map_err(|why| why.to_string())
    }

    #[test]
    fn values_and_schedules() {
        let whole = order("slow-output=2s@after=5s@for=1m@every=100@count=3@chance=50%").expect("an order");
        assert_eq!(
            whole,
            Order {
                quirk: Quirk::SlowOutput,
                amount: Some(Amount::Span(Duration::from_secs(2))),
                chance: 0.5,
                after: Duration::from_secs(5),
                lasts: Some(Duration::from_secs(60)),
                every: Some(Duration::from_millis(100)),
                count: Some(3),
            }
        );
        assert_eq!(order("swallow-input=1%").expect("an order").chance, 0.01);
        assert_eq!(order("half-open=77").expect("an order").amount, Some(Amount::Number(77)));
        assert_eq!(order("half-open").expect("an order").amount, None);
    }

    #[test]
    fn every_quirk_can_be_ordered_by_its_name() {
        for quirk in Quirk::ALL {
            assert_eq!(order(quirk.name()).expect("an order").quirk, *quirk);
        }
    }

    #[test]
    fn a_refusal_says_what_would_be_right() {
        let said: Vec<String> = [
            "swallow",
            "cr-and-lf=yes",
            "slow-output=soon",
            "swallow-input=2",
            "swallow-input=NaN",
            "half-open=-1",
            "login-hung@twice",
            "login-hung@count=many",
            "slow-output=99999999999999999999h",
        ]
        .iter()
        .map(|text| order(text).expect_err("no order"))
        .collect();
        let lines = [
            "there is no quirk `swallow`: `switch-sim --list-quirks` names them",
            "quirk `cr-and-lf` takes no value: write `cr-and-lf`, or a schedule such as `cr-and-lf@count=1`",
            "`slow-output=soon` of quirk `slow-output`: a length of time is wanted, such as 300 (milliseconds), 300ms, 2s or 1m",
            "`swallow-input=2` of quirk `swallow-input`: a chance is wanted, from 0 to 1 or from 0% to 100%",
            "`swallow-input=NaN` of quirk `swallow-input`: a chance is wanted, from 0 to 1 or from 0% to 100%",
            "`half-open=-1` of quirk `half-open`: a whole number is wanted",
            "quirk `login-hung` has no schedule `@twice`: after=SPAN, for=SPAN, every=SPAN, count=N and chance=P are there",
            "`count=many` of quirk `login-hung`: a whole number is wanted",
            "`slow-output=99999999999999999999h` of quirk `slow-output`: a length of time is wanted, such as 300 (milliseconds), 300ms, 2s or 1m",
        ];
        assert_eq!(said, lines);
    }

    #[test]
    fn a_file_has_an_order_a_line() {
        let read = parse_file("# an old box\n\ncr-and-lf\n  space-before-colon \n").expect("orders");
        assert_eq!(read.iter().map(|order| order.quirk).collect::<Vec<_>>(), [Quirk::CrAndLf, Quirk::SpaceBeforeColon]);
        let wrong = parse_file("cr-and-lf\n\nbroken\n").expect_err("line 3 is no order");
        assert!(wrong.to_string().starts_with("line 3: there is no quirk `broken`"), "{wrong}");
    }
}
