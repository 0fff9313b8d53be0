//! The 4-ary heap under both engines, its deadlines beside its items (R55, R58).
//!
//! Re-creates `siftupTimer` and `siftdownTimer` of Go 1.19's `runtime/time.go`, with the layout
//! that Go 1.23 moved to (deadline next to the pointer, so that a sift touches no timer) and one
//! more step: slots are kept in cache lines of four, shifted by three,
//!
//! ```text
//! line 0: [ -  -  -  0 ]      the root, alone
//! line 1: [ 1  2  3  4 ]      the children of 0
//! line 2: [ 5  6  7  8 ]      the children of 1
//! line i+1:                   the children of i
//! ```
//!
//! so that looking at all children of an entry loads exactly one line.
//!
//! Invariants, under the owner's lock:
//! - entry `i > 0` is not earlier than entry `(i - 1) / 4`;
//! - a slot that holds no item has the deadline `NEVER`, so the last line needs no bounds check;
//! - every item knows its index ([`Item::placed`] is called on each move), which is what lets a
//!   timer be removed or moved in place. It costs a store per level of a sift.
//!
//! Rejected: a timer wheel (it rounds deadlines, and cascades in bursts); a binary heap (twice
//! the depth, two lines per level); a heap of pointers (a cache miss per comparison).

use crate::when::NEVER;
use alloc::vec::Vec;
use core::mem;

/// Something that is told where in the heap it lies.
pub(crate) trait Item {
    fn placed(&self, index: usize);
}

#[derive(Debug)]
struct Slot<T> {
    when: i64,
    item: Option<T>,
}

impl<T> Slot<T> {
    const FREE: Self = Self {
        when: NEVER,
        item: None,
    };
}

#[derive(Debug)]
#[repr(align(64))]
struct Line<T>([Slot<T>; 4]);

/// A heap of `T`, earliest first. All operations are O(log4 n), or O(1) where nothing moves.
#[derive(Debug)]
pub(crate) struct Dary<T> {
    lines: Vec<Line<T>>,
    len: usize,
}

/// What [`Dary::spare`] hands out.
#[derive(Debug)]
pub(crate) struct Spare<T> {
    _lines: Vec<Line<T>>,
}

/// Slots before the root in line 0.
const SHIFT: usize = 3;

