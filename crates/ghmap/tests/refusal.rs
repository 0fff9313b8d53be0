//! Maps whose chains are so long that planning an evacuation takes memory of its own, in a program whose global
//! allocator has none left. A process of its own, because the allocator is the program's.

mod common;

use common::OneHash;
use ghmap::{HashMap, TryReserveError};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Whether this thread is refused memory.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

struct Stingy;

// SAFETY: the system's allocator, or none.
unsafe impl GlobalAlloc for Stingy {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSED.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; the system gave it.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static STINGY: Stingy = Stingy;

/// Without memory while `f` runs.
fn refused<T>(f: impl FnOnce() -> T) -> T {
    REFUSED.set(true);
    let result = f();
    REFUSED.set(false);
    result
}

#[test]
fn a_chain_that_cannot_be_planned_waits_and_loses_nothing() {
    let mut map: HashMap<u64, u64, OneHash> = HashMap::with_hasher(OneHash);
    // The chain is that of the last old bucket. Two writes before its turn: it has eleven buckets and more.
    for i in 0.. {
        let stats = map.stats();
        if map.len() > 88 && stats.growing && stats.evacuated + 2 >= stats.old_buckets {
            break;
        }
        map.insert(i, i);
    }
    let len = map.len() as u64;
    let reserved = refused(|| map.try_reserve(0));
    assert!(
        matches!(reserved, Err(TryReserveError::AllocError { layout }) if layout.size() > 0),
        "{reserved:?}"
    );
    assert!(map.stats().growing);
    assert_eq!(refused(|| map.remove(&0)), Some(0), "a removal needs none");
    assert!(map.stats().growing);
    assert!((1..len).all(|i| map.get(&i) == Some(&i)));
    assert_eq!(map.try_reserve(0), Ok(()));
    assert!(!map.stats().growing);
    assert!((1..len).all(|i| map.get(&i) == Some(&i)));
}
