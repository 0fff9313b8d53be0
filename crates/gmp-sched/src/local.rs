//! Goroutine-local values.
//!
//! A goroutine's values hang on the head of the stack it runs on, which is bound to it until it ends
//! (`Stack::locals`); the base loop drops them then, as the goroutine, which may still park. Off
//! goroutines (on plain threads, and inside futures, whose stack is lent to them for a poll) they are
//! the thread's. The first use on a goroutine allocates; a use is a search by the address of the
//! [`GoLocal`], in a list that is as long as the goroutine has used different ones.
//!
//! Invariants: the list is borrowed by nobody while `init`, `f` or a destructor runs, each of which may
//! use locals; a value stays where it is until it is dropped; one that was dropped leaves a tombstone, so
//! that a destructor which uses its own local meets a panic instead of a new value, and the end
//! of a goroutine ends.
//!
//! A thread's list is reached by a pointer that has no destructor, so that values still find each
//! other while the list is being dropped, as on goroutines.
//!
//! Go has no such thing, on purpose: prefer a parameter, or a [`Context`](crate::Context)'s values.

use crate::foreign::quietly;
use crate::park::current;
use crate::runtime2::Stack;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ptr::{self, NonNull};

/// A value of which every goroutine has its own; outside goroutines, every thread.
///
/// ```
/// use gmp_sched::GoLocal;
/// use std::cell::Cell;
///
/// static DEPTH: GoLocal<Cell<u32>> = GoLocal::new(|| Cell::new(0));
///
/// // SAFETY: nothing here holds thread-locals or `!Send` guards across a park.
/// let rt = unsafe { gmp_sched::Builder::new().build_stackful() }.unwrap();
/// rt.run(|| {
///     DEPTH.with(|d| d.set(1));
///     gmp_sched::yield_now(); // maybe on another thread from here on
///     assert_eq!(DEPTH.with(Cell::get), 1);
///     assert_eq!(gmp_sched::go(|| DEPTH.with(Cell::get)).join().unwrap(), 0);
/// });
/// assert_eq!(DEPTH.with(Cell::get), 0);
/// ```
///
/// The value must be `Send`, because it moves between threads with its goroutine:
///
/// ```compile_fail
/// static SHARED: gmp_sched::GoLocal<std::rc::Rc<u8>> = gmp_sched::GoLocal::new(|| 0.into());
/// ```
pub struct GoLocal<T: Send + 'static> {
    init: fn() -> T,
}

/// A value in a box of its own: a pointer, because references into it outlive moves of this.
type Value = NonNull<dyn Any + Send>;

/// The values of one goroutine or thread, by the addresses of their locals; none where one was
/// dropped.
#[derive(Default)]
struct Values(RefCell<Vec<(usize, Option<Value>)>>);

impl Values {
    /// The value of `key`, made by `init` at first.
    ///
    /// # Panics
    /// If it was dropped.
    fn get(&self, key: usize, init: impl FnOnce() -> Box<dyn Any + Send>) -> Value {
        self.find(key).unwrap_or_else(|| {
            let value = init();
            // `init` may have used the local itself: then that value is it.
            self.find(key).unwrap_or_else(|| self.add(key, value))
        })
    }

    fn find(&self, key: usize) -> Option<Value> {
        let values = self.0.borrow();
        let (_, value) = values.iter().find(|(k, _)| *k == key)?;
        Some(value.expect("a GoLocal is used while or after its value is dropped"))
    }

    fn add(&self, key: usize, value: Box<dyn Any + Send>) -> Value {
        let at = NonNull::from(Box::leak(value));
        self.0.borrow_mut().push((key, Some(at)));
        at
    }

    /// Drops all, last made first, and what their destructors make anew.
    fn drop_all(&self) {
        while let Some(value) = self.take_last() {
            // SAFETY: leaked by `add`, and taken out of the list, so nobody gets at it any more; and
            // whoever got at it before has returned: no `with` is under way on who ends.
            let value = unsafe { Box::from_raw(value.as_ptr()) };
            // A destructor's panic was reported by the panic hook; the others want to run.
            quietly(|| drop(value));
        }
    }

