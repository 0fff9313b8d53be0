//! Binding a goroutine to its thread: `LockOSThread` of Go's `proc.go` (R38).

use crate::park;

/// Binds the calling goroutine to its thread until as many [`unlock_os_thread`] have been called, for
/// code that depends on its thread: thread-locals of C libraries, graphics contexts, `setns`.
///
/// While it is bound, no other goroutine runs on the thread; where the goroutine waits, the thread
/// waits with it and its P goes to another. A goroutine that ends while it is bound takes the thread
/// with it. Futures and plain threads keep their thread anyway: there the call does nothing.
///
/// ```
/// gmp_sched::lock_os_thread();
/// // ... calls that need this very thread ...
/// gmp_sched::unlock_os_thread();
/// ```
pub fn lock_os_thread() {
    if let Some((s, _)) = park::current() {
        s.locked.set(s.locked.get().checked_add(1).expect("lock_os_thread nested 2^32 times"));
    }
}

/// Undoes one [`lock_os_thread`]. Without one it does nothing, as in Go.
pub fn unlock_os_thread() {
    if let Some((s, _)) = park::current() {
        s.locked.set(s.locked.get().saturating_sub(1));
    }
}
