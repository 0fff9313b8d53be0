//! Which slots of the stack mapping are free, lowest first.
//!
//! Takes the place of the free lists of Go's `stackpool`; the order is that of Go's page heap
//! (`mpagealloc.go`). A list gives stacks back in the order in which goroutines ended, and after a few
//! rounds neighbours in time are scattered over the mapping: a hop of a ring of 10,000, each on a page of its
//! own, then took twice as long as in the first round. By address it takes as long in every round,
//! and the low end of the mapping stays in use while the rest is free.
//!
//! Two levels of bits, 64 to one: a slot is found by a look at one word for each 4,096 slots, at most.

/// A set of slots.
pub(crate) struct FreeSlots {
    /// A bit for each slot.
    words: Vec<u64>,
    /// A bit for each word that is not 0.
    summary: Vec<u64>,
}

impl FreeSlots {
    pub(crate) const fn new() -> Self {
        Self { words: Vec::new(), summary: Vec::new() }
    }

    /// Makes room for slots below `n`, so that [`insert`](Self::insert) needs no memory.
    pub(crate) fn make_room(&mut self, n: usize) {
        if n > self.words.len() * 64 {
            self.words.resize(n.div_ceil(64), 0);
            self.summary.resize(self.words.len().div_ceil(64), 0);
        }
    }

    /// # Panics
    /// If there is no room for it.
    pub(crate) fn insert(&mut self, slot: usize) {
        let word = slot / 64;
        debug_assert_eq!(self.words[word] >> (slot % 64) & 1, 0, "slot {slot} was free");
        self.words[word] |= 1 << (slot % 64);
        self.summary[word / 64] |= 1 << (word % 64);
    }

    pub(crate) fn take_lowest(&mut self) -> Option<usize> {
        let (i, bits) = self.summary.iter_mut().enumerate().find(|(_, bits)| **bits != 0)?;
        let word = i * 64 + bits.trailing_zeros() as usize;
        let slots = &mut self.words[word];
        let slot = word * 64 + slots.trailing_zeros() as usize;
        *slots &= *slots - 1;
        if *slots == 0 {
            *bits &= *bits - 1;
        }
        Some(slot)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.summary.iter().all(|bits| *bits == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::FreeSlots;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn as_a_sorted_set(steps in prop::collection::vec((0usize..20_000, any::<bool>()), 0..400)) {
            let (mut free, mut model) = (FreeSlots::new(), BTreeSet::new());
            for (slot, put) in steps {
                if put && model.insert(slot) {
                    free.make_room(slot + 1);
                    free.insert(slot);
                } else if !put {
                    prop_assert_eq!(free.take_lowest(), model.pop_first());
                }
                prop_assert_eq!(free.is_empty(), model.is_empty());
            }
            while let Some(slot) = model.pop_first() {
                prop_assert_eq!(free.take_lowest(), Some(slot));
            }
            prop_assert_eq!(free.take_lowest(), None);
        }
    }
}
