//! Lines of the configuration that the device keeps and prints, and that no other part of the emulator has to understand.

use std::collections::BTreeMap;

/// Lines by their key, in the order in which they came. Few, so that a `Vec` does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(Vec<(String, String)>);

impl Lines {
    /// The line of this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, line)| line.as_str())
    }

    /// Puts a line in the place of the one with the same key, or last; `None` takes it away.
    pub fn set(&mut self, key: &str, line: Option<&str>) {
        let at = self.0.iter().position(|(known, _)| known == key);
        match (at, line) {
            (Some(at), Some(line)) => self.0[at].1 = line.to_owned(),
            (Some(at), None) => drop(self.0.remove(at)),
            (None, Some(line)) => self.0.push((key.to_owned(), line.to_owned())),
            (None, None) => {}
        }
    }

    /// All lines with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, line)| (key.as_str(), line.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The lines of the device as a whole, by key: many, and printed in the order of the keys' groups.
pub type SystemLines = BTreeMap<String, String>;
