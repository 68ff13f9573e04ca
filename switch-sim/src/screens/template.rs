//! The template file: every text and screen of the device that no source vouches for, and those it is handy to replace.
//!
//! ```text
//!  ;; a comment
//!  [[server-bind.virtual]]                  a section; it ends with the next one
//!  Virtual server: {name:18} IP: {address}  {field}, {field:width} left, {field:>width} right; {{ is a brace
//!
//!  [[server-bind.virtual@serveriron-xl]]    the same for one personality
//! ```
//!
//! A blank line before the next section's header belongs to nothing. A file of one's own replaces the sections it has; the
//! others stay as they were built in. A section or field that does not exist, or a brace that does not close, is an
//! error with its line when the file is loaded, never when a screen is shown.

use std::fmt::{self, Display, Write as _};

use super::texts::Text;
use crate::personality::Personality;

const BUILT_IN: &str = include_str!("templates.txt");

/// The texts of one device.
#[derive(Debug, Clone)]
pub struct Templates {
    sections: Vec<Vec<Line>>,
}

type Line = Vec<Piece>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field { index: usize, width: usize, right: bool },
}

/// What is wrong with a template file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("templates, line {line}: {why}")]
pub struct TemplateError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: Wrong,
}

/// See [`TemplateError`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// A section that no screen asks for.
    NoSuchSection(String),
    /// A personality that does not exist.
    NoSuchPersonality(String),
    /// The same section twice.
    Twice(String),
    /// A header that does not end with `]]`.
    OpenHeader,
    /// A line before the first section.
    NoSection,
    /// A field that the section does not have.
    NoSuchField {
        /// The field.
        field: String,
        /// The section.
        section: &'static str,
        /// The fields it has.
        has: &'static [&'static str],
    },
    /// A brace without its partner.
    Brace,
    /// A width that is no number up to 255.
    Width(String),
}

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::NoSuchSection(name) => {
                write!(f, "no screen has a section `{name}`; the built-in file names all of them")
            }
            Wrong::NoSuchPersonality(name) => {
                write!(f, "`@{name}` is no personality: serveriron-xl, serveriron-adx, acm")
            }
            Wrong::Twice(name) => write!(f, "section `{name}` is here twice; keep one"),
            Wrong::OpenHeader => f.write_str("a section's header ends with `]]`"),
            Wrong::NoSection => {
                f.write_str("this line is in no section; begin with `[[section]]`, or `;;` for a comment")
            }
            Wrong::NoSuchField { field, section, has: [] } => {
                write!(f, "section `{section}` has no fields, so not `{{{field}}}`; write {{{{ for a brace")
            }
            Wrong::NoSuchField { field, section, has } => {
                write!(f, "section `{section}` has no field `{field}`; it has: {}", has.join(", "))
            }
            Wrong::Brace => f.write_str("a brace is not closed; write {{ or }} for a brace that is printed"),
            Wrong::Width(text) => {
                write!(f, "`{text}` is no width; write `{{field:12}}` or `{{field:>12}}`, at most 255")
            }
        }
    }
}

impl Templates {
    /// The texts built in.
    ///
    /// # Panics
    /// If the built-in file is broken; a test loads it.
    pub fn built_in(personality: Personality) -> Templates {
        let mut templates = Templates { sections: vec![Vec::new(); Text::ALL.len()] };
        templates.read(BUILT_IN, personality).unwrap_or_else(|why| panic!("built-in {why}"));
        templates
    }

