//! The bracket in which a thread touches its P, and the word by which others ask for that P.
//!
//! No counterpart in Go, where `stackguard0 = stackPreempt` and SIGURG stop a goroutine and the P
//! comes along. Unprivileged Rust cannot be stopped at an arbitrary instruction, so instead the P
//! is taken away from under code that is not looking at it.
//!
//! Each M has a flag `in_rt` (it may be touching its P) and a word of requests:
//!
//! ```text
//!   PREEMPT   please yield; whoever finds the M outside its bracket may take the P
//!   LOST      the P was taken while the M ran user code
//!   SYSCALL   the M gave the P up itself (entersyscall)
//! ```
//!
//! Protocol
//! - *enter*: `in_rt = 1`; compiler fence; load the word. Zero: the P is ours until *leave*.
//!   PREEMPT: we must [`claim`](Attention::claim) it back by a compare-exchange, because a taker may have looked at
//!   `in_rt` just before we set it. LOST or SYSCALL: no P.
//! - *leave*: `in_rt = 0`, release.
//! - *take*: set PREEMPT; barrier on all threads; if `in_rt == 0`, compare-exchange PREEMPT to LOST.
//!
//! Why it is safe. The taker's barrier falls, in the M's program order, before or after the M's
//! store to `in_rt`. After: the taker reads 1 and gives up (or a later 0: the bracket was left).
//! Before: the M's load of the word comes after the barrier too, so it sees PREEMPT and takes
//! part in the compare-exchange, which only one of both wins. The M pays no fence for this: that is
//! what `membarrier(2)` is for. Under loom both sides use a SeqCst fence instead.
//!
//! Takers are serialised by a lock, and so is whoever only requests: a taker's compare-exchange must not meet
//! a later request than his own, made when the M has another P. SYSCALL is set and cleared by the M alone.

use crate::sync::atomic::{AtomicU32, Ordering, fence};

/// Please yield.
pub(crate) const PREEMPT: u32 = 1;
/// The P was taken.
pub(crate) const LOST: u32 = 2;
/// The P was given up.
pub(crate) const SYSCALL: u32 = 4;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Attention {
    in_rt: AtomicU32,
    word: AtomicU32,
}

impl Attention {
    pub(crate) fn new() -> Self {
        Self {
            in_rt: AtomicU32::new(0),
            word: AtomicU32::new(0),
        }
    }

    /// Of an M that has no P yet: what runs on it meanwhile must not find one.
    #[cfg(not(loom))]
    pub(crate) fn without_p() -> Self {
        let new = Self::new();
        new.give_up();
        new
    }

    /// Opens the bracket and returns the requests. By the M.
    #[inline(always)]
    pub(crate) fn enter(&self) -> u32 {
        debug_assert_eq!(
            self.in_rt.load(Ordering::Relaxed),
            0,
            "the bracket does not nest"
        );
        self.in_rt.store(1, Ordering::Relaxed);
        #[cfg(not(loom))]
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
        #[cfg(loom)]
        fence(Ordering::SeqCst);
        self.word.load(Ordering::Relaxed)
    }

