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
