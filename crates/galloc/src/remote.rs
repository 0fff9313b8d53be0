//! The remote-free list of a span: how threads that do not own a span give its objects back.
//!
//! One word holds the whole protocol: the newest object's address (48 bits), how many objects the
//! list has (15 bits) and, in the top bit, ARMED: the owner has taken the span out of rotation and
//! wants a notice. An object's first word links to the next.
//!
//! - A freer links its object to the head and publishes both with one CAS. The CAS that finds ARMED
//!   clears it, and that freer alone owes the owner a notice: one per full span.
//! - The owner takes all by one swap; the count spares it a walk over cold objects.
//! - The owner arms a span only while the list is empty, else it takes instead; it disarms to
//!   put a span back in rotation itself. Disarming fails when a freer was first: then that freer's
//!   notice is on its way, and the owner leaves the span where it is until the notice arrives.
//!   Until then the span cannot be freed or change owners, so the freer may use it after its CAS.
//!
//! Orderings: the push is Release, the take Acquire, which orders the freer's last use of the object
//! (and its link) before the owner's reuse. Arming is Release and the push that clears it Acquire
//! too, so that the freer sees the owner field as it was when armed. ABA is harmless: a push does
//! not depend on what lies behind the head it links to, and nobody pops single objects.
//!
//! Rejected: a list per owner instead of per span (tcmalloc's, snmalloc's messages), which must be
//! sorted by span on arrival; batching in the freer, which keeps memory from its owner while the
//! freer is idle.

#[cfg(all(test, loom))]
use loom::sync::atomic::{AtomicU64, Ordering};

#[cfg(not(all(test, loom)))]
use core::sync::atomic::{AtomicU64, Ordering};

const ARMED: u64 = 1 << 63;
const COUNT: u64 = 1 << 48;
const ADDRESS: u64 = COUNT - 1;

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct RemoteFree {
    word: AtomicU64,
}

/// A chain of objects taken from the list; `head` is 0 when there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) head: usize,
    pub(crate) count: u64,
}

impl RemoteFree {
    #[cfg(not(all(test, loom)))]
    pub(crate) const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    #[cfg(all(test, loom))]
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
        }
    }

    /// Any thread: adds `object`, whose link `set_next` writes. True if this thread now owes the
    /// owner a notice.
    #[inline]
    #[must_use]
    pub(crate) fn push(&self, object: usize, mut set_next: impl FnMut(usize)) -> bool {
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            set_next((old & ADDRESS) as usize);
            let new = object as u64 | ((old & !ARMED & !ADDRESS) + COUNT);
            match self
                .word
                .compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return old & ARMED != 0,
                Err(now) => old = now,
            }
        }
    }

    /// Owner, span not armed: whether a take would find something.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.word.load(Ordering::Relaxed) == 0
    }

    /// Owner, span not armed: takes every object.
    #[inline]
    pub(crate) fn take(&self) -> Taken {
        let word = self.word.swap(0, Ordering::Acquire);
        Taken {
            head: (word & ADDRESS) as usize,
            count: (word & !ARMED) >> 48,
        }
    }

    /// Owner: asks for a notice. False if objects arrived: nothing is armed, take them instead.
    #[must_use]
    pub(crate) fn arm(&self) -> bool {
        self.word
            .compare_exchange(0, ARMED, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Owner of an armed span: takes the request back. False if a freer saw it first: its notice
    /// will come.
    #[must_use]
    pub(crate) fn disarm(&self) -> bool {
        self.word
            .compare_exchange(ARMED, 0, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    /// Objects 1..=N with a plain (checked) link each, the list, and a count of notices in flight.
    struct Model {
        links: [UnsafeCell<usize>; 4],
        list: RemoteFree,
        notices: AtomicUsize,
    }

    impl Model {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                links: std::array::from_fn(|_| UnsafeCell::new(0)),
                list: RemoteFree::new(),
                notices: AtomicUsize::new(0),
            })
        }

        fn free(&self, object: usize) {
            // SAFETY: the object belongs to this thread until the push publishes it.
            let link = |next| self.links[object].with_mut(|p| unsafe { *p = next });
            if self.list.push(object, link) {
                self.notices.fetch_add(1, Ordering::Release);
            }
        }

        /// Takes all, checks the count against the walk, and returns how many came.
        fn take(&self) -> usize {
            let taken = self.list.take();
            let mut n = 0;
            let mut at = taken.head;
            while at != 0 {
                n += 1;
                // SAFETY: what was taken is this thread's; loom checks that.
                at = self.links[at].with(|p| unsafe { *p });
            }
            assert_eq!(n as u64, taken.count);
            n
        }
    }

    #[test]
    fn loom_every_object_freed_remotely_is_taken_exactly_once() {
        loom::model(|| {
            let m = Model::new();
            let freers: Vec<_> = [1, 2]
                .map(|o| {
                    let m = m.clone();
                    thread::spawn(move || m.free(o))
                })
                .into();
            let mut got = m.take();
            for f in freers {
                f.join().unwrap();
            }
            got += m.take();
            assert_eq!(got, 2);
        });
    }

    #[test]
    fn loom_an_armed_span_gets_exactly_one_notice_or_is_disarmed() {
        loom::model(|| {
            let m = Model::new();
            assert!(m.list.arm());
            let freers: Vec<_> = [1, 2]
                .map(|o| {
                    let m = m.clone();
                    thread::spawn(move || m.free(o))
                })
                .into();
            let disarmed = m.list.disarm();
            for f in freers {
                f.join().unwrap();
            }
            let notices = m.notices.load(Ordering::Acquire);
            assert_eq!(notices, usize::from(!disarmed));
            assert_eq!(m.take(), 2);
        });
    }

    #[test]
    fn loom_no_free_is_lost_when_it_races_with_the_owner_filling_up() {
        loom::model(|| {
            let m = Model::new();
            let freer = {
                let m = m.clone();
                thread::spawn(move || {
                    m.free(1);
                    m.free(2);
                })
            };
            // The owner's refill: arm, or take what came; then wait for what it is owed.
            let mut got = 0;
            let armed = loop {
                if m.list.arm() {
                    break true;
                }
                got += m.take();
                if got == 2 {
                    break false;
                }
            };
            freer.join().unwrap();
            let notices = m.notices.load(Ordering::Acquire);
            assert_eq!(notices, usize::from(armed && got < 2));
            assert!(!armed || got == 2 || notices == 1);
            if notices == 1 {
                got += m.take();
            }
            assert_eq!(got, 2);
        });
    }
}
