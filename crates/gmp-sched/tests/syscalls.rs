//! Syscalls, sysmon and retake: nothing a goroutine does stalls the others.

use gmp_sched::{
    Builder, Goroutine, PStatus, Poll, Runtime, WaitReason, blocking, blocking_now, check_preempt,
    go, lock_os_thread, park, raw_blocking, spawn, unlock_os_thread, yield_now,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

fn stackful(procs: usize) -> Runtime {
    // SAFETY: no goroutine of these tests keeps anything bound to its thread across a park.
    unsafe { Builder::new().procs(procs).build_stackful() }.unwrap()
}

/// Not inlined: the contract's rule for thread-locals.
#[inline(never)]
fn thread_id() -> ThreadId {
    std::thread::current().id()
}

/// Blocks this thread until somebody else sets the flag: a call that never returns unless others run.
fn until_set(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// The goroutine that the blocked one waits for.
fn set_later(flag: &Arc<AtomicBool>) {
    let flag = flag.clone();
    drop(go(move || flag.store(true, Ordering::Release)));
}

#[test]
fn r31_a_declared_blocking_call_lets_others_run_on_one_p() {
    let rt = stackful(1);
    rt.run(|| {
        for call in [blocking::<()> as fn(_), blocking_now::<()>] {
            let flag = Arc::new(AtomicBool::new(false));
            set_later(&flag);
            let f: Box<dyn FnOnce()> = Box::new(move || until_set(&flag));
            call(f);
        }
    });
    assert!(rt.handle().stats().handoffs > 0);
}

#[test]
fn an_undeclared_blocking_call_lets_others_run_on_one_p() {
    let rt = stackful(1);
    rt.run(|| {
        let flag = Arc::new(AtomicBool::new(false));
        set_later(&flag);
        raw_blocking(|| until_set(&flag));
    });
    assert!(rt.handle().stats().retaken > 0);
}

#[test]
fn r35_a_loop_without_calls_loses_its_p() {
    let rt = stackful(1);
    rt.run(|| {
        let flag = Arc::new(AtomicBool::new(false));
        set_later(&flag);
        while !flag.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
    });
}

#[test]
fn three_hundred_hogs_starve_nobody() {
    let rt = stackful(2);
    rt.run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let hogs: Vec<_> = (0..300)
            .map(|_| {
                let stop = stop.clone();
                go(move || while !stop.load(Ordering::Relaxed) {})
            })
            .collect();
        let done = go(|| (0..100).for_each(|_| yield_now()));
        done.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        hogs.into_iter().for_each(|h| h.join().unwrap());
    });
}

#[test]
fn r34_a_pair_that_readies_one_another_starves_nobody() {
    let rt = stackful(1);
    rt.run(|| {
        let stop = Arc::new(AtomicBool::new(false));
        let pair: Vec<_> = (0..2)
            .map(|_| {
                let stop = stop.clone();
                go(move || {
                    while !stop.load(Ordering::Relaxed) {
                        go(|| ()).join().unwrap();
                    }
                })
            })
            .collect();
        let third = go(|| ());
        third.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        pair.into_iter().for_each(|h| h.join().unwrap());
    });
}

#[test]
fn r32_a_slice_ends_in_a_request_that_check_preempt_answers() {
    let rt = stackful(1);
    let handle = rt.handle();
    // Nobody waits, so nobody takes the P: the request is all that happens.
    rt.run(|| {
        let start = Instant::now();
        while handle.stats().preempts == 0 {
            (0..1000).for_each(|_| check_preempt());
            assert!(start.elapsed() < Duration::from_secs(60), "no request");
        }
    });
    assert_eq!(handle.stats().retaken, 0);
}

