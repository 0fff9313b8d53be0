//! The 4-ary heap under both engines, its deadlines beside its items (R55, R58).
//!
//! Re-creates `siftupTimer` and `siftdownTimer` of Go 1.19's `runtime/time.go`, with the deadlines in
//! the heap's own array, as Go 1.23 has them, so that a sift looks at no timer; and two more steps.
//!
//! **Lines.** Entries are kept in cache lines of four, shifted by three,
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
//! **Seats.** Beside each deadline is a seat number. An item takes a free seat when it comes, learns
//! its number once ([`Item::seated`]) and keeps it until it leaves; `places` says where in the heap
//! the seat's entry lies. So an item can be removed or moved in place, and a sift writes to the
//! heap's own arrays alone: at a million timers `places` is 4 MB, where the timers are 96 MB.
//!
//! Invariants, under the owner's lock:
//! - entry `i > 0` is not earlier than entry `(i - 1) / 4`;
//! - a slot that holds no entry has the deadline `NEVER`, so the last line needs no bounds check;
//! - for entry `i` of seat `s`: `places[s] == i`, and `items[s]` is taken;
//! - the other seats are free and form a list from `free` on through `places`.
//!
//! Rejected: a timer wheel (it rounds deadlines, and cascades in bursts); a binary heap (twice
//! the depth, two lines per level); a heap of pointers (a cache miss per comparison); items that
//! know their place in the heap (a cache miss per level of a sift); deadlines and seats in arrays of
//! their own (less memory to compare, but the seats then come without a prefetch: measured slower).

use crate::prefetch::prefetch_value;
use crate::when::NEVER;
use alloc::vec::Vec;
use core::mem;

/// Something that is told its seat.
pub(crate) trait Item {
    fn seated(&self, seat: u32);

    /// Asks the processor for what firing will look at.
    fn prefetch(&self) {}
}

/// A deadline and the seat of who has it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    when: i64,
    seat: u32,
}

/// What a slot holds that holds no entry.
const FREE: Entry = Entry {
    when: NEVER,
    seat: NONE,
};

#[derive(Debug)]
#[repr(align(64))]
struct Line([Entry; 4]);

/// A heap of `T`, earliest first. All operations are O(log4 n), or O(1) where nothing moves.
#[derive(Debug)]
pub(crate) struct Dary<T> {
    /// The heap.
    lines: Vec<Line>,
    /// By seat: who sits there.
    items: Vec<Option<T>>,
    /// By seat: the index of its entry in the heap, or the next free seat.
    places: Vec<u32>,
    /// The first free seat, `NONE` if all are taken.
    free: u32,
    /// Entries: fewer than `NONE`.
    len: u32,
    /// Since when there has been room for four times as many; `NEVER` if there is not.
    sparse_since: i64,
}

/// Arrays for so many are kept.
const SMALL: usize = 256;

/// What giving an array back takes, in nanoseconds for each item that it has room for.
const SLOT: i64 = 256;

/// How many times as long a peak has to be over for arrays to be given back while timers are about to fire.
const PATIENCE: i64 = 64;

/// Slots before the root in line 0.
const SHIFT: usize = 3;

/// No seat.
pub(crate) const NONE: u32 = u32::MAX;

