//! The raw entries of hashbrown: lookups by a hash that the caller has computed.
//!
//! The table does not check such a hash. A wrong one makes an entry that is not found, or is found twice;
//! memory stays safe. An entry moves by the hash that the map's `BuildHasher` gives (or the hasher of
//! [`insert_with_hasher`](RawVacantEntryMut::insert_with_hasher), for the moves of that call).

use super::{ByHasher, HashMap};
use crate::raw::{ByClosure, Slot};
use crate::{Allocator, DefaultHashBuilder, Equivalent, Global};
use core::fmt::{self, Debug};
use core::hash::{BuildHasher, Hash};
use core::mem;

/// Looks up entries by hash; made by [`HashMap::raw_entry`].
pub struct RawEntryBuilder<'a, K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    map: &'a HashMap<K, V, S, A>,
}

/// Looks up places by hash; made by [`HashMap::raw_entry_mut`].
pub struct RawEntryBuilderMut<'a, K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    map: &'a mut HashMap<K, V, S, A>,
}

/// An entry of a map, present or not; made by [`RawEntryBuilderMut`].
pub enum RawEntryMut<'a, K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    /// The key is present.
    Occupied(RawOccupiedEntryMut<'a, K, V, S, A>),
    /// The key is absent.
    Vacant(RawVacantEntryMut<'a, K, V, S, A>),
}

/// An entry that is present, whose key may be changed.
pub struct RawOccupiedEntryMut<'a, K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    slot: Slot<K, V>,
    map: &'a mut HashMap<K, V, S, A>,
}

// SAFETY: the slot is a place in the map that the entry borrows mutably.
unsafe impl<K: Send, V: Send, S: Send, A: Allocator + Send> Send
    for RawOccupiedEntryMut<'_, K, V, S, A>
{
}
// SAFETY: as above; nothing is written through a shared reference.
unsafe impl<K: Sync, V: Sync, S: Sync, A: Allocator + Sync> Sync
    for RawOccupiedEntryMut<'_, K, V, S, A>
{
}

/// A map that has no such entry.
pub struct RawVacantEntryMut<'a, K, V, S = DefaultHashBuilder, A: Allocator = Global> {
    map: &'a mut HashMap<K, V, S, A>,
}

impl<K, V, S, A: Allocator> HashMap<K, V, S, A> {
    /// Lookups by a hash that the caller has computed.
    ///
    /// ```
    /// use std::hash::BuildHasher;
    ///
    /// let map: ghmap::HashMap<_, _> = ghmap::HashMap::from([("a", 1)]);
    /// let hash = map.hasher().hash_one("a");
    /// assert_eq!(map.raw_entry().from_hash(hash, |k| *k == "a"), Some((&"a", &1)));
    /// ```
    pub fn raw_entry(&self) -> RawEntryBuilder<'_, K, V, S, A> {
        RawEntryBuilder { map: self }
    }

    /// Places for entries, by a hash that the caller has computed.
    ///
    /// ```
    /// let mut map = ghmap::HashMap::new();
    /// let (_, value) = map.raw_entry_mut().from_key("a").or_insert_with(|| ("a".to_string(), 1));
    /// *value += 1;
    /// assert_eq!(map["a"], 2);
    /// ```
    pub fn raw_entry_mut(&mut self) -> RawEntryBuilderMut<'_, K, V, S, A> {
        RawEntryBuilderMut { map: self }
    }
}

impl<'a, K, V, S, A: Allocator> RawEntryBuilder<'a, K, V, S, A> {
    /// The entry of `key`.
    pub fn from_key<Q>(self, key: &Q) -> Option<(&'a K, &'a V)>
    where
        S: BuildHasher,
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.map.hash_builder.hash_one(key);
        self.from_key_hashed_nocheck(hash, key)
    }

    /// The entry of `key`, whose hash is `hash`.
    pub fn from_key_hashed_nocheck<Q>(self, hash: u64, key: &Q) -> Option<(&'a K, &'a V)>
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.from_hash(hash, |k| key.equivalent(k))
    }

    /// The entry with this hash whose key `is_match` accepts.
    pub fn from_hash<F: FnMut(&K) -> bool>(self, hash: u64, is_match: F) -> Option<(&'a K, &'a V)> {
        self.map.table.get(hash, is_match)
    }
}

impl<'a, K, V, S, A: Allocator> RawEntryBuilderMut<'a, K, V, S, A> {
    /// The place of `key`.
    pub fn from_key<Q>(self, key: &Q) -> RawEntryMut<'a, K, V, S, A>
    where
        S: BuildHasher,
        Q: Hash + Equivalent<K> + ?Sized,
    {
        let hash = self.map.hash_builder.hash_one(key);
        self.from_key_hashed_nocheck(hash, key)
    }

