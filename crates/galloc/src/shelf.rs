//! A thread's few recently freed large objects, which the next allocation of their size takes
//! without the heap lock. Go has no such thing: there a large object costs a sweep anyway.
//!
//! A shelf holds at most [`PLACES`] objects of at most 2 MiB each and 4 MiB together; what does not
//! fit goes to the page heap, and the oldest first. More than 1 MiB wakes the scavenger, which ticks
//! until all shelves are empty; less stays until it is awake anyway. Each place is one atomic word, so
//! that the scavenger may clear the shelf of a thread that sleeps: it marks what it finds, and takes
//! what it finds marked the next time. An object put back in between comes without the mark.
//!
//! Invariants: a span is in at most one place, and whoever got it out by an atomic operation owns
//! it. `pages[i]` is the owner's alone and may name an object that the scavenger has taken.
//!
//! Ordering: putting is a Release, taking an Acquire, so the taker sees the span as the thread that
//! freed the object left it. Marking moves nothing and is Relaxed: it is a read-modify-write and so
//! carries on the release sequence of the put. A put and the look at the scavenger's state after it
//! are SeqCst, and so are its going to sleep and its look at the places after that: either the owner
//! sees it asleep, or it sees the object.
//!
//! Rejected: a shelf without atomics and a flush at every so many operations. A thread that sleeps
//! makes none.

use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Objects on a shelf.
pub(crate) const PLACES: usize = 8;
/// Pages of the largest object that is kept: 2 MiB.
pub(crate) const LARGEST: usize = 256;
/// Pages of all of them: 4 MiB.
const MOST: usize = 512;
/// Pages that may stay for as long as the scavenger sleeps: 1 MiB.
pub(crate) const QUIET: usize = 128;
/// The mark. Addresses of spans are even.
const OLD: usize = 1;

/// The atomic word of a place: core's, which a `const` may make, or in a model loom's.
trait Word {
    fn load(&self, order: Ordering) -> usize;
    fn swap(&self, new: usize, order: Ordering) -> usize;
    /// True if `new` took the place of `seen`; Acquire if so, else Relaxed.
    fn replace(&self, seen: usize, new: usize) -> bool;
}

