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
//! - Slots are reserved all at once, and opened some at a time: what is open a process that locks its memory
//!   (`mlockall`) has in memory.
//! - Slots are never unmapped, so a head is type-stable. A free stack that is not needed soon gives
//!   its pages back ([`trim`]).
//! - Free slots are handed out lowest first ([`crate::free_slots`] has the reason); a P keeps a few on a list
//!   of its own.
//!
//! Rejected: a mapping per stack (a syscall and a VMA each), segmented stacks (a check in every
//! prologue, which is the compiler's to emit), stacks from the allocator (no guard).

use crate::arch;
use crate::free_slots::FreeSlots;
use crate::runtime2::Stack;
use crate::sys;
use core::sync::atomic::{AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::io;

const PAGE: usize = 4096;
const HEAD: usize = size_of::<Stack>();

/// Bytes of a stack unless the first runtime asks otherwise.
pub(crate) const DEFAULT_SIZE: usize = 256 << 10;
/// The least that can be asked for.
pub(crate) const MIN_SIZE: usize = 64 << 10;
/// The most: there is room for a thousand, if the kernel lets us.
pub(crate) const MAX_SIZE: usize = 1 << 30;
/// What is reserved if the kernel lets us: room for four million stacks of the default size. Of a limited address
/// space, a quarter.
const RESERVE: usize = 1 << 40;
/// How much is opened at once, and a slot at least.
const OPEN: usize = 64 << 20;
/// Below this a reservation is not worth having.
const RESERVE_MIN: usize = 64 << 20;

/// The mapping, published once by the store of `len`.
struct Mapping {
    base: AtomicUsize,
    /// Bytes, a multiple of a slot's; 0 until there is a mapping.
    len: AtomicUsize,
    /// Bytes of them that are open, from the bottom, a multiple of a slot's too. Under the lock of `POOL`.
    open: AtomicUsize,
    /// Bytes of a slot: a stack and its guard.
    slot: AtomicUsize,
}

static MAPPING: Mapping = Mapping {
    base: AtomicUsize::new(0),
    len: AtomicUsize::new(0),
    open: AtomicUsize::new(0),
    slot: AtomicUsize::new(0),
};

struct Pool {
    /// Slots handed out so far, from the bottom.
    used: usize,
    /// Free, and used since they were last trimmed.
    warm: FreeSlots,
    /// Free, and trimmed.
    cold: FreeSlots,
    guard: Guard,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    Untried,
    Madvise,
    Mprotect,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    used: 0,
    warm: FreeSlots::new(),
    cold: FreeSlots::new(),
    guard: Guard::Untried,
});

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

/// The slot that an address lies in, if it is open: where it begins, and where its head is.
fn slot_of(addr: usize) -> Option<(usize, usize)> {
    let open = MAPPING.open.load(Ordering::Acquire);
    let base = MAPPING.base.load(Ordering::Relaxed);
    let off = addr.wrapping_sub(base);
    if off >= open {
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

/// For the signal handler: the stack whose guard is at this address.
pub(crate) fn overflowed(addr: usize) -> Option<&'static Stack> {
    let (start, head) = slot_of(addr)?;
    // SAFETY: the slot is open. If it was handed out, its head was written then; if not, it is zeros, which are a
    // head too.
    (addr - start < PAGE).then(|| unsafe { &*(head as *const Stack) })
}

impl Pool {
    fn take_free(&mut self) -> Option<&'static Stack> {
        let slot = self.warm.take_lowest().or_else(|| self.cold.take_lowest())?;
        Some(head_of(slot))
    }
}

/// The head of a slot that was handed out once.
fn head_of(slot: usize) -> &'static Stack {
    let size = MAPPING.slot.load(Ordering::Relaxed);
    let end = MAPPING.base.load(Ordering::Relaxed) + (slot + 1) * size;
    // SAFETY: `fresh` wrote it, and slots are never unmapped.
    unsafe { &*core::ptr::with_exposed_provenance(end - HEAD) }
}

/// The number of a head's slot.
fn number_of(s: &Stack) -> usize {
    let off = core::ptr::from_ref(s).addr() - MAPPING.base.load(Ordering::Relaxed);
    off / MAPPING.slot.load(Ordering::Relaxed)
}

/// Takes up to `want` stacks, free ones first; those that never ran will call `entry`. They come
/// linked by `next`, lowest first, with how many there are.
pub(crate) fn take(want: u32, entry: extern "C" fn(usize) -> !) -> (&'static Stack, u32) {
    let mut pool = POOL.lock();
    // One fresh stack at most; guards cost a syscall each, so no more than asked for now.
    let first = pool.take_free().unwrap_or_else(|| fresh(&mut pool, entry));
    let (mut last, mut n) = (first, 1);
    while n < want
        && let Some(s) = pool.take_free()
    {
        last.next.set(Some(s));
        last = s;
        n += 1;
    }
    last.next.set(None);
    (first, n)
}

