//! The rows of a table as a tree, and the walk along it. Optional and repeated parts make it a graph.

use std::collections::BTreeSet;

use super::pattern::{Part, Token, parse};
use super::word::{self, Kind, LINE_MAX, Value, Word};
use super::{Arguments, Form, Found, Hint, NotACommand, Row, Undo};

/// The rows of one mode.
#[derive(Debug)]
pub struct Table<A: 'static> {
    rows: Vec<&'static Row<A>>,
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    edges: Vec<Edge>,
    /// The rows that may end here.
    ends: Vec<(usize, Form)>,
}

#[derive(Debug)]
struct Edge {
    token: Token,
    target: usize,
    /// Whether the word says what the line is about.
    key: bool,
    /// The rows that lead through here: the edge is there for whoever may use one of them.
    rows: Vec<usize>,
    help: Option<&'static str>,
}

/// What keywords mean wherever they are not the last of a row.
type Meaning = fn(&str) -> &'static str;

const ROOT: usize = 0;

impl<A: 'static> Table<A> {
    /// A table of these rows.
    pub fn new(rows: impl IntoIterator<Item = &'static Row<A>>) -> Table<A> {
        let mut table = Table { rows: Vec::new(), nodes: vec![Node::default()] };
        for row in rows {
            table.add(row);
        }
        table
    }

    fn add(&mut self, row: &'static Row<A>) {
        let at = self.rows.len();
        self.rows.push(row);
        let parts = parse(row.pattern);
        let about = parts.iter().take_while(|part| matches!(part, Part::Step { key: true, .. })).count();
        let last_keyword =
            parts[..about].iter().rposition(|part| matches!(part, Part::Step { token: Token::Keyword(_), .. }));
        self.insert(at, Form::Plain, ROOT, &parts, about, last_keyword);
        if row.undo == Undo::WithNo {
            let no = self.edge(ROOT, Token::Keyword("no"), true, at, None);
            let mut parts = parts;
            let values = parts.split_off(about);
            parts.push(Part::Optional(values));
            self.insert(at, Form::No, no, &parts, about, last_keyword);
        }
    }

    /// Every keyword that has no row's help.
    pub fn keywords_without_help(&self) -> BTreeSet<&'static str> {
        let edges = self.nodes.iter().flat_map(|node| &node.edges).filter(|edge| edge.help.is_none());
        let words = edges.filter_map(|edge| match edge.token {
            Token::Keyword(word) | Token::Choice(word) => Some(word),
            Token::Argument(_) => None,
        });
        words.collect()
    }

    fn insert(&mut self, row: usize, form: Form, root: usize, parts: &[Part], about: usize, last: Option<usize>) {
        let mut here = BTreeSet::from([root]);
        for (n, part) in parts.iter().enumerate() {
            here = self.follow(&here, part, n < about, row);
            if Some(n) == last {
                let help = self.rows[row].help;
                for node in &mut self.nodes {
                    let edges = node.edges.iter_mut().filter(|edge| here.contains(&edge.target));
                    edges.for_each(|edge| edge.help = edge.help.or(Some(help)));
                }
            }
        }
        for node in here {
            self.nodes[node].ends.push((row, form));
        }
    }

    /// The nodes behind a part; makes the edges that are missing.
    fn follow(&mut self, from: &BTreeSet<usize>, part: &Part, key: bool, row: usize) -> BTreeSet<usize> {
        match part {
            Part::Step { token, .. } => from.iter().map(|node| self.edge(*node, *token, key, row, None)).collect(),
            Part::OneOf(words) => {
                let each = from.iter().flat_map(|node| words.iter().map(move |word| (*node, *word)));
                each.map(|(node, word)| self.edge(node, Token::Choice(word), key, row, None)).collect()
            }
            Part::Optional(parts) => {
                let mut ends = parts.iter().fold(from.clone(), |here, part| self.follow(&here, part, false, row));
                ends.extend(from);
                ends
            }
            Part::Repeated(parts) => {
                let first = self.follow(from, &parts[0], false, row);
                let ends = parts[1..].iter().fold(first.clone(), |here, part| self.follow(&here, part, false, row));
                if let Part::Step { token, .. } = &parts[0] {
                    for (end, target) in ends.iter().flat_map(|end| first.iter().map(move |target| (*end, *target))) {
                        self.edge(end, *token, false, row, Some(target));
                    }
                }
                ends
            }
        }
    }

    /// The edge with this token, to `target` or a new node if there is none yet.
    fn edge(&mut self, node: usize, token: Token, key: bool, row: usize, target: Option<usize>) -> usize {
        let spare = self.nodes.len();
        let edges = &mut self.nodes[node].edges;
        if let Token::Keyword(word) | Token::Choice(word) = token {
            let other = |edge: &Edge| {
                edge.token != token && matches!(edge.token, Token::Keyword(is) | Token::Choice(is) if is == word)
            };
            assert!(!edges.iter().any(other), "`{word}` of `{}` is a choice in another row", self.rows[row].pattern);
        }
        let at = edges.iter().position(|edge| edge.token == token).unwrap_or_else(|| {
            let target = target.unwrap_or(spare);
            edges.push(Edge { token, target, key, rows: Vec::new(), help: None });
            edges.len() - 1
        });
        let edge = &mut edges[at];
        assert_eq!(edge.key, key, "{token:?} of `{}` is a key here and a value in another row", self.rows[row].pattern);
        if edge.rows.last() != Some(&row) {
            edge.rows.push(row);
        }
        let target = edge.target;
        if target == spare {
            self.nodes.push(Node::default());
        }
        target
    }
}

