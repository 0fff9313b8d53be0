//! The engine of Go 1.15: one heap per P, run by the scheduler, stopped lazily (R59 to R63).
//!
//! Re-creates `addtimer`, `deltimer`, `modtimer`, `cleantimers`, `adjusttimers`, `runtimer`,
//! `clearDeletedTimers`, `moveTimers` and `checkTimers` of Go 1.15 to 1.22 (`runtime/time.go`,
//! `runtime/proc.go`), read in Go 1.19.
//!
//! **Who does what.** [`Timers`] is one heap behind a short lock. Inserting, running, clearing and
//! moving take the lock. Stopping and resetting an armed timer do not: they change its status word
//! and leave the heap's array alone, whichever P's it is, and whoever holds the lock puts the entry
//! right when it gets to it. So timeouts that are created, postponed and stopped, which is
//! what most timers are for, cost an append and a few instructions on the timer's own cache line.
//!
//! **Where it departs from Go**
//! - Timers moved to an earlier deadline are linked, not searched for (`modified.rs`).
//! - Each timer knows its place, so an entry is removed or moved in place. Go dropped the index in
//!   1.15 and pays with scans.
//! - Clearing is spread out: once stopped timers exceed a quarter of the heap, each insertion and
//!   each check looks at a few entries, instead of one pass over the whole heap under the lock
//!   (10 ms at a million timers); once they exceed a half, each stop does. No scheduler may be
//!   around to do it.
//! - Moving the timers of a dying P goes by chunks, without stopping the world.
//!
//! **Two words without the lock.** `first` is the deadline of the heap's root, stored by the lock's
//! holder. `modified_earliest` is the earliest deadline of a linked timer, lowered by resets.
//! `next_when` is the smaller. Before the drain raises the second it lowers the first to it, and
//! readers load them in the opposite order, so a reader never misses a timer in between.
//!
//! A reset to an earlier deadline lowers `modified_earliest`, issues a SeqCst fence, and reads
//! `first` to tell whether it became the earliest. If it reads a stale, earlier `first`, then the
//! waiter that goes to sleep on the newer one has read that store before its own fence (step 2 in
//! [`Engine`](crate::Engine)), so its second look finds the lowered word.
//!
//! **Lock order.** A heap's lock, then a transient status of a timer in it. The other way round only
//! for a timer in no heap (arming it, moving it), for which no holder of a lock waits.

#[cfg(all(test, loom))]
mod loom;
mod modified;
mod modify;
mod moving;
mod node;
mod owned;
mod run;
mod status;

pub use run::Due;
pub use status::Status;

use crate::Callback;
use crate::dary::Dary;
use crate::engine::{Armed, check_period, engine};
use crate::lock::{Guard, Lock};
use crate::sync::{AtomicI64, AtomicUsize, Ordering};
use crate::when::{NEVER, clamp};
use alloc::sync::Arc;
use core::fmt;
use modified::Modified;
use node::{Body, Node, Ref};
use owned::Owned;

/// One heap of timers: one per P, or one for a whole program.
///
/// See [`Engine`](crate::Engine) for the rules of the operations, which are also methods here. The heap is
/// 0.3 KiB when empty, and a timer takes 88 bytes plus 28 in the heap's arrays.
///
/// ```
/// use gtimer::{Callback, NEVER, heap::Timers};
///
/// let timers = Timers::new();
/// let (timeout, earliest) = timers.insert(1_000, 0, Callback::once(|| println!("timeout")));
/// assert!(earliest); // whoever waits for this heap has to be woken
/// assert_eq!(timers.check(999), (1_000, 0));
/// assert!(timers.reset(&timeout, 2_000).was_pending);
/// assert_eq!(timers.check(1_500), (2_000, 0));
/// assert!(timeout.stop());
/// assert_eq!(timers.check(3_000), (NEVER, 0));
/// ```
pub struct Timers {
    shared: Arc<Shared>,
}