impl<T: Item> Dary<T> {
    pub(crate) const fn new() -> Self {
        Self {
            lines: Vec::new(),
            items: Vec::new(),
            places: Vec::new(),
            free: NONE,
            len: 0,
            sparse_since: NEVER,
        }
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    fn entry(&self, i: usize) -> &Entry {
        &self.lines[(i + SHIFT) / 4].0[(i + SHIFT) % 4]
    }

    #[inline]
    fn entry_mut(&mut self, i: usize) -> &mut Entry {
        &mut self.lines[(i + SHIFT) / 4].0[(i + SHIFT) % 4]
    }

    /// The item on a seat.
    #[inline]
    pub(crate) fn at(&self, seat: u32) -> Option<&T> {
        self.items.get(seat as usize)?.as_ref()
    }

    /// The earliest deadline and its item.
    #[inline]
    pub(crate) fn root(&self) -> Option<(i64, &T)> {
        let seat = self.lines.first()?.0[SHIFT].seat;
        Some((self.earliest(), self.at(seat)?))
    }

    /// Whether the root is the item on `seat`.
    #[inline]
    pub(crate) fn is_root(&self, seat: u32) -> bool {
        self.lines
            .first()
            .is_some_and(|line| line.0[SHIFT].seat == seat)
    }

    /// The item of entry `i`, if there are so many. The last one is cheapest to remove.
    #[inline]
    pub(crate) fn nth(&self, i: usize) -> Option<&T> {
        (i < self.len()).then(|| self.at(self.entry(i).seat))?
    }

    /// The earliest deadline, `NEVER` if there is none.
    #[inline]
    pub(crate) fn earliest(&self) -> i64 {
        self.lines.first().map_or(NEVER, |line| line.0[SHIFT].when)
    }

    /// Adds an item.
    pub(crate) fn push(&mut self, when: i64, item: T) {
        let i = self.len();
        let seat = self.seat(item);
        if (i + SHIFT) / 4 == self.lines.len() {
            self.lines.push(Line([FREE; 4]));
        }
        self.len += 1;
        self.sift_up(i, Entry { when, seat });
    }

    /// Gives an item a seat.
    #[inline]
    fn seat(&mut self, item: T) -> u32 {
        let seat = self.free;
        if let Some(place) = self.places.get(seat as usize) {
            self.free = *place;
            item.seated(seat);
            self.items[seat as usize] = Some(item);
            return seat;
        }
        assert!(
            self.items.len() < NONE as usize,
            "too many timers in one heap"
        );
        let seat = self.items.len() as u32;
        item.seated(seat);
        self.items.push(Some(item));
        self.places.push(NONE);
        seat
    }

    /// Takes out the item on a taken seat and fills its place in the heap with the last entry.
    pub(crate) fn remove(&mut self, seat: u32) -> T {
        let Some(item) = self.items[seat as usize].take() else {
            unreachable!("nobody on seat {seat}")
        };
        let i = mem::replace(&mut self.places[seat as usize], self.free) as usize;
        self.free = seat;
        let last = self.len() - 1;
        self.len -= 1;
        let tail = mem::replace(self.entry_mut(last), FREE);
        if (last + SHIFT).is_multiple_of(4) {
            self.lines.pop();
        }
        if i != last {
            self.refill(i, tail);
        }
        item
    }

    /// Gives the item on a taken seat the deadline `when` and moves its entry to its place.
    pub(crate) fn change(&mut self, seat: u32, when: i64) {
        let i = self.places[seat as usize] as usize;
        self.refill(i, Entry { when, seat });
    }

    /// Puts an entry at `i`, whose own is obsolete, or where it belongs above or below.
    fn refill(&mut self, i: usize, entry: Entry) {
        if i > 0 && entry.when < self.entry((i - 1) / 4).when {
            self.sift_up(i, entry);
        } else {
            self.sift_down(i, entry);
        }
    }

    /// Moves the hole at `i` up until `entry` fits, and fills it.
    #[inline]
    fn sift_up(&mut self, mut i: usize, entry: Entry) {
        while i > 0 {
            let parent = (i - 1) / 4;
            let above = *self.entry(parent);
            if above.when <= entry.when {
                break;
            }
            self.put(i, above);
            i = parent;
        }
        self.put(i, entry);
    }

    /// Moves the hole at `i` down until `entry` fits, and fills it.
    #[inline]
    fn sift_down(&mut self, mut i: usize, entry: Entry) {
        // The children of `i` are line `i + 1`; slots past the end are NEVER.
        loop {
            // While one child is chosen, fetch the lines of all its children: they lie side by side.
            if let Some(lines) = self.lines.get(4 * i + 2..4 * i + 6) {
                lines.iter().for_each(prefetch_value);
            }
            let Some(line) = self.lines.get(i + 1) else {
                break;
            };
            let best = first_of_four(line);
            let below = line.0[best];
            if entry.when <= below.when {
                break;
            }
            self.put(i, below);
            self.rises(i, below.seat);
            i = 4 * i + 1 + best;
        }
        self.put(i, entry);
    }

    /// An item has come nearer to the root by one level, to `i`: fetches what will be needed of it,
    /// its seat first and itself when it is two levels away.
    #[inline]
    fn rises(&self, i: usize, seat: u32) {
        match i {
            5..21 => {
                if let Some(item) = self.at(seat) {
                    item.prefetch();
                }
            }
            21..85 => {
                if let Some(item) = self.items.get(seat as usize) {
                    prefetch_value(item);
                }
            }
            _ => {}
        }
    }

    #[inline]
    fn put(&mut self, i: usize, entry: Entry) {
        // The index of one of fewer than `NONE` entries.
        self.places[entry.seat as usize] = i as u32;
        *self.entry_mut(i) = entry;
    }

    /// For how many items smaller arrays should have room, if the heap's peak is over at `now`: a quarter
    /// of its arrays would do. The caller then makes them ([`with_room`](Self::with_room)) and moves in
    /// ([`move_into`](Self::move_into)).
    ///
    /// Freeing a large block, or asking for one, makes glibc merge all small blocks freed so far. After a
    /// million timers that takes 170 ms: whatever is still to fire would be late by that. So this waits
    /// until nothing is due for so long, or until the peak is long over, as when there is always some ticker.
    #[inline]
    pub(crate) fn spare(&mut self, now: i64) -> Option<usize> {
        if !self.fills_at_most(4) {
            self.sparse_since = NEVER;
            return None;
        }
        self.sparse_since = self.sparse_since.min(now);
        let cost = SLOT * i64::try_from(self.items.capacity()).unwrap_or(NEVER / SLOT);
        let idle = self.len() == 0 || self.earliest().saturating_sub(now) >= cost;
        let over = now.saturating_sub(self.sparse_since) / PATIENCE >= cost;
        (idle || over).then_some(2 * self.len())
    }

    /// The same where the time is not known, if so few are left that they are moved in no time.
    #[inline]
    pub(crate) fn spare_of_few(&self) -> Option<usize> {
        self.fills_at_most(64).then_some(2 * self.len())
    }

    #[inline]
    fn fills_at_most(&self, share: usize) -> bool {
        let capacity = self.items.capacity();
        capacity > SMALL && self.len() <= capacity / share
    }

    /// An empty heap whose arrays have room for `len` items, if there is memory for it. To be made, and
    /// dropped, while nothing is waiting.
    pub(crate) fn with_room(len: usize) -> Option<Self> {
        let mut room = Self::new();
        if len > 0 {
            room.lines.try_reserve_exact(len / 4 + 2).ok()?;
            room.items.try_reserve_exact(len).ok()?;
            room.places.try_reserve_exact(len).ok()?;
        }
        Some(room)
    }

    /// Goes on in the arrays of `room`, an empty heap, if they have room for all, and hands out those that
    /// it needs no more. O(capacity); each item is told a new seat.
    pub(crate) fn move_into(&mut self, mut room: Self) -> Self {
        if room.items.capacity() < self.len() {
            return room;
        }
        if self.len() > 0 {
            room.lines
                .extend(self.lines.iter().map(|line| Line(line.0)));
        }
        // By seats, not by deadlines: those who came together lie together.
        for (item, place) in self.items.iter_mut().zip(&self.places) {
            if let Some(item) = item.take() {
                // As many as there were at most, so this fits.
                let seat = room.items.len() as u32;
                item.seated(seat);
                room.entry_mut(*place as usize).seat = seat;
                room.items.push(Some(item));
                room.places.push(*place);
            }
        }
        room.len = self.len;
        mem::replace(self, room)
    }

    /// Whether the invariants of the head comment hold, given where each item believes it sits.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_heap(&self, seat_of: impl Fn(&T) -> u32) -> bool {
        let mut free = 0;
        let mut seat = self.free;
        while let Some(next) = self.places.get(seat as usize) {
            assert!(self.at(seat).is_none());
            (seat, free) = (*next, free + 1);
        }
        free + self.len() == self.items.len()
            && (0..self.len()).all(|i| {
                let Entry { when, seat } = *self.entry(i);
                let item = self.at(seat).expect("an empty seat in the heap");
                seat_of(item) == seat
                    && self.places[seat as usize] as usize == i
                    && (i == 0 || self.entry((i - 1) / 4).when <= when)
            })
            && (self.len()..self.lines.len() * 4)
                .filter(|i| (i + SHIFT) / 4 < self.lines.len())
                .all(|i| self.entry(i).when == NEVER)
    }
}

