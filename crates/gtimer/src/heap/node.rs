//! A timer of the heap engine, and the two ways to get at it.
//!
//! [`Held`] is a transient status made into a token: it exists only between entering and leaving
//! one, and is the only way to a timer's [`Body`]. [`Ref`] is a timer known to be alive.

use super::Shared;
use super::owned::{Owned, Owners};
use super::status::{Status, Word};
use crate::callback::Callback;
use crate::dary::{Item, NONE};
use crate::prefetch::prefetch_value;
use crate::sync::{AtomicBool, AtomicPtr, UnsafeCell};
use core::fmt;
use core::ops::Deref;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// One timer. Its handle has one share of it, the heap it is in another.
pub(super) struct Node {
    /// The status machine; see `status.rs` for who may change it.
    status: Word,
    /// Whether the timer is on its heap's list of modified timers. Implies that it is in that heap.
    pub(super) linked: AtomicBool,
    pub(super) owners: Owners,
    /// Its seat in the heap; read and written under the heap's lock only.
    seat: AtomicU32,
    /// The next timer of the modified list; written by who links it, read by who drains the list.
    pub(super) next: AtomicPtr<Node>,
    /// Everything else; accessed only through a [`Held`].
    body: UnsafeCell<Body>,
}

pub(super) struct Body {
    /// The heap it is in, null if in none. Changed under that heap's lock. Not dangling: a heap
    /// takes all timers out before it dies, and waits for a transient status to do so.
    pub(super) owner: *const Shared,
    /// The deadline its place in the heap is for. Changed under the heap's lock.
    pub(super) when: i64,
    /// The deadline it shall have, in `ModifiedEarlier` and `ModifiedLater`.
    pub(super) next_when: i64,
    /// Nanoseconds between ticks, 0 for a timer that fires once.
    pub(super) period: i64,
    pub(super) callback: Callback,
}

// SAFETY: the body is reached only through `Held`, of which the status word admits one at a time
// (Acquire on entering, Release on leaving). `owner` is a shared reference in all but lifetime,
// and `Shared` is Sync; the callback is Send.
unsafe impl Send for Node {}
// SAFETY: as above: sharing a node only ever moves its body between threads.
unsafe impl Sync for Node {}

impl Item for Owned {
    #[inline]
    fn seated(&self, seat: u32) {
        self.seat.store(seat, Relaxed);
    }

    #[inline]
    fn prefetch(&self) {
        prefetch_value(&**self);
    }
}

// See `Owners`.
#[cfg(all(target_pointer_width = "64", not(loom)))]
const _: () = assert!(size_of::<Node>() == 88);

impl Node {
    pub(super) fn new(status: Status, body: Body) -> Self {
        Self {
            status: Word::new(status),
            linked: AtomicBool::new(false),
            owners: Owners::one(),
            seat: AtomicU32::new(NONE),
            next: AtomicPtr::new(ptr::null_mut()),
            body: UnsafeCell::new(body),
        }
    }

    #[inline]
    pub(super) fn status(&self) -> Status {
        self.status.load()
    }

    /// Its seat in the heap whose lock the caller holds.
    #[inline]
    pub(super) fn seat(&self) -> u32 {
        self.seat.load(Relaxed)
    }

    /// Enters the transient status `to` if the timer is still at `from`.
    #[inline]
    pub(super) fn enter(&self, from: Status, to: Status) -> Option<Held<'_>> {
        debug_assert!(matches!(
            to,
            Status::Modifying | Status::Running | Status::Removing | Status::Moving
        ));
        self.status.enter(from, to).then_some(Held {
            node: self,
            status: to,
        })
    }

    /// The token of a transient status that this thread entered and whose first token it dropped.
    ///
    /// # Safety
    ///
    /// This thread must hold the transient status `status` of the timer, and no other token of it
    /// may exist.
    pub(super) unsafe fn resume(&self, status: Status) -> Held<'_> {
        debug_assert_eq!(self.status(), status);
        Held { node: self, status }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Body {
    /// The body of a timer in no heap that has nothing to do.
    pub(super) const fn idle() -> Self {
        Self {
            owner: ptr::null(),
            when: 0,
            next_when: 0,
            period: 0,
            callback: Callback::none(),
        }
    }
}

/// A transient status of a timer, held by this thread: exclusive access to its body.
///
/// It must be left before anything that can panic, wait for a heap's lock (for a timer that is in a
/// heap) or run user code: others wait for it while they hold that lock.
#[must_use = "a transient status has to be left"]
pub(super) struct Held<'a> {
    node: &'a Node,
    status: Status,
}

impl Held<'_> {
    #[inline]
    pub(super) fn body<R>(&mut self, f: impl FnOnce(&mut Body) -> R) -> R {
        self.node.body.with_mut(|body| {
            // SAFETY: `self` is the only token of the only thread that entered the status, and
            // `&mut self` is borrowed for the call: nobody else has a reference into the body.
            f(unsafe { &mut *body })
        })
    }

    #[inline]
    pub(super) fn leave(self, to: Status) {
        self.node.status.leave(self.status, to);
    }
}

/// A timer that stays alive for as long as the `Ref` is used.
#[derive(Clone, Copy)]
pub(super) struct Ref(NonNull<Node>);

impl Ref {
    /// # Safety
    ///
    /// The node must stay alive for as long as the result is used: because it is in a heap
    /// whose lock the caller holds, or because the caller has a share of it.
    #[inline]
    pub(super) const unsafe fn new(node: NonNull<Node>) -> Self {
        Self(node)
    }
}

impl Deref for Ref {
    type Target = Node;

    #[inline]
    fn deref(&self) -> &Node {
        // SAFETY: the promise given to `Ref::new`; nodes are only ever shared, never borrowed
        // mutably.
        unsafe { self.0.as_ref() }
    }
}
