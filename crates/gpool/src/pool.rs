//! The pool as its users meet it: [`Pool`].
//!
//! Safe code. It holds what surrounds the shards: making items, the reset hook, bringing memory to
//! a put, and the clock of ageing. All code of the user (`New`, the hook, `Drop`, the allocator)
//! runs here, with no pin set and no lock held.

use core::fmt;
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::chain::Spare;
use crate::guard::{ArcGuard, Guard};
use crate::lease::{self, with_slot};
use crate::locals::Local;
use crate::registry::{self, Age};
use crate::shards::{Missing, Pinned, Shards, Spares};
use crate::stats::Stats;

/// A set of items that may be taken and put back by any thread, and that shrinks when unused.
///
/// Go's `sync.Pool`. Each running thread has a shard of its own, so [`get`](Self::get) and
/// [`put`](Self::put) of one item touch nothing that another thread writes and execute no locked
/// instruction; a thread whose shard is empty steals the others' oldest items. What is not used for
/// two [ages](Self::age) is dropped. An item may go at any time without notice, so a pool is for
/// what can be made again: buffers, parsers, encoders. It is no free list of connections.
///
/// - `T`: the items. `Send + 'static`, because any thread may take or drop one.
/// - `F`: what makes a new item, `fn() -> T` unless it captures something.
///
/// `Pool<T, F>` is `Sync` if `F` is; share it in a `static` or an [`Arc`]. It is not `Clone`: a
/// copy would not share the items.
///
/// A put happens before the get that returns the same item.
///
/// # Memory
/// A pool that nobody has put anything into is this struct, 64 bytes where pointers have 8 and `F` is a function.
/// One that holds nothing takes 256 bytes from its next age on, whatever it held before. Until then it takes 384 bytes
/// and 128 for each thread that has put something since the age before, 1 KiB with five of them (neighbouring shards
/// are 128 bytes apart, R112, so eight are a KiB by themselves), and the rings of what such a thread has put beyond
/// one item: 8, 16, 32 and so on cells, as many as were ever needed at once.
///
/// # Example
/// ```
/// use gpool::Pool;
///
/// static BUFFERS: Pool<Vec<u8>> =
///     Pool::new(Vec::new as fn() -> Vec<u8>).with_reset(Vec::clear);
///
/// let mut buffer = BUFFERS.guard();
/// buffer.extend_from_slice(b"hello");
/// assert_eq!(buffer.len(), 5);
/// drop(buffer); // cleared and put back
/// assert!(BUFFERS.get().is_empty());
/// ```
///
/// # What does not compile
/// Copying a pool:
/// ```compile_fail,E0599
/// let pool = gpool::Pool::new(String::new);
/// let copy = pool.clone();
/// ```
/// Pooling what may not change threads:
/// ```compile_fail,E0277
/// let pool = gpool::Pool::new(|| std::rc::Rc::new(1));
/// ```
/// Sharing a pool whose `F` may not be shared:
/// ```compile_fail,E0277
/// let count = std::cell::Cell::new(0);
/// let pool = gpool::Pool::new(move || count.replace(1));
/// fn share<T: Sync>(_: &T) {}
/// share(&pool);
/// ```
/// Sending a pool whose `F` may not be sent:
/// ```compile_fail,E0277
/// let text = std::rc::Rc::new(String::from("new"));
/// let pool = gpool::Pool::new(move || text.to_string());
/// std::thread::spawn(move || pool.get());
/// ```
/// Sharing a guard whose item may not be shared:
/// ```compile_fail,E0277
/// let pool = gpool::Pool::new(|| std::cell::Cell::new(0));
/// fn share<T: Sync>(_: &T) {}
/// share(&pool.guard());
/// ```
/// Sending a guard of a pool that may not be shared:
/// ```compile_fail,E0277
/// let count = std::cell::Cell::new(0);
/// let pool = gpool::Pool::new(move || count.replace(1));
/// fn send<T: Send>(_: &T) {}
/// send(&pool.guard());
/// ```
/// A guard that outlives its pool:
/// ```compile_fail,E0505
/// let pool = gpool::Pool::new(String::new);
/// let guard = pool.guard();
/// drop(pool);
/// guard.len();
/// ```
pub struct Pool<T, F = fn() -> T> {
    /// Made by the first put that keeps something. Behind an `Arc` for a stable address, and
    /// because an ager on another thread may outlive the pool.
    shards: OnceLock<Arc<Shards<T>>>,
    /// Go's `New`. Fixed.
    new: F,
    /// Runs before an item is kept. Fixed.
    reset: Option<fn(&mut T)>,
    /// Items that one slot may keep. Fixed.
    max_idle: usize,
    /// Shortest time between two ages that the pool starts itself. Fixed.
    age_interval: Duration,
    /// When the pool may next age itself, in nanoseconds of [`now`]; 0: not yet known. Written by
    /// whoever wins the exchange, on slow paths.
    next_age: AtomicU64,
    /// Calls of `new`. Written on misses.
    created: AtomicU64,
}

