//! The Linux calls that the scheduler makes: futex, membarrier, memory, clocks, threads.
//!
//! Plays the part of Go's `os_linux.go` and `sys_linux_amd64.s`. Nothing here knows of G, M or P.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::io;

/// Sleeps while `*word == expected`, until [`futex_wake`] or the time-out. Spurious returns are
/// allowed; callers look at the word again.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let ts = timeout.map(|d| libc::timespec {
        tv_sec: d.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: d.subsec_nanos().into(),
    });
    let ts = ts.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: the word outlives the call, and the timespec is null or a live local.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            ts,
        );
    }
}

/// Wakes one thread that sleeps on `word`. The address is only compared, so a word in memory that
/// has found another use costs at most a spurious wake-up.
pub(crate) fn futex_wake(word: *const AtomicU32) {
    // SAFETY: FUTEX_WAKE does not access the word's memory.
    unsafe {
        libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
    }
}

static MEMBARRIER: AtomicBool = AtomicBool::new(false);

/// Registers the process for [`membarrier`]; false where the kernel refuses it.
pub(crate) fn membarrier_register() -> bool {
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
    // SAFETY: membarrier takes integers and touches no memory of ours.
    let ok = unsafe { libc::syscall(libc::SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0) } == 0;
    MEMBARRIER.store(ok, Ordering::Release);
    ok
}

/// A full memory barrier on every running thread of the process: what each of them did before it
/// is visible after it, as if each had executed a fence between two of its instructions.
/// False if the process could not be registered: then nothing happened.
pub(crate) fn membarrier() -> bool {
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    MEMBARRIER.load(Ordering::Acquire)
        // SAFETY: as above.
        && unsafe { libc::syscall(libc::SYS_membarrier, PRIVATE_EXPEDITED, 0, 0) } == 0
}

/// Nanoseconds of `CLOCK_MONOTONIC`: the scheduler's `nanotime`.
/// The clock of all deadlines here.
pub fn nanotime() -> u64 {
    clock(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

/// The CPU time that a thread has used so far, in nanoseconds; `None` once the thread is gone.
pub(crate) fn thread_cpu_time(tid: i32) -> Option<u64> {
    // The kernel's encoding of "the CPU clock of thread tid" (CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED).
    clock((!tid << 3) | 4 | 2)
}

fn clock(id: libc::clockid_t) -> Option<u64> {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a live local of the type the call fills in.
    let rc = unsafe { libc::clock_gettime(id, &raw mut ts) };
    (rc == 0).then(|| ts.tv_sec.cast_unsigned() * 1_000_000_000 + ts.tv_nsec.cast_unsigned())
}

/// The kernel's id of the calling thread.
pub(crate) fn gettid() -> i32 {
    // SAFETY: no arguments, no memory.
    unsafe { libc::gettid() }
}

/// What a thread of this process does by the kernel's account: `R` runs or could, `S` and `D` sleep.
/// Reads a file: some microseconds.
pub(crate) fn thread_state(tid: i32) -> Option<u8> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the state follows its end.
    stat.rsplit(") ").next()?.bytes().next()
}

/// How the kernel schedules a thread.
pub(crate) type SchedAttr = libc::sched_attr;

/// Sends a thread to the background, and returns what it was before. Threads that it starts meanwhile
/// inherit it.
///
/// It gets the least weight (a nice value of 19) and the longest turns. Since 6.12 Linux lets a thread that wakes go
/// before one whose turns are longer; without that, and with `SCHED_IDLE` too, those that wake can wait
/// for a hundred milliseconds while hundreds compute in the background. Older kernels ignore the length.
pub(crate) fn set_background(tid: i32) -> Option<SchedAttr> {
    const TURN: u64 = 100_000_000;
    const NICE_MAX: i32 = 19;
    let before = sched_attr(tid)?;
    let background = SchedAttr { sched_nice: NICE_MAX, sched_runtime: TURN, ..before };
    set_sched_attr(tid, &background).then_some(before)
}

fn sched_attr(tid: i32) -> Option<SchedAttr> {
    const SIZE: usize = size_of::<SchedAttr>();
    // SAFETY: integers, for which all zeroes are values.
    let mut attr: SchedAttr = unsafe { core::mem::zeroed() };
    // SAFETY: `attr` is live, and as large as we say.
    let rc = unsafe { libc::syscall(libc::SYS_sched_getattr, tid, &raw mut attr, SIZE, 0) };
    (rc == 0).then_some(attr)
}

/// Back to what [`set_background`] found; false if the kernel does not let this process, which is the rule
/// unless it is privileged or has a `RLIMIT_NICE` of 20.
pub(crate) fn set_sched_attr(tid: i32, attr: &SchedAttr) -> bool {
    // SAFETY: `attr` is live, and its first field is its size.
    unsafe { libc::syscall(libc::SYS_sched_setattr, tid, core::ptr::from_ref(attr), 0) == 0 }
}

/// How much memory of its own the process may map (`RLIMIT_AS`, `RLIMIT_DATA`), in bytes.
pub(crate) fn address_space() -> usize {
    let limit_of = |resource| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is live.
        let rc = unsafe { libc::getrlimit(resource, &raw mut limit) };
        if rc == 0 { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) } else { usize::MAX }
    };
    limit_of(libc::RLIMIT_AS).min(limit_of(libc::RLIMIT_DATA))
}

/// Reserves `len` bytes of address space, for [`open`]: until then nobody may touch them, and they are not locked in
/// memory nor counted against any limit but that of addresses.
pub(crate) fn reserve(len: usize) -> io::Result<*mut u8> {
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
    let base = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            len,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(base.cast()) }
}

/// Makes reserved bytes zero pages that cost nothing until touched, unless the process locks its memory; false if the
/// kernel refused.
///
/// # Safety
/// The range is of whole pages, reserved by us, and nobody uses it.
pub(crate) unsafe fn open(base: *mut u8, len: usize) -> bool {
    // SAFETY: the caller's.
    unsafe { libc::mprotect(base.cast(), len, libc::PROT_READ | libc::PROT_WRITE) == 0 }
}

/// `madvise`; false if the kernel refused.
///
/// # Safety
/// The range is mapped by us, and `advice` is one whose effect on its contents the caller wants.
pub(crate) unsafe fn advise(base: *mut u8, len: usize, advice: libc::c_int) -> bool {
    // SAFETY: the caller's.
    unsafe { libc::madvise(base.cast(), len, advice) == 0 }
}

/// Makes the page at `page` inaccessible by `mprotect`; false if the kernel refused.
///
/// # Safety
/// The page is ours and nobody uses it.
pub(crate) unsafe fn protect_none(page: *mut u8, len: usize) -> bool {
    // SAFETY: the caller's.
    unsafe { libc::mprotect(page.cast(), len, libc::PROT_NONE) == 0 }
}
