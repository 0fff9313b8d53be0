//! Slots: which thread uses which cache.
//!
//! A cache belongs to a slot, and a slot is leased to an operating-system thread. A thread leases
//! the lowest free slot the first time it allocates, and ends its lease itself, when it exits (by a
//! pthread key's destructor, which runs after Rust's and C++'s thread-local destructors, so that
//! those may still allocate) or by [`release_slot`] when it goes idle. So caches are as many as
//! threads ever ran at once, and follow the running threads as Go's follow Ps.
//!
//! An operation reads its thread's slot once and then neither parks nor calls user code, so a
//! goroutine may allocate on one thread and free on another.
//!
//! Fork: the heap's locks are held across it, so that the child finds them free and what they guard
//! whole. The caches of the parent's other threads may be halfway through an operation; in the child
//! they stay leased, to nobody, and their memory is lost to it (not to programs that exec).

use crate::mcache::Cache;
use crate::mcentral::CENTRAL;
use crate::mheap::HEAP;
use crate::persistent_alloc::{self, persistent_alloc};
use crate::sys::Lock;
use crate::{scavenge, tls};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Threads that can allocate at once; the next one's allocations fail.
const MAX_SLOTS: usize = 1 << 16;

static CACHES: [AtomicPtr<Cache>; MAX_SLOTS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_SLOTS];

#[derive(Debug)]
struct Leases {
    /// A bit per slot below `made`: nobody has it.
    free: [u64; MAX_SLOTS / 64],
    /// Slots that have a cache.
    made: usize,
    key: Option<libc::pthread_key_t>,
}

static LEASES: Lock<Leases> = Lock::new(Leases {
    free: [0; MAX_SLOTS / 64],
    made: 0,
    key: None,
});

/// This thread's cache, if it has one.
#[inline(always)]
pub(crate) fn current() -> Option<&'static Cache> {
    // SAFETY: the thread-local holds 0 or a cache, and caches are never deallocated.
    unsafe { (tls::get() as *const Cache).as_ref() }
}

/// Leases a slot for this thread. `None` when out of memory or slots.
#[cold]
#[inline(never)]
pub(crate) fn lease() -> Option<&'static Cache> {
    let mut leases = LEASES.lock();
    let first = leases.key.is_none();
    if first {
        leases.key = Some(make_key()?);
        scavenge::configure();
    }
    let key = leases.key?;
    let cache = leases.take_lowest()?;
    drop(leases);
    tls::set(ptr::from_ref(cache) as usize);
    // Either call may allocate, which works from here on.
    if first {
        // SAFETY: the handlers only take and release galloc's locks.
        unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
    }
    // SAFETY: the key exists; the value is never dereferenced by its destructor.
    unsafe { libc::pthread_setspecific(key, ptr::from_ref(cache).cast()) };
    Some(cache)
}

fn make_key() -> Option<libc::pthread_key_t> {
    let mut key = 0;
    // SAFETY: key is a place to write to.
    (unsafe { libc::pthread_key_create(&mut key, Some(thread_exit)) } == 0).then_some(key)
}

impl Leases {
    fn take_lowest(&mut self) -> Option<&'static Cache> {
        let words = self.made.div_ceil(64);
        if let Some(i) = self.free[..words].iter().position(|&w| w != 0) {
            let slot = i * 64 + self.free[i].trailing_zeros() as usize;
            return self.take(slot);
        }
        if self.made == MAX_SLOTS {
            return None;
        }
        let slot = self.made;
        let p = persistent_alloc(size_of::<Cache>(), align_of::<Cache>())?;
        // SAFETY: zeroed memory of the right size and alignment, ours for ever; init makes the only
        // fields for which zero is not valid.
        let cache = unsafe { &*p.cast::<Cache>() };
        cache.init(slot);
        CACHES[slot].store(ptr::from_ref(cache).cast_mut(), Ordering::Release);
        self.made += 1;
        Some(cache)
    }

    fn take(&mut self, slot: usize) -> Option<&'static Cache> {
        self.free[slot / 64] &= !(1 << (slot % 64));
        cache(slot)
    }

    fn end(&mut self, slot: usize) {
        self.free[slot / 64] |= 1 << (slot % 64);
    }
}

fn cache(slot: usize) -> Option<&'static Cache> {
    let p = CACHES[slot].load(Ordering::Acquire);
    // SAFETY: caches are never deallocated.
    unsafe { p.as_ref() }
}

/// Every cache there is.
pub(crate) fn each(mut f: impl FnMut(&'static Cache)) {
    let made = LEASES.lock().made;
    (0..made).filter_map(cache).for_each(&mut f);
}

/// Ends this thread's lease of its slot, as a runtime does whose thread goes idle; the cache stays as
/// it is for the next thread that leases the slot. The thread leases again when it next allocates.
///
/// Never needed for correctness: a thread's exit does it too.
///
/// ```
/// galloc::release_slot();
/// ```
pub fn release_slot() {
    if let Some(cache) = current() {
        tls::set(0);
        LEASES.lock().end(cache.slot.get());
    }
}

/// The pthread key's destructor.
unsafe extern "C" fn thread_exit(_: *mut libc::c_void) {
    if let Some(cache) = current() {
        cache.flush();
        release_slot();
    }
}

/// Empties the caches of slots that nobody has leased.
pub(crate) fn drain_idle() {
    let made = LEASES.lock().made;
    for slot in 0..made {
        let mut leases = LEASES.lock();
        if leases.free[slot / 64] >> (slot % 64) & 1 == 0 {
            continue;
        }
        let Some(cache) = leases.take(slot) else {
            continue;
        };
        drop(leases);
        cache.flush();
        LEASES.lock().end(slot);
    }
}

unsafe extern "C" fn before_fork() {
    LEASES.acquire();
    CENTRAL.iter().for_each(|c| c.list.acquire());
    HEAP.acquire();
    persistent_alloc::CURRENT.acquire();
}

unsafe extern "C" fn after_fork() {
    // SAFETY: before_fork took them all, on this thread or on the one it is a copy of.
    unsafe {
        persistent_alloc::CURRENT.release();
        HEAP.release();
        CENTRAL.iter().for_each(|c| c.list.release());
        LEASES.release();
    }
}

unsafe extern "C" fn in_child() {
    // SAFETY: as after_fork, which this is in the child.
    unsafe { after_fork() };
    scavenge::in_child();
}
