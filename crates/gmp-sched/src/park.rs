//! Parking and readying, for goroutines and for threads alike (R14).
//!
//! `gopark` and `goready` of Go's `proc.go`, as a permit ([`crate::park_word`]). Whoever waits is
//! represented by a [`Waker`]: two words, a record and a table of functions. A goroutine's waker is
//! its record, so making, cloning and dropping one costs nothing, and a waker that outlives its
//! goroutine, or its runtime, finds a dead record and does nothing.
//!
//! Who waits how:
//! - a stackful goroutine leaves its stack; its M goes on with another;
//! - a goroutine that may not change threads ([`crate::bracket::is_pinned`]) keeps its thread, which
//!   gives its P away first and waits for one afterwards;
//! - code inside a future's poll blocks its thread too, on a word of the thread's: the future's own
//!   permit belongs to its executor;
//! - any other thread sleeps on a word of its own.

use crate::bracket::{self, Rt, here, here_inlined};
use crate::census::PROCESS;
use crate::counted::Foreign;
use crate::join_word::RawWords;
use crate::park_word::{ParkWord, Waits};
use crate::runtime2::{G, Phase, Post, Stack};
use crate::status::GStatus;
use crate::wait_reason::WaitReason;
use crate::{counted, fork, idle, queues, switch, sys, syscall, unwind};
use core::cell::Cell;
use core::mem::ManuallyDrop;
use core::task::{RawWaker, RawWakerVTable, Waker};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

static GOROUTINE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &GOROUTINE),
    unpark_data,
    unpark_data,
    |_| {},
);

fn unpark_data(data: *const ()) {
    // SAFETY: wakers with this table hold a record of type G, which is never freed.
    unpark(unsafe { &*data.cast::<G>() });
}

/// The waker of a goroutine.
#[inline]
pub(crate) fn waker(g: &'static G) -> ManuallyDrop<Waker> {
    let raw = RawWaker::new(core::ptr::from_ref(g).cast(), &GOROUTINE);
    // SAFETY: the functions of the table are thread-safe, and take the record that is passed.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}

/// The goroutine that a waker wakes, if it is one of ours.
#[inline]
pub(crate) fn goroutine_of(waker: &Waker) -> Option<&'static G> {
    // SAFETY: as in `unpark_data`.
    core::ptr::eq(waker.vtable(), &GOROUTINE).then(|| unsafe { &*waker.data().cast::<G>() })
}

/// A waker as two words, for [`crate::join_word::JoinWord`].
pub(crate) fn waker_into_words(waker: Waker) -> RawWords {
    let waker = ManuallyDrop::new(waker);
    [waker.data().expose_provenance(), core::ptr::from_ref(waker.vtable()).expose_provenance()]
}

/// The inverse of [`waker_into_words`]; each pair of words makes one waker once.
pub(crate) fn waker_from_words(words: RawWords) -> Waker {
    let vtable = core::ptr::with_exposed_provenance::<RawWakerVTable>(words[1]);
    // SAFETY: the words come from a waker that was forgotten when they were made.
    unsafe {
        Waker::from_raw(RawWaker::new(core::ptr::with_exposed_provenance(words[0]), &*vtable))
    }
}

/// Ends the wait of a goroutine, or the next one it begins. From anywhere, at any time.
#[inline(always)]
pub(crate) fn unpark(g: &'static G) {
    unpark_at(g, 0);
}

/// [`unpark`] at something that is in memory there, for [`crate::ahead`].
#[inline(always)]
fn unpark_at(g: &'static G, at: usize) {
    match g.park.unpark() {
        None => {}
        Some(Waits::OnThread) => wake_thread(&g.park),
        Some(Waits::Queue) => match bracket::enter_at(here_inlined()) {
            Ok(rt) => {
                queues::ready(&rt, g, at);
                rt.leave();
            }
            Err(_) => ready_from_outside(g),
        },
    }
}

#[cold]
#[inline(never)]
fn ready_from_outside(g: &'static G) {
    fork::check();
    g.set_status(GStatus::Runnable);
    idle::inject(g.sched(), g);
}

