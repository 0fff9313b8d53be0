//! One test body on threads, goroutines and futures (R14).

#[path = "support/pending.rs"]
mod pending;
mod support;

use gmp_sched::{
    AsyncCondvar, AsyncMutex, AsyncRwLock, Barrier, Builder, Condvar, Mutex, Once, OnceLock,
    ReentrantMutex, RwLock, Semaphore, Shutdown, WaitGroup, go, spawn,
};
use pending::pending_once;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const N: usize = 8;

/// Runs `body` eight times at once: on threads, then on goroutines at P=1 and 2.
fn everywhere(body: impl Fn() -> Arc<dyn Fn() + Send + Sync>, after: impl Fn()) {
    let job = body();
    let threads: Vec<_> = (0..N)
        .map(|_| {
            std::thread::spawn({
                let j = job.clone();
                move || j()
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    after();
    for procs in [1, 2] {
        // SAFETY: these tests use no thread-locals across a park.
        let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
        let job = body();
        rt.run(move || {
            let all: Vec<_> = (0..N)
                .map(|_| {
                    go({
                        let j = job.clone();
                        move || j()
                    })
                })
                .collect();
            all.into_iter().for_each(|h| h.join().unwrap());
        });
        after();
    }
}

/// Runs the future eight times at once, on runtimes for futures with P=1 and 2.
fn as_futures<F: Future<Output = ()> + Send + 'static>(body: impl Fn() -> F + Sync) {
    for procs in [1, 2] {
        let rt = Builder::new().procs(procs).build().unwrap();
        rt.block_on(async {
            let all: Vec<_> = (0..N).map(|_| spawn(body())).collect();
            for h in all {
                h.await.unwrap();
            }
        });
    }
}

/// As [`as_futures`], for what blocks nobody.
fn inside_futures(job: Arc<dyn Fn() + Send + Sync>) {
    as_futures(|| {
        let job = job.clone();
        async move { job() }
    });
}

#[test]
fn a_semaphore_never_lets_more_in_than_it_has_permits() {
    let sema = Arc::new(Semaphore::new(3));
    let inside = Arc::new(AtomicUsize::new(0));
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let (sema, inside) = (sema.clone(), inside.clone());
        Arc::new(move || {
            for i in 0..200 {
                let n = i % 3 + 1;
                sema.acquire(n);
                assert!(inside.fetch_add(n, Ordering::SeqCst) + n <= 3);
                gmp_sched::yield_now();
                inside.fetch_sub(n, Ordering::SeqCst);
                sema.release(n);
            }
        })
    };
    everywhere(body, || assert_eq!(sema.available(), 3));
    as_futures(|| {
        let (sema, inside) = (sema.clone(), inside.clone());
        async move {
            for i in 0..200 {
                let n = i % 3 + 1;
                sema.acquire_async(n).await;
                assert!(inside.fetch_add(n, Ordering::SeqCst) + n <= 3);
                pending_once().await;
                inside.fetch_sub(n, Ordering::SeqCst);
                sema.release(n);
            }
        }
    });
    assert_eq!(sema.available(), 3);
}

/// Nobody is in the way of who needs nothing, however many wait.
#[test]
fn no_permits_are_there_at_any_time() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let sema = Semaphore::new(1);
        Arc::new(move || {
            let mut waits = Box::pin(sema.acquire_async(2));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            assert!(!sema.try_acquire(1), "one waits for two");
            sema.acquire(0);
            assert!(sema.try_acquire(0) && sema.acquire_timeout(0, Duration::ZERO));
            assert!(
                std::pin::pin!(sema.acquire_async(0))
                    .poll(&mut cx)
                    .is_ready()
            );
            sema.release(0);
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            assert_eq!(sema.available(), 1);
        })
    };
    everywhere(body, || ());
    inside_futures(body());
}

