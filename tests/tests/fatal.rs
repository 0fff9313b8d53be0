//! What is fatal prints a report that leads to the cause, and ends the process (R36, R52).

use std::process::{Command, Output};

fn run(program: &str) -> Output {
    Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_fatal"), program])
        .env("RUST_BACKTRACE", "1")
        .output()
        .expect("the program starts")
}

fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The program ends with status 2 and a deadlock report that has these lines.
fn deadlocks(program: &str, lines: &[&str]) {
    let out = run(program);
    let text = stderr(&out);
    assert_eq!(out.status.code(), Some(2), "{text}");
    assert!(
        text.starts_with("fatal error: all goroutines are asleep - deadlock!\n"),
        "{text}"
    );
    for line in lines {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
}

#[test]
fn r52_a_receive_that_nobody_answers() {
    deadlocks(
        "deadlock_receive",
        &["[chan receive]:", "spawned at tests/src/bin/fatal.rs:"],
    );
}

#[test]
fn r52_a_circle_of_two() {
    deadlocks("deadlock_circle", &["[chan receive]:"]);
    assert_eq!(
        stderr(&run("deadlock_circle"))
            .matches("[chan receive]:")
            .count(),
        2
    );
}

#[test]
fn r52_a_future_that_is_never_woken() {
    deadlocks("deadlock_future", &["[future]:"]);
}

#[test]
fn r52_a_timer_puts_the_report_off() {
    deadlocks("deadlock_sleeping_first", &["[park]:"]);
}

/// A time-out that its wait did not need is stopped, and may lie in its heap until it would have been due.
#[test]
fn r52_a_stopped_time_out_does_not_put_the_report_off() {
    deadlocks("deadlock_after_a_time_out", &["[chan receive]:"]);
}

#[test]
fn r52_silent_beside_a_thread_that_may_wake_somebody() {
    let out = run("no_deadlock_beside_a_thread");
    assert!(out.status.success(), "{}", stderr(&out));
}

#[test]
fn r52_silent_while_somebody_blocks_in_a_syscall() {
    let out = run("no_deadlock_while_blocking");
    assert!(out.status.success(), "{}", stderr(&out));
}

#[test]
fn r36_an_overflow_names_the_goroutine_and_aborts() {
    let out = run("overflow");
    let text = stderr(&out);
    assert!(!out.status.success());
    let line = text
        .lines()
        .find(|l| l.starts_with("fatal error: stack overflow in goroutine "));
    let line = line.unwrap_or_else(|| panic!("no report in:\n{text}"));
    assert!(
        line.contains("spawned at tests/src/bin/fatal.rs:"),
        "{line}"
    );
}

#[test]
fn another_fault_is_passed_on() {
    use std::os::unix::process::ExitStatusExt;
    let out = run("segfault");
    assert_eq!(out.status.signal(), Some(libc::SIGSEGV), "{}", stderr(&out));
}

#[test]
fn a_backtrace_ends_at_the_goroutines_entry() {
    let out = run("backtrace");
    let text = stderr(&out);
    assert!(out.status.success(), "{text}");
    assert!(text.contains("a goroutine panics"), "{text}");
    assert!(text.contains("trampoline"), "{text}");
    assert!(!text.contains("<unknown>"), "{text}");
}

#[test]
fn the_limit_of_threads_is_fatal_and_named() {
    let text = stderr(&run("threads"));
    assert!(
        text.starts_with("fatal error: thread exhaustion: the runtime's 8 threads"),
        "{text}"
    );
}