/// [`unpark`] by a base loop, which has nothing else to do.
#[inline]
pub(crate) fn unpark_in(rt: &Rt, g: &'static G) {
    match g.park.unpark() {
        None => {}
        Some(Waits::OnThread) => wake_thread(&g.park),
        Some(Waits::Queue) => queues::hand(rt, g),
    }
}

fn wake_thread(word: &ParkWord) {
    counted::end_sleep(&PROCESS, || sys::futex_wake(word.futex().0));
}

/// Parks the running goroutine until it is unparked. May park; may return spuriously.
///
/// Inlined into the few functions that call it: each frame more between a caller and the switch is
/// spilled, and fetched again, by every goroutine that parks.
#[inline(always)]
pub(crate) fn park_goroutine(s: &'static Stack, g: &'static G, reason: WaitReason) {
    if g.park.take_permit() {
        return;
    }
    unwind::check(g);
    let rt = syscall::enter_may_park(s, g);
    if bracket::is_bound(s) {
        return park_pinned(rt, s, g, reason);
    }
    wait_off_stack(rt, s, g, reason);
    unwind::check(g);
}

/// Leaves the stack until somebody unparks the goroutine, and consumes the permit.
#[inline(always)]
pub(crate) fn wait_off_stack(rt: Rt, s: &'static Stack, g: &'static G, reason: WaitReason) {
    g.set_reason(reason);
    let next = queues::pick_directly(&rt);
    let rt = switch::leave_goroutine(rt, g, Post::Park(g), next);
    syscall::leave_may_park(rt, s, g);
    // Nobody else consumes it, and a later look at the condition must see what came with it.
    g.park.take_permit();
}

#[cold]
fn park_pinned(rt: Rt, s: &'static Stack, g: &'static G, reason: WaitReason) {
    g.set_reason(reason);
    syscall::nap_on_thread(rt, s, g, || s.blocking.sleep_as_thread(&PROCESS, || sleep_on(&g.park)));
    unwind::check(g);
}

/// Sleeps on this thread until the word is unparked.
fn sleep_on(word: &ParkWord) {
    if word.take_permit() {
        return;
    }
    // Whoever ends the wait takes the thread from the count, so it is counted for this wait alone.
    let within = count_as_parked(false);
    counted::sleep_on(&PROCESS, word, |word| {
        let (futex, value) = word.futex();
        sys::futex_wait(futex, value, None);
    });
    count_as_parked(within);
}

// ---- threads ----

/// A thread that waits: its record is type-stable like a goroutine's.
struct ThreadRecord {
    word: ParkWord,
}

static THREAD: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &THREAD),
    unpark_thread,
    unpark_thread,
    |_| {},
);

fn unpark_thread(data: *const ()) {
    // SAFETY: wakers with this table hold a ThreadRecord, which is never freed.
    let record = unsafe { &*data.cast::<ThreadRecord>() };
    if record.word.unpark().is_some() {
        wake_thread(&record.word);
    }
}

static FREE: Mutex<Vec<&'static ThreadRecord>> = Mutex::new(Vec::new());

fn take_record() -> &'static ThreadRecord {
    let free = FREE.lock().pop();
    let record = free.unwrap_or_else(|| Box::leak(Box::new(ThreadRecord { word: ParkWord::dead() })));
    record.word.begin();
    record
}

/// Owns a record for as long as the thread lives, or for one wait in a thread-local destructor.
struct Lease(Cell<Option<&'static ThreadRecord>>);

impl Lease {
    fn record(&self) -> &'static ThreadRecord {
        self.0.get().unwrap_or_else(|| {
            let record = take_record();
            self.0.set(Some(record));
            record
        })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(record) = self.0.take() {
            record.word.end();
            FREE.lock().push(record);
        }
    }
}

thread_local! {
    static LEASE: Lease = const { Lease(Cell::new(None)) };
}

/// Not inlined, returns no address of the thread-local: the contract of [`crate::bracket`].
#[inline(never)]
fn thread_record() -> Option<&'static ThreadRecord> {
    LEASE.try_with(Lease::record).ok()
}

