//! Programs that end the process, for `tests/fatal.rs`: `fatal NAME`.

use gort::sched::{thread_naps, thread_waits};
use gort::{Runtime, chan};
use std::hint::black_box;

fn runtime() -> Runtime {
    // SAFETY: nothing here keeps anything bound to its thread across a park.
    unsafe { Runtime::builder().procs(2).build_stackful() }.expect("a runtime")
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "deadlock_receive" => runtime().run(|| {
            let (_tx, rx) = chan::bounded::<()>(0);
            let _ = rx.recv();
        }),
        "deadlock_circle" => runtime().run(|| {
            let (t1, r1) = chan::bounded::<()>(0);
            let (t2, r2) = chan::bounded::<()>(0);
            let other = gort::go(move || {
                let _ = r1.recv();
                let _ = t2.send(());
            });
            let _ = r2.recv();
            let _ = t1.send(());
            drop(other.join());
        }),
        "deadlock_future" => runtime().block_on(std::future::pending()),
        "deadlock_of_every_kind" => runtime().run(every_kind),
        "deadlock_of_many" => runtime().run(|| {
            let (tx, rx) = chan::bounded::<()>(0);
            let waits = |_| {
                let rx = rx.clone();
                gort::go(move || rx.recv().is_ok())
            };
            let all: Vec<_> = (0..5_000).map(waits).collect();
            all.into_iter().for_each(|h| drop(h.join()));
            drop(tx);
        }),
        "deadlock_reported_only" => {
            let builder = Runtime::builder().on_deadlock(gort::OnDeadlock::Report);
            // SAFETY: as above.
            unsafe { builder.build_stackful() }
                .expect("a runtime")
                .run(|| gort::park(gort::WaitReason::Park));
        }
        "deadlock_sleeping_first" => runtime().run(|| {
            gort::sleep(std::time::Duration::from_millis(50));
            gort::park(gort::WaitReason::Park);
        }),
        "deadlock_after_a_time_out" => runtime().run(|| {
            let (tx, rx) = chan::bounded(0);
            let sends = gort::go(move || tx.send(1).map(|()| tx));
            let far = std::time::Duration::from_secs(600);
            assert_eq!(rx.recv_timeout(far), Ok(1));
            let _tx = sends.join().expect("no panics");
            let _ = rx.recv();
        }),
        // The thread that rings for futures is there, and has nothing to do any more.
        "deadlock_after_an_alarm" => runtime().run(|| {
            let soon = chan::after(std::time::Duration::from_millis(10));
            let waits = gort::spawn(async move { soon.recv_async().await.is_ok() });
            assert!(waits.join().expect("no panics"));
            gort::park(gort::WaitReason::Park);
        }),
        "no_deadlock_before_an_alarm" => runtime().run(|| {
            for ms in [1, 300] {
                let soon = chan::after(std::time::Duration::from_millis(ms));
                let waits = gort::spawn(async move { soon.recv_async().await.is_ok() });
                assert!(waits.join().expect("no panics"));
                gort::sleep(std::time::Duration::from_millis(100));
            }
        }),
        "no_deadlock_beside_a_thread" => {
            let rt = runtime();
            let (tx, rx) = chan::bounded(0);
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(200));
                let _ = tx.send(());
            });
            rt.run(move || rx.recv().expect("the thread sends"));
        }
        "deadlock_beside_a_thread_that_waits" => {
            let (tx, rx) = chan::bounded::<()>(0);
            let (tx2, rx2) = chan::bounded::<()>(0);
            std::thread::spawn(move || (rx.recv(), tx2.send(())));
            runtime().run(move || {
                let _ = rx2.recv();
                drop(tx);
            });
        }
        "no_deadlock_beside_a_thread_whose_wait_ends" => {
            let (_tx, rx) = chan::bounded::<()>(0);
            let (tx2, rx2) = chan::bounded(0);
            std::thread::spawn(move || {
                // What it waits for does not come; then it goes on.
                let soon = std::time::Duration::from_millis(500);
                assert!(rx.recv_timeout(soon).is_err());
                tx2.send(())
            });
            runtime().run(move || rx2.recv().expect("the thread sends"));
        }
        "no_deadlock_of_a_threads_wait_within_a_wait" => wait_within_a_wait(|_, wait| wait()),
        "no_deadlock_of_a_goroutines_wait_within_a_wait" => {
            wait_within_a_wait(|rt, wait| rt.run(wait))
        }
        "no_deadlock_of_a_futures_wait_within_a_wait" => {
            wait_within_a_wait(|rt, wait| rt.block_on(async { wait() }));
        }
        "no_deadlock_of_a_threads_nap_within_a_wait" => nap_within_a_wait(|_, nap| nap()),
        "no_deadlock_of_a_goroutines_nap_within_a_wait" => nap_within_a_wait(|rt, nap| rt.run(nap)),
        "no_deadlock_of_a_futures_nap_within_a_wait" => {
            nap_within_a_wait(|rt, nap| rt.block_on(async { nap() }));
        }
        "deadlock_of_a_wait_that_called_the_runtime" => runtime().run(|| {
            thread_waits(|| {
                gort::yield_now();
                gort::go(|| ()).join().expect("no panics");
                for_ever();
            });
        }),
        "deadlock_of_a_wait_that_has_napped" => runtime().run(|| {
            thread_waits(|| {
                thread_naps(|| std::thread::sleep(std::time::Duration::from_millis(10)));
                for_ever();
            });
        }),
        "deadlock_of_a_wait_in_a_section" => {
            runtime().run(|| gort::blocking(|| thread_waits(for_ever)));
        }
        "deadlock_of_a_futures_wait_within_a_wait" => {
            let (_tx, rx) = chan::bounded::<()>(0);
            runtime().block_on(async { thread_waits(|| assert!(rx.recv().is_ok())) });
        }
        "deadlock_of_a_futures_wait_in_a_section" => {
            let lock = gort::sched::Mutex::new(());
            let _held = lock.lock();
            runtime().block_on(async { gort::blocking(|| drop(lock.lock())) });
        }
        "no_deadlock_while_blocking" => runtime().run(|| {
            let (tx, rx) = chan::bounded(0);
            let slow = gort::go(move || {
                gort::blocking(|| std::thread::sleep(std::time::Duration::from_millis(200)));
                let _ = tx.send(());
            });
            rx.recv().expect("the slow one sends");
            slow.join().expect("no panics");
        }),
        "overflow" => runtime().run(|| {
            let _ = gort::go(|| overflow(0)).join();
        }),
        "segfault" => runtime().run(fault),
        "segfault_handled" => {
            handle_faults(handler as *const () as usize, 0);
            runtime().run(fault);
        }
        "segfault_handled_with_info" => {
            handle_faults(handler_with_info as *const () as usize, libc::SA_SIGINFO);
            runtime().run(fault);
        }
        "backtrace" => runtime().run(|| {
            drop(gort::go(|| panic!("a goroutine panics")).join());
        }),
        "ping_pong_in_a_cage" => {
            // SAFETY: as above.
            let rt = unsafe { Runtime::builder().procs(1).build_stackful() };
            rt.expect("a runtime").run(ping_pong_in_a_cage);
        }
        "go_too_late" => {
            let handle = runtime().handle();
            drop(handle.go(|| ()));
        }
        "tick_nowhere" => drop(gort::time::tick(std::time::Duration::from_millis(1))),
        "main_exits" => runtime().run(|| -> () { gort::goexit() }),
        "threads" => {
            // SAFETY: as above.
            let rt = unsafe { Runtime::builder().procs(1).max_threads(8).build_stackful() };
            rt.expect("a runtime").run(|| {
                let hs: Vec<_> = (0..20)
                    .map(|_| gort::go(|| gort::blocking_now(std::thread::park)))
                    .collect();
                hs.into_iter().for_each(|h| drop(h.join()));
            });
        }
        _ => panic!("no program {name:?}"),
    }
}

