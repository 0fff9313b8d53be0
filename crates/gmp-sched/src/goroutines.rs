//! How many goroutines a runtime has, counted without a shared counter.
//!
//! Each P counts those that were started and those that ended on it, and the runtime those of
//! threads that hold no P. Both figures only grow, and a reader adds up all that ended *before* it adds
//! up all that were started. Whatever ends is counted as started by then, so the difference is
//! never too small, and a difference of zero means that there was a moment without a goroutine.
//! (One figure that goes up and down would not do: a goroutine that is started on a P after it was read
//! and ends on another before that is read would hide one that lives. A runtime that shuts down would
//! stop under it.)
//!
//! Nothing is set back when a record serves another runtime: the figures are balanced then, over all
//! Ps that it ever had.
//!
//! Ordering: a goroutine's start happens before its end, through the queue that carried it. The
//! release store of `ended` and the acquire load of the reader carry that on to the reader, whose
//! later loads of `started` then see it.

use crate::sync::atomic::{AtomicU64, Ordering, fence};

/// Goroutines started and ended, by one holder or by all who hold no P.
#[derive(Debug)]
#[cfg_attr(all(test, loom), derive(Default))]
pub(crate) struct Goroutines {
    started: AtomicU64,
    ended: AtomicU64,
}

impl Goroutines {
    pub(crate) fn new() -> Self {
        Self {
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// One more. By the holder, before others can see the goroutine.
    #[inline]
    pub(crate) fn start(&self) {
        self.started
            .store(self.started.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// One less. By the holder, before others can see that it ended.
    #[inline]
    pub(crate) fn end(&self) {
        self.ended
            .store(self.ended.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// As [`Self::start`], by a thread that holds no P.
    pub(crate) fn start_shared(&self) {
        self.started.fetch_add(1, Ordering::SeqCst);
    }

    /// As [`Self::end`], by a thread that holds no P.
    pub(crate) fn end_shared(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// How many there are, at most; zero only if there was a moment without any.
pub(crate) fn count<'a>(counters: impl Iterator<Item = &'a Goroutines> + Clone) -> usize {
    let ended: u64 = counters
        .clone()
        .map(|c| c.ended.load(Ordering::Acquire))
        .sum();
    (started(counters) - ended) as usize
}

/// How many were ever started.
pub(crate) fn started<'a>(counters: impl Iterator<Item = &'a Goroutines>) -> u64 {
    counters.map(|c| c.started.load(Ordering::SeqCst)).sum()
}

/// The end: returns once none is left and none can come. `none_left` waits for the former, or gives up and says false,
/// as this does then; `shut` closes the door.
///
/// Who comes from outside counts his goroutine before he looks at the door, and they are counted once more after it was
/// closed: he finds it closed, or is waited for.
pub(crate) fn close(mut none_left: impl FnMut() -> bool, shut: impl FnOnce()) -> bool {
    if !none_left() {
        return false;
    }
    shut();
    fence(Ordering::SeqCst);
    none_left()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::close;
    use core::cell::Cell;

    /// One comes in just before the door is closed.
    #[test]
    fn whoever_came_in_before_the_door_was_closed_is_waited_for() {
        let (inside, waited) = (Cell::new(0), Cell::new(0));
        let none_left = || {
            waited.set(waited.get() + inside.take());
            true
        };
        assert!(close(none_left, || inside.set(1)));
        assert_eq!(waited.get(), 1);
    }

    #[test]
    fn who_is_not_waited_for_any_longer_leaves_the_door_open() {
        assert!(!close(|| false, || panic!("closed")));
        let inside = Cell::new(false);
        assert!(!close(|| !inside.get(), || inside.set(true)));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{Goroutines, close, count};
    use loom::sync::atomic::{AtomicBool, Ordering, fence};
    use loom::sync::{Arc, mpsc};
    use loom::thread;

    /// A thread starts a goroutine while the runtime ends: it is refused, or has its end before that of the runtime.
    #[test]
    fn loom_nobody_comes_in_behind_the_last() {
        #[derive(Default)]
        struct Runtime {
            counter: Goroutines,
            closed: AtomicBool,
            over: AtomicBool,
        }
        loom::model(|| {
            let runtime = Arc::new(Runtime::default());
            let spawner = {
                let runtime = runtime.clone();
                thread::spawn(move || {
                    runtime.counter.start_shared();
                    fence(Ordering::SeqCst);
                    let admitted = !runtime.closed.load(Ordering::Acquire);
                    if admitted {
                        assert!(!runtime.over.load(Ordering::Acquire), "it is never run");
                    }
                    runtime.counter.end_shared();
                })
            };
            let none_left = || {
                while count([&runtime.counter].into_iter()) > 0 {
                    thread::yield_now();
                }
                true
            };
            assert!(close(none_left, || runtime
                .closed
                .store(true, Ordering::Release)));
            runtime.over.store(true, Ordering::Release);
            spawner.join().unwrap();
        });
    }

    /// One goroutine starts another on its P, which ends on another P, and only then ends itself: at
    /// no time does a reader find none.
    #[test]
    fn loom_no_reader_misses_the_parent_of_one_that_moves() {
        loom::model(|| {
            let counters = Arc::new([Goroutines::new(), Goroutines::new()]);
            counters[0].start();
            let (queue, stolen) = mpsc::channel();
            let thief = {
                let counters = counters.clone();
                thread::spawn(move || {
                    let () = stolen.recv().unwrap();
                    counters[1].end();
                })
            };
            let reader = {
                let counters = counters.clone();
                thread::spawn(move || count(counters.iter()))
            };
            counters[0].start();
            queue.send(()).unwrap();
            thief.join().unwrap();
            assert!(reader.join().unwrap() > 0, "the parent has not ended");
            counters[0].end();
            assert_eq!(count(counters.iter()), 0);
        });
    }
}
