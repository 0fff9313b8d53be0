//! The list of objects that other threads freed into a span.
//!
//! One word: the head of a list linked through the objects' first words, or [`FULL`]. Idea:
//! mimalloc's cross-thread free list; the hand-over of a full span is this crate's.
//!
//! - Whoever owns the span takes the whole list by one swap; others push by one CAS. Nobody pops a
//!   single object, so a recurring head does no harm (no ABA).
//! - An owner that has run out of objects *seals*: CAS from empty to FULL. It drops its claim
//!   before that and forgets the span. A full span is on no list and belongs to nobody.
//! - The first to free into a sealed span breaks the seal, CAS from FULL to empty, and with that
//!   *adopts* the span: it alone may now use the owner's fields. That is the one notice a full
//!   span costs, and it needs no queue and no lock. Rejected: telling the old owner, which may
//!   sleep or be gone.
//!
//! Ordering: a push is a Release RMW, and RMWs continue one another's release sequence, so the
//! Acquire swap of `take` sees the links of every object in the list. `seal` is a Release CAS and
//! breaking it an Acquire one: the adopter sees everything the last owner wrote.

#[cfg(loom)]
use loom::sync::atomic::{AtomicUsize, Ordering};

#[cfg(not(loom))]
use core::sync::atomic::{AtomicUsize, Ordering};

use core::ptr;

/// The head of a sealed list. No object has this address.
const FULL: usize = 1;

/// A free object: its first word links to the next.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Block {
    pub(crate) next: *mut Block,
}

#[derive(Debug)]
pub(crate) struct RemoteList {
    /// 0, FULL or the first block. Pushed to by any thread, taken and sealed by the owner.
    head: AtomicUsize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Freed {
    /// The object is on the list.
    Pushed,
    /// The span was full; the caller owns it now, and still holds the object.
    Adopted,
}

impl RemoteList {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicUsize::new(0),
        }
    }

    /// Gives an object back to a span the caller does not own.
    ///
    /// # Safety
    /// `block` is an allocated object of the span, no longer used, at least a word long.
    pub(crate) unsafe fn push(&self, block: *mut Block) -> Freed {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let (new, success) = if head == FULL {
                (0, Ordering::Acquire)
            } else {
                // SAFETY: the caller gave the object up, so its first word is ours to write.
                unsafe { (*block).next = ptr::with_exposed_provenance_mut(head) };
                (block.expose_provenance(), Ordering::Release)
            };
            match self
                .head
                .compare_exchange(head, new, success, Ordering::Relaxed)
            {
                Ok(FULL) => return Freed::Adopted,
                Ok(_) => return Freed::Pushed,
                Err(seen) => head = seen,
            }
        }
    }

    /// All objects pushed so far; null if none. The owner alone.
    pub(crate) fn take(&self) -> *mut Block {
        if self.head.load(Ordering::Relaxed) == 0 {
            return ptr::null_mut();
        }
        ptr::with_exposed_provenance_mut(self.head.swap(0, Ordering::Acquire))
    }

    /// Gives the span up as full. False, and nothing happened, if an object has come meanwhile.
    /// The owner alone, who has dropped its claim.
    pub(crate) fn seal(&self) -> bool {
        self.head
            .compare_exchange(0, FULL, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A block, and what its user wrote: loom sees whether the taker may read that.
    #[repr(C)]
    struct Object {
        block: Block,
        written: UnsafeCell<usize>,
    }

    /// Its address.
    fn object() -> usize {
        let next = ptr::null_mut();
        let object = Object {
            block: Block { next },
            written: UnsafeCell::new(0),
        };
        Box::into_raw(Box::new(object)).expose_provenance()
    }

    /// Uses an object and frees it.
    fn free(list: &RemoteList, object: usize) -> Freed {
        let p = ptr::with_exposed_provenance_mut::<Object>(object);
        // SAFETY: the object is this thread's own.
        unsafe {
            (*p).written.with_mut(|w| *w += 1);
            list.push(p.cast())
        }
    }

    fn drain(list: *mut Block) -> usize {
        let mut p = list.cast::<Object>();
        let mut n = 0;
        while !p.is_null() {
            // SAFETY: a taken list is the taker's, made of boxes.
            let object = unsafe { Box::from_raw(p) };
            // SAFETY: loom says if not.
            assert_eq!(object.written.with(|w| unsafe { *w }), 1);
            p = object.block.next.cast();
            n += 1;
        }
        n
    }

    /// Two threads free while the owner takes: no object is lost and none comes twice.
    #[test]
    fn loom_every_remote_free_is_taken_once() {
        loom::model(|| {
            let list = Arc::new(RemoteList::new());
            // The owner is not the first thread: loom would have it come first every time.
            let owner = {
                let list = list.clone();
                thread::spawn(move || drain(list.take()))
            };
            let freer = {
                let (list, object) = (list.clone(), object());
                thread::spawn(move || free(&list, object) == Freed::Pushed)
            };
            assert_eq!(free(&list, object()), Freed::Pushed);
            assert!(freer.join().unwrap(), "never sealed");
            let early = owner.join().unwrap();
            assert_eq!(early + drain(list.take()), 2);
        });
    }

    /// The owner seals while two threads free: exactly one of the three ends up with the span, and
    /// the fields of an owner are never touched by two.
    #[test]
    fn loom_a_full_span_has_one_heir() {
        struct Span {
            remote: RemoteList,
            fields: UnsafeCell<usize>,
        }
        // SAFETY: `fields` is what the model checks: only the owner touches it.
        unsafe impl Sync for Span {}
        // SAFETY: as above.
        unsafe impl Send for Span {}
        loom::model(|| {
            let span = Arc::new(Span {
                remote: RemoteList::new(),
                fields: UnsafeCell::new(0),
            });
            let freers: Vec<_> = (0..2)
                .map(|_| {
                    let (span, object) = (span.clone(), object());
                    thread::spawn(move || {
                        if free(&span.remote, object) == Freed::Pushed {
                            return false;
                        }
                        // SAFETY: adopted, so ours alone; the block came back with it.
                        unsafe {
                            span.fields.with_mut(|f| *f += 1);
                            let p = ptr::with_exposed_provenance_mut::<Object>(object);
                            drop(Box::from_raw(p));
                        }
                        true
                    })
                })
                .collect();
            // SAFETY: this thread is the owner until it seals.
            span.fields.with_mut(|f| unsafe { *f += 1 });
            let sealed = span.remote.seal();
            if !sealed {
                // SAFETY: still the owner.
                span.fields.with_mut(|f| unsafe { *f += 1 });
            }
            let heirs = freers
                .into_iter()
                .map(|f| f.join().unwrap())
                .filter(|&a| a)
                .count();
            assert_eq!(heirs, usize::from(sealed));
            assert_eq!(heirs + drain(span.remote.take()), 2);
        });
    }
}