    fn take_last(&self) -> Option<Value> {
        self.0.borrow_mut().iter_mut().rev().find_map(|(_, value)| value.take())
    }
}

/// A thread's values, for their end.
struct OfThread(Values);

impl Drop for OfThread {
    fn drop(&mut self) {
        self.0.drop_all();
        AT.set(ptr::null());
    }
}

thread_local! {
    /// The thread's values, once they are used and while they exist.
    static AT: Cell<*const Values> = const { Cell::new(ptr::null()) };
    static OF_THREAD: OfThread = const { OfThread(Values(RefCell::new(Vec::new()))) };
}

/// Not inlined: the contract of [`crate::bracket`] for thread-locals.
///
/// # Panics
/// On a thread that is ending, when its locals are gone.
#[inline(never)]
fn values_of_thread() -> *const Values {
    if AT.get().is_null() {
        OF_THREAD.with(|own| AT.set(&raw const own.0));
    }
    AT.get()
}

impl<T: Send + 'static> GoLocal<T> {
    /// A local that begins as what `init` returns, on each goroutine's first use.
    #[must_use]
    pub const fn new(init: fn() -> T) -> Self {
        Self { init }
    }

    /// Calls `f` with the caller's own value; made first, if this is its first use. `f` may park.
    /// O(locals that the goroutine has used).
    ///
    /// If `init` uses the local itself, the value that it meets there is the one that stays.
    ///
    /// # Panics
    /// If `init` or `f` does. In a destructor of the value itself, or later; on a thread that is
    /// ending, after its locals are gone.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        let values = match current() {
            Some((s, _)) => values_of(s),
            // A plain thread, or a poll: neither changes thread within this call.
            // SAFETY: the thread's values, which end with it: after this call.
            None => unsafe { &*values_of_thread() },
        };
        let value = values.get(ptr::from_ref(self).addr(), || Box::new((self.init)()));
        // SAFETY: it lives until the goroutine, or the thread, drops its values at its end, or drops
        // this one in `drop_all`, which leaves a tombstone: so it is alive now, and until this call
        // is over, because whoever ends is not within it. Only who runs here gets at it, by shared reference.
        f(unsafe { value.as_ref() }.downcast_ref().expect("the key is the local's own"))
    }

    /// A copy of the caller's value.
    ///
    /// ```
    /// static LIMIT: gmp_sched::GoLocal<u32> = gmp_sched::GoLocal::new(|| 10);
    /// assert_eq!(LIMIT.get(), 10);
    /// ```
    pub fn get(&'static self) -> T
    where
        T: Copy,
    {
        self.with(|v| *v)
    }
}

impl<T: Send + 'static> fmt::Debug for GoLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoLocal").finish_non_exhaustive()
    }
}

fn values_of(s: &'static Stack) -> &'static Values {
    if s.locals.get().is_null() {
        s.locals.set(Box::into_raw(Box::<Values>::default()).cast());
    }
    // SAFETY: set above or by an earlier call on this goroutine; freed when the goroutine ends.
    unsafe { &*s.locals.get().cast::<Values>() }
}

/// Drops what the goroutine has, last made first, and what its destructors make anew. By the
/// goroutine, when its closure has returned or unwound.
#[inline]
pub(crate) fn drop_all(s: &'static Stack) {
    if !s.locals.get().is_null() {
        drop_some(s);
    }
}

#[cold]
fn drop_some(s: &'static Stack) {
    // SAFETY: as in `values_of`.
    unsafe { &*s.locals.get().cast::<Values>() }.drop_all();
    let values = s.locals.replace(ptr::null_mut()).cast::<Values>();
    // SAFETY: made by `Box::into_raw` in `values_of`; the head no longer points at it.
    drop(unsafe { Box::from_raw(values) });
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<GoLocal<Cell<u8>>>();
};
