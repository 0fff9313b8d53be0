//! What a peak of timers took is given back when it is over.

use gtimer::{Callback, Engine, bucket, heap};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// Counts the bytes that a thread has allocated and not freed.
struct Counting;

// SAFETY: hands every call on to the system's allocator; the count is a plain thread-local.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size().cast_signed());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOC: Counting = Counting;

const MANY: i64 = 20_000;
const FAR: i64 = 1 << 60;

/// A heap, with a far timer or without, after a peak that `ends` somehow. Arrays for few may be kept.
fn gives_back<E: Engine>(ends: impl Fn(&E, Vec<E::Handle>)) {
    for far in [false, true] {
        let timers = E::default();
        let before = LIVE.get();
        let far = far.then(|| timers.insert(FAR, 0, Callback::none()).0);
        let handles = (0..MANY)
            .map(|when| timers.insert(when, 0, Callback::none()).0)
            .collect();
        assert!(LIVE.get() - before > 28 * MANY as isize);
        ends(&timers, handles);
        assert!(timers.len() < 256);
        let left = LIVE.get() - before;
        assert!(left < 32_768, "{left} bytes, {far:?}");
    }
}

fn when_all_have_fired<E: Engine>() {
    gives_back(|timers: &E, handles| {
        handles.into_iter().for_each(E::detach);
        assert_eq!(timers.check(MANY).1, MANY as usize);
    });
}

fn when_all_are_stopped<E: Engine>() {
    gives_back(|timers: &E, handles| {
        assert!(handles.iter().all(E::stop));
        drop(handles);
        let _ = timers.check(0);
    });
}

/// There is always one about to fire.
fn when_only_a_ticker_is_left<E: Engine>() {
    gives_back(|timers: &E, handles| {
        handles.into_iter().for_each(E::detach);
        let _ticker = timers.insert(10, 10, Callback::none()).0;
        let _ = timers.check(MANY);
        let mut now = MANY;
        while now < 1_000_000_000 {
            now += 1_000_000;
            timers.check(now);
        }
    });
}

macro_rules! both {
    ($($name:ident)*) => {
        mod heap_engine { $(#[test] fn $name() { super::$name::<super::heap::Timers>(); })* }
        mod bucket_engine { $(#[test] fn $name() { super::$name::<super::bucket::Timers>(); })* }
    };
}

both! {
    when_all_have_fired
    when_all_are_stopped
    when_only_a_ticker_is_left
}

#[test]
fn when_the_timers_are_taken_one_by_one() {
    gives_back(|timers: &heap::Timers, handles| {
        handles.into_iter().for_each(heap::Handle::detach);
        loop {
            let due = timers.take(MANY);
            let more = due.next_when() <= MANY;
            due.run();
            if !more {
                break;
            }
        }
    });
}

#[test]
fn when_they_are_moved_to_another_heap() {
    let other = heap::Timers::new();
    gives_back(|timers: &heap::Timers, handles| {
        assert!(other.adopt(timers));
        drop(handles);
        let _ = other.check(MANY);
    });
}
