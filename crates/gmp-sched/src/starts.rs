//! Threads of the runtime's own that a thread in the background ([`crate::retake`]) needs: had it started them, they
//! would be there too. sysmon starts them, or who waits for a P that is on its way to one.

use crate::census::PROCESS;
use crate::{fork, retake};
use parking_lot::Mutex;
use std::sync::mpsc;

type Start = Box<dyn FnOnce() + Send>;

/// What is still to be started.
static TO_START: Mutex<Vec<Start>> = Mutex::new(Vec::new());

/// Calls `start`, which starts a thread, on one that is not in the background: on this one, or soon.
pub(crate) fn from_foreground(start: impl FnOnce() + Send + 'static) {
    if retake::in_background() {
        later(start);
    } else {
        start();
    }
}

/// Has sysmon call `start`.
pub(crate) fn later(start: impl FnOnce() + Send + 'static) {
    TO_START.lock().push(Box::new(start));
    PROCESS.sysmon.wake();
}

/// [`from_foreground`], and waits for what `start` returns. Outside the bracket.
pub(crate) fn result_from_foreground<R: Send + 'static>(
    start: impl FnOnce() -> R + Send + 'static,
) -> R {
    if fork::is_child() {
        // Nobody else is here.
        return start();
    }
    let (tell, told) = mpsc::channel();
    from_foreground(move || drop(tell.send(start())));
    told.recv().expect("what is to be started is started")
}

pub(crate) fn any() -> bool {
    !TO_START.lock().is_empty()
}

/// Starts what others must not start. By a thread that is not in the background.
pub(crate) fn run() {
    for start in core::mem::take(&mut *TO_START.lock()) {
        start();
    }
}