/// A panic's hook may look at what the panic is about: nothing is locked then.
#[test]
fn a_count_that_would_overflow_panics_with_nothing_locked() {
    static GROUP: WaitGroup = WaitGroup::new();
    static ROOM: Semaphore = Semaphore::new(1);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let seen = format!("{GROUP:?} {ROOM:?}");
        if !info.payload().is::<&str>() || seen.is_empty() {
            hook(info);
        }
    }));
    let message = |f: fn()| {
        *std::panic::catch_unwind(f)
            .unwrap_err()
            .downcast::<&str>()
            .unwrap()
    };
    assert!(message(|| GROUP.done()).contains("negative counter"));
    GROUP.add(1);
    assert!(message(|| GROUP.add(usize::MAX)).contains("counter overflow"));
    assert!(message(|| ROOM.release(usize::MAX)).contains("too many permits"));
    GROUP.done();
    GROUP.wait();
    assert_eq!(ROOM.available(), 1);
}

#[test]
fn a_wait_group_lets_all_go_when_the_last_is_done() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let wg = Arc::new(WaitGroup::new());
        let done = Arc::new(AtomicUsize::new(0));
        wg.add(8);
        Arc::new(move || {
            gmp_sched::yield_now();
            done.fetch_add(1, Ordering::Relaxed);
            wg.done();
            wg.wait();
            assert_eq!(done.load(Ordering::Relaxed), 8);
        })
    };
    everywhere(body, || ());
    let (wg, done) = (Arc::new(WaitGroup::new()), Arc::new(AtomicUsize::new(0)));
    wg.add(2 * N);
    let first = std::thread::spawn({
        let wg = wg.clone();
        move || (0..N).for_each(|_| wg.done())
    });
    first.join().unwrap();
    as_futures(|| {
        let (wg, done) = (wg.clone(), done.clone());
        async move {
            // The second runtime's find nothing left to wait for.
            if done.fetch_add(1, Ordering::Relaxed) < N {
                pending_once().await;
                wg.done();
            }
            wg.wait_async().await;
            assert!(done.load(Ordering::Relaxed) >= N);
        }
    });
}

#[test]
#[should_panic(expected = "negative counter")]
fn done_without_add_panics() {
    WaitGroup::new().done();
}

#[test]
fn a_wait_that_shutdown_unwinds_leaves_nothing_behind() {
    // SAFETY: the goroutines keep nothing bound to a thread across a park.
    let rt = unsafe { gmp_sched::Builder::new().procs(2).build_stackful() }.unwrap();
    let room = std::sync::Arc::new(gmp_sched::Semaphore::new(0));
    let group = std::sync::Arc::new(gmp_sched::WaitGroup::new());
    group.add(1);
    for _ in 0..50 {
        let (room, group) = (room.clone(), group.clone());
        drop(rt.go(move || room.acquire(1)));
        drop(rt.go(move || group.wait()));
    }
    while rt.handle().traceback().matches("[semacquire]").count() < 50 {
        std::thread::yield_now();
    }
    drop(rt);
    room.release(3);
    assert_eq!(room.available(), 3, "a waiter that is gone was served");
    group.done();
    group.wait();
}

#[test]
fn a_mutex_excludes() {
    let total = Arc::new(Mutex::new(0usize));
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let total = total.clone();
        Arc::new(move || {
            for i in 0..500 {
                let mut t = total.lock();
                let seen = *t;
                if i % 50 == 0 {
                    gmp_sched::yield_now();
                }
                *t = seen + 1;
            }
        })
    };
    let rounds = AtomicUsize::new(0);
    everywhere(body, || {
        let n = rounds.fetch_add(1, Ordering::Relaxed) + 1;
        assert_eq!(*total.lock(), n * N * 500);
    });
    *total.lock() = 0;
    as_futures(|| {
        let total = total.clone();
        async move {
            for i in 0..500 {
                // In an `Option`: clippy takes every guard of `lock_api`'s for a thread's.
                let mut t = Some(total.lock_async().await);
                let seen = t.as_deref().copied().unwrap();
                if i % 50 == 0 {
                    pending_once().await;
                }
                **t.as_mut().unwrap() = seen + 1;
            }
        }
    });
    assert_eq!(*total.lock(), 2 * N * 500);
}

