//! Goroutine-local values.
//!
//! A goroutine's values hang on the head of the stack it runs on, which is bound to it until it ends
//! (`Stack::locals`); the base loop drops them then, as the goroutine, which may still park. Off
//! goroutines (on plain threads, and inside futures, whose stack is lent to them for a poll) they are
//! the thread's. The first use on a goroutine allocates; a use is a search by the address of the
//! [`GoLocal`], in a list that is as long as the goroutine has used different ones.
//!
//! Go has no such thing, on purpose: prefer a parameter, or a [`Context`](crate::Context)'s values.

use crate::park::current;
use crate::runtime2::Stack;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::ptr;
use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// The values of one goroutine or thread: each lies in a box of its own, so it stays where it is
/// while others are added.
#[derive(Default)]
struct Values(RefCell<Vec<(usize, Box<dyn Any + Send>)>>);

impl Values {
    fn find(&self, key: usize) -> Option<*const (dyn Any + Send)> {
        let values = self.0.borrow();
        values.iter().find(|(k, _)| *k == key).map(|(_, v)| ptr::from_ref(&**v))
    }

    fn add(&self, key: usize, value: Box<dyn Any + Send>) -> *const (dyn Any + Send) {
        let at = ptr::from_ref(&*value);
        self.0.borrow_mut().push((key, value));
        at
    }
}

thread_local! {
    static THREAD: Values = Values::default();
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
    /// # Panics
    /// If `init` or `f` does; on a thread that is ending, after its locals are gone.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        let key = ptr::from_ref(self).addr();
        match current() {
            Some((s, _)) => {
                let values = values_of(s);
                let at = values.find(key).unwrap_or_else(|| values.add(key, Box::new((self.init)())));
                // SAFETY: the box lives until the goroutine ends, which is after this call. Only the
                // goroutine that runs here, which is this one, gets at it, by shared reference.
                f(unsafe { &*at }.downcast_ref().expect("the key is the local's own"))
            }
            // A plain thread, or a poll: neither changes thread within this call.
            None => THREAD.with(|values| {
                let at = values.find(key).unwrap_or_else(|| values.add(key, Box::new((self.init)())));
                // SAFETY: as above, for the thread.
                f(unsafe { &*at }.downcast_ref().expect("the key is the local's own"))
            }),
        }
    }

    /// A copy of the caller's value.
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
    loop {
        // SAFETY: as in `values_of`. The list is not borrowed while a destructor runs.
        let last = unsafe { &*s.locals.get().cast::<Values>() }.0.borrow_mut().pop();
        let Some((_, value)) = last else { break };
        // The goroutine has its result; a destructor's panic was reported by the panic hook.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
    }
    let values = s.locals.replace(ptr::null_mut()).cast::<Values>();
    // SAFETY: made by `Box::into_raw` in `values_of`; the head no longer points at it.
    drop(unsafe { Box::from_raw(values) });
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<GoLocal<Cell<u8>>>();
};
