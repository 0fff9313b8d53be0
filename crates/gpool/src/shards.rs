//! A pool's shards: get and put for the holder of a slot.
//!
//! Re-creates `Get`, `getSlow` and `Put` of Go 1.27's `sync/pool.go` (R111, R112, R116, R118). The
//! other half, ageing, is `victim.rs`.
//!
//! Invariants
//! - `locals` and `victim` are null or own an array of shards. They are written under `lock` only;
//!   whoever sets one to null must not touch the array before `Slots::quiesce` said true.
//! - Shard `i` of an array has one producer: the thread that holds slot `i`, while pinned.
//! - Nothing here allocates, frees or runs code of the user: an item that finds no room is handed
//!   back with what is missing, and the caller brings it unpinned.
//!
//! `get` never waits: beside an ager it may find nothing, which Go's documentation allows too.

use core::ptr;

use crossbeam_utils::CachePadded;

use crate::chain::{Chain, NeedsRing, Spare, try_box};
use crate::dequeue::Cell;
use crate::pin::Leased;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Mutex, Ordering};

/// What one slot keeps in one pool. A multiple of 128 bytes, so that neighbours share no line, nor
/// the pair of lines that x86 prefetches together (R112).
#[repr(align(128))]
pub(crate) struct Local<T> {
    /// The slot's own item: pushed and popped without a locked instruction.
    private: Cell<T>,
    /// The rest: pushed and popped at the head by the slot's thread, at the tail by anybody.
    shared: Chain<T>,
}

const _: () = assert!(size_of::<Local<Box<u8>>>() == 128);
const _: () = assert!(size_of::<Local<[u8; 200]>>().is_multiple_of(128));

impl<T> Local<T> {
    fn new() -> Self {
        Self {
            private: Cell::empty(),
            shared: Chain::new(),
        }
    }

    /// # Safety
    /// The caller holds this shard's slot, or has the array to itself.
    #[inline(always)]
    unsafe fn take_private(&self) -> Option<T> {
        // SAFETY: the caller is the only one to touch `private`, and it is full.
        self.private
            .is_full(Ordering::Relaxed)
            .then(|| unsafe { self.private.empty_out() })
    }

    fn len(&self) -> usize {
        usize::from(self.private.is_full(Ordering::Relaxed)) + self.shared.len()
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        // SAFETY: the shard is being dropped: nobody else is here.
        drop(unsafe { self.take_private() });
    }
}

/// An array of shards, one for each slot up to its length. Every operation reads this header, so it
/// is aligned to share no line with what the allocator places beside it.
#[repr(align(128))]
pub(crate) struct Locals<T> {
    shards: Box<[Local<T>]>,
    /// As a victim: nothing is left to find. Set by who looked in vain, read as a hint.
    drained: AtomicBool,
}

impl<T> Locals<T> {
    /// `None` without memory.
    pub(crate) fn try_new(len: usize) -> Option<Box<Self>> {
        let mut shards = Vec::new();
        shards.try_reserve_exact(len).ok()?;
        shards.resize_with(len, Local::new);
        try_box(Self {
            shards: shards.into_boxed_slice(),
            drained: AtomicBool::new(false),
        })
    }

    pub(crate) fn slots(&self) -> usize {
        self.shards.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(Local::len).sum()
    }

    /// Takes over the shards of a shorter array, which gets empty ones in exchange.
    pub(crate) fn adopt(&mut self, old: &mut Self) {
        for (new, old) in self.shards.iter_mut().zip(&mut old.shards) {
            core::mem::swap(new, old);
        }
    }

    /// Takes one item, the oldest of the first shard that has any; the private ones last.
    pub(crate) fn take_any(&mut self) -> Option<T> {
        self.steal(0).or_else(|| {
            // SAFETY: the array is borrowed exclusively.
            self.shards.iter().find_map(|l| unsafe { l.take_private() })
        })
    }

    /// Pops a tail, looking at every shard once, from number `from` on.
    fn steal(&self, from: usize) -> Option<T> {
        let (after, before) = self.shards.split_at(from % self.shards.len());
        before
            .iter()
            .chain(after)
            .find_map(|local| local.shared.pop_tail())
    }
}

/// Why a put did not go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// An array that has a shard for this slot.
    Local(usize),
    /// A ring of this size.
    Ring(usize),
    /// Room: the slot keeps as many items as allowed.
    Room,
}

/// Events since the pool was made. Written on slow paths by anybody.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) stolen: AtomicU64,
    pub(crate) revived: AtomicU64,
    pub(crate) ages: AtomicU64,
    pub(crate) aged_out: AtomicU64,
}

pub(crate) struct Shards<T> {
    /// This cycle's array. Written under `lock`.
    pub(crate) locals: AtomicPtr<Locals<T>>,
    /// The array of the cycle before. Written under `lock`.
    pub(crate) victim: AtomicPtr<Locals<T>>,
    /// Items that one slot may keep. Fixed.
    max_idle: usize,
    /// Serialises ageing, growth and shrinking. No code of the user runs under it.
    pub(crate) lock: Mutex,
    pub(crate) counters: CachePadded<Counters>,
}

// SAFETY: the pointers own their arrays, and items move between threads: `T: Send` is all it takes,
// since no two threads ever hold a reference to one item.
unsafe impl<T: Send> Send for Shards<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shards<T> {}

