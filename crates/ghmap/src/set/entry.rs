//! [`Entry`]: one lookup in a set, then whatever is to be done there.

use crate::hash_map;
use crate::{Allocator, DefaultHashBuilder, Global};
use core::fmt::{self, Debug};
use core::hash::{BuildHasher, Hash};

/// An element's entry, present or not; made by [`HashSet::entry`](super::HashSet::entry).
pub enum Entry<'a, T, S = DefaultHashBuilder, A: Allocator = Global> {
    /// The element is present.
    Occupied(OccupiedEntry<'a, T, S, A>),
    /// The element is absent.
    Vacant(VacantEntry<'a, T, S, A>),
}

/// An element that is present.
pub struct OccupiedEntry<'a, T, S = DefaultHashBuilder, A: Allocator = Global> {
    inner: hash_map::OccupiedEntry<'a, T, (), S, A>,
}

/// A place for an absent element.
pub struct VacantEntry<'a, T, S = DefaultHashBuilder, A: Allocator = Global> {
    inner: hash_map::VacantEntry<'a, T, (), S, A>,
}

impl<'a, T, S, A: Allocator> Entry<'a, T, S, A> {
    pub(super) fn from_map(entry: hash_map::Entry<'a, T, (), S, A>) -> Self {
        match entry {
            hash_map::Entry::Occupied(inner) => Self::Occupied(OccupiedEntry { inner }),
            hash_map::Entry::Vacant(inner) => Self::Vacant(VacantEntry { inner }),
        }
    }

    /// The entry, in which the element now is.
    pub fn insert(self) -> OccupiedEntry<'a, T, S, A>
    where
        T: Hash,
        S: BuildHasher,
    {
        match self {
            Self::Occupied(entry) => entry,
            Self::Vacant(entry) => entry.insert(),
        }
    }

    /// Sees to it that the element is present.
    pub fn or_insert(self)
    where
        T: Hash,
        S: BuildHasher,
    {
        self.insert();
    }

    /// The element: the stored one, or the one looked for.
    pub fn get(&self) -> &T {
        match self {
            Self::Occupied(entry) => entry.get(),
            Self::Vacant(entry) => entry.get(),
        }
    }
}

impl<'a, T, S, A: Allocator> OccupiedEntry<'a, T, S, A> {
    /// The stored element.
    pub fn get(&self) -> &T {
        self.inner.key()
    }

    /// The stored element, for as long as the set is borrowed.
    ///
    /// ```
    /// let mut set: ghmap::HashSet<&str> = ghmap::HashSet::new();
    /// assert_eq!(set.entry("a").insert().into_ref(), &"a");
    /// ```
    pub fn into_ref(self) -> &'a T {
        self.inner.into_entry().0
    }

    /// Removes the element and gives it.
    pub fn remove(self) -> T {
        self.inner.remove_entry().0
    }
}

impl<'a, T, S, A: Allocator> VacantEntry<'a, T, S, A> {
    /// The element looked for.
    pub fn get(&self) -> &T {
        self.inner.key()
    }

    /// Gives the element back.
    pub fn into_value(self) -> T {
        self.inner.into_key()
    }

    /// Inserts the element.
    pub fn insert(self) -> OccupiedEntry<'a, T, S, A>
    where
        T: Hash,
        S: BuildHasher,
    {
        OccupiedEntry {
            inner: self.inner.insert_entry(()),
        }
    }
}

impl<T: Debug, S, A: Allocator> Debug for Entry<'_, T, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vacant(entry) => f.debug_tuple("Entry").field(entry).finish(),
            Self::Occupied(entry) => f.debug_tuple("Entry").field(entry).finish(),
        }
    }
}

impl<T: Debug, S, A: Allocator> Debug for OccupiedEntry<'_, T, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedEntry")
            .field("value", self.get())
            .finish()
    }
}

impl<T: Debug, S, A: Allocator> Debug for VacantEntry<'_, T, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VacantEntry").field(self.get()).finish()
    }
}
