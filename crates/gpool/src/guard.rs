//! Items that go back by themselves: Go's `defer pool.Put(x)` as a type.
//!
//! Plain safe code over [`Pool`]: a guard owns its item, and a slot is looked up anew on drop, so a
//! guard may live across parks and move between threads with its item.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::pool::Pool;

macro_rules! guard {
    ($(#[$doc:meta])* $name:ident [$($life:lifetime)?] $owner:ty) => {
        $(#[$doc])*
        #[must_use = "a guard that is dropped at once puts its item back at once"]
        pub struct $name<$($life,)? T, F = fn() -> T>
        where
            T: Send + 'static,
            F: Fn() -> T,
        {
            /// Where the item goes.
            pool: $owner,
            /// Initialised until the guard is dropped or detached.
            item: ManuallyDrop<T>,
        }

        impl<$($life,)? T: Send + 'static, F: Fn() -> T> $name<$($life,)? T, F> {
            pub(crate) fn new(pool: $owner, item: T) -> Self {
                Self { pool, item: ManuallyDrop::new(item) }
            }
        }

        impl<$($life,)? T: Send + 'static, F: Fn() -> T> Deref for $name<$($life,)? T, F> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.item
            }
        }

        impl<$($life,)? T: Send + 'static, F: Fn() -> T> DerefMut for $name<$($life,)? T, F> {
            fn deref_mut(&mut self) -> &mut T {
                &mut self.item
            }
        }

        impl<$($life,)? T: Send + 'static, F: Fn() -> T> Drop for $name<$($life,)? T, F> {
            fn drop(&mut self) {
                // SAFETY: the item is initialised, and nobody looks at it after this.
                self.pool.put(unsafe { ManuallyDrop::take(&mut self.item) });
            }
        }

        impl<$($life,)? T, F> fmt::Debug for $name<$($life,)? T, F>
        where
            T: Send + fmt::Debug + 'static,
            F: Fn() -> T,
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&**self, f)
            }
        }
    };
}

guard! {
    /// An item borrowed from a pool, put back on drop. From [`Pool::guard`].
    ///
    /// On a panic the item goes back too, as with Go's `defer`, in whatever state it is: a hook set
    /// by [`Pool::with_reset`] sees it first.
    ///
    /// ```
    /// let pool = gpool::Pool::new(String::new).with_reset(String::clear);
    /// {
    ///     let mut line = pool.guard();
    ///     line.push_str("hello");
    /// }
    /// assert!(pool.get().is_empty());
    /// ```
    Guard ['p] &'p Pool<T, F>
}

guard! {
    /// An item that keeps its pool alive, put back on drop. From [`Pool::arc_guard`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use gpool::Pool;
    /// let pool = Arc::new(Pool::new(Vec::<u8>::new));
    /// let mut buffer = Pool::arc_guard(&pool);
    /// std::thread::spawn(move || buffer.push(1)).join().unwrap();
    /// assert_eq!(pool.get(), [1]); // stolen from where that thread left it
    /// ```
    ArcGuard [] Arc<Pool<T, F>>
}

impl<T: Send + 'static, F: Fn() -> T> Guard<'_, T, F> {
    /// The item itself, which no longer goes back.
    #[must_use = "the item is dropped otherwise"]
    pub fn detach(guard: Self) -> T {
        let mut guard = ManuallyDrop::new(guard);
        // SAFETY: the guard's destructor will not run, so the item is taken once.
        unsafe { ManuallyDrop::take(&mut guard.item) }
    }
}

impl<T: Send + 'static, F: Fn() -> T> ArcGuard<T, F> {
    /// The item itself, which no longer goes back.
    #[must_use = "the item is dropped otherwise"]
    pub fn detach(guard: Self) -> T {
        let mut guard = ManuallyDrop::new(guard);
        // SAFETY: the guard's destructor will not run: both fields are taken once.
        let (item, pool) = unsafe {
            (
                ManuallyDrop::take(&mut guard.item),
                core::ptr::read(&raw const guard.pool),
            )
        };
        drop(pool); // the last one drops its items, which may panic: this one is dropped then too
        item
    }
}
