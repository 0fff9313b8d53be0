//! The iterators of [`HashMap`]. Order is that of memory, and nothing to rely on; `size_hint` is
//! exact. For iteration that stays valid while the map changes see [`Cursor`](crate::Cursor).

use super::HashMap;
use crate::raw::{Entries, Extract, RawDrain, RawIter, RawTable};
use crate::{Allocator, Global};
use core::fmt::{self, Debug};
use core::iter::FusedIterator;
use core::marker::PhantomData;

/// The entries of a map; made by [`HashMap::iter`].
pub struct Iter<'a, K, V> {
    inner: RawIter<K, V>,
    _borrow: PhantomData<(&'a K, &'a V)>,
}

// SAFETY: stands for shared references to keys and values.
unsafe impl<K: Sync, V: Sync> Send for Iter<'_, K, V> {}
// SAFETY: as above.
unsafe impl<K: Sync, V: Sync> Sync for Iter<'_, K, V> {}

/// The entries of a map, values mutable; made by [`HashMap::iter_mut`].
pub struct IterMut<'a, K, V> {
    inner: RawIter<K, V>,
    _borrow: PhantomData<(&'a K, &'a mut V)>,
}

// SAFETY: stands for mutable references to the entries: nobody else has any to a key.
unsafe impl<K: Send, V: Send> Send for IterMut<'_, K, V> {}
// SAFETY: a shared one gives shared references only.
unsafe impl<K: Sync, V: Sync> Sync for IterMut<'_, K, V> {}

/// The entries of a map, owned; made by `into_iter`.
pub struct IntoIter<K, V, A: Allocator = Global> {
    /// With the allocator, until dropped.
    entries: Entries<K, V>,
    alloc: A,
}

/// The keys of a map; made by [`HashMap::keys`].
pub struct Keys<'a, K, V> {
    inner: Iter<'a, K, V>,
}

/// The values of a map; made by [`HashMap::values`].
pub struct Values<'a, K, V> {
    inner: Iter<'a, K, V>,
}

/// The values of a map, mutable; made by [`HashMap::values_mut`].
pub struct ValuesMut<'a, K, V> {
    inner: IterMut<'a, K, V>,
}

/// The keys of a map, owned; made by [`HashMap::into_keys`].
pub struct IntoKeys<K, V, A: Allocator = Global> {
    inner: IntoIter<K, V, A>,
}

/// The values of a map, owned; made by [`HashMap::into_values`].
pub struct IntoValues<K, V, A: Allocator = Global> {
    inner: IntoIter<K, V, A>,
}

/// The entries of a map that is being emptied; made by [`HashMap::drain`]. Dropping it drops the rest;
/// leaking it leaks the rest and leaves the map empty.
pub struct Drain<'a, K, V, A: Allocator = Global> {
    inner: RawDrain<'a, K, V, A>,
}

/// Removes and gives the entries that a predicate chooses; made by [`HashMap::extract_if`]. Entries not
/// reached when it is dropped stay in the map.
#[must_use = "iterators are lazy: unused, it removes nothing; `retain` removes at once"]
pub struct ExtractIf<'a, K, V, F, A: Allocator = Global> {
    walk: Extract<'a, K, V, A>,
    chosen: F,
}

impl<K, V, S, A: Allocator> HashMap<K, V, S, A> {
    /// The entries, in no particular order. Linear in the table.
    ///
    /// ```
    /// let map: ghmap::HashMap<_, _> = ghmap::HashMap::from([(1, 10), (2, 20)]);
    /// assert_eq!(map.iter().map(|(k, v)| k + v).sum::<i32>(), 33);
    /// ```
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(&self.table)
    }

    /// The entries, values mutable.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        IterMut {
            inner: self.table.iter(),
            _borrow: PhantomData,
        }
    }

    /// The keys.
    pub fn keys(&self) -> Keys<'_, K, V> {
        Keys::new(self.iter())
    }

    /// The values.
    pub fn values(&self) -> Values<'_, K, V> {
        Values::new(self.iter())
    }

    /// The values, mutable.
    pub fn values_mut(&mut self) -> ValuesMut<'_, K, V> {
        ValuesMut {
            inner: self.iter_mut(),
        }
    }

    /// The keys, owned.
    pub fn into_keys(self) -> IntoKeys<K, V, A> {
        IntoKeys {
            inner: self.into_iter(),
        }
    }

    /// The values, owned.
    pub fn into_values(self) -> IntoValues<K, V, A> {
        IntoValues {
            inner: self.into_iter(),
        }
    }

    /// Takes all entries out and keeps the table's memory. Linear in the table; ends a growth.
    pub fn drain(&mut self) -> Drain<'_, K, V, A> {
        Drain {
            inner: self.table.drain(),
        }
    }

    /// Takes out, one by one, the entries for which `chosen` gives `true`.
    ///
    /// ```
    /// let mut map: ghmap::HashMap<i32, i32> = (0..8).map(|x| (x, x)).collect();
    /// let even: Vec<_> = map.extract_if(|k, _| k % 2 == 0).collect();
    /// assert_eq!((even.len(), map.len()), (4, 4));
    /// ```
    pub fn extract_if<F: FnMut(&K, &mut V) -> bool>(
        &mut self,
        chosen: F,
    ) -> ExtractIf<'_, K, V, F, A> {
        ExtractIf {
            walk: self.table.extract(),
            chosen,
        }
    }
}

