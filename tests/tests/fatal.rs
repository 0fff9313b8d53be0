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

/// R14, R52: whatever they wait for, the report says it in Go's words, and where each was started.
#[test]
fn r52_every_goroutine_with_its_reason_and_its_place() {
    let out = run("deadlock_of_every_kind");
    let text = stderr(&out);
    assert_eq!(out.status.code(), Some(2), "{text}");
    let mut paragraphs = text.split("\n\n");
    assert_eq!(
        paragraphs.next(),
        Some("fatal error: all goroutines are asleep - deadlock!")
    );
    let (mut reasons, mut places) = (Vec::new(), Vec::new());
    for paragraph in paragraphs {
        let (first, second) = paragraph.trim_end().split_once('\n').expect("two lines");
        let reason = first
            .strip_prefix("goroutine ")
            .and_then(|l| l.split_once(" ["));
        let (id, reason) = reason.unwrap_or_else(|| panic!("{first:?} in:\n{text}"));
        assert!(id.parse::<u64>().is_ok(), "{first:?}");
        reasons.push(reason.trim_end_matches("]:"));
        places.push(second.strip_prefix("\tspawned at ").expect("its place"));
    }
    assert!(
        places
            .iter()
            .all(|p| p.starts_with("tests/src/bin/fatal.rs:")),
        "{text}"
    );
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            "chan receive",
            "chan receive (nil chan)",
            "chan send",
            "future",
            "join",
            "park",
            "select",
            "semacquire",
            "semacquire",
            "sync.Cond.Wait",
            "sync.Mutex.Lock",
            "sync.RWMutex.Lock",
            "sync.RWMutex.RLock",
            "sync.WaitGroup.Wait",
        ]
    );
}

/// However many they are: those of whom the same is to be said share a paragraph.
#[test]
fn r52_five_thousand_goroutines_are_all_in_the_report() {
    let text = stderr(&run("deadlock_of_many"));
    let mut waiting = 0;
    for line in text.lines().filter(|l| l.ends_with(" [chan receive]:")) {
        let ids = line.trim_end_matches(" [chan receive]:");
        waiting += match ids
            .strip_prefix("goroutines ")
            .and_then(|l| l.split_once(" to "))
        {
            Some((first, last)) => last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1,
            None => 1,
        };
    }
    assert_eq!(waiting, 5_000, "{text}");
    assert_eq!(text.matches("[join]").count(), 1, "{text}");
    assert!(text.lines().count() < 1_500, "{text}");
}

#[test]
fn r52_a_report_is_not_the_end_if_the_program_says_so() {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(env!("CARGO_BIN_EXE_fatal"))
        .arg("deadlock_reported_only")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let report = BufReader::new(child.stderr.take().expect("piped"));
    let place = report
        .lines()
        .map_while(Result::ok)
        .find(|l| l.starts_with("\tspawned at "));
    assert!(place.is_some(), "no report");
    // It would be gone soon.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(child.try_wait().expect("a child"), None);
    child.kill().expect("it lives");
    child.wait().expect("a child");
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

/// A thread of gchan's own.
#[test]
fn r52_who_rings_for_futures_wakes_nobody_without_an_alarm() {
    deadlocks("deadlock_after_an_alarm", &["[park]:"]);
    let out = run("no_deadlock_before_an_alarm");
    assert!(out.status.success(), "{}", stderr(&out));
}

#[test]
fn r52_silent_beside_a_thread_that_may_wake_somebody() {
    let out = run("no_deadlock_beside_a_thread");
    assert!(out.status.success(), "{}", stderr(&out));
}

#[test]
fn r52_a_thread_that_waits_for_a_goroutine_wakes_nobody() {
    deadlocks("deadlock_beside_a_thread_that_waits", &["[chan receive]:"]);
}

#[test]
fn r52_silent_beside_a_thread_whose_wait_ends_by_itself() {
    let out = run("no_deadlock_beside_a_thread_whose_wait_ends");
    assert!(out.status.success(), "{}", stderr(&out));
}

#[test]
fn r52_a_wait_within_a_wait_is_one_thread() {
    for whose in ["threads", "goroutines", "futures"] {
        let out = run(&format!("no_deadlock_of_a_{whose}_wait_within_a_wait"));
        assert!(out.status.success(), "{whose}: {}", stderr(&out));
    }
}

#[test]
fn r52_a_nap_within_a_wait_ends_by_itself() {
    for whose in ["threads", "goroutines", "futures"] {
        let out = run(&format!("no_deadlock_of_a_{whose}_nap_within_a_wait"));
        assert!(out.status.success(), "{whose}: {}", stderr(&out));
    }
}

/// The thread counts as parked again once the call is over.
#[test]
fn r52_a_wait_that_has_called_the_runtime_is_a_wait() {
    deadlocks(
        "deadlock_of_a_wait_that_called_the_runtime",
        &["[syscall]:"],
    );
}

/// What was within the wait is over; the wait is not.
#[test]
fn r52_a_wait_that_has_napped_is_a_wait() {
    deadlocks("deadlock_of_a_wait_that_has_napped", &["[syscall]:"]);
}

#[test]
fn r52_a_wait_in_a_blocking_section_is_a_wait() {
    deadlocks("deadlock_of_a_wait_in_a_section", &["[syscall]:"]);
}

#[test]
fn r52_a_futures_wait_without_a_p_is_a_wait() {
    deadlocks("deadlock_of_a_futures_wait_within_a_wait", &["goroutine "]);
    deadlocks("deadlock_of_a_futures_wait_in_a_section", &["goroutine "]);
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
fn another_fault_comes_to_the_handler_that_was_there_before() {
    assert_eq!(run("segfault_handled").status.code(), Some(77));
    assert_eq!(run("segfault_handled_with_info").status.code(), Some(78));
}

/// R37. A machine with other things to do may let the thread wait past its slice, and its P go to another, which takes
/// calls: then it is tried again. (The sanitizer is told of every switch, and maps memory.)
#[cfg(not(gort_asan))]
#[test]
fn r37_a_switch_needs_no_system_call() {
    let ends = (0..20).map(|_| run("ping_pong_in_a_cage").status.code());
    assert!(ends.into_iter().any(|code| code == Some(79)));
}

#[test]
fn a_panic_of_the_runtimes_names_the_line_that_called_it() {
    for (program, message) in [
        ("go_too_late", "on a runtime that has been shut down"),
        ("tick_nowhere", "timers of gort::time outside a runtime"),
        (
            "main_exits",
            "the main goroutine has no result: goroutine 1 called goexit",
        ),
    ] {
        let text = stderr(&run(program));
        assert!(text.contains(message), "{text}");
        assert!(
            text.contains("panicked at tests/src/bin/fatal.rs:"),
            "{text}"
        );
    }
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
