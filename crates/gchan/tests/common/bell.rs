//! A waker that counts its wakes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts wakes.
#[derive(Default)]
pub(crate) struct Bell(pub(crate) AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    pub(crate) fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Polls once with a bell's waker.
pub(crate) fn poll_with<F: Future>(
    future: std::pin::Pin<&mut F>,
    bell: &Arc<Bell>,
) -> Poll<F::Output> {
    let waker = Waker::from(bell.clone());
    future.poll(&mut Context::from_waker(&waker))
}
