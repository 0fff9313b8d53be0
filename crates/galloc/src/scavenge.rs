//! Giving memory back: Go's `mgcscavenge.go`.
//!
//! A thread, started when first wanted, wakes while more free memory is held than a tenth of what
//! is in use and 4 MiB, which is Go's goal for a heap that stopped growing, and then releases every
//! 100 ms the larger of 4 MiB and a quarter of the excess, highest addresses first. A program that
//! needs the memory again within a second finds much of it; of 400 MiB free, twenty steps leave under
//! 10 by this arithmetic. Eagerly discarding at each free was rejected: it costs a growing `Vec` ten
//! times its time.
//!
//! A tick also empties the caches that no thread leases, sweeps the central lists, and clears the shelves of
//! large objects of what has lain there for a tick; the thread goes to sleep when a tick found nothing to do.
//! What is freed into spans that no thread uses does not show as free memory until that sweep, so each cache
//! that has freed 1 MiB into spans of others says so ([`strayed`]).
//!
//! The thread is made by `pthread_create` with all signals blocked and a small stack, allocates
//! nothing through this crate, and sleeps on a futex without a timeout when nothing is to do. If it
//! cannot be made, or by choice ([`Scavenger::Inline`]), whoever frees does a tick's work, not more
//! often than the thread would. A thread of the program's own may be the host instead
//! ([`Scavenger::Hosted`]): it is called as the thread is woken, and goes the same way in shorter steps.
//!
//! Pages being discarded are marked in use and the heap lock is not held meanwhile. A run that is
//! longer than what is to be discarded is cut at a huge page's edge, as Go cuts it, so as not to split
//! one that stays half in use. Linux refuses to discard locked pages (`mlock`): such a run is tried again in
//! pieces, and what is refused then does not count as excess, until some of it is used again or a walk
//! of all arenas, which more free memory or [`release`] brings about, finds it unlocked.

use crate::lock::Mutex;
use crate::mheap::{HEAP, Heap};
use crate::pagealloc::{ARENA_PAGES, HUGE_PAGES};
use crate::sizeclass::PAGE_SIZE;
use crate::{fork, mcentral, memlimit, slot, sys};
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

/// Free memory always kept.
const KEEP: usize = (4 << 20) / PAGE_SIZE;
/// Least released at a time.
pub(crate) const STEP: usize = (4 << 20) / PAGE_SIZE;
/// Most discarded by one system call, and so the longest a run is out of use.
const RUN: usize = (16 << 20) / PAGE_SIZE;
/// What is tried of a run that was refused, and so what a locked page keeps of its neighbours.
const PIECE: usize = HUGE_PAGES;
const TICK_MS: u64 = 100;
const TICK: Duration = Duration::from_millis(TICK_MS);

/// One releases at a time.
pub(crate) static SCAVENGE: Mutex<()> = Mutex::new(());

/// Held by who changes `MODE` and `CALL_HOST`, so that both change or none. Read without it.
pub(crate) static CHOICE: Mutex<()> = Mutex::new(());

const OFF: u32 = 0;
const ASLEEP: u32 = 1;
const AWAKE: u32 = 2;
/// What the thread does: OFF (there is none), ASLEEP or AWAKE. Futex word.
static THREAD: AtomicU32 = AtomicU32::new(OFF);
/// A [`Scavenger`].
static MODE: AtomicU32 = AtomicU32::new(Scavenger::Thread as u32);
/// What the host does: ASLEEP, or AWAKE from its call until a step finds nothing left to do.
static HOST: AtomicU32 = AtomicU32::new(ASLEEP);
/// How to call the host: a `fn()`, or null.
static CALL_HOST: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// When the last tick inline or of a host, or try to make the thread, was, in milliseconds of the monotonic clock.
static TICKED: AtomicU64 = AtomicU64::new(0);
/// That tick asks for another. The host's.
static TIDYING: AtomicBool = AtomicBool::new(false);
/// Spans that nobody looks after may have become unused since the last tick.
static STRAYED: AtomicBool = AtomicBool::new(false);
/// Arenas are advised to be of huge pages.
static WANTS_HUGE: AtomicBool = AtomicBool::new(false);

