//! What a timer does when it fires.
//!
//! A callback is taken out of its timer under the heap's lock and run after the lock is released
//! (Go's `runOneTimer`). Taking it never runs user code: a waker or a closure is moved, a shared one
//! has its count raised. Dropping one may run user code, so whoever swaps a callback hands the old
//! one out to be dropped with no lock and no timer status held.
//!
//! **A value and its table**, as in a `RawWaker`. A callback is four words of whatever type and a
//! reference to the [`Table`] of that type, made by [`Table::of`]. So a closure of up to four words
//! lies within its timer: no box to allocate, to fetch and to free when it fires. A larger one is boxed,
//! and the box is then the value.
//!
//! Rejected: an enum of the kinds (its tag takes a word, and leaves closures two); a box for every
//! closure (a quarter of what firing one of a million costs is fetching and freeing it).

use crate::prefetch::prefetch;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ptr;
use core::task::Waker;

/// A callback that can fire more than once, on any thread.
pub trait Fire: Send + Sync {
    /// Called when the timer fires. `seq` is the number given with the callback, `now` the time
    /// that the caller of `check` gave.
    ///
    /// It runs on the thread that called `check`, with no lock held, and delays the timers behind
    /// it: it should be short and must not block.
    fn fire(&self, seq: usize, now: i64);
}

impl<F: Fn() + Send + Sync> Fire for F {
    fn fire(&self, _seq: usize, _now: i64) {
        self();
    }
}

/// What a timer does when it fires: five words. No allocation, unless it is a closure that captures
/// more than four.
pub struct Callback {
    /// How to treat `value`.
    table: &'static Table,
    /// Holds a value of the type that the table was made of.
    value: Value,
}

/// Room for a value. Pointers, so that one that is moved through it stays one.
type Value = MaybeUninit<[*mut (); 4]>;

// SAFETY: a callback is made of a `Kind`, which is Send.
unsafe impl Send for Callback {}

/// What a callback can be made of. No user code may run in `again`.
trait Kind: Send + Sized {
    const NAME: &'static str;
    /// Whether it can fire more than once.
    const REPEATS: bool;

    /// Another one that does the same; asked of kinds that repeat.
    fn again(&self) -> Self {
        unreachable!("{} fires once", Self::NAME)
    }

    /// What running it looks at first, to be fetched ahead; null if that is the value itself.
    fn target(&self) -> *const () {
        ptr::null()
    }

    fn run(self, now: i64);
}

/// The operations of one kind on a [`Value`] that holds one.
struct Table {
    name: &'static str,
    repeats: bool,
    /// The value stays, and the result holds one too.
    again: unsafe fn(&Value) -> Value,
    target: unsafe fn(&Value) -> *const (),
    /// The value is used up.
    run: unsafe fn(Value, now: i64),
    /// The value is dropped. None if there is nothing to do.
    drop: Option<unsafe fn(&mut Value)>,
}

impl Table {
    const fn of<K: Kind>() -> &'static Self {
        const {
            &Self {
                name: K::NAME,
                repeats: K::REPEATS,
                again: again::<K>,
                target: target::<K>,
                run: run::<K>,
                drop: if mem::needs_drop::<K>() {
                    Some(drop_in_place::<K>)
                } else {
                    None
                },
            }
        }
    }
}

/// Whether a value has room for a `K`.
const fn fits<K>() -> bool {
    size_of::<K>() <= size_of::<Value>() && align_of::<K>() <= align_of::<Value>()
}

/// A value that holds `kind`.
const fn put<K: Kind>(kind: K) -> Value {
    assert!(fits::<K>());
    let mut value = Value::uninit();
    // SAFETY: there is room for a `K`, as asserted, and it is aligned.
    unsafe { value.as_mut_ptr().cast::<K>().write(kind) };
    value
}

/// # Safety
///
/// `value` must hold a `K`.
unsafe fn again<K: Kind>(value: &Value) -> Value {
    // SAFETY: the caller's promise; it is borrowed for as long as `value` is.
    put(unsafe { &*value.as_ptr().cast::<K>() }.again())
}

/// # Safety
///
/// `value` must hold a `K`.
unsafe fn target<K: Kind>(value: &Value) -> *const () {
    // SAFETY: the caller's promise; it is borrowed for as long as `value` is.
    unsafe { &*value.as_ptr().cast::<K>() }.target()
}

