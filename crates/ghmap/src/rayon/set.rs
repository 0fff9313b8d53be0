//! The parallel iterators of [`HashSet`].

use super::map;
use crate::{Allocator, Global, HashSet};
use ::rayon::iter::plumbing::UnindexedConsumer;
use ::rayon::iter::{FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator};
use core::fmt::{self, Debug};
use core::hash::{BuildHasher, Hash};

/// The elements of a set, in parallel.
pub struct ParIter<'a, T>(map::ParKeys<'a, T, ()>);

/// The elements of a set, owned, in parallel.
pub struct IntoParIter<T, A: Allocator = Global>(map::IntoParIter<T, (), A>);

/// The elements of a set that has been emptied, in parallel.
pub struct ParDrain<'a, T, A: Allocator = Global>(map::ParDrain<'a, T, (), A>);

impl<'a, T: Sync> ParallelIterator for ParIter<'a, T> {
    type Item = &'a T;

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.0.drive_unindexed(consumer)
    }
}

impl<T: Send, A: Allocator> ParallelIterator for IntoParIter<T, A> {
    type Item = T;

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.0
            .map(|(element, ())| element)
            .drive_unindexed(consumer)
    }
}

impl<T: Send, A: Allocator> ParallelIterator for ParDrain<'_, T, A> {
    type Item = T;

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.0
            .map(|(element, ())| element)
            .drive_unindexed(consumer)
    }
}

impl<T> Clone for ParIter<'_, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Debug> Debug for ParIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Debug, A: Allocator> Debug for IntoParIter<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Debug, A: Allocator> Debug for ParDrain<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The elements of two sets taken together, in parallel.
macro_rules! operation {
    ($name:ident, $doc:literal, $a:ident, $b:ident => $how:expr) => {
        #[doc = $doc]
        pub struct $name<'a, T, S, A: Allocator = Global> {
            a: &'a HashSet<T, S, A>,
            b: &'a HashSet<T, S, A>,
        }

        impl<'a, T, S, A> ParallelIterator for $name<'a, T, S, A>
        where
            T: Eq + Hash + Sync,
            S: BuildHasher + Sync,
            A: Allocator + Sync,
        {
            type Item = &'a T;

            fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
                let ($a, $b) = (self.a, self.b);
                $how.drive_unindexed(consumer)
            }
        }

        impl<T: Debug, S, A: Allocator> Debug for $name<'_, T, S, A> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name))
                    .field(self.a)
                    .field(self.b)
                    .finish()
            }
        }
    };
}

operation!(ParDifference, "The elements that the other set has not, in parallel.",
    a, b => a.into_par_iter().filter(|element| !b.contains(*element)));
operation!(ParSymmetricDifference, "The elements that exactly one of two sets has, in parallel.",
    a, b => a.par_difference(b).chain(b.par_difference(a)));
operation!(ParIntersection, "The elements that both sets have, in parallel.",
    a, b => a.into_par_iter().filter(|element| b.contains(*element)));
operation!(ParUnion, "The elements that either set has, in parallel.",
    a, b => a.into_par_iter().chain(b.par_difference(a)));

impl<T, S, A> HashSet<T, S, A>
where
    T: Eq + Hash + Sync,
    S: BuildHasher + Sync,
    A: Allocator + Sync,
{
    /// The elements that `other` has not, in parallel.
    pub fn par_difference<'a>(&'a self, other: &'a Self) -> ParDifference<'a, T, S, A> {
        ParDifference { a: self, b: other }
    }

    /// The elements that exactly one of the two has, in parallel.
    pub fn par_symmetric_difference<'a>(
        &'a self,
        other: &'a Self,
    ) -> ParSymmetricDifference<'a, T, S, A> {
        ParSymmetricDifference { a: self, b: other }
    }

    /// The elements that both have, in parallel.
    pub fn par_intersection<'a>(&'a self, other: &'a Self) -> ParIntersection<'a, T, S, A> {
        ParIntersection { a: self, b: other }
    }

    /// The elements that either has, in parallel.
    pub fn par_union<'a>(&'a self, other: &'a Self) -> ParUnion<'a, T, S, A> {
        ParUnion { a: self, b: other }
    }

    /// Whether no element is in both, in parallel.
    pub fn par_is_disjoint(&self, other: &Self) -> bool {
        self.into_par_iter().all(|element| !other.contains(element))
    }

    /// Whether `other` has all elements of this set, in parallel.
    pub fn par_is_subset(&self, other: &Self) -> bool {
        self.len() <= other.len() && self.into_par_iter().all(|element| other.contains(element))
    }

    /// Whether this set has all elements of `other`, in parallel.
    pub fn par_is_superset(&self, other: &Self) -> bool {
        other.par_is_subset(self)
    }

    /// Equality, in parallel.
    pub fn par_eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.par_is_subset(other)
    }
}

impl<T: Send, S, A: Allocator> HashSet<T, S, A> {
    /// Takes all elements out, in parallel. The set is empty from here on.
    pub fn par_drain(&mut self) -> ParDrain<'_, T, A> {
        ParDrain(self.map.par_drain())
    }
}

impl<'a, T: Sync, S, A: Allocator> IntoParallelIterator for &'a HashSet<T, S, A> {
    type Item = &'a T;
    type Iter = ParIter<'a, T>;

    fn into_par_iter(self) -> Self::Iter {
        ParIter(self.map.par_keys())
    }
}

impl<T: Send, S, A: Allocator> IntoParallelIterator for HashSet<T, S, A> {
    type Item = T;
    type Iter = IntoParIter<T, A>;

    fn into_par_iter(self) -> Self::Iter {
        IntoParIter(self.map.into_par_iter())
    }
}

impl<T, S, A> FromParallelIterator<T> for HashSet<T, S, A>
where
    T: Eq + Hash + Send,
    S: BuildHasher + Default,
    A: Allocator + Default,
{
    fn from_par_iter<P: IntoParallelIterator<Item = T>>(elements: P) -> Self {
        let mut set = Self::default();
        set.par_extend(elements);
        set
    }
}

impl<T, S, A> ParallelExtend<T> for HashSet<T, S, A>
where
    T: Eq + Hash + Send,
    S: BuildHasher,
    A: Allocator,
{
    fn par_extend<P: IntoParallelIterator<Item = T>>(&mut self, elements: P) {
        for part in elements.into_par_iter().collect_vec_list() {
            self.extend(part);
        }
    }
}

impl<'a, T, S, A> ParallelExtend<&'a T> for HashSet<T, S, A>
where
    T: 'a + Copy + Eq + Hash + Sync,
    S: BuildHasher,
    A: Allocator,
{
    fn par_extend<P: IntoParallelIterator<Item = &'a T>>(&mut self, elements: P) {
        for part in elements.into_par_iter().collect_vec_list() {
            self.extend(part);
        }
    }
}
