//! Taking a running P: the taker's side of [`crate::attention`], used by sysmon and stop-the-world.

use crate::runtime2::{M, P};
use crate::p_status::PStatus;
use crate::sys;
use core::sync::atomic::Ordering;
use parking_lot::Mutex;

/// Takers are serialised, as the attention word's protocol asks.
static TAKE: Mutex<()> = Mutex::new(());

/// The M that holds a P, at one moment.
pub(crate) fn m_of(p: &P) -> Option<&'static M> {
    // SAFETY: null or an M record, which is never freed.
    unsafe { p.m.load(Ordering::Acquire).as_ref() }
}

/// Takes a running P from under an M that runs user code. True: the P is `Pidle` and the caller's.
pub(crate) fn try_take(p: &'static P) -> bool {
    let _one = TAKE.lock();
    let Some(m) = m_of(p) else { return false };
    m.attention.request();
    // Checked after the request: an M that gives its P up clears the request first, so as long as
    // the request stands, this is the M's P.
    if !core::ptr::eq(p.m.load(Ordering::SeqCst), m) || p.status() != PStatus::Running {
        return false;
    }
    if !m.attention.take(sys::membarrier) {
        return false;
    }
    p.m.store(core::ptr::null_mut(), Ordering::Release);
    p.set_status(PStatus::Idle);
    true
}