fn fresh(pool: &mut Pool, entry: extern "C" fn(usize) -> !) -> &'static Stack {
    let slot = MAPPING.slot.load(Ordering::Relaxed);
    let off = pool.used * slot;
    if off == MAPPING.open.load(Ordering::Relaxed) {
        open_more(off, slot);
    }
    pool.used += 1;
    pool.warm.make_room(pool.used);
    pool.cold.make_room(pool.used);
    let start = MAPPING.base.load(Ordering::Relaxed) + off;
    guard(pool, start as *mut u8);
    // SAFETY: the slot is open, was never handed out, and is aligned, so its upper end has room for
    // a head and the words below it are free.
    unsafe {
        let head = core::ptr::with_exposed_provenance_mut::<Stack>(start + slot - HEAD);
        head.write(Stack::new());
        (*head).sp.store(arch::prepare(head.cast(), entry), Ordering::Relaxed);
        &*head
    }
}

/// Opens the slots that follow the first `open` bytes.
#[cold]
fn open_more(open: usize, slot: usize) {
    let left = MAPPING.len.load(Ordering::Relaxed) - open;
    if left == 0 {
        crate::fatal::fatal(format_args!(
            "out of goroutine stacks: all {}, of {} bytes each, are in use; fewer goroutines may be parked at \
             once, or a smaller Builder::stack_size is needed, or more address space (ulimit -v)",
            open / slot,
            slot - PAGE
        ));
    }
    let len = (OPEN.max(slot) / slot * slot).min(left);
    let base = (MAPPING.base.load(Ordering::Relaxed) + open) as *mut u8;
    // SAFETY: within the mapping, of which no slot from `open` on was handed out.
    if !unsafe { sys::open(base, len) } {
        crate::fatal::fatal(format_args!(
            "no memory for goroutine stacks beside {} others: {}",
            open / slot,
            io::Error::last_os_error()
        ));
    }
    MAPPING.open.store(open + len, Ordering::Release);
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

/// Gives free stacks back: `n`, linked by `next`. Returns the one that follows them.
pub(crate) fn give(first: &'static Stack, n: u32) -> Option<&'static Stack> {
    let mut pool = POOL.lock();
    let mut next = Some(first);
    for _ in 0..n {
        let s = next.expect("as many as were counted");
        next = s.next.take();
        pool.warm.insert(number_of(s));
    }
    next
}

/// Whether [`trim`] would find something to do.
pub(crate) fn any_warm() -> bool {
    !POOL.lock().warm.is_empty()
}

/// Returns to the kernel what free stacks touched below the page that their base loop was left in, as long as
/// `go_on` says so. A system call for each stack, so it is for times when nothing else is to be done;
/// each is not to be had for no longer than its own call, for whoever needs stacks meanwhile.
pub(crate) fn trim(go_on: impl Fn() -> bool) {
    while go_on() {
        let Some(slot) = POOL.lock().warm.take_lowest() else { return };
        let sp = head_of(slot).sp.load(Ordering::Relaxed);
        let (start, _) = slot_of(sp).expect("a pooled stack");
        let lowest = start + PAGE;
        let below = (sp & !(PAGE - 1)) - lowest;
        // SAFETY: the stack is free and in neither set, so nobody runs on it. What its base loop left
        // there lies at and above `sp`; the pages dropped are the whole ones below.
        unsafe { sys::advise(lowest as *mut u8, below, libc::MADV_DONTNEED) };
        POOL.lock().cold.insert(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_SIZE, MAPPING, PAGE, give, init, overflowed, take};
    use crate::schedule::base_loop;
    use core::sync::atomic::Ordering;

    extern "C" fn never_runs(_: usize) -> ! {
        unreachable!("it is only taken, and never given back")
    }

    #[test]
    fn free_stacks_come_lowest_first() {
        init(DEFAULT_SIZE).unwrap();
        let stacks: Vec<_> = (0..8).map(|_| take(1, base_loop).0).collect();
        for i in [3, 0, 7, 1, 6, 2, 5, 4] {
            assert!(give(stacks[i], 1).is_none());
        }
        // Other tests may take some of them meanwhile, and give some of theirs.
        let (first, n) = take(8, base_loop);
        let list = core::iter::successors(Some(first), |s| s.next.get());
        let addrs: Vec<_> = list.map(|s| core::ptr::from_ref(s).addr()).collect();
        assert!(addrs.is_sorted() && addrs.len() == n as usize);
        assert!(give(first, n).is_none());
    }

    /// Whether the kernel, asked to read there for us, faults.
    fn is_fault(addr: usize) -> bool {
        let mut pipe = [0; 2];
        // SAFETY: the kernel checks the address that it reads from; the rest are integers and a live local.
        unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            let read = libc::write(pipe[1], addr as *const libc::c_void, 1);
            for end in pipe {
                libc::close(end);
            }
            read < 0
        }
    }

    #[test]
    fn an_overflow_is_a_fault_at_the_guard_of_an_open_slot() {
        let size = init(DEFAULT_SIZE).unwrap();
        let (s, n) = take(1, never_runs);
        assert_eq!(n, 1);
        let top = core::ptr::from_ref(s) as usize + size_of_val(s);
        let guard = top - size - PAGE;
        assert!(overflowed(guard + 8).is_some_and(|hit| core::ptr::eq(hit, s)));
        assert!(overflowed(guard + PAGE).is_none() && overflowed(top - 8).is_none());
        assert!(is_fault(guard + 8) && is_fault(guard + PAGE - 1) && !is_fault(guard + PAGE));
        let base = MAPPING.base.load(Ordering::Relaxed);
        let last = base + MAPPING.len.load(Ordering::Relaxed) - size - PAGE;
        assert!(overflowed(last).is_none() && overflowed(base.wrapping_sub(PAGE)).is_none());
    }
}
