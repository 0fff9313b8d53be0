//! The iterators of [`HashTable`]. Order is that of memory, and nothing to rely on; `size_hint` is exact
//! but of those that go by a hash.

use super::HashTable;
use crate::raw::{Entries, Extract, Index, Matches, RawDrain, RawIter, RawTable};
use crate::{Allocator, Global};
use core::fmt::{self, Debug};
use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// The values of a table; made by [`HashTable::iter`].
pub struct Iter<'a, T> {
    inner: RawIter<T, ()>,
    _borrow: PhantomData<&'a T>,
}

/// The values of a table, to be changed; made by [`HashTable::iter_mut`].
pub struct IterMut<'a, T> {
    inner: RawIter<T, ()>,
    _borrow: PhantomData<&'a mut T>,
}

/// Pointers to the values of a table; made by [`HashTable::unsafe_iter`].
pub struct UnsafeIter<'a, T> {
    inner: RawIter<T, ()>,
    /// Covariant: whoever makes references of the pointers says of what.
    _borrow: PhantomData<&'a T>,
}

/// The numbers of all buckets with a value; made by [`HashTable::iter_buckets`].
pub struct IterBuckets<'a, T> {
    inner: RawIter<T, ()>,
    index: Index<T, ()>,
    _borrow: PhantomData<&'a T>,
}

/// The values that may have one hash; made by [`HashTable::iter_hash`].
pub struct IterHash<'a, T> {
    inner: Matches<T, ()>,
    _borrow: PhantomData<&'a T>,
}

/// The values that may have one hash, to be changed; made by [`HashTable::iter_hash_mut`].
pub struct IterHashMut<'a, T> {
    inner: Matches<T, ()>,
    _borrow: PhantomData<&'a mut T>,
}

/// The numbers of the buckets whose values may have one hash; made by [`HashTable::iter_hash_buckets`].
pub struct IterHashBuckets<'a, T> {
    inner: Matches<T, ()>,
    index: Index<T, ()>,
    _borrow: PhantomData<&'a T>,
}

/// The values of a table, owned; made by `into_iter`.
pub struct IntoIter<T, A: Allocator = Global> {
    /// With the allocator, until dropped.
    entries: Entries<T, ()>,
    alloc: A,
}

/// The values of a table that is being emptied; made by [`HashTable::drain`]. Dropping it drops the rest;
/// leaking it leaks the rest and leaves the table empty.
pub struct Drain<'a, T, A: Allocator = Global> {
    inner: RawDrain<'a, T, (), A>,
}

/// Removes and gives the values that a predicate chooses; made by [`HashTable::extract_if`]. Values not
/// reached when it is dropped stay in the table.
#[must_use = "iterators are lazy: unused, it removes nothing; `retain` removes at once"]
pub struct ExtractIf<'a, T, F, A: Allocator = Global> {
    walk: Extract<'a, T, (), A>,
    chosen: F,
}

/// The iterators stand for references to values.
macro_rules! as_references {
    ($($name:ident: $sent:ident, $shared:ident;)*) => {$(
        // SAFETY: stands for references to the values, shared or not.
        unsafe impl<T: $sent> Send for $name<'_, T> {}
        // SAFETY: a shared one gives shared references only.
        unsafe impl<T: $shared> Sync for $name<'_, T> {}
    )*};
}

as_references! {
    Iter: Sync, Sync;
    IterMut: Send, Sync;
    UnsafeIter: Send, Sync;
    IterBuckets: Sync, Sync;
    IterHash: Sync, Sync;
    IterHashMut: Send, Sync;
    IterHashBuckets: Sync, Sync;
}