/// A timer: the user's half of the joint ownership with the heap. Dropping it stops the timer.
///
/// It may be armed and stopped any number of times, on any heap, from any thread, and is allocated
/// once.
///
/// ```
/// fn send_and_sync<T: Send + Sync>() {}
/// send_and_sync::<gtimer::heap::Handle>();
/// send_and_sync::<gtimer::heap::Timers>();
/// ```
pub struct Handle {
    node: Owned,
}

/// What threads share of one heap.
#[repr(align(128))]
struct Shared {
    heap: Lock<Heap>,
    /// The root's deadline or less; `NEVER` if the heap is empty. Stored under the lock.
    first: AtomicI64,
    /// At most the deadline of any linked timer, `NEVER` if there is none. Lowered by resets without
    /// the lock, raised to `NEVER` by the drain under it.
    modified_earliest: AtomicI64,
    /// Timers linked for an earlier deadline.
    modified: Modified,
    /// Timers at `Deleted`. Raised before a timer becomes `Deleted`, lowered after it has left, so
    /// it is never less than their number.
    deleted: AtomicUsize,
    /// Entries in the heap. Stored under the lock.
    len: AtomicUsize,
}

/// What the lock protects.
#[derive(Debug)]
struct Heap {
    entries: Dary<Owned>,
    /// Entries that this round of sweeping for stopped timers has still to look at: those below.
    cursor: usize,
}

impl Shared {
    #[inline]
    fn next_when(&self) -> i64 {
        // In this order; see the head comment.
        let modified = self.modified_earliest.load(Ordering::Acquire);
        self.first.load(Ordering::Acquire).min(modified)
    }

    /// Whether stopped timers exceed a quarter of the heap (R60).
    #[inline]
    fn crowded(&self) -> bool {
        self.deleted.load(Ordering::Relaxed) > self.len.load(Ordering::Relaxed) / 4
    }

    /// Tells the world what the heap looks like; called before every unlock after a change.
    #[inline]
    fn publish(&self, heap: &Heap) {
        self.first.store(heap.entries.earliest(), Ordering::Release);
        self.len.store(heap.entries.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> Guard<'_, Heap> {
        self.heap.lock()
    }
}

impl Heap {
    /// The root.
    #[inline]
    fn root(&self) -> Option<(i64, Ref)> {
        let (when, node) = self.entries.root()?;
        Some((when, Self::alive(node)))
    }

    /// The timer that is cheapest to remove.
    #[inline]
    fn last(&self) -> Option<Ref> {
        self.nth(self.entries.len().checked_sub(1)?)
    }

    /// The timer of entry `i`.
    #[inline]
    fn nth(&self, i: usize) -> Option<Ref> {
        self.entries.nth(i).map(Self::alive)
    }