    /// The built-in file, as a start for one's own.
    pub fn built_in_file() -> &'static str {
        BUILT_IN
    }

    /// The texts built in, but for the sections of this file.
    ///
    /// # Errors
    /// The first thing wrong with the file.
    pub fn with_file(file: &str, personality: Personality) -> Result<Templates, TemplateError> {
        let mut templates = Templates::built_in(personality);
        templates.read(file, personality)?;
        Ok(templates)
    }

    fn read(&mut self, file: &str, personality: Personality) -> Result<(), TemplateError> {
        let mut open: Option<(Text, bool)> = None;
        let mut seen: Vec<String> = Vec::new();
        let mut ours: Vec<Text> = Vec::new();
        let mut body: Vec<Line> = Vec::new();
        for (at, line) in file.lines().enumerate() {
            let fail = |why| TemplateError { line: at + 1, why };
            let line = line.trim_end_matches('\r');
            if line.starts_with(";;") {
                continue;
            }
            let Some(header) = line.strip_prefix("[[") else {
                match open {
                    Some((text, _)) => body.push(pieces(line, text).map_err(fail)?),
                    None if line.trim().is_empty() => {}
                    None => return Err(fail(Wrong::NoSection)),
                }
                continue;
            };
            self.close(open, &mut body);
            let header = header.trim_end().strip_suffix("]]").ok_or_else(|| fail(Wrong::OpenHeader))?;
            let (name, of) = header.split_once('@').map_or((header, None), |(name, of)| (name, Some(of)));
            let text = Text::ALL.iter().find(|text| text.section() == name);
            let text = *text.ok_or_else(|| fail(Wrong::NoSuchSection(name.into())))?;
            let of = of.map(|of| of.parse::<Personality>().map_err(|_| fail(Wrong::NoSuchPersonality(of.into()))));
            let of = of.transpose()?;
            if seen.iter().any(|known| known == header) {
                return Err(fail(Wrong::Twice(header.into())));
            }
            seen.push(header.to_owned());
            // A personality's own section wins over the general one, wherever the two stand.
            let mine = of.map_or(!ours.contains(&text), |of| of == personality);
            if mine && of.is_some() {
                ours.push(text);
            }
            open = Some((text, mine));
        }
        self.close(open, &mut body);
        Ok(())
    }

    fn close(&mut self, open: Option<(Text, bool)>, body: &mut Vec<Line>) {
        if body.last().is_some_and(|line| line.is_empty()) {
            body.pop();
        }
        let lines = std::mem::take(body);
        if let Some((text, true)) = open {
            self.sections[text as usize] = lines;
        }
    }

    /// The lines of a text with these values, in the order of the section's fields.
    pub fn lines(&self, text: Text, values: &[&dyn Display]) -> Vec<String> {
        let mut lines = Vec::new();
        self.write(&mut lines, text, values);
        lines
    }

    /// Adds the lines of a text to a screen.
    pub fn write(&self, screen: &mut Vec<String>, text: Text, values: &[&dyn Display]) {
        debug_assert_eq!(values.len(), text.fields().len(), "the fields of `{}`", text.section());
        screen.extend(self.sections[text as usize].iter().map(|line| filled(line, values)));
    }

    /// A text that is part of a line: its first line.
    pub fn word(&self, text: Text, values: &[&dyn Display]) -> String {
        self.lines(text, values).into_iter().next().unwrap_or_default()
    }
}

fn filled(line: &[Piece], values: &[&dyn Display]) -> String {
    let mut out = String::with_capacity(80);
    for piece in line {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Field { index, width, right } => {
                let begin = out.len();
                if let Some(value) = values.get(*index) {
                    // Writing into a String cannot fail.
                    let _ = write!(out, "{value}");
                }
                let missing = width.saturating_sub(out.len() - begin);
                if *right {
                    out.insert_str(begin, &" ".repeat(missing));
                } else {
                    out.extend(std::iter::repeat_n(' ', missing));
                }
            }
        }
    }
    out
}

fn pieces(line: &str, text: Text) -> Result<Line, Wrong> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = brace.strip_prefix("{{").or(brace.strip_prefix("}}")) {
            literal.push_str(&brace[..1]);
            rest = after;
            continue;
        }
        let (inside, after) = brace.strip_prefix('{').and_then(|inside| inside.split_once('}')).ok_or(Wrong::Brace)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(field(inside, text)?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

fn field(inside: &str, text: Text) -> Result<Piece, Wrong> {
    let (name, width) = inside.split_once(':').unwrap_or((inside, "0"));
    let has = text.fields();
    let index = has.iter().position(|field| *field == name);
    let missing = || Wrong::NoSuchField { field: name.into(), section: text.section(), has };
    let index = index.ok_or_else(missing)?;
    let (right, digits) = width.strip_prefix('>').map_or((false, width), |digits| (true, digits));
    let width: u8 = digits.parse().map_err(|_| Wrong::Width(width.into()))?;
    Ok(Piece::Field { index, width: usize::from(width), right })
}
