//! The entries of a [`HashTable`].

use super::HashTable;
use crate::raw::{Place, Slot};
use crate::{Allocator, Global};
use core::fmt::{self, Debug};

/// An entry of a table, present or not; made by [`HashTable::entry`].
pub enum Entry<'a, T, A: Allocator = Global> {
    /// The value is present.
    Occupied(OccupiedEntry<'a, T, A>),
    /// The value is absent.
    Vacant(VacantEntry<'a, T, A>),
}

/// An entry that is present.
pub struct OccupiedEntry<'a, T, A: Allocator = Global> {
    slot: Slot<T, ()>,
    table: &'a mut HashTable<T, A>,
}

// SAFETY: the slot is a place in the table that the entry borrows mutably.
unsafe impl<T: Send, A: Allocator + Send> Send for OccupiedEntry<'_, T, A> {}
// SAFETY: as above; nothing is written through a shared reference.
unsafe impl<T: Sync, A: Allocator + Sync> Sync for OccupiedEntry<'_, T, A> {}

/// A place for an absent value.
pub struct VacantEntry<'a, T, A: Allocator = Global> {
    place: Place<T, ()>,
    table: &'a mut HashTable<T, A>,
}

// SAFETY: the place is one in the table that the entry borrows mutably.
unsafe impl<T: Send, A: Allocator + Send> Send for VacantEntry<'_, T, A> {}
// SAFETY: as above; nothing is written through a shared reference.
unsafe impl<T: Sync, A: Allocator + Sync> Sync for VacantEntry<'_, T, A> {}

/// A table that has no such value; made by [`HashTable::find_entry`].
pub struct AbsentEntry<'a, T, A: Allocator = Global> {
    table: &'a mut HashTable<T, A>,
}

impl<'a, T, A: Allocator> Entry<'a, T, A> {
    /// Sets the value found, or inserts it.
    ///
    /// ```
    /// let mut table = ghmap::HashTable::new();
    /// for value in [(1, 'a'), (1, 'b')] {
    ///     table.entry(1, |v: &(u64, char)| v.0 == 1, |v| v.0).insert(value);
    /// }
    /// assert_eq!(table.into_iter().collect::<Vec<_>>(), [(1, 'b')]);
    /// ```
    pub fn insert(self, value: T) -> OccupiedEntry<'a, T, A> {
        match self {
            Self::Occupied(mut entry) => {
                *entry.get_mut() = value;
                entry
            }
            Self::Vacant(entry) => entry.insert(value),
        }
    }

    /// The entry found, or a new one.
    #[inline]
    pub fn or_insert(self, default: T) -> OccupiedEntry<'a, T, A> {
        self.or_insert_with(|| default)
    }

    /// The entry found, or the one that `default` makes.
    #[inline]
    pub fn or_insert_with(self, default: impl FnOnce() -> T) -> OccupiedEntry<'a, T, A> {
        match self {
            Self::Occupied(entry) => entry,
            Self::Vacant(entry) => entry.insert(default()),
        }
    }

    /// Changes the value, if one was found.
    pub fn and_modify(mut self, f: impl FnOnce(&mut T)) -> Self {
        if let Self::Occupied(entry) = &mut self {
            f(entry.get_mut());
        }
        self
    }

    /// The table.
    pub fn into_table(self) -> &'a mut HashTable<T, A> {
        match self {
            Self::Occupied(entry) => entry.table,
            Self::Vacant(entry) => entry.table,
        }
    }
}

impl<'a, T, A: Allocator> OccupiedEntry<'a, T, A> {
    /// # Safety
    /// `slot` was found in `table`, which has not changed since.
    pub(super) unsafe fn at(slot: Slot<T, ()>, table: &'a mut HashTable<T, A>) -> Self {
        Self { slot, table }
    }