/// # Safety
///
/// `value` must hold a `K`, which is gone afterwards, whichever copy of the words it is in.
unsafe fn run<K: Kind>(value: Value, now: i64) {
    // SAFETY: the caller's promise.
    unsafe { value.as_ptr().cast::<K>().read() }.run(now);
}

/// # Safety
///
/// `value` must hold a `K`, which is gone afterwards.
unsafe fn drop_in_place<K: Kind>(value: &mut Value) {
    // SAFETY: the caller's promise.
    unsafe { value.as_mut_ptr().cast::<K>().drop_in_place() };
}

struct Nothing;

impl Kind for Nothing {
    const NAME: &'static str = "Callback::none";
    const REPEATS: bool = true;

    fn again(&self) -> Self {
        Self
    }

    fn run(self, _now: i64) {}
}

impl Kind for Waker {
    const NAME: &'static str = "Callback::wake";
    const REPEATS: bool = false;

    fn target(&self) -> *const () {
        self.data()
    }

    fn run(self, _now: i64) {
        self.wake();
    }
}

#[derive(Clone, Copy)]
struct Func {
    f: unsafe fn(*mut (), usize),
    arg: *mut (),
    seq: usize,
}

// SAFETY: the caller of `Callback::func` promised that `f(arg, seq)` may be called on any thread.
unsafe impl Send for Func {}

impl Kind for Func {
    const NAME: &'static str = "Callback::func";
    const REPEATS: bool = true;

    fn again(&self) -> Self {
        *self
    }

    fn target(&self) -> *const () {
        self.arg
    }

    fn run(self, _now: i64) {
        // SAFETY: the promise given to `Callback::func`.
        unsafe { (self.f)(self.arg, self.seq) };
    }
}

struct Once<F>(F);

impl<F: FnOnce() + Send> Kind for Once<F> {
    const NAME: &'static str = "Callback::once";
    const REPEATS: bool = false;

    fn run(self, _now: i64) {
        (self.0)();
    }
}

struct Shared {
    f: Arc<dyn Fire>,
    seq: usize,
}

impl Kind for Shared {
    const NAME: &'static str = "Callback::shared";
    const REPEATS: bool = true;

    fn again(&self) -> Self {
        Self {
            f: Arc::clone(&self.f),
            seq: self.seq,
        }
    }

    fn target(&self) -> *const () {
        Arc::as_ptr(&self.f).cast()
    }

    fn run(self, now: i64) {
        self.f.fire(self.seq, now);
    }
}

impl Callback {
    const fn of<K: Kind>(kind: K) -> Self {
        Self {
            table: Table::of::<K>(),
            value: put(kind),
        }
    }

    /// A callback that does nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self::of(Nothing)
    }

    /// Wakes `waker`, once.
    #[must_use]
    pub fn wake(waker: Waker) -> Self {
        Self::of(waker)
    }

    /// Calls `f(arg, seq)`: the form for a runtime's own timers, which allocates nothing.
    ///
    /// # Safety
    ///
    /// Until the timer has been given another callback or has been freed, and until calls already
    /// under way have returned (stopping a timer does not wait for them), `f(arg, seq)` must be
    /// sound to call from any thread, any number of times, also concurrently.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// static WOKEN: AtomicUsize = AtomicUsize::new(0);
    /// unsafe fn ready(arg: *mut (), seq: usize) {
    ///     // SAFETY: `arg` is the static above.
    ///     unsafe { &*arg.cast::<AtomicUsize>() }.store(seq, Ordering::Relaxed);
    /// }
    ///
    /// let timers = gtimer::heap::Timers::new();
    /// let sleep = gtimer::heap::Handle::new(); // kept with the goroutine, used again and again
    /// let arg = (&raw const WOKEN).cast_mut().cast();
    /// // SAFETY: a static lives forever, and storing to an atomic is sound from any thread.
    /// timers.arm(&sleep, 10, 0, unsafe { gtimer::Callback::func(ready, arg, 7) });
    /// timers.check(10);
    /// assert_eq!(WOKEN.load(Ordering::Relaxed), 7);
    /// ```
    #[must_use]
    pub const unsafe fn func(f: unsafe fn(*mut (), usize), arg: *mut (), seq: usize) -> Self {
        Self::of(Func { f, arg, seq })
    }

    /// Calls `f`, once. Boxed if it captures more than four words.
    #[must_use]
    pub fn once<F: FnOnce() + Send + 'static>(f: F) -> Self {
        if fits::<Once<F>>() {
            Self::of(Once(f))
        } else {
            Self::of(Once(Box::new(f)))
        }
    }

    /// Calls `f.fire(seq, now)` each time the timer fires; closures without arguments will do.
    #[must_use]
    pub fn shared(f: Arc<dyn Fire>, seq: usize) -> Self {
        Self::of(Shared { f, seq })
    }

    /// Whether it can fire more than once.
    pub(crate) const fn repeats(&self) -> bool {
        self.table.repeats
    }

    /// What to run now; a callback that can fire again stays. What it will look at first is on its way
    /// into the cache meanwhile.
    #[inline]
    pub(crate) fn fire(&mut self) -> Self {
        // SAFETY: the value is of the table's kind, and borrowed.
        prefetch(unsafe { (self.table.target)(&self.value) });
        if !self.repeats() {
            return mem::take(self);
        }
        Self {
            table: self.table,
            // SAFETY: the value is of the table's kind, and borrowed.
            value: unsafe { (self.table.again)(&self.value) },
        }
    }

    /// Runs what [`Callback::fire`] handed out.
    pub(crate) fn run(self, now: i64) {
        let this = ManuallyDrop::new(self);
        // SAFETY: the value is of the table's kind, and `this` is not dropped any more.
        unsafe { (this.table.run)(this.value, now) };
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        if let Some(drop) = self.table.drop {
            // SAFETY: the value is of the table's kind, and nobody looks at it any more.
            unsafe { drop(&mut self.value) };
        }
    }
}