#[test]
fn a_starving_waiter_is_handed_the_mutex() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let lock = Arc::new(Mutex::new(()));
        let (waits, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(move || {
            // The first takes it again and again without a gap; the others still get in.
            if waits.fetch_add(1, Ordering::SeqCst) == 0 {
                while !stop.load(Ordering::SeqCst) {
                    let _guard = lock.lock();
                    for _ in 0..2000 {
                        std::hint::spin_loop();
                    }
                    gmp_sched::check_preempt();
                }
            } else {
                for _ in 0..20 {
                    drop(lock.lock());
                }
                if waits.fetch_add(1, Ordering::SeqCst) == 2 * N - 2 {
                    stop.store(true, Ordering::SeqCst);
                }
            }
        })
    };
    everywhere(body, || ());
}

/// Normal mode: a newcomer may go before the one that was woken. Starvation mode, once that one has waited for
/// a millisecond: the mutex is its own before it even looks.
#[test]
fn a_newcomer_goes_first_until_the_one_that_waits_starves() {
    let lock = Mutex::new(());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let held = lock.lock();
    let mut waits = Box::pin(lock.lock_async());
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    drop(held);
    let newcomer = lock.try_lock().expect("the one that was woken competes");
    std::thread::sleep(Duration::from_millis(2));
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    drop(newcomer);
    assert!(lock.try_lock().is_none(), "it was handed over");
    let guard = Some(waits.as_mut().poll(&mut cx));
    assert!(guard.as_ref().is_some_and(std::task::Poll::is_ready));
    drop(guard);
    assert!(lock.try_lock().is_some(), "nobody starves any more");
}

#[test]
fn a_rwlock_lets_readers_share_and_writers_exclude() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let lock = Arc::new(RwLock::new((0usize, 0usize)));
        Arc::new(move || {
            for i in 0..300 {
                if i % 4 == 0 {
                    let mut w = lock.write();
                    w.0 += 1;
                    if i % 20 == 0 {
                        gmp_sched::yield_now();
                    }
                    w.1 += 1;
                } else {
                    let r = lock.read();
                    assert_eq!(r.0, r.1);
                    if i % 21 == 0 {
                        gmp_sched::yield_now();
                    }
                    assert_eq!(r.0, r.1);
                }
            }
        })
    };
    everywhere(body, || ());
    let lock = Arc::new(RwLock::new((0usize, 0usize)));
    as_futures(|| {
        let lock = lock.clone();
        async move {
            for i in 0..300 {
                if i % 4 == 0 {
                    let mut w = Some(lock.write_async().await);
                    w.as_mut().unwrap().0 += 1;
                    pending_once().await;
                    w.as_mut().unwrap().1 += 1;
                } else {
                    let r = Some(lock.read_async().await);
                    pending_once().await;
                    assert!(r.is_some_and(|r| r.0 == r.1));
                }
            }
        }
    });
    assert_eq!(*lock.read(), (2 * N * 75, 2 * N * 75));
    assert!(!lock.is_locked());
}

#[test]
fn a_waiting_writer_keeps_new_readers_out_and_lets_them_in_when_it_gives_up() {
    let lock = Arc::new(RwLock::new(0));
    let first = lock.read();
    std::thread::scope(|s| {
        let writer = s.spawn(|| lock.try_write_for(Duration::from_millis(50)).is_some());
        while lock.try_read().is_some() {
            std::thread::yield_now();
        }
        // Waits for the writer, who gives up although `first` is still held.
        assert_eq!(*lock.read(), 0);
        assert!(!writer.join().unwrap());
    });
    drop(first);
    assert!(!lock.is_locked());
    let w = lock.write();
    let r = lock_api::RwLockWriteGuard::downgrade(w);
    assert!(lock.try_read().is_some() && lock.try_write().is_none());
    drop(r);
    assert!(lock.try_write().is_some());
}

