//! Giving memory back: Go's `mgcscavenge.go`.
//!
//! A thread, started when first wanted, wakes while more free memory is held than a tenth of what
//! is in use and 4 MiB, which is Go's goal for a heap that stopped growing, and then releases every
//! 100 ms the larger of 4 MiB and a quarter of the excess, highest addresses first. A program that
//! needs the memory again within a second finds much of it; of 400 MiB free, twenty steps leave under
//! 10 by this arithmetic. Eagerly discarding at each free was rejected: it costs a growing `Vec` ten
//! times its time.
//!
//! A tick also empties the caches that no thread leases and clears the shelves of large objects of
//! what has lain there for a tick; the thread goes to sleep when a tick found nothing to do.
//!
//! The thread is made by `pthread_create` with all signals blocked and a small stack, allocates
//! nothing through this crate, and sleeps on a futex without a timeout when nothing is to do. If it
//! cannot be made, the thread that frees does one step itself.
//!
//! Pages being discarded are marked in use and the heap lock is not held meanwhile.

use crate::lock::Mutex;
use crate::mheap::{HEAP, Heap};
use crate::sizeclass::PAGE_SIZE;
use crate::{mcentral, slot, sys};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// Free memory always kept.
const KEEP: usize = (4 << 20) / PAGE_SIZE;
/// Least released at a time.
const STEP: usize = (4 << 20) / PAGE_SIZE;
/// Most discarded by one system call, and so the longest a run is out of use.
const RUN: usize = (16 << 20) / PAGE_SIZE;
const TICK_MS: i64 = 100;

/// One releases at a time.
pub(crate) static SCAVENGE: Mutex<()> = Mutex::new(());

const OFF: u32 = 0;
const ASLEEP: u32 = 1;
const AWAKE: u32 = 2;
/// What the thread does: OFF (there is none), ASLEEP or AWAKE. Futex word.
static THREAD: AtomicU32 = AtomicU32::new(OFF);
static ENABLED: AtomicBool = AtomicBool::new(true);
/// Soft limit in bytes; `usize::MAX` for none.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Reads `GALLOC_MEMORY_LIMIT` and `GALLOC_SCAVENGER`, once.
pub(crate) fn configure() {
    // SAFETY: the names are C strings, and what comes back is null or one. The environment is read
    // once, when the process first allocates.
    unsafe {
        let limit = libc::getenv(c"GALLOC_MEMORY_LIMIT".as_ptr());
        if !limit.is_null()
            && let Some(n) = parse_limit(core::ffi::CStr::from_ptr(limit).to_bytes())
        {
            LIMIT.store(n, Ordering::Relaxed);
        }
        let on = libc::getenv(c"GALLOC_SCAVENGER".as_ptr());
        if !on.is_null() && core::ffi::CStr::from_ptr(on) == c"off" {
            ENABLED.store(false, Ordering::Relaxed);
        }
    }
}

/// Bytes, or with the suffix KiB, MiB or GiB multiples of them, as Go's `GOMEMLIMIT`.
fn parse_limit(text: &[u8]) -> Option<usize> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let unit = match &text[digits..] {
        b"" | b"B" => 1,
        b"KiB" => 1 << 10,
        b"MiB" => 1 << 20,
        b"GiB" => 1 << 30,
        _ => return None,
    };
    core::str::from_utf8(&text[..digits])
        .ok()?
        .parse::<usize>()
        .ok()?
        .checked_mul(unit)
}

/// Sets the soft limit on the memory the heap occupies, in bytes; `usize::MAX` for none. Returns
/// the old one.
///
/// Whenever the heap passes it, free memory goes back at once instead of later. What is in use is
/// never refused. The environment variable `GALLOC_MEMORY_LIMIT` sets it too (`512MiB`).
pub fn set_memory_limit(bytes: usize) -> usize {
    LIMIT.swap(bytes, Ordering::Relaxed)
}

/// Turns the scavenger off or on; returns what it was. `GALLOC_SCAVENGER=off` does it from outside.
///
/// Off, memory goes back through [`release`] and the memory limit alone.
pub fn set_scavenger(on: bool) -> bool {
    ENABLED.swap(on, Ordering::Relaxed)
}

/// Gives back all free memory now: what this thread's cache, caches without a thread, the central
/// lists and the page heap hold. Returns the bytes given back.
///
/// One system call per free run of pages.
///
/// ```
/// drop(vec![1u8; 1 << 20]);
/// galloc::release();
/// ```
pub fn release() -> usize {
    slot::flush_own();
    slot::flush_idle();
    slot::clear_shelves();
    mcentral::sweep();
    scavenge(usize::MAX) * PAGE_SIZE
}

fn excess(heap: &Heap) -> usize {
    heap.free_dirty.saturating_sub(KEEP + heap.used / 10)
}

/// Whether the thread is to be woken. Heap lock.
pub(crate) fn is_wanted(heap: &Heap) -> bool {
    excess(heap) > 0 && is_asleep()
}

/// The thread does not run, and may.
pub(crate) fn is_asleep() -> bool {
    THREAD.load(Ordering::SeqCst) != AWAKE && ENABLED.load(Ordering::Relaxed)
}