/// Which slot of a line is earliest. Compiles to conditional moves: the answer is random, so
/// branches would be mispredicted.
#[inline]
const fn first_of_four(line: &Line) -> usize {
    let [a, b, c, d] = &line.0;
    let (left, l) = if b.when < a.when {
        (1, b.when)
    } else {
        (0, a.when)
    };
    let (right, r) = if d.when < c.when {
        (3, d.when)
    } else {
        (2, c.when)
    };
    if r < l { right } else { left }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::rc::Rc;
    use core::cell::Cell;
    use proptest::prelude::*;

    type Probe = Rc<(u32, Cell<u32>)>;

    impl Item for Probe {
        fn seated(&self, seat: u32) {
            self.1.set(seat);
        }
    }

    fn root(heap: &Dary<Probe>) -> u32 {
        heap.root().expect("not empty").1.1.get()
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
                        heap.push(when, Rc::new((id, Cell::new(NONE))));
                        model.push((when, id));
                    }
                    Op::Pop | Op::Remove(_) if model.is_empty() => {}
                    Op::Pop => {
                        let when = heap.earliest();
                        let item = heap.remove(root(&heap));
                        prop_assert_eq!(when, model.iter().map(|m| m.0).min().expect("not empty"));
                        model.retain(|m| m.1 != item.0);
                    }
                    Op::Remove(i) => {
                        let item = heap.remove(heap.entry(i % model.len()).seat);
                        model.retain(|m| m.1 != item.0);
                    }
                    Op::Change(..) if model.is_empty() => {}
                    Op::Change(i, when) => {
                        let seat = heap.entry(i % model.len()).seat;
                        let id = heap.at(seat).expect("within the heap").0;
                        heap.change(seat, when);
                        model.iter_mut().filter(|m| m.1 == id).for_each(|m| m.0 = when);
                    }
                }
                prop_assert_eq!(heap.len(), model.len());
                prop_assert!(heap.is_heap(|item| item.1.get()));
            }
            let mut drained = Vec::new();
            while heap.len() > 0 {
                drained.push(heap.earliest());
                heap.remove(root(&heap));
            }
            let mut expected: Vec<i64> = model.into_iter().map(|m| m.0).collect();
            expected.sort_unstable();
            prop_assert_eq!(drained, expected);
        }
    }

    #[test]
    fn the_children_of_an_entry_share_one_cache_line() {
        assert_eq!((size_of::<Line>(), align_of::<Line>()), (64, 64));
        for parent in 0..1000_usize {
            for child in 4 * parent + 1..=4 * parent + 4 {
                assert_eq!((child + SHIFT) / 4, parent + 1);
            }
        }
    }

    fn full(len: i64) -> Dary<Probe> {
        let mut heap = Dary::new();
        for i in 0..len {
            heap.push(i * 7919 % len, Rc::new((0, Cell::new(0))));
        }
        heap
    }

    /// What the engines do.
    fn shrink(heap: &mut Dary<Probe>, now: i64) -> bool {
        let room = heap.spare(now).and_then(Dary::with_room);
        room.map(|room| heap.move_into(room)).is_some()
    }

    #[test]
    fn a_heap_gives_its_memory_back_as_it_empties() {
        let mut heap = full(3_000);
        for when in 0..3_000 {
            assert_eq!(heap.earliest(), when);
            heap.remove(root(&heap));
            let sparse = heap.fills_at_most(4);
            assert_eq!(shrink(&mut heap, i64::MIN), sparse);
            assert!(heap.is_heap(|item| item.1.get()));
            assert!(!heap.fills_at_most(4));
        }
        assert!(heap.items.capacity() <= SMALL && heap.len() == 0);
        heap.push(1, Rc::new((0, Cell::new(0))));
        assert_eq!(heap.earliest(), 1);
    }

    #[test]
    fn memory_is_given_back_when_there_is_time_or_the_peak_is_long_over() {
        let mut heap = full(3_000);
        while heap.earliest() < 2_990 {
            heap.remove(root(&heap));
        }
        let cost = SLOT * heap.items.capacity() as i64;
        assert!(!shrink(&mut heap, 2_990 - cost + 1));
        assert!(shrink(&mut heap, 2_990 - cost));
        assert!(!shrink(&mut heap, i64::MIN), "once");

        let mut heap = full(3_000);
        assert!(!shrink(&mut heap, 0));
        while heap.len() > 1 {
            heap.remove(root(&heap));
        }
        for now in [2_990, 2_990 + PATIENCE * cost - 1] {
            assert!(!shrink(&mut heap, now));
            heap.change(root(&heap), now + 10);
        }
        assert!(shrink(&mut heap, 2_990 + PATIENCE * cost));
        heap.remove(root(&heap));
        assert!(heap.spare_of_few().is_none(), "small by now");
    }

    #[test]
    fn a_heap_that_has_grown_meanwhile_stays_where_it_is() {
        let mut heap = full(100);
        let room = heap.move_into(Dary::with_room(99).expect("memory"));
        assert_eq!((room.len(), heap.len()), (0, 100));
        assert!(heap.is_heap(|item| item.1.get()));
    }
}
