//! A page that is locked and freed keeps its neighbours, and no more. A program of one test: the scavenger
//! is the process's.

use galloc::MemStats;

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

/// Bytes that are free and occupy memory.
fn left() -> usize {
    let now = MemStats::read();
    now.heap_idle - now.heap_released
}

#[test]
fn a_locked_page_does_not_stop_giving_back() {
    // Not the thread's: what is free lies there until this test takes a step.
    assert!(galloc::host_scavenger(|| ()));
    let low = vec![1u8; 20 << 20];
    let high = vec![1u8; 4 << 20];
    let page = (high.as_ptr().addr() + (2 << 20)) & !4095;
    // SAFETY: the page lies in `high`; to lock it changes nothing in it.
    let locked = unsafe { libc::mlock(high.as_ptr().with_addr(page).cast(), 4096) };
    assert_eq!(locked, 0, "a page may be locked");
    drop((low, high));

    assert!(galloc::release() >= 20 << 20);
    assert!(left() <= 4 << 20, "{}", left());
    let kept = left();
    // Under AddressSanitizer nothing is given to the system that it could refuse.
    assert!(kept > 0 || cfg!(gort_asan), "the page is locked");

    // There is more beyond the goal, and then what is locked: the steps come to an end.
    drop((vec![1u8; 20 << 20], vec![1u8; 20 << 20]));
    assert!(left() > 20 << 20);
    let mut steps = 0;
    while galloc::scavenge_step().is_some() {
        steps += 1;
        assert!(steps < 10_000, "for ever");
    }
    assert!(left() <= kept + (5 << 20), "{}", left());

    // All of it locked: nothing goes back, and a host may sleep.
    let all = vec![1u8; 12 << 20];
    let mut most = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit may be written; what is locked is all of `all`.
    let locked = unsafe {
        libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut most);
        libc::mlock(all.as_ptr().cast(), all.len())
    };
    // A user who is not root may be allowed less.
    assert!(locked == 0 || most.rlim_cur < 13 << 20);
    drop(all);
    let mut steps = 0;
    while galloc::scavenge_step().is_some() {
        steps += 1;
        assert!(steps < 10_000, "for ever");
    }
}