#[test]
fn a_condvar_passes_a_token_around() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let queue = Arc::new((Mutex::new(0usize), Condvar::new()));
        let names = AtomicUsize::new(0);
        Arc::new(move || {
            let me = names.fetch_add(1, Ordering::SeqCst);
            let (turn, cond) = &*queue;
            for _ in 0..50 {
                let mut t = turn.lock();
                cond.wait_while(&mut t, |t| *t % N != me);
                *t += 1;
                cond.notify_all();
            }
        })
    };
    everywhere(body, || ());
    let queue = Arc::new((Mutex::new(0usize), Condvar::new()));
    let names = Arc::new(AtomicUsize::new(0));
    as_futures(|| {
        let me = names.fetch_add(1, Ordering::SeqCst) % N;
        let queue = queue.clone();
        async move {
            let (turn, cond) = &*queue;
            for _ in 0..50 {
                let mut t = Some(turn.lock_async().await);
                while t.as_ref().is_some_and(|t| **t % N != me) {
                    t = Some(cond.wait_async(t.take().unwrap()).await);
                }
                **t.as_mut().unwrap() += 1;
                cond.notify_all();
            }
        }
    });
    assert_eq!(*queue.0.lock(), 2 * N * 50);
}

#[test]
fn a_barrier_has_one_leader_each_round() {
    let leaders = Arc::new(AtomicUsize::new(0));
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let (barrier, leaders) = (Barrier::new(N), leaders.clone());
        let come = AtomicUsize::new(0);
        Arc::new(move || {
            for round in 1..=20 {
                come.fetch_add(1, Ordering::SeqCst);
                if barrier.wait() {
                    leaders.fetch_add(1, Ordering::SeqCst);
                }
                assert!(come.load(Ordering::SeqCst) >= round * N);
            }
        })
    };
    everywhere(body, || assert_eq!(leaders.swap(0, Ordering::SeqCst), 20));
    let barrier = Arc::new(Barrier::new(N));
    as_futures(|| {
        let (barrier, leaders) = (barrier.clone(), leaders.clone());
        async move {
            for _ in 0..20 {
                leaders.fetch_add(usize::from(barrier.wait_async().await), Ordering::SeqCst);
            }
        }
    });
    assert_eq!(leaders.load(Ordering::SeqCst), 40);
}

#[test]
fn once_runs_one_and_a_panic_leaves_it_to_the_next() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let (once, runs) = (Once::new(), AtomicUsize::new(0));
        let (value, makes) = (OnceLock::new(), AtomicUsize::new(0));
        Arc::new(move || {
            once.call_once(|| {
                gmp_sched::yield_now();
                runs.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(runs.load(Ordering::Relaxed), 1);
            let v: &usize = value.get_or_init(|| makes.fetch_add(1, Ordering::Relaxed));
            assert_eq!((*v, makes.load(Ordering::Relaxed)), (0, 1));
        })
    };
    everywhere(body, || ());
    let value = Arc::new(OnceLock::new());
    as_futures(|| {
        let value = value.clone();
        async move {
            let v: &u32 = value
                .get_or_init_async(async {
                    pending_once().await;
                    7
                })
                .await;
            assert_eq!(*v, 7);
        }
    });
    let lock = OnceLock::new();
    let panics = std::panic::AssertUnwindSafe(|| lock.get_or_init(|| panic!("not this time")));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(lock.get(), None);
    assert_eq!(*lock.get_or_init(|| 3), 3);
}