/// Whoever runs here, as somebody who can wait: until `ready` says so, or for ever.
///
/// `begin` gets the waker and arranges for it to be woken; true means there is nothing to wait
/// for. Then this returns once `ready()` holds; it is asked after every wake-up. May park.
pub(crate) fn wait_until(
    reason: WaitReason,
    begin: impl FnOnce(&Waker) -> bool,
    ready: impl FnMut() -> bool,
) {
    wait_until_on(here(), reason, begin, ready);
}

/// [`wait_until`], where the running stack is known.
#[inline]
pub(crate) fn wait_until_on(
    at: Option<&'static Stack>,
    reason: WaitReason,
    begin: impl FnOnce(&Waker) -> bool,
    mut ready: impl FnMut() -> bool,
) {
    match current_on(at) {
        Some((s, g)) => {
            if begin(&waker(g)) {
                return;
            }
            while !ready() {
                park_goroutine(s, g, reason);
            }
        }
        None => {
            let lease = Lease(Cell::new(None));
            let record = thread_record().unwrap_or_else(|| lease.record());
            let raw = RawWaker::new(core::ptr::from_ref(record).cast(), &THREAD);
            // SAFETY: the functions of the table are thread-safe, and take this record.
            let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw) });
            if begin(&waker) {
                return;
            }
            while !ready() {
                park_thread(record);
            }
        }
    }
}

/// Blocks this thread until its record is unparked; if it is an M, its P goes to another meanwhile.
fn park_thread(record: &'static ThreadRecord) {
    fork::check();
    match here().and_then(|s| Some((s, s.g.get()?))) {
        Some((s, g)) => {
            let sleep = || s.blocking.sleep_as_thread(&PROCESS, || sleep_on(&record.word));
            match bracket::enter_on(s) {
                Ok(rt) => syscall::nap_on_thread(rt, s, g, sleep),
                Err(_) => sleep(),
            }
        }
        None => sleep_on(&record.word),
    }
}

/// The stackful goroutine that runs here, with its stack.
#[inline]
pub(crate) fn current() -> Option<(&'static Stack, &'static G)> {
    current_on(here())
}

/// [`current`], where the running stack is known.
#[inline(always)]
pub(crate) fn current_on(at: Option<&'static Stack>) -> Option<(&'static Stack, &'static G)> {
    let s = at?;
    let g = s.g.get()?;
    (!g.is_future.get()).then_some((s, g))
}

// ---- for other crates ----

/// A goroutine as somebody who waits: what [`unpark`](Self::unpark) needs.
///
/// One pointer, `Copy`, valid for ever: after the goroutine ended, `unpark` does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Goroutine(*const ());

// SAFETY: points at a type-stable record that is Sync.
unsafe impl Send for Goroutine {}
// SAFETY: as above.
unsafe impl Sync for Goroutine {}

impl core::fmt::Debug for Goroutine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Goroutine").field(&self.id()).finish()
    }
}

impl Goroutine {
    /// The stackful goroutine that runs here; `None` on a plain thread and inside a future.
    ///
    /// Asked afresh at each call, so code may call it before and after a park.
    #[inline(never)]
    #[must_use]
    pub fn current() -> Option<Self> {
        current_on(here_inlined()).map(|(_, g)| Self(core::ptr::from_ref(g).cast()))
    }

