//! Under a limit on address space, as `ulimit -v` sets it: null, not an abort, and the memory that is
//! freed serves again.

use galloc::Galloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::{ptr, thread};

#[global_allocator]
static A: Galloc = Galloc;

/// Address space left to the child.
const LEFT: usize = 200 << 20;

fn limit_address_space() {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    let most = (pages * 4096 + LEFT) as libc::rlim_t;
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: the limit is a value of this function's.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

/// Takes objects until there are no more, and frees them all; says how many there were. They are linked
/// through their first words, for a list of its own would need memory.
fn exhaust(layout: Layout) -> usize {
    exhaust_and(layout, || ())
}

/// [`exhaust`], with `then` when there are no more.
fn exhaust_and(layout: Layout, then: fn()) -> usize {
    let mut n = 0;
    let mut last = ptr::null_mut::<u8>();
    // SAFETY: the objects are at least a word; each is freed once, with its layout.
    unsafe {
        loop {
            let p = if n % 2 == 0 {
                A.alloc(layout)
            } else {
                A.alloc_zeroed(layout)
            };
            if p.is_null() {
                break;
            }
            assert!(p.addr().is_multiple_of(layout.align()));
            p.cast::<*mut u8>().write(last);
            (last, n) = (p, n + 1);
        }
        then();
        // The largest step up fails too, and leaves the object as it was.
        if !last.is_null() {
            let before = last.cast::<*mut u8>().read();
            assert!(A.realloc(last, layout, LEFT * 2).is_null());
            assert_eq!(last.cast::<*mut u8>().read(), before);
        }
        while !last.is_null() {
            let next = last.cast::<*mut u8>().read();
            A.dealloc(last, layout);
            last = next;
        }
    }
    n
}

/// What a cache keeps in the middle of an arena is not in the way of a large object.
fn large_after_small() {
    let large = Layout::from_size_align(50 << 20, 8).unwrap();
    // An object may be a mapping of its own while there are addresses. When it goes, an arena may take them.
    for _ in 0..4 {
        exhaust(large);
    }
    let most = exhaust(large);
    for _ in 0..2 {
        drop(
            (0..30_000)
                .map(|_| Box::new([1u8; 1000]))
                .collect::<Vec<_>>(),
        );
        assert_eq!(exhaust(large), most);
    }
}

/// Small objects get what lies on the shelf of another thread, which waits at `turn`.
fn small_from_shelves(turn: &Barrier) {
    galloc::set_scavenger(galloc::Scavenger::Off);
    turn.wait();
    turn.wait();
    let small = Layout::from_size_align(100, 8).unwrap();
    static WAS_LEFT: AtomicBool = AtomicBool::new(false);
    exhaust_and(small, || {
        let large = Layout::from_size_align(1 << 20, 8).unwrap();
        // SAFETY: the size is not 0, and the object is freed once. A failure waits for memory to tell of it.
        unsafe {
            let p = A.alloc(large);
            if !p.is_null() {
                WAS_LEFT.store(true, Ordering::Relaxed);
                A.dealloc(p, large);
            }
        }
    });
    turn.wait();
    let was_left = WAS_LEFT.load(Ordering::Relaxed);
    assert!(!was_left, "small objects ended with room for a large one");
}

/// Has 4 MiB on its shelf between two turns.
fn shelve(turn: &Barrier) {
    let layout = Layout::from_size_align(1 << 20, 8).unwrap();
    turn.wait();
    turn.wait();
    // SAFETY: the size is not 0; each is freed once.
    unsafe {
        let all = [0; 4].map(|_| A.alloc(layout));
        for p in all {
            assert!(!p.is_null());
            A.dealloc(p, layout);
        }
    }
    turn.wait();
    turn.wait();
}

/// What a child does; `_exit` says whether it came to its end.
fn work() {
    // Made while there is room for their stacks: addresses that arenas have taken stay taken.
    let start = Arc::new(Barrier::new(3));
    let threads = [1000, 100_000].map(|size| {
        let start = start.clone();
        thread::spawn(move || {
            start.wait();
            start.wait();
            let layout = Layout::from_size_align(size, 8).unwrap();
            (0..2).map(|_| exhaust(layout)).max().unwrap()
        })
    });
    let turn = Arc::new(Barrier::new(2));
    let shelf = {
        let turn = turn.clone();
        thread::spawn(move || shelve(&turn))
    };
    // They are there, and take no more until their turns.
    start.wait();
    turn.wait();
    limit_address_space();
    large_after_small();
    for round in 0..2 {
        for (size, align) in [
            (100, 8),
            (1000, 8),
            (30_000, 64),
            (100_000, 8),
            (3 << 20, 4096),
            (40 << 20, 8),
            (16, 1 << 20),
        ] {
            let n = exhaust(Layout::from_size_align(size, align).unwrap());
            // An object may need a whole alignment, and some arenas are cut for other sizes.
            let least = LEFT / 8 / size.max(align);
            assert!(n >= least.max(1), "{n} of {size} bytes in round {round}");
            galloc::release();
        }
    }
    // Two threads at once, each with what the other leaves.
    start.wait();
    for t in threads {
        assert!(t.join().unwrap() > 0);
    }
    small_from_shelves(&turn);
    shelf.join().unwrap();
}

fn in_a_child(work: fn()) {
    // SAFETY: the child works and leaves by `_exit`.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            // A panic must not come out in the child's copy of the harness.
            libc::_exit(i32::from(std::panic::catch_unwind(work).is_err()));
        }
        let mut status = -1;
        libc::waitpid(child, &mut status, 0);
        assert_eq!(status, 0, "the child says why");
    }
}

