//! The parker of a plain thread: a [`Permit`] to sleep on, in a record that outlives its thread.
//!
//! A waker copies the waiter's [`Handle`] before it marks the waiter done, and unparks afterwards; by then the waiter
//! may have gone on, and its thread may have ended. So records are type-stable, as G and M are in Go's runtime: a
//! thread leases one at its first wait and gives it back when it exits, and none is ever freed. Their number is the
//! peak number of threads that waited at once. A late unpark reaches the next lessee as a spurious wake-up.
//!
//! Here is also how long a thread looks before it sleeps.

use crate::park::Handle;
use crate::permit::Permit;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Record {
    /// The lessee parks on it, anyone unparks.
    permit: Permit,
    /// How many rounds the lessee spins before it sleeps; written by the lessee alone.
    patience: AtomicU32,
    /// Waits since one ended while the lessee paused; written by the lessee alone.
    unpaused: AtomicU32,
    /// How often the lessee looks before it stands in line; written by the lessee alone.
    looks: AtomicU32,
    /// The next free record; written under `FREE`'s lock.
    next: Cell<Option<&'static Record>>,
}

// SAFETY: `next` is only touched under the lock of `FREE`; the other fields are atomics.
unsafe impl Sync for Record {}
// SAFETY: nothing in a record belongs to a thread.
unsafe impl Send for Record {}

/// Records without a lessee. Held for a few instructions, never while anything else is locked.
static FREE: Mutex<Option<&'static Record>> = Mutex::new(None);

/// The right to park on a record, given back on drop.
#[derive(Debug)]
pub(crate) struct Lease(&'static Record);

impl Lease {
    fn new() -> Self {
        let mut free = FREE.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(record) = *free {
            *free = record.next.take();
            return Self(record);
        }
        drop(free);
        Self(Box::leak(Box::new(Record {
            permit: Permit::new(),
            patience: AtomicU32::new(Record::FIRST_PATIENCE),
            unpaused: AtomicU32::new(0),
            looks: AtomicU32::new(8),
            next: Cell::new(None),
        })))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        KNOWN.set(None);
        let mut free = FREE.lock().unwrap_or_else(|e| e.into_inner());
        self.0.next.set(*free);
        *free = Some(self.0);
    }
}

thread_local! {
    static MINE: Lease = Lease::new();
    /// The record in `MINE`, as long as it is there. Needs no destructor, so a look at it allocates nothing.
    static KNOWN: Cell<Option<&'static Record>> = const { Cell::new(None) };
}

/// This thread's record, if it has one by now. Allocates nothing and takes no lock.
pub(crate) fn known() -> Option<&'static Record> {
    KNOWN.get()
}

