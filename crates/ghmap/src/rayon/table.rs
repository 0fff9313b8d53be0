//! The parallel iterators of [`HashTable`].

use crate::raw::Piece;
use crate::{Allocator, Global, HashTable};
use ::rayon::iter::plumbing::UnindexedConsumer;
use ::rayon::iter::{IntoParallelIterator, ParallelIterator};
use core::fmt::{self, Debug};
use core::marker::PhantomData;
use stdalloc::vec::Vec;

/// The values of a table, in parallel.
pub struct ParIter<'a, T> {
    pieces: Vec<Piece<T, ()>>,
    _borrow: PhantomData<&'a T>,
}

/// The values of a table, to be changed, in parallel.
pub struct ParIterMut<'a, T> {
    pieces: Vec<Piece<T, ()>>,
    _borrow: PhantomData<&'a mut T>,
}

/// The values of a table, owned, in parallel.
pub struct IntoParIter<T, A: Allocator = Global> {
    values: Vec<T>,
    _alloc: PhantomData<fn() -> A>,
}

/// The values of a table that has been emptied, in parallel.
pub struct ParDrain<'a, T, A: Allocator = Global> {
    values: Vec<T>,
    _table: PhantomData<&'a ()>,
    _alloc: PhantomData<fn() -> A>,
}

impl<'a, T: Sync> ParallelIterator for ParIter<'a, T> {
    type Item = &'a T;

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.pieces
            .into_par_iter()
            // SAFETY: full slots of the table borrowed for 'a.
            .flat_map_iter(|piece| piece.map(|(b, i)| unsafe { &*b.key(i) }))
            .drive_unindexed(consumer)
    }
}

impl<'a, T: Send> ParallelIterator for ParIterMut<'a, T> {
    type Item = &'a mut T;

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.pieces
            .into_par_iter()
            // SAFETY: full slots of the table borrowed mutably for 'a; no bucket is in two pieces.
            .flat_map_iter(|piece| piece.map(|(b, i)| unsafe { &mut *b.key(i) }))
            .drive_unindexed(consumer)
    }
}

impl<T: Send, A: Allocator> ParallelIterator for IntoParIter<T, A> {
    type Item = T;

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.values.into_par_iter().drive_unindexed(consumer)
    }
}

impl<T: Send, A: Allocator> ParallelIterator for ParDrain<'_, T, A> {
    type Item = T;

    fn drive_unindexed<C: UnindexedConsumer<Self::Item>>(self, consumer: C) -> C::Result {
        self.values.into_par_iter().drive_unindexed(consumer)
    }
}

impl<T: Send, A: Allocator> HashTable<T, A> {
    /// Takes all values out, in parallel. The table is empty from here on.
    pub fn par_drain(&mut self) -> ParDrain<'_, T, A> {
        ParDrain {
            values: self.drain().collect(),
            _table: PhantomData,
            _alloc: PhantomData,
        }
    }
}

impl<'a, T: Sync, A: Allocator> IntoParallelIterator for &'a HashTable<T, A> {
    type Item = &'a T;
    type Iter = ParIter<'a, T>;

    fn into_par_iter(self) -> ParIter<'a, T> {
        ParIter {
            pieces: self.table.pieces(),
            _borrow: PhantomData,
        }
    }
}

impl<'a, T: Send, A: Allocator> IntoParallelIterator for &'a mut HashTable<T, A> {
    type Item = &'a mut T;
    type Iter = ParIterMut<'a, T>;

    fn into_par_iter(self) -> ParIterMut<'a, T> {
        ParIterMut {
            pieces: self.table.pieces(),
            _borrow: PhantomData,
        }
    }
}

impl<T: Send, A: Allocator> IntoParallelIterator for HashTable<T, A> {
    type Item = T;
    type Iter = IntoParIter<T, A>;

    fn into_par_iter(self) -> IntoParIter<T, A> {
        IntoParIter {
            values: self.into_iter().collect(),
            _alloc: PhantomData,
        }
    }
}

impl<T> Clone for ParIter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            pieces: self.pieces.clone(),
            _borrow: PhantomData,
        }
    }
}

/// The values of the pieces, by a walk of one thread.
///
/// # Safety
/// The table is borrowed for 'a, and nobody has been lent a value to change.
unsafe fn values<'a, T: 'a>(pieces: &[Piece<T, ()>]) -> impl Iterator<Item = &'a T> {
    let slots = pieces.iter().cloned().flatten();
    // SAFETY: full slots; the rest is the caller's promise.
    slots.map(|(b, i)| unsafe { &*b.key(i) })
}

impl<T: Debug> Debug for ParIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: the table is borrowed.
        let values = unsafe { values(&self.pieces) };
        f.debug_list().entries(values).finish()
    }
}

impl<T: Debug> Debug for ParIterMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: the table is borrowed, and no value has been lent yet.
        let values = unsafe { values(&self.pieces) };
        f.debug_list().entries(values).finish()
    }
}

impl<T: Debug, A: Allocator> Debug for IntoParIter<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.values).finish()
    }
}

impl<T: Debug, A: Allocator> Debug for ParDrain<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.values).finish()
    }
}
