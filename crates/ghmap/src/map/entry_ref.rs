//! [`EntryRef`]: an entry looked up by a borrowed key.

use super::{ByHasher, HashMap, OccupiedEntry};
use crate::{Allocator, DefaultHashBuilder, Equivalent, Global};
use core::fmt::{self, Debug};
use core::hash::{BuildHasher, Hash};
use stdalloc::borrow::ToOwned;

/// An entry of a map, present or not; made by [`HashMap::entry_ref`].
pub enum EntryRef<'a, 'b, K, Q: ?Sized, V, S = DefaultHashBuilder, A: Allocator = Global> {
    /// The key is present.
    Occupied(OccupiedEntry<'a, K, V, S, A>),
    /// The key is absent.
    Vacant(VacantEntryRef<'a, 'b, K, Q, V, S, A>),
}

/// A place for an absent key, known by reference.
pub struct VacantEntryRef<
    'map,
    'key,
    K,
    Q: ?Sized,
    V,
    S = DefaultHashBuilder,
    A: Allocator = Global,
> {
    pub(super) hash: u64,
    pub(super) key: &'key Q,
    pub(super) map: &'map mut HashMap<K, V, S, A>,
}

impl<'a, 'b, K, Q: ?Sized, V, S, A: Allocator> EntryRef<'a, 'b, K, Q, V, S, A> {
    /// Sets the value, and gives the entry.
    pub fn insert(self, value: V) -> OccupiedEntry<'a, K, V, S, A>
    where
        K: Hash,
        Q: ToOwned<Owned = K>,
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
    pub fn or_insert(self, default: V) -> &'a mut V
    where
        K: Hash,
        Q: ToOwned<Owned = K>,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(entry) => entry.into_mut(),
            Self::Vacant(entry) => entry.insert(default),
        }
    }

    /// The value, which `default` makes if the key was absent.
    pub fn or_insert_with<F: FnOnce() -> V>(self, default: F) -> &'a mut V
    where
        K: Hash,
        Q: ToOwned<Owned = K>,
        S: BuildHasher,
    {
        self.or_insert_with_key(|_| default())
    }

    /// The value, which `default` makes from the key if that was absent.
    pub fn or_insert_with_key<F: FnOnce(&Q) -> V>(self, default: F) -> &'a mut V
    where
        K: Hash,
        Q: ToOwned<Owned = K>,
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
    pub fn or_default(self) -> &'a mut V
    where
        K: Hash,
        Q: ToOwned<Owned = K>,
        V: Default,
        S: BuildHasher,
    {
        self.or_insert_with(V::default)
    }

    /// The entry, whose value is its type's default if the key was absent.
    pub fn or_default_entry(self) -> OccupiedEntry<'a, K, V, S, A>
    where
        K: Hash,
        Q: ToOwned<Owned = K>,
        V: Default,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(entry) => entry,
            Self::Vacant(entry) => entry.insert_entry(V::default()),
        }
    }

    /// The key: the stored one, or the one looked for.
    pub fn key(&self) -> &Q
    where
        K: core::borrow::Borrow<Q>,
    {
        match self {
            Self::Occupied(entry) => entry.key().borrow(),
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

    /// The map.
    pub fn into_map(self) -> &'a mut HashMap<K, V, S, A> {
        match self {
            Self::Occupied(entry) => entry.into_map(),
            Self::Vacant(entry) => entry.into_map(),
        }
    }
}

impl<'map, 'key, K, Q: ?Sized, V, S, A: Allocator> VacantEntryRef<'map, 'key, K, Q, V, S, A> {
    /// The key looked for.
    pub fn key(&self) -> &'key Q {
        self.key
    }

    /// Inserts an entry with an owned copy of the key.
    pub fn insert(self, value: V) -> &'map mut V
    where
        K: Hash,
        Q: ToOwned<Owned = K>,
        S: BuildHasher,
    {
        self.insert_entry(value).into_mut()
    }

    /// Inserts an entry with an owned copy of the key, and gives it.
    pub fn insert_entry(self, value: V) -> OccupiedEntry<'map, K, V, S, A>
    where
        K: Hash,
        Q: ToOwned<Owned = K>,
        S: BuildHasher,
    {
        let key = self.key.to_owned();
        self.insert_owned(key, value)
    }

    /// Inserts an entry with this key.
    ///
    /// # Panics
    /// If it is not the key looked for.
    ///
    /// ```
    /// use ghmap::hash_map::EntryRef;
    /// let mut map: ghmap::HashMap<String, u32> = ghmap::HashMap::new();
    /// if let EntryRef::Vacant(entry) = map.entry_ref("a") {
    ///     entry.insert_with_key("a".to_string(), 1);
    /// }
    /// assert_eq!(map["a"], 1);
    /// ```
    pub fn insert_with_key(self, key: K, value: V) -> &'map mut V
    where
        K: Hash,
        Q: Equivalent<K>,
        S: BuildHasher,
    {
        self.insert_entry_with_key(key, value).into_mut()
    }

    /// Inserts an entry with this key, unchecked.
    ///
    /// # Safety
    /// It is the key looked for, and hashes as that.
    pub unsafe fn insert_with_key_unchecked(self, key: K, value: V) -> &'map mut V
    where
        K: Hash,
        S: BuildHasher,
    {
        self.insert_owned(key, value).into_mut()
    }

    /// Inserts an entry with this key, and gives it.
    ///
    /// # Panics
    /// If it is not the key looked for.
    pub fn insert_entry_with_key(self, key: K, value: V) -> OccupiedEntry<'map, K, V, S, A>
    where
        K: Hash,
        Q: Equivalent<K>,
        S: BuildHasher,
    {
        assert!(
            self.key.equivalent(&key),
            "key used for Entry creation is not equivalent to the one used for insertion"
        );
        self.insert_owned(key, value)
    }

    /// Inserts an entry with this key, unchecked, and gives it.
    ///
    /// # Safety
    /// It is the key looked for, and hashes as that.
    pub unsafe fn insert_entry_with_key_unchecked(
        self,
        key: K,
        value: V,
    ) -> OccupiedEntry<'map, K, V, S, A>
    where
        K: Hash,
        S: BuildHasher,
    {
        self.insert_owned(key, value)
    }

    fn insert_owned(self, key: K, value: V) -> OccupiedEntry<'map, K, V, S, A>
    where
        K: Hash,
        S: BuildHasher,
    {
        let Self { hash, map, .. } = self;
        let slot = map
            .table
            .insert_unique(hash, key, value, &ByHasher(&map.hash_builder));
        // SAFETY: just inserted in this map.
        unsafe { OccupiedEntry::new(hash, slot, map) }
    }

    /// The map.
    pub fn into_map(self) -> &'map mut HashMap<K, V, S, A> {
        self.map
    }
}

impl<K, Q, V, S, A> Debug for EntryRef<'_, '_, K, Q, V, S, A>
where
    K: Debug + core::borrow::Borrow<Q>,
    Q: Debug + ?Sized,
    V: Debug,
    A: Allocator,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vacant(entry) => f.debug_tuple("EntryRef").field(entry).finish(),
            Self::Occupied(entry) => f.debug_tuple("EntryRef").field(entry).finish(),
        }
    }
}

impl<K, Q: ?Sized + Debug, V, S, A: Allocator> Debug for VacantEntryRef<'_, '_, K, Q, V, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VacantEntryRef").field(&self.key()).finish()
    }
}
