//! A map that remembers in which order its keys came, because the device prints what was configured first first.
//! Everything is O(log n): a `Vec` would make every removal from ten thousand bindings O(n).

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// See the module.
#[derive(Debug, Clone)]
pub struct Ordered<K, V> {
    places: HashMap<K, u64>,
    rows: BTreeMap<u64, (K, V)>,
    next: u64,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Ordered { places: HashMap::new(), rows: BTreeMap::new(), next: 0 }
    }
}

impl<K: Clone + Eq + Hash, V> Ordered<K, V> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether this key is there.
    pub fn contains<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.places.contains_key(key)
    }

    /// The value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let place = self.places.get(key)?;
        self.rows.get(place).map(|(_, value)| value)
    }

    /// The value of a key, to change it.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.places.get(key)?;
        self.rows.get_mut(place).map(|(_, value)| value)
    }

    /// The value of a key; a key that is not there yet comes last.
    pub fn or_insert_with(&mut self, key: &K, value: impl FnOnce() -> V) -> &mut V {
        let place = *self.places.entry(key.clone()).or_insert(self.next);
        if place == self.next {
            self.next += 1;
        }
        &mut self.rows.entry(place).or_insert_with(|| (key.clone(), value())).1
    }

    /// Takes a key out.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.places.remove(key)?;
        self.rows.remove(&place).map(|(_, value)| value)
    }

    /// All, first come first.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.values().map(|(key, value)| (key, value))
    }
}
