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

use crate::sync::atomic::{AtomicU64, Ordering};

/// Goroutines started and ended, by one holder or by all who hold no P.
#[derive(Debug)]
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

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{Goroutines, count};
    use loom::sync::{Arc, mpsc};
    use loom::thread;

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