#[test]
fn a_reentrant_mutex_belongs_to_its_goroutine_whatever_the_thread() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let lock = Arc::new(ReentrantMutex::new(std::cell::Cell::new(0)));
        Arc::new(move || {
            for _ in 0..50 {
                let outer = lock.lock();
                let seen = outer.get();
                gmp_sched::yield_now();
                let inner = lock.lock();
                inner.set(seen + 1);
                drop(inner);
                assert_eq!(outer.get(), seen + 1);
            }
        })
    };
    everywhere(body, || ());
}

#[test]
fn timed_waits_end_on_threads_goroutines_and_in_futures() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let (lock, cond) = (Mutex::new(()), Condvar::new());
        let (sema, wg, rw) = (Semaphore::new(0), WaitGroup::new(), RwLock::new(()));
        wg.add(1);
        std::mem::forget(rw.read());
        Arc::new(move || {
            let ms = Duration::from_millis(2);
            let mut guard = lock.lock();
            assert!(cond.wait_for(&mut guard, ms).timed_out());
            assert!(lock.try_lock_for(ms).is_none());
            drop(guard);
            assert!(!sema.acquire_timeout(1, ms));
            assert!(!wg.wait_timeout(ms));
            assert!(rw.try_write_for(ms).is_none());
            assert!(rw.try_read_for(Duration::from_secs(60)).is_some());
        })
    };
    everywhere(body, || ());
    inside_futures(body());
}

#[test]
fn dropped_futures_leave_every_lock_as_it_was() {
    let lock = Mutex::new(());
    let (sema, barrier, cond) = (Semaphore::new(0), Barrier::new(2), Condvar::new());
    let rw = RwLock::new(());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    {
        let held = lock.lock();
        let mut a = std::pin::pin!(lock.lock_async());
        let mut b = std::pin::pin!(sema.acquire_async(1));
        let mut c = std::pin::pin!(barrier.wait_async());
        let read = rw.read();
        let mut d = std::pin::pin!(rw.write_async());
        let mut e = std::pin::pin!(rw.read_async());
        assert!(a.as_mut().poll(&mut cx).is_pending());
        assert!(b.as_mut().poll(&mut cx).is_pending());
        assert!(c.as_mut().poll(&mut cx).is_pending());
        assert!(d.as_mut().poll(&mut cx).is_pending());
        assert!(e.as_mut().poll(&mut cx).is_pending(), "behind the writer");
        // Woken, granted, and never polled again.
        drop((held, read));
        sema.release(1);
    }
    assert!(lock.try_lock().is_some());
    assert_eq!(sema.available(), 1);
    assert!(!rw.is_locked());
    {
        let mut w = std::pin::pin!(cond.wait_async(lock.lock()));
        assert!(w.as_mut().poll(&mut cx).is_pending());
        assert!(cond.notify_one());
    }
    assert!(lock.try_lock().is_some() && !cond.notify_one());
    let mut c = std::pin::pin!(barrier.wait_async());
    assert!(
        c.as_mut().poll(&mut cx).is_pending(),
        "the dropped one was not there"
    );
    assert!(barrier.wait());
}

/// Shutdown unwinds waits in every lock, and none is left in a state of its own.
#[test]
fn an_abort_unwinds_waiters_of_every_lock() {
    // SAFETY: no thread-locals across a park.
    let rt = unsafe { Builder::new().procs(2).build_stackful() }.unwrap();
    let lock = Arc::new(Mutex::new(0));
    let rw = Arc::new(RwLock::new(()));
    let (sema, cond) = (
        Arc::new(Semaphore::new(0)),
        Arc::new((Mutex::new(()), Condvar::new())),
    );
    let barrier = Arc::new(Barrier::new(9));
    let held = lock.lock();
    let read = rw.read();
    rt.run(|| {
        let (l, r, r2) = (lock.clone(), rw.clone(), rw.clone());
        let (s, c, b) = (sema.clone(), cond.clone(), barrier.clone());
        drop(go(move || *l.lock() += 1));
        drop(go(move || drop(r.write())));
        drop(go(move || drop(r2.write())));
        drop(go(move || s.acquire(1)));
        drop(go(move || c.1.wait(&mut c.0.lock())));
        drop(go(move || b.wait()));
        for _ in 0..100 {
            gmp_sched::yield_now();
        }
    });
    rt.shutdown(Shutdown::Abort(Duration::from_secs(20)));
    drop((held, read));
    assert_eq!(lock.try_lock().map(|v| *v), Some(0));
    assert!(!rw.is_locked());
    assert!(sema.try_acquire(0) && sema.available() == 0);
    assert!(cond.0.try_lock().is_some() && !cond.1.notify_one());
    assert!(format!("{barrier:?}").contains("waiting: 0"));
}