    /// The place of `key`, whose hash is `hash`.
    pub fn from_key_hashed_nocheck<Q>(self, hash: u64, key: &Q) -> RawEntryMut<'a, K, V, S, A>
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.from_hash(hash, |k| key.equivalent(k))
    }

    /// The place of the key with this hash that `is_match` accepts.
    pub fn from_hash<F: FnMut(&K) -> bool>(
        self,
        hash: u64,
        is_match: F,
    ) -> RawEntryMut<'a, K, V, S, A> {
        match self.map.table.find(hash, is_match) {
            Some(slot) => {
                // SAFETY: just found in this map.
                let entry = unsafe { RawOccupiedEntryMut::new(slot, self.map) };
                RawEntryMut::Occupied(entry)
            }
            None => RawEntryMut::Vacant(RawVacantEntryMut { map: self.map }),
        }
    }
}

impl<'a, K, V, S, A: Allocator> RawEntryMut<'a, K, V, S, A> {
    /// Sets the value of the entry found, or inserts one of `key`.
    pub fn insert(self, key: K, value: V) -> RawOccupiedEntryMut<'a, K, V, S, A>
    where
        K: Hash,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(mut entry) => {
                entry.insert(value);
                entry
            }
            Self::Vacant(entry) => entry.insert_entry(key, value),
        }
    }

    /// The entry found, or a new one.
    pub fn or_insert(self, key: K, value: V) -> (&'a mut K, &'a mut V)
    where
        K: Hash,
        S: BuildHasher,
    {
        self.or_insert_with(|| (key, value))
    }

    /// The entry found, or the one that `default` makes.
    pub fn or_insert_with<F: FnOnce() -> (K, V)>(self, default: F) -> (&'a mut K, &'a mut V)
    where
        K: Hash,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(entry) => entry.into_key_value(),
            Self::Vacant(entry) => {
                let (key, value) = default();
                entry.insert(key, value)
            }
        }
    }

    /// Changes the entry, if one was found.
    pub fn and_modify<F: FnOnce(&mut K, &mut V)>(mut self, f: F) -> Self {
        if let Self::Occupied(entry) = &mut self {
            let (key, value) = entry.get_key_value_mut();
            f(key, value);
        }
        self
    }

    /// Replaces or removes the entry, if one was found.
    pub fn and_replace_entry_with<F: FnOnce(&K, V) -> Option<V>>(self, f: F) -> Self {
        match self {
            Self::Occupied(entry) => entry.replace_entry_with(f),
            vacant => vacant,
        }
    }
}

impl<'a, K, V, S, A: Allocator> RawOccupiedEntryMut<'a, K, V, S, A> {
    /// # Safety
    /// `slot` was found in `map`, which has not changed since.
    unsafe fn new(slot: Slot<K, V>, map: &'a mut HashMap<K, V, S, A>) -> Self {
        Self { slot, map }
    }

    /// The key.
    pub fn key(&self) -> &K {
        self.get_key_value().0
    }

    /// The key, which must stay equal to what it was, and hash alike.
    pub fn key_mut(&mut self) -> &mut K {
        self.get_key_value_mut().0
    }

    /// The key, for the life of the map's borrow, on the same terms.
    pub fn into_key(self) -> &'a mut K {
        self.into_key_value().0
    }

    /// The value.
    pub fn get(&self) -> &V {
        self.get_key_value().1
    }

    /// The value, to be changed.
    pub fn get_mut(&mut self) -> &mut V {
        self.get_key_value_mut().1
    }

    /// The value, for the life of the map's borrow.
    pub fn into_mut(self) -> &'a mut V {
        self.into_key_value().1
    }

    /// Key and value.
    pub fn get_key_value(&self) -> (&K, &V) {
        // SAFETY: the map has not changed since the slot was found: the entry borrows it.
        unsafe { (&*self.slot.key(), &*self.slot.value()) }
    }

    /// Key and value, to be changed, the key on the terms of [`key_mut`](Self::key_mut).
    pub fn get_key_value_mut(&mut self) -> (&mut K, &mut V) {
        // SAFETY: as for `get_key_value`.
        unsafe { (&mut *self.slot.key(), &mut *self.slot.value()) }
    }

    /// Key and value for the life of the map's borrow, on the same terms.
    pub fn into_key_value(self) -> (&'a mut K, &'a mut V) {
        // SAFETY: as for `get_key_value`; the entry's borrow goes to the result.
        unsafe { (&mut *self.slot.key(), &mut *self.slot.value()) }
    }

    /// Sets the value and gives the old one.
    pub fn insert(&mut self, value: V) -> V {
        mem::replace(self.get_mut(), value)
    }

    /// Sets the key, which must be equal and hash alike, and gives the old one.
    pub fn insert_key(&mut self, key: K) -> K {
        mem::replace(self.key_mut(), key)
    }

    /// Removes the entry and gives its value.
    pub fn remove(self) -> V {
        self.remove_entry().1
    }

    /// Removes the entry and gives it.
    pub fn remove_entry(self) -> (K, V) {
        // SAFETY: as for `get_key_value`; the entry is consumed.
        unsafe { self.map.table.remove_slot(self.slot) }
    }

    /// Replaces the value by what `f` makes of it, or removes the entry if that is nothing. If `f`
    /// unwinds the entry is gone.
    ///
    /// ```
    /// use ghmap::hash_map::RawEntryMut;
    ///
    /// let mut map: ghmap::HashMap<_, _> = ghmap::HashMap::from([("a", 1)]);
    /// let raw = map.raw_entry_mut().from_key("a");
    /// raw.and_replace_entry_with(|_, n| (n > 1).then_some(n));
    /// assert!(map.is_empty());
    /// ```
    pub fn replace_entry_with<F: FnOnce(&K, V) -> Option<V>>(
        self,
        f: F,
    ) -> RawEntryMut<'a, K, V, S, A> {
        let Self { slot, map } = self;
        // SAFETY: as for `get_key_value`; the entry is consumed.
        match unsafe { map.table.replace_with(slot, f) } {
            // SAFETY: just put in this map.
            Ok(slot) => RawEntryMut::Occupied(unsafe { Self::new(slot, map) }),
            Err(_) => RawEntryMut::Vacant(RawVacantEntryMut { map }),
        }
    }
}

