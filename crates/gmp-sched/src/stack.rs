//! Goroutine stacks: one reserved mapping cut in slots.
//!
//! Takes the place of Go's `stack.go`: stacks here cannot grow by copying, because Rust code holds
//! addresses into them. Instead each has room for what ordinary code needs and costs only the
//! pages that it touched.
//!
//! ```text
//!   slot (4 KiB and, by default, 256 KiB)
//!   +-------+--------------------------------------------+----------+
//!   | guard |             ...  <- grows down             | Stack    |
//!   +-------+--------------------------------------------+----------+
//!   base     base + 4 KiB                          head 64 bytes
//! ```
//!
//! - The guard comes on top of a power of two, so the busy ends of all stacks lie an odd number of pages apart:
//!   they use every set of the TLB, where an even distance leaves most of them unused, and each is as far from
//!   the next as that from its next, which a processor that fetches ahead can tell. With slots of a power of two
//!   and heads moved about by up to 8 pages and 1 KiB, a hop of a ring of 10,000 took up to twice as long.
//! - The guard is `MADV_GUARD_INSTALL` (Linux 6.13), which splits no mapping; before that one
//!   `mprotect`, of which the kernel allows about 32,000 (`vm.max_map_count`).
//! - Slots are never unmapped, so a head is type-stable. A free stack that is not needed soon gives
//!   its pages back ([`trim`]).
//!
//! Rejected: a mapping per stack (a syscall and a VMA each), segmented stacks (a check in every
//! prologue, which is the compiler's to emit), stacks from the allocator (no guard).

use crate::arch;
use crate::runtime2::Stack;
use crate::sys;
use core::sync::atomic::{AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::io;

const PAGE: usize = 4096;
const HEAD: usize = size_of::<Stack>();

/// Bytes of a stack unless the first runtime asks otherwise.
pub(crate) const DEFAULT_SIZE: usize = 256 << 10;
/// The least: what the code of std needs that a panic runs.
pub(crate) const MIN_SIZE: usize = 64 << 10;
/// The most: there is room for a thousand at least, if the kernel lets us.
pub(crate) const MAX_SIZE: usize = 1 << 30;
/// What is reserved if the kernel lets us: room for four million stacks of the default size. Of a limited address
/// space, a quarter.
const RESERVE: usize = 1 << 40;
/// Below this a reservation is not worth having.
const RESERVE_MIN: usize = 64 << 20;

/// The mapping, published once by the store of `len`.
struct Mapping {
    base: AtomicUsize,
    /// Bytes, a multiple of a slot's; 0 until there is a mapping.
    len: AtomicUsize,
    /// Bytes of a slot: a stack and its guard.
    slot: AtomicUsize,
}

static MAPPING: Mapping = Mapping {
    base: AtomicUsize::new(0),
    len: AtomicUsize::new(0),
    slot: AtomicUsize::new(0),
};

struct Pool {
    /// Slots handed out so far, from the bottom.
    used: usize,
    /// Free, and used since they were last trimmed.
    warm: Option<&'static Stack>,
    /// Free, and trimmed.
    cold: Option<&'static Stack>,
    guard: Guard,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    Untried,
    Madvise,
    Mprotect,
}

// SAFETY: the list is only reached through the mutex around it.
unsafe impl Send for Pool {}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { used: 0, warm: None, cold: None, guard: Guard::Untried });

/// Reserves the mapping for stacks of `size` bytes, unless it exists. Returns the size in force.
///
/// # Errors
/// The kernel's, if not even 64 MiB of address space can be had.
pub(crate) fn init(size: usize) -> io::Result<usize> {
    debug_assert!(size.is_power_of_two() && (MIN_SIZE..=MAX_SIZE).contains(&size));
    let _one_at_a_time = POOL.lock();
    if MAPPING.len.load(Ordering::Acquire) != 0 {
        return Ok(MAPPING.slot.load(Ordering::Relaxed) - PAGE);
    }
    let slot = size + PAGE;
    let least = RESERVE_MIN.max(slot);
    let mut len = RESERVE.min(sys::address_space() / 4).max(least);
    let base = loop {
        match sys::reserve(len) {
            Ok(base) => break base,
            Err(e) if len <= least => return Err(e),
            Err(_) => len = (len / 2).max(least),
        }
    };
    // SAFETY: the range was just mapped and holds nothing; a huge page would make one parked
    // goroutine cost 2 MiB.
    unsafe { sys::advise(base, len, libc::MADV_NOHUGEPAGE) };
    MAPPING.base.store(base as usize, Ordering::Relaxed);
    MAPPING.slot.store(slot, Ordering::Relaxed);
    MAPPING.len.store(len / slot * slot, Ordering::Release);
    Ok(size)
}

/// The slot that an address lies in: where it begins, and where its head is. None if the address is on an OS stack.
fn slot_of(addr: usize) -> Option<(usize, usize)> {
    let base = MAPPING.base.load(Ordering::Relaxed);
    let off = addr.wrapping_sub(base);
    if off >= MAPPING.len.load(Ordering::Acquire) {
        return None;
    }
    let slot = MAPPING.slot.load(Ordering::Relaxed);
    let start = base + off / slot * slot;
    Some((start, start + slot - HEAD))
}

