//! [`Entry`]: one lookup, then whatever is to be done there.

use super::{ByHasher, HashMap};
use crate::raw::Slot;
use crate::{Allocator, DefaultHashBuilder, Equivalent, Global};
use core::fmt::{self, Debug};
use core::hash::{BuildHasher, Hash};
use core::mem;

/// An entry of a map, present or not; made by [`HashMap::entry`].
pub enum Entry<'a, K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    /// The key is present.
    Occupied(OccupiedEntry<'a, K, V, S, A>),
    /// The key is absent.
    Vacant(VacantEntry<'a, K, V, S, A>),
}

/// An entry that is present.
///
/// Its removals do no growing work: they hold the entry's place already.
pub struct OccupiedEntry<'a, K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    hash: u64,
    slot: Slot<K, V>,
    map: &'a mut HashMap<K, V, S, A>,
}

// SAFETY: the slot is a place in the map that the entry borrows mutably.
unsafe impl<K: Send, V: Send, S: Send, A: Allocator + Send> Send for OccupiedEntry<'_, K, V, S, A> {}
// SAFETY: as above; nothing is written through a shared reference.
unsafe impl<K: Sync, V: Sync, S: Sync, A: Allocator + Sync> Sync for OccupiedEntry<'_, K, V, S, A> {}

/// A place for an absent key.
pub struct VacantEntry<'a, K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    pub(super) hash: u64,
    pub(super) key: K,
    pub(super) map: &'a mut HashMap<K, V, S, A>,
}

/// What [`HashMap::try_insert`] reports about a key that is present.
pub struct OccupiedError<'a, K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    /// The entry found.
    pub entry: OccupiedEntry<'a, K, V, S, A>,
    /// The value that was not inserted.
    pub value: V,
}

impl<'a, K, V, S, A: Allocator> Entry<'a, K, V, S, A> {
    /// Sets the value, and gives the entry.
    ///
    /// ```
    /// let mut map = ghmap::HashMap::new();
    /// assert_eq!(*map.entry("a").insert(1).get(), 1);
    /// ```
    pub fn insert(self, value: V) -> OccupiedEntry<'a, K, V, S, A>
    where
        K: Hash,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(mut entry) => {
                entry.insert(value);
                entry
            }
            Self::Vacant(entry) => entry.insert_entry(value),
        }
    }

    /// The value, which is `default` if the key was absent.
    #[inline]
    pub fn or_insert(self, default: V) -> &'a mut V
    where
        K: Hash,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => entry.insert(default),
        }
    }

    /// The entry, whose value is `default` if the key was absent.
    pub fn or_insert_entry(self, default: V) -> OccupiedEntry<'a, K, V, S, A>
    where
        K: Hash,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(entry) => entry,
            Self::Vacant(entry) => entry.insert_entry(default),
        }
    }

    /// The value, which `default` makes if the key was absent.
    #[inline]
    pub fn or_insert_with<F: FnOnce() -> V>(self, default: F) -> &'a mut V
    where
        K: Hash,
        S: BuildHasher,
    {
        self.or_insert_with_key(|_| default())
    }

    /// The value, which `default` makes from the key if that was absent.
    #[inline]
    pub fn or_insert_with_key<F: FnOnce(&K) -> V>(self, default: F) -> &'a mut V
    where
        K: Hash,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => {
                let value = default(entry.key());
                entry.insert(value)
            }
        }
    }

    /// The value, which is its type's default if the key was absent.
    #[inline]
    pub fn or_default(self) -> &'a mut V
    where
        K: Hash,
        V: Default,
        S: BuildHasher,
    {
        self.or_insert_with(V::default)
    }

    /// The entry, whose value is its type's default if the key was absent.
    pub fn or_default_entry(self) -> OccupiedEntry<'a, K, V, S, A>
    where
        K: Hash,
        V: Default,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(entry) => entry,
            Self::Vacant(entry) => entry.insert_entry(V::default()),
        }
    }

    /// The key.
    pub fn key(&self) -> &K {
        match self {
            Self::Occupied(entry) => entry.key(),
            Self::Vacant(entry) => entry.key(),
        }
    }

    /// Changes the value if the key is present.
    pub fn and_modify<F: FnOnce(&mut V)>(mut self, f: F) -> Self {
        if let Self::Occupied(entry) = &mut self {
            f(entry.get_mut());
        }
        self
    }

    /// Replaces the value of a present key by what `f` makes of it, or removes the entry.
    pub fn and_replace_entry_with<F: FnOnce(&K, V) -> Option<V>>(self, f: F) -> Self {
        match self {
            Self::Occupied(entry) => entry.replace_entry_with(f),
            vacant => vacant,
        }
    }

    /// The map.
    pub fn into_map(self) -> &'a mut HashMap<K, V, S, A> {
        match self {
            Self::Occupied(entry) => entry.into_map(),
            Self::Vacant(entry) => entry.into_map(),
        }
    }
}

impl<'a, K, V, S, A: Allocator> OccupiedEntry<'a, K, V, S, A> {
    /// # Safety
    /// `slot` was found in `map` by `hash`, and the map has not changed since.
    pub(super) unsafe fn new(
        hash: u64,
        slot: Slot<K, V>,
        map: &'a mut HashMap<K, V, S, A>,
    ) -> Self {
        Self { hash, slot, map }
    }

