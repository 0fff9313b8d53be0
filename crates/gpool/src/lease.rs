//! Which slot the current thread holds.
//!
//! A slot is leased to an OS thread, never to a scheduler's P: the thread that lost its P still
//! runs, and would race the P's new holder. A thread without a slot leases the lowest free one at
//! its first use of any pool; the lease ends when the thread exits, or by [`release_slot`].
//!
//! Invariant: every operation reads the slot afresh, and between that read and the end of its pin
//! there is no park, no entry of a runtime and no code of the user. A goroutine may resume on
//! another thread after any call that can park, so nothing derived from the slot may live across
//! one: neither in a variable nor in a register that holds a thread-local's address. On Linux
//! x86-64 the read is therefore one instruction sequence in asm, not `pure`, so that the compiler
//! neither caches nor hoists it, nor the address. Elsewhere it is a `thread_local!`, which is right
//! for threads and futures.
//!
//! Two thread-locals: `FAST`, a bare pointer without destructor, set only where pins are light (see
//! `barrier`), and `LEASE`, which owns the lease and whose destructor ends it. A thread that uses a
//! pool after that destructor ran leases a slot for the one operation.

use core::cell::Cell;
use core::ptr;
use std::sync::OnceLock;

use crate::barrier::Barrier;
use crate::pin::{Leased, Record, Slots};

static SLOTS: OnceLock<Slots> = OnceLock::new();

/// The slots of the process.
pub(crate) fn slots() -> &'static Slots {
    SLOTS.get_or_init(|| {
        forget_pins_in_children();
        Slots::new(Barrier::of_process())
    })
}

/// In a child of `fork` the parent's other threads are gone, with whatever pools they were inside of.
fn forget_pins_in_children() {
    #[cfg(all(unix, not(loom), not(miri)))]
    {
        extern "C" fn child() {
            if let Some(slots) = SLOTS.get() {
                // SAFETY: the child has one thread, which forked, and so was inside of no pool.
                unsafe { slots.forget_pins() }
            }
        }
        // SAFETY: the handler stores to atomics, as is allowed in such a child. Without memory for it, agers of
        // children may wait for ever.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(miri), not(loom)))]
mod fast {
    //! `FAST` as a symbol of our own in the initial-exec model: its offset from the thread pointer
    //! is read from the GOT (a constant after linking an executable), with no call even in a
    //! shared object. Hidden, and named after a static, whose name the compiler makes a different one in
    //! every copy of this crate that a program may hold.

    use super::{Record, ptr};

    /// What this copy's symbol is named after. Used, lest link-time optimisation give it a name that the
    /// symbol does not have.
    #[used]
    static COPY: u8 = 0;

    core::arch::global_asm!(
        ".pushsection .tbss.gpool_fast_slot,\"awT\",@nobits",
        ".globl {copy}.fast_slot",
        ".hidden {copy}.fast_slot",
        ".type {copy}.fast_slot,@object",
        ".p2align 3",
        "{copy}.fast_slot:",
        ".zero 8",
        ".size {copy}.fast_slot, 8",
        ".popsection",
        copy = sym COPY,
    );

    #[inline(always)]
    pub(super) fn get() -> *const Record {
        let record: *const Record;
        // SAFETY: reads 8 bytes of the current thread's own TLS block, where the symbol lives. Not
        // `pure`: two reads may differ, because a goroutine may have changed thread in between.
        unsafe {
            core::arch::asm!(
                "mov {0}, qword ptr [rip + {copy}.fast_slot@GOTTPOFF]",
                "mov {0}, qword ptr fs:[{0}]",
                out(reg) record,
                copy = sym COPY,
                options(nostack, preserves_flags, readonly),
            );
        }
        record
    }

    pub(super) fn set(record: Option<&'static Record>) {
        let record = record.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: writes those same 8 bytes, which only this module knows.
        unsafe {
            core::arch::asm!(
                "mov {0}, qword ptr [rip + {copy}.fast_slot@GOTTPOFF]",
                "mov qword ptr fs:[{0}], {1}",
                out(reg) _,
                in(reg) record,
                copy = sym COPY,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", not(miri), not(loom))))]
mod fast {
    use super::{Cell, Record, ptr};

    thread_local! {
        /// Null, or the record of the lease.
        static FAST: Cell<*const Record> = const { Cell::new(ptr::null()) };
    }

    #[inline(always)]
    pub(super) fn get() -> *const Record {
        FAST.with(Cell::get)
    }

    pub(super) fn set(record: Option<&'static Record>) {
        FAST.with(|fast| fast.set(record.map_or(ptr::null(), ptr::from_ref)));
    }
}

/// Owns the thread's lease.
#[derive(Debug)]
struct Lease(Cell<Option<&'static Record>>);

impl Lease {
    fn end(&self) {
        fast::set(None);
        if let Some(record) = self.0.take() {
            // SAFETY: this thread held the lease, and has just forgotten it.
            unsafe { slots().release(record) }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end();
    }
}

thread_local! {
    static LEASE: Lease = const { Lease(Cell::new(None)) };
}

/// Runs `operation` with the thread's slot. `operation` keeps the invariant of the head comment.
#[inline(always)]
pub(crate) fn with_slot<R>(operation: impl FnOnce(Leased<'_>) -> R) -> R {
    // SAFETY: the pointer is null or names a leaked record.
    match unsafe { fast::get().as_ref() } {
        Some(record) => {
            // SAFETY: `FAST` is set only while this thread holds that lease and only where pins
            // are light, and an operation has used its `Leased` up before it begins another.
            let leased = unsafe { Leased::new(record, Barrier::Light) };
            operation(leased)
        }
        None => without_fast(operation),
    }
}

#[cold]
#[inline(never)]
fn without_fast<R>(operation: impl FnOnce(Leased<'_>) -> R) -> R {
    let slots = slots();
    let kept = LEASE.try_with(|lease| {
        if let Some(record) = lease.0.get() {
            return record;
        }
        let record = slots.lease();
        lease.0.set(Some(record));
        if slots.barrier() == Barrier::Light {
            fast::set(Some(record));
        }
        record
    });
    if let Ok(record) = kept {
        // SAFETY: this thread holds the lease; the kind is the table's; as above.
        let leased = unsafe { Leased::new(record, slots.barrier()) };
        return operation(leased);
    }
    // The thread is exiting, and its lease is over: a slot for this operation. (What the operation does after its
    // pin may need a slot as well, and gets another.)
    let record = slots.lease();
    // SAFETY: just leased by this thread; the kind is the table's.
    let leased = unsafe { Leased::new(record, slots.barrier()) };
    let result = operation(leased);
    // SAFETY: leased above, and given up here.
    unsafe { slots.release(record) }
    result
}

/// Ends the current thread's lease of its slot; the next use of any pool leases one again.
///
/// A runtime calls this on a thread that goes idle, so that slots follow the running threads and
/// their items stay in use. What the thread put into its slot stays there, for the slot's next
/// thread or for whoever steals it. Without a slot, does nothing. O(log slots), under a lock.
///
/// ```
/// let pool = gpool::Pool::new(String::new);
/// pool.put(String::from("kept"));
/// gpool::release_slot();
/// assert_eq!(pool.get(), "kept"); // leases the lowest free slot: here the same one
/// ```
pub fn release_slot() {
    // An error means that the thread is exiting and its lease is over.
    let _ = LEASE.try_with(Lease::end);
}
