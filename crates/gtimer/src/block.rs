//! Blocking a thread until a waker is woken: how a receive waits, unless its host knows better.

use crate::clock::now;
use crate::waiter::Waiter;
use core::task::Waker;
use std::sync::Arc;
use std::task::Wake;

/// Blocks the calling thread until `poll` returns a value, or until `until` on the clock of
/// [`now`]; [`NEVER`](crate::NEVER): without end.
///
/// `poll` is asked at least once, and again whenever the waker that it gets, always the same, has
/// been woken; so it should leave that waker with whoever can give it a value. It may be asked for
/// no reason too.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use std::task::Waker;
///
/// let (value, waiting) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None::<Waker>)));
/// let (slot, waiter) = (Arc::clone(&value), Arc::clone(&waiting));
/// std::thread::spawn(move || {
///     *slot.lock().unwrap() = Some(7);
///     if let Some(waker) = waiter.lock().unwrap().take() {
///         waker.wake();
///     }
/// });
/// let got = gtimer::block_thread(gtimer::NEVER, |waker| {
///     *waiting.lock().unwrap() = Some(waker.clone());
///     value.lock().unwrap().take()
/// });
/// assert_eq!(got, Some(7));
/// ```
pub fn block_thread<T>(until: i64, mut poll: impl FnMut(&Waker) -> Option<T>) -> Option<T> {
    let sleeper = Arc::new(Sleeper(Waiter::new()));
    let waker = Waker::from(Arc::clone(&sleeper));
    loop {
        sleeper.0.begin();
        if let Some(value) = poll(&waker) {
            return Some(value);
        }
        if now() >= until {
            return None;
        }
        sleeper.0.sleep(until, || false);
    }
}

/// A word of its own, and not `std::thread::park`: that one's permit may be meant for other code of
/// the thread.
struct Sleeper(Waiter);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake();
    }
}
