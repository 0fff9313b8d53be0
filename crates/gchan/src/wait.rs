//! How a blocked call waits: a goroutine through the hook, a plain thread by spinning and then sleeping.
//!
//! Goroutines never spin: their processor has other work. A thread spins within a patience that it learns (see
//! `thread_parker`), because the partner in a rendezvous usually runs on the other core.

use crate::park::{self, Handle, Park, Reason};
#[cfg(not(loom))]
use crate::thread_parker::{self as records, Record};
use crate::waitq::{Outcome, Waiter};
#[cfg(loom)]
use model::{self as records, Record};
use std::time::Instant;

/// Who blocks here. Found afresh for every wait, and not kept across one.
pub(crate) enum Blocker {
    Goroutine(Handle, &'static dyn Park),
    Thread(&'static Record),
}

/// Runs `f` as whoever blocks here.
///
/// Not inlined, so that what it computes from thread-locals is not kept across a park of the caller.
#[inline(never)]
pub(crate) fn as_blocker<R>(f: impl FnOnce(&Blocker) -> R) -> R {
    if let Some(hook) = park::hook()
        && let Some(handle) = hook.current()
    {
        return f(&Blocker::Goroutine(handle, hook));
    }
    records::with(|record| f(&Blocker::Thread(record)))
}

/// The goroutine that runs here, if it is one. Takes no lock and allocates nothing.
///
/// Inlined: it uses no thread-local itself, the hook's call is opaque, and what it returns stays in registers.
#[inline(always)]
pub(crate) fn goroutine() -> Option<Blocker> {
    let hook = park::hook()?;
    Some(Blocker::Goroutine(hook.current()?, hook))
}

/// This thread, which runs no goroutine, if it has waited before. Takes no lock and allocates nothing.
#[inline(never)]
pub(crate) fn known_thread() -> Option<Blocker> {
    records::known().map(Blocker::Thread)
}

impl Blocker {
    /// A fresh word for one wait of this blocker.
    #[inline]
    pub(crate) fn waiter(&self) -> Waiter {
        match self {
            Blocker::Goroutine(handle, _) => {
                Waiter::asleep(Some(crate::waitq::Wake::Handle(*handle)))
            }
            Blocker::Thread(record) => Waiter::awake(record.handle()),
        }
    }

    /// How to end a [`pause`](Self::pause).
    #[cfg(not(loom))]
    pub(crate) fn handle(&self) -> Handle {
        match self {
            Blocker::Goroutine(handle, _) => *handle,
            Blocker::Thread(record) => record.handle(),
        }
    }

    /// Sleeps until unparked, or for no reason.
    #[cfg(not(loom))]
    pub(crate) fn pause(&self) {
        match self {
            // SAFETY: a blocker is found afresh for every wait, by the waiter itself.
            Blocker::Goroutine(me, hook) => unsafe { hook.park(*me, Reason::ChanReceive, None) },
            Blocker::Thread(record) => {
                sleep_thread(record, Reason::ChanReceive, None);
            }
        }
    }

    /// Makes the word of a finished wait fresh again. The waiter is queued nowhere.
    #[inline]
    pub(crate) fn reopen(&self, waiter: &Waiter) {
        match self {
            Blocker::Goroutine(..) => waiter.reopen(),
            Blocker::Thread(_) => waiter.reopen_awake(),
        }
    }

    /// Lets somebody empty a full buffer, if this is a thread and somebody does so fast. True if that made room.
    pub(crate) fn watches_drain(&self, len: impl Fn() -> usize) -> bool {
        #[cfg(not(loom))]
        if matches!(self, Blocker::Thread(_)) {
            return crate::thread_parker::watch_drain(len);
        }
        let _ = len;
        false
    }

    /// Waits a little for `ready`, if this is a thread.
    pub(crate) fn hesitate(&self, ready: impl Fn() -> bool) {
        match self {
            #[cfg(not(loom))]
            Blocker::Thread(record) => record.hesitate(ready),
            _ => {
                let _ = ready;
            }
        }
    }

    /// Parks a goroutine that came to stand in line just now, and looked at nothing since: a wake-up cannot be lost
    /// between, because nothing ran that could have parked and so used it up. A thread looks first.
    #[inline(always)]
    pub(crate) fn park_first(&self, reason: Reason, deadline: Option<Instant>) {
        if let Blocker::Goroutine(me, hook) = self {
            // SAFETY: a blocker is found afresh for every wait, by the waiter itself.
            unsafe { hook.park(*me, reason, deadline) };
        }
    }

    /// Waits until the waiter is done, which gives its result, or the deadline has passed.
    ///
    /// The hook's park may unwind; whoever queued the waiter has a guard for that.
    #[inline(always)]
    pub(crate) fn wait(
        &self,
        waiter: &Waiter,
        reason: Reason,
        deadline: Option<Instant>,
    ) -> Option<(Outcome, usize)> {
        match self {
            Blocker::Goroutine(me, hook) => loop {
                if let Some(result) = waiter.result() {
                    return Some(result);
                }
                if deadline.is_some_and(|d| Instant::now() >= d) {
                    return None;
                }
                // SAFETY: a blocker is found afresh for every wait, by the waiter itself.
                unsafe { hook.park(*me, reason, deadline) };
            },
            Blocker::Thread(record) => wait_thread(record, waiter, reason, deadline),
        }
    }

    /// As [`wait`](Self::wait), for as long as it takes.
    #[cold]
    pub(crate) fn wait_on(&self, waiter: &Waiter, reason: Reason) -> Option<(Outcome, usize)> {
        self.wait(waiter, reason, None)
    }
}

fn wait_thread(
    record: &'static Record,
    waiter: &Waiter,
    reason: Reason,
    deadline: Option<Instant>,
) -> Option<(Outcome, usize)> {
    if !record.spin_until(|| waiter.is_done()) && waiter.fall_asleep() {
        while !waiter.is_done() && sleep_thread(record, reason, deadline) {}
    }
    waiter.result()
}

/// Sleeps once; false if the deadline has passed.
fn sleep_thread(record: &'static Record, reason: Reason, deadline: Option<Instant>) -> bool {
    // A model has no clock: a deadline has passed when others had a turn.
    #[cfg(loom)]
    if deadline.is_some() {
        loom::thread::yield_now();
        return false;
    }
    let timeout = deadline.map(|d| d.saturating_duration_since(Instant::now()));
    if timeout.is_some_and(|t| t.is_zero()) {
        return false;
    }
    let mut sleep = || record.park(timeout);
    match park::hook() {
        Some(hook) => hook.blocking(reason, deadline, &mut sleep),
        None => sleep(),
    }
    true
}

/// Waits, on no channel at all, until the deadline; for ever without one.
pub(crate) fn wait_for_time(reason: Reason, deadline: Option<Instant>) {
    as_blocker(|blocker| {
        let waiter = blocker.waiter();
        while blocker.wait(&waiter, reason, deadline).is_none() {
            if deadline.is_some_and(|d| Instant::now() >= d) {
                return;
            }
        }
    });
}

#[cfg(loom)]
pub(crate) mod model {
    //! What loom has to be told: records that last as long as the execution, as `thread_parker`'s last as long as the
    //! process, and no spinning but one look.

    use crate::park::Handle;
    use crate::permit::Permit;
    use std::cell::Cell;
    use std::sync::Mutex;
    use std::time::Duration;

    pub(crate) struct Record {
        permit: Permit,
    }

    loom::lazy_static! {
        static ref RECORDS: Mutex<Vec<Box<Record>>> = Mutex::new(Vec::new());
    }

    loom::thread_local! {
        static MINE: Cell<Option<&'static Record>> = Cell::new(None);
    }

    pub(super) fn known() -> Option<&'static Record> {
        MINE.with(Cell::get)
    }

    pub(super) fn with<R>(f: impl FnOnce(&'static Record) -> R) -> R {
        f(known().unwrap_or_else(Record::new))
    }

    impl Record {
        fn new() -> &'static Self {
            let record = Box::new(Self {
                permit: Permit::new(),
            });
            // SAFETY: a box's content stays in place, and loom drops the list after the last thread of the execution.
            let mine = unsafe { &*std::ptr::from_ref(&*record) };
            RECORDS.lock().unwrap().push(record);
            MINE.with(|known| known.set(Some(mine)));
            mine
        }

        pub(crate) fn handle(&'static self) -> Handle {
            // SAFETY: the record outlives all threads that could unpark it.
            unsafe { Handle::new(std::ptr::from_ref(self).cast(), unpark) }
        }

        pub(super) fn spin_until(&self, done: impl Fn() -> bool) -> bool {
            done()
        }

        pub(super) fn park(&self, timeout: Option<Duration>) {
            self.permit.park(timeout);
        }
    }

    /// # Safety
    /// `data` is a pointer to a [`Record`].
    unsafe fn unpark(data: *const (), _: *const ()) {
        // SAFETY: by contract a record, which is alive.
        unsafe { (*data.cast::<Record>()).permit.unpark() }
    }

    /// A task's parker.
    #[cfg(test)]
    pub(crate) struct Parker {
        bell: loom::sync::Notify,
    }

    #[cfg(test)]
    impl Parker {
        pub(crate) fn new() -> std::sync::Arc<Self> {
            std::sync::Arc::new(Self {
                bell: loom::sync::Notify::new(),
            })
        }

        pub(crate) fn park(&self) {
            self.bell.wait();
        }
    }

    #[cfg(test)]
    impl std::task::Wake for Parker {
        fn wake(self: std::sync::Arc<Self>) {
            self.bell.notify();
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    //! The word of a thread that sleeps, without a channel around it.

    use super::*;
    use crate::sync::{AtomicUsize, Ordering, UnsafeCell};
    use crate::waitq::fire;
    use loom::sync::Arc;
    use loom::thread;

    /// A waiter with a slot, as in a blocked call's frame.
    struct Frame {
        waiter: Waiter,
        slot: UnsafeCell<usize>,
    }

    // SAFETY: the slot is the finisher's until the waiter is done, and then the owner's; loom checks it.
    unsafe impl Send for Frame {}
    // SAFETY: as above.
    unsafe impl Sync for Frame {}

    impl Frame {
        fn of(blocker: &Blocker) -> Arc<Self> {
            Arc::new(Self {
                waiter: blocker.waiter(),
                slot: UnsafeCell::new(0),
            })
        }

        /// Hands over a value, as case `case`.
        fn pass(&self, value: usize, case: usize) {
            // SAFETY: the models let one finish the waiter; nobody else looks at the slot before.
            let wake = unsafe {
                self.slot.with_mut(|slot| *slot = value);
                Waiter::finish(&raw const self.waiter, Outcome::Passed, case)
            };
            fire(wake);
        }

        /// Waits for a value: the case, and what came.
        fn take(&self, blocker: &Blocker) -> (usize, usize) {
            let (outcome, case) = blocker.wait_on(&self.waiter, Reason::ChanReceive).unwrap();
            assert_eq!(outcome, Outcome::Passed);
            // SAFETY: the waiter is done, so the slot is ours.
            (case, self.slot.with_mut(|slot| unsafe { *slot }))
        }
    }

    #[test]
    fn loom_a_thread_that_falls_asleep_sees_the_end_or_is_woken() {
        loom::model(|| {
            as_blocker(|blocker| {
                let frame = Frame::of(blocker);
                let other = frame.clone();
                let other = thread::spawn(move || other.pass(7, 3));
                assert_eq!(frame.take(blocker), (3, 7));
                other.join().unwrap();
            });
        });
    }

    /// The first finisher may unpark the thread in its second wait, or use up the permit of the second.
    #[test]
    fn loom_a_thread_that_waits_again_is_woken_again() {
        loom::model(|| {
            as_blocker(|blocker| {
                let frame = Frame::of(blocker);
                let others = [1, 2].map(|value| {
                    let other = frame.clone();
                    let other = thread::spawn(move || other.pass(value, 0));
                    assert_eq!(frame.take(blocker), (0, value));
                    blocker.reopen(&frame.waiter);
                    other
                });
                others.into_iter().for_each(|other| other.join().unwrap());
            });
        });
    }

    /// A wait whose deadline passes leaves `ASLEEP` in the word: the next one is woken all the same.
    #[test]
    fn loom_a_thread_that_waits_on_after_its_deadline_is_woken() {
        loom::model(|| {
            as_blocker(|blocker| {
                let frame = Frame::of(blocker);
                let other = frame.clone();
                let other = thread::spawn(move || other.pass(7, 0));
                let past = Some(Instant::now());
                let in_time = blocker.wait(&frame.waiter, Reason::ChanReceive, past);
                assert_eq!(
                    in_time.unwrap_or((Outcome::Passed, 0)),
                    (Outcome::Passed, 0)
                );
                assert_eq!(frame.take(blocker), (0, 7));
                other.join().unwrap();
            });
        });
    }

    /// Two channels want the waiter of a select; the one that claims it finishes it, while it falls asleep.
    #[test]
    fn loom_a_thread_that_falls_asleep_in_a_select_is_won_once() {
        loom::model(|| {
            as_blocker(|blocker| {
                let frame = Frame::of(blocker);
                let won = Arc::new(AtomicUsize::new(0));
                let others = [1, 2].map(|case| {
                    let (frame, won) = (frame.clone(), won.clone());
                    thread::spawn(move || {
                        if frame.waiter.claim() {
                            won.fetch_add(1, Ordering::Relaxed);
                            frame.pass(10 * case, case);
                        }
                    })
                });
                let (case, value) = frame.take(blocker);
                assert_eq!(value, 10 * case);
                others.into_iter().for_each(|other| other.join().unwrap());
                assert_eq!(won.load(Ordering::Relaxed), 1);
            });
        });
    }
}
