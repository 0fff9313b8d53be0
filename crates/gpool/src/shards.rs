//! A pool's shards: get and put for the holder of a slot.
//!
//! Re-creates `Get`, `getSlow` and `Put` of Go 1.27's `sync/pool.go` (R111, R112, R116, R118). The
//! other half, ageing, is `victim.rs`.
//!
//! Invariants
//! - `locals` and `victim` are null or own an array of shards (`locals.rs`). They are written under `lock` only;
//!   whoever sets one to null must not touch the array before `Slots::quiesce` said true.
//! - Shard `i` of an array has one producer: the thread that holds slot `i`, while pinned.
//! - Nothing here allocates, frees or runs code of the user: an item that finds no room is handed
//!   back with what is missing, and the caller brings it unpinned.
//!
//! `get` never waits: beside an ager it may find nothing, which Go's documentation allows too.

use core::ptr;

use crate::chain::{NeedsRing, Spare};
use crate::locals::{Local, Locals};
use crate::pin::{Leased, Pin};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU64, Mutex, Ordering};

/// Why a put did not go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// An array that reaches to this slot.
    Place(usize),
    /// This slot's shard.
    Local,
    /// A ring of this size.
    Ring(usize),
    /// Room: the slot keeps as many items as allowed.
    Room,
}

/// What a put may have to bring: made outside the pinned section, taken by the put that needs it.
pub(crate) struct Spares<T> {
    pub(crate) local: Option<Box<Local<T>>>,
    pub(crate) ring: Option<Spare<T>>,
}

impl<T> Spares<T> {
    pub(crate) fn none() -> Self {
        Self {
            local: None,
            ring: None,
        }
    }
}

/// A put whose thread is inside of its pool.
pub(crate) struct Pinned<'a, T> {
    _pin: Pin<'a>,
    /// Null, or the shard of the pin's slot, which may be freed once the pin is gone. A pointer, because the call
    /// that was given it may go on after that.
    local: *const Local<T>,
}

/// Events since the pool was made. Written on slow paths by anybody, so not beside what fast paths
/// read. The next line is far enough where lines are 64 bytes: to have it prefetched hurts only those
/// who write here.
#[derive(Debug, Default)]
#[cfg_attr(target_arch = "x86_64", repr(align(64)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(align(128)))]
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
    /// Nothing is left to find in the victim. Set by who looked in vain, while pinned; cleared under
    /// `lock` once nobody is inside that may have seen the victim before. Read as a hint.
    pub(crate) drained: AtomicBool,
    /// Items that one slot may keep. Fixed.
    max_idle: usize,
    /// Serialises ageing, growth and shrinking. No code of the user runs under it.
    pub(crate) lock: Mutex,
    pub(crate) counters: Counters,
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
            drained: AtomicBool::new(false),
            max_idle,
            lock: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// What pins of this pool hold.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// An item, in Go's order: own private, own head, the others' tails, the victim (R116).
    #[inline(always)]
    pub(crate) fn get(&self, leased: Leased<'_>) -> Option<T> {
        let pin = leased.pin(self.address());
        // SAFETY: null, or an array that is not freed before this pin is gone (see `pin`).
        let locals = unsafe { self.locals.load(Ordering::Acquire).as_ref() };
        let local = locals.and_then(|l| l.local(pin.id()));
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
        if self.drained.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: this thread holds the shard's slot, in the victim as in the locals.
        let own = victim.local(id).and_then(|l| unsafe { l.take_private() });
        let item = own.or_else(|| victim.steal(id));
        match item {
            Some(_) => {
                self.counters.revived.fetch_add(1, Ordering::Relaxed);
            }
            // As Go does: what other slots still have as private may age out.
            None => self.drained.store(true, Ordering::Relaxed),
        }
        item
    }

    /// Keeps an item as the private one, or hands it back, still inside: the half of a put that is worth inlining.
    /// It returns no reason, so that a small item stays in a register.
    #[inline(always)]
    pub(crate) fn put_private<'a>(
        &self,
        leased: Leased<'a>,
        item: T,
    ) -> Option<(Pinned<'a, T>, T)> {
        let pin = leased.pin(self.address());
        // SAFETY: null, or an array that is not freed before this pin is gone (see `pin`).
        let locals = unsafe { self.locals.load(Ordering::Acquire).as_ref() };
        let local = locals.and_then(|l| l.local(pin.id()));
        match local {
            Some(local) if !local.private.is_full(Ordering::Relaxed) => {
                // SAFETY: this thread holds the shard's slot, and the cell is empty.
                unsafe { local.private.fill(item) };
                None
            }
            _ => {
                let local = local.map_or(ptr::null(), ptr::from_ref);
                Some((Pinned { _pin: pin, local }, item))
            }
        }
    }

    /// Keeps an item that is not to be the private one, or hands it back.
    #[inline(always)]
    pub(crate) fn put_shared(&self, pinned: Pinned<'_, T>, item: T) -> Option<T> {
        // SAFETY: null, or a shard that stays as long as the pin, which is dropped at the end of this function.
        let local = unsafe { pinned.local.as_ref() };
        let room = local.filter(|local| !self.is_at_bound(local));
        let Some(local) = room else {
            return Some(item);
        };
        // SAFETY: this thread holds the slot, so it is the shard's only producer.
        unsafe { local.shared.push_head(item) }.err()
    }

    /// Keeps an item as the private one if there is none, else at the head (R118), or hands it back with what is
    /// missing, unless `spares`, which may hold what earlier tries asked for, has it.
    pub(crate) fn put(
        &self,
        leased: Leased<'_>,
        item: T,
        spares: &mut Spares<T>,
    ) -> Result<(), (T, Missing)> {
        let pin = leased.pin(self.address());
        // SAFETY: null, or an array that is not freed before this pin is gone (see `pin`).
        let locals = unsafe { self.locals.load(Ordering::Acquire).as_ref() };
        let Some(locals) = locals.filter(|l| l.reaches(pin.id())) else {
            return Err((item, Missing::Place(pin.id())));
        };
        // SAFETY: this thread is pinned and holds the slot, which has no shard when this is called.
        let install = || unsafe { locals.install(pin.id(), spares.local.take()?) };
        let Some(local) = locals.local(pin.id()).or_else(install) else {
            return Err((item, Missing::Local));
        };
        if !local.private.is_full(Ordering::Relaxed) {
            // SAFETY: this thread holds the shard's slot, and the cell is empty.
            unsafe { local.private.fill(item) };
            return Ok(());
        }
        if self.is_at_bound(local) {
            return Err((item, Missing::Room));
        }
        // SAFETY: this thread holds the slot, so it is the shard's only producer.
        let Err(item) = (unsafe { local.shared.push_head(item) }) else {
            return Ok(());
        };
        // SAFETY: as above.
        unsafe { local.shared.push_new(item, &mut spares.ring) }
            .map_err(|(item, NeedsRing(size))| (item, Missing::Ring(size)))
    }

    #[inline]
    fn is_at_bound(&self, local: &Local<T>) -> bool {
        self.max_idle != usize::MAX && local.len() >= self.max_idle
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