/// The addresses of the stack below this head: its slot without the guard, or the thread's own stack.
#[cfg(gort_asan)]
pub(crate) fn bounds(s: &Stack) -> core::ops::Range<usize> {
    match slot_of(core::ptr::from_ref(s) as usize) {
        Some((start, head)) => start + PAGE..head,
        None => crate::asan::own_stack(),
    }
}

/// For the signal handler: the stack in whose guard this address lies.
pub(crate) fn overflow_at(addr: usize) -> Option<&'static Stack> {
    let (start, head) = slot_of(addr)?;
    // SAFETY: the head of a slot that was handed out was written then; of another it is zeros, which are an empty
    // head too.
    (addr - start < PAGE).then(|| unsafe { &*(head as *const Stack) })
}

impl Pool {
    fn take_free(&mut self) -> Option<&'static Stack> {
        let list = if self.warm.is_some() { &mut self.warm } else { &mut self.cold };
        let s = (*list)?;
        *list = s.next.get();
        Some(s)
    }
}

/// Takes up to `want` stacks, free ones first; those that never ran will call `entry`. They come
/// linked by `next`, with how many there are.
pub(crate) fn take(want: u32, entry: extern "C" fn(usize) -> !) -> (&'static Stack, u32) {
    let mut pool = POOL.lock();
    let mut list: Option<&'static Stack> = None;
    let mut n = 0;
    while n < want {
        let s = match pool.take_free() {
            Some(s) => s,
            // One fresh stack at least; guards cost a syscall each, so no more than asked for now.
            None if n == 0 => fresh(&mut pool, entry),
            None => break,
        };
        s.next.set(list);
        list = Some(s);
        n += 1;
    }
    (list.expect("at least one"), n)
}

fn fresh(pool: &mut Pool, entry: extern "C" fn(usize) -> !) -> &'static Stack {
    let slot = MAPPING.slot.load(Ordering::Relaxed);
    let start = MAPPING.base.load(Ordering::Relaxed) + pool.used * slot;
    let Some((start, head)) = slot_of(start) else {
        let size = slot - PAGE;
        crate::fatal::fatal(format_args!(
            "out of goroutine stacks: all {} of {size} bytes are in use; fewer goroutines \
             may be parked at once, or a smaller Builder::stack_size is needed",
            pool.used
        ));
    };
    pool.used += 1;
    guard(pool, start as *mut u8);
    // SAFETY: the slot is mapped, was never handed out, and is aligned, so its upper end has room for
    // a head and the words below it are free.
    unsafe {
        let head = core::ptr::with_exposed_provenance_mut::<Stack>(head);
        head.write(Stack::new());
        (*head).sp.store(arch::prepare(head.cast(), entry), Ordering::Relaxed);
        &*head
    }
}

fn guard(pool: &mut Pool, page: *mut u8) {
    /// Linux 6.13; not yet in every libc.
    const MADV_GUARD_INSTALL: libc::c_int = 102;
    if pool.guard != Guard::Mprotect {
        // SAFETY: the lowest page of a fresh slot: ours, and unused.
        if unsafe { sys::advise(page, PAGE, MADV_GUARD_INSTALL) } {
            pool.guard = Guard::Madvise;
            return;
        }
        pool.guard = Guard::Mprotect;
    }
    // SAFETY: as above.
    if !unsafe { sys::protect_none(page, PAGE) } {
        crate::fatal::fatal(format_args!(
            "out of guard pages after {} stacks: {}; this kernel has no MADV_GUARD_INSTALL (Linux \
             6.13), so vm.max_map_count limits parked goroutines",
            pool.used,
            io::Error::last_os_error()
        ));
    }
}

/// Whether guards cost a mapping each, so that about 32,000 stacks are the limit. Known once a stack was taken.
pub(crate) fn guards_are_mappings() -> bool {
    POOL.lock().guard == Guard::Mprotect
}

/// Gives free stacks back, linked by `next` from `first` to `last`.
pub(crate) fn give(first: &'static Stack, last: &'static Stack) {
    let mut pool = POOL.lock();
    last.next.set(pool.warm);
    pool.warm = Some(first);
}

/// Whether [`trim`] would find something to do.
pub(crate) fn any_warm() -> bool {
    POOL.lock().warm.is_some()
}

/// Returns to the kernel what free stacks touched below the page that their base loop was left in, as long as
/// `go_on` says so. A system call for each stack, so it is for times when nothing else is to be done;
/// each is off the list for no longer than its own call, for whoever needs stacks meanwhile.
pub(crate) fn trim(go_on: impl Fn() -> bool) {
    while go_on() {
        let Some(s) = ({
            let mut pool = POOL.lock();
            let s = pool.warm;
            pool.warm = s.and_then(|s| s.next.get());
            s
        }) else {
            return;
        };
        let sp = s.sp.load(Ordering::Relaxed);
        let (start, _) = slot_of(sp).expect("a pooled stack");
        let lowest = start + PAGE;
        let below = (sp & !(PAGE - 1)) - lowest;
        // SAFETY: the stack is free and off every list, so nobody runs on it. What its base loop left
        // there lies at and above `sp`; the pages dropped are the whole ones below.
        unsafe { sys::advise(lowest as *mut u8, below, libc::MADV_DONTNEED) };
        let mut pool = POOL.lock();
        s.next.set(pool.cold);
        pool.cold = Some(s);
    }
}
