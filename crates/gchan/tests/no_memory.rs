//! What a channel does when there is no memory: values come back whole or stay where they are, and it goes on.

use gchan::{TrySendError, unbounded};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// `System`, but for a thread that has used up its memory.
struct Scarce;

thread_local! {
    static USED_UP: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: `System`'s, or null.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if USED_UP.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOC: Scarce = Scarce;

fn without_memory<R>(f: impl FnOnce() -> R) -> R {
    USED_UP.set(true);
    let result = f();
    USED_UP.set(false);
    result
}

#[test]
fn an_unbounded_channel_without_memory_is_full_and_hands_the_value_back() {
    let (s, r) = unbounded();
    let first = Box::new(7);
    let refused = without_memory(|| s.try_send(first));
    assert_eq!(refused, Err(TrySendError::Full(Box::new(7))));
    assert!(r.is_empty() && r.try_recv().is_err());

    // With one block in hand it takes what has room there, refuses the next, and takes more once there is room again.
    let mut values: Vec<_> = (0..1000).rev().map(Box::new).collect();
    s.send(values.pop().unwrap()).unwrap();
    let (sent, refused, received, again) = without_memory(|| {
        let mut sent = 1;
        let refused = loop {
            match s.try_send(values.pop().unwrap()) {
                Ok(()) => sent += 1,
                Err(refused) => break refused.into_inner(),
            }
        };
        let received = (0..sent).all(|n| *r.recv().unwrap() == n);
        (sent, refused, received, s.try_send(values.pop().unwrap()))
    });
    assert!(sent < 1000 && *refused == sent && received && again.is_ok());

    // With memory it is as unbounded as ever, in order.
    s.send(refused).unwrap();
    (2000..3000).for_each(|n| s.try_send(Box::new(n)).unwrap());
    drop(s);
    let rest: Vec<_> = r.iter().map(|value| *value).collect();
    let expected = [sent + 1, sent].into_iter().chain(2000..3000);
    assert!(rest.into_iter().eq(expected));
}

/// The program that runs out of memory in a blocking send is this test's own binary, told so by its environment.
#[test]
#[cfg(unix)]
fn a_blocking_send_without_memory_ends_the_program_as_a_vec_does() {
    use std::os::unix::process::ExitStatusExt;
    const TOLD: &str = "GCHAN_SEND_WITHOUT_MEMORY";
    if std::env::var_os(TOLD).is_some() {
        let (s, _r) = unbounded();
        let sent = without_memory(|| s.send(1));
        unreachable!("{sent:?}");
    }
    let name = "a_blocking_send_without_memory_ends_the_program_as_a_vec_does";
    let ended = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(TOLD, "1")
        .output()
        .unwrap();
    const SIGABRT: i32 = 6;
    assert_eq!(ended.status.signal(), Some(SIGABRT), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("memory allocation of"), "{said}");
}