impl<T: Item> Dary<T> {
    pub(crate) const fn new() -> Self {
        Self {
            lines: Vec::new(),
            len: 0,
        }
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn slot(&self, i: usize) -> &Slot<T> {
        &self.lines[(i + SHIFT) / 4].0[(i + SHIFT) % 4]
    }

    #[inline]
    fn slot_mut(&mut self, i: usize) -> &mut Slot<T> {
        &mut self.lines[(i + SHIFT) / 4].0[(i + SHIFT) % 4]
    }

    /// The deadline and item at `i`.
    #[inline]
    pub(crate) fn get(&self, i: usize) -> Option<(i64, &T)> {
        if i >= self.len {
            return None;
        }
        let slot = self.slot(i);
        slot.item.as_ref().map(|item| (slot.when, item))
    }

    /// The earliest deadline, `NEVER` if there is none.
    #[inline]
    pub(crate) fn earliest(&self) -> i64 {
        self.lines.first().map_or(NEVER, |line| line.0[SHIFT].when)
    }

    /// Adds an item.
    pub(crate) fn push(&mut self, when: i64, item: T) {
        let i = self.len;
        assert!(i < u32::MAX as usize, "too many timers in one heap");
        if (i + SHIFT) / 4 == self.lines.len() {
            self.lines.push(Line([const { Slot::FREE }; 4]));
        }
        self.len += 1;
        self.sift_up(i, when, item);
    }

    /// The root and its children: what will be taken out soon.
    #[inline]
    pub(crate) fn soon(&self) -> impl Iterator<Item = &T> {
        let lines = self.lines.iter().take(2);
        lines.flat_map(|line| line.0.iter().filter_map(|slot| slot.item.as_ref()))
    }

    /// Takes out the item at `i < len` and fills its place with the last one.
    pub(crate) fn remove(&mut self, i: usize) -> T {
        debug_assert!(i < self.len, "no timer at {i}");
        let item = self.take(i);
        let last = self.len - 1;
        self.len = last;
        if i != last {
            let moved = mem::replace(self.slot_mut(last), Slot::FREE);
            let Some(tail) = moved.item else {
                unreachable!("an empty slot within the heap")
            };
            self.refill(i, moved.when, tail);
        }
        self.slot_mut(last).when = NEVER;
        if (last + SHIFT).is_multiple_of(4) {
            self.lines.pop();
        }
        item
    }

    /// Gives the item at `i < len` the deadline `when` and moves it to its place.
    pub(crate) fn change(&mut self, i: usize, when: i64) {
        debug_assert!(i < self.len, "no timer at {i}");
        let item = self.take(i);
        self.refill(i, when, item);
    }

    #[inline]
    fn take(&mut self, i: usize) -> T {
        match self.slot_mut(i).item.take() {
            Some(item) => item,
            None => unreachable!("an empty slot within the heap"),
        }
    }

    /// Puts an item into the hole at `i`, or where it belongs above or below.
    fn refill(&mut self, i: usize, when: i64, item: T) {
        if i > 0 && when < self.slot((i - 1) / 4).when {
            self.sift_up(i, when, item);
        } else {
            self.sift_down(i, when, item);
        }
    }

    /// Moves the hole at `i` up until `when` fits, and fills it.
    #[inline]
    fn sift_up(&mut self, mut i: usize, when: i64, item: T) {
        while i > 0 {
            let parent = (i - 1) / 4;
            if self.slot(parent).when <= when {
                break;
            }
            let moved = mem::replace(self.slot_mut(parent), Slot::FREE);
            self.put(i, moved);
            i = parent;
        }
        self.put(
            i,
            Slot {
                when,
                item: Some(item),
            },
        );
    }

    /// Moves the hole at `i` down until `when` fits, and fills it.
    #[inline]
    fn sift_down(&mut self, mut i: usize, when: i64, item: T) {
        // The children of `i` are line `i + 1`; slots past the end are NEVER.
        loop {
            // While one child is chosen, fetch the lines of all four: they lie side by side.
            if let Some(lines) = self.lines.get(4 * i + 2..4 * i + 6) {
                lines.iter().for_each(prefetch);
            }
            let Some(line) = self.lines.get_mut(i + 1) else {
                break;
            };
            let (best, earliest) = first_of_four(line);
            if when <= earliest {
                break;
            }
            let moved = mem::replace(&mut line.0[best], Slot::FREE);
            self.put(i, moved);
            i = 4 * i + 1 + best;
        }
        self.put(
            i,
            Slot {
                when,
                item: Some(item),
            },
        );
    }

    #[inline]
    fn put(&mut self, i: usize, slot: Slot<T>) {
        if let Some(item) = &slot.item {
            item.placed(i);
        }
        *self.slot_mut(i) = slot;
    }

    /// The memory of a heap that has become empty, for the caller to drop once nothing is waiting.
    ///
    /// Freeing a large block makes glibc merge all small blocks freed so far. After a million
    /// timers that took 170 ms: whatever is still to fire, or to lock the heap, would be late by that.
    pub(crate) fn spare(&mut self) -> Option<Spare<T>> {
        (self.len == 0 && self.lines.capacity() > 64).then(|| Spare {
            _lines: mem::take(&mut self.lines),
        })
    }

    /// Whether the invariants of the head comment hold, given where each item believes it lies.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_heap(&self, index_of: impl Fn(&T) -> usize) -> bool {
        (0..self.len).all(|i| {
            let (when, item) = self.get(i).expect("an empty slot within the heap");
            index_of(item) == i && (i == 0 || self.slot((i - 1) / 4).when <= when)
        }) && (self.len..self.lines.len() * 4)
            .filter(|i| (i + SHIFT) / 4 < self.lines.len())
            .all(|i| self.slot(i).when == NEVER && self.slot(i).item.is_none())
    }
}

/// Which slot of a line is earliest, and its deadline. Compiles to conditional moves: the answer
/// is random, so branches would be mispredicted.
#[inline]
fn first_of_four<T>(line: &Line<T>) -> (usize, i64) {
    let [a, b, c, d] = [
        line.0[0].when,
        line.0[1].when,
        line.0[2].when,
        line.0[3].when,
    ];
    let (left, l) = if b < a { (1, b) } else { (0, a) };
    let (right, r) = if d < c { (3, d) } else { (2, c) };
    if r < l { (right, r) } else { (left, l) }
}

