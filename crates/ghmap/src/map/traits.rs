//! The std traits of [`HashMap`].

use super::{ByHasher, HashMap};
#[cfg(feature = "default-hasher")]
use crate::DefaultHashBuilder;
use crate::{Allocator, Equivalent};
use core::fmt::{self, Debug};
use core::hash::{BuildHasher, Hash};
use core::ops::Index;

impl<K: Clone, V: Clone, S: Clone, A: Allocator + Clone> Clone for HashMap<K, V, S, A> {
    /// Copies the table bucket by bucket; no key is hashed.
    fn clone(&self) -> Self {
        Self {
            hash_builder: self.hash_builder.clone(),
            table: self.table.clone(),
        }
    }

    /// Copies into the memory of this map if `source` has as many buckets. If a `Clone` panics, this
    /// map is empty; the entries it had are dropped first.
    fn clone_from(&mut self, source: &Self) {
        // Cloned first and stored last: if either panics, entries and hasher still belong together.
        let hash_builder = source.hash_builder.clone();
        self.table.clone_from(&source.table);
        self.hash_builder = hash_builder;
    }
}

impl<K: Eq + Hash, V: PartialEq, S: BuildHasher, A: Allocator> PartialEq for HashMap<K, V, S, A> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(key, value)| other.get(key).is_some_and(|v| *value == *v))
    }
}

impl<K: Eq + Hash, V: Eq, S: BuildHasher, A: Allocator> Eq for HashMap<K, V, S, A> {}

impl<K: Debug, V: Debug, S, A: Allocator> Debug for HashMap<K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K, V, S: Default, A: Default + Allocator> Default for HashMap<K, V, S, A> {
    fn default() -> Self {
        Self::with_hasher_in(S::default(), A::default())
    }
}

impl<K, Q, V, S, A> Index<&Q> for HashMap<K, V, S, A>
where
    K: Eq + Hash,
    Q: Hash + Equivalent<K> + ?Sized,
    S: BuildHasher,
    A: Allocator,
{
    type Output = V;

    /// # Panics
    /// If the key is absent.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("no entry found for key")
    }
}

#[cfg(feature = "default-hasher")]
impl<K: Eq + Hash, V, A: Default + Allocator, const N: usize> From<[(K, V); N]>
    for HashMap<K, V, DefaultHashBuilder, A>
{
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K, V, S, A> FromIterator<(K, V)> for HashMap<K, V, S, A>
where
    K: Eq + Hash,
    S: BuildHasher + Default,
    A: Default + Allocator,
{
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let entries = entries.into_iter();
        let mut map =
            Self::with_capacity_and_hasher_in(entries.size_hint().0, S::default(), A::default());
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

/// Later values of a key replace earlier ones. Nothing is reserved in advance for a map that has
/// entries: growing by the way costs less than moving all of it at once.
impl<K: Eq + Hash, V, S: BuildHasher, A: Allocator> Extend<(K, V)> for HashMap<K, V, S, A> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, entries: T) {
        let entries = entries.into_iter();
        if self.is_empty() {
            self.table
                .reserve(entries.size_hint().0, &ByHasher(&self.hash_builder));
        }
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<'a, K, V, S, A> Extend<(&'a K, &'a V)> for HashMap<K, V, S, A>
where
    K: Eq + Hash + Copy,
    V: Copy,
    S: BuildHasher,
    A: Allocator,
{
    fn extend<T: IntoIterator<Item = (&'a K, &'a V)>>(&mut self, entries: T) {
        self.extend(entries.into_iter().map(|(key, value)| (*key, *value)));
    }
}

impl<'a, K, V, S, A> Extend<&'a (K, V)> for HashMap<K, V, S, A>
where
    K: Eq + Hash + Copy,
    V: Copy,
    S: BuildHasher,
    A: Allocator,
{
    fn extend<T: IntoIterator<Item = &'a (K, V)>>(&mut self, entries: T) {
        self.extend(entries.into_iter().copied());
    }
}
