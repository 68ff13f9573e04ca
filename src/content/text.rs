//! Many texts compared with one in a single pass: which of a set of [`TextMatch`]es hold?
//!
//! * `exact` and `prefix`: a radix tree walked from the text's beginning; `suffix`: the same from its end. A walk ends
//!   at the first byte that no rule goes on with, so its cost is that of the longest rule that still matches.
//! * `contains`: an Aho-Corasick automaton (crate `aho-corasick`), one step a byte.
//! * Each in two halves, for rules that see case and for those that do not. What no rule needs is not walked.
//!
//! Costs nothing per rule at look-up: hundreds cost about what one does. Not here: what follows from a match; each entry
//! holds the numbers of the rules it stands for, in order, and the caller is shown these lists.

use aho_corasick::Anchored;
use aho_corasick::automaton::Automaton;
use aho_corasick::dfa::DFA;
use aho_corasick::nfa::contiguous::NFA;

use crate::acm::rules::{Case, TextMatch};

/// Bytes of texts up to which `contains` is as quick as can be: some 250 bytes of memory for each, 4 MiB at most.
const QUICK_MAX: usize = 16 * 1024;

/// The rules an entry stands for, by number, ascending.
pub(super) type RuleList = Box<[u32]>;

/// A set of texts to compare with.
#[derive(Debug, Clone, Default)]
pub(super) struct TextIndex {
    exact: Half,
    folded: Half,
    present: RuleList,
}

#[derive(Debug, Clone, Default)]
struct Half {
    forward: Radix,
    backward: Radix,
    contains: Option<Contains>,
}

#[derive(Debug, Clone)]
struct Contains {
    machine: Machine,
    /// Of each pattern.
    rules: Vec<RuleList>,
}

/// An automaton: as quick as can be, or, for very many texts, smaller.
#[derive(Debug, Clone)]
enum Machine {
    Quick(DFA),
    Small(NFA),
}

/// One text to be in the set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Entry {
    kind: Kind,
    folded: bool,
    text: Vec<u8>,
}

/// How a text is compared, the most selective first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Exact,
    Prefix,
    Suffix,
    Contains,
    Present,
}

impl Entry {
    /// The entry of a condition.
    pub(super) fn new(is: &TextMatch, case: Case) -> Entry {
        let kind = match is {
            TextMatch::Present => Kind::Present,
            TextMatch::Exact(_) => Kind::Exact,
            TextMatch::Prefix(_) => Kind::Prefix,
            TextMatch::Suffix(_) => Kind::Suffix,
            TextMatch::Contains(_) => Kind::Contains,
        };
        let mut text = is.text().unwrap_or_default().as_bytes().to_vec();
        let folded = case == Case::Insensitive && kind != Kind::Present;
        if folded {
            text.make_ascii_lowercase();
        }
        Entry { kind, folded, text }
    }

    /// How little it says: 0 for the most selective kind.
    pub(super) fn vagueness(&self) -> u8 {
        self.kind as u8
    }

    /// True if this text satisfies it.
    pub(super) fn holds(&self, text: &[u8]) -> bool {
        let wanted = self.text.as_slice();
        let same = |part: Option<&[u8]>| match (part, self.folded) {
            (None, _) => false,
            (Some(part), false) => part == wanted,
            (Some(part), true) => part.eq_ignore_ascii_case(wanted),
        };
        match self.kind {
            Kind::Present => true,
            Kind::Exact => same(Some(text)),
            Kind::Prefix => same(text.get(..wanted.len())),
            Kind::Suffix => same(text.len().checked_sub(wanted.len()).map(|from| &text[from..])),
            Kind::Contains if !self.folded => memchr::memmem::find(text, wanted).is_some(),
            Kind::Contains => text.windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted)),
        }
    }
}