    #[inline]
    fn alive(node: &Owned) -> Ref {
        // SAFETY: `node` is in a heap reached through its lock, and callers take its share
        // out only to keep it until they are done with the `Ref`.
        unsafe { Ref::new(node.as_ptr()) }
    }
}

impl Timers {
    /// An empty heap.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                heap: Lock::new(Heap {
                    entries: Dary::new(),
                    cursor: 0,
                }),
                first: AtomicI64::new(NEVER),
                modified_earliest: AtomicI64::new(NEVER),
                modified: Modified::new(),
                deleted: AtomicUsize::new(0),
                len: AtomicUsize::new(0),
            }),
        }
    }

    /// A timer that is not armed; as [`Handle::new`], for it belongs to no heap yet.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new()
    }

    /// A new timer; see [`Engine::insert`](crate::Engine::insert).
    ///
    /// # Panics
    ///
    /// If `period` is negative, or positive with a callback that can run only once.
    pub fn insert(&self, when: i64, period: i64, callback: Callback) -> (Handle, bool) {
        check_period(period, &callback);
        let when = clamp(when);
        let node = Owned::new(Node::new(
            Status::Waiting,
            Body {
                owner: Arc::as_ptr(&self.shared),
                when,
                next_when: when,
                period,
                callback,
            },
        ));
        let handle = Handle { node: node.clone() };
        let (earliest, garbage) = self.shared.add(when, node);
        drop(garbage);
        (handle, earliest)
    }

    /// Arms a timer anew; see [`Engine::arm`](crate::Engine::arm).
    ///
    /// A timer that is armed stays in the heap it is in, whichever that is; otherwise it goes
    /// into this one, also if it was stopped in another a moment ago. [`Armed::earliest`] speaks of the heap it is in.
    ///
    /// # Panics
    ///
    /// As [`insert`](Self::insert).
    pub fn arm(&self, timer: &Handle, when: i64, period: i64, callback: Callback) -> Armed {
        let (armed, old) = self.exchange(timer, when, period, callback);
        drop(old);
        armed
    }

    /// As [`arm`](Self::arm), and hands out the callback that was replaced; see
    /// [`Engine::exchange`](crate::Engine::exchange).
    ///
    /// # Panics
    ///
    /// As [`insert`](Self::insert).
    #[must_use = "whoever waits may have to be woken; and the old callback should be dropped after that"]
    pub fn exchange(
        &self,
        timer: &Handle,
        when: i64,
        period: i64,
        callback: Callback,
    ) -> (Armed, Callback) {
        check_period(period, &callback);
        self.modify(timer, clamp(when), Some((period, callback)))
    }

    /// Gives a timer another deadline; see [`Engine::reset`](crate::Engine::reset) and [`arm`](Self::arm).
    pub fn reset(&self, timer: &Handle, when: i64) -> Armed {
        self.modify(timer, clamp(when), None).0
    }

    /// Runs what is due at `now`; see [`Engine::check`](crate::Engine::check). Another P's thread may call it to steal.
    #[inline]
    pub fn check(&self, now: i64) -> (i64, usize) {
        let next = self.shared.next_when();
        if now < next && !self.shared.crowded() {
            return (next, 0);
        }
        self.shared.check(now)
    }

    /// The deadline to mind; see [`Engine::next_when`](crate::Engine::next_when). Two loads.
    #[inline]
    #[must_use]
    pub fn next_when(&self) -> i64 {
        self.shared.next_when()
    }

    /// Entries in the heap, stopped timers that have not been cleared included: at most about
    /// twice the armed ones.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len.load(Ordering::Relaxed)
    }

    /// Whether the heap has no entry.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a timer is armed: a stopped one that has not been cleared yet is an entry, and may be the
    /// one that [`next_when`](Self::next_when) announces, but will fire no more. Two loads.
    ///
    /// For a report of a deadlock, when all is quiet: a timer that is being armed or stopped by
    /// another thread may or may not count.
    ///
    /// ```
    /// use gtimer::{Callback, heap::Timers};
    /// let timers = Timers::new();
    /// let timeout = timers.insert(1_000, 0, Callback::none()).0;
    /// assert!(timers.any_armed());
    /// assert!(timeout.stop());
    /// assert_eq!(timers.next_when(), 1_000); // not cleared yet
    /// assert!(!timers.any_armed());
    /// ```
    #[must_use]
    pub fn any_armed(&self) -> bool {
        self.len() > self.shared.deleted.load(Ordering::Relaxed)
    }
}

impl Handle {
    /// A timer that is not armed: the one allocation of its life.
    #[must_use]
    pub fn new() -> Self {
        Self {
            node: Owned::new(Node::new(Status::NoStatus, Body::idle())),
        }
    }

    /// Where it stands at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Lets the timer go on without a handle: it fires, or dies with its heap. One that is not armed is
    /// dropped.
    pub fn detach(self) {
        if !self.is_pending() {
            return;
        }
        let this = core::mem::ManuallyDrop::new(self);
        // SAFETY: the handle is not used again, so its share moves.
        drop(unsafe { core::ptr::read(&raw const this.node) });
    }
}

engine!(Timers, Handle);

impl Default for Handle {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.status()).finish()
    }
}