macro_rules! word {
    ($atomic:ty) => {
        impl Word for $atomic {
            #[inline(always)]
            fn load(&self, order: Ordering) -> usize {
                self.load(order)
            }

            #[inline(always)]
            fn swap(&self, new: usize, order: Ordering) -> usize {
                self.swap(new, order)
            }

            #[inline(always)]
            fn replace(&self, seen: usize, new: usize) -> bool {
                self.compare_exchange(seen, new, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            }
        }
    };
}

word!(AtomicUsize);
#[cfg(all(test, loom))]
word!(loom::sync::atomic::AtomicUsize);

/// What [`Place::age`] found.
#[derive(Debug, PartialEq, Eq)]
enum Aged {
    Nothing,
    /// It is marked, or in the owner's hands.
    Left,
    Taken(usize),
}

/// 0, the address of a span, or that with the mark. Put and taken by the owner, marked and taken
/// by the scavenger.
#[derive(Debug)]
struct Place<W = AtomicUsize>(W);

impl<W: Word> Place<W> {
    /// What was there comes back, 0 for nothing.
    fn put(&self, span: usize) -> usize {
        self.0.swap(span, Ordering::SeqCst) & !OLD
    }

    fn take(&self) -> usize {
        if self.0.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.0.swap(0, Ordering::Acquire) & !OLD
    }

    /// Takes the object if it is marked, or else marks it.
    fn age(&self) -> Aged {
        let seen = self.0.load(Ordering::SeqCst);
        let new = match seen {
            0 => return Aged::Nothing,
            old if old & OLD != 0 => 0,
            young => young | OLD,
        };
        if self.0.replace(seen, new) && new == 0 {
            return Aged::Taken(seen & !OLD);
        }
        // Marked; or the owner was here, and the object is in use or young again.
        Aged::Left
    }
}

#[derive(Debug)]
pub(crate) struct Shelf {
    places: [Place; PLACES],
    /// Pages of what was put there, 0 for nothing; owner's.
    pages: [Cell<u32>; PLACES],
    /// The place to clear next; owner's.
    hand: Cell<usize>,
}

impl Shelf {
    pub(crate) const fn new() -> Self {
        Self {
            places: [const { Place(AtomicUsize::new(0)) }; PLACES],
            pages: [const { Cell::new(0) }; PLACES],
            hand: Cell::new(0),
        }
    }

    /// An object of `n` pages or an eighth more that `fits`; 0 if there is none. The owner alone.
    pub(crate) fn take(&self, n: usize, fits: impl Fn(usize) -> bool) -> usize {
        for (pages, place) in self.pages.iter().zip(&self.places) {
            if (n..=n + n / 8).contains(&(pages.get() as usize)) {
                let span = place.take();
                if span == 0 {
                    pages.set(0);
                } else if fits(span) {
                    pages.set(0);
                    return span;
                } else {
                    // Only the owner puts, so the place is still empty.
                    place.put(span);
                }
            }
        }
        0
    }

    /// Puts an object of at most [`LARGEST`] pages there; `evicted` gets those that make room.
    /// Returns the pages on the shelf, or more. The owner alone.
    pub(crate) fn put(&self, span: usize, n: usize, evicted: impl Fn(usize)) -> usize {
        let mut sum: usize = n + self.pages.iter().map(|p| p.get() as usize).sum::<usize>();
        let mut free = self.pages.iter().position(|p| p.get() == 0);
        while sum > MOST || free.is_none() {
            let i = self.hand.get();
            self.hand.set((i + 1) % PLACES);
            // `evicted` may have put more there than was counted.
            sum = sum.saturating_sub(self.pages[i].take() as usize);
            let old = self.places[i].take();
            if old != 0 {
                evicted(old);
            }
            free = Some(i);
        }
        let i = free.unwrap_or(0);
        self.pages[i].set(n as u32);
        let old = self.places[i].put(span);
        if old != 0 {
            // `evicted` allocated and freed here meanwhile.
            evicted(old);
        }
        sum
    }

    /// Takes out everything. Any thread.
    pub(crate) fn clear(&self, evicted: impl Fn(usize)) {
        for span in self.places.iter().map(Place::take).filter(|&s| s != 0) {
            evicted(span);
        }
    }

    /// Takes out what has lain here since the last call; true if anything was here. Any thread.
    pub(crate) fn age(&self, evicted: impl Fn(usize)) -> bool {
        let mut any = false;
        for place in &self.places {
            let aged = place.age();
            any |= aged != Aged::Nothing;
            if let Aged::Taken(span) = aged {
                evicted(span);
            }
        }
        any
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn a_shelf_is_bounded_in_objects_and_in_pages() {
        let shelf = Shelf::new();
        let out = RefCell::new(Vec::new());
        for i in 1..=20 {
            shelf.put(i * 64, 5, |s| out.borrow_mut().push(s));
        }
        assert_eq!(out.borrow().len(), 20 - PLACES);
        for i in 21..=30 {
            shelf.put(i * 64, LARGEST, |s| out.borrow_mut().push(s));
        }
        // Two of 2 MiB are all that fits beside nothing else.
        assert_eq!(out.borrow().len(), 28);
        shelf.clear(|s| out.borrow_mut().push(s));
        let mut all = out.into_inner();
        all.sort_unstable();
        assert_eq!(all, (1..=30).map(|i| i * 64).collect::<Vec<_>>());
    }

    #[test]
    fn an_object_goes_to_who_asks_for_nearly_its_size() {
        let shelf = Shelf::new();
        shelf.put(64, 18, |_| unreachable!());
        assert_eq!(shelf.take(19, |_| true), 0);
        assert_eq!(shelf.take(15, |_| true), 0);
        assert_eq!(shelf.take(16, |_| false), 0);
        assert_eq!(shelf.take(16, |_| true), 64);
        assert_eq!(shelf.take(16, |_| true), 0);
    }

    #[test]
    fn an_object_that_lies_for_two_ages_is_taken() {
        let shelf = Shelf::new();
        let out = RefCell::new(Vec::new());
        let age = || shelf.age(|s| out.borrow_mut().push(s));
        shelf.put(64, 10, |_| unreachable!());
        age();
        assert_eq!(
            shelf.take(10, |_| true),
            64,
            "marked objects are still good"
        );
        shelf.put(64, 10, |_| unreachable!());
        assert!(age());
        assert!(out.borrow().is_empty(), "the mark went with the last use");
        assert!(age());
        assert_eq!(out.borrow()[..], [64]);
        assert!(!age(), "the shelf is empty");
        assert_eq!(shelf.take(10, |_| true), 0);
        shelf.put(128, 10, |_| unreachable!());
        assert_eq!(shelf.take(10, |_| true), 128);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    const SPAN: usize = 64;

    struct Shared {
        place: Place<AtomicUsize>,
        object: UnsafeCell<usize>,
    }

    // SAFETY: `object` is what the models check: only who holds the span touches it.
    unsafe impl Sync for Shared {}
    // SAFETY: as above.
    unsafe impl Send for Shared {}

    impl Shared {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                place: Place(AtomicUsize::new(0)),
                object: UnsafeCell::new(0),
            })
        }

        /// By who holds the span.
        fn touch(&self) {
            // SAFETY: loom says if two do.
            self.object.with_mut(|o| unsafe { *o += 1 });
        }
    }

    /// The owner puts and takes while another thread clears the shelf, as a thread without memory does.
    #[test]
    fn loom_a_shelf_is_cleared_by_others() {
        loom::model(|| {
            let shared = Shared::new();
            let other = {
                let shared = shared.clone();
                thread::spawn(move || {
                    let taken = shared.place.take() == SPAN;
                    if taken {
                        shared.touch();
                    }
                    taken
                })
            };
            shared.touch();
            assert_eq!(shared.place.put(SPAN), 0);
            let held = shared.place.take() == SPAN;
            if held {
                shared.touch();
            }
            assert_ne!(held, other.join().unwrap(), "one of the two has it");
        });
    }

    /// The owner uses, puts and takes while the scavenger ages twice: the object is never had by
    /// two, and each sees what the one before wrote.
    #[test]
    fn loom_an_object_on_a_shelf_is_had_by_one() {
        loom::model(|| {
            let shared = Shared::new();
            let scavenger = {
                let shared = shared.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        if shared.place.age() == Aged::Taken(SPAN) {
                            shared.touch();
                            return true;
                        }
                    }
                    false
                })
            };
            let mut held = true;
            for _ in 0..2 {
                if held {
                    shared.touch();
                    assert_eq!(shared.place.put(SPAN), 0);
                }
                held = shared.place.take() == SPAN;
            }
            assert_ne!(held, scavenger.join().unwrap(), "one of the two has it");
        });
    }
}
