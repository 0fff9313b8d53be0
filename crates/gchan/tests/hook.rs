//! The park seam, with a runtime made of threads: registered threads play goroutines, the others are plain threads. One
//! process, one hook, so this is a file of its own.

mod common {
    pub(crate) mod counted;
}

use common::counted::Counted;
use gchan::park::{Handle, HookAlreadySet, Park, Reason, set_hook};
use gchan::{bounded, select, unbounded};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

/// A goroutine's record: leaked, so that late unparks find it.
#[derive(Default)]
struct Record {
    permit: Mutex<bool>,
    bell: Condvar,
    parks: AtomicUsize,
    last_reason: Mutex<Option<Reason>>,
    /// Where it was met by those who woke it.
    met: Mutex<Vec<usize>>,
    /// The next park unwinds, as a runtime's shutdown does.
    doomed: Mutex<bool>,
}

thread_local! { static ME: Cell<Option<&'static Record>> = const { Cell::new(None) } }

struct Runtime;
static BLOCKED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: a parked "goroutine" is a sleeping thread, whose stack stays as it is.
unsafe impl Park for Runtime {
    fn current(&self) -> Option<Handle> {
        let record = ME.try_with(Cell::get).ok()??;
        // SAFETY: records are leaked, and `unpark` takes a lock that is held for a few instructions.
        Some(unsafe { Handle::new(std::ptr::from_ref(record).cast(), unpark) })
    }

    unsafe fn park(&self, me: Handle, reason: Reason, deadline: Option<Instant>) {
        let record = ME.get().expect("a plain thread parked as a goroutine");
        assert_eq!(me.data(), std::ptr::from_ref(record).cast());
        record.parks.fetch_add(1, Ordering::Relaxed);
        *record.last_reason.lock().unwrap() = Some(reason);
        if std::mem::take(&mut *record.doomed.lock().unwrap()) {
            resume_unwind(Box::new("shutdown"));
        }
        let mut permit = record.permit.lock().unwrap();
        while !std::mem::take(&mut *permit) {
            let wait = deadline.map_or(Duration::from_secs(60), |d| {
                d.saturating_duration_since(Instant::now())
            });
            let (guard, timeout) = record.bell.wait_timeout(permit, wait).unwrap();
            permit = guard;
            if timeout.timed_out() {
                return;
            }
        }
    }

    fn blocking(&self, _reason: Reason, _deadline: Option<Instant>, wait: &mut dyn FnMut()) {
        BLOCKED.fetch_add(1, Ordering::SeqCst);
        wait();
        BLOCKED.fetch_sub(1, Ordering::SeqCst);
    }
}

unsafe fn unpark(data: *const (), at: *const ()) {
    // SAFETY: `data` is a leaked record.
    let record = unsafe { &*data.cast::<Record>() };
    record.met.lock().unwrap().push(at.addr());
    *record.permit.lock().unwrap() = true;
    record.bell.notify_one();
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_hook(&Runtime).unwrap());
}

/// Runs `f` as a goroutine on this thread.
fn goroutine<R>(f: impl FnOnce(&'static Record) -> R) -> R {
    install();
    let record = Box::leak(Box::default());
    ME.set(Some(record));
    let result = catch_unwind(AssertUnwindSafe(|| f(record)));
    ME.set(None);
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

#[test]
fn there_is_one_hook() {
    install();
    assert_eq!(set_hook(&Runtime), Err(HookAlreadySet));
}

#[test]
fn goroutines_threads_and_tasks_share_one_channel() {
    install();
    const EACH: u64 = 1_000;
    for cap in [0, 1, 5] {
        let (s, r) = bounded(cap);
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for id in 0..3 {
                let s = s.clone();
                scope.spawn(move || match id {
                    0 => goroutine(|_| (0..EACH).for_each(|n| s.send(n).unwrap())),
                    1 => (0..EACH).for_each(|n| s.send(n).unwrap()),
                    _ => gchan::block_on(async {
                        for n in 0..EACH {
                            s.send_async(n).await.unwrap();
                        }
                    }),
                });
            }
            drop(s);
            for id in 0..3 {
                let (r, sum) = (&r, &sum);
                scope.spawn(move || {
                    let add = |n: u64| {
                        sum.fetch_add(n as usize, Ordering::Relaxed);
                    };
                    match id {
                        0 => goroutine(|_| {
                            while let Ok(n) = select! { recv(r) -> n => n } {
                                add(n);
                            }
                        }),
                        1 => r.iter().for_each(add),
                        _ => gchan::block_on(async {
                            while let Ok(n) = r.recv_async().await {
                                add(n);
                            }
                        }),
                    }
                });
            }
        });
        assert_eq!(
            sum.into_inner() as u64,
            3 * EACH * (EACH - 1) / 2,
            "cap {cap}"
        );
    }
}

