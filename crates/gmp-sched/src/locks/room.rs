//! Collections that grow and shrink without an allocator under the lock that they lie in: an allocator
//! may be somebody's own, and take its time, or use what is locked.

use core::mem;

/// Locks what has a vector in it to which one more is to be added. `full` gives that vector if it has
/// no room: it is moved, O(its length), to memory that was got while nothing was locked. What
/// comes with the guard is for after it.
pub(crate) fn lock_with_room<G, T>(
    lock: impl Fn() -> G,
    full: impl for<'g> Fn(&'g mut G) -> Option<&'g mut Vec<T>>,
) -> (Vec<T>, G) {
    let mut spare = Vec::new();
    loop {
        let mut guard = lock();
        let Some(vec) = full(&mut guard) else {
            return (spare, guard);
        };
        if spare.capacity() > vec.len() {
            spare.append(vec);
            mem::swap(vec, &mut spare);
            return (spare, guard);
        }
        let double = 2 * vec.len().max(2);
        drop(guard);
        spare = Vec::with_capacity(double);
    }
}

/// Values by number. Who is given a number gives it back once, so no two have the same.
pub(crate) struct Slots<T> {
    places: Vec<Place<T>>,
    /// The first vacant place; each names the next.
    vacant: Option<usize>,
    taken: usize,
}

pub(crate) enum Place<T> {
    Taken(T),
    Vacant(Option<usize>),
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            vacant: None,
            taken: 0,
        }
    }
}

impl<T> Slots<T> {
    /// For [`lock_with_room`].
    pub(crate) fn full(&mut self) -> Option<&mut Vec<Place<T>>> {
        let full = self.vacant.is_none() && self.places.len() == self.places.capacity();
        full.then_some(&mut self.places)
    }

    /// Its number. There is room for it.
    pub(crate) fn insert(&mut self, value: T) -> usize {
        self.taken += 1;
        let Some(number) = self.vacant else {
            debug_assert!(self.full().is_none(), "allocates under the lock");
            self.places.push(Place::Taken(value));
            return self.places.len() - 1;
        };
        if let Place::Vacant(next) = mem::replace(&mut self.places[number], Place::Taken(value)) {
            self.vacant = next;
        }
        number
    }

    /// The value, and memory that is needed no more: for after the lock. `None` if all were taken away.
    pub(crate) fn remove(&mut self, number: usize) -> Option<(T, Self)> {
        let place = self.places.get_mut(number)?;
        let Place::Taken(value) = mem::replace(place, Place::Vacant(self.vacant)) else {
            unreachable!("a number is given back once")
        };
        self.vacant = Some(number);
        self.taken -= 1;
        let memory = if self.taken == 0 {
            mem::take(self)
        } else {
            Self::default()
        };
        Some((value, memory))
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.places.into_iter().filter_map(|place| match place {
            Place::Taken(value) => Some(value),
            Place::Vacant(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Slots, lock_with_room};
    use parking_lot::Mutex;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Against a map: every number finds its value, and no vector grew while it was locked.
        #[test]
        fn slots_are_as_their_reference(ops in prop::collection::vec(any::<(bool, u8)>(), 1..200)) {
            let slots = Mutex::new(Slots::default());
            let mut map = BTreeMap::new();
            for (insert, value) in ops {
                if insert {
                    let (_outgrown, mut slots) = lock_with_room(|| slots.lock(), |s| s.full());
                    let number = slots.insert(value);
                    prop_assert_eq!(map.insert(number, value), None);
                } else if let Some(&number) = map.keys().nth(usize::from(value) % map.len().max(1)) {
                    let removed = slots.lock().remove(number).map(|(value, _)| value);
                    prop_assert_eq!(removed, map.remove(&number));
                }
                if map.is_empty() {
                    prop_assert_eq!(slots.lock().places.capacity(), 0, "memory is kept");
                }
            }
            prop_assert!(slots.into_inner().into_values().eq(map.into_values()));
        }
    }
}