impl Default for Callback {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.table.name)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    /// Counts its drops.
    struct Token(Arc<AtomicUsize>);

    impl Drop for Token {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A closure of one word and one of `N` more, run or dropped unrun: what it captured is dropped once.
    fn captures_are_dropped_once<const N: usize>(run: bool) {
        let (dropped, ran) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (token, seen) = (Token(Arc::clone(&dropped)), Arc::clone(&ran));
        let words = core::array::from_fn::<usize, N, _>(|i| i);
        let mut callback = Callback::once(move || {
            let _token = token;
            seen.fetch_add(words.iter().sum::<usize>() + 1, Relaxed);
        });
        assert!(!callback.repeats());
        let fired = callback.fire();
        assert_eq!(alloc::format!("{callback:?}"), "Callback::none");
        if run {
            fired.run(0);
        } else {
            drop(fired);
        }
        drop(callback);
        let sum = N * N.saturating_sub(1) / 2 + 1;
        assert_eq!(
            (dropped.load(Relaxed), ran.load(Relaxed)),
            (1, if run { sum } else { 0 })
        );
    }

    #[test]
    fn closures_of_any_size_run_and_drop_once() {
        for run in [false, true] {
            captures_are_dropped_once::<0>(run);
            captures_are_dropped_once::<2>(run);
            captures_are_dropped_once::<3>(run);
            captures_are_dropped_once::<100>(run);
        }
    }

    #[test]
    fn an_overaligned_closure_is_boxed() {
        #[repr(align(64))]
        struct Aligned(u8);
        let (value, seen) = (Aligned(7), Arc::new(AtomicUsize::new(0)));
        let at = Arc::clone(&seen);
        let callback = Callback::once(move || {
            let value = &value;
            assert_eq!(core::ptr::from_ref(value).addr() % 64, 0);
            at.store(value.0.into(), Relaxed);
        });
        callback.run(0);
        assert_eq!(seen.load(Relaxed), 7);
    }

    #[test]
    fn a_shared_callback_fires_again_with_its_number_and_the_time() {
        struct Sum(AtomicUsize);
        impl Fire for Sum {
            fn fire(&self, seq: usize, now: i64) {
                self.0.fetch_add(seq * 100 + now as usize, Relaxed);
            }
        }
        let sum = Arc::new(Sum(AtomicUsize::new(0)));
        let mut callback = Callback::shared(Arc::clone(&sum) as _, 3);
        for now in 1..=2 {
            callback.fire().run(now);
        }
        assert!(callback.repeats());
        drop(callback);
        assert_eq!((sum.0.load(Relaxed), Arc::strong_count(&sum)), (603, 1));
    }

    #[test]
    fn a_panic_in_a_closure_drops_what_it_captured_once() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let token = Token(Arc::clone(&dropped));
        let callback = Callback::once(move || {
            let _token = token;
            panic!("a user's mistake");
        });
        let run = std::panic::AssertUnwindSafe(|| callback.run(0));
        assert!(std::panic::catch_unwind(run).is_err());
        assert_eq!(dropped.load(Relaxed), 1);
    }
}