impl<T, A: Allocator> HashTable<T, A> {
    /// The values, in no particular order. Linear in the table.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self.table.iter())
    }

    /// The values, to be changed; they must keep their hashes.
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut {
            inner: self.table.iter(),
            _borrow: PhantomData,
        }
    }

    /// Pointers to the values, for whoever lends them out on terms of its own.
    ///
    /// ```
    /// let mut table = ghmap::HashTable::new();
    /// table.insert_unique(1, 10, |_| 1);
    /// for value in table.unsafe_iter() {
    ///     // SAFETY: the table is borrowed mutably, and this is the only pointer to the value.
    ///     unsafe { *value.as_ptr() += 1 };
    /// }
    /// assert_eq!(table.find(1, |_| true), Some(&11));
    /// ```
    pub fn unsafe_iter(&mut self) -> UnsafeIter<'_, T> {
        UnsafeIter {
            inner: self.table.iter(),
            _borrow: PhantomData,
        }
    }

    /// The numbers of all buckets with a value, for [`get_bucket`](Self::get_bucket).
    pub fn iter_buckets(&self) -> IterBuckets<'_, T> {
        IterBuckets {
            inner: self.table.iter(),
            index: self.table.index(),
            _borrow: PhantomData,
        }
    }

    /// The values that may have this hash: all that have it, and others of the same bucket that agree in
    /// the bits which are kept.
    ///
    /// ```
    /// let mut table = ghmap::HashTable::new();
    /// for value in ["a", "b", "c"] {
    ///     table.insert_unique(7, value, |_| 7);
    /// }
    /// assert_eq!(table.iter_hash(7).count(), 3);
    /// ```
    pub fn iter_hash(&self, hash: u64) -> IterHash<'_, T> {
        IterHash {
            inner: self.table.matches(hash),
            _borrow: PhantomData,
        }
    }

    /// [`iter_hash`](Self::iter_hash), the values to be changed; they must keep their hashes.
    pub fn iter_hash_mut(&mut self, hash: u64) -> IterHashMut<'_, T> {
        IterHashMut {
            inner: self.table.matches(hash),
            _borrow: PhantomData,
        }
    }

    /// The numbers of the buckets of [`iter_hash`](Self::iter_hash).
    pub fn iter_hash_buckets(&self, hash: u64) -> IterHashBuckets<'_, T> {
        IterHashBuckets {
            inner: self.table.matches(hash),
            index: self.table.index(),
            _borrow: PhantomData,
        }
    }

    /// Takes all values out and keeps the table's memory. Linear in the table; ends a growth.
    pub fn drain(&mut self) -> Drain<'_, T, A> {
        Drain {
            inner: self.table.drain(),
        }
    }

    /// Takes out, one by one, the values for which `chosen` gives `true`.
    ///
    /// ```
    /// let mut table = ghmap::HashTable::new();
    /// for n in 0..8 {
    ///     table.insert_unique(n, n, |n| *n);
    /// }
    /// assert_eq!(table.extract_if(|n| *n % 2 == 0).count(), 4);
    /// assert_eq!(table.len(), 4);
    /// ```
    pub fn extract_if<F: FnMut(&mut T) -> bool>(&mut self, chosen: F) -> ExtractIf<'_, T, F, A> {
        ExtractIf {
            walk: self.table.extract(),
            chosen,
        }
    }
}

impl<T> Iter<'_, T> {
    pub(crate) fn new(inner: RawIter<T, ()>) -> Self {
        Self {
            inner,
            _borrow: PhantomData,
        }
    }
}

impl<T> IterMut<'_, T> {
    /// What is left, shared.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self.inner.clone())
    }
}

impl<T> UnsafeIter<'_, T> {
    /// What is left, shared.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self.inner.clone())
    }
}

impl<T, A: Allocator> IntoIter<T, A> {
    /// What is left, shared.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self.entries.iter.clone())
    }
}

impl<T, A: Allocator> Drain<'_, T, A> {
    /// What is left, shared.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self.inner.iter().clone())
    }
}

/// Iterators over all values.
macro_rules! exact {
    ($name:ident<$life:lifetime, T>, $item:ty, |$it:ident, $bucket:ident, $i:ident| $give:expr) => {
        impl<$life, T> Iterator for $name<$life, T> {
            type Item = $item;

            #[inline]
            fn next(&mut self) -> Option<$item> {
                let ($bucket, $i) = self.inner.next()?;
                let $it = self;
                // SAFETY: a full slot, given once, of the table borrowed for the iterator's life,
                // mutably if the item is.
                Some(unsafe { $give })
            }

            #[inline]
            fn size_hint(&self) -> (usize, Option<usize>) {
                self.inner.size_hint()
            }
        }

        impl<T> ExactSizeIterator for $name<'_, T> {}
        impl<T> FusedIterator for $name<'_, T> {}
    };
}

exact!(Iter<'a, T>, &'a T, |_it, bucket, i| &*bucket.key(i));
exact!(IterMut<'a, T>, &'a mut T, |_it, bucket, i| &mut *bucket
    .key(i));
exact!(UnsafeIter<'a, T>, NonNull<T>, |_it, bucket, i| {
    NonNull::new_unchecked(bucket.key(i))
});
exact!(IterBuckets<'a, T>, usize, |it, bucket, i| it
    .index
    .number(bucket, i));

/// Iterators over the values of a hash.
macro_rules! by_hash {
    ($name:ident<$life:lifetime, T>, $item:ty, |$it:ident, $slot:ident| $give:expr) => {
        impl<$life, T> Iterator for $name<$life, T> {
            type Item = $item;

            #[inline]
            fn next(&mut self) -> Option<$item> {
                let $slot = self.inner.next()?;
                let $it = self;
                // SAFETY: a full slot, given once, of the table borrowed for the iterator's life,
                // mutably if the item is.
                Some(unsafe { $give })
            }
        }

        impl<T> FusedIterator for $name<'_, T> {}
    };
}

