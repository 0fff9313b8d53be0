//! The orders in which a select goes through its cases: Go's `pollorder` and `lockorder` (`runtime/select.go`, 1.27).

use crate::lock::RawLock;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;

/// So many cases need no allocation.
const FEW: usize = 8;

/// Go's limit, so that a case's number fits sixteen bits.
const MOST: usize = 1 << 16;

/// Numbers of cases, in an order that is drawn as it is asked for.
pub(crate) struct Order {
    few: [u16; FEW],
    many: Vec<u16>,
    len: usize,
    /// So many places are settled; the rest is drawn from on demand.
    drawn: usize,
    random: u64,
}

impl Order {
    /// # Panics
    /// As Go's `reflect.Select`, if the cases are more than 65,536.
    #[inline]
    pub(crate) fn identity(len: usize) -> Self {
        let mut order = Self {
            few: [0, 1, 2, 3, 4, 5, 6, 7],
            many: Vec::new(),
            len,
            drawn: len,
            random: 0,
        };
        if len > FEW {
            assert!(len <= MOST, "select: too many cases (max 65536)");
            order.many = (0..=u16::MAX).take(len).collect();
        }
        order
    }

    /// A uniform choice among all permutations (Fisher and Yates), place by place: a select whose first case is ready
    /// draws one number.
    #[inline]
    pub(crate) fn shuffled(len: usize) -> Self {
        let mut order = Self::identity(len);
        order.drawn = 0;
        order.random = seed();
        order
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The case at the place `at`; all places before it were asked for.
    #[inline]
    pub(crate) fn draw(&mut self, at: usize) -> usize {
        if at == self.drawn {
            let other = at + random(&mut self.random, self.len - at);
            self.drawn += 1;
            let places = self.places();
            places.swap(at, other);
            return usize::from(places[at]);
        }
        usize::from(self.places()[at])
    }

    #[inline]
    fn places(&mut self) -> &mut [u16] {
        if self.len <= FEW {
            &mut self.few[..self.len]
        } else {
            &mut self.many
        }
    }

    /// All places; they are settled.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        debug_assert_eq!(self.drawn, self.len);
        let places = if self.len <= FEW {
            &self.few[..self.len]
        } else {
            &self.many
        };
        places.iter().map(|&i| usize::from(i))
    }
}

/// The locks of the cases' channels, in the order in which they are taken.
pub(crate) struct Locks<'a> {
    few: [MaybeUninit<&'a RawLock>; FEW],
    /// All of them, if they are many.
    many: Vec<&'a RawLock>,
    len: usize,
}

impl<'a> Locks<'a> {
    #[inline]
    pub(crate) fn none() -> Self {
        Self {
            few: [const { MaybeUninit::uninit() }; FEW],
            many: Vec::new(),
            len: 0,
        }
    }

    /// Takes one in. [`sort`](Self::sort) follows the last, and does what is left: a call of the general sort costs more
    /// than sorting four.
    #[inline]
    pub(crate) fn push(&mut self, lock: &'a RawLock) {
        if self.len >= FEW {
            self.push_many(lock);
            return;
        }
        self.few[self.len].write(lock);
        self.len += 1;
        let mut at = self.len - 1;
        let few = self.few();
        while at > 0 && few[at - 1].key() > few[at].key() {
            few.swap(at - 1, at);
            at -= 1;
        }
    }

    #[cold]
    fn push_many(&mut self, lock: &'a RawLock) {
        if self.len == FEW {
            self.many = self.few().to_vec();
        }
        self.many.push(lock);
        self.len += 1;
    }

    #[inline]
    pub(crate) fn sort(&mut self) {
        if self.len > FEW {
            self.many.sort_unstable_by_key(|lock| lock.key());
        }
    }

    /// How many were taken in.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn few(&mut self) -> &mut [&'a RawLock] {
        debug_assert!(self.len <= FEW);
        // SAFETY: the first `len` are written, and there are no more as long as they are few.
        unsafe { std::slice::from_raw_parts_mut(self.few.as_mut_ptr().cast(), self.len) }
    }

    /// Calls `f` with each, once also if it was taken in twice.
    #[inline]
    pub(crate) fn for_each(&self, f: impl Fn(&RawLock)) {
        let all = if self.len > FEW {
            &self.many[..]
        } else {
            // SAFETY: the first `len` are written.
            unsafe { std::slice::from_raw_parts(self.few.as_ptr().cast(), self.len) }
        };
        let mut last = ptr::null();
        for &lock in all {
            if !ptr::eq(lock, last) {
                f(lock);
                last = lock;
            }
        }
    }
}

/// A fresh start for [`random`], from a generator per thread. Reads and writes the thread-local in one go, so nothing of
/// it is kept across a park.
#[inline(never)]
fn seed() -> u64 {
    thread_local! { static STATE: Cell<u64> = const { Cell::new(0) } }
    let mut x = STATE.get();
    if x == 0 {
        // The cell's address tells threads apart.
        x = first_seed(STATE.with(|cell| ptr::from_ref(cell).addr() as u64));
    }
    // xorshift64*
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    STATE.set(x);
    x.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

/// Not 0. The time tells runs apart.
#[cold]
fn first_seed(address: u64) -> u64 {
    let time = std::time::SystemTime::UNIX_EPOCH.elapsed();
    address ^ time.map_or(0, |t| u64::from(t.subsec_nanos()) << 32) | 1
}

/// A number below `n`: the high half of a linear congruential generator.
#[inline]
fn random(state: &mut u64, n: usize) -> usize {
    let high = *state >> 32;
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    ((high * n as u64) >> 32) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Two selects over the same channels would wait for one another for ever.
    #[test]
    fn r17_locks_are_taken_in_one_order_and_each_once() {
        let channels: Vec<_> = (0..3 * FEW).map(|_| RawLock::new()).collect();
        for channels in [&channels[..0], &channels[..FEW / 2], &channels] {
            let mut locks = Locks::none();
            for lock in channels.iter().rev().chain(channels) {
                locks.push(lock);
            }
            locks.sort();
            let taken = RefCell::new(Vec::new());
            locks.for_each(|lock| taken.borrow_mut().push(lock.key()));
            let addresses: Vec<_> = channels.iter().map(RawLock::key).collect();
            assert_eq!(taken.into_inner(), addresses);
        }
    }
}
