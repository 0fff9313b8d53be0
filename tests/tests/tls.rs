//! The thread-local contract's promise, on this toolchain: what `Builder::build_stackful` says meets
//! rule (2) does meet it, in goroutines that change threads at every turn (rust-lang/rust#33368).

use gort::{Runtime, blocking_now, go, yield_now};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

static MOVES: AtomicUsize = AtomicUsize::new(0);

#[inline(never)]
fn gettid() -> i32 {
    // SAFETY: no arguments, no memory.
    unsafe { libc::gettid() }
}

/// The id of this thread as a thread-local remembers it: wrong if the thread-local's address is an
/// earlier thread's.
#[inline(never)]
fn remembered_tid() -> i32 {
    thread_local! { static TID: Cell<i32> = const { Cell::new(0) } }
    TID.with(|t| {
        if t.get() == 0 {
            t.set(gettid());
        }
        t.get()
    })
}

/// Moves to another thread, most times: the thread is given away and another goroutine takes it.
fn hop() {
    let before = gettid();
    blocking_now(yield_now_thread);
    yield_now();
    if gettid() != before {
        MOVES.fetch_add(1, Ordering::Relaxed);
    }
}

fn yield_now_thread() {
    std::thread::yield_now();
}

/// 8 goroutines, each does the body many times: on one P, where whoever comes back finds it taken, and on several.
fn everywhere(body: fn(usize)) {
    for procs in [1, 4] {
        // SAFETY: this is the very thing under test; the bodies keep nothing across `hop`.
        let rt = unsafe { Runtime::builder().procs(procs).build_stackful() }.unwrap();
        rt.run(move || {
            let hs: Vec<_> = (0..8)
                .map(|_| {
                    go(move || {
                        for i in 0..300 {
                            body(i);
                        }
                    })
                })
                .collect();
            hs.into_iter().for_each(|h| h.join().unwrap());
        });
    }
    assert!(
        MOVES.load(Ordering::Relaxed) > 0,
        "nobody changed threads: the test tests nothing"
    );
}

#[test]
fn a_thread_local_behind_a_function_that_is_not_inlined() {
    everywhere(|_| {
        assert_eq!(remembered_tid(), gettid());
        hop();
        assert_eq!(remembered_tid(), gettid());
        hop();
        assert_eq!(remembered_tid(), gettid());
    });
}

#[test]
fn thread_current() {
    everywhere(|_| {
        let tid = gettid();
        let id = std::thread::current().id();
        hop();
        let (tid2, id2) = (gettid(), std::thread::current().id());
        assert_eq!(
            tid == tid2,
            id == id2,
            "thread::current is an earlier thread's"
        );
    });
}

#[test]
fn allocation_and_hash_maps() {
    everywhere(|i| {
        let mut map = HashMap::new();
        map.insert(i, vec![i; i % 50]);
        hop();
        let more: HashMap<_, _> = (0..10).map(|j| (j, format!("{i}.{j}"))).collect();
        hop();
        assert_eq!(map[&i].len(), i % 50);
        assert_eq!(more[&3], format!("{i}.3"));
    });
}

#[test]
fn println() {
    everywhere(|i| {
        if i % 30 == 0 {
            println!("round {i}");
        }
        hop();
        if i % 30 == 0 {
            eprintln!("round {i}");
        }
    });
}

#[test]
fn panics() {
    everywhere(|i| {
        if i % 10 == 0 {
            let caught = std::panic::catch_unwind(|| {
                hop();
                std::panic::resume_unwind(Box::new(i));
            });
            assert!(caught.is_err());
        }
        hop();
        assert!(!std::thread::panicking());
    });
}