by_hash!(IterHash<'a, T>, &'a T, |_it, slot| &*slot.key());
by_hash!(IterHashMut<'a, T>, &'a mut T, |_it, slot| &mut *slot.key());
by_hash!(IterHashBuckets<'a, T>, usize, |it, slot| {
    let (bucket, i) = slot.place();
    it.index.number(bucket, i)
});

impl<T, A: Allocator> Iterator for IntoIter<T, A> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.entries.next(&self.alloc).map(|(value, ())| value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.iter.size_hint()
    }
}

impl<T, A: Allocator> ExactSizeIterator for IntoIter<T, A> {}
impl<T, A: Allocator> FusedIterator for IntoIter<T, A> {}

impl<T, A: Allocator> Drop for IntoIter<T, A> {
    fn drop(&mut self) {
        self.entries.free(&self.alloc);
    }
}

impl<T, A: Allocator> Iterator for Drain<'_, T, A> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        self.inner.next().map(|(value, ())| value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.iter().size_hint()
    }
}

impl<T, A: Allocator> ExactSizeIterator for Drain<'_, T, A> {}
impl<T, A: Allocator> FusedIterator for Drain<'_, T, A> {}

impl<T, F: FnMut(&mut T) -> bool, A: Allocator> Iterator for ExtractIf<'_, T, F, A> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let chosen = &mut self.chosen;
        self.walk
            .next_mut(|value, ()| chosen(value))
            .map(|(value, ())| value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.walk.left()))
    }
}

impl<T, F: FnMut(&mut T) -> bool, A: Allocator> FusedIterator for ExtractIf<'_, T, F, A> {}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<T> Clone for IterBuckets<'_, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            index: self.index.clone(),
            _borrow: PhantomData,
        }
    }
}

impl<T> Clone for IterHash<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<T> Clone for IterHashBuckets<'_, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner,
            index: self.index.clone(),
            _borrow: PhantomData,
        }
    }
}

/// Iterators over nothing.
macro_rules! default {
    ($($name:ident { $($field:ident: $value:expr),* })*) => {$(
        impl<T> Default for $name<'_, T> {
            fn default() -> Self {
                Self { $($field: $value,)* _borrow: PhantomData }
            }
        }
    )*};
}

default! {
    Iter { inner: RawIter::empty() }
    IterMut { inner: RawIter::empty() }
    UnsafeIter { inner: RawIter::empty() }
    IterBuckets { inner: RawIter::empty(), index: Index::none() }
    IterHash { inner: Matches::none() }
    IterHashMut { inner: Matches::none() }
    IterHashBuckets { inner: Matches::none(), index: Index::none() }
}

impl<T, A: Allocator + Default> Default for IntoIter<T, A> {
    fn default() -> Self {
        let (entries, alloc) = RawTable::new_in(A::default()).into_entries();
        Self { entries, alloc }
    }
}

/// `Debug` of what is left.
macro_rules! debug {
    ($($name:ident<$($life:lifetime,)? T $(, $a:ident)?>: $bound:ident, $it:ident => $rest:expr;)*) => {$(
        impl<T: $bound $(, $a: Allocator)?> Debug for $name<$($life,)? T $(, $a)?> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $it = self;
                f.debug_list().entries($rest).finish()
            }
        }
    )*};
}

debug! {
    Iter<'_, T>: Debug, it => it.clone();
    IterMut<'_, T>: Debug, it => it.iter();
    UnsafeIter<'_, T>: Debug, it => it.iter();
    IntoIter<T, A>: Debug, it => it.iter();
    Drain<'_, T, A>: Debug, it => it.iter();
    IterHash<'_, T>: Debug, it => it.clone();
    IterHashMut<'_, T>: Debug, it => IterHash { inner: it.inner, _borrow: PhantomData };
}

impl<T> Debug for IterBuckets<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<T> Debug for IterHashBuckets<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

impl<T, F, A: Allocator> Debug for ExtractIf<'_, T, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf")
            .field("left", &self.walk.left())
            .finish_non_exhaustive()
    }
}

impl<'a, T, A: Allocator> IntoIterator for &'a HashTable<T, A> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T, A: Allocator> IntoIterator for &'a mut HashTable<T, A> {
    type Item = &'a mut T;
    type IntoIter = IterMut<'a, T>;

    fn into_iter(self) -> IterMut<'a, T> {
        self.iter_mut()
    }
}

impl<T, A: Allocator> IntoIterator for HashTable<T, A> {
    type Item = T;
    type IntoIter = IntoIter<T, A>;

    fn into_iter(self) -> IntoIter<T, A> {
        let (entries, alloc) = self.table.into_entries();
        IntoIter { entries, alloc }
    }
}
