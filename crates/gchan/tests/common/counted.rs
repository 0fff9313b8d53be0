//! A value that counts its drops.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts drops.
pub(crate) struct Counted<'a>(pub(crate) &'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
