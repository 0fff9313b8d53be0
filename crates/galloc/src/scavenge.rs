//! The scavenger (Go's `mgcscavenge.go`): gives free memory back to the system, at leisure.
//!
//! Go keeps 10% more than the heap had at its last collection, and spends 1% of one CPU on giving
//! back the rest, highest addresses first. There are no collections here; windows of 250 ms take
//! their place. What the heap needed at its fullest in this window or the last, and a tenth more, is
//! kept. So a program that allocates and frees in cycles shorter than that keeps its memory, and one
//! that falls idle is down to what it uses half a second later, plus the pace.
//!
//! The work is done by a thread, started when 2 MiB first lie free, which has all signals blocked, a
//! small stack, and never allocates through galloc. While there is nothing to give back it sleeps on
//! a futex with no timeout. Where a thread is not wanted, `inline` mode does a little of the same
//! work in calls that free pages (and then gives nothing back while nobody frees). Mode `off` leaves
//! it to [`release`](crate::release) and the memory limit.

use crate::mcentral::CENTRAL;
use crate::mheap::{self, HEAP};
use crate::sizeclasses::PAGE_SIZE;
use crate::{slots, sys};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// How memory is given back. See [`set_scavenger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Scavenger {
    /// By a background thread, started when there is something to do. The default.
    Thread,
    /// A little at a time, by threads that free.
    Inline,
    /// Not by itself.
    Off,
}

static MODE: AtomicU8 = AtomicU8::new(Scavenger::Thread as u8);
/// Of the thread: NONE, RUNS, SLEEPS. A futex word.
static STATE: AtomicU32 = AtomicU32::new(NONE);
const NONE: u32 = 0;
const RUNS: u32 = 1;
const SLEEPS: u32 = 2;

/// Soft limit in bytes; 0 is none.
static LIMIT: AtomicUsize = AtomicUsize::new(0);
/// The peak of the last window, in pages, and when it ended.
static LAST_PEAK: AtomicUsize = AtomicUsize::new(0);
static LAST_TIME: AtomicU64 = AtomicU64::new(0);

/// Dirty pages that are always kept: 1 MiB.
const KEEP: usize = 128;
/// Dirty pages that get the scavenger going: 2 MiB.
const WAKE: usize = 256;
const WINDOW_NS: u64 = 250_000_000;
/// Pages given back at a time by the thread, and inline.
const BATCH: usize = 512;
const INLINE_BATCH: usize = 64;

/// Chooses how memory is given back from now on. The environment variable `GALLOC_SCAVENGER`
/// (`thread`, `inline` or `off`) is what a program starts with. A running thread then stops working,
/// but does not exit.
///
/// ```
/// galloc::set_scavenger(galloc::Scavenger::Inline);
/// ```
pub fn set_scavenger(mode: Scavenger) {
    MODE.store(mode as u8, Ordering::Relaxed);
}

/// Sets a soft limit on the heap's resident bytes, 0 for none, and returns the previous one. While
/// the heap is above it, threads that allocate pages first give free ones back, whatever the mode of
/// the scavenger. Allocations never fail for it. `GALLOC_MEMORY_LIMIT` (bytes, or with a suffix
/// `KiB`, `MiB`, `GiB`) is what a program starts with.
///
/// ```
/// galloc::set_memory_limit(512 << 20);
/// assert_eq!(galloc::set_memory_limit(0), 512 << 20);
/// ```
pub fn set_memory_limit(bytes: usize) -> usize {
    LIMIT.swap(bytes, Ordering::Relaxed)
}

/// Reads the environment. Called once, before the first allocation.
pub(crate) fn configure() {
    match sys::getenv(c"GALLOC_SCAVENGER") {
        Some(b"inline") => set_scavenger(Scavenger::Inline),
        Some(b"off") => set_scavenger(Scavenger::Off),
        _ => {}
    }
    if let Some(bytes) = sys::getenv(c"GALLOC_MEMORY_LIMIT").and_then(parse_bytes) {
        set_memory_limit(bytes);
    }
    if sys::getenv(c"GALLOC_HUGE_PAGES") == Some(b"1") {
        HEAP.lock().huge_pages = true;
    }
}

fn parse_bytes(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, suffix) = text.split_at(digits);
    let unit = match suffix {
        b"" | b"B" => 0,
        b"KiB" => 10,
        b"MiB" => 20,
        b"GiB" => 30,
        _ => return None,
    };
    let number: usize = core::str::from_utf8(number).ok()?.parse().ok()?;
    number.checked_mul(1 << unit)
}

/// After pages went free; no lock is held.
#[inline]
pub(crate) fn after_free() {
    if mheap::dirty_pages() > WAKE {
        poke();
    }
}

/// After pages were taken; no lock is held.
#[inline]
pub(crate) fn after_alloc() {
    let limit = LIMIT.load(Ordering::Relaxed);
    if limit != 0 {
        enforce(limit);
    }
}

#[cold]
fn enforce(limit: usize) {
    loop {
        let over = {
            let c = HEAP.lock().counts;
            ((c.in_use + c.dirty) * PAGE_SIZE).saturating_sub(limit)
        };
        let pages = over.div_ceil(PAGE_SIZE).min(BATCH);
        if pages == 0 || mheap::scavenge_one(pages, true) == 0 {
            return;
        }
    }
}

