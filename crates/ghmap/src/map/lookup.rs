//! Lookups: they never move an entry, and take the shortest path when no growth is under way.

use super::HashMap;
use crate::raw::Slot;
use crate::{Allocator, Equivalent};
use core::hash::{BuildHasher, Hash};

impl<K: Eq + Hash, V, S: BuildHasher, A: Allocator> HashMap<K, V, S, A> {
    /// The value of `key`. Expected constant time.
    ///
    /// ```
    /// let map: ghmap::HashMap<_, _> = ghmap::HashMap::from([("a".to_string(), 1)]);
    /// assert_eq!(map.get("a"), Some(&1));
    /// assert_eq!(map.get("b"), None);
    /// ```
    #[inline]
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<&V> {
        self.get_key_value(key).map(|(_, value)| value)
    }

    /// The stored key and the value of `key`.
    #[inline]
    pub fn get_key_value<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<(&K, &V)> {
        if self.is_empty() {
            return None;
        }
        self.table.get(self.hash_of(key), |k| key.equivalent(k))
    }

    /// The value of `key`, mutably.
    #[inline]
    pub fn get_mut<Q: Hash + Equivalent<K> + ?Sized>(&mut self, key: &Q) -> Option<&mut V> {
        self.get_key_value_mut(key).map(|(_, value)| value)
    }

    /// The stored key and the value of `key`, the value mutably.
    #[inline]
    pub fn get_key_value_mut<Q: Hash + Equivalent<K> + ?Sized>(
        &mut self,
        key: &Q,
    ) -> Option<(&K, &mut V)> {
        if self.is_empty() {
            return None;
        }
        let hash = self.hash_of(key);
        self.table
            .get_mut(hash, |k| key.equivalent(k))
            .map(|(key, value)| (&*key, value))
    }

    /// Whether `key` is present.
    #[inline]
    pub fn contains_key<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> bool {
        self.get_key_value(key).is_some()
    }

    /// The values of `N` keys. All hashes are computed and all cache lines asked for before the first is
    /// waited for, so that in a map larger than the caches `N` lookups take little longer than one.
    ///
    /// ```
    /// let map: ghmap::HashMap<_, _> = ghmap::HashMap::from([(1, "a"), (2, "b")]);
    /// assert_eq!(map.get_many([&2, &3, &2]), [Some(&"b"), None, Some(&"b")]);
    /// ```
    pub fn get_many<Q: Hash + Equivalent<K> + ?Sized, const N: usize>(
        &self,
        keys: [&Q; N],
    ) -> [Option<&V>; N] {
        self.slots(keys).map(|slot| {
            // SAFETY: just found; the borrow keeps the table as it is.
            slot.map(|slot| unsafe { &*slot.value() })
        })
    }

    /// The slots of `N` keys, with the prefetching of [`get_many`](Self::get_many).
    fn slots<Q: Hash + Equivalent<K> + ?Sized, const N: usize>(
        &self,
        keys: [&Q; N],
    ) -> [Option<Slot<K, V>>; N] {
        let hashes = keys.map(|key| {
            let hash = self.hash_of(key);
            self.table.prefetch(hash);
            hash
        });
        core::array::from_fn(|i| self.table.find(hashes[i], |k| keys[i].equivalent(k)))
    }

    fn disjoint_slots<Q: Hash + Equivalent<K> + ?Sized, const N: usize>(
        &mut self,
        keys: [&Q; N],
    ) -> [Option<Slot<K, V>>; N] {
        let slots = self.slots(keys);
        for (i, a) in slots.iter().enumerate() {
            for b in &slots[..i] {
                if let (Some(a), Some(b)) = (a, b) {
                    assert!(!a.is_same(b), "duplicate keys found");
                }
            }
        }
        slots
    }

    /// The values of `N` different keys, mutably and at once.
    ///
    /// # Panics
    /// If two of the keys are present and equal.
    ///
    /// ```
    /// let mut map: ghmap::HashMap<_, _> = ghmap::HashMap::from([(1, 10), (2, 20)]);
    /// if let [Some(a), Some(b)] = map.get_disjoint_mut([&1, &2]) {
    ///     std::mem::swap(a, b);
    /// }
    /// assert_eq!(map[&1], 20);
    /// ```
    pub fn get_disjoint_mut<Q: Hash + Equivalent<K> + ?Sized, const N: usize>(
        &mut self,
        keys: [&Q; N],
    ) -> [Option<&mut V>; N] {
        self.get_disjoint_key_value_mut(keys)
            .map(|entry| entry.map(|(_, value)| value))
    }