/// Who gives memory back when it has been free for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Scavenger {
    /// Nobody: memory goes back through [`release`], [`scavenge_step`] and the memory limit alone.
    Off,
    /// The threads that free, at most one tick's work each 100 ms between them. A program that frees
    /// nothing more gives nothing more back.
    Inline,
    /// A thread of its own, which is started when there is something to give back and sleeps when
    /// there is nothing. The default.
    Thread,
    /// A thread of the program's: see [`host_scavenger`].
    Hosted,
}

impl Scavenger {
    fn of(mode: u32) -> Self {
        match mode {
            0 => Self::Off,
            1 => Self::Inline,
            2 => Self::Thread,
            _ => Self::Hosted,
        }
    }
}

/// Reads `GALLOC_MEMORY_LIMIT`, `GALLOC_SCAVENGER` and `GALLOC_HUGE_PAGES`, once, before the program's own word.
pub(crate) fn configure() {
    let limits = "a number, alone or with B, KiB, MiB, GiB or TiB, or off";
    if let Some(limit) = setting(c"GALLOC_MEMORY_LIMIT", limits, parse_limit) {
        memlimit::set(limit);
    }
    let who = |text: &[u8]| match text {
        b"off" => Some(Scavenger::Off),
        b"inline" => Some(Scavenger::Inline),
        b"thread" => Some(Scavenger::Thread),
        _ => None,
    };
    if let Some(who) = setting(c"GALLOC_SCAVENGER", "off, inline and thread", who) {
        set_scavenger(who);
    }
    let on = |text: &[u8]| match text {
        b"on" => Some(true),
        b"off" => Some(false),
        _ => None,
    };
    if let Some(on) = setting(c"GALLOC_HUGE_PAGES", "on and off", on) {
        set_huge_pages(on);
    }
}

/// What a variable of the environment says; an empty one says nothing. What cannot be read is told on standard
/// error, with what is allowed.
fn setting<T>(name: &CStr, allowed: &str, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    // SAFETY: the name is a C string, and what comes back is null or one. The environment is read once, when
    // the process first allocates.
    let text = unsafe {
        let value = libc::getenv(name.as_ptr());
        if value.is_null() {
            return None;
        }
        CStr::from_ptr(value).to_bytes()
    };
    if text.is_empty() {
        return None;
    }
    let setting = read(text);
    if setting.is_none() {
        sys::tell(&[
            name.to_bytes(),
            b"=",
            text,
            b" is ignored: allowed are ",
            allowed.as_bytes(),
        ]);
    }
    setting
}

/// Bytes, or with the suffix KiB, MiB, GiB or TiB multiples of them, or `off`, as Go's `GOMEMLIMIT`.
fn parse_limit(text: &[u8]) -> Option<usize> {
    if text == b"off" {
        return Some(usize::MAX);
    }
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let unit = match &text[digits..] {
        b"" | b"B" => 1,
        b"KiB" => 1 << 10,
        b"MiB" => 1 << 20,
        b"GiB" => 1 << 30,
        b"TiB" => 1usize.checked_shl(40)?,
        _ => return None,
    };
    core::str::from_utf8(&text[..digits])
        .ok()?
        .parse::<usize>()
        .ok()?
        .checked_mul(unit)
}

/// Chooses who gives memory back; returns who did. `GALLOC_SCAVENGER=off` or `=inline` does it from
/// outside, until the program chooses otherwise here. `Hosted` without a host before is `Off`.
///
/// ```
/// use galloc::{Scavenger, set_scavenger};
/// assert_eq!(set_scavenger(Scavenger::Inline), Scavenger::Thread);
/// ```
pub fn set_scavenger(who: Scavenger) -> Scavenger {
    slot::ensure_set_up();
    // Who comes new waits for nobody's tick.
    TICKED.store(0, Ordering::Relaxed);
    let _choice = CHOICE.lock();
    Scavenger::of(MODE.swap(who as u32, Ordering::Relaxed))
}

