//! The parallel iterators of [`HashMap`].

use crate::raw::Piece;
use crate::{Allocator, Global, HashMap};
use ::rayon::iter::plumbing::UnindexedConsumer;
use ::rayon::iter::{FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator};
use core::fmt::{self, Debug};
use core::hash::{BuildHasher, Hash};
use core::marker::PhantomData;
use stdalloc::vec::Vec;

/// The entries of a map, in parallel.
pub struct ParIter<'a, K, V> {
    pieces: Vec<Piece<K, V>>,
    _borrow: PhantomData<(&'a K, &'a V)>,
}

/// The entries of a map, values mutable, in parallel.
pub struct ParIterMut<'a, K, V> {
    pieces: Vec<Piece<K, V>>,
    _borrow: PhantomData<(&'a K, &'a mut V)>,
}

/// The keys of a map, in parallel.
pub struct ParKeys<'a, K, V>(ParIter<'a, K, V>);

/// The values of a map, in parallel.
pub struct ParValues<'a, K, V>(ParIter<'a, K, V>);

/// The values of a map, mutable, in parallel.
pub struct ParValuesMut<'a, K, V> {
    pieces: Vec<Piece<K, V>>,
    /// Keys are not looked at.
    _borrow: PhantomData<&'a mut V>,
}

/// The entries of a map, owned, in parallel.
pub struct IntoParIter<K, V, A: Allocator = Global> {
    entries: Vec<(K, V)>,
    _alloc: PhantomData<fn() -> A>,
}

/// The entries of a map that has been emptied, in parallel.
pub struct ParDrain<'a, K, V, A: Allocator = Global> {
    entries: Vec<(K, V)>,
    _map: PhantomData<&'a ()>,
    _alloc: PhantomData<fn() -> A>,
}

impl<'a, K: Sync, V: Sync> ParallelIterator for ParIter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.pieces
            .into_par_iter()
            // SAFETY: full slots of the map borrowed for 'a.
            .flat_map_iter(|piece| piece.map(|(b, i)| unsafe { (&*b.key(i), &*b.value(i)) }))
            .drive_unindexed(consumer)
    }
}

impl<'a, K: Sync, V: Send> ParallelIterator for ParIterMut<'a, K, V> {
    type Item = (&'a K, &'a mut V);

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.pieces
            .into_par_iter()
            // SAFETY: full slots of the map borrowed mutably for 'a; no bucket is in two pieces.
            .flat_map_iter(|piece| piece.map(|(b, i)| unsafe { (&*b.key(i), &mut *b.value(i)) }))
            .drive_unindexed(consumer)
    }
}

macro_rules! projection {
    ($name:ident<$($life:lifetime,)? K, V>, ($($bound:tt)*), $item:ty, $pick:expr) => {
        impl<$($life,)? $($bound)*> ParallelIterator for $name<$($life,)? K, V> {
            type Item = $item;

            fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
                self.0.map($pick).drive_unindexed(consumer)
            }
        }
    };
}

projection!(ParKeys<'a, K, V>, (K: Sync, V: Sync), &'a K, |(key, _)| key);
projection!(ParValues<'a, K, V>, (K: Sync, V: Sync), &'a V, |(_, value)| value);

impl<'a, K, V: Send> ParallelIterator for ParValuesMut<'a, K, V> {
    type Item = &'a mut V;

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.pieces
            .into_par_iter()
            // SAFETY: full slots of the map borrowed mutably for 'a; no bucket is in two pieces.
            .flat_map_iter(|piece| piece.map(|(b, i)| unsafe { &mut *b.value(i) }))
            .drive_unindexed(consumer)
    }
}

impl<K: Send, V: Send, A: Allocator> ParallelIterator for IntoParIter<K, V, A> {
    type Item = (K, V);

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.entries.into_par_iter().drive_unindexed(consumer)
    }
}

impl<K: Send, V: Send, A: Allocator> ParallelIterator for ParDrain<'_, K, V, A> {
    type Item = (K, V);

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.entries.into_par_iter().drive_unindexed(consumer)
    }
}

/// The entries of `pieces`, for `Debug`.
///
/// # Safety
/// They are pieces of a map that is borrowed for 'a, and nobody has been lent a value to change.
unsafe fn entries<'a, K: 'a, V: 'a>(
    pieces: &[Piece<K, V>],
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let slots = pieces.iter().cloned().flatten();
    // SAFETY: full slots; the rest is the caller's promise.
    slots.map(|(b, i)| unsafe { (&*b.key(i), &*b.value(i)) })
}

impl<K, V> ParIter<'_, K, V> {
    fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        // SAFETY: the map is borrowed.
        unsafe { entries(&self.pieces) }
    }
}

impl<K, V> Clone for ParIter<'_, K, V> {
    fn clone(&self) -> Self {
        Self {
            pieces: self.pieces.clone(),
            _borrow: PhantomData,
        }
    }
}

impl<K, V> Clone for ParKeys<'_, K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Clone for ParValues<'_, K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

