//! [`SharedMap`]: Go's plain map as several goroutines see it, with the run-time's check for misuse
//! (R81, R95).

use super::{GoCursor, GoKey, GoMap};
use crate::{DefaultHashBuilder, Stats};
use core::cell::UnsafeCell;
use core::fmt;
use core::hash::BuildHasher;
use core::sync::atomic::{AtomicU8, Ordering};
use std::io::{self, Write};

/// Somebody writes.
const WRITING: u8 = 4;

/// A map that threads share without a lock, at the caller's risk, and that ends the program when it
/// catches them at it.
///
/// Go's maps are not safe for concurrent use, but they look: a read, an iteration or a write that meets
/// a write under way prints one of three lines and aborts. This is that map. The check is made by plain
/// loads and stores, so it finds misuse often and not always; it is there to make a bug loud, not to make
/// it safe. For a map that may be shared, use a lock around [`HashMap`](crate::HashMap).
///
/// ```
/// let map = ghmap::SharedMap::new();
/// // SAFETY: only this thread uses the map.
/// unsafe {
///     map.insert("a", 1);
///     assert_eq!(map.get(&"a"), 1);
///     map.delete(&"a");
/// }
/// ```
pub struct SharedMap<K, V, S = DefaultHashBuilder> {
    /// `WRITING` while a write is under way. Relaxed: it orders nothing, as in Go.
    flags: AtomicU8,
    map: UnsafeCell<GoMap<K, V, S>>,
}

// SAFETY: every access is through an unsafe method, whose contract forbids the races.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Send + Sync> Sync for SharedMap<K, V, S> {}

#[cfg(feature = "default-hasher")]
impl<K, V> SharedMap<K, V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<K, V, S: Default> Default for SharedMap<K, V, S> {
    fn default() -> Self {
        GoMap::default().into()
    }
}

impl<K, V, S> From<GoMap<K, V, S>> for SharedMap<K, V, S> {
    fn from(map: GoMap<K, V, S>) -> Self {
        Self {
            flags: AtomicU8::new(0),
            map: UnsafeCell::new(map),
        }
    }
}

impl<K, V, S> fmt::Debug for SharedMap<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The entries cannot be looked at from a safe method.
        f.debug_struct("SharedMap").finish_non_exhaustive()
    }
}

/// Go's `throw`: no unwinding, no cleaning up, also if nobody takes the report (`eprintln!` would panic then).
#[cold]
fn fatal(message: &str) -> ! {
    let _ = writeln!(io::stderr(), "fatal error: {message}");
    std::process::abort()
}

/// A write under way, from after the key was hashed (user code, which may unwind) to its end.
struct Writing<'a>(&'a AtomicU8);

impl<'a> Writing<'a> {
    fn begin(flags: &'a AtomicU8) -> Self {
        let now = flags.load(Ordering::Relaxed);
        if now & WRITING != 0 {
            fatal("concurrent map writes");
        }
        flags.store(now ^ WRITING, Ordering::Relaxed);
        Self(flags)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let now = self.0.load(Ordering::Relaxed);
        if now & WRITING == 0 {
            fatal("concurrent map writes");
        }
        self.0.store(now & !WRITING, Ordering::Relaxed);
    }
}

impl<K, V, S> SharedMap<K, V, S> {
    /// The map, which nobody else can have.
    pub fn get_mut(&mut self) -> &mut GoMap<K, V, S> {
        self.map.get_mut()
    }

    /// Gives the map out of sharing.
    #[must_use]
    pub fn into_inner(self) -> GoMap<K, V, S> {
        self.map.into_inner()
    }

    fn check(&self, message: &str) {
        if self.flags.load(Ordering::Relaxed) & WRITING != 0 {
            fatal(message);
        }
    }

    /// The number of entries.
    ///
    /// # Safety
    /// No write runs at the same time.
    pub unsafe fn len(&self) -> usize {
        // SAFETY: the caller's promise.
        unsafe { (*self.map.get()).len() }
    }