    /// The stored key.
    pub fn key(&self) -> &K {
        // SAFETY: the map has not changed since the slot was found: the entry borrows it.
        unsafe { &*self.slot.key() }
    }

    /// The value.
    pub fn get(&self) -> &V {
        // SAFETY: as for the key.
        unsafe { &*self.slot.value() }
    }

    /// The value, mutably.
    pub fn get_mut(&mut self) -> &mut V {
        // SAFETY: as for the key.
        unsafe { &mut *self.slot.value() }
    }

    /// The value, for as long as the map was borrowed.
    pub fn into_mut(self) -> &'a mut V {
        // SAFETY: as for the key; the entry's borrow goes to the result.
        unsafe { &mut *self.slot.value() }
    }

    /// Key and value, for as long as the map was borrowed.
    pub fn into_entry(self) -> (&'a K, &'a mut V) {
        // SAFETY: as for the key; the entry's borrow goes to the result.
        unsafe { (&*self.slot.key(), &mut *self.slot.value()) }
    }

    /// Replaces the key by an equal one, and gives the old.
    ///
    /// # Panics
    /// If they are not equal.
    pub fn replace_key(&mut self, key: K) -> K
    where
        K: Equivalent<K>,
    {
        assert!(
            key.equivalent(self.key()),
            "replaced Key is not equal to the new Key"
        );
        // SAFETY: equal.
        unsafe { self.replace_key_unchecked(key) }
    }

    /// Replaces the key, and gives the old.
    ///
    /// # Safety
    /// The two are equal.
    pub unsafe fn replace_key_unchecked(&mut self, key: K) -> K {
        // SAFETY: as for `key`.
        mem::replace(unsafe { &mut *self.slot.key() }, key)
    }

    /// Sets the value, and gives the old.
    pub fn insert(&mut self, value: V) -> V {
        mem::replace(self.get_mut(), value)
    }

    /// Removes the entry and gives its value.
    pub fn remove(self) -> V {
        self.remove_entry().1
    }

    /// Removes the entry and gives all of it.
    pub fn remove_entry(self) -> (K, V) {
        // SAFETY: as for the key; the entry is consumed.
        unsafe { self.map.table.remove_slot(self.slot) }
    }

    /// Replaces the value by what `f` makes of it, or removes the entry. If `f` unwinds the entry is
    /// gone.
    pub fn replace_entry_with<F: FnOnce(&K, V) -> Option<V>>(self, f: F) -> Entry<'a, K, V, S, A> {
        let Self { hash, slot, map } = self;
        // SAFETY: as for the key; the entry is consumed.
        match unsafe { map.table.replace_with(slot, f) } {
            // SAFETY: just put in this map.
            Ok(slot) => Entry::Occupied(unsafe { Self::new(hash, slot, map) }),
            Err(key) => Entry::Vacant(VacantEntry { hash, key, map }),
        }
    }

    /// The map.
    pub fn into_map(self) -> &'a mut HashMap<K, V, S, A> {
        self.map
    }
}

impl<'a, K, V, S, A: Allocator> VacantEntry<'a, K, V, S, A> {
    /// The key that would be inserted.
    pub fn key(&self) -> &K {
        &self.key
    }

    /// Gives the key back.
    pub fn into_key(self) -> K {
        self.key
    }

    /// Inserts the entry.
    ///
    /// # Panics
    /// As [`HashMap::insert`].
    #[inline]
    pub fn insert(self, value: V) -> &'a mut V
    where
        K: Hash,
        S: BuildHasher,
    {
        self.insert_entry(value).into_mut()
    }

    /// Inserts the entry, and gives it.
    ///
    /// # Panics
    /// As [`HashMap::insert`].
    #[inline]
    pub fn insert_entry(self, value: V) -> OccupiedEntry<'a, K, V, S, A>
    where
        K: Hash,
        S: BuildHasher,
    {
        let Self { hash, key, map } = self;
        let slot = map
            .table
            .insert_unique(hash, key, value, &ByHasher(&map.hash_builder));
        // SAFETY: just inserted in this map.
        unsafe { OccupiedEntry::new(hash, slot, map) }
    }

    /// The map.
    pub fn into_map(self) -> &'a mut HashMap<K, V, S, A> {
        self.map
    }
}

impl<K: Debug, V: Debug, S, A: Allocator> Debug for Entry<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vacant(entry) => f.debug_tuple("Entry").field(entry).finish(),
            Self::Occupied(entry) => f.debug_tuple("Entry").field(entry).finish(),
        }
    }
}

impl<K: Debug, V: Debug, S, A: Allocator> Debug for OccupiedEntry<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedEntry")
            .field("key", self.key())
            .field("value", self.get())
            .finish()
    }
}

impl<K: Debug, V, S, A: Allocator> Debug for VacantEntry<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VacantEntry").field(self.key()).finish()
    }
}

impl<K: Debug, V: Debug, S, A: Allocator> Debug for OccupiedError<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedError")
            .field("key", self.entry.key())
            .field("old_value", self.entry.get())
            .field("new_value", &self.value)
            .finish()
    }
}

impl<K: Debug, V: Debug, S, A: Allocator> fmt::Display for OccupiedError<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "failed to insert {:?}, key {:?} already exists with value {:?}",
            self.value,
            self.entry.key(),
            self.entry.get(),
        )
    }
}

impl<K: Debug, V: Debug, S, A: Allocator> core::error::Error for OccupiedError<'_, K, V, S, A> {}