/// That it comes to the runtime to wake somebody says nothing of when it will yield.
#[test]
fn r31_who_wakes_others_and_computes_on_loses_its_p_too() {
    const WAITERS: usize = 1000;
    let woken = stackful(1).run(|| {
        let waiters: Arc<Mutex<Vec<Goroutine>>> = Arc::default();
        let handles: Vec<_> = (0..WAITERS)
            .map(|_| {
                let waiters = waiters.clone();
                go(move || {
                    let me = Goroutine::current().unwrap();
                    waiters.lock().unwrap().push(me);
                    park(WaitReason::Park);
                })
            })
            .collect();
        while waiters.lock().unwrap().len() < WAITERS {
            yield_now();
        }
        let third_ran = Arc::new(AtomicBool::new(false));
        let ran = third_ran.clone();
        drop(go(move || ran.store(true, Ordering::Release)));
        let waiters = std::mem::take(&mut *waiters.lock().unwrap());
        let mut woken = 0;
        for waiter in &waiters {
            if third_ran.load(Ordering::Acquire) {
                break;
            }
            waiter.unpark();
            woken += 1;
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(5) && !third_ran.load(Ordering::Acquire) {
            }
        }
        waiters[woken..].iter().for_each(|waiter| waiter.unpark());
        handles.into_iter().for_each(|h| h.join().unwrap());
        woken
    });
    assert!(woken < WAITERS, "nobody ran before all were woken");
}

#[test]
fn r45_a_short_syscall_takes_its_old_p_back() {
    let rt = stackful(1);
    let before = rt.handle().stats().syscall_reacquired;
    rt.run(|| (0..1000).for_each(|i| assert_eq!(blocking(|| i), i)));
    let after = rt.handle().stats();
    assert!(after.syscall_reacquired - before > 900, "{after:?}");
}

#[test]
fn r45_a_long_syscall_queues_for_a_p_that_is_taken() {
    let rt = stackful(1);
    rt.run(|| {
        let (flag, stop) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let hog = {
            let (flag, stop) = (flag.clone(), stop.clone());
            go(move || {
                flag.store(true, Ordering::Release);
                while !stop.load(Ordering::Acquire) {
                    check_preempt();
                }
            })
        };
        blocking(|| until_set(&flag));
        stop.store(true, Ordering::Release);
        hog.join().unwrap();
    });
    assert!(rt.handle().stats().syscall_slow > 0);
}

#[test]
fn r45_another_idle_p_is_taken() {
    let rt = stackful(2);
    rt.run(|| blocking_now(|| std::thread::sleep(Duration::from_millis(1))));
    assert!(rt.handle().stats().syscall_other_idle > 0);
}

#[test]
fn runtime_calls_inside_blocking_work() {
    for procs in [1, 2] {
        let rt = stackful(procs);
        let n = rt.run(|| {
            blocking(|| {
                let h = go(|| 20);
                yield_now();
                let a = h.join().unwrap();
                a + blocking(|| go(|| 22).join().unwrap())
            })
        });
        assert_eq!(n, 42);
    }
}

#[test]
fn a_report_tells_a_call_from_a_wait_that_keeps_its_thread() {
    let rt = stackful(1);
    let handle = rt.handle();
    rt.run(|| {
        let over = Arc::new(AtomicBool::new(false));
        let in_call = over.clone();
        let calls = go(move || blocking_now(|| until_set(&in_call)));
        // Until the runtime ends.
        let waits = go(|| {
            lock_os_thread();
            loop {
                park(WaitReason::SemAcquire);
            }
        });
        let both = |text: String| {
            text.contains(&format!("goroutine {} [syscall]:", calls.id()))
                && text.contains(&format!("goroutine {} [semacquire]:", waits.id()))
        };
        while !both(handle.traceback()) {
            yield_now();
        }
        over.store(true, Ordering::Release);
        calls.join().unwrap();
    });
}

#[test]
fn a_panic_inside_blocking_comes_back() {
    let rt = stackful(1);
    rt.run(|| {
        let h = go(|| blocking(|| std::panic::resume_unwind(Box::new(3_i32))));
        let e = h.join().unwrap_err();
        assert_eq!(*e.into_panic().downcast::<i32>().unwrap(), 3);
        go(|| ()).join().unwrap();
    });
}

