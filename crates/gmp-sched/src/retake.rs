//! Taking a running P: the taker's side of [`crate::attention`], used by sysmon and stop-the-world.
//!
//! **Threads in the background.** A thread that computes on without its P runs beside the Ps, and not
//! on one. So sysmon sends it to the background: those on Ps go first. It may come
//! forward again only if the kernel lets it, which an unprivileged process's threads may not. Then
//! the thread retires: its goroutine goes on on another, unless it is pinned, and it ends.

use crate::bracket::here;
use crate::runtime2::{M, P};
use crate::p_status::PStatus;
use crate::sys;
use core::sync::atomic::Ordering;
use parking_lot::{Mutex, MutexGuard};

/// Takers are serialised, as the attention word's protocol asks.
static TAKE: Mutex<()> = Mutex::new(());

/// The M that holds a P, at one moment.
pub(crate) fn m_of(p: &P) -> Option<&'static M> {
    // SAFETY: null or an M record, which is never freed.
    unsafe { p.m.load(Ordering::SeqCst).as_ref() }
}

/// Takes a running P from under an M that runs user code. True: the P is `Pidle` and the caller's.
pub(crate) fn try_take(p: &'static P) -> bool {
    take(&TAKE.lock(), p).is_some()
}

/// [`try_take`], and the M that computes on goes to the background. In one step for the M: when it
/// finds its P gone, [`come_forward`] waits until both are done.
pub(crate) fn take_from_computing(p: &'static P, m: &'static M) -> bool {
    let one = TAKE.lock();
    let Some(from) = take(&one, p) else { return false };
    // The P may have changed hands since it was looked at.
    if core::ptr::eq(from, m)
        && let Some(before) = sys::set_background(m.tid.load(Ordering::Relaxed))
    {
        m.foreground.set(Some(before));
        m.background.store(true, Ordering::Relaxed);
    }
    true
}

/// By an M that found its P gone: false if it must stay in the background, and so has to retire.
#[cold]
pub(crate) fn come_forward(m: &'static M) -> bool {
    let _one = TAKE.lock();
    if m.background.load(Ordering::Relaxed)
        && let Some(before) = m.foreground.get()
        && sys::set_sched_attr(m.tid.load(Ordering::Relaxed), &before)
    {
        m.background.store(false, Ordering::Relaxed);
    }
    !m.background.load(Ordering::Relaxed)
}

/// Asks an M to yield. Not while somebody else takes: he could mistake this request for his own, and what he
/// takes may be another P by now.
pub(crate) fn request(m: &M) {
    let _one = TAKE.lock();
    m.attention.request();
}

/// Whether the calling thread is an M that was sent to the background.
pub(crate) fn in_background() -> bool {
    here().and_then(|s| s.m.get()).is_some_and(|m| m.background.load(Ordering::Relaxed))
}

fn take(_one: &MutexGuard<'_, ()>, p: &'static P) -> Option<&'static M> {
    let m = p.word().take_running(|| m_of(p), |m| &m.attention, sys::membarrier)?;
    p.m.store(core::ptr::null_mut(), Ordering::Release);
    p.set_status(PStatus::Idle);
    Some(m)
}

#[cfg(test)]
mod tests {
    use super::{TAKE, request};
    use crate::attention::PREEMPT;
    use crate::records;
    use crate::sys;
    use core::sync::atomic::{AtomicI32, Ordering};
    use std::thread;

    #[test]
    fn nobody_asks_while_somebody_takes() {
        let m = records::new_m();
        // It has a P.
        m.attention.enter();
        m.attention.regained();
        m.attention.leave();
        static TID: AtomicI32 = AtomicI32::new(0);
        let taker = TAKE.lock();
        let asks = thread::spawn(|| {
            TID.store(sys::gettid(), Ordering::SeqCst);
            request(m);
        });
        // Until it waits, or has come through.
        while !asks.is_finished() && sys::thread_state(TID.load(Ordering::SeqCst)) != Some(b'S') {
            thread::yield_now();
        }
        assert_eq!(m.attention.peek(), 0, "a request that the taker could mistake for his own");
        drop(taker);
        asks.join().unwrap();
        assert_eq!(m.attention.peek(), PREEMPT);
    }
}