    /// [`get_disjoint_mut`](Self::get_disjoint_mut) without the check.
    ///
    /// # Safety
    /// No two of the keys are equal.
    pub unsafe fn get_disjoint_unchecked_mut<Q: Hash + Equivalent<K> + ?Sized, const N: usize>(
        &mut self,
        keys: [&Q; N],
    ) -> [Option<&mut V>; N] {
        // SAFETY: the caller's promise.
        unsafe { self.get_disjoint_key_value_unchecked_mut(keys) }
            .map(|entry| entry.map(|(_, value)| value))
    }

    /// The stored keys and values of `N` different keys, the values mutably.
    ///
    /// # Panics
    /// If two of the keys are present and equal.
    pub fn get_disjoint_key_value_mut<Q: Hash + Equivalent<K> + ?Sized, const N: usize>(
        &mut self,
        keys: [&Q; N],
    ) -> [Option<(&K, &mut V)>; N] {
        self.disjoint_slots(keys).map(|slot| {
            // SAFETY: just found, all different; the borrow keeps the table as it is.
            slot.map(|slot| unsafe { (&*slot.key(), &mut *slot.value()) })
        })
    }

    /// [`get_disjoint_key_value_mut`](Self::get_disjoint_key_value_mut) without the check.
    ///
    /// # Safety
    /// No two of the keys are equal.
    pub unsafe fn get_disjoint_key_value_unchecked_mut<
        Q: Hash + Equivalent<K> + ?Sized,
        const N: usize,
    >(
        &mut self,
        keys: [&Q; N],
    ) -> [Option<(&K, &mut V)>; N] {
        self.slots(keys).map(|slot| {
            // SAFETY: just found, and different by the caller's promise.
            slot.map(|slot| unsafe { (&*slot.key(), &mut *slot.value()) })
        })
    }

    /// The older name of [`get_disjoint_mut`](Self::get_disjoint_mut).
    ///
    /// # Panics
    /// If two of the keys are present and equal.
    #[deprecated(note = "use `get_disjoint_mut`")]
    pub fn get_many_mut<Q: Hash + Equivalent<K> + ?Sized, const N: usize>(
        &mut self,
        keys: [&Q; N],
    ) -> [Option<&mut V>; N] {
        self.get_disjoint_mut(keys)
    }

    /// The older name of [`get_disjoint_unchecked_mut`](Self::get_disjoint_unchecked_mut).
    ///
    /// # Safety
    /// No two of the keys are equal.
    #[deprecated(note = "use `get_disjoint_unchecked_mut`")]
    pub unsafe fn get_many_unchecked_mut<Q: Hash + Equivalent<K> + ?Sized, const N: usize>(
        &mut self,
        keys: [&Q; N],
    ) -> [Option<&mut V>; N] {
        // SAFETY: the caller's promise.
        unsafe { self.get_disjoint_unchecked_mut(keys) }
    }

    /// The older name of [`get_disjoint_key_value_mut`](Self::get_disjoint_key_value_mut).
    ///
    /// # Panics
    /// If two of the keys are present and equal.
    #[deprecated(note = "use `get_disjoint_key_value_mut`")]
    pub fn get_many_key_value_mut<Q: Hash + Equivalent<K> + ?Sized, const N: usize>(
        &mut self,
        keys: [&Q; N],
    ) -> [Option<(&K, &mut V)>; N] {
        self.get_disjoint_key_value_mut(keys)
    }

    /// The older name of
    /// [`get_disjoint_key_value_unchecked_mut`](Self::get_disjoint_key_value_unchecked_mut).
    ///
    /// # Safety
    /// No two of the keys are equal.
    #[deprecated(note = "use `get_disjoint_key_value_unchecked_mut`")]
    pub unsafe fn get_many_key_value_unchecked_mut<
        Q: Hash + Equivalent<K> + ?Sized,
        const N: usize,
    >(
        &mut self,
        keys: [&Q; N],
    ) -> [Option<(&K, &mut V)>; N] {
        // SAFETY: the caller's promise.
        unsafe { self.get_disjoint_key_value_unchecked_mut(keys) }
    }
}