/// Tables with their rank: a beginning of a word that a table of a lower rank knows is not looked for in those of a higher
/// one, so that the words of a mode of its own are never ambiguous because of the words that hold everywhere.
pub struct Grammar<'g, A: 'static> {
    tables: &'g [(u8, &'g Table<A>)],
    may: &'g dyn Fn(&'static Row<A>) -> bool,
    meaning: Meaning,
}

/// A place in one of the tables.
#[derive(Clone, Copy)]
struct At {
    table: usize,
    node: usize,
}

/// A word that led on.
struct Step {
    token: Token,
    key: bool,
    value: Option<Value>,
    printed: String,
}

impl<'g, A: 'static> Grammar<'g, A> {
    /// The rows of these tables that `may` be used.
    pub fn new(
        tables: &'g [(u8, &'g Table<A>)],
        may: &'g dyn Fn(&'static Row<A>) -> bool,
        meaning: Meaning,
    ) -> Grammar<'g, A> {
        Grammar { tables, may, meaning }
    }

    /// The command that a line is.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(&self, line: &str) -> Result<Found<A>, NotACommand> {
        let line = shortened(line);
        let words = word::split(line);
        if words.is_empty() {
            return Err(NotACommand::Empty);
        }
        let mut here = self.start();
        let mut steps = Vec::with_capacity(words.len());
        for word in &words {
            let rest = || line[word.start..].trim_end().to_owned();
            let (step, next) = match self.step(&here, word) {
                Next::One(step, next) => (step, next),
                Next::Several => return Err(NotACommand::Ambiguous(rest())),
                Next::None => match self.line_edge(&here) {
                    Some((key, next)) if word::is_printable(&rest().replace('"', "")) => {
                        let step = Step {
                            token: Token::Argument(Kind::Line),
                            key,
                            value: Some(Value::Text(rest())),
                            printed: rest(),
                        };
                        steps.push(step);
                        return self.end(&[next], steps, &words);
                    }
                    _ => return Err(NotACommand::Invalid(rest())),
                },
            };
            steps.push(step);
            here = next;
        }
        self.end(&here, steps, &words)
    }

    fn end(&self, here: &[At], steps: Vec<Step>, words: &[Word]) -> Result<Found<A>, NotACommand> {
        let ends = here.iter().flat_map(|at| {
            let (rank, table) = self.tables[at.table];
            table.nodes[at.node].ends.iter().map(move |(row, form)| (table.rows[*row], *form, rank))
        });
        let (row, form, rank) = ends.into_iter().find(|(row, ..)| (self.may)(row)).ok_or(NotACommand::Incomplete)?;
        let typed = words.iter().map(|word| word.text.clone()).collect();
        let spoken = if form == Form::No { &steps[1..] } else { &steps[..] };
        let line = spoken.iter().map(|step| step.printed.as_str()).collect::<Vec<_>>().join(" ");
        // The device prints two blanks there (seen in several configurations).
        let line = line.replace("group-id ", "group-id  ");
        let about = spoken.iter().filter(|step| step.key);
        let key = about.map(|step| step.printed.as_str()).collect::<Vec<_>>().join(" ");
        let arguments = Arguments(steps.into_iter().filter_map(|step| step.value).collect());
        Ok(Found { row, form, rank, typed, arguments, line, key })
    }

    fn start(&self) -> Vec<At> {
        (0..self.tables.len()).map(|table| At { table, node: ROOT }).collect()
    }

    /// The edges that lead on from here, for whoever may take them.
    fn edges(&self, here: &[At]) -> impl Iterator<Item = (usize, &Edge)> {
        let all =
            here.iter().flat_map(|at| self.tables[at.table].1.nodes[at.node].edges.iter().map(|edge| (at.table, edge)));
        all.filter(|(table, edge)| edge.rows.iter().any(|row| (self.may)(self.tables[*table].1.rows[*row])))
    }

    fn step(&self, here: &[At], word: &Word) -> Next {
        let mut exact = None;
        let mut begun: Vec<(u8, &'static str)> = Vec::new();
        if !word.quoted {
            for (table, edge) in self.edges(here) {
                let (Token::Keyword(keyword) | Token::Choice(keyword)) = edge.token else { continue };
                if keyword.eq_ignore_ascii_case(&word.text) {
                    exact = Some(keyword);
                } else if begins(keyword, &word.text) {
                    begun.push((self.tables[table].0, keyword));
                }
            }
        }
        let first = begun.iter().map(|(rank, _)| *rank).min();
        let mut fitting: Vec<&'static str> =
            begun.iter().filter(|(rank, _)| Some(*rank) == first).map(|(_, keyword)| *keyword).collect();
        fitting.sort_unstable();
        fitting.dedup();
        let keyword = match (exact, fitting.as_slice()) {
            (Some(keyword), _) => Some(keyword),
            (None, [keyword]) => Some(*keyword),
            (None, []) => None,
            (None, _) => return Next::Several,
        };
        let wanted = |edge: &Edge| match (edge.token, keyword) {
            (Token::Keyword(is) | Token::Choice(is), Some(keyword)) => (is == keyword).then_some((None, is.to_owned())),
            (Token::Argument(kind), None) => {
                kind.read(word).map(|value| (Some(value.clone()), printed(kind, &value, word)))
            }
            _ => None,
        };
        let mut step: Option<Step> = None;
        let mut next = Vec::new();
        for (table, edge) in self.edges(here) {
            let Some((value, printed)) = wanted(edge) else { continue };
            let value = match edge.token {
                Token::Choice(word) => Some(Value::Choice(word)),
                _ => value,
            };
            let of = step.get_or_insert(Step { token: edge.token, key: edge.key, value, printed });
            if of.token == edge.token {
                next.push(At { table, node: edge.target });
            }
        }
        step.map_or(Next::None, |step| Next::One(step, next))
    }

    fn line_edge(&self, here: &[At]) -> Option<(bool, At)> {
        let mut lines = self.edges(here).filter(|(_, edge)| edge.token == Token::Argument(Kind::Line));
        lines.next().map(|(table, edge)| (edge.key, At { table, node: edge.target }))
    }

    /// What may be typed behind this beginning of a line: whole words, or the rest of a word begun.
    pub fn hints(&self, line: &str) -> Vec<Hint> {
        let line = shortened(line);
        let mut words = word::split(line);
        let begun = if line.ends_with(|c: char| c.is_ascii_whitespace()) { None } else { words.pop() };
        let mut here = self.start();
        for word in &words {
            match self.step(&here, word) {
                Next::One(_, next) => here = next,
                Next::Several | Next::None => return Vec::new(),
            }
        }
        let mut hints: Vec<(u8, Hint)> = Vec::new();
        for (table, edge) in self.edges(&here) {
            let hint = match (edge.token, &begun) {
                (Token::Keyword(word) | Token::Choice(word), begun) => {
                    if begun.as_ref().is_some_and(|begun| !begins(word, &begun.text)) {
                        continue;
                    }
                    Hint { word: word.into(), means: edge.help.unwrap_or_else(|| (self.meaning)(word)), literal: true }
                }
                (Token::Argument(kind), None) => {
                    let (word, means) = kind.help();
                    Hint { word, means, literal: false }
                }
                (Token::Argument(_), Some(_)) => continue,
            };
            hints.push((self.tables[table].0, hint));
        }
        let first = hints.iter().map(|(rank, _)| *rank).min();
        let mut hints: Vec<Hint> =
            hints.into_iter().filter(|(rank, _)| Some(*rank) == first).map(|(_, hint)| hint).collect();
        hints.sort();
        hints.dedup_by(|a, b| a.word == b.word);
        let ends = || {
            here.iter().flat_map(|at| {
                self.tables[at.table].1.nodes[at.node]
                    .ends
                    .iter()
                    .map(move |(row, _)| self.tables[at.table].1.rows[*row])
            })
        };
        if begun.is_none() && ends().any(|row| (self.may)(row)) {
            hints.push(Hint { word: "<cr>".into(), means: "", literal: false });
        }
        hints
    }
}

enum Next {
    One(Step, Vec<At>),
    Several,
    None,
}

/// The line up to [`LINE_MAX`].
fn shortened(line: &str) -> &str {
    let mut end = line.len().min(LINE_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// Whether `keyword` begins with `word`, whatever its case.
fn begins(keyword: &str, word: &str) -> bool {
    keyword.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

fn printed(kind: Kind, value: &Value, word: &Word) -> String {
    match (kind, value) {
        (_, Value::Port(port)) => port.to_string(),
        (_, Value::Ip(address)) => address.to_string(),
        (_, Value::Number(number)) => number.to_string(),
        (Kind::Text | Kind::Rule, _) => format!("\"{}\"", word.text),
        (Kind::Mac, Value::Text(mac)) => mac.clone(),
        _ if word.text.contains(' ') => format!("\"{}\"", word.text),
        _ => word.text.clone(),
    }
}