/// One thread that waits, counted twice, would stand for the one that holds the lock as well.
fn wait_within_a_wait(on: impl FnOnce(&Runtime, &(dyn Fn() + Sync))) {
    let rt = runtime();
    rt.run(|| ());
    let lock = std::sync::Arc::new(gort::sched::Mutex::new(()));
    let held = lock.clone();
    let (tell, told) = std::sync::mpsc::channel();
    let holder = std::thread::spawn(move || {
        let _guard = held.lock();
        tell.send(()).expect("main waits");
        std::thread::sleep(std::time::Duration::from_millis(500));
    });
    told.recv().expect("the holder tells");
    on(&rt, &|| thread_waits(|| drop(lock.lock())));
    holder.join().expect("no panics");
}

/// Nothing else is to come, but the nap ends by itself.
fn nap_within_a_wait(on: impl FnOnce(&Runtime, &(dyn Fn() + Sync))) {
    let rt = runtime();
    rt.run(|| ());
    let soon = std::time::Duration::from_millis(500);
    on(&rt, &|| {
        thread_waits(|| thread_naps(|| std::thread::sleep(soon)))
    });
}

fn for_ever() {
    loop {
        std::thread::park();
    }
}

/// One goroutine for each reason to wait that can last for ever, and one that waits for them.
fn every_kind() {
    use gort::{Barrier, Condvar, Mutex, RwLock, Semaphore, WaitGroup, go, spawn};
    use std::sync::Arc;
    let (tx, rx) = chan::bounded::<u32>(0);
    let (full, _rx) = chan::bounded::<u32>(0);
    let (locked, both) = (Arc::new(Mutex::new(())), Arc::new(RwLock::new(())));
    let (written, cond) = (
        Arc::new(RwLock::new(())),
        Arc::new((Mutex::new(()), Condvar::new())),
    );
    let (none, busy) = (Arc::new(Semaphore::new(0)), Arc::new(WaitGroup::new()));
    busy.add(1);
    std::mem::forget((locked.lock(), both.read(), written.write()));
    let selected = rx.clone();
    let all = [
        go(move || assert!(rx.recv().is_err())),
        go(move || assert!(full.send(1).is_err())),
        go(move || gort::chan::select! { recv(selected) -> _ => {} }),
        go(|| assert!(chan::Chan::<u32>::nil().recv().is_none())),
        go(move || drop(locked.lock())),
        go(move || drop(both.write())),
        go(move || drop(written.read())),
        go(move || cond.1.wait(&mut cond.0.lock())),
        go(move || none.acquire(1)),
        go(move || busy.wait()),
        go(|| {
            Barrier::new(2).wait();
        }),
        go(|| gort::park(gort::WaitReason::Park)),
        spawn(std::future::pending()),
    ];
    all.into_iter().for_each(|h| drop(h.join()));
    drop(tx);
}