impl<'a, K, V, S, A: Allocator> RawVacantEntryMut<'a, K, V, S, A> {
    fn insert_entry(self, key: K, value: V) -> RawOccupiedEntryMut<'a, K, V, S, A>
    where
        K: Hash,
        S: BuildHasher,
    {
        let hash = self.map.hash_builder.hash_one(&key);
        self.insert_entry_hashed(hash, key, value)
    }

    fn insert_entry_hashed(self, hash: u64, key: K, value: V) -> RawOccupiedEntryMut<'a, K, V, S, A>
    where
        K: Hash,
        S: BuildHasher,
    {
        let rehash = ByHasher(&self.map.hash_builder);
        let slot = self.map.table.insert_unique(hash, key, value, &rehash);
        // SAFETY: just inserted in this map.
        unsafe { RawOccupiedEntryMut::new(slot, self.map) }
    }

    /// Inserts an entry.
    pub fn insert(self, key: K, value: V) -> (&'a mut K, &'a mut V)
    where
        K: Hash,
        S: BuildHasher,
    {
        self.insert_entry(key, value).into_key_value()
    }

    /// Inserts an entry whose hash is `hash`.
    pub fn insert_hashed_nocheck(self, hash: u64, key: K, value: V) -> (&'a mut K, &'a mut V)
    where
        K: Hash,
        S: BuildHasher,
    {
        self.insert_entry_hashed(hash, key, value).into_key_value()
    }

    /// Inserts an entry whose hash is `hash`, in a map whose keys are hashed by `hasher`.
    ///
    /// ```
    /// let mut map: ghmap::HashMap<u64, &str, ()> = ghmap::HashMap::with_hasher(());
    /// for n in 0..1000 {
    ///     match map.raw_entry_mut().from_hash(n, |k| *k == n) {
    ///         ghmap::hash_map::RawEntryMut::Vacant(place) => {
    ///             place.insert_with_hasher(n, n, "", |k| *k);
    ///         }
    ///         ghmap::hash_map::RawEntryMut::Occupied(_) => unreachable!(),
    ///     }
    /// }
    /// assert!(map.raw_entry().from_hash(999, |k| *k == 999).is_some());
    /// ```
    pub fn insert_with_hasher<H: Fn(&K) -> u64>(
        self,
        hash: u64,
        key: K,
        value: V,
        hasher: H,
    ) -> (&'a mut K, &'a mut V) {
        let rehash = ByClosure(hasher);
        let slot = self.map.table.insert_unique(hash, key, value, &rehash);
        // SAFETY: just inserted in this map.
        unsafe { RawOccupiedEntryMut::new(slot, self.map) }.into_key_value()
    }
}

impl<K, V, S, A: Allocator> Debug for RawEntryBuilder<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEntryBuilder").finish_non_exhaustive()
    }
}

impl<K, V, S, A: Allocator> Debug for RawEntryBuilderMut<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEntryBuilder").finish_non_exhaustive()
    }
}

impl<K: Debug, V: Debug, S, A: Allocator> Debug for RawEntryMut<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vacant(entry) => f.debug_tuple("RawEntry").field(entry).finish(),
            Self::Occupied(entry) => f.debug_tuple("RawEntry").field(entry).finish(),
        }
    }
}

impl<K: Debug, V: Debug, S, A: Allocator> Debug for RawOccupiedEntryMut<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawOccupiedEntryMut")
            .field("key", self.key())
            .field("value", self.get())
            .finish()
    }
}

impl<K, V, S, A: Allocator> Debug for RawVacantEntryMut<'_, K, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawVacantEntryMut").finish_non_exhaustive()
    }
}
