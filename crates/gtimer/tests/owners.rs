//! A timer with more owners than can be counted ends the program: no count wraps round to zero.

use gtimer::{Callback, heap};
use std::mem;
use std::process::Command;

const CHILD: &str = "GTIMER_TEST_LEAK";

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
