//! Slots and their pins: what replaces Go's `procPin` and its stopped world.
//!
//! A slot is a small number leased to a thread. Its record holds the pin: the address of the pool
//! that the thread is inside of, or 0. A pin works as a hazard pointer does.
//!
//! ```text
//!   thread:  pin = pool            ager:  locals = null, victim = null
//!            (barrier)                    (barrier)
//!            load locals, victim          wait until no record's pin == pool
//!            ...                          the old arrays are the ager's alone
//!            pin = 0
//! ```
//!
//! Argument: if the thread loaded an old pointer, its load came before the ager's barrier, so its
//! pin did too and the ager waits for it; otherwise it loaded null and never touches the arrays.
//! The pointers themselves are the word `stop`: one load tells both that the pool may be entered
//! and where its shards are. A record made after the ager's barrier is no exception: it is linked
//! before its first pin.
//!
//! Memory ordering: setting and clearing a pin are Release, and the ager's loads Acquire, so that
//! whatever a thread did in the arrays is visible to the ager, also when the ager sees a later pin
//! instead of the 0 in between. The barrier itself is [`Barrier`].
//!
//! Records are never freed and never move; there are as many as threads ever held slots at once.
//!
//! Rejected: a flag per pool besides the pointers (a second load on the hot path); pins inside the
//! pool (they would need a stable address that outlives each array); epochs (an idle thread would
//! have to announce itself, or its epoch would hold everybody's memory).

use core::ptr;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::barrier::Barrier;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering, Wait};

/// One slot. Aligned so that no two threads' pins share a line, or a pair of lines.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Record {
    /// The slot's number. Fixed.
    id: usize,
    /// The pool that the slot's thread is inside of. Written by that thread only.
    pin: AtomicUsize,
    /// The record made before this one. Fixed once the record is linked.
    next: AtomicPtr<Record>,
}

/// Proof that the current thread holds a slot, for one operation.
///
/// Neither `Send` nor `Copy`; made only where the slot was just read.
#[derive(Debug)]
pub(crate) struct Leased<'t> {
    record: &'t Record,
    barrier: Barrier,
    not_send: core::marker::PhantomData<*const ()>,
}

impl<'t> Leased<'t> {
    /// # Safety
    /// The current thread holds the lease of `record` until the value is gone, `barrier` is the
    /// kind of the table that the record is in, and there is no other `Leased` of that record.
    #[inline(always)]
    pub(crate) unsafe fn new(record: &'t Record, barrier: Barrier) -> Self {
        Self {
            record,
            barrier,
            not_send: core::marker::PhantomData,
        }
    }

    /// Enters `pool`. Until the pin is dropped the thread may neither park nor run user code.
    #[inline(always)]
    pub(crate) fn pin(self, pool: usize) -> Pin<'t> {
        debug_assert_eq!(self.record.pin.load(Ordering::Relaxed), 0, "pins nest");
        self.barrier.announce(&self.record.pin, pool);
        Pin {
            record: self.record,
        }
    }
}

/// The slot's thread is inside of a pool.
#[derive(Debug)]
pub(crate) struct Pin<'l> {
    record: &'l Record,
}

impl Pin<'_> {
    #[inline(always)]
    pub(crate) fn id(&self) -> usize {
        self.record.id
    }
}

impl Drop for Pin<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.record.pin.store(0, Ordering::Release);
    }
}

/// All slots: the process has one table, each model and each unit test its own.
#[derive(Debug)]
pub(crate) struct Slots {
    /// The newest record, from which `next` reaches all of them.
    newest: AtomicPtr<Record>,
    /// Numbers in no lease, and how many records there are.
    free: parking_lot::Mutex<Free>,
    barrier: Barrier,
}

#[derive(Debug, Default)]
struct Free {
    /// With room for all, so that a lease ends without memory.
    ids: BinaryHeap<Reverse<usize>>,
    records: Vec<&'static Record>,
}

impl Slots {
    pub(crate) fn new(barrier: Barrier) -> Self {
        Self {
            newest: AtomicPtr::new(ptr::null_mut()),
            free: parking_lot::Mutex::default(),
            barrier,
        }
    }

    pub(crate) fn barrier(&self) -> Barrier {
        self.barrier
    }

    /// Leases the lowest free slot. O(log slots), under a lock.
    pub(crate) fn lease(&self) -> &'static Record {
        let mut free = self.free.lock();
        if let Some(Reverse(id)) = free.ids.pop() {
            return free.records[id];
        }
        let records = free.records.len() + 1;
        free.ids.reserve(records);
        let record: &'static Record = Box::leak(Box::new(Record {
            id: records - 1,
            pin: AtomicUsize::new(0),
            next: AtomicPtr::new(self.newest.load(Ordering::Relaxed)),
        }));
        self.newest
            .store(ptr::from_ref(record).cast_mut(), Ordering::Release);
        free.records.push(record);
        record
    }

    /// Ends a lease. The lock makes what the thread did visible to the slot's next thread.
    ///
    /// # Safety
    /// The current thread holds the lease, and gives it up.
    pub(crate) unsafe fn release(&self, record: &Record) {
        debug_assert_eq!(record.pin.load(Ordering::Relaxed), 0);
        self.free.lock().ids.push(Reverse(record.id));
    }

    /// Clears the pins of threads that are gone: an ager would wait for them. What such a thread was about to do
    /// stays undone, between any two stores of it: at worst an item or a ring is lost, since an item counts as there
    /// (`Cell::fill`, or the ring's head) after it was written, and as gone before its place is used anew.
    ///
    /// # Safety
    /// There is no other thread, and this one is inside of no pool.
    #[cfg(all(unix, not(loom), not(miri)))]
    pub(crate) unsafe fn forget_pins(&self) {
        let mut at = self.newest.load(Ordering::Acquire);
        // SAFETY: records are leaked, so a linked one is valid for ever.
        while let Some(record) = unsafe { at.as_ref() } {
            record.pin.store(0, Ordering::Release);
            at = record.next.load(Ordering::Relaxed);
        }
    }

    /// After the pool's pointers were set to null: waits until nobody is inside that may have
    /// loaded them before. False if the kernel refused the barrier.
    #[must_use]
    pub(crate) fn quiesce(&self, pool: usize) -> bool {
        if !self.barrier.age() {
            return false;
        }
        let mut at = self.newest.load(Ordering::Acquire);
        // SAFETY: records are leaked, so a linked one is valid for ever.
        while let Some(record) = unsafe { at.as_ref() } {
            let wait = Wait::default();
            while record.pin.load(Ordering::Acquire) == pool {
                wait.step();
            }
            at = record.next.load(Ordering::Relaxed);
        }
        true
    }
}