impl<'a, K, V> Iter<'a, K, V> {
    pub(crate) fn new<A: Allocator>(table: &'a RawTable<K, V, A>) -> Self {
        Self {
            inner: table.iter(),
            _borrow: PhantomData,
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (bucket, i) = self.inner.next()?;
        // SAFETY: a full slot of the map borrowed for 'a.
        Some(unsafe { (&*bucket.key(i), &*bucket.value(i)) })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            _borrow: PhantomData,
        }
    }
}

impl<K, V> IterMut<'_, K, V> {
    /// What is left, shared.
    pub(crate) fn rest(&self) -> Iter<'_, K, V> {
        Iter {
            inner: self.inner.clone(),
            _borrow: PhantomData,
        }
    }
}

impl<'a, K, V> Iterator for IterMut<'a, K, V> {
    type Item = (&'a K, &'a mut V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (bucket, i) = self.inner.next()?;
        // SAFETY: a full slot of the map borrowed mutably for 'a, given once.
        Some(unsafe { (&*bucket.key(i), &mut *bucket.value(i)) })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl<K, V, A: Allocator> IntoIter<K, V, A> {
    pub(crate) fn new(table: RawTable<K, V, A>) -> Self {
        let (entries, alloc) = table.into_entries();
        Self { entries, alloc }
    }

    /// What is left, shared.
    pub(crate) fn rest(&self) -> Iter<'_, K, V> {
        Iter {
            inner: self.entries.iter.clone(),
            _borrow: PhantomData,
        }
    }
}

impl<K, V, A: Allocator> Iterator for IntoIter<K, V, A> {
    type Item = (K, V);

    #[inline]
    fn next(&mut self) -> Option<(K, V)> {
        self.entries.next(&self.alloc)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.iter.size_hint()
    }
}

impl<K, V, A: Allocator> Drop for IntoIter<K, V, A> {
    fn drop(&mut self) {
        self.entries.free(&self.alloc);
    }
}

impl<K, V, A: Allocator> Drain<'_, K, V, A> {
    /// What is left, shared.
    pub(crate) fn rest(&self) -> Iter<'_, K, V> {
        Iter {
            inner: self.inner.iter().clone(),
            _borrow: PhantomData,
        }
    }
}

impl<K, V, A: Allocator> Iterator for Drain<'_, K, V, A> {
    type Item = (K, V);

    #[inline]
    fn next(&mut self) -> Option<(K, V)> {
        self.inner.next()
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.iter().size_hint()
    }
}

impl<K, V, F: FnMut(&K, &mut V) -> bool, A: Allocator> Iterator for ExtractIf<'_, K, V, F, A> {
    type Item = (K, V);

    fn next(&mut self) -> Option<(K, V)> {
        self.walk.next(&mut self.chosen)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.walk.left()))
    }
}

impl<K, V, F: FnMut(&K, &mut V) -> bool, A: Allocator> FusedIterator for ExtractIf<'_, K, V, F, A> {}

impl<K, V, F, A: Allocator> Debug for ExtractIf<'_, K, V, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf")
            .field("left", &self.walk.left())
            .finish_non_exhaustive()
    }
}

impl<K, V> Default for Iter<'_, K, V> {
    fn default() -> Self {
        Self {
            inner: RawIter::empty(),
            _borrow: PhantomData,
        }
    }
}

