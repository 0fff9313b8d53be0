//! Union, intersection, difference: lazily as iterators, or at once by operators.

use super::{HashSet, Iter};
use crate::{Allocator, Global};
use core::fmt::{self, Debug};
use core::hash::{BuildHasher, Hash};
use core::iter::{Chain, FusedIterator};
use core::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, BitXor, BitXorAssign, Sub, SubAssign};

/// The elements of two sets; made by [`HashSet::intersection`].
pub struct Intersection<'a, T, S, A: Allocator = Global> {
    iter: Iter<'a, T>,
    other: &'a HashSet<T, S, A>,
}

/// The elements of one set and not of the other; made by [`HashSet::difference`].
pub struct Difference<'a, T, S, A: Allocator = Global> {
    iter: Iter<'a, T>,
    other: &'a HashSet<T, S, A>,
}

/// The elements of exactly one of two sets; made by [`HashSet::symmetric_difference`].
pub struct SymmetricDifference<'a, T, S, A: Allocator = Global> {
    iter: Chain<Difference<'a, T, S, A>, Difference<'a, T, S, A>>,
}

/// The elements of either of two sets; made by [`HashSet::union`].
pub struct Union<'a, T, S, A: Allocator = Global> {
    iter: Chain<Iter<'a, T>, Difference<'a, T, S, A>>,
}

impl<T: Eq + Hash, S: BuildHasher, A: Allocator> HashSet<T, S, A> {
    /// The elements that `other` has not.
    ///
    /// ```
    /// use ghmap::HashSet;
    /// let (a, b): (HashSet<_>, HashSet<_>) = ([1, 2].into(), [2, 3].into());
    /// assert!(a.difference(&b).eq(&[1]));
    /// assert_eq!(&a | &b, [1, 2, 3].into());
    /// ```
    pub fn difference<'a>(&'a self, other: &'a Self) -> Difference<'a, T, S, A> {
        Difference {
            iter: self.iter(),
            other,
        }
    }

    /// The elements that exactly one of the two has.
    pub fn symmetric_difference<'a>(&'a self, other: &'a Self) -> SymmetricDifference<'a, T, S, A> {
        SymmetricDifference {
            iter: self.difference(other).chain(other.difference(self)),
        }
    }

    /// The elements that both have.
    pub fn intersection<'a>(&'a self, other: &'a Self) -> Intersection<'a, T, S, A> {
        let (smaller, larger) = if self.len() <= other.len() {
            (self, other)
        } else {
            (other, self)
        };
        Intersection {
            iter: smaller.iter(),
            other: larger,
        }
    }

    /// The elements that either has, each once.
    pub fn union<'a>(&'a self, other: &'a Self) -> Union<'a, T, S, A> {
        let (smaller, larger) = if self.len() <= other.len() {
            (self, other)
        } else {
            (other, self)
        };
        Union {
            iter: larger.iter().chain(smaller.difference(larger)),
        }
    }

    /// Whether no element is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.intersection(other).next().is_none()
    }

    /// Whether `other` has all elements of this set.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.len() <= other.len() && self.iter().all(|element| other.contains(element))
    }

    /// Whether this set has all elements of `other`.
    pub fn is_superset(&self, other: &Self) -> bool {
        other.is_subset(self)
    }
}

impl<'a, T: Eq + Hash, S: BuildHasher, A: Allocator> Iterator for Intersection<'a, T, S, A> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.iter.find(|element| self.other.contains(*element))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.iter.size_hint().1)
    }
}

impl<'a, T: Eq + Hash, S: BuildHasher, A: Allocator> Iterator for Difference<'a, T, S, A> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.iter.find(|element| !self.other.contains(*element))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.iter.len();
        (left.saturating_sub(self.other.len()), Some(left))
    }
}

impl<'a, T: Eq + Hash, S: BuildHasher, A: Allocator> Iterator for SymmetricDifference<'a, T, S, A> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.iter.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.iter.size_hint()
    }
}

impl<'a, T: Eq + Hash, S: BuildHasher, A: Allocator> Iterator for Union<'a, T, S, A> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.iter.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.iter.size_hint()
    }
}

macro_rules! lazily {
    ($($name:ident { $($field:ident),+ })*) => {$(
        impl<T, S, A: Allocator> Clone for $name<'_, T, S, A> {
            fn clone(&self) -> Self {
                Self { $($field: self.$field.clone()),+ }
            }
        }

        impl<T: Eq + Hash, S: BuildHasher, A: Allocator> FusedIterator for $name<'_, T, S, A> {}

        impl<T: Debug + Eq + Hash, S: BuildHasher, A: Allocator> Debug for $name<'_, T, S, A> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.clone()).finish()
            }
        }
    )*};
}

lazily! {
    SymmetricDifference { iter }
    Union { iter }
}

macro_rules! against {
    ($($name:ident)*) => {$(
        impl<T, S, A: Allocator> Clone for $name<'_, T, S, A> {
            fn clone(&self) -> Self {
                Self { iter: self.iter.clone(), other: self.other }
            }
        }

        impl<T: Eq + Hash, S: BuildHasher, A: Allocator> FusedIterator for $name<'_, T, S, A> {}

        impl<T: Debug + Eq + Hash, S: BuildHasher, A: Allocator> Debug for $name<'_, T, S, A> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.clone()).finish()
            }
        }
    )*};
}

against!(Intersection Difference);

macro_rules! operator {
    ($op:ident $method:ident $lazy:ident, $doc:literal) => {
        impl<T, S, A> $op<&HashSet<T, S, A>> for &HashSet<T, S, A>
        where
            T: Eq + Hash + Clone,
            S: BuildHasher + Default,
            A: Allocator + Default,
        {
            type Output = HashSet<T, S, A>;

            #[doc = $doc]
            fn $method(self, other: &HashSet<T, S, A>) -> HashSet<T, S, A> {
                self.$lazy(other).cloned().collect()
            }
        }
    };
}

operator!(BitOr bitor union, "The union, as a new set.");
operator!(BitAnd bitand intersection, "The intersection, as a new set.");
operator!(BitXor bitxor symmetric_difference, "The symmetric difference, as a new set.");
operator!(Sub sub difference, "The difference, as a new set.");

impl<T: Eq + Hash + Clone, S: BuildHasher, A: Allocator> BitOrAssign<&HashSet<T, S, A>>
    for HashSet<T, S, A>
{
    fn bitor_assign(&mut self, other: &HashSet<T, S, A>) {
        for element in other {
            if !self.contains(element) {
                self.insert(element.clone());
            }
        }
    }
}

impl<T: Eq + Hash, S: BuildHasher, A: Allocator> BitAndAssign<&HashSet<T, S, A>>
    for HashSet<T, S, A>
{
    fn bitand_assign(&mut self, other: &HashSet<T, S, A>) {
        self.retain(|element| other.contains(element));
    }
}

impl<T: Eq + Hash + Clone, S: BuildHasher, A: Allocator> BitXorAssign<&HashSet<T, S, A>>
    for HashSet<T, S, A>
{
    fn bitxor_assign(&mut self, other: &HashSet<T, S, A>) {
        for element in other {
            if !self.remove(element) {
                self.insert(element.clone());
            }
        }
    }
}

impl<T: Eq + Hash, S: BuildHasher, A: Allocator> SubAssign<&HashSet<T, S, A>> for HashSet<T, S, A> {
    fn sub_assign(&mut self, other: &HashSet<T, S, A>) {
        if other.len() < self.len() {
            for element in other {
                self.remove(element);
            }
        } else {
            self.retain(|element| !other.contains(element));
        }
    }
}