#[test]
fn r14_reasons_are_gos() {
    goroutine(|record| {
        let soon = || Instant::now() + Duration::from_millis(5);
        let reason = || {
            record
                .last_reason
                .lock()
                .unwrap()
                .take()
                .map(Reason::as_str)
        };
        let (s, r) = bounded(0);
        assert!(r.recv_deadline(soon()).is_err());
        assert_eq!(reason(), Some("chan receive"));
        assert!(s.send_deadline(1, soon()).is_err());
        assert_eq!(reason(), Some("chan send"));
        select! { recv(r) -> _ => unreachable!(), default(Duration::from_millis(5)) => {} }
        assert_eq!(reason(), Some("select"));
        assert!(record.parks.load(Ordering::Relaxed) >= 3);
    });
}

#[test]
fn a_goroutine_that_is_woken_was_met_at_its_channel() {
    let (s, r) = bounded(0);
    let (s2, r2) = bounded(0);
    goroutine(|record| {
        thread::scope(|scope| {
            scope.spawn(move || {
                for (parks, s) in [&s, &s2, &s].into_iter().enumerate() {
                    while record.parks.load(Ordering::Relaxed) <= parks {
                        thread::yield_now();
                    }
                    s.send(parks).unwrap();
                }
            });
            assert_eq!([&r, &r2, &r].map(|r| r.recv().unwrap()), [0, 1, 2]);
        });
        let met = record.met.lock().unwrap();
        assert!(met.len() == 3 && met[0] == met[2] && met[0] != met[1]);
        assert!(!met.contains(&0));
    });
}

#[test]
fn a_thread_that_sleeps_is_announced() {
    install();
    let (s, r) = bounded::<()>(0);
    thread::scope(|scope| {
        scope.spawn(|| r.recv());
        while BLOCKED.load(Ordering::SeqCst) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        s.send(()).unwrap();
    });
}

#[test]
fn r15_a_park_that_unwinds_leaves_the_channel_as_if_it_had_not_come() {
    goroutine(|record| {
        let doom = |f: &mut dyn FnMut()| {
            *record.doomed.lock().unwrap() = true;
            let unwound = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
            assert_eq!(unwound.downcast_ref::<&str>(), Some(&"shutdown"));
        };
        let (s, r) = bounded(0);
        let (_s2, r2) = unbounded::<i32>();
        doom(&mut || assert!(r.recv().is_err()));
        assert!(s.try_send(1).unwrap_err().is_full());
        doom(&mut || assert!(s.send(1).is_err()));
        assert!(r.try_recv().is_err());
        doom(&mut || select! { send(s, 1) -> _ => {}, recv(r2) -> _ => {} });
        assert!(r.try_recv().is_err());
        doom(&mut || select! { recv(r) -> _ => {}, recv(r2) -> _ => {} });
        assert!(s.try_send(1).unwrap_err().is_full());
        let drops = AtomicUsize::new(0);
        let (s, r) = bounded(0);
        doom(&mut || drop(s.send(Counted(&drops))));
        assert!(r.try_recv().is_err());
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
}
