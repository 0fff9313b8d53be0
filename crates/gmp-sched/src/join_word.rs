//! Who is the later of a goroutine and its handle, and who waits for it.
//!
//! One word and one waker per record. The *runner* finishes the goroutine once; the *handle* (one,
//! movable, not clonable) registers wakers, takes the result or lets go. Whoever comes second
//! disposes of the result and frees the record, so each record is freed exactly once.
//!
//! ```text
//!   bit 0  DONE      the result is written (by the runner, once)
//!   bit 1  DETACHED  the handle is gone    (by the handle, once)
//!   bit 2  WAITER    the waker is valid    (set and cleared by the handle, until DONE)
//!   bits 3..         how often WAITER was set: makes each registration another word
//! ```
//!
//! The runner reads the waker *before* it sets DONE, because from DONE on the handle may free the
//! record. That read can race with the handle replacing its waker; the count in the upper bits
//! makes the runner's compare-exchange fail then, so a torn copy is never used. The waker's two
//! words are relaxed atomics, so the race itself is defined.

use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

const DONE: u32 = 1;
const DETACHED: u32 = 2;
const WAITER: u32 = 4;
const COUNT: u32 = 8;

/// A `RawWaker` as two words.
pub(crate) type RawWords = [usize; 2];

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct JoinWord {
    word: AtomicU32,
    waker: [AtomicUsize; 2],
}

/// What the runner has to do after it finished.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// The handle is gone: drop the result, free the record.
    Detached,
    /// The handle owns the record now and nobody waits.
    Handle,
    /// The handle owns the record now; the runner owns this waker and wakes it.
    Wake(RawWords),
}

impl JoinWord {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            waker: [AtomicUsize::new(0), AtomicUsize::new(0)],
        }
    }

    /// Begins a life. By the owner of a dead record.
    #[inline]
    pub(crate) fn begin(&self) {
        self.word.store(0, Ordering::Relaxed);
    }

    /// The runner is done: the result is in place and it touches the record no more, unless told
    /// `Detached`.
    #[inline]
    pub(crate) fn finish(&self) -> Finished {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            let waker = self.load_waker();
            match self
                .word
                .compare_exchange(seen, seen | DONE, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) if seen & DETACHED != 0 => return Finished::Detached,
                Ok(_) if seen & WAITER != 0 => return Finished::Wake(waker),
                Ok(_) => return Finished::Handle,
                Err(now) => seen = now,
            }
        }
    }

    /// Whether the result is in place (then visible to the caller).
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.word.load(Ordering::Acquire) & DONE != 0
    }

    /// Whether the handle is gone already: a hint for the runner, which may dispose of the result
    /// early.
    #[inline]
    pub(crate) fn is_detached(&self) -> bool {
        self.word.load(Ordering::Relaxed) & DETACHED != 0
    }

    /// Registers the waker of whoever waits by the handle. `Err` gives it back: already done.
    #[inline]
    pub(crate) fn register(&self, waker: RawWords) -> Result<(), RawWords> {
        debug_assert_ne!(
            self.word.load(Ordering::Relaxed) & (WAITER | DONE),
            WAITER,
            "withdraw the other waker first"
        );
        self.store_waker(waker);
        // Adding COUNT makes this registration's word differ from any earlier one's.
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            if seen & DONE != 0 {
                return Err(waker);
            }
            let next = seen.wrapping_add(COUNT) | WAITER;
            match self
                .word
                .compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }

    /// Takes a registered waker back. `None` if there is none, or the runner has taken it.
    #[inline]
    pub(crate) fn withdraw(&self) -> Option<RawWords> {
        let mut seen = self.word.load(Ordering::Acquire);
        loop {
            if seen & WAITER == 0 || seen & DONE != 0 {
                return None;
            }
            let waker = self.load_waker();
            match self.word.compare_exchange(
                seen,
                seen & !WAITER,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(waker),
                Err(now) => seen = now,
            }
        }
    }

    /// Compares the registered waker without taking it. By the handle.
    pub(crate) fn registered(&self) -> Option<RawWords> {
        let seen = self.word.load(Ordering::Acquire);
        (seen & (WAITER | DONE) == WAITER).then(|| self.load_waker())
    }

    /// The handle lets go. True if the runner was done: the caller drops the result and frees the
    /// record. Withdraw the waker first.
    #[inline]
    pub(crate) fn detach(&self) -> bool {
        self.word.fetch_or(DETACHED, Ordering::AcqRel) & DONE != 0
    }

    fn load_waker(&self) -> RawWords {
        [
            self.waker[0].load(Ordering::Relaxed),
            self.waker[1].load(Ordering::Relaxed),
        ]
    }

    fn store_waker(&self, w: RawWords) {
        self.waker[0].store(w[0], Ordering::Relaxed);
        self.waker[1].store(w[1], Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Finished, JoinWord};

    #[test]
    fn the_second_of_the_two_frees() {
        let j = JoinWord::new();
        assert_eq!(j.finish(), Finished::Handle);
        assert!(j.detach(), "the handle was second");
        j.begin();
        assert!(!j.detach());
        assert_eq!(j.finish(), Finished::Detached, "the runner was second");
    }

    #[test]
    fn a_waker_is_owned_by_one_side() {
        let j = JoinWord::new();
        j.register([1, 2]).unwrap();
        assert_eq!(j.registered(), Some([1, 2]));
        assert_eq!(j.withdraw(), Some([1, 2]));
        assert_eq!(j.withdraw(), None);
        j.register([3, 4]).unwrap();
        assert_eq!(j.finish(), Finished::Wake([3, 4]));
        assert_eq!(j.withdraw(), None, "the runner took it");
        assert_eq!(j.register([5, 6]), Err([5, 6]));
        assert!(j.is_done());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{Finished, JoinWord};
    use loom::sync::Arc;
    use loom::thread;

    /// Finish against register, replace and detach: each waker ends in one place, the record is
    /// freed once, no torn waker is seen.
    #[test]
    fn loom_join_word_frees_once_and_tears_no_waker() {
        loom::model(|| {
            let j = Arc::new(JoinWord::new());
            let t = {
                let j = j.clone();
                thread::spawn(move || j.finish())
            };
            let mut mine = 0;
            match j.register([1, 1]) {
                Err(w) => assert_eq!(w, [1, 1]),
                Ok(()) => {
                    if let Some(w) = j.withdraw() {
                        assert_eq!(w, [1, 1]);
                        mine += 1;
                        if j.register([2, 2]).is_err() {
                            mine += 1;
                        }
                    }
                }
            }
            let replaced = mine > 0;
            if j.withdraw().is_some() {
                mine += 1;
            }
            let handle_frees = j.detach();
            match t.join().unwrap() {
                Finished::Detached => assert!(!handle_frees),
                Finished::Handle => assert!(handle_frees),
                Finished::Wake(w) => {
                    assert!(handle_frees);
                    assert_eq!(w, if replaced { [2, 2] } else { [1, 1] });
                }
            }
        });
    }
}
