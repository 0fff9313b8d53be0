//! Whole programs and properties that cross crates: see `tests/tests`.

/// A future that lets others run: pending once, and woken at once.
pub async fn pending_once() {
    let mut first = true;
    std::future::poll_fn(|cx| {
        if std::mem::take(&mut first) {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(())
    })
    .await;
}

/// The workspace's README: its programs run.
#[cfg(doctest)]
#[derive(Debug)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
