//! Nothing is allocated, and nothing freed, under a lock: the allocator of this process uses what may be locked.
//! If it is, its thread waits for itself for ever.

use gmp_sched::{Barrier, Condvar, Context, Mutex, RwLock, Semaphore, WaitGroup};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

struct Nosy;

/// All that a lock's user can make it lock.
struct Locked {
    context: Context,
    room: Semaphore,
    group: WaitGroup,
    mutex: Mutex<()>,
    rw: RwLock<()>,
    condvar: Condvar,
    barrier: Barrier,
}

static LOCKED: OnceLock<Locked> = OnceLock::new();
static LOOKS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// It looks already, or may not on this thread.
    static BUSY: Cell<bool> = const { Cell::new(true) };
}

fn busy(now: bool) -> bool {
    BUSY.replace(now)
}

fn look() {
    if busy(true) {
        return;
    }
    if let Some(l) = LOCKED.get() {
        LOOKS.fetch_add(1, Ordering::Relaxed);
        // The lock of the context's node and that of all deadlines.
        drop(l.context.with_timeout(Duration::from_secs(3600)));
        drop(l.context.after_func(|| ()));
        l.context.attachment(|| ());
        _ = l.room.available();
        l.group.add(1);
        l.group.done();
        l.condvar.notify_all();
        l.mutex.is_locked();
        l.rw.is_locked();
        let _ = format!("{:?}", l.barrier);
    }
    busy(false);
}

// SAFETY: System's, with a look before.
unsafe impl GlobalAlloc for Nosy {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        look();
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        look();
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static NOSY: Nosy = Nosy;

/// Whether the allocator looks on this thread while `f` runs.
fn nosily(f: impl FnOnce()) {
    // parking_lot's locks, which ours lie under, allocate when a thread first sleeps, with their own locked:
    // an allocator that uses them has to let that pass.
    let moment = Duration::from_micros(1);
    parking_lot::Condvar::new().wait_for(&mut parking_lot::Mutex::new(()).lock(), moment);
    busy(false);
    f();
    busy(true);
}

fn use_all(l: &'static Locked) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    // More waiters, children and callbacks than the last time, so that everything grows.
    for n in [1, 3, 10, 40] {
        let children: Vec<_> = (0..n)
            .map(|_| l.context.with_timeout(Duration::from_secs(60)))
            .collect();
        let (early, _canceler) = l.context.with_timeout(Duration::from_millis(1));
        let callbacks: Vec<_> = (0..n).map(|_| l.context.after_func(|| ())).collect();
        let mut permits: Vec<_> = (0..n).map(|_| Box::pin(l.room.acquire_async(1))).collect();
        assert!(
            permits
                .iter_mut()
                .all(|p| p.as_mut().poll(&mut cx).is_pending())
        );
        l.group.add(1);
        let mut waits: Vec<_> = (0..n).map(|_| Box::pin(l.group.wait_async())).collect();
        assert!(
            waits
                .iter_mut()
                .all(|w| w.as_mut().poll(&mut cx).is_pending())
        );
        let mut done: Vec<_> = (0..n).map(|_| Box::pin(early.done())).collect();
        done.retain_mut(|d| d.as_mut().poll(&mut cx).is_pending());

        l.room.release(n);
        l.group.done();
        early.wait();
        assert!(
            permits
                .iter_mut()
                .all(|p| p.as_mut().poll(&mut cx).is_ready())
        );
        assert!(done.iter_mut().all(|d| d.as_mut().poll(&mut cx).is_ready()));
        drop((children, callbacks));
        assert!(!l.room.acquire_timeout(1, Duration::from_micros(10)));
    }
}

fn contend(l: &'static Locked) {
    for _ in 0..100 {
        drop(l.rw.read());
        drop(l.rw.write());
        let mut guard = l.mutex.lock();
        l.condvar.wait_for(&mut guard, Duration::from_micros(1));
        drop(guard);
        l.barrier.wait();
    }
}

#[test]
fn no_allocator_runs_under_a_lock() {
    let (context, canceler) = Context::background().with_cancel();
    let l = LOCKED.get_or_init(|| Locked {
        context,
        room: Semaphore::new(0),
        group: WaitGroup::new(),
        mutex: Mutex::new(()),
        rw: RwLock::new(()),
        condvar: Condvar::new(),
        barrier: Barrier::new(4),
    });
    nosily(|| use_all(l));
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| nosily(|| contend(l)));
        }
    });
    nosily(|| canceler.cancel());
    assert!(LOOKS.load(Ordering::Relaxed) > 100);
}
