//! One task, one deadline at a time: the heart of `Sleep` and `Interval`.

use crate::callback::Callback;
use crate::engine::Engine;
use crate::host::{HandleOf, Host};
use core::fmt;
use core::task::{Context, Poll, Waker};

pub(crate) struct Alarm<H: Host> {
    host: H,
    /// Allocated at the first poll that has to wait.
    handle: Option<HandleOf<H>>,
    /// Whom the timer is armed to wake, and when; none if it is not armed.
    armed: Option<(Waker, i64)>,
}

impl<H: Host> Alarm<H> {
    pub(crate) fn new(host: &H) -> Self {
        Self {
            host: host.clone(),
            handle: None,
            armed: None,
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.host.now()
    }

    pub(crate) fn stop(&mut self) {
        self.armed = None;
        if let Some(handle) = &self.handle {
            H::Engine::stop(handle);
        }
    }

    /// Ready, with the present time, once `deadline` has come; else sees to it that the task is
    /// woken then.
    ///
    /// A firing cannot be missed: the timer fires only when the clock has reached the deadline, and
    /// from then on the first line is enough.
    pub(crate) fn poll(&mut self, cx: &Context<'_>, deadline: i64) -> Poll<i64> {
        let now = self.host.now();
        if now >= deadline {
            self.armed = None;
            return Poll::Ready(now);
        }
        if let Some((waker, when)) = &self.armed
            && *when == deadline
            && waker.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        // Not armed for what it says any more, whatever panics below: a waker's clone, or its drop.
        self.armed = None;
        let handle = self.handle.get_or_insert_with(|| self.host.handle());
        let callback = Callback::wake(cx.waker().clone());
        self.host.arm(handle, deadline, 0, callback);
        self.armed = Some((cx.waker().clone(), deadline));
        Poll::Pending
    }
}

impl<H: Host> fmt::Debug for Alarm<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm")
            .field("armed", &self.armed.as_ref().map(|(_, when)| when))
            .finish_non_exhaustive()
    }
}
