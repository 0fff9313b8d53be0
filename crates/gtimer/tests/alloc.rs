//! R63: what allocates, counted.

use gtimer::{Callback, Driver, Host, NEVER, bucket, heap};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: hands every call on to the system's allocator; the count is a plain thread-local.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOC: Counting = Counting;

fn allocations(f: impl FnOnce()) -> usize {
    let before = COUNT.get();
    f();
    COUNT.get() - before
}

unsafe fn ready(_: *mut (), _: usize) {}

#[test]
fn r63_a_sleep_on_a_kept_timer_allocates_nothing() {
    let timers = heap::Timers::new();
    let sleep = heap::Handle::new();
    let mut now = 0;
    let mut nap = || {
        // SAFETY: `ready` touches nothing.
        let callback = unsafe { Callback::func(ready, std::ptr::null_mut(), 0) };
        assert!(timers.arm(&sleep, now + 10, 0, callback).earliest);
        now += 10;
        assert_eq!(timers.check(now), (NEVER, 1));
    };
    nap(); // the heap's array grows once
    assert_eq!(allocations(|| (0..1_000).for_each(|_| nap())), 0);
}

#[test]
fn r63_resets_and_stops_allocate_nothing() {
    let heap = heap::Timers::new();
    let timer = heap.insert(100, 0, Callback::none()).0;
    let bucket = bucket::Timers::new();
    let other = bucket.insert(100, 0, Callback::none()).0;
    let n = allocations(|| {
        for i in 0..1_000 {
            assert_eq!(heap.reset(&timer, 50 + i % 100).was_pending, i % 3 != 1);
            assert_eq!(bucket.reset(&other, 50 + i % 100).was_pending, i % 3 != 1);
            if i % 3 == 0 {
                assert!(timer.stop() && other.stop());
            }
        }
    });
    assert_eq!(n, 0);
}

#[test]
fn a_timer_is_one_allocation() {
    let timers = heap::Timers::new();
    drop(timers.insert(1, 0, Callback::none()));
    let n = allocations(|| drop(timers.insert(1, 0, Callback::none())));
    assert_eq!(n, 1);
}

#[test]
fn a_closure_of_up_to_four_words_lies_within_its_timer() {
    let timers = heap::Timers::new();
    let timer = heap::Handle::new();
    let fire = |callback| {
        let _ = timers.arm(&timer, 1, 0, callback);
        assert_eq!(timers.check(1).1, 1);
    };
    let four = std::hint::black_box([1_usize; 4]);
    let small = move || assert_eq!(four.iter().sum::<usize>(), 4);
    let five = std::hint::black_box([1_usize; 5]);
    let large = move || assert_eq!(five.iter().sum::<usize>(), 5);
    fire(Callback::once(small)); // the heap's array grows once
    assert_eq!(allocations(|| fire(Callback::once(small))), 0);
    assert_eq!(allocations(|| fire(Callback::once(large))), 1);
}

#[test]
fn a_future_allocates_one_timer_however_often_it_is_reset() {
    let (driver, clock) = Driver::virtual_clock();
    drop(driver.delay(Duration::from_secs(1)));
    let mut cx = Context::from_waker(Waker::noop());
    let mut sleep = pin!(driver.delay(Duration::from_secs(1)));
    assert_eq!(driver.now(), 0);
    assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Pending);
    let n = allocations(|| {
        for _ in 0..100 {
            sleep.as_mut().reset(Duration::from_secs(2));
            assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Pending);
            clock.advance(Duration::from_secs(2));
            assert_eq!(sleep.as_mut().poll(&mut cx), Poll::Ready(()));
        }
    });
    assert_eq!(n, 0);
}

#[test]
fn a_task_that_receives_allocates_nothing() {
    let (driver, clock) = Driver::virtual_clock();
    let mut ticker = driver.tick(Duration::from_secs(1));
    let mut cx = Context::from_waker(Waker::noop());
    let n = allocations(|| {
        for _ in 0..100 {
            assert_eq!(ticker.poll_recv(&mut cx), Poll::Pending);
            assert_eq!(clock.advance(Duration::from_secs(1)), 1);
            assert!(ticker.poll_recv(&mut cx).is_ready());
        }
    });
    assert_eq!(n, 0);
}
