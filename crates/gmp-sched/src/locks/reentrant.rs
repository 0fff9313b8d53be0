//! A mutex that its owner may lock again: `lock_api`'s, whose owner is a goroutine, or a thread that
//! runs none.

use super::mutex::RawMutex;
use crate::park::Goroutine;
use core::cell::Cell;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Who runs here: the goroutine, or off goroutines (and inside futures) the thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct GoId(());

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// Not inlined, returns no address: code may call it before and after a park.
#[inline(never)]
fn thread_id() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    THREAD.with(|id| {
        if id.get() == 0 {
            id.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        id.get()
    })
}

// SAFETY: a goroutine's id is never used twice, nor is a thread's; the lowest bit tells the two
// apart. Both stay what they are while the goroutine, or the thread, lives.
unsafe impl lock_api::GetThreadId for GoId {
    const INIT: Self = Self(());

    fn nonzero_thread_id(&self) -> NonZeroUsize {
        let id = match Goroutine::current() {
            Some(g) => (g.id() as usize) << 1 | 1,
            None => thread_id() << 1,
        };
        NonZeroUsize::new(id).expect("ids start at 1")
    }
}

/// A mutex that the goroutine which holds it may lock again; shared access only. `lock` **may park**.
///
/// Its guard is not `Send`, as `lock_api` has it for threads; for this one rule (1) of
/// [`Builder::build_stackful`](crate::Builder::build_stackful) does not count: it belongs to the
/// goroutine and may be held across parks.
///
/// ```
/// let log = gmp_sched::ReentrantMutex::new(std::cell::Cell::new(0));
/// let outer = log.lock();
/// let inner = log.lock();
/// inner.set(1);
/// assert_eq!(outer.get(), 1);
/// ```
pub type ReentrantMutex<T> = lock_api::ReentrantMutex<RawMutex, GoId, T>;