#[cold]
fn poke() {
    match MODE.load(Ordering::Relaxed) {
        m if m == Scavenger::Thread as u8 => match STATE.load(Ordering::Relaxed) {
            RUNS => {}
            SLEEPS => {
                let won = STATE.compare_exchange(SLEEPS, RUNS, Ordering::Relaxed, Ordering::Relaxed);
                if won.is_ok() {
                    sys::futex_wake(&STATE);
                }
            }
            _ => {
                let won = STATE.compare_exchange(NONE, RUNS, Ordering::Relaxed, Ordering::Relaxed);
                if won.is_ok() && !start() {
                    set_scavenger(Scavenger::Inline);
                }
            }
        },
        m if m == Scavenger::Inline as u8 => inline_step(),
        _ => {}
    }
}

/// Starts the thread. Its creation may allocate, on this thread, which is why no lock is held.
fn start() -> bool {
    // SAFETY: plain calls on locals initialised by them. The mask is restored before returning.
    unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut old = MaybeUninit::<libc::sigset_t>::uninit();
        let mut attr = MaybeUninit::<libc::pthread_attr_t>::uninit();
        let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
        if libc::pthread_attr_init(attr.as_mut_ptr()) != 0 {
            return false;
        }
        libc::pthread_attr_setstacksize(attr.as_mut_ptr(), 64 << 10);
        libc::pthread_attr_setdetachstate(attr.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED);
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
        let made = libc::pthread_create(thread.as_mut_ptr(), attr.as_ptr(), run, ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut());
        libc::pthread_attr_destroy(attr.as_mut_ptr());
        made == 0
    }
}

/// The thread: give back, pace, look around once per window, sleep when there is nothing to do.
extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: names this thread.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"galloc-scavenge".as_ptr()) };
    let mut calm = 0;
    loop {
        let now = sys::nanotime();
        let new_window = roll_window(now);
        if new_window {
            gather();
        }
        if MODE.load(Ordering::Relaxed) == Scavenger::Thread as u8
            && excess() > 0
            && mheap::scavenge_one(excess().min(BATCH), false) > 0
        {
            calm = 0;
            // 1% of one CPU: rest 99 times as long as the work took.
            nap((sys::nanotime() - now).saturating_mul(99).min(WINDOW_NS));
            continue;
        }
        calm = if new_window { calm + 1 } else { calm };
        if calm < 4 {
            nap(WINDOW_NS);
            continue;
        }
        calm = 0;
        STATE.store(SLEEPS, Ordering::Relaxed);
        if mheap::dirty_pages() <= WAKE || excess() == 0 {
            sys::futex_wait(&STATE, SLEEPS, None);
        }
        STATE.store(RUNS, Ordering::Relaxed);
    }
}

fn nap(ns: u64) {
    let t = libc::timespec {
        tv_sec: 0,
        tv_nsec: ns as _,
    };
    // SAFETY: t outlives the call. Signals are blocked.
    unsafe { libc::nanosleep(&t, ptr::null_mut()) };
}

/// Ends the window if it is over: its peak becomes the last one's.
fn roll_window(now: u64) -> bool {
    if now.saturating_sub(LAST_TIME.load(Ordering::Relaxed)) < WINDOW_NS {
        return false;
    }
    LAST_TIME.store(now, Ordering::Relaxed);
    let counts = &mut HEAP.lock().counts;
    LAST_PEAK.store(counts.peak, Ordering::Relaxed);
    counts.peak = counts.in_use;
    true
}

/// Dirty pages beyond what recent use suggests to keep.
fn excess() -> usize {
    let c = HEAP.lock().counts;
    let peak = c.peak.max(LAST_PEAK.load(Ordering::Relaxed));
    let goal = peak + peak / 10 + KEEP;
    (c.in_use + c.dirty).saturating_sub(goal).min(c.dirty)
}

/// Brings free memory that lies about in caches and central lists to the heap.
fn gather() {
    slots::each(|cache| cache.steal_idle());
    slots::drain_idle();
    CENTRAL.iter().for_each(|c| c.sweep());
}

fn inline_step() {
    let now = sys::nanotime();
    if roll_window(now) {
        CENTRAL.iter().for_each(|c| c.sweep());
    }
    let pages = excess().min(INLINE_BATCH);
    if pages > 0 {
        mheap::scavenge_one(pages, false);
    }
}

/// Gives all free memory back to the system now, this thread's cache and those of idle slots
/// included, and returns how many bytes that was.
///
/// ```
/// drop(vec![1u8; 1 << 20]);
/// galloc::release();
/// ```
pub fn release() -> usize {
    if let Some(cache) = slots::current() {
        cache.flush();
    }
    gather();
    let mut bytes = 0;
    loop {
        match mheap::scavenge_one(BATCH, true) {
            0 => return bytes,
            n => bytes += n,
        }
    }
}

/// After `fork`, in the child: the thread did not come along.
pub(crate) fn in_child() {
    STATE.store(NONE, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_and_without_units() {
        assert_eq!(parse_bytes(b"4096"), Some(4096));
        assert_eq!(parse_bytes(b"64MiB"), Some(64 << 20));
        assert_eq!(parse_bytes(b"2GiB"), Some(2 << 30));
        assert_eq!(parse_bytes(b"12 parsecs"), None);
        assert_eq!(parse_bytes(b"99999999999GiB"), None);
        assert_eq!(parse_bytes(b""), None);
    }
}