/// Makes a thread of the program's own the scavenger, in place of galloc's. `call` is called when
/// there is something to give back; that thread is then to call [`scavenge_step`] until it answers
/// None. Until then `call` is not called again.
///
/// `call` is run by whoever frees, in the middle of that: it should neither allocate, which takes
/// another cache, nor wait. A panic in it ends the process. It is run once at the start. In a child of `fork`, which lacks the host, galloc's own thread
/// does it again.
///
/// False, and nothing changes, if there was a host before, or unless galloc's own thread is the
/// scavenger: what program or environment chose stays.
///
/// ```
/// use std::sync::OnceLock;
/// use std::thread::{self, Thread};
/// static HOST: OnceLock<Thread> = OnceLock::new();
///
/// let host = thread::spawn(|| loop {
///     match galloc::scavenge_step() {
///         Some(wait) => thread::sleep(wait),
///         None => thread::park(),
///     }
/// });
/// HOST.set(host.thread().clone()).unwrap();
/// assert!(galloc::host_scavenger(|| HOST.get().unwrap().unpark()));
/// drop(vec![1u8; 100 << 20]);
/// ```
pub fn host_scavenger(call: fn()) -> bool {
    slot::ensure_set_up();
    let choice = CHOICE.lock();
    let is_host = is_threads() && CALL_HOST.load(Ordering::Relaxed).is_null();
    if is_host {
        CALL_HOST.store(call as *mut (), Ordering::Release);
        MODE.store(Scavenger::Hosted as u32, Ordering::Release);
    }
    drop(choice);
    if is_host {
        // The thread may leave work behind. This one is at work on no cache, so it needs no slot for that.
        sys::keep_errno(call_host);
    }
    is_host
}

/// Asks for huge pages of 2 MiB in arenas taken from now on, or no longer; returns what was asked
/// for. Off at first, for a program of some kilobytes would occupy two mebibytes. Large heaps miss
/// the TLB less. `GALLOC_HUGE_PAGES=on` does it from outside, for the first arena too, until the program chooses
/// otherwise here.
///
/// Linux may refuse (`/sys/kernel/mm/transparent_hugepage/enabled`), which changes nothing else.
pub fn set_huge_pages(on: bool) -> bool {
    slot::ensure_set_up();
    WANTS_HUGE.swap(on, Ordering::Relaxed)
}

/// Of a new arena.
pub(crate) fn advise(base: usize, size: usize) {
    if WANTS_HUGE.load(Ordering::Relaxed) {
        sys::advise_huge(base, size);
    }
}

/// Does a short step of the scavenger's work in this thread. Says after how long the next is due, or
/// None if there is nothing more to do.
///
/// For a [host](host_scavenger), or a program that sets [`Scavenger::Off`] and has a thread for such
/// things. Allocates nothing. With nothing to do some microseconds; else at most 4 MiB are discarded,
/// which takes some 0.1 ms for each MiB, and the steps come as often as it takes to give back a quarter
/// of what is free beyond the goal in 100 ms.
///
/// ```
/// galloc::set_scavenger(galloc::Scavenger::Off);
/// drop(vec![1u8; 1 << 20]);
/// while let Some(wait) = galloc::scavenge_step() {
///     std::thread::sleep(wait);
/// }
/// ```
pub fn scavenge_step() -> Option<Duration> {
    if let Some(wait) = short_step() {
        return Some(wait);
    }
    HOST.store(ASLEEP, Ordering::SeqCst);
    // A free between the step and this saw AWAKE and did not call: look again.
    if is_hosted() && is_work_left() {
        HOST.store(AWAKE, Ordering::Relaxed);
        return Some(TICK);
    }
    None
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
    empty_caches();
    scavenge(usize::MAX) * PAGE_SIZE
}

/// Gives what this thread's cache, caches without a thread, shelves and central lists hold to the page
/// heap. This thread is in no operation on its cache.
pub(crate) fn empty_caches() {
    slot::flush_own();
    slot::flush_idle();
    slot::clear_shelves();
    mcentral::sweep();
}

/// Runs `f`, which takes pages, when all free ones are in the page heap: none in caches, none in hand here.
pub(crate) fn with_all_free<R>(f: impl FnOnce() -> R) -> R {
    empty_caches();
    let _none_in_hand = SCAVENGE.lock();
    f()
}

fn excess(heap: &Heap) -> usize {
    let free = heap.free_dirty - heap.stuck;
    beyond_goal(free, heap.used, memlimit::over(heap))
}

/// Of `free` pages those beyond the goal, or beyond the memory limit if that is more.
fn beyond_goal(free: usize, used: usize, over: usize) -> usize {
    free.saturating_sub(KEEP + used / 10).max(free.min(over))
}

