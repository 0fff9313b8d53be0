//! The buckets of Go 1.12: which P uses which, and the three flags by which an insertion and the
//! timerproc find each other (R53, R56, R57).

use gtimer::bucket::{BUCKETS, Buckets, Flags, Handle, Timers, Wake};
use gtimer::{Callback, NEVER};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

#[test]
fn r53_p_uses_bucket_p_modulo_64() {
    let buckets = Buckets::new();
    assert_eq!(BUCKETS, 64);
    for p in [0, 1, 63, 64, 65, 1000] {
        assert!(std::ptr::eq(buckets.of(p), buckets.of(p % 64)));
    }
    let timers: Vec<Handle> = (0..64)
        .map(|p| buckets.of(p).insert(p as i64, 0, Callback::none()).0)
        .collect();
    for p in 0..64 {
        assert_eq!(buckets.of(p + 64).next_when(), p as i64);
        assert_eq!(buckets.of(p).len(), 1);
    }
    drop(timers);
    assert!((0..64).all(|p| buckets.of(p).is_empty()));
}

fn flags(timers: &Timers) -> (bool, bool, bool, i64) {
    let Flags {
        created,
        rescheduling,
        sleeping,
        sleep_until,
    } = timers.flags();
    (created, rescheduling, sleeping, sleep_until)
}

/// Every way from one state of the timerproc to another.
#[test]
fn r56_the_flags_say_what_an_insertion_has_to_do() {
    let timers = Timers::new();
    let [a, b, c, d] = [(); 4].map(|()| timers.handle());
    assert_eq!(flags(&timers), (false, false, false, 0));

    // The first timer creates the timerproc, once.
    assert_eq!(timers.start(&a, 100), Wake::Create);
    assert_eq!(timers.start(&b, 50), Wake::No, "it is on its way");
    assert_eq!(flags(&timers), (true, false, false, 0));

    // It sleeps until the earliest.
    assert_eq!(timers.check(10), (50, 0));
    assert_eq!(flags(&timers), (true, false, true, 50));
    assert_eq!(timers.start(&c, 60), Wake::No, "later than its sleep");
    assert_eq!(timers.start(&d, 50), Wake::No, "as late as its sleep");
    assert_eq!(timers.start(&c, 40), Wake::Note);
    assert_eq!(timers.start(&d, 30), Wake::No, "woken already");
    assert_eq!(flags(&timers), (true, false, false, 50));

    // It finds both, and what it slept for is stopped meanwhile: it wakes for nothing, no harm.
    assert_eq!(timers.check(45), (50, 2));
    assert!(b.stop());
    assert_eq!(flags(&timers), (true, false, true, 50));
    assert_eq!(timers.check(50), (100, 0));

    // With the last timer gone it parks, and the next one readies it.
    assert_eq!(timers.check(100), (NEVER, 1));
    assert_eq!(flags(&timers), (true, true, false, NEVER));
    assert!(!a.stop());
    assert_eq!(timers.start(&a, 200), Wake::Ready);
    assert_eq!(timers.start(&b, 150), Wake::No, "readied already");
    assert_eq!(flags(&timers), (true, false, false, NEVER));
    assert_eq!(timers.check(120), (150, 0));

    // A reset that leaves the root behind wakes nobody; one that becomes the root does.
    assert_eq!(timers.start(&b, 300), Wake::No);
    assert_eq!(timers.start(&b, 140), Wake::Note);
}

/// R57: the callback runs with the bucket unlocked and the timerproc neither sleeping nor parked, so
/// an insertion from it wakes nobody, and the loop finds it.
#[test]
fn r57_a_callback_may_insert_and_is_told_that_the_timerproc_runs() {
    let timers = Arc::new(Timers::new());
    let (tx, rx) = mpsc::channel();
    let inner = timers.handle();
    let again = Arc::clone(&timers);
    let outer = timers.insert(
        10,
        0,
        Callback::once(move || {
            let flags = again.flags();
            let wake = again.start(&inner, 5);
            tx.send((flags.sleeping, flags.rescheduling, wake, again.len(), inner))
                .unwrap();
        }),
    );
    let spare = timers.insert(11, 0, Callback::none());
    assert_eq!(timers.check(10), (11, 2), "the inner one was due too");
    let (sleeping, rescheduling, wake, len, inner) = rx.recv().unwrap();
    assert_eq!(
        (sleeping, rescheduling, wake, len),
        (false, false, Wake::No, 2)
    );
    assert!(!inner.stop());
    drop((outer, spare));
}