macro_rules! debug {
    ($name:ident<$($life:lifetime,)? K, V $(, $a:ident)?>, ($($bound:tt)*), $it:ident => $entries:expr) => {
        impl<$($bound)*> Debug for $name<$($life,)? K, V $(, $a)?> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $it = self;
                f.debug_list().entries($entries).finish()
            }
        }
    };
}

debug!(ParIter<'_, K, V>, (K: Debug, V: Debug), it => it.entries());
debug!(ParIterMut<'_, K, V>, (K: Debug, V: Debug), it => {
    // SAFETY: the map is borrowed mutably, and nothing of it has been lent yet.
    unsafe { entries(&it.pieces) }
});
debug!(ParKeys<'_, K, V>, (K: Debug, V), it => it.0.entries().map(|(key, _)| key));
debug!(ParValues<'_, K, V>, (K, V: Debug), it => it.0.entries().map(|(_, value)| value));
debug!(ParValuesMut<'_, K, V>, (K, V: Debug), it => {
    // SAFETY: as above.
    unsafe { entries(&it.pieces) }.map(|(_, value)| value)
});
debug!(IntoParIter<K, V, A>, (K: Debug, V: Debug, A: Allocator), it => &it.entries);
debug!(ParDrain<'_, K, V, A>, (K: Debug, V: Debug, A: Allocator), it => &it.entries);

impl<K: Sync, V: Sync, S, A: Allocator> HashMap<K, V, S, A> {
    /// The keys, in parallel.
    pub fn par_keys(&self) -> ParKeys<'_, K, V> {
        ParKeys(self.into_par_iter())
    }

    /// The values, in parallel.
    pub fn par_values(&self) -> ParValues<'_, K, V> {
        ParValues(self.into_par_iter())
    }
}

impl<K: Send, V: Send, S, A: Allocator> HashMap<K, V, S, A> {
    /// The values, mutable, in parallel.
    pub fn par_values_mut(&mut self) -> ParValuesMut<'_, K, V> {
        ParValuesMut {
            pieces: self.table.pieces(),
            _borrow: PhantomData,
        }
    }

    /// Takes all entries out, in parallel. The map is empty from here on.
    pub fn par_drain(&mut self) -> ParDrain<'_, K, V, A> {
        ParDrain {
            entries: self.drain().collect(),
            _map: PhantomData,
            _alloc: PhantomData,
        }
    }
}

impl<K, V, S, A> HashMap<K, V, S, A>
where
    K: Eq + Hash + Sync,
    V: PartialEq + Sync,
    S: BuildHasher + Sync,
    A: Allocator + Sync,
{
    /// Equality, in parallel.
    pub fn par_eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .into_par_iter()
                .all(|(key, value)| other.get(key).is_some_and(|v| *value == *v))
    }
}

impl<'a, K: Sync, V: Sync, S, A: Allocator> IntoParallelIterator for &'a HashMap<K, V, S, A> {
    type Item = (&'a K, &'a V);
    type Iter = ParIter<'a, K, V>;

    fn into_par_iter(self) -> Self::Iter {
        ParIter {
            pieces: self.table.pieces(),
            _borrow: PhantomData,
        }
    }
}

impl<'a, K: Sync, V: Send, S, A: Allocator> IntoParallelIterator for &'a mut HashMap<K, V, S, A> {
    type Item = (&'a K, &'a mut V);
    type Iter = ParIterMut<'a, K, V>;

    fn into_par_iter(self) -> Self::Iter {
        ParIterMut {
            pieces: self.table.pieces(),
            _borrow: PhantomData,
        }
    }
}

impl<K: Send, V: Send, S, A: Allocator> IntoParallelIterator for HashMap<K, V, S, A> {
    type Item = (K, V);
    type Iter = IntoParIter<K, V, A>;

    fn into_par_iter(self) -> Self::Iter {
        IntoParIter {
            entries: self.into_iter().collect(),
            _alloc: PhantomData,
        }
    }
}

impl<K, V, S, A> FromParallelIterator<(K, V)> for HashMap<K, V, S, A>
where
    K: Eq + Hash + Send,
    V: Send,
    S: BuildHasher + Default,
    A: Allocator + Default,
{
    fn from_par_iter<P: IntoParallelIterator<Item = (K, V)>>(entries: P) -> Self {
        let mut map = Self::default();
        map.par_extend(entries);
        map
    }
}

impl<K, V, S, A> ParallelExtend<(K, V)> for HashMap<K, V, S, A>
where
    K: Eq + Hash + Send,
    V: Send,
    S: BuildHasher,
    A: Allocator,
{
    fn par_extend<P: IntoParallelIterator<Item = (K, V)>>(&mut self, entries: P) {
        // Entries are made in parallel and inserted by one thread.
        for part in entries.into_par_iter().collect_vec_list() {
            self.extend(part);
        }
    }
}

impl<'a, K, V, S, A> ParallelExtend<(&'a K, &'a V)> for HashMap<K, V, S, A>
where
    K: Copy + Eq + Hash + Sync,
    V: Copy + Sync,
    S: BuildHasher,
    A: Allocator,
{
    fn par_extend<P: IntoParallelIterator<Item = (&'a K, &'a V)>>(&mut self, entries: P) {
        for part in entries.into_par_iter().collect_vec_list() {
            self.extend(part);
        }
    }
}