#[test]
fn r38_a_locked_goroutine_keeps_its_thread_and_lets_others_run() {
    for procs in [1, 2] {
        let rt = stackful(procs);
        rt.run(|| {
            let locked = go(|| {
                lock_os_thread();
                lock_os_thread();
                let me = thread_id();
                for i in 0..100 {
                    let other = go(move || {
                        yield_now();
                        (i, thread_id())
                    });
                    yield_now();
                    let (n, there) = other.join().unwrap();
                    assert_eq!(n, i);
                    assert_ne!(there, me, "nobody else runs on a locked thread");
                    assert_eq!(thread_id(), me);
                }
                unlock_os_thread();
                yield_now();
                assert_eq!(thread_id(), me, "locked twice, unlocked once");
                unlock_os_thread();
                unlock_os_thread();
            });
            locked.join().unwrap();
        });
    }
}

#[test]
fn r38_a_goroutine_that_ends_locked_takes_its_thread_with_it() {
    let rt = stackful(1);
    rt.run(|| {
        let tid = go(|| {
            lock_os_thread();
            gettid()
        })
        .join()
        .unwrap();
        let mut tries = 0;
        while std::path::Path::new(&format!("/proc/self/task/{tid}")).exists() {
            blocking(|| std::thread::sleep(Duration::from_millis(1)));
            tries += 1;
            assert!(tries < 5000, "thread {tid} lives on");
        }
    });
}

#[inline(never)]
fn gettid() -> i32 {
    // SAFETY: no arguments, no memory.
    unsafe { libc::gettid() }
}

#[test]
fn a_blocking_future_lets_others_run() {
    // SAFETY: as above.
    let with_stacks = unsafe { Builder::new().procs(1).build_stackful() }.unwrap();
    let futures_only = Builder::new().procs(1).build().unwrap();
    for rt in [with_stacks, futures_only] {
        rt.block_on(async {
            let flag = Arc::new(AtomicBool::new(false));
            let setter = {
                let flag = flag.clone();
                spawn(async move { flag.store(true, Ordering::Release) })
            };
            blocking(|| until_set(&flag));
            // A blocking join inside a future keeps the thread and gives the P away.
            let other = spawn(async { 5 });
            assert_eq!(other.join().unwrap(), 5);
            setter.await.unwrap();
        });
    }
}

#[test]
fn a_poll_that_lost_its_p_goes_on_on_its_thread() {
    // SAFETY: as above.
    let with_stacks = unsafe { Builder::new().procs(1).build_stackful() }.unwrap();
    let futures_only = Builder::new().procs(1).build().unwrap();
    for rt in [with_stacks, futures_only] {
        let handle = rt.handle();
        rt.block_on(async move {
            let busy = Arc::new(AtomicBool::new(false));
            // Has the only P until the other has come back and found none.
            let hog = {
                let busy = busy.clone();
                spawn(async move {
                    busy.store(true, Ordering::Release);
                    while handle.stats().syscall_slow == 0 {
                        std::hint::spin_loop();
                    }
                })
            };
            let me = thread_id();
            blocking(|| until_set(&busy));
            assert_eq!(thread_id(), me);
            hog.await.unwrap();
        });
    }
}