/// R56: a timerproc that sleeps or parks until it is told otherwise, and tells nobody the time, runs
/// every timer: no wake-up is missing, whatever the others insert meanwhile.
#[test]
fn r56_no_wake_up_is_lost() {
    struct Shared {
        timers: Timers,
        fired: AtomicUsize,
        /// Wake-ups that the timerproc has not taken notice of.
        notes: Mutex<usize>,
        woken: Condvar,
    }
    const THREADS: usize = 3;
    const EACH: usize = 3_000;
    let shared = Arc::new(Shared {
        timers: Timers::new(),
        fired: AtomicUsize::new(0),
        notes: Mutex::new(0),
        woken: Condvar::new(),
    });
    let (done, all_fired) = mpsc::channel();
    let timerproc = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            while shared.fired.load(SeqCst) < THREADS * EACH {
                let mut notes = shared.notes.lock().unwrap();
                while *notes == 0 {
                    notes = shared.woken.wait(notes).unwrap();
                }
                *notes = 0;
                drop(notes);
                // One check runs at most as many as there were when it began.
                while shared.timers.check(1_000).0 <= 1_000 {}
            }
            done.send(()).unwrap();
        })
    };
    let workers: Vec<_> = (0..THREADS)
        .map(|t| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for i in 0..EACH {
                    let counter = Arc::clone(&shared);
                    let fire = Callback::once(move || {
                        counter.fired.fetch_add(1, SeqCst);
                    });
                    // Due at once, and an hour ahead to keep the timerproc now sleeping, now parked.
                    let far = shared.timers.handle();
                    let a = (i % 3 == 0).then(|| shared.timers.start(&far, 1_000_000));
                    let (near, b) = shared.timers.insert(((i * 7 + t) % 1_000) as i64, 0, fire);
                    if b || a.is_some_and(|wake| wake != Wake::No) {
                        *shared.notes.lock().unwrap() += 1;
                        shared.woken.notify_one();
                    }
                    near.detach();
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|w| w.join().unwrap());
    let patience = Duration::from_secs(60);
    assert_eq!(all_fired.recv_timeout(patience), Ok(()), "a lost wake-up");
    timerproc.join().unwrap();
    assert_eq!(shared.fired.load(SeqCst), THREADS * EACH);
}

/// R56: a timerproc that came by itself need not be created.
#[test]
fn r56_whoever_checks_is_the_timerproc() {
    let timers = Timers::new();
    timers.check(0);
    assert!(timers.flags().created);
    assert_eq!(timers.start(&timers.handle(), 10), Wake::Ready);
}

/// R56: nobody wakes a timerproc that runs, nor one that wakes then anyway.
#[test]
fn r56_a_timerproc_that_runs_or_wakes_in_time_is_left_alone() {
    let timers = Arc::new(Timers::new());
    let near = timers.handle();
    let wakes = Arc::new(Mutex::new(Vec::new()));
    let fire = {
        let (timers, wakes, near) = (Arc::downgrade(&timers), wakes.clone(), timers.handle());
        move || {
            let timers = timers.upgrade().expect("it runs this");
            wakes.lock().unwrap().push(timers.start(&near, 7));
        }
    };
    let (_timer, created) = timers.insert(10, 0, Callback::once(fire));
    assert!(created);
    assert_eq!(timers.check(0), (10, 0));
    assert_eq!(timers.start(&near, 9), Wake::Note);
    timers.check(0);
    assert_eq!(timers.start(&near, 9), Wake::No, "it wakes at 9");
    assert!(near.stop());
    timers.check(10);
    assert_eq!(*wakes.lock().unwrap(), [Wake::No], "it runs");
}
