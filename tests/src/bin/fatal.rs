//! Programs that end badly on purpose, for `tests/fatal.rs`: `fatal NAME`.

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
        "no_deadlock_beside_a_thread" => {
            let rt = runtime();
            let (tx, rx) = chan::bounded(0);
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(200));
                let _ = tx.send(());
            });
            rt.run(move || rx.recv().expect("the thread sends"));
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
        "segfault" => runtime().run(|| {
            let nowhere = black_box(core::ptr::without_provenance::<u8>(8));
            // SAFETY: none: this is the fault that the handler has to pass on.
            black_box(unsafe { nowhere.read_volatile() });
        }),
        "backtrace" => runtime().run(|| {
            drop(gort::go(|| panic!("a goroutine panics")).join());
        }),
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

#[inline(never)]
fn overflow(n: u64) -> u64 {
    let frame = black_box([n; 64]);
    if black_box(n) == u64::MAX {
        0
    } else {
        overflow(n + 1) + frame[7]
    }
}