#[test]
fn r25_the_world_stops_and_starts() {
    for procs in [1, 2, 4] {
        let rt = stackful(procs);
        let steps = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        rt.run(|| {
            let workers: Vec<_> = (0..8)
                .map(|_| {
                    let (steps, stop) = (steps.clone(), stop.clone());
                    go(move || {
                        while !stop.load(Ordering::Relaxed) {
                            yield_now();
                            steps.fetch_add(1, Ordering::Relaxed);
                            yield_now();
                        }
                    })
                })
                .collect();
            let handle = gmp_sched::Handle::current().unwrap();
            for _ in 0..20 {
                let (made, states) = handle.stop_the_world(|| {
                    let before = steps.load(Ordering::Relaxed);
                    std::thread::sleep(Duration::from_micros(500));
                    (steps.load(Ordering::Relaxed) - before, handle.p_statuses())
                });
                // A step between two entries may end, of each of the eight; none begins.
                assert!(
                    made <= 8,
                    "a goroutine passed an entry of a stopped world: {made} steps"
                );
                assert!(states.iter().all(|s| *s == PStatus::Gcstop), "{states:?}");
                yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            workers.into_iter().for_each(|h| h.join().unwrap());
        });
    }
}

#[test]
fn r25_procs_change_at_run_time() {
    let rt = stackful(1);
    rt.run(|| {
        let handle = gmp_sched::Handle::current().unwrap();
        for n in [4, 1, 8, 2, 1, 3] {
            handle.set_procs(n).unwrap();
            assert_eq!(handle.procs(), n);
            let sum: usize = (0..500)
                .map(|i| go(move || i))
                .collect::<Vec<_>>()
                .into_iter()
                .map(|h| h.join().unwrap())
                .sum();
            assert_eq!(sum, 500 * 499 / 2);
        }
        assert!(handle.set_procs(0).is_err());
        assert!(handle.set_procs(1025).is_err());
    });
}

/// The CPUs that this thread may use, and the first of them alone.
fn all_cpus_and_one() -> (libc::cpu_set_t, libc::cpu_set_t) {
    // SAFETY: sets are plain data; the calls fill in and read no more than a set.
    unsafe {
        let (mut all, mut one): (libc::cpu_set_t, libc::cpu_set_t) = core::mem::zeroed();
        assert_eq!(
            libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut all),
            0
        );
        let first = (0..libc::CPU_SETSIZE as usize)
            .find(|i| libc::CPU_ISSET(*i, &all))
            .unwrap();
        libc::CPU_SET(first, &mut one);
        (all, one)
    }
}

#[test]
fn r25_procs_follow_the_cpus_when_they_are_looked_at_again() {
    // Of this thread alone: nobody else's affinity changes.
    fn use_cpus(cpus: &libc::cpu_set_t) {
        // SAFETY: a live set of the size told.
        let rc = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cpus) };
        assert_eq!(rc, 0);
    }
    let (all, one) = all_cpus_and_one();
    // SAFETY: nothing bound to a thread is kept across a park.
    let rt = unsafe { Builder::new().build_stackful() }.unwrap();
    let at_first = rt.handle().procs();
    use_cpus(&one);
    rt.handle().refresh_procs().unwrap();
    assert_eq!(rt.handle().procs(), 1);
    use_cpus(&all);
    rt.handle().refresh_procs().unwrap();
    assert_eq!(rt.handle().procs(), at_first);
    assert_eq!(rt.run(|| go(|| 42).join().unwrap()), 42);
}

/// There is one sysmon: one test at a time says which CPUs it uses.
fn sysmons_user() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has sysmon's thread use these CPUs: it counts for those that follow.
fn sysmon_uses(cpus: &libc::cpu_set_t) {
    let is_sysmon = |tid: &String| {
        std::fs::read_to_string(format!("/proc/self/task/{tid}/comm"))
            .is_ok_and(|name| name.trim() == "gmp-sysmon")
    };
    // A thread that has just been started gives itself its name.
    let tid = loop {
        let mut tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let found =
            tasks.find_map(|task| task.ok()?.file_name().into_string().ok().filter(is_sysmon));
        match found {
            Some(tid) => break tid,
            None => std::thread::yield_now(),
        }
    };
    // SAFETY: a live set of the size told.
    let rc = unsafe {
        libc::sched_setaffinity(tid.parse().unwrap(), size_of::<libc::cpu_set_t>(), cpus)
    };
    assert_eq!(rc, 0);
}

