//! Goroutine-local values.

use gmp_sched::{Builder, GoLocal, go, spawn, yield_now};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};

static COUNT: GoLocal<Cell<u64>> = GoLocal::new(|| Cell::new(0));
static NAMES: GoLocal<RefCell<Vec<String>>> = GoLocal::new(|| RefCell::new(Vec::new()));

fn use_them(me: u64) {
    for i in 0..50 {
        COUNT.with(|c| {
            let seen = c.get();
            yield_now();
            assert_eq!(seen, c.get(), "another got at it");
            c.set(seen + me);
        });
        if i % 10 == 0 {
            NAMES.with(|n| n.borrow_mut().push(me.to_string()));
        }
    }
    assert_eq!(COUNT.with(Cell::get), 50 * me);
    assert!(
        NAMES.with(|n| n.borrow().len() == 5 && n.borrow().iter().all(|x| *x == me.to_string()))
    );
}

#[test]
fn every_goroutine_and_every_thread_has_its_own() {
    let threads: Vec<_> = (1..5)
        .map(|i| std::thread::spawn(move || use_them(i)))
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    for procs in [1, 2] {
        // SAFETY: no thread-locals across a park.
        let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
        rt.run(|| {
            // Twice, so that stacks are used again.
            for _ in 0..2 {
                let all: Vec<_> = (1..20).map(|i| go(move || use_them(i))).collect();
                all.into_iter().for_each(|h| h.join().unwrap());
            }
        });
    }
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Noisy;

impl Drop for Noisy {
    fn drop(&mut self) {
        // A destructor may park and use other locals, which are dropped as well.
        yield_now();
        AGAIN.with(|_| DROPPED.fetch_add(1, Ordering::SeqCst));
    }
}

struct Quiet;

impl Drop for Quiet {
    fn drop(&mut self) {
        DROPPED.fetch_add(100, Ordering::SeqCst);
    }
}

static NOISY: GoLocal<Noisy> = GoLocal::new(|| Noisy);
static AGAIN: GoLocal<Quiet> = GoLocal::new(|| Quiet);

#[test]
fn values_are_dropped_before_the_goroutine_is_joined_however_it_ends() {
    // SAFETY: no thread-locals across a park.
    let rt = unsafe { Builder::new().procs(2).build_stackful() }.unwrap();
    rt.run(|| {
        go(|| NOISY.with(|_| ())).join().unwrap();
        assert_eq!(DROPPED.swap(0, Ordering::SeqCst), 101);
        go(|| NOISY.with(|_| std::panic::resume_unwind(Box::new(1))))
            .join()
            .unwrap_err();
        assert_eq!(DROPPED.swap(0, Ordering::SeqCst), 101);
        go(|| NOISY.with(|_| gmp_sched::goexit()))
            .join()
            .unwrap_err();
        assert_eq!(DROPPED.swap(0, Ordering::SeqCst), 101);
    });
}

#[test]
fn inside_a_future_it_is_the_threads() {
    let rt = Builder::new().procs(1).build().unwrap();
    let n = rt.block_on(async {
        spawn(async { COUNT.with(|c| c.replace(c.get() + 1)) })
            .await
            .unwrap();
        spawn(async { COUNT.with(Cell::get) }).await.unwrap()
    });
    assert_eq!(n, 1, "one P, one thread, one value");
}

/// Drops of the values below, and panics that their destructors met.
#[derive(Default)]
struct Seen {
    drops: AtomicUsize,
    refused: AtomicUsize,
}

static SEEN: Seen = Seen {
    drops: AtomicUsize::new(0),
    refused: AtomicUsize::new(0),
};

/// Looks at its own local while it is dropped.
struct Own(u32);

impl Drop for Own {
    fn drop(&mut self) {
        SEEN.drops.fetch_add(1, Ordering::SeqCst);
        let look = || OWN.with(|own| own.0);
        if std::panic::catch_unwind(look).is_err() {
            SEEN.refused.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Uses others, the dropped and the new, then panics.
struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        SEEN.drops.fetch_add(1, Ordering::SeqCst);
        yield_now();
        LATE.with(|late| late.set(late.get() + 1));
        OWN.with(|own| assert_eq!(own.0, 7, "made first, dropped last"));
        std::panic::resume_unwind(Box::new("in a destructor"));
    }
}

struct Late(Cell<u32>);

impl Late {
    fn get(&self) -> u32 {
        self.0.get()
    }
    fn set(&self, n: u32) {
        self.0.set(n);
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        assert_eq!(self.0.get(), 1);
        SEEN.drops.fetch_add(1, Ordering::SeqCst);
    }
}

static OWN: GoLocal<Own> = GoLocal::new(|| Own(7));
static PANICS: GoLocal<Panics> = GoLocal::new(|| Panics);
static LATE: GoLocal<Late> = GoLocal::new(|| Late(Cell::new(0)));

/// A destructor that panics costs the others nothing, one that uses others finds them, one that uses
/// its own local is refused: on threads, and on goroutines, one and a hundred.
#[test]
fn destructors_may_panic_and_use_locals_and_do_not_go_round_for_ever() {
    let body = || {
        OWN.with(|_| ());
        PANICS.with(|_| ());
    };
    let check = |n: usize| {
        assert_eq!(SEEN.drops.swap(0, Ordering::SeqCst), 3 * n);
        assert_eq!(SEEN.refused.swap(0, Ordering::SeqCst), n);
    };
    std::panic::set_hook(Box::new(|_| ()));
    for n in [1, 100] {
        let threads: Vec<_> = (0..n).map(|_| std::thread::spawn(body)).collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        check(n);
        for procs in [1, 2] {
            // SAFETY: no thread-locals across a park.
            let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
            rt.run(move || {
                let all: Vec<_> = (0..n).map(|_| go(body)).collect();
                all.into_iter().for_each(|h| h.join().unwrap());
            });
            check(n);
        }
    }
}

static DEEP: GoLocal<Cell<u32>> = GoLocal::new(|| {
    // The second time it finds what the first one leaves.
    if START.with(|s| s.replace(s.get() + 1)) == 0 {
        DEEP.with(|d| d.set(d.get() + 1));
    }
    Cell::new(5)
});
static START: GoLocal<Cell<u32>> = GoLocal::new(|| Cell::new(0));
static FAILS_ONCE: GoLocal<u32> = GoLocal::new(|| {
    let before = START.with(|s| s.replace(s.get() + 1));
    assert!(before > 0, "not the first time");
    before
});

#[test]
fn an_init_that_uses_its_own_local_or_panics_leaves_one_value() {
    let body = || {
        DEEP.with(|d| assert_eq!(d.get(), 6, "the one that init met"));
        DEEP.with(|d| assert_eq!(d.get(), 6));
        START.with(|s| s.set(0));
        assert!(std::panic::catch_unwind(|| FAILS_ONCE.get()).is_err());
        assert_eq!((FAILS_ONCE.get(), FAILS_ONCE.get()), (1, 1));
    };
    std::thread::spawn(body).join().unwrap();
    for procs in [1, 2] {
        // SAFETY: no thread-locals across a park.
        let rt = unsafe { Builder::new().procs(procs).build_stackful() }.unwrap();
        rt.run(move || (0..3).for_each(|_| go(body).join().unwrap()));
    }
}
