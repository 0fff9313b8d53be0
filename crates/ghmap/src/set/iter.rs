//! The iterators of [`HashSet`].

use super::HashSet;
use crate::hash_map;
use crate::{Allocator, Global};
use core::fmt::{self, Debug};
use core::iter::FusedIterator;

/// The elements of a set; made by [`HashSet::iter`].
pub struct Iter<'a, T> {
    inner: hash_map::Keys<'a, T, ()>,
}

/// The elements of a set, owned; made by `into_iter`.
pub struct IntoIter<T, A: Allocator = Global> {
    inner: hash_map::IntoKeys<T, (), A>,
}

/// The elements of a set that is being emptied; made by [`HashSet::drain`].
pub struct Drain<'a, T, A: Allocator = Global> {
    inner: hash_map::Drain<'a, T, (), A>,
}

/// Removes and gives the elements that a predicate chooses; made by [`HashSet::extract_if`].
#[must_use = "iterators are lazy: unused, it removes nothing; `retain` removes at once"]
pub struct ExtractIf<'a, T, F, A: Allocator = Global> {
    walk: crate::raw::Extract<'a, T, (), A>,
    chosen: F,
}

impl<T, S, A: Allocator> HashSet<T, S, A> {
    /// The elements, in no particular order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            inner: self.map.keys(),
        }
    }

    /// Takes all elements out and keeps the table's memory.
    pub fn drain(&mut self) -> Drain<'_, T, A> {
        Drain {
            inner: self.map.drain(),
        }
    }

    /// Takes out, one by one, the elements for which `chosen` gives `true`.
    pub fn extract_if<F: FnMut(&T) -> bool>(&mut self, chosen: F) -> ExtractIf<'_, T, F, A> {
        ExtractIf {
            walk: self.map.table.extract(),
            chosen,
        }
    }
}

macro_rules! elements {
    ($name:ident<$($life:lifetime,)? $t:ident $(, $a:ident)?>, $item:ty, $pick:expr) => {
        impl<$($life,)? $t $(, $a: Allocator)?> Iterator for $name<$($life,)? $t $(, $a)?> {
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

        impl<$($life,)? $t $(, $a: Allocator)?> ExactSizeIterator for $name<$($life,)? $t $(, $a)?> {}
        impl<$($life,)? $t $(, $a: Allocator)?> FusedIterator for $name<$($life,)? $t $(, $a)?> {}
    };
}

elements!(Iter<'a, T>, &'a T, |element| element);
elements!(IntoIter<T, A>, T, |element| element);
elements!(Drain<'a, T, A>, T, |(element, ())| element);

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<T> Default for Iter<'_, T> {
    fn default() -> Self {
        Self {
            inner: hash_map::Keys::default(),
        }
    }
}

impl<T, A: Allocator + Default> Default for IntoIter<T, A> {
    fn default() -> Self {
        Self {
            inner: hash_map::IntoKeys::default(),
        }
    }
}

impl<T: Debug> Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: Debug, A: Allocator> Debug for IntoIter<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: Debug, A: Allocator> Debug for Drain<'_, T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.inner.rest().map(|(element, ())| element))
            .finish()
    }
}

impl<T, F: FnMut(&T) -> bool, A: Allocator> Iterator for ExtractIf<'_, T, F, A> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let chosen = &mut self.chosen;
        let (element, ()) = self.walk.next(|element, ()| chosen(element))?;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.walk.left()))
    }
}

impl<T, F: FnMut(&T) -> bool, A: Allocator> FusedIterator for ExtractIf<'_, T, F, A> {}

impl<T, F, A: Allocator> Debug for ExtractIf<'_, T, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractIf")
            .field("left", &self.walk.left())
            .finish_non_exhaustive()
    }
}

impl<'a, T, S, A: Allocator> IntoIterator for &'a HashSet<T, S, A> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T, S, A: Allocator> IntoIterator for HashSet<T, S, A> {
    type Item = T;
    type IntoIter = IntoIter<T, A>;

    fn into_iter(self) -> IntoIter<T, A> {
        IntoIter {
            inner: self.map.into_keys(),
        }
    }
}