    /// Removes the value, and gives it and the place it leaves. Moves nothing, also in a growing table.
    ///
    /// ```
    /// let mut table = ghmap::HashTable::new();
    /// let entry = table.insert_unique(1, "a", |_| 1);
    /// let (value, place) = entry.remove();
    /// place.insert("b");
    /// assert_eq!((value, table.find(1, |v| *v == "b")), ("a", Some(&"b")));
    /// ```
    pub fn remove(self) -> (T, VacantEntry<'a, T, A>) {
        let Self { slot, table } = self;
        // SAFETY: the table has not changed since the slot was found: the entry borrows it.
        let ((value, ()), place) = unsafe { table.table.remove_to_place(slot) };
        (value, VacantEntry { place, table })
    }

    /// The value.
    #[inline]
    pub fn get(&self) -> &T {
        // SAFETY: as for `remove`.
        unsafe { &*self.slot.key() }
    }

    /// The value, to be changed; it must keep its hash.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: as for `remove`.
        unsafe { &mut *self.slot.key() }
    }

    /// The value, to be changed, for as long as the table was borrowed.
    #[inline]
    pub fn into_mut(self) -> &'a mut T {
        // SAFETY: as for `remove`; the entry's borrow goes to the result.
        unsafe { &mut *self.slot.key() }
    }

    /// The table.
    pub fn into_table(self) -> &'a mut HashTable<T, A> {
        self.table
    }

    /// The number of the bucket, for [`HashTable::get_bucket`].
    pub fn bucket_index(&self) -> usize {
        self.table.number(self.slot)
    }

    /// Replaces the value by what `f` makes of it, or removes it. If `f` unwinds it is gone.
    ///
    /// ```
    /// let mut table = ghmap::HashTable::new();
    /// let entry = table.insert_unique(1, 1, |_| 1);
    /// assert_eq!(*entry.replace_entry_with(|n| Some(n + 1)).into_table().find(1, |_| true).unwrap(), 2);
    /// let entry = table.find_entry(1, |_| true).unwrap();
    /// assert!(entry.replace_entry_with(|_| None).into_table().is_empty());
    /// ```
    pub fn replace_entry_with<F: FnOnce(T) -> Option<T>>(self, f: F) -> Entry<'a, T, A> {
        let (value, vacant) = self.remove();
        match f(value) {
            Some(value) => Entry::Occupied(vacant.insert(value)),
            None => Entry::Vacant(vacant),
        }
    }
}

impl<'a, T, A: Allocator> VacantEntry<'a, T, A> {
    /// # Safety
    /// `place` is of `table`, which has not changed since.
    pub(super) unsafe fn at(place: Place<T, ()>, table: &'a mut HashTable<T, A>) -> Self {
        Self { place, table }
    }

    /// Inserts a value, whose hash must be that of the entry.
    #[inline]
    pub fn insert(self, value: T) -> OccupiedEntry<'a, T, A> {
        let Self { place, table } = self;
        // SAFETY: the table has not changed since the place was found: the entry borrows it.
        unsafe {
            let slot = table.table.fill_place(place, value, ());
            OccupiedEntry::at(slot, table)
        }
    }

    /// The table.
    pub fn into_table(self) -> &'a mut HashTable<T, A> {
        self.table
    }
}

impl<'a, T, A: Allocator> AbsentEntry<'a, T, A> {
    pub(super) fn of(table: &'a mut HashTable<T, A>) -> Self {
        Self { table }
    }

    /// The table.
    pub fn into_table(self) -> &'a mut HashTable<T, A> {
        self.table
    }
}

impl<T: Debug, A: Allocator> Debug for Entry<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vacant(entry) => f.debug_tuple("Entry").field(entry).finish(),
            Self::Occupied(entry) => f.debug_tuple("Entry").field(entry).finish(),
        }
    }
}

impl<T: Debug, A: Allocator> Debug for OccupiedEntry<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OccupiedEntry")
            .field("value", self.get())
            .finish()
    }
}

impl<T: Debug, A: Allocator> Debug for VacantEntry<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VacantEntry")
    }
}

impl<T: Debug, A: Allocator> Debug for AbsentEntry<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AbsentEntry")
    }
}