    /// Whether there are no entries.
    ///
    /// # Safety
    /// No write runs at the same time.
    pub unsafe fn is_empty(&self) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.len() == 0 }
    }

    /// The state of the table and of its growth.
    ///
    /// # Safety
    /// No write runs at the same time.
    pub unsafe fn stats(&self) -> Stats {
        // SAFETY: the caller's promise.
        unsafe { (*self.map.get()).stats() }
    }

    /// Removes all entries.
    ///
    /// Ends the program with `concurrent map writes` if it meets a write.
    ///
    /// # Safety
    /// No other call on the map runs at the same time.
    pub unsafe fn clear(&self)
    where
        S: Default,
    {
        let _writing = Writing::begin(&self.flags);
        // SAFETY: the caller's promise.
        unsafe { (*self.map.get()).clear() }
    }

    /// An iteration, for [`next`](Self::next).
    ///
    /// # Safety
    /// No write runs at the same time.
    pub unsafe fn cursor(&self) -> GoCursor<K, V> {
        // SAFETY: the caller's promise.
        unsafe { (*self.map.get()).cursor() }
    }
}

impl<K: GoKey, V, S: BuildHasher + Default> SharedMap<K, V, S> {
    /// The value of `key`, or the zero value.
    ///
    /// Ends the program with `concurrent map read and map write` if it meets a write.
    ///
    /// # Safety
    /// No write runs at the same time.
    pub unsafe fn get(&self, key: &K) -> V
    where
        V: Clone + Default,
    {
        // SAFETY: the caller's promise.
        unsafe { self.lookup(key) }.unwrap_or_default()
    }

    /// The value of `key` if it is present: Go's "comma ok".
    ///
    /// Ends the program with `concurrent map read and map write` if it meets a write.
    ///
    /// # Safety
    /// No write runs at the same time.
    pub unsafe fn lookup(&self, key: &K) -> Option<V>
    where
        V: Clone,
    {
        self.check("concurrent map read and map write");
        // SAFETY: the caller's promise.
        unsafe { (*self.map.get()).lookup(key).cloned() }
    }

    /// `map[key] = value`.
    ///
    /// Ends the program with `concurrent map writes` if it meets a write.
    ///
    /// # Safety
    /// No other call on the map runs at the same time.
    pub unsafe fn insert(&self, key: K, value: V) {
        // SAFETY: the caller's promise. The key is hashed before the flag is set (R85).
        let hash = unsafe { (*self.map.get()).hash_of(&key) };
        let _writing = Writing::begin(&self.flags);
        // SAFETY: the caller's promise.
        unsafe { (*self.map.get()).insert_hashed(hash, key, value) }
    }

    /// `delete(map, key)`.
    ///
    /// Ends the program with `concurrent map writes` if it meets a write.
    ///
    /// # Safety
    /// No other call on the map runs at the same time.
    pub unsafe fn delete(&self, key: &K) {
        // SAFETY: the caller's promise. The key is hashed before the flag is set (R85).
        let hash = unsafe { (*self.map.get()).hash_of(key) };
        let _writing = Writing::begin(&self.flags);
        // SAFETY: the caller's promise.
        unsafe { (*self.map.get()).delete_hashed(hash, key) }
    }

    /// The next entry of an iteration.
    ///
    /// Ends the program with `concurrent map iteration and map write` if it meets a write.
    ///
    /// # Safety
    /// No write runs at the same time.
    pub unsafe fn next(&self, cursor: &mut GoCursor<K, V>) -> Option<(K, V)>
    where
        K: Clone,
        V: Clone,
    {
        self.check("concurrent map iteration and map write");
        // SAFETY: the caller's promise.
        unsafe { cursor.next(&*self.map.get()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    const CHILD: &str = "GHMAP_TWO_WRITERS";

    /// Two writers who both found nobody there: the first that ends takes the flag, and the second misses it. The
    /// child is one of them, and does the other's part itself.
    #[test]
    fn r95_a_write_that_ends_without_its_flag_was_not_alone() {
        if std::env::var_os(CHILD).is_some() {
            let flags = AtomicU8::new(0);
            let _second = Writing::begin(&flags);
            flags.store(0, Ordering::Relaxed);
            return;
        }
        let name = std::thread::current();
        let child = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", name.name().expect("a test's"), "--nocapture"])
            .env(CHILD, "")
            .output()
            .expect("a child");
        let stderr = String::from_utf8_lossy(&child.stderr);
        assert!(!child.status.success());
        assert!(
            stderr.contains("fatal error: concurrent map writes\n"),
            "{stderr}"
        );
    }
}