impl<T> Shards<T> {
    pub(crate) fn new(max_idle: usize) -> Self {
        Self {
            locals: AtomicPtr::new(ptr::null_mut()),
            victim: AtomicPtr::new(ptr::null_mut()),
            max_idle,
            lock: Mutex::default(),
            counters: CachePadded::default(),
        }
    }

    /// What pins of this pool hold.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// An item, in Go's order: own private, own head, the others' tails, the victim (R116).
    #[inline(always)]
    pub(crate) fn get(&self, leased: &mut Leased<'_>) -> Option<T> {
        let pin = leased.pin(self.address());
        // SAFETY: null, or an array that is not freed before this pin is gone (see `pin`).
        let locals = unsafe { self.locals.load(Ordering::Acquire).as_ref() };
        let local = locals.and_then(|l| l.shards.get(pin.id()));
        if let Some(local) = local {
            // SAFETY: this thread holds the shard's slot.
            if let Some(item) = unsafe { local.take_private() } {
                return Some(item);
            }
        }
        // SAFETY: this thread is pinned and holds the slot.
        unsafe { self.get_shared(locals, local, pin.id()) }
    }

    /// Out of line, so that callers inline the private path alone.
    ///
    /// # Safety
    /// The caller is pinned and holds slot `id`, whose shard `local` is.
    #[inline(never)]
    unsafe fn get_shared(
        &self,
        locals: Option<&Locals<T>>,
        local: Option<&Local<T>>,
        id: usize,
    ) -> Option<T> {
        // SAFETY: the caller holds the slot, so it is the shard's only producer.
        let own = local.and_then(|l| unsafe { l.shared.pop_head() });
        // SAFETY: as the caller promises.
        own.or_else(|| unsafe { self.get_slow(locals, id) })
    }

    /// # Safety
    /// The caller is pinned and holds slot `id`.
    #[inline(never)]
    unsafe fn get_slow(&self, locals: Option<&Locals<T>>, id: usize) -> Option<T> {
        if let Some(item) = locals.and_then(|l| l.steal(id + 1)) {
            self.counters.stolen.fetch_add(1, Ordering::Relaxed);
            return Some(item);
        }
        // After the others' shards, so that a victim's items may age out.
        // SAFETY: null, or an array that is not freed before the caller's pin is gone.
        let victim = unsafe { self.victim.load(Ordering::Acquire).as_ref() }?;
        if victim.drained.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: this thread holds the shard's slot, in the victim as in the locals.
        let own = victim
            .shards
            .get(id)
            .and_then(|l| unsafe { l.take_private() });
        let item = own.or_else(|| victim.steal(id));
        match item {
            Some(_) => {
                self.counters.revived.fetch_add(1, Ordering::Relaxed);
            }
            // As Go does: what other slots still have as private may age out.
            None => victim.drained.store(true, Ordering::Relaxed),
        }
        item
    }

    /// Keeps an item as the private one, or hands it back: the half of [`put`](Self::put) that is
    /// worth inlining. It returns no reason, so that a small item stays in a register.
    #[inline(always)]
    pub(crate) fn put_private(&self, leased: &mut Leased<'_>, item: T) -> Option<T> {
        let pin = leased.pin(self.address());
        // SAFETY: null, or an array that is not freed before this pin is gone (see `pin`).
        let locals = unsafe { self.locals.load(Ordering::Acquire).as_ref() };
        let Some(local) = locals.and_then(|l| l.shards.get(pin.id())) else {
            return Some(item);
        };
        if local.private.is_full(Ordering::Relaxed) {
            return Some(item);
        }
        // SAFETY: this thread holds the shard's slot, and the cell is empty.
        unsafe { local.private.fill(item) };
        None
    }

    /// Keeps an item: as the private one if there is none, else at the head (R118). Hands it back
    /// with what is missing. `spare` may hold a ring that an earlier try asked for.
    #[inline]
    pub(crate) fn put(
        &self,
        leased: &mut Leased<'_>,
        item: T,
        spare: &mut Option<Spare<T>>,
    ) -> Result<(), (T, Missing)> {
        let pin = leased.pin(self.address());
        // SAFETY: null, or an array that is not freed before this pin is gone (see `pin`).
        let locals = unsafe { self.locals.load(Ordering::Acquire).as_ref() };
        let Some(local) = locals.and_then(|l| l.shards.get(pin.id())) else {
            return Err((item, Missing::Local(pin.id())));
        };
        if local.private.is_full(Ordering::Relaxed) {
            if self.max_idle != usize::MAX && local.len() >= self.max_idle {
                return Err((item, Missing::Room));
            }
            // SAFETY: this thread holds the slot, so it is the shard's only producer.
            return unsafe { local.shared.push_head(item, spare) }
                .map_err(|(item, NeedsRing(size))| (item, Missing::Ring(size)));
        }
        // SAFETY: this thread holds the shard's slot, and the cell is empty.
        unsafe { local.private.fill(item) };
        Ok(())
    }
}

impl<T> Drop for Shards<T> {
    fn drop(&mut self) {
        let own = |p: &AtomicPtr<Locals<T>>| {
            let p = p.load(Ordering::Acquire);
            // SAFETY: the pool is being dropped, so nobody is inside; the pointer came from a box.
            (!p.is_null()).then(|| unsafe { Box::from_raw(p) })
        };
        // Both are owned before either runs an item's `Drop`, which may panic.
        let _both = (own(&self.locals), own(&self.victim));
    }
}
