//! Deadlines where no thread can be started. Alone in its process, whose address space it limits.

use gmp_sched::{Context, ContextError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

fn limit(change: impl FnOnce(libc::rlimit) -> libc::rlim_t) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls get a struct of ours.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &raw mut limit), 0);
        limit.rlim_cur = change(limit);
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const limit), 0);
    }
}

/// A panic that says so, which leaves nothing behind; the next deadline tries again.
#[test]
fn a_deadline_that_finds_no_thread_panics_and_the_next_is_kept() {
    let (parent, cancel) = Context::background().with_cancel();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    std::panic::set_hook(Box::new(|_| ()));
    // A thread's stack takes 2 MiB.
    limit(|_| pages * 4096 + (1 << 20));
    let failed = catch_unwind(AssertUnwindSafe(|| {
        parent.with_timeout(Duration::from_secs(3600))
    }));
    limit(|all| all.rlim_max);
    let _ = std::panic::take_hook();
    let message = *failed.unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("no thread for deadlines"), "{message}");
    assert!(!parent.is_done());

    let (child, _keep) = parent.with_timeout(Duration::from_millis(1));
    child.wait();
    assert_eq!(child.err(), Some(ContextError::DeadlineExceeded));
    cancel.cancel();
    assert!(parent.is_done());
}