impl<K, V> Default for IterMut<'_, K, V> {
    fn default() -> Self {
        Self {
            inner: RawIter::empty(),
            _borrow: PhantomData,
        }
    }
}

impl<K, V, A: Allocator + Default> Default for IntoIter<K, V, A> {
    fn default() -> Self {
        Self::new(RawTable::new_in(A::default()))
    }
}

/// An iterator that maps another's entries.
macro_rules! projection {
    ($name:ident<$($life:lifetime,)? $k:ident, $v:ident $(, $a:ident)?>, $item:ty, $pick:expr, $inner:ident) => {
        impl<$($life,)? $k, $v $(, $a: Allocator)?> Iterator for $name<$($life,)? $k, $v $(, $a)?> {
            type Item = $item;

            #[inline]
            fn next(&mut self) -> Option<$item> {
                self.inner.next().map($pick)
            }

            #[inline]
            fn size_hint(&self) -> (usize, Option<usize>) {
                self.inner.size_hint()
            }
        }

        impl<$($life,)? $k, $v $(, $a: Allocator + Default)?> Default for $name<$($life,)? $k, $v $(, $a)?> {
            fn default() -> Self {
                Self { inner: $inner::default() }
            }
        }
    };
}

projection!(Keys<'a, K, V>, &'a K, |(key, _)| key, Iter);
projection!(Values<'a, K, V>, &'a V, |(_, value)| value, Iter);
projection!(ValuesMut<'a, K, V>, &'a mut V, |(_, value)| value, IterMut);
projection!(IntoKeys<K, V, A>, K, |(key, _)| key, IntoIter);
projection!(IntoValues<K, V, A>, V, |(_, value)| value, IntoIter);

impl<'a, K, V> Keys<'a, K, V> {
    pub(crate) fn new(inner: Iter<'a, K, V>) -> Self {
        Self { inner }
    }
}

impl<'a, K, V> Values<'a, K, V> {
    pub(crate) fn new(inner: Iter<'a, K, V>) -> Self {
        Self { inner }
    }
}

impl<K, V> Clone for Keys<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<K, V> Clone for Values<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

/// Exact length, an end that stays the end, and `Debug` of what is left.
macro_rules! exact {
    ($name:ident<$($life:lifetime,)? $k:ident, $v:ident $(, $a:ident)?>, ($($bound:tt)*), $it:ident => $rest:expr) => {
        impl<$k, $v $(, $a: Allocator)?> ExactSizeIterator for $name<$($life,)? $k, $v $(, $a)?> {}
        impl<$k, $v $(, $a: Allocator)?> FusedIterator for $name<$($life,)? $k, $v $(, $a)?> {}
        impl<$($bound)* $(, $a: Allocator)?> Debug for $name<$($life,)? $k, $v $(, $a)?> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $it = self;
                f.debug_list().entries($rest).finish()
            }
        }
    };
}

exact!(Iter<'_, K, V>, (K: Debug, V: Debug), it => it.clone());
exact!(IterMut<'_, K, V>, (K: Debug, V: Debug), it => it.rest());
exact!(IntoIter<K, V, A>, (K: Debug, V: Debug), it => it.rest());
exact!(Drain<'_, K, V, A>, (K: Debug, V: Debug), it => it.rest());
exact!(Keys<'_, K, V>, (K: Debug, V), it => it.clone());
exact!(Values<'_, K, V>, (K, V: Debug), it => it.clone());
exact!(ValuesMut<'_, K, V>, (K, V: Debug), it => it.inner.rest().map(|(_, value)| value));
exact!(IntoKeys<K, V, A>, (K: Debug, V), it => it.inner.rest().map(|(key, _)| key));
exact!(IntoValues<K, V, A>, (K, V: Debug), it => it.inner.rest().map(|(_, value)| value));

impl<'a, K, V, S, A: Allocator> IntoIterator for &'a HashMap<K, V, S, A> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

impl<'a, K, V, S, A: Allocator> IntoIterator for &'a mut HashMap<K, V, S, A> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;

    fn into_iter(self) -> IterMut<'a, K, V> {
        self.iter_mut()
    }
}

impl<K, V, S, A: Allocator> IntoIterator for HashMap<K, V, S, A> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V, A>;

    fn into_iter(self) -> IntoIter<K, V, A> {
        IntoIter::new(self.table)
    }
}