/// Nanoseconds since the first call, at least 1.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_nanos()).map_or(u64::MAX, |n| n.max(1))
}

impl<T: Send + 'static, F: Fn() -> T> Pool<T, F> {
    /// How long a pool waits between two ages of its own, unless told otherwise.
    pub const DEFAULT_AGE_INTERVAL: Duration = Duration::from_secs(10);

    /// An empty pool that makes items with `new`. Allocates nothing.
    #[must_use]
    pub const fn new(new: F) -> Self {
        Self {
            shards: OnceLock::new(),
            new,
            reset: None,
            max_idle: usize::MAX,
            age_interval: Self::DEFAULT_AGE_INTERVAL,
            next_age: AtomicU64::new(0),
            created: AtomicU64::new(0),
        }
    }

    /// Runs `reset` on every item that is put, before it is kept. If it panics, the item is
    /// dropped.
    #[must_use]
    pub const fn with_reset(mut self, reset: fn(&mut T)) -> Self {
        self.reset = Some(reset);
        self
    }

    /// Keeps at most `items` for each slot, that is for each thread that runs at once; a put beyond
    /// that drops its item. 0 keeps nothing. The bound is on what the slot's own shard holds now:
    /// a victim, one age old, comes on top.
    ///
    /// ```
    /// let pool = gpool::Pool::new(String::new).with_max_idle(2);
    /// (0..5).for_each(|_| pool.put(String::new()));
    /// assert_eq!(pool.stats().idle, 2);
    /// ```
    #[must_use]
    pub const fn with_max_idle(mut self, items: usize) -> Self {
        self.max_idle = items;
        self
    }

    /// Ages by itself at most once per `interval`, 10 s by default, and only where a get misses or
    /// a put needs memory: there is no thread behind a pool, and the hot path reads no clock.
    /// [`Duration::MAX`] means never.
    #[must_use]
    pub const fn with_age_interval(mut self, interval: Duration) -> Self {
        self.age_interval = interval;
        self
    }

    /// Takes an item, or makes one.
    ///
    /// O(1) when this thread's shard holds any; else O(slots), stealing; it never waits for
    /// another thread.
    ///
    /// # Panics
    /// If making the item panics, or, where the pool ages itself, if an item's `Drop` does. The
    /// pool stays as it was.
    #[inline]
    pub fn get(&self) -> T {
        match self.try_get() {
            Some(item) => item,
            None => self.miss(),
        }
    }

    /// Takes an item if the pool has one. As [`get`](Self::get) with Go's `New` unset.
    ///
    /// ```
    /// let pool = gpool::Pool::new(|| 7);
    /// assert_eq!(pool.try_get(), None);
    /// pool.put(8);
    /// assert_eq!(pool.try_get(), Some(8));
    /// ```
    #[inline]
    #[must_use = "the item is dropped otherwise"]
    pub fn try_get(&self) -> Option<T> {
        let shards = self.shards.get()?;
        with_slot(
            #[inline(always)]
            |leased| shards.get(leased),
        )
    }

    #[cold]
    #[inline(never)]
    fn miss(&self) -> T {
        self.age_if_due();
        self.created.fetch_add(1, Ordering::Relaxed);
        (self.new)()
    }

    /// Puts an item into the pool. It need not have come from there.
    ///
    /// O(1); the first put of a slot, and one that finds its rings full, allocate. Without memory
    /// the item is dropped; only what a pool's first put and a thread's new slot cannot do without,
    /// less than a KiB, aborts as a `Box` does.
    ///
    /// # Panics
    /// If the reset hook panics, or an item's `Drop` where the pool drops one.
    #[inline]
    pub fn put(&self, item: T) {
        if let Some(reset) = self.reset {
            return self.put_reset(item, reset);
        }
        self.keep(item);
    }

    /// Out of line: a pool without a hook never has its item's address taken.
    #[inline(never)]
    fn put_reset(&self, mut item: T, reset: fn(&mut T)) {
        reset(&mut item);
        self.keep(item);
    }

    #[inline(always)]
    fn keep(&self, item: T) {
        let Some(shards) = self.shards.get() else {
            return self.put_slow(item);
        };
        with_slot(
            #[inline(always)]
            |leased| {
                if let Some((pinned, item)) = shards.put_private(leased, item) {
                    self.put_shared(shards, pinned, item);
                }
            },
        );
    }

    /// The private place is taken, or there is no shard yet. It takes the pin along, so that this call is the last
    /// thing that a put does: one that goes no further keeps nothing for afterwards, and needs no stack.
    #[inline(never)]
    fn put_shared(&self, shards: &Shards<T>, pinned: Pinned<'_, T>, item: T) {
        if let Some(item) = shards.put_shared(pinned, item) {
            self.put_slow(item);
        }
    }

    /// Puts an item if `keep` says so, else drops it: an outsized buffer should not stay for long.
    ///
    /// ```
    /// let pool = gpool::Pool::new(Vec::<u8>::new);
    /// pool.put_if(Vec::with_capacity(1 << 20), |v| v.capacity() <= 1 << 16);
    /// assert_eq!(pool.stats().idle, 0);
    /// ```
    #[inline]
    pub fn put_if(&self, item: T, keep: impl FnOnce(&T) -> bool) {
        if keep(&item) {
            self.put(item);
        }
    }

    /// Brings what is missing, and looks again from the start: the thread may have another slot by then.
    #[cold]
    #[inline(never)]
    fn put_slow(&self, mut item: T) {
        if self.max_idle == 0 {
            return;
        }
        let shards = self.shards();
        let mut spares = Spares::none();
        while let Err((back, missing)) = with_slot(|leased| shards.put(leased, item, &mut spares)) {
            item = back;
            match missing {
                Missing::Room => return,
                Missing::Place(id) if !shards.grow(lease::slots(), id) => return,
                Missing::Place(_) => {}
                Missing::Local => match Local::try_new() {
                    Some(local) => spares.local = Some(local),
                    None => return,
                },
                Missing::Ring(size) => match Spare::try_new(size) {
                    Some(ring) => spares.ring = Some(ring),
                    None => return,
                },
            }
        }
        self.age_if_due();
    }

    fn shards(&self) -> &Arc<Shards<T>> {
        self.shards.get_or_init(|| {
            let shards = Arc::new(Shards::new(self.max_idle));
            registry::enter(&shards);
            shards
        })
    }

    /// Takes an item, or makes one, and puts it back when the guard is dropped.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    #[inline]
    pub fn guard(&self) -> Guard<'_, T, F> {
        Guard::new(self, self.get())
    }

    /// As [`guard`](Self::guard), with a guard that keeps the pool alive and may go anywhere.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    #[inline]
    pub fn arc_guard(pool: &Arc<Self>) -> ArcGuard<T, F> {
        ArcGuard::new(Arc::clone(pool), pool.get())
    }

    /// Ages the pool: drops what has not been used since the age before, and makes the rest
    /// candidates for the next. Returns how many items were dropped.
    ///
    /// Microseconds, whatever the number of items, plus their drops. Users of the pool do not wait
    /// but to grow it.
    ///
    /// # Panics
    /// If an item's `Drop` does; the others are dropped all the same.
    ///
    /// ```
    /// let pool = gpool::Pool::new(String::new);
    /// pool.put(String::from("idle"));
    /// assert_eq!(pool.age(), 0);
    /// assert_eq!(pool.age(), 1);
    /// ```
    pub fn age(&self) -> usize {
        self.shards.get().map_or(0, |shards| Age::age(&**shards))
    }

    fn age_if_due(&self) {
        if self.age_interval == Duration::MAX || self.shards.get().is_none() {
            return;
        }
        let now = now();
        let due = self.next_age.load(Ordering::Relaxed);
        if now < due {
            return;
        }
        let interval = u64::try_from(self.age_interval.as_nanos()).unwrap_or(u64::MAX);
        let won = self
            .next_age
            .compare_exchange(
                due,
                now.saturating_add(interval),
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok();
        if won && due != 0 {
            self.age();
        }
    }

    /// Drops items until at most `keep` are left, those that were put longest ago first.
    ///
    /// Exact if nobody puts meanwhile. O(surplus x slots). The surplus is moved to fresh memory first, in several goes
    /// where that is short; without memory for even one item, the rest is kept.
    ///
    /// # Panics
    /// If an item's `Drop` does.
    ///
    /// ```
    /// let pool = gpool::Pool::new(|| 0);
    /// (0..100).for_each(|i| pool.put(i));
    /// pool.shrink_to(10);
    /// assert_eq!(pool.stats().idle, 10);
    /// ```
    pub fn shrink_to(&self, keep: usize) {
        let Some(shards) = self.shards.get() else {
            return;
        };
        loop {
            let (_, idle, victim) = shards.census();
            let mut batch = (idle + victim).saturating_sub(keep);
            let mut out = Vec::new();
            while out.try_reserve_exact(batch).is_err() {
                batch /= 2;
            }
            let done = shards.shrink(lease::slots(), keep, &mut out);
            if done || batch == 0 {
                return;
            }
        }
    }

    /// What the pool holds and what happened in it. Takes the pool's lock; for reports.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let created = self.created.load(Ordering::Relaxed);
        match self.shards.get() {
            Some(shards) => Stats::of(shards, created),
            None => Stats {
                created,
                ..Stats::default()
            },
        }
    }
}

impl<T, F> Drop for Pool<T, F> {
    /// Drops the items, on this thread unless an ager is at work on the pool.
    fn drop(&mut self) {
        if let Some(shards) = self.shards.get() {
            registry::leave(shards.address());
        }
    }
}

impl<T: Send + Default + 'static> Default for Pool<T> {
    /// A pool whose items start as `T::default()`.
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T, F> fmt::Debug for Pool<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Pool");
        if let Some(shards) = self.shards.get() {
            let (slots, idle, victim) = shards.census();
            out.field("slots", &slots)
                .field("idle", &idle)
                .field("victim", &victim);
        }
        out.finish_non_exhaustive()
    }
}

const _: () = {
    const fn send_and_sync<T: Send + Sync>() {}
    // `Cell` is Send but not Sync: a pool of them is both, since no item is ever shared.
    send_and_sync::<Pool<core::cell::Cell<u8>>>();
    send_and_sync::<Guard<'static, u8>>();
    send_and_sync::<ArcGuard<u8>>();
    // An unused pool is its own size and nothing else.
    assert!(size_of::<Pool<u8>>() <= 128);
};
