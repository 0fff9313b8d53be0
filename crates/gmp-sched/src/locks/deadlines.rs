//! Deadlines by time: a binary heap whose entries know where they stand, so that one that is given up
//! leaves at once, O(log n). An entry is made before the lock that the heap lies under is taken.

use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use core::task::Waker;
use std::sync::Arc;

/// The place of one that is in no heap.
const NOWHERE: usize = usize::MAX;

pub(crate) struct Deadline {
    pub(crate) when: u64,
    pub(crate) waker: Waker,
    /// Its place in the heap. Under the heap's lock.
    at: AtomicUsize,
}

impl Deadline {
    pub(crate) fn new(when: u64, waker: Waker) -> Arc<Self> {
        let at = AtomicUsize::new(NOWHERE);
        Arc::new(Self { when, waker, at })
    }
}

/// Invariant: none is earlier than its parent, which stands at half its place.
pub(crate) struct Deadlines(Vec<Arc<Deadline>>);

impl Deadlines {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// For [`lock_with_room`](super::room::lock_with_room).
    pub(crate) fn full(&mut self) -> Option<&mut Vec<Arc<Deadline>>> {
        (self.0.len() == self.0.capacity()).then_some(&mut self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn first(&self) -> Option<&Arc<Deadline>> {
        self.0.first()
    }

    /// True if it is the first now. There is room for it.
    pub(crate) fn insert(&mut self, new: Arc<Deadline>) -> bool {
        debug_assert!(self.full().is_none(), "allocates under the lock");
        self.0.push(new);
        self.rise(self.0.len() - 1) == 0
    }

    /// The heap's own reference, and memory that is needed no more: for after the lock. `None` if it was
    /// removed before.
    pub(crate) fn remove(&mut self, entry: &Deadline) -> Option<(Arc<Deadline>, Self)> {
        let at = entry.at.load(Relaxed);
        if at == NOWHERE {
            return None;
        }
        let removed = self.0.swap_remove(at);
        removed.at.store(NOWHERE, Relaxed);
        if at < self.0.len() {
            self.sink(at);
            self.rise(at);
        }
        let memory = if self.is_empty() {
            mem::replace(self, Self::new())
        } else {
            Self::new()
        };
        Some((removed, memory))
    }

    /// Moves the one at `i` before those that are later; where it stands then.
    fn rise(&mut self, mut i: usize) -> usize {
        while i > 0 && self.0[i].when < self.0[(i - 1) / 2].when {
            i = self.swap(i, (i - 1) / 2);
        }
        self.0[i].at.store(i, Relaxed);
        i
    }

    /// Moves the one at `i` behind those that are earlier.
    fn sink(&mut self, mut i: usize) {
        loop {
            let children = 2 * i + 1..(2 * i + 3).min(self.0.len());
            match children.min_by_key(|&c| self.0[c].when) {
                Some(child) if self.0[child].when < self.0[i].when => i = self.swap(i, child),
                _ => break,
            }
        }
        self.0[i].at.store(i, Relaxed);
    }

    /// `to`, where the one from `from` stands now.
    fn swap(&mut self, from: usize, to: usize) -> usize {
        self.0.swap(from, to);
        self.0[from].at.store(from, Relaxed);
        to
    }
}

#[cfg(test)]
mod tests {
    use super::{Deadline, Deadlines};
    use core::task::Waker;
    use proptest::prelude::*;

    proptest! {
        /// Against a sorted list: the first is the earliest, whoever left before.
        #[test]
        fn deadlines_are_as_their_reference(ops in prop::collection::vec(any::<(bool, u8)>(), 1..200)) {
            let mut heap = Deadlines::new();
            let mut all = Vec::new();
            for (insert, n) in ops {
                if insert {
                    let new = Deadline::new(n.into(), Waker::noop().clone());
                    heap.0.reserve(1);
                    let first = all.iter().all(|d: &std::sync::Arc<Deadline>| d.when > new.when);
                    prop_assert_eq!(heap.insert(new.clone()), first);
                    all.push(new);
                } else if !all.is_empty() {
                    let gone = all.swap_remove(usize::from(n) % all.len());
                    prop_assert!(heap.remove(&gone).is_some_and(|(own, _)| std::ptr::eq(&*own, &*gone)));
                    prop_assert!(heap.remove(&gone).is_none());
                }
                let earliest = all.iter().map(|d| d.when).min();
                prop_assert_eq!(heap.first().map(|d| d.when), earliest);
                prop_assert!(!all.is_empty() || heap.0.capacity() == 0, "memory is kept");
            }
        }
    }
}
