//! Under AddressSanitizer (`cargo xtask asan`): what is wrong on a goroutine's stack is found, what is
//! right is not reported, wherever the goroutine was moved to.
//!
//! Each program runs in a process of its own: this test again, told which.
#![cfg(gort_asan)]

use gort::{Runtime, go, goexit, yield_now};
use std::hint::black_box;
use std::panic::{catch_unwind, panic_any};
use std::process::Command;

const PROGRAM: &str = "GORT_ASAN_PROGRAM";

/// Runs the program called `name` and returns what it wrote to standard error, and whether it succeeded.
fn run(name: &str) -> (String, bool) {
    let me = std::env::current_exe().unwrap();
    let child = Command::new(me)
        .args(["--exact", "child", "--nocapture"])
        .env(PROGRAM, name)
        .output();
    let child = child.unwrap();
    (
        String::from_utf8_lossy(&child.stderr).into_owned(),
        child.status.success(),
    )
}

fn is_found(name: &str, report: &str) {
    let (stderr, success) = run(name);
    assert!(!success && stderr.contains(report), "{name}: {stderr}");
}

#[test]
fn child() {
    let Ok(name) = std::env::var(PROGRAM) else {
        return;
    };
    // SAFETY: nothing here keeps anything bound to its thread across a park; what else is wrong is what
    // the sanitizer is to find.
    let rt = unsafe { Runtime::builder().procs(2).build_stackful() }.unwrap();
    rt.run(move || {
        // On stacks that have been used, by goroutines that have been moved.
        crowd(|| yield_now());
        match name.as_str() {
            "overrun" => crowd(overrun),
            "use after return" => crowd(use_after_return),
            "use after the end" => {
                let dead = go(gone).join().unwrap();
                yield_now();
                read(dead);
            }
            "unwinding" => (0..20).for_each(|_| crowd(unwind)),
            _ => panic!("no program {name:?}"),
        }
    });
}

/// Many goroutines that do the same on both Ps.
fn crowd(f: fn()) {
    let handles: Vec<_> = (0..50).map(|_| go(f)).collect();
    for handle in handles {
        drop(handle.join());
    }
}

/// Not inlined, like all that uses `black_box` here: that is assembly, and in a function with
/// assembly the sanitizer does not look for uses after return.
#[inline(never)]
fn address(at: &u64) -> usize {
    black_box(std::ptr::from_ref(at)) as usize
}

#[inline(never)]
fn read(at: usize) {
    let at = std::ptr::with_exposed_provenance::<u64>(at);
    // SAFETY: none: nothing lives there any more.
    black_box(unsafe { at.read_volatile() });
}

#[inline(never)]
fn gone() -> usize {
    let local = u64::MAX.count_ones().into();
    address(&local)
}

fn use_after_return() {
    let at = gone();
    yield_now();
    read(at);
}

fn overrun() {
    let array = black_box([1_u64; 9]);
    yield_now();
    read(address(&array[0]) + black_box(9) * 8);
}

/// Leaves frames with arrays behind by a panic, by `goexit` and by a catch, and uses as much stack again.
fn unwind() {
    let caught = catch_unwind(|| deep(20, || panic_any(1)));
    assert!(caught.is_err());
    yield_now();
    deep(30, yield_now);
    let carried = go(|| deep(20, || panic_any(2))).join().unwrap_err();
    assert!(carried.is_panic());
    let exited = go(|| deep(20, || goexit())).join().unwrap_err();
    assert!(exited.is_exited());
    deep(40, yield_now);
}

#[inline(never)]
fn deep(n: usize, end: fn()) {
    let mut frame = black_box([n as u8; 200]);
    if n == 0 {
        end();
    } else {
        deep(n - 1, end);
    }
    // All of it, so that no byte may be left poisoned by who was there before.
    frame.fill(0);
    black_box(&frame);
}

#[test]
fn an_overrun_on_a_goroutines_stack_is_found() {
    is_found("overrun", "stack-buffer-overflow");
}

#[test]
fn a_use_after_return_on_a_goroutines_stack_is_found() {
    is_found("use after return", "stack-use-after-return");
}

#[test]
fn a_use_of_a_goroutines_local_after_its_end_is_found() {
    is_found("use after the end", "stack-use-after-return");
}

#[test]
fn unwinding_on_goroutine_stacks_is_nothing_to_report() {
    let (stderr, success) = run("unwinding");
    assert!(
        success && !stderr.contains("AddressSanitizer") && !stderr.contains("ASan"),
        "{stderr}"
    );
}
