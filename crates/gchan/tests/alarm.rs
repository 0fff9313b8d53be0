//! The thread that wakes tasks at a time: where it cannot be started, and where it was left behind.
#![cfg(target_os = "linux")]

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};
use std::time::Duration;

fn await_after() {
    gchan::block_on(async {
        let soon = gchan::after(Duration::from_millis(1));
        assert!(soon.recv_async().await.is_ok());
    });
}

/// Sets how much address space the process may have.
fn limit_memory(bytes: libc::rlim_t) {
    let limit = libc::rlimit {
        rlim_cur: bytes,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the limit may be read.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
    assert_eq!(set, 0);
}

fn address_space() -> libc::rlim_t {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: libc::rlim_t = pages.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages * libc::rlim_t::try_from(page).unwrap()
}

/// Awaits a clock where there is room for a panic, but not for a thread's stack, and then where there is. False if the
/// clock was due before it was polled, so that no thread was asked for.
fn refuses_a_thread(delay: Duration) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    limit_memory(address_space() + 1_000_000);
    let clock = gchan::after(delay);
    let mut future = Box::pin(clock.recv_async());
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let mut cx = Context::from_waker(Waker::noop());
        future.as_mut().poll(&mut cx).is_pending()
    }));
    limit_memory(libc::RLIM_INFINITY);
    std::panic::set_hook(hook);
    let made = |waits: bool| assert!(!waits, "a thread was made without memory");
    let Err(refused) = polled.map(made) else {
        return false;
    };
    let message = refused.downcast_ref::<String>().unwrap();
    assert!(message.contains("no thread for alarms"), "{message}");
    // The same future goes on as if nothing had been.
    gchan::block_on(future).unwrap();
    true
}

/// One test, because the process's limits, threads and children are all that it is about.
#[test]
fn alarms_ring_after_a_thread_was_refused_and_in_a_child_of_fork() {
    let mut delay = Duration::from_millis(1);
    while !refuses_a_thread(delay) {
        delay *= 2;
    }
    await_after();

    // Children that are forked at any moment of the thread's, the busiest included.
    for round in 0..50 {
        let soon = gchan::after(Duration::from_micros(50 * round));
        let mut future = Box::pin(soon.recv_async());
        let mut cx = Context::from_waker(Waker::noop());
        let _ = future.as_mut().poll(&mut cx);
        // SAFETY: the child uses alarms and the allocator, which support it, and exits at once.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: a child that hangs is ended by the signal.
            unsafe { libc::alarm(60) };
            let rang = catch_unwind(await_after).is_ok();
            // SAFETY: does not return.
            unsafe { libc::_exit(i32::from(!rang)) };
        }
        let mut status = 0;
        // SAFETY: `status` may be written to.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0);
    }
    await_after();
}
