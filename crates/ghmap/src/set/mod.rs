//! [`HashSet`]: a [`HashMap`] whose values are `()`.

mod entry;
mod iter;
mod ops;

pub use entry::{Entry, OccupiedEntry, VacantEntry};
pub use iter::{Drain, ExtractIf, IntoIter, Iter};
pub use ops::{Difference, Intersection, SymmetricDifference, Union};

use crate::{Allocator, DefaultHashBuilder, Equivalent, Global, HashMap, Stats, TryReserveError};
use core::fmt;
use core::hash::{BuildHasher, Hash};

/// A hash set that grows a little with every write; see [`HashMap`].
///
/// ```
/// let mut seen = ghmap::HashSet::new();
/// assert!(seen.insert("a"));
/// assert!(!seen.insert("a"));
/// assert!(seen.contains("a"));
/// ```
pub struct HashSet<T, S = DefaultHashBuilder, A: Allocator = Global> {
    pub(crate) map: HashMap<T, (), S, A>,
}

#[cfg(feature = "default-hasher")]
impl<T> HashSet<T> {
    /// An empty set. Nothing is allocated until the first insertion.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty set for at least `capacity` elements.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity_and_hasher(capacity, DefaultHashBuilder::default())
    }
}

#[cfg(feature = "default-hasher")]
impl<T, A: Allocator> HashSet<T, DefaultHashBuilder, A> {
    /// [`new`](HashSet::new) with memory from `alloc`.
    #[must_use]
    pub fn new_in(alloc: A) -> Self {
        Self::with_hasher_in(DefaultHashBuilder::default(), alloc)
    }

    /// [`with_capacity`](HashSet::with_capacity) with memory from `alloc`.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity_in(capacity: usize, alloc: A) -> Self {
        Self::with_capacity_and_hasher_in(capacity, DefaultHashBuilder::default(), alloc)
    }
}

impl<T, S> HashSet<T, S> {
    /// An empty set that hashes by `hasher`.
    #[must_use]
    pub const fn with_hasher(hasher: S) -> Self {
        Self::with_hasher_in(hasher, Global)
    }

    /// An empty set for at least `capacity` elements that hashes by `hasher`.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity_and_hasher(capacity: usize, hasher: S) -> Self {
        Self::with_capacity_and_hasher_in(capacity, hasher, Global)
    }
}

impl<T, S, A: Allocator> HashSet<T, S, A> {
    /// An empty set that hashes by `hasher`, with memory from `alloc`.
    #[must_use]
    pub const fn with_hasher_in(hasher: S, alloc: A) -> Self {
        Self {
            map: HashMap::with_hasher_in(hasher, alloc),
        }
    }

    /// An empty set for at least `capacity` elements that hashes by `hasher`, with memory from `alloc`.
    ///
    /// # Panics
    /// If the size overflows.
    #[must_use]
    pub fn with_capacity_and_hasher_in(capacity: usize, hasher: S, alloc: A) -> Self {
        Self {
            map: HashMap::with_capacity_and_hasher_in(capacity, hasher, alloc),
        }
    }

    /// The allocator.
    pub fn allocator(&self) -> &A {
        self.map.allocator()
    }

    /// The set's `BuildHasher`.
    pub fn hasher(&self) -> &S {
        self.map.hasher()
    }

    /// The number of elements that fit before an insertion starts to double the table.
    pub fn capacity(&self) -> usize {
        self.map.capacity()
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The state of the table and of its growth.
    pub fn stats(&self) -> Stats {
        self.map.stats()
    }

    /// The bytes of the table, as [`Stats::bytes`].
    pub fn allocation_size(&self) -> usize {
        self.map.allocation_size()
    }

    /// As [`HashMap::huge_pages`].
    pub fn huge_pages(&mut self, on: bool) {
        self.map.huge_pages(on);
    }

    /// Removes all elements and keeps the table. Linear in the table; ends a growth.
    pub fn clear(&mut self) {
        self.map.clear();
    }

    /// Keeps only the elements for which `keep` gives `true`. Linear in the table.
    pub fn retain<F: FnMut(&T) -> bool>(&mut self, mut keep: F) {
        self.map.retain(|element, ()| keep(element));
    }
}

impl<T: Eq + Hash, S: BuildHasher, A: Allocator> HashSet<T, S, A> {
    /// As [`HashMap::reserve`].
    ///
    /// # Panics
    /// If the size overflows.
    pub fn reserve(&mut self, additional: usize) {
        self.map.reserve(additional);
    }

    /// As [`HashMap::try_reserve`].
    ///
    /// # Errors
    /// The size overflows or the allocator refuses.
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), TryReserveError> {
        self.map.try_reserve(additional)
    }

    /// As [`HashMap::shrink_to_fit`].
    pub fn shrink_to_fit(&mut self) {
        self.map.shrink_to_fit();
    }

    /// As [`HashMap::shrink_to`].
    pub fn shrink_to(&mut self, min_capacity: usize) {
        self.map.shrink_to(min_capacity);
    }

    /// As [`HashMap::finish_growth`].
    pub fn finish_growth(&mut self) {
        self.map.finish_growth();
    }