#[test]
fn a_panic_under_the_guard_unlocks() {
    let lock = Mutex::new(1);
    let panics = std::panic::AssertUnwindSafe(|| {
        let _guard = lock.lock();
        panic!("under the guard");
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(*lock.lock(), 1);
}

/// One notification, and who was given it gives up before it has the mutex: another gets it.
#[test]
fn a_notification_of_a_future_dropped_on_its_way_to_the_mutex_is_passed_on() {
    let (lock, cond) = (Mutex::new(()), Condvar::new());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut first = Box::pin(cond.wait_async(lock.lock()));
    assert!(first.as_mut().poll(&mut cx).is_pending());
    let mut second = std::pin::pin!(cond.wait_async(lock.lock()));
    assert!(second.as_mut().poll(&mut cx).is_pending());
    let held = lock.lock();
    assert!(cond.notify_one());
    // It has heard, and waits for the mutex.
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert!(second.as_mut().poll(&mut cx).is_pending());
    drop((held, first));
    assert!(second.as_mut().poll(&mut cx).is_ready());
}

/// A timed wait counts as notified exactly if it says so.
#[test]
fn a_wait_whose_time_has_run_out_takes_no_notification() {
    let body = || -> Arc<dyn Fn() + Send + Sync> {
        let (lock, cond) = (Mutex::new(0usize), Condvar::new());
        let (heard, told) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let left = AtomicUsize::new(N);
        Arc::new(move || {
            for i in 0..40 {
                let mut guard = lock.lock();
                if i % 2 == 0 {
                    let at_most = Duration::from_micros(i as u64 * 20);
                    if !cond.wait_for(&mut guard, at_most).timed_out() {
                        heard.fetch_add(1, Ordering::SeqCst);
                    }
                } else {
                    told.fetch_add(usize::from(cond.notify_one()), Ordering::SeqCst);
                    // Whose time runs out meanwhile waits for the mutex.
                    gmp_sched::yield_now();
                }
            }
            if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                assert_eq!(heard.load(Ordering::SeqCst), told.load(Ordering::SeqCst));
            }
        })
    };
    everywhere(body, || ());
}

/// An abort gives the mutex back to a wait before it unwinds it, whoever has it meanwhile.
#[test]
fn an_abort_unwinds_a_condvar_wait_with_the_mutex_locked() {
    const WAITERS: usize = 300;
    // SAFETY: no thread-locals across a park.
    let rt = unsafe { Builder::new().procs(2).max_threads(40).build_stackful() }.unwrap();
    let shared = Arc::new((Mutex::new(0usize), Condvar::new()));
    let unwound = Arc::new(AtomicUsize::new(0));
    for _ in 0..WAITERS {
        let (shared, unwound) = (shared.clone(), unwound.clone());
        drop(rt.handle().go(move || {
            struct Check<'a>(gmp_sched::MutexGuard<'a, usize>, &'a AtomicUsize);
            impl Drop for Check<'_> {
                fn drop(&mut self) {
                    *self.0 -= 1;
                    self.1.fetch_add(1, Ordering::SeqCst);
                }
            }
            let mut guard = Check(shared.0.lock(), &unwound);
            *guard.0 += 1;
            shared.1.wait(&mut guard.0);
        }));
    }
    while *shared.0.lock() < WAITERS {
        std::thread::yield_now();
    }
    let held = shared.0.lock();
    let late = std::thread::scope(|s| {
        let ends = s.spawn(|| rt.shutdown(Shutdown::Abort(Duration::from_secs(20))));
        // They are woken, and wait for the mutex.
        std::thread::sleep(Duration::from_millis(30));
        let early = unwound.load(Ordering::SeqCst);
        drop(held);
        ends.join().unwrap();
        early
    });
    assert_eq!(late, 0);
    assert_eq!(unwound.load(Ordering::SeqCst), WAITERS);
    assert_eq!(*shared.0.lock(), 0);
    assert!(!shared.1.notify_one());
}