/// Two that hand a value to and fro; after some rounds the kernel kills the process for any call but that of its end.
fn ping_pong_in_a_cage() {
    let (there, ping) = chan::bounded::<u32>(0);
    let (pong, back) = chan::bounded::<u32>(0);
    drop(gort::go(move || ping.iter().all(|n| pong.send(n).is_ok())));
    let round = |n| {
        there.send(n).expect("the partner receives");
        assert_eq!(back.recv(), Ok(n));
    };
    (0..1_000).for_each(round);
    cage();
    (0..10_000).for_each(round);
    // SAFETY: ends the process.
    unsafe { libc::_exit(79) };
}

/// From here on this thread may call `exit_group` and nothing else.
fn cage() {
    let [load, jump, ret] = [
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    ]
    .map(|code| code as u16);
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    // The number of the call is the first word of what a filter is given.
    let mut steps = [
        step(load, 0, 0),
        step(jump, 1, libc::SYS_exit_group as u32),
        step(ret, 0, libc::SECCOMP_RET_ALLOW),
        step(ret, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let filter = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the filter lives until the call has read it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter),
            0
        );
    }
}

fn fault() {
    let nowhere = black_box(core::ptr::without_provenance::<u8>(8));
    // SAFETY: none: this is the fault that the handler has to pass on.
    black_box(unsafe { nowhere.read_volatile() });
}

/// What a program that handles faults itself does before it builds a runtime.
fn handle_faults(handler: usize, flags: i32) {
    // SAFETY: zero is valid for the fields that are not set; the handlers only leave the process.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut());
    }
}

extern "C" fn handler(signal: i32) {
    // SAFETY: async-signal-safe.
    unsafe { libc::_exit(if signal == libc::SIGSEGV { 77 } else { 1 }) };
}

extern "C" fn handler_with_info(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo for a fault; `_exit` is async-signal-safe.
    unsafe {
        libc::_exit(if (*info).si_addr() as usize == 8 {
            78
        } else {
            1
        })
    };
}

#[inline(never)]
fn overflow(n: u64) -> u64 {
    let frame = black_box([n; 64]);
    if black_box(n) == u64::MAX {
        0
    } else {
        overflow(n + 1) + frame[7]
    }
}