    /// Whether the element is present.
    #[inline]
    pub fn contains<Q: Hash + Equivalent<T> + ?Sized>(&self, value: &Q) -> bool {
        self.map.contains_key(value)
    }

    /// The stored element that equals `value`.
    #[inline]
    pub fn get<Q: Hash + Equivalent<T> + ?Sized>(&self, value: &Q) -> Option<&T> {
        self.map.get_key_value(value).map(|(element, ())| element)
    }

    /// The stored element that equals `value`, which is inserted if there is none.
    pub fn get_or_insert(&mut self, value: T) -> &T {
        self.map.entry(value).or_insert_entry(()).into_entry().0
    }

    /// The stored element that equals `value`, or one that `f` makes.
    ///
    /// # Panics
    /// If what `f` makes does not equal `value`.
    pub fn get_or_insert_with<Q, F>(&mut self, value: &Q, f: F) -> &T
    where
        Q: Hash + Equivalent<T> + ?Sized,
        F: FnOnce(&Q) -> T,
    {
        use crate::hash_map::EntryRef;
        match self.map.entry_ref(value) {
            EntryRef::Occupied(entry) => entry.into_entry().0,
            EntryRef::Vacant(entry) => {
                let element = f(value);
                assert!(value.equivalent(&element), "new value is not equivalent");
                // SAFETY: checked just now.
                unsafe { entry.insert_entry_with_key_unchecked(element, ()) }
                    .into_entry()
                    .0
            }
        }
    }

    /// The element's entry, present or not.
    pub fn entry(&mut self, value: T) -> Entry<'_, T, S, A> {
        Entry::from_map(self.map.entry(value))
    }

    /// Inserts an element; whether it was absent. One that is present stays as it is.
    #[inline]
    pub fn insert(&mut self, value: T) -> bool {
        self.map.insert(value, ()).is_none()
    }

    /// Inserts without looking whether the element is present.
    ///
    /// # Safety
    /// It is absent.
    pub unsafe fn insert_unique_unchecked(&mut self, value: T) -> &T {
        // SAFETY: the caller's promise.
        unsafe { self.map.insert_unique_unchecked(value, ()).0 }
    }

    /// Inserts an element, and gives the equal one that it replaces.
    pub fn replace(&mut self, value: T) -> Option<T> {
        let hash = self.map.hash_of(&value);
        match self.map.table.get_mut(hash, |t| value == *t) {
            Some((stored, ())) => Some(core::mem::replace(stored, value)),
            None => {
                self.map.insert(value, ());
                None
            }
        }
    }

    /// Removes an element; whether it was present.
    #[inline]
    pub fn remove<Q: Hash + Equivalent<T> + ?Sized>(&mut self, value: &Q) -> bool {
        self.map.remove(value).is_some()
    }

    /// Removes an element and gives it.
    #[inline]
    pub fn take<Q: Hash + Equivalent<T> + ?Sized>(&mut self, value: &Q) -> Option<T> {
        self.map.remove_entry(value).map(|(element, ())| element)
    }
}

impl<T: Clone, S: Clone, A: Allocator + Clone> Clone for HashSet<T, S, A> {
    fn clone(&self) -> Self {
        Self {
            map: self.map.clone(),
        }
    }

    /// As `clone_from` of a map.
    fn clone_from(&mut self, source: &Self) {
        self.map.clone_from(&source.map);
    }
}

impl<T: Eq + Hash, S: BuildHasher, A: Allocator> PartialEq for HashSet<T, S, A> {
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
    }
}

impl<T: Eq + Hash, S: BuildHasher, A: Allocator> Eq for HashSet<T, S, A> {}

impl<T: fmt::Debug, S, A: Allocator> fmt::Debug for HashSet<T, S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T, S: Default, A: Default + Allocator> Default for HashSet<T, S, A> {
    fn default() -> Self {
        HashMap::default().into()
    }
}

impl<T, S, A: Allocator> From<HashMap<T, (), S, A>> for HashSet<T, S, A> {
    fn from(map: HashMap<T, (), S, A>) -> Self {
        Self { map }
    }
}

#[cfg(feature = "default-hasher")]
impl<T: Eq + Hash, A: Default + Allocator, const N: usize> From<[T; N]>
    for HashSet<T, DefaultHashBuilder, A>
{
    fn from(elements: [T; N]) -> Self {
        elements.into_iter().collect()
    }
}

impl<T, S, A> FromIterator<T> for HashSet<T, S, A>
where
    T: Eq + Hash,
    S: BuildHasher + Default,
    A: Default + Allocator,
{
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        elements
            .into_iter()
            .map(|element| (element, ()))
            .collect::<HashMap<T, (), S, A>>()
            .into()
    }
}

impl<T: Eq + Hash, S: BuildHasher, A: Allocator> Extend<T> for HashSet<T, S, A> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        self.map
            .extend(elements.into_iter().map(|element| (element, ())));
    }
}

impl<'a, T: Eq + Hash + Copy, S: BuildHasher, A: Allocator> Extend<&'a T> for HashSet<T, S, A> {
    fn extend<I: IntoIterator<Item = &'a T>>(&mut self, elements: I) {
        self.extend(elements.into_iter().copied());
    }
}