impl TextIndex {
    /// A set of these entries, each with its rules.
    ///
    /// # Errors
    /// The automaton's words, if the texts to be contained are too many for it.
    pub(super) fn build(entries: impl IntoIterator<Item = (Entry, Vec<u32>)>) -> Result<TextIndex, String> {
        let mut index = TextIndex::default();
        let mut contained: [(Vec<Vec<u8>>, Vec<RuleList>); 2] = Default::default();
        for (entry, mut rules) in entries {
            rules.sort_unstable();
            rules.dedup();
            let half = if entry.folded { &mut index.folded } else { &mut index.exact };
            match entry.kind {
                Kind::Present => index.present = rules.into(),
                Kind::Exact => half.forward.insert(&entry.text, Terminal::Exact, rules.into()),
                Kind::Prefix => half.forward.insert(&entry.text, Terminal::Prefix, rules.into()),
                Kind::Suffix => {
                    let reversed: Vec<u8> = entry.text.iter().rev().copied().collect();
                    half.backward.insert(&reversed, Terminal::Prefix, rules.into());
                }
                Kind::Contains => {
                    let (texts, lists) = &mut contained[usize::from(entry.folded)];
                    texts.push(entry.text);
                    lists.push(rules.into());
                }
            }
        }
        let [exact, folded] = contained;
        index.exact.contains = Contains::build(exact, Case::Sensitive)?;
        index.folded.contains = Contains::build(folded, Case::Insensitive)?;
        Ok(index)
    }

    /// Shows the rules of every entry that this text satisfies; of one that it contains more than once, perhaps as often.
    #[inline]
    pub(super) fn visit(&self, text: &[u8], mut show: impl FnMut(&[u32])) {
        if !self.present.is_empty() {
            show(&self.present);
        }
        self.exact.visit(text, |byte| byte, &mut show);
        self.folded.visit(text, |byte| byte.to_ascii_lowercase(), &mut show);
    }
}

impl Half {
    #[inline]
    fn visit(&self, text: &[u8], fold: impl Fn(u8) -> u8 + Copy, show: &mut impl FnMut(&[u32])) {
        self.forward.walk(text.iter().map(|byte| fold(*byte)), show);
        self.backward.walk(text.iter().rev().map(|byte| fold(*byte)), show);
        if let Some(contains) = &self.contains {
            contains.visit(text, show);
        }
    }
}

impl Contains {
    fn build((texts, rules): (Vec<Vec<u8>>, Vec<RuleList>), case: Case) -> Result<Option<Contains>, String> {
        if texts.is_empty() {
            return Ok(None);
        }
        let folds = case == Case::Insensitive;
        let machine = match texts.iter().map(Vec::len).sum::<usize>() {
            0..=QUICK_MAX => DFA::builder().ascii_case_insensitive(folds).build(&texts).map(Machine::Quick),
            _ => NFA::builder().ascii_case_insensitive(folds).build(&texts).map(Machine::Small),
        };
        Ok(Some(Contains { machine: machine.map_err(|why| why.to_string())?, rules }))
    }

    #[inline]
    fn visit(&self, text: &[u8], show: &mut impl FnMut(&[u32])) {
        match &self.machine {
            Machine::Quick(automaton) => self.run(automaton, text, show),
            Machine::Small(automaton) => self.run(automaton, text, show),
        }
    }

    #[inline]
    fn run(&self, automaton: &impl Automaton, text: &[u8], show: &mut impl FnMut(&[u32])) {
        // Both automata are built to begin anywhere, which is what they refuse otherwise.
        let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
        for byte in text {
            state = automaton.next_state(Anchored::No, state, *byte);
            if automaton.is_special(state) && automaton.is_match(state) {
                for index in 0..automaton.match_len(state) {
                    show(&self.rules[automaton.match_pattern(state, index).as_usize()]);
                }
            }
        }
    }
}

/// A radix tree of texts.
#[derive(Debug, Clone, Default)]
struct Radix {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// What leads here from the parent, behind the byte it is chosen by.
    label: Box<[u8]>,
    /// The first bytes of the children and where they are, in order.
    children: Vec<(u8, u32)>,
    /// Rules of the text that ends here and may go on.
    prefix: RuleList,
    /// Rules of the text that ends here.
    exact: RuleList,
}

#[derive(Debug, Clone, Copy)]
enum Terminal {
    Exact,
    Prefix,
}

