//! Who owns a timer of the heap engine, and when what it holds is dropped.

use gtimer::{Callback, heap};
use std::mem;
use std::process::Command;
use std::sync::mpsc::{TryRecvError, channel};
use std::sync::{Arc, Mutex};

const CHILD: &str = "GTIMER_TEST_LEAK";

/// A callback may wait for what another timer holds, once it has dropped that one's handle: although both
/// were due at one look, and the other, stopped, has left the heap already.
#[test]
fn a_callback_that_drops_a_handle_sees_its_value_dropped() {
    let timers = heap::Timers::new();
    let (held, gone) = channel::<()>();
    let other = timers.insert(1, 0, Callback::once(move || drop(held))).0;
    let other = Arc::new(Mutex::new(Some(other)));
    let (tx, seen) = channel();
    let to_drop = Arc::clone(&other);
    let callback = Callback::once(move || {
        assert_eq!(gone.try_recv(), Err(TryRecvError::Empty));
        to_drop.lock().unwrap().take();
        tx.send(gone.try_recv()).expect("the test waits");
    });
    let _timer = timers.insert(2, 0, callback).0;
    assert!(other.lock().unwrap().as_ref().expect("kept").stop());
    assert_eq!(timers.len(), 2, "not cleared yet");
    loop {
        let due = timers.take(5);
        let more = due.next_when() <= 5;
        due.run();
        if !more {
            break;
        }
    }
    assert_eq!(seen.recv(), Ok(Err(TryRecvError::Disconnected)));
}

/// Nor by whoever has cleared the timer, and keeps what it cleared: here by who drops the handle.
#[test]
fn a_dropped_handle_takes_its_value_from_a_timer_that_was_cleared() {
    let timers = heap::Timers::new();
    let (held, gone) = channel::<()>();
    let timer = timers.insert(1, 0, Callback::once(move || drop(held))).0;
    assert!(timer.stop());
    let due = timers.take(5);
    assert_eq!(timer.status(), heap::Status::Removed);
    assert!(!due.fired());
    drop(timer);
    assert_eq!(gone.try_recv(), Err(TryRecvError::Disconnected));
}

/// A timer that is stopped and then detached can never fire.
#[test]
fn a_stopped_timer_that_is_detached_is_dropped_at_once() {
    let timers = heap::Timers::new();
    let (held, gone) = channel::<()>();
    let timer = timers.insert(1, 0, Callback::once(move || drop(held))).0;
    assert!(timer.stop());
    timer.detach();
    assert_eq!(gone.try_recv(), Err(TryRecvError::Disconnected));
}

/// No count wraps round to zero.
#[test]
fn too_many_owners_of_a_timer_end_the_program() {
    if std::env::var_os(CHILD).is_some() {
        return leak();
    }
    let child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "too_many_owners_of_a_timer_end_the_program"])
        .arg("--nocapture")
        .env(CHILD, "1")
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(said.contains("a timer has too many owners"), "{said}");
    // Not even a caught panic: nobody runs on with such a count.
    assert_eq!(child.status.code(), None, "{said}");
}

/// Each `Due` that is leaked is an owner of the timer that it removed.
fn leak() {
    let timers = heap::Timers::new();
    let timer = heap::Handle::new();
    for _ in 0..100_000 {
        let armed = timers.arm(&timer, 10, 0, Callback::none());
        assert!(!armed.was_pending && timer.stop());
        mem::forget(timers.take(5));
        assert!(timers.is_empty());
    }
}
