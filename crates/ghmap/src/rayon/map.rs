//! The parallel iterators of [`HashMap`].

use crate::raw::Piece;
use crate::{Allocator, HashMap};
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
pub struct ParValuesMut<'a, K, V>(ParIterMut<'a, K, V>);

/// The entries of a map, owned, in parallel.
pub struct IntoParIter<K, V>(Vec<(K, V)>);

/// The entries of a map that has been emptied, in parallel.
pub struct ParDrain<'a, K, V> {
    entries: Vec<(K, V)>,
    _map: PhantomData<&'a mut (K, V)>,
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
projection!(ParValuesMut<'a, K, V>, (K: Sync, V: Send), &'a mut V, |(_, value)| value);

impl<K: Send, V: Send> ParallelIterator for IntoParIter<K, V> {
    type Item = (K, V);

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.0.into_par_iter().drive_unindexed(consumer)
    }
}

impl<K: Send, V: Send> ParallelIterator for ParDrain<'_, K, V> {
    type Item = (K, V);

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.entries.into_par_iter().drive_unindexed(consumer)
    }
}

/// `Debug` and `Clone` by a shared walk over the entries of the pieces.
impl<K, V> ParIter<'_, K, V> {
    fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.pieces
            .iter()
            .cloned()
            .flatten()
            // SAFETY: full slots of a map that is borrowed.
            .map(|(b, i)| unsafe { (&*b.key(i), &*b.value(i)) })
    }
}

impl<K, V> ParIterMut<'_, K, V> {
    fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.pieces
            .iter()
            .cloned()
            .flatten()
            // SAFETY: full slots of a map that is borrowed; nobody has been given any yet.
            .map(|(b, i)| unsafe { (&*b.key(i), &*b.value(i)) })
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
    ($name:ident<$($life:lifetime,)? K, V>, ($($bound:tt)*), $it:ident => $entries:expr) => {
        impl<$($bound)*> Debug for $name<$($life,)? K, V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $it = self;
                f.debug_list().entries($entries).finish()
            }
        }
    };
}

debug!(ParIter<'_, K, V>, (K: Debug, V: Debug), it => it.entries());
debug!(ParIterMut<'_, K, V>, (K: Debug, V: Debug), it => it.entries());
debug!(ParKeys<'_, K, V>, (K: Debug, V), it => it.0.entries().map(|(key, _)| key));
debug!(ParValues<'_, K, V>, (K, V: Debug), it => it.0.entries().map(|(_, value)| value));
debug!(ParValuesMut<'_, K, V>, (K, V: Debug), it => it.0.entries().map(|(_, value)| value));
debug!(IntoParIter<K, V>, (K: Debug, V: Debug), it => &it.0);
debug!(ParDrain<'_, K, V>, (K: Debug, V: Debug), it => &it.entries);

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
    pub fn par_values_mut(&mut self) -> ParValuesMut<'_, K, V>
    where
        K: Sync,
    {
        ParValuesMut(self.into_par_iter())
    }

    /// Takes all entries out, in parallel. The map is empty from here on.
    pub fn par_drain(&mut self) -> ParDrain<'_, K, V> {
        ParDrain {
            entries: self.drain().collect(),
            _map: PhantomData,
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
    type Iter = IntoParIter<K, V>;

    fn into_par_iter(self) -> Self::Iter {
        IntoParIter(self.into_iter().collect())
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
    K: Copy + Eq + Hash + Send + Sync,
    V: Copy + Send + Sync,
    S: BuildHasher,
    A: Allocator,
{
    fn par_extend<P: IntoParallelIterator<Item = (&'a K, &'a V)>>(&mut self, entries: P) {
        for part in entries.into_par_iter().collect_vec_list() {
            self.extend(part);
        }
    }
}
