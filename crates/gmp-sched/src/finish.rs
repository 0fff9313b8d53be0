//! The end of a goroutine, and of one poll of a future (`goexit0` in Go).

use crate::bracket::Rt;
use crate::foreign::quietly;
use crate::join_word::Finished;
use crate::park_word::Waits;
use crate::runtime2::G;
use crate::status::GStatus;
use crate::wait_reason::WaitReason;
use crate::{idle, park, queues, records};
use core::task::Waker;

/// What is left to do outside the bracket, because it runs code that is not ours.
#[must_use]
pub(crate) enum After {
    /// Drop the result, then free the record.
    Drop(&'static G),
    /// Wake who waits for it.
    Wake(Waker),
}

impl After {
    pub(crate) fn run(self) {
        match self {
            Self::Drop(g) => {
                // SAFETY: handle and runner are both done; the record is ours.
                unsafe { (g.task().drop_result)(g) };
                records::put_g_foreign(g);
            }
            Self::Wake(waker) => {
                // Its panic has nobody to be reported to.
                quietly(|| waker.wake());
            }
        }
    }
}

/// Inside the bracket, after the goroutine ran: ends it if it `finished`, else lets it wait.
#[inline]
pub(crate) fn finish(rt: &Rt, g: &'static G, finished: bool) -> Option<After> {
    if !finished {
        if !wait_for_wake(g) {
            queues::runq_put(rt, g);
        }
        return None;
    }
    rt.p().goroutines.end();
    match end(g) {
        Finished::Handle => None,
        Finished::Detached if g.task().needs_drop => Some(After::Drop(g)),
        Finished::Detached => {
            records::put_g(rt, g);
            None
        }
        Finished::Wake(words) => {
            let waker = park::waker_from_words(words);
            match park::goroutine_of(&waker) {
                Some(waiter) => {
                    park::unpark_in(rt, waiter);
                    None
                }
                None => Some(After::Wake(waker)),
            }
        }
    }
}

/// As [`finish`], on a thread whose P was taken.
pub(crate) fn finish_without_p(g: &'static G, finished: bool) {
    let sched = g.sched();
    if !finished {
        if !wait_for_wake(g) {
            idle::inject(sched, g);
        }
        return;
    }
    sched.goroutines.end_shared();
    match end(g) {
        Finished::Handle => {}
        Finished::Detached => After::Drop(g).run(),
        Finished::Wake(words) => After::Wake(park::waker_from_words(words)).run(),
    }
}

/// A future that returned `Pending`: false (and runnable) if it was woken meanwhile.
#[inline]
fn wait_for_wake(g: &'static G) -> bool {
    g.set_reason(WaitReason::Future);
    g.set_status(GStatus::Waiting);
    if g.park.publish(Waits::Queue) {
        return true;
    }
    g.set_status(GStatus::Runnable);
    false
}

#[inline]
fn end(g: &'static G) -> Finished {
    g.set_status(GStatus::Dead);
    g.park.end();
    // The record may be another goroutine's as soon as this returns, unless it says Detached.
    g.join.finish()
}