/// Asks for a value that will be looked at soon, two cache lines at most.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let at = core::ptr::from_ref(value).cast::<i8>();
        // SAFETY: a hint that reads nothing; the address is that of a live reference anyway.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) };
        if size_of::<T>() > 64 {
            // SAFETY: as above, and still within the value.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.add(64)) };
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = value;
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use core::cell::Cell;
    use proptest::prelude::*;

    type Probe = Rc<(u32, Cell<usize>)>;

    impl Item for Probe {
        fn placed(&self, index: usize) {
            self.1.set(index);
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Push(i64),
        Pop,
        Remove(usize),
        Change(usize, i64),
    }

    fn deadline() -> impl Strategy<Value = i64> {
        prop_oneof![8 => 0..50_i64, 1 => Just(NEVER), 1 => any::<i64>()]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => deadline().prop_map(Op::Push),
            1 => Just(Op::Pop),
            1 => any::<usize>().prop_map(Op::Remove),
            2 => (any::<usize>(), deadline()).prop_map(|(i, w)| Op::Change(i, w)),
        ]
    }

    proptest! {
        /// R55, R58: any sequence of operations keeps the 4-ary order and every item's index, and
        /// the heap drains in order of deadline.
        #[test]
        fn r55_r58_random_operations_keep_the_heap(ops in prop::collection::vec(op(), 1..300)) {
            let mut heap: Dary<Probe> = Dary::new();
            let mut model: Vec<(i64, u32)> = Vec::new();
            for (id, op) in ops.into_iter().enumerate() {
                let id = u32::try_from(id).expect("few operations");
                match op {
                    Op::Push(when) => {
                        heap.push(when, Rc::new((id, Cell::new(usize::MAX))));
                        model.push((when, id));
                    }
                    Op::Pop | Op::Remove(_) if model.is_empty() => {}
                    Op::Pop => {
                        let when = heap.earliest();
                        let item = heap.remove(0);
                        prop_assert_eq!(when, model.iter().map(|m| m.0).min().expect("not empty"));
                        model.retain(|m| m.1 != item.0);
                    }
                    Op::Remove(i) => {
                        let item = heap.remove(i % model.len());
                        model.retain(|m| m.1 != item.0);
                    }
                    Op::Change(..) if model.is_empty() => {}
                    Op::Change(i, when) => {
                        let i = i % model.len();
                        let id = heap.get(i).expect("within the heap").1.0;
                        heap.change(i, when);
                        model.iter_mut().filter(|m| m.1 == id).for_each(|m| m.0 = when);
                    }
                }
                prop_assert_eq!(heap.len(), model.len());
                prop_assert!(heap.is_heap(|item| item.1.get()));
            }
            let mut drained = Vec::new();
            while heap.len() > 0 {
                drained.push(heap.earliest());
                heap.remove(0);
            }
            let mut expected: Vec<i64> = model.into_iter().map(|m| m.0).collect();
            expected.sort_unstable();
            prop_assert_eq!(drained, expected);
        }
    }

    #[test]
    fn the_children_of_an_entry_share_one_cache_line() {
        assert_eq!(size_of::<Line<core::ptr::NonNull<u8>>>(), 64);
        for parent in 0..1000_usize {
            for child in 4 * parent + 1..=4 * parent + 4 {
                assert_eq!((child + SHIFT) / 4, parent + 1);
            }
        }
    }

    #[test]
    fn an_emptied_heap_gives_its_memory_back() {
        let mut heap: Dary<Probe> = Dary::new();
        for i in 0..10_000 {
            heap.push(i, Rc::new((0, Cell::new(0))));
        }
        while heap.len() > 0 {
            assert!(heap.spare().is_none());
            heap.remove(0);
        }
        assert!(heap.spare().is_some());
        assert_eq!(heap.lines.capacity(), 0);
        heap.push(1, Rc::new((0, Cell::new(0))));
        assert_eq!(heap.earliest(), 1);
    }
}