#[test]
fn without_memory_requests_give_null_and_nothing_is_lost() {
    in_a_child(work);
}

/// Each waits until there is no memory for a cache of its own.
const FREERS: usize = 16;
static TO_FREE: [AtomicUsize; FREERS] = [const { AtomicUsize::new(0) }; FREERS];
static IS_OUT: AtomicBool = AtomicBool::new(false);

/// A thread of C's, for Rust's allocate as they start. Says in place of the object what errno was.
extern "C" fn free_first(i: *mut libc::c_void) -> *mut libc::c_void {
    let object = &TO_FREE[i.addr()];
    // SAFETY: errno is this thread's; the object is freed once.
    unsafe {
        while !IS_OUT.load(Ordering::Acquire) {
            libc::sched_yield();
        }
        *libc::__errno_location() = libc::EBADMSG;
        A.free(ptr::with_exposed_provenance_mut(
            object.load(Ordering::Relaxed),
        ));
        object.store(*libc::__errno_location() as usize, Ordering::Relaxed);
    }
    ptr::null_mut()
}

fn free_without_a_cache() {
    let mut threads = Vec::with_capacity(FREERS);
    for (i, object) in TO_FREE.iter().enumerate() {
        // SAFETY: the size is not 0; the thread gets a number, and is joined.
        unsafe {
            let p = A.alloc(Layout::new::<[u64; 9]>());
            object.store(p.expose_provenance(), Ordering::Relaxed);
            let mut id = std::mem::zeroed();
            let i = ptr::without_provenance_mut(i);
            let made = libc::pthread_create(&mut id, ptr::null(), free_first, i);
            assert_eq!(made, 0);
            threads.push(id);
        }
    }
    limit_address_space();
    for size in [10 << 20, 60_000, 1000, 8] {
        while galloc::persistent_alloc(size, 8).is_some() {}
    }
    IS_OUT.store(true, Ordering::Release);
    for id in threads {
        // SAFETY: the thread is there.
        unsafe { libc::pthread_join(id, ptr::null_mut()) };
    }
    let kept = |o: &AtomicUsize| o.load(Ordering::Relaxed) == libc::EBADMSG as usize;
    assert!(TO_FREE.iter().all(kept), "{TO_FREE:?}");
}

#[test]
fn a_free_keeps_errno_where_a_thread_finds_no_memory_for_its_cache() {
    in_a_child(free_without_a_cache);
}
