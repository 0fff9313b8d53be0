//! Numbers nobody should rely on, for the starting points of iterations. Not for secrets.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Calls so far. Only uniqueness matters, so every order of the increments will do.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// The next number.
pub(crate) fn random() -> u64 {
    let n = CALLS.fetch_add(1, Ordering::Relaxed) as u64;
    // Where the program was loaded differs from run to run.
    let mut x = (&raw const CALLS as u64) ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