    /// Closes the bracket. By the M.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        debug_assert_eq!(self.in_rt.load(Ordering::Relaxed), 1, "leave without enter");
        self.in_rt.store(0, Ordering::Release);
    }

    /// Keeps the P although PREEMPT was seen, by clearing the request. False: it is lost.
    /// By the M, inside its bracket.
    pub(crate) fn claim(&self) -> bool {
        match self
            .word
            .compare_exchange(PREEMPT, 0, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => true,
            Err(now) => now == 0,
        }
    }

    /// The requests, without the bracket. By anybody; a hint unless the caller is the M.
    #[inline]
    pub(crate) fn peek(&self) -> u32 {
        self.word.load(Ordering::Relaxed)
    }

    /// Whether the M is inside its bracket: a hint.
    pub(crate) fn in_rt(&self) -> bool {
        self.in_rt.load(Ordering::Relaxed) != 0
    }

    /// Asks the M to yield. By a taker.
    pub(crate) fn request(&self) {
        // Acquire: a zero that `regained` wrote brings `in_rt = 1` with it.
        let _ = self
            .word
            .compare_exchange(0, PREEMPT, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Takes the P of an M that was asked to yield; true if the P is the taker's now. `barrier`
    /// executes a full barrier on all threads; if it cannot, nothing is taken.
    pub(crate) fn take(&self, barrier: impl FnOnce() -> bool) -> bool {
        if self.word.load(Ordering::Relaxed) != PREEMPT {
            return false;
        }
        if !barrier() {
            return false;
        }
        fence(Ordering::SeqCst);
        // Acquire: pairs with leave's release, so what the M did to its P is visible here.
        self.in_rt.load(Ordering::Acquire) == 0
            && self
                .word
                .compare_exchange(PREEMPT, LOST, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// The M gives its P up by itself. By the M, inside its bracket, with no request pending.
    #[inline]
    pub(crate) fn give_up(&self) {
        self.word.store(SYSCALL, Ordering::Relaxed);
    }

    /// The M's thread is all that is left of the process, and may not go on as an M.
    #[cfg(not(loom))]
    pub(crate) fn lose(&self) {
        self.word.store(LOST, Ordering::Relaxed);
    }

    /// The M has a P again. By the M, after it opened its bracket: a taker that finds the word zero
    /// must find `in_rt` set too, or it could take the P before its new bearer looks.
    #[inline]
    pub(crate) fn regained(&self) {
        debug_assert!(self.in_rt());
        self.word.store(0, Ordering::Release);
    }

    /// The M has a P again and has done with it, without ever opening its bracket: as long as the word
    /// said SYSCALL nobody could take that P. By the M.
    #[inline]
    pub(crate) fn returned(&self) {
        debug_assert!(!self.in_rt());
        self.word.store(0, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Attention, LOST, PREEMPT, SYSCALL};

    #[test]
    fn a_p_is_taken_only_outside_the_bracket_and_after_a_request() {
        let a = Attention::new();
        assert!(!a.take(|| true), "not asked");
        a.request();
        assert_eq!(a.enter(), PREEMPT);
        assert!(!a.take(|| true), "inside");
        a.leave();
        assert!(!a.take(|| false), "no barrier, no taking");
        assert!(a.take(|| true));
        assert_eq!(a.enter(), LOST);
        assert!(!a.claim());
    }

    #[test]
    fn a_claimed_request_cannot_be_taken() {
        let a = Attention::new();
        a.request();
        assert_eq!(a.enter(), PREEMPT);
        assert!(a.claim());
        a.leave();
        assert!(!a.take(|| true));
    }

    #[test]
    fn an_m_in_a_syscall_is_not_asked() {
        let a = Attention::new();
        a.enter();
        a.give_up();
        a.leave();
        a.request();
        assert_eq!(a.peek(), SYSCALL);
        assert!(!a.take(|| true));
        assert_eq!(a.enter(), SYSCALL);
        a.regained();
        a.leave();
        assert_eq!(a.enter(), 0);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{Attention, LOST, PREEMPT};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::{Ordering, fence};
    use loom::thread;

    /// P retake: the M inside its bracket and a taker never touch the P at once.
    #[test]
    fn loom_p_retake_is_exclusive() {
        loom::model(|| {
            let s = Arc::new((Attention::new(), UnsafeCell::new(0u32)));
            let taker = {
                let s = s.clone();
                thread::spawn(move || {
                    s.0.request();
                    let barrier = || {
                        fence(Ordering::SeqCst);
                        true
                    };
                    if s.0.take(barrier) {
                        // SAFETY: the protocol under test; loom reports a race.
                        s.1.with_mut(|p| unsafe { *p += 10 });
                        true
                    } else {
                        false
                    }
                })
            };
            let mut lost = false;
            for _ in 0..2 {
                let seen = s.0.enter();
                let ours = match seen {
                    0 => true,
                    PREEMPT => s.0.claim(),
                    _ => false,
                };
                if ours {
                    // SAFETY: as above.
                    s.1.with_mut(|p| unsafe { *p += 1 });
                } else {
                    assert_eq!(s.0.peek(), LOST);
                    lost = true;
                }
                s.0.leave();
            }
            let taken = taker.join().unwrap();
            assert!(taken || !lost, "lost means taken");
        });
    }
}