#[test]
fn r25_procs_follow_the_cpus_unless_somebody_set_them() {
    let _alone = sysmons_user();
    let (all, one) = all_cpus_and_one();
    // SAFETY: nothing bound to a thread is kept across a park.
    let rt = unsafe { Builder::new().build_stackful() }.unwrap();
    let told = stackful(3);
    // SAFETY: as above.
    let told_later = unsafe { Builder::new().build_stackful() }.unwrap();
    told_later.handle().set_procs(3).unwrap();
    let (handle, at_first) = (rt.handle(), rt.handle().procs());
    // sysmon counts while somebody is busy.
    let becomes = |n: usize| {
        rt.run(move || {
            while handle.procs() != n {
                yield_now();
            }
        });
    };
    sysmon_uses(&one);
    becomes(1);
    sysmon_uses(&all);
    becomes(at_first);
    assert_eq!(told.handle().procs(), 3, "it was told");
    assert_eq!(told_later.handle().procs(), 3, "so was it");
}

/// A hook whose entries cannot be adopted without a panic.
struct Rude;

impl Poll for Rude {
    fn poll(&self, _: usize, _: u64) -> (Option<u64>, usize) {
        (None, 0)
    }
    fn next_deadline(&self, _: usize) -> Option<u64> {
        None
    }
    fn adopt(&self, from: usize, _: usize) {
        ADOPTED.fetch_add(from, Ordering::SeqCst);
        std::panic::resume_unwind(Box::new("a destructor's"));
    }
}

static ADOPTED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn r25_a_panic_in_what_is_adopted_skips_no_p_and_costs_no_sysmon() {
    let _alone = sysmons_user();
    let (all, one) = all_cpus_and_one();
    // SAFETY: nothing bound to a thread is kept across a park.
    let rt = unsafe { Builder::new().poll(&Rude).build_stackful() }.unwrap();
    let handle = rt.handle();
    let at_first = handle.procs();
    sysmon_uses(&one);
    rt.run(move || {
        while handle.procs() != 1 {
            yield_now();
        }
        // sysmon still counts.
        sysmon_uses(&all);
        while handle.procs() != at_first {
            yield_now();
        }
    });
    handle.set_procs(4).unwrap();
    ADOPTED.store(0, Ordering::SeqCst);
    let lowered = std::panic::catch_unwind(|| handle.set_procs(1));
    assert_eq!(lowered.unwrap_err().downcast_ref(), Some(&"a destructor's"));
    assert_eq!(
        (handle.procs(), ADOPTED.load(Ordering::SeqCst)),
        (1, 1 + 2 + 3)
    );
    assert_eq!(rt.run(|| go(|| 42).join().unwrap()), 42);
}

#[test]
fn r136_deferred_code_runs_on_goexit_last_in_first_out() {
    let rt = stackful(1);
    rt.run(|| {
        let log = Arc::new(std::sync::Mutex::new(Vec::new()));
        let l = log.clone();
        let h = go(move || {
            gmp_sched::defer! { l.lock().unwrap().push(1) }
            gmp_sched::defer! { l.lock().unwrap().push(2) }
            gmp_sched::goexit()
        });
        assert!(h.join().unwrap_err().is_exited());
        assert_eq!(*log.lock().unwrap(), [2, 1]);
    });
}

#[test]
fn a_goroutine_may_park_while_it_unwinds() {
    for procs in [1, 2] {
        let rt = stackful(procs);
        rt.run(|| {
            struct JoinsOnDrop(Option<gmp_sched::JoinHandle<u32>>, Arc<AtomicUsize>);
            impl Drop for JoinsOnDrop {
                fn drop(&mut self) {
                    let me = thread_id();
                    let n = self.0.take().unwrap().join().unwrap();
                    assert_eq!(thread_id(), me, "an unwinding goroutine changed threads");
                    self.1.fetch_add(n as usize, Ordering::Relaxed);
                }
            }
            let total = Arc::new(AtomicUsize::new(0));
            let hs: Vec<_> = (0..20)
                .map(|i| {
                    let total = total.clone();
                    go(move || {
                        let child = go(move || {
                            yield_now();
                            i
                        });
                        let _j = JoinsOnDrop(Some(child), total);
                        std::panic::resume_unwind(Box::new(()));
                    })
                })
                .collect();
            for h in hs {
                assert!(h.join().unwrap_err().is_panic());
            }
            assert_eq!(total.load(Ordering::Relaxed), 190);
        });
    }
}