#[test]
fn a_timed_wait_with_no_time_left_is_a_try() {
    let (lock, sema, wg, rw) = (
        Mutex::new(()),
        Semaphore::new(0),
        WaitGroup::new(),
        RwLock::new(()),
    );
    wg.add(1);
    let guard = lock.lock();
    let read = rw.read();
    assert!(lock.try_lock_for(Duration::ZERO).is_none());
    assert!(!sema.acquire_timeout(1, Duration::ZERO));
    assert!(!wg.wait_timeout(Duration::ZERO));
    assert!(rw.try_write_for(Duration::ZERO).is_none());
    drop((guard, read));
    assert!(lock.try_lock_for(Duration::ZERO).is_some());
    assert!(rw.try_write_for(Duration::ZERO).is_some());
    sema.release(1);
    assert!(sema.acquire_timeout(1, Duration::ZERO));
    wg.done();
    assert!(wg.wait_timeout(Duration::ZERO));
}

/// A guard that is dropped by a panic wakes a waker that panics as well: the first panic goes on.
#[test]
fn a_waker_that_panics_as_a_guard_is_unwound_aborts_nothing() {
    let bad = support::panicking_waker();
    let mut cx = std::task::Context::from_waker(&bad);
    let lock = Mutex::new(());
    let rw = RwLock::new(());
    for fair in [false, true] {
        let mut waits = Box::pin(lock.lock_async());
        let mut reads = Box::pin(rw.read_async());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let guard = lock.lock();
            let _written = rw.write();
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            assert!(reads.as_mut().poll(&mut cx).is_pending());
            if fair {
                lock_api::MutexGuard::unlock_fair(guard);
            }
            std::panic::resume_unwind(Box::new("under the guard"));
        }));
        let first = if fair {
            "in a waker"
        } else {
            "under the guard"
        };
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), first);
        assert!(waits.as_mut().poll(&mut cx).is_ready(), "it was woken");
        assert!(reads.as_mut().poll(&mut cx).is_ready(), "it was woken");
    }
    assert!(lock.try_lock().is_some() && !rw.is_locked());
}

/// Many are taken off at once, and more come meanwhile; each is woken once, in its turn.
#[test]
fn a_hundred_waiters_are_served_by_one_release() {
    let sema = Semaphore::new(0);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut all: Vec<_> = (0..100).map(|_| Box::pin(sema.acquire_async(2))).collect();
    for waits in &mut all {
        assert!(waits.as_mut().poll(&mut cx).is_pending());
    }
    sema.release(2 * 70 + 1);
    for (i, waits) in all.iter_mut().enumerate() {
        assert_eq!(waits.as_mut().poll(&mut cx).is_ready(), i < 70, "{i}");
    }
    // One that gives up serves nobody, if it leaves nothing behind.
    drop(all.remove(70));
    assert_eq!(sema.available(), 1);
    sema.release(1);
    assert!(all[70].as_mut().poll(&mut cx).is_ready());
    drop(all);
    assert_eq!(sema.available(), 0);
}