/// What a tick gives back of so much.
fn of_a_tick(excess: usize) -> usize {
    excess.min(STEP.max(excess / 4))
}

/// The time to the next short step, of which so many come in a tick's time as give back what a tick does.
fn to_next(excess: usize) -> Duration {
    TICK / of_a_tick(excess).div_ceil(STEP).max(1) as u32
}

/// Whether the thread is to be woken. Heap lock.
pub(crate) fn is_wanted(heap: &Heap) -> bool {
    excess(heap) > 0 && is_asleep()
}

fn mode() -> Scavenger {
    Scavenger::of(MODE.load(Ordering::Acquire))
}

/// It is the thread that gives back.
fn is_threads() -> bool {
    mode() == Scavenger::Thread
}

fn is_hosted() -> bool {
    mode() == Scavenger::Hosted
}

/// Whether a tick's time has gone by; to one caller per tick.
fn is_due() -> bool {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` may be written.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    let ms = now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000;
    let last = TICKED.load(Ordering::Relaxed);
    ms >= last + TICK_MS
        && TICKED
            .compare_exchange(last, ms, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
}

/// Nobody is at work, and somebody is to be.
pub(crate) fn is_asleep() -> bool {
    match mode() {
        Scavenger::Off => false,
        Scavenger::Hosted => HOST.load(Ordering::SeqCst) != AWAKE,
        Scavenger::Inline | Scavenger::Thread => THREAD.load(Ordering::SeqCst) != AWAKE,
    }
}

/// Gives back up to `limit` free dirty pages, the highest first; returns how many.
pub(crate) fn scavenge(limit: usize) -> usize {
    let _one = SCAVENGE.lock();
    let (mut done, mut stuck) = (0, 0);
    let mut i = HEAP.lock().len;
    // What is left of the arena `i - 1`, and of a run there that was refused as a whole.
    let (mut below, mut refused) = (ARENA_PAGES, ARENA_PAGES);
    while done < limit && i > 0 {
        let longest = if below > refused { PIECE } else { RUN };
        let mut heap = HEAP.lock();
        let Some((at, n)) = heap.pages(i - 1, |p| p.find_dirty(below, longest.min(limit - done)))
        else {
            i -= 1;
            (below, refused) = (ARENA_PAGES, ARENA_PAGES);
            continue;
        };
        heap.pages(i - 1, |p| p.alloc(at, n));
        heap.take_dirty(n);
        let base = heap.arenas[i - 1].addr() + at * PAGE_SIZE;
        drop(heap);
        // SAFETY: the pages are free, and marked so that nobody takes them now.
        let clean = unsafe { sys::discard(base, n * PAGE_SIZE) };
        let mut heap = HEAP.lock();
        heap.pages(i - 1, |p| p.free(at, n, !clean));
        if clean {
            heap.released += (n * PAGE_SIZE) as u64;
            done += n;
            below = at;
            continue;
        }
        // Some of it is locked (`mlock`).
        heap.free_dirty += n;
        if below <= refused && n > PIECE {
            refused = at;
        } else {
            stuck += n;
            below = at;
        }
    }
    if i == 0 {
        let mut heap = HEAP.lock();
        heap.stuck = stuck.min(heap.free_dirty);
    }
    done
}

/// Frees what caches without a thread, central lists and shelves hold for too long; true if the next tick may
/// find more.
fn tidy() -> bool {
    let strayed = STRAYED.swap(false, Ordering::SeqCst);
    slot::flush_idle();
    let shelved = slot::age_shelves();
    mcentral::sweep();
    shelved || strayed
}

/// What came while the last tick was at work. SeqCst: either this sees it, or who brought it sees that the
/// thread, or the host, is asleep.
fn is_work_left() -> bool {
    excess(&HEAP.lock()) > 0 || slot::age_shelves() || STRAYED.load(Ordering::SeqCst)
}

/// A thread has freed much into spans of others.
#[cold]
#[inline(never)]
pub(crate) fn strayed() {
    STRAYED.store(true, Ordering::SeqCst);
    if is_asleep() {
        wake();
    }
}

/// One tick's work; false if there was none.
fn step() -> bool {
    let more = tidy();
    let excess = excess(&HEAP.lock());
    scavenge(of_a_tick(excess)) > 0 || more
}

/// A part of it, and the time to the next.
fn short_step() -> Option<Duration> {
    if is_due() {
        TIDYING.store(tidy(), Ordering::Relaxed);
    }
    let excess = excess(&HEAP.lock());
    if scavenge(excess.min(STEP)) > 0 {
        return Some(to_next(excess));
    }
    TIDYING.load(Ordering::Relaxed).then_some(TICK)
}

/// Wakes or starts the thread, calls the host, or does the work. No lock is held.
#[cold]
pub(crate) fn wake() {
    if !slot::is_leased() || fork::is_forking() {
        // The caller may hold the shared cache, and making a thread may allocate. A thread made while
        // `fork` copies the process would not be in the copy.
        return;
    }
    sys::keep_errno(|| match mode() {
        Scavenger::Off => {}
        Scavenger::Inline => {
            if is_due() {
                step();
            }
        }
        Scavenger::Hosted => call_host(),
        Scavenger::Thread => wake_thread(),
    });
}

fn call_host() {
    if CALL_HOST.load(Ordering::Acquire).is_null() || HOST.swap(AWAKE, Ordering::AcqRel) == AWAKE {
        return;
    }
    slot::aside(host);
}

/// A panic ends the process here, for a free must not unwind.
extern "C" fn host() {
    let call = CALL_HOST.load(Ordering::Acquire);
    // SAFETY: it is not null for good, and came from a `fn()` in `host_scavenger`.
    unsafe { core::mem::transmute::<*mut (), fn()>(call)() }
}

fn wake_thread() {
    match THREAD.swap(AWAKE, Ordering::AcqRel) {
        // SAFETY: wakes whoever waits on the word.
        ASLEEP => unsafe {
            libc::syscall(
                libc::SYS_futex,
                THREAD.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            );
        },
        OFF => {
            let due = is_due();
            if !due || !start() {
                THREAD.store(OFF, Ordering::Release);
                if due {
                    step();
                }
            }
        }
        _ => {}
    }
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
        tv_nsec: TICK_MS as i64 * 1_000_000,
    };
    loop {
        // SAFETY: sleeps; the word lives for ever.
        unsafe { libc::nanosleep(&tick, ptr::null_mut()) };
        if is_threads() && step() {
            continue;
        }
        if THREAD
            .compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::Relaxed)
            .is_err()
        {
            continue;
        }
        // A free between the step and the sleep saw AWAKE and did not wake: look again.
        if is_threads() && is_work_left() {
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
    TICKED.store(0, Ordering::Relaxed);
    if is_hosted() {
        MODE.store(Scavenger::Thread as u32, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MIB: usize = (1 << 20) / PAGE_SIZE;

    #[test]
    fn a_tenth_and_4_mib_are_kept_but_for_the_memory_limit() {
        assert_eq!(beyond_goal(4 * MIB, 0, 0), 0);
        assert_eq!(beyond_goal(5 * MIB, 0, 0), MIB);
        assert_eq!(beyond_goal(14 * MIB, 100 * MIB, 0), 0);
        assert_eq!(beyond_goal(15 * MIB, 100 * MIB, 0), MIB);
        assert_eq!(beyond_goal(15 * MIB, 100 * MIB, 3 * MIB), 3 * MIB);
        assert_eq!(beyond_goal(2 * MIB, 100 * MIB, 50 * MIB), 2 * MIB);
    }

    #[test]
    fn a_tick_gives_back_a_quarter_and_at_least_4_mib() {
        let mut excess = 400 * MIB;
        for _ in 0..3 {
            assert_eq!(of_a_tick(excess), excess / 4);
            excess -= of_a_tick(excess);
        }
        assert_eq!(of_a_tick(16 * MIB), 4 * MIB);
        assert_eq!(of_a_tick(10 * MIB), 4 * MIB);
        assert_eq!(of_a_tick(3 * MIB), 3 * MIB);
        assert_eq!(of_a_tick(0), 0);
    }

    #[test]
    fn short_steps_of_4_mib_come_as_often_as_a_tick_needs() {
        let ms = Duration::from_millis;
        assert_eq!(to_next(400 * MIB), ms(4));
        assert_eq!(to_next(32 * MIB), ms(50));
        assert_eq!(to_next(16 * MIB), ms(100));
        assert_eq!(to_next(1), ms(100));
    }

    #[test]
    fn limits_are_read_as_go_writes_them() {
        assert_eq!(parse_limit(b"512MiB"), Some(512 << 20));
        assert_eq!(parse_limit(b"7"), Some(7));
        assert_eq!(parse_limit(b"2GiB"), Some(2 << 30));
        assert_eq!(parse_limit(b"off"), Some(usize::MAX));
        #[cfg(target_pointer_width = "64")]
        assert_eq!(parse_limit(b"3TiB"), Some(3 << 40));
        for wrong in [&b""[..], b"MiB", b"1MB", b"-1", b"99999999999999999GiB"] {
            assert_eq!(parse_limit(wrong), None);
        }
    }
}

/// AddressSanitizer wants memory of its own where these have none.
#[cfg(all(test, not(any(loom, gort_asan))))]
mod limit_tests {
    use super::*;
    use std::alloc::{GlobalAlloc, Layout};
    use std::sync::Barrier;
    use std::thread;

    fn in_a_child(work: fn()) {
        // SAFETY: the child works and leaves by `_exit`.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(i32::from(std::panic::catch_unwind(work).is_err()));
            }
            let mut status = -1;
            libc::waitpid(child, &mut status, 0);
            assert_eq!(status, 0, "the child says why");
        }
    }

    /// Takes all free pages in hand, as [`scavenge`] does with a run, and runs `f`.
    fn with_all_in_hand(f: impl FnOnce()) {
        let _one = SCAVENGE.lock();
        let mut taken = [(0, 0, 0); 1000];
        let mut n = 0;
        let mut heap = HEAP.lock();
        for i in 0..heap.len {
            while let Some(at) = heap.pages(i, |p| p.find(1, 1)) {
                let pages = heap.pages(i, |p| {
                    let pages = (1..).find(|&n| !p.is_free(at, n + 1)).unwrap();
                    p.alloc(at, pages);
                    pages
                });
                taken[n] = (i, at, pages);
                n += 1;
            }
        }
        drop(heap);
        f();
        let mut heap = HEAP.lock();
        for &(i, at, pages) in &taken[..n] {
            heap.pages(i, |p| p.free(at, pages, true));
        }
    }

    /// Memory is out but for what the scavenger has in hand.
    fn take_what_is_in_hand() {
        let galloc = crate::Galloc;
        let large = Layout::from_size_align(20 << 20, 8).unwrap();
        let small = Layout::from_size_align(1 << 10, 8).unwrap();
        let (turn, is_done) = (Barrier::new(2), AtomicBool::new(false));
        // Asked at the end, when nobody waits for a turn.
        let (got_large, got_small) = thread::scope(|s| {
            s.spawn(|| {
                // A thread that begins needs memory of the system's.
                turn.wait();
                turn.wait();
                for _ in 0..2 {
                    with_all_in_hand(|| {
                        turn.wait();
                        while !SCAVENGE.is_awaited() && !is_done.load(Ordering::Relaxed) {
                            thread::yield_now();
                        }
                    });
                    turn.wait();
                }
            });
            // SAFETY: the sizes are not 0; the object that is freed is used no more, and the limit is a value of
            // this function's.
            unsafe {
                set_scavenger(Scavenger::Off);
                turn.wait();
                let none = libc::rlimit {
                    rlim_cur: 0,
                    rlim_max: 0,
                };
                let kept = galloc.alloc(large);
                assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &none), 0);
                while !galloc.alloc(large).is_null() {}
                galloc.dealloc(kept, large);
                turn.wait();
                turn.wait();
                let p = galloc.alloc(large);
                is_done.store(true, Ordering::Relaxed);
                if !p.is_null() {
                    galloc.dealloc(p, large);
                }
                turn.wait();
                is_done.store(false, Ordering::Relaxed);
                turn.wait();
                // Those that caches have room for come first.
                let got = (0..1000).all(|_| !galloc.alloc(small).is_null());
                is_done.store(true, Ordering::Relaxed);
                turn.wait();
                (!p.is_null(), got)
            }
        });
        assert!(got_large && got_small, "{got_large} {got_small}");
    }

    #[test]
    fn what_is_being_given_back_is_not_missed() {
        in_a_child(take_what_is_in_hand);
    }
}
