//! Threads that block one after the other, each in line before the next comes.

use gchan::park::{Handle, Park, Reason, set_hook};
use gchan::{Sender, bounded};
use std::cell::Cell;
use std::thread;
use std::time::Instant;

thread_local! {
    /// Told once when this thread goes to sleep.
    static SLEEPS: Cell<Option<Sender<()>>> = const { Cell::new(None) };
}

/// Plain threads, as without a hook; but who goes to sleep, and so stands in line, says so.
struct Announced;

// SAFETY: nobody is parked by it.
unsafe impl Park for Announced {
    fn current(&self) -> Option<Handle> {
        None
    }

    unsafe fn park(&self, _me: Handle, _reason: Reason, _deadline: Option<Instant>) {
        unreachable!("there are plain threads only");
    }

    fn blocking(&self, _reason: Reason, _deadline: Option<Instant>, wait: &mut dyn FnMut()) {
        if let Some(sleeps) = SLEEPS.take() {
            sleeps.send(()).unwrap();
        }
        wait();
    }
}

/// Starts a thread that will block, and waits until it sleeps.
pub(crate) fn spawn_until_it_sleeps<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    f: impl FnOnce() + Send + 'scope,
) {
    // By another test of this process, perhaps.
    let _ = set_hook(&Announced);
    let (sleeps, asleep) = bounded(1);
    scope.spawn(move || {
        SLEEPS.set(Some(sleeps));
        f();
    });
    asleep.recv().unwrap();
}