/// Runs `f` with this thread's record, or with a record leased for the call alone when the thread's own is gone
/// already (a blocking call inside another thread-local's destructor).
pub(crate) fn with<R>(f: impl FnOnce(&'static Record) -> R) -> R {
    let record = MINE.try_with(|lease| {
        KNOWN.set(Some(lease.0));
        lease.0
    });
    match record {
        Ok(record) => f(record),
        Err(_) => {
            let lease = Lease::new();
            f(lease.0)
        }
    }
}

impl Record {
    /// Rounds of patience; see [`Record::spin_until`].
    const FIRST_PATIENCE: u32 = 256;
    const MOST_PATIENCE: u32 = 512;
    const LEAST_PATIENCE: u32 = 16;
    /// Of these, the first are pauses of the processor, the rest give the time slice away.
    const PAUSES: u32 = 32;
    /// One wait in so many tries pauses that did not pay last time.
    const RETRY: u32 = 16;

    pub(crate) fn handle(&'static self) -> Handle {
        // SAFETY: records are never freed, so the pointer is good for ever; `unpark_record` is two atomic operations
        // and a system call that does not block.
        unsafe { Handle::new(std::ptr::from_ref(self).cast(), unpark_record) }
    }

    /// Spins until `done`, within a patience that grows while spinning pays and shrinks while it does not, so that
    /// partners in a conversation meet awake while an idle waiter costs next to nothing.
    ///
    /// A partner on another core answers during the pauses. One that waits for this very core does not, however long
    /// they are: then the time slice is given away at once.
    pub(crate) fn spin_until(&self, done: impl Fn() -> bool) -> bool {
        let patience = self.patience.load(Ordering::Relaxed);
        let unpaused = self.unpaused.load(Ordering::Relaxed);
        let pauses = if several_cores() && unpaused.is_multiple_of(Self::RETRY) {
            Self::PAUSES
        } else {
            0
        };
        for round in 0..patience {
            if done() {
                let more = (patience + 64).min(Self::MOST_PATIENCE);
                self.patience.store(more, Ordering::Relaxed);
                let unpaused = if round <= pauses {
                    0
                } else {
                    unpaused.wrapping_add(1)
                };
                self.unpaused.store(unpaused, Ordering::Relaxed);
                return true;
            }
            if round < pauses {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        let less = (patience / 2).max(Self::LEAST_PATIENCE);
        self.patience.store(less, Ordering::Relaxed);
        done()
    }

    /// Looks a few times whether `ready`, and gives the time slice away in between: each look takes the channel's cache
    /// line from whoever works on it, so looks are far apart. How often depends on how often it paid.
    pub(crate) fn hesitate(&self, ready: impl Fn() -> bool) {
        let looks = self.looks.load(Ordering::Relaxed);
        for _ in 0..looks {
            std::thread::yield_now();
            if ready() {
                self.looks.store((looks + 2).min(12), Ordering::Relaxed);
                return;
            }
        }
        self.looks.store((looks / 2).max(1), Ordering::Relaxed);
    }

    /// Sleeps until unparked, for at most `timeout`. Spurious returns happen.
    pub(crate) fn park(&self, timeout: Option<Duration>) {
        self.permit.park(timeout);
    }
}

/// Watches a full buffer from afar as long as somebody empties it, until half of it is empty: a sender that went on as
/// soon as there is room would find the buffer full again with the next value, and take its cache lines from the receiver
/// each time. False if nothing went out of it for a moment, or within some tens of microseconds: then the processor has
/// better to do.
pub(crate) fn watch_drain(len: impl Fn() -> usize) -> bool {
    const LOOKS: u32 = 64;
    if !several_cores() {
        return false;
    }
    let full = len();
    let mut last = full;
    for _ in 0..LOOKS {
        (0..16).for_each(|_| std::hint::spin_loop());
        let now = len();
        if now <= full / 2 {
            return true;
        }
        if now >= last {
            return false;
        }
        last = now;
    }
    last < full
}

/// # Safety
/// `data` is a pointer to a [`Record`].
unsafe fn unpark_record(data: *const (), _: *const ()) {
    // SAFETY: by contract a record, and records are never freed.
    unsafe { (*data.cast::<Record>()).permit.unpark() }
}

fn several_cores() -> bool {
    use std::sync::OnceLock;
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| std::thread::available_parallelism().is_ok_and(|n| n.get() > 1))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_unpark_before_the_park_is_not_lost() {
        with(|record| {
            record.handle().unpark();
            record.park(None);
            record.handle().unpark();
            record.handle().unpark();
            record.park(None);
        });
    }

    #[test]
    fn a_late_unpark_of_an_ended_thread_is_harmless() {
        let handle = std::thread::spawn(|| with(|r| r.handle())).join().unwrap();
        for _ in 0..100 {
            handle.unpark();
        }
    }

    #[test]
    fn records_are_recycled() {
        let address = || with(|r| std::ptr::from_ref(r) as usize);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            seen.insert(std::thread::spawn(address).join().unwrap());
        }
        assert!(
            seen.len() < 100,
            "{} records for one thread at a time",
            seen.len()
        );
    }
}
