//! What several tests here need.

use std::sync::Arc;
use std::task::{Wake, Waker};

/// A waker that panics, without a word on the standard error stream.
pub(crate) fn panicking_waker() -> Waker {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("in a waker"));
        }
    }
    Waker::from(Arc::new(Bad))
}