/// After memory was taken: keeps the soft limit.
pub(crate) fn after_alloc() {
    let limit = LIMIT.load(Ordering::Relaxed);
    if limit == usize::MAX {
        return;
    }
    let heap = HEAP.lock();
    let occupied = (heap.used + heap.free_dirty) * PAGE_SIZE + heap.huge_bytes;
    let (over, free) = (occupied.saturating_sub(limit), heap.free_dirty);
    drop(heap);
    if over > 0 && free == 0 {
        slot::clear_shelves();
    }
    if over > 0 {
        scavenge(over.div_ceil(PAGE_SIZE).max(STEP));
    }
}

/// Gives back up to `limit` free dirty pages; returns how many.
fn scavenge(limit: usize) -> usize {
    let _one = SCAVENGE.lock();
    let mut done = 0;
    let mut i = HEAP.lock().len;
    while done < limit && i > 0 {
        let mut heap = HEAP.lock();
        let most = RUN.min(limit - done);
        let Some((at, n)) = heap.pages(i - 1, |p| p.find_dirty(most)) else {
            i -= 1;
            continue;
        };
        heap.pages(i - 1, |p| p.alloc(at, n));
        heap.free_dirty -= n;
        // SAFETY: the record is valid.
        let base = unsafe { (*heap.arenas[i - 1]).base } + at * PAGE_SIZE;
        drop(heap);
        // SAFETY: the pages are free, and marked so that nobody takes them now.
        let clean = unsafe { sys::discard(base, n * PAGE_SIZE) };
        let mut heap = HEAP.lock();
        heap.pages(i - 1, |p| p.free(at, n, !clean));
        if !clean {
            // Locked memory: nothing will go back.
            heap.free_dirty += n;
            break;
        }
        heap.released += (n * PAGE_SIZE) as u64;
        done += n;
    }
    done
}

/// One tick's work; false if there was none.
fn step() -> bool {
    slot::flush_idle();
    let shelved = slot::age_shelves();
    mcentral::sweep();
    let excess = excess(&HEAP.lock());
    scavenge(excess.min(STEP.max(excess / 4))) > 0 || shelved
}

/// Wakes or starts the thread. No lock is held.
#[cold]
pub(crate) fn wake() {
    if !slot::is_leased() {
        // The caller may hold the shared cache, and making a thread may allocate.
        return;
    }
    sys::keep_errno(|| match THREAD.swap(AWAKE, Ordering::AcqRel) {
        // SAFETY: wakes whoever waits on the word.
        ASLEEP => unsafe {
            libc::syscall(
                libc::SYS_futex,
                THREAD.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            );
        },
        OFF if !start() => {
            THREAD.store(OFF, Ordering::Release);
            step();
        }
        _ => {}
    });
}

fn start() -> bool {
    // SAFETY: the attributes and masks are initialised before use; the thread gets no argument. The
    // caller's signal mask is put back.
    unsafe {
        let mut attr = core::mem::zeroed();
        if libc::pthread_attr_init(&mut attr) != 0 {
            return false;
        }
        libc::pthread_attr_setstacksize(&mut attr, 128 << 10);
        libc::pthread_attr_setdetachstate(&mut attr, libc::PTHREAD_CREATE_DETACHED);
        let (mut all, mut before) = (core::mem::zeroed(), core::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let mut id = core::mem::zeroed();
        let failed = libc::pthread_create(&mut id, &attr, run, ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        libc::pthread_attr_destroy(&mut attr);
        failed == 0
    }
}

extern "C" fn run(_: *mut libc::c_void) -> *mut libc::c_void {
    let tick = libc::timespec {
        tv_sec: 0,
        tv_nsec: TICK_MS * 1_000_000,
    };
    loop {
        // SAFETY: sleeps; the word lives for ever.
        unsafe { libc::nanosleep(&tick, ptr::null_mut()) };
        if ENABLED.load(Ordering::Relaxed) && step() {
            continue;
        }
        if THREAD
            .compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::Relaxed)
            .is_err()
        {
            continue;
        }
        // A free between the step and the sleep saw AWAKE and did not wake: look again.
        if ENABLED.load(Ordering::Relaxed) && (excess(&HEAP.lock()) > 0 || slot::age_shelves()) {
            THREAD.store(AWAKE, Ordering::Relaxed);
            continue;
        }
        while THREAD.load(Ordering::Acquire) == ASLEEP {
            // SAFETY: as above; woken for nothing, it looks again.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    THREAD.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    ASLEEP,
                    ptr::null::<libc::timespec>(),
                );
            }
        }
    }
}

/// In a child of `fork`, which has one thread.
pub(crate) fn after_fork() {
    THREAD.store(OFF, Ordering::Relaxed);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_go_writes_them() {
        assert_eq!(parse_limit(b"512MiB"), Some(512 << 20));
        assert_eq!(parse_limit(b"7"), Some(7));
        assert_eq!(parse_limit(b"2GiB"), Some(2 << 30));
        for wrong in [&b""[..], b"MiB", b"1MB", b"-1", b"99999999999999999GiB"] {
            assert_eq!(parse_limit(wrong), None);
        }
    }
}