    fn g(self) -> &'static G {
        // SAFETY: made from a record of type G, which is never freed.
        unsafe { &*self.0.cast::<G>() }
    }

    /// [`park`](fn@park), for a caller that has kept who runs here: it need not be found again.
    ///
    /// # Safety
    /// The calling code runs on this goroutine, which is a stackful one: `current` says so.
    #[inline(never)]
    pub unsafe fn park(self, reason: WaitReason) {
        let g = self.g();
        let s = g.stack.get().expect("a running goroutine has a stack");
        debug_assert!(current().is_some_and(|(here, me)| core::ptr::eq(here, s) && core::ptr::eq(me, g)));
        park_goroutine(s, g, reason);
    }

    /// Its id, or the id of whoever has the record by now.
    #[must_use]
    pub fn id(self) -> u64 {
        self.g().id.load(core::sync::atomic::Ordering::Relaxed)
    }

    /// Ends its wait, or the next one it begins. Never blocks, never runs user code.
    pub fn unpark(self) {
        unpark(self.g());
    }

    /// A waker that unparks it: two words, no allocation, no count.
    #[must_use]
    pub fn waker(self) -> Waker {
        ManuallyDrop::into_inner(waker(self.g()))
    }

    /// A word that belongs to the stack which the calling goroutine runs on, for the umbrella: what one
    /// goroutine leaves there, the next one on that stack finds. Null at first.
    ///
    /// `None` if `self` is not the calling goroutine.
    #[must_use]
    pub fn stack_slot(self) -> Option<*mut *mut ()> {
        let (s, g) = current()?;
        core::ptr::eq(g, self.g()).then_some(s.slot.as_ptr())
    }

    /// [`unpark`](Self::unpark) as a function of the [record's address](Self::as_ptr), for tables that hold such
    /// functions: from anywhere, at any time. `at` is null, or where the two met, a channel for instance: it will be
    /// fetched ahead when they are about to meet again, and is not dereferenced.
    ///
    /// # Safety
    /// `record` came from `as_ptr`.
    pub unsafe fn unpark_record(record: *const (), at: *const ()) {
        // SAFETY: by contract a record of type G, which is never freed.
        unpark_at(unsafe { &*record.cast::<G>() }, at.addr());
    }

    /// The record's address, for storing elsewhere.
    #[must_use]
    pub fn as_ptr(self) -> *const () {
        self.0
    }

    /// The inverse of [`as_ptr`](Self::as_ptr).
    ///
    /// # Safety
    /// `ptr` came from `as_ptr`.
    #[must_use]
    pub unsafe fn from_ptr(ptr: *const ()) -> Self {
        Self(ptr)
    }
}

/// Parks the running goroutine until somebody unparks it ([`Goroutine::unpark`]); an unpark since
/// the last park makes this return at once. **May park.** May return spuriously: callers loop.
///
/// # Panics
/// If it is not called on a stackful goroutine ([`Goroutine::current`] is `None`).
pub fn park(reason: WaitReason) {
    let Some((s, g)) = current() else {
        panic!("gmp_sched::park outside a stackful goroutine: plain threads and futures wait by other means")
    };
    park_goroutine(s, g, reason);
}

/// Runs `wait`, which puts the calling thread to sleep until another part of the program wakes it:
/// for synchronisation of other crates that blocks threads. On an M the P goes to another thread
/// meanwhile; on any other thread the sleeper counts as parked for the deadlock detector.
/// **May park** when `wait` returns, if it is called on a goroutine.
///
/// A wait with a deadline is for [`thread_naps`].
///
/// # Panics
/// With `wait`'s panic.
pub fn thread_waits(wait: impl FnOnce()) {
    thread_sleeps(false, wait);
}

/// As [`thread_waits`], for a wait that ends by itself at some time: who waits so may ready somebody
/// afterwards, and so nothing is deadlocked meanwhile.
///
/// # Panics
/// With `wait`'s panic.
pub fn thread_naps(wait: impl FnOnce()) {
    thread_sleeps(true, wait);
}

fn thread_sleeps(ends_by_itself: bool, wait: impl FnOnce()) {
    let mut result = Ok(());
    let wait = || result = catch_unwind(AssertUnwindSafe(wait));
    match here().and_then(|s| Some((s, s.g.get()?))) {
        Some((s, g)) => {
            let sleep = || s.blocking.sleep(&PROCESS, !ends_by_itself, wait);
            match bracket::enter_on(s) {
                Ok(rt) => syscall::nap_on_thread(rt, s, g, sleep),
                Err(_) => sleep(),
            }
        }
        None => {
            let within = count_as_parked(!ends_by_itself);
            wait();
            count_as_parked(within);
        }
    }
    if let Err(payload) = result {
        resume_unwind(payload);
    }
}

thread_local! {
    static COUNTED: Foreign = const { Foreign::new() };
}

/// Not inlined, as [`thread_record`].
#[inline(never)]
fn count_as_parked(parked: bool) -> bool {
    COUNTED.with(|thread| thread.count(&PROCESS, parked))
}

/// Whether shutdown has begun to unwind parked goroutines.
#[inline]
pub(crate) fn aborting(g: &G) -> bool {
    g.sched().phase() >= Phase::Aborting
}
