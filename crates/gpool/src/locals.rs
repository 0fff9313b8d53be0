//! The array of shards, which costs a thread's share only where the thread has put something.
//!
//! Re-creates `poolLocal`, its padding and `indexLocal` of Go 1.27's `sync/pool.go` (R110, R112). Go has
//! an array of shards, one for each P. Here it is an array of places for shards, because slots are as
//! many as threads ever ran at once, and most pools are used by a few of them.
//!
//! ```text
//!   Locals:  | place 0 | place 1 | .. | place 12 | used | more ---> | place 13 | ..
//!                 v                       v
//!             [ shard, 128 bytes ]    [ shard ]            a place is null until its slot's first put
//! ```
//!
//! Invariants
//! - Place `i` goes from null to a shard once, by the holder of slot `i`, while pinned. So whoever is
//!   inside the array may use a shard that it has seen there for as long as it stays inside.
//! - Every place from `used` on is null.
//!
//! Memory ordering: a place is written with Release and read with Acquire, which shows the empty shard.
//! `used` is Relaxed, as a hint: what it misses is a shard whose first put does not happen before.
//!
//! Rejected: shards in the array itself, as in Go: one load less, which is not to be measured, but
//! 128 bytes for each thread of the process in each pool, which no unused pool gets rid of.

use core::ptr;

use crate::chain::{Chain, try_box};
use crate::dequeue::Cell;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};

/// What one slot keeps in one pool. A multiple of 128 bytes, so that neighbours share no line, nor
/// the pair of lines that x86 prefetches together (R112).
#[repr(align(128))]
pub(crate) struct Local<T> {
    /// The slot's own item: pushed and popped without a locked instruction.
    pub(crate) private: Cell<T>,
    /// The rest: pushed and popped at the head by the slot's thread, at the tail by anybody.
    pub(crate) shared: Chain<T>,
}

const _: () = assert!(size_of::<Local<Box<u8>>>() == 128);
const _: () = assert!(size_of::<Local<[u8; 200]>>().is_multiple_of(128));

impl<T> Local<T> {
    /// `None` without memory.
    pub(crate) fn try_new() -> Option<Box<Self>> {
        try_box(Self {
            private: Cell::empty(),
            shared: Chain::new(),
        })
    }

    /// # Safety
    /// The caller holds this shard's slot, or has the array to itself.
    #[inline(always)]
    pub(crate) unsafe fn take_private(&self) -> Option<T> {
        // SAFETY: the caller is the only one to touch `private`, and it is full.
        self.private
            .is_full(Ordering::Relaxed)
            .then(|| unsafe { self.private.empty_out() })
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.private.is_full(Ordering::Relaxed)) + self.shared.len()
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        // SAFETY: the shard is being dropped: nobody else is here.
        drop(unsafe { self.take_private() });
    }
}

/// Null, or a shard that it owns.
struct Place<T>(AtomicPtr<Local<T>>);

impl<T> Place<T> {
    fn empty() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline(always)]
    fn get(&self) -> Option<&Local<T>> {
        // SAFETY: null, or a box's pointer, which stays here as long as the place is borrowed shared:
        // only `take` and `drop` remove it.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    fn take(&mut self) -> Self {
        let local = self.0.load(Ordering::Relaxed);
        self.0.store(ptr::null_mut(), Ordering::Relaxed);
        Self(AtomicPtr::new(local))
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let local = self.0.load(Ordering::Relaxed);
        if !local.is_null() {
            // SAFETY: the pointer came from a box, which the place owns.
            drop(unsafe { Box::from_raw(local) });
        }
    }
}

/// Places that need no second allocation. With them the array is two lines long.
const NEAR: usize = if cfg!(loom) { 2 } else { 13 };

/// Places for shards, one for each slot up to a number. Every operation reads it, so it is aligned to
/// share no line with what the allocator places beside it.
#[repr(align(64))]
pub(crate) struct Locals<T> {
    near: [Place<T>; NEAR],
    /// Places before this number may hold a shard. Raised by who installs one.
    used: AtomicUsize,
    more: Box<[Place<T>]>,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Locals<u8>>() == 128 || size_of::<usize>() != 8);

impl<T> Locals<T> {
    /// An array with a place for slot `id`, and for as many others as that costs; `None` without memory.
    pub(crate) fn try_new(id: usize) -> Option<Box<Self>> {
        let len = (id + 1).next_power_of_two();
        let mut more = Vec::new();
        if id >= NEAR {
            more.try_reserve_exact(len - NEAR).ok()?;
            more.resize_with(len - NEAR, Place::empty);
        }
        try_box(Self {
            near: core::array::from_fn(|_| Place::empty()),
            used: AtomicUsize::new(0),
            more: more.into_boxed_slice(),
        })
    }

    #[inline(always)]
    fn place(&self, id: usize) -> Option<&Place<T>> {
        match self.near.get(id) {
            Some(near) => Some(near),
            None => self.more.get(id - NEAR),
        }
    }

    /// Whether slot `id` may have a shard here.
    #[inline]
    pub(crate) fn reaches(&self, id: usize) -> bool {
        self.place(id).is_some()
    }

    /// The shard of slot `id`, if it has one.
    #[inline(always)]
    pub(crate) fn local(&self, id: usize) -> Option<&Local<T>> {
        self.place(id)?.get()
    }

    /// Gives slot `id` its shard, unless the array does not reach so far.
    ///
    /// # Safety
    /// The caller is pinned and holds the slot, which has no shard yet.
    pub(crate) unsafe fn install(&self, id: usize, local: Box<Local<T>>) -> Option<&Local<T>> {
        let place = self.place(id)?;
        place.0.store(Box::into_raw(local), Ordering::Release);
        self.used.fetch_max(id + 1, Ordering::Relaxed);
        place.get()
    }

    /// The shards that there are, each once, from that of slot `from` on.
    fn iter(&self, from: usize) -> impl Iterator<Item = &Local<T>> {
        let used = self.used.load(Ordering::Relaxed);
        let from = if from < used { from } else { 0 };
        (from..used).chain(0..from).filter_map(|id| self.local(id))
    }

    pub(crate) fn shards(&self) -> usize {
        self.iter(0).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.iter(0).map(Local::len).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter(0).all(|local| local.len() == 0)
    }

    /// Takes over the shards of an array that does not reach as far.
    pub(crate) fn adopt(&mut self, old: &mut Self) {
        let places = self.near.iter_mut().chain(&mut self.more);
        for (new, old) in places.zip(old.near.iter_mut().chain(&mut old.more)) {
            *new = old.take();
        }
        let used = old.used.load(Ordering::Relaxed);
        self.used.store(used, Ordering::Relaxed);
    }

    /// Takes one item, the oldest of the first shard that has any; the private ones last.
    pub(crate) fn take_any(&mut self) -> Option<T> {
        self.steal(0).or_else(|| {
            // SAFETY: the array is borrowed exclusively.
            self.iter(0).find_map(|l| unsafe { l.take_private() })
        })
    }

    /// Pops a tail, looking at every shard once, from that of slot `from` on.
    pub(crate) fn steal(&self, from: usize) -> Option<T> {
        self.iter(from).find_map(|local| local.shared.pop_tail())
    }
}
