//! The count of a timer's owners: its handle, the heap it is in, and whoever has just taken it out of one.
//!
//! An `Arc` without weak references: these take 8 bytes more, and a locked instruction more when a timer
//! is freed; and as there are none, a sole owner knows that it is the last without changing the count.

use super::node::Node;
use crate::sync::{AtomicU16, Ordering};
use alloc::boxed::Box;
use core::fmt;
use core::ops::Deref;
use core::ptr::NonNull;

/// How many own a [`Node`]. In two bytes, so that a node takes 88: with glibc's own 8 that is one and
/// a half cache lines.
#[derive(Debug)]
pub(super) struct Owners(AtomicU16);

/// So many that the count might soon overflow. Only a program gets there that keeps, or leaks, thousands
/// of [`Due`](super::Due)s which all removed the same timer.
const TOO_MANY: u16 = 1 << 15;

/// One owner's share of a timer.
pub(super) struct Owned(NonNull<Node>);

// SAFETY: as an `Arc` of a `Node`, which is Send and Sync: shares give shared references, and the node is
// dropped by the last one, after all that the others did.
unsafe impl Send for Owned {}
// SAFETY: as above.
unsafe impl Sync for Owned {}

impl Owners {
    pub(super) fn one() -> Self {
        Self(AtomicU16::new(1))
    }
}

impl Owned {
    pub(super) fn new(node: Node) -> Self {
        Self(NonNull::from(Box::leak(Box::new(node))))
    }

    /// Where the timer lies.
    #[inline]
    pub(super) const fn as_ptr(&self) -> NonNull<Node> {
        self.0
    }
}

impl Clone for Owned {
    #[inline]
    fn clone(&self) -> Self {
        if self.owners.0.fetch_add(1, Ordering::Relaxed) >= TOO_MANY {
            too_many();
        }
        Self(self.0)
    }
}

impl Drop for Owned {
    #[inline]
    fn drop(&mut self) {
        let owners = &self.owners.0;
        // Whoever is alone stays alone: only an owner can make another.
        if owners.load(Ordering::Acquire) != 1 && owners.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        // SAFETY: it came out of a box in `new`, and this was the last share: what the others did with
        // the timer happened before their Release, and that before this Acquire.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl Deref for Owned {
    type Target = Node;

    #[inline]
    fn deref(&self) -> &Node {
        // SAFETY: alive while a share of it is; nodes are only ever shared, never borrowed mutably.
        unsafe { self.0.as_ref() }
    }
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Ends the program, as an overflowing `Arc` does; without `std` by a panic while panicking.
#[cold]
fn too_many() -> ! {
    struct Again;
    impl Drop for Again {
        fn drop(&mut self) {
            panic!("a timer has too many owners");
        }
    }
    let _again = Again;
    panic!("a timer has too many owners");
}