impl Radix {
    fn insert(&mut self, text: &[u8], terminal: Terminal, rules: RuleList) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let (mut at, mut rest) = (0, text);
        while let Some((first, tail)) = rest.split_first() {
            let found = self.nodes[at].children.binary_search_by_key(first, |(byte, _)| *byte);
            let child = match found {
                Ok(index) => self.nodes[at].children[index].1 as usize,
                Err(index) => {
                    let new = self.nodes.len();
                    self.nodes.push(Node { label: tail.into(), ..Node::default() });
                    self.nodes[at].children.insert(index, (*first, new as u32));
                    at = new;
                    rest = &[];
                    continue;
                }
            };
            let label = &self.nodes[child].label;
            let shared = label.iter().zip(tail).take_while(|(a, b)| a == b).count();
            if shared < label.len() {
                self.split(child, shared);
            }
            at = child;
            rest = &tail[shared..];
        }
        let node = &mut self.nodes[at];
        match terminal {
            Terminal::Exact => node.exact = rules,
            Terminal::Prefix => node.prefix = rules,
        }
    }

    /// Shortens a node's label to its first `at` bytes; what it was becomes its only child.
    fn split(&mut self, node: usize, at: usize) {
        let new = self.nodes.len() as u32;
        let old = std::mem::take(&mut self.nodes[node]);
        let upper = Node { label: old.label[..at].into(), children: vec![(old.label[at], new)], ..Node::default() };
        self.nodes.push(Node { label: old.label[at + 1..].into(), ..old });
        self.nodes[node] = upper;
    }

    #[inline]
    fn walk(&self, mut text: impl ExactSizeIterator<Item = u8>, show: &mut impl FnMut(&[u32])) {
        let Some(mut node) = self.nodes.first() else { return };
        loop {
            if !node.prefix.is_empty() {
                show(&node.prefix);
            }
            let Some(byte) = text.next() else {
                if !node.exact.is_empty() {
                    show(&node.exact);
                }
                return;
            };
            let Ok(index) = node.children.binary_search_by_key(&byte, |(first, _)| *first) else { return };
            node = &self.nodes[node.children[index].1 as usize];
            if !node.label.iter().all(|wanted| text.next() == Some(*wanted)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_match() -> impl Strategy<Value = (TextMatch, Case)> {
        let text = "[abAB/]{1,5}";
        let is = prop_oneof![
            1 => Just(TextMatch::Present),
            3 => text.prop_map(TextMatch::Exact),
            3 => text.prop_map(TextMatch::Prefix),
            3 => text.prop_map(TextMatch::Suffix),
            3 => text.prop_map(TextMatch::Contains),
        ];
        (is, prop_oneof![Just(Case::Sensitive), Just(Case::Insensitive)])
    }

    proptest! {
        /// The index shows exactly the rules whose own comparison holds.
        #[test]
        fn the_index_agrees_with_each_comparison(
            rules in proptest::collection::vec(text_match(), 0..30),
            texts in proptest::collection::vec("[abAB/]{0,9}", 1..5),
        ) {
            let mut entries = std::collections::BTreeMap::<Entry, Vec<u32>>::new();
            for ((is, case), number) in rules.iter().zip(0..) {
                entries.entry(Entry::new(is, *case)).or_default().push(number);
            }
            let index = TextIndex::build(entries).unwrap();
            for text in texts {
                let mut shown = std::collections::BTreeSet::new();
                index.visit(text.as_bytes(), |rules| shown.extend(rules.iter().copied()));
                let holds = |(is, case): &(TextMatch, Case)| Entry::new(is, *case).holds(text.as_bytes());
                let want = (0u32..).zip(&rules).filter(|(_, rule)| holds(rule)).map(|(number, _)| number);
                prop_assert_eq!(shown.into_iter().collect::<Vec<_>>(), want.collect::<Vec<_>>(), "{}", text);
            }
        }
    }

    #[test]
    fn an_empty_set_shows_nothing() {
        TextIndex::build([]).unwrap().visit(b"/a", |rules| panic!("{rules:?}"));
    }
}
