//! What the maps report: errors and statistics.

use core::alloc::Layout;
use core::fmt;

/// Why a reservation failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TryReserveError {
    /// The size passes what a `usize` can say.
    CapacityOverflow,
    /// The allocator refused.
    AllocError {
        /// What it was asked for. A size beyond `isize::MAX` is shown as the largest layout there is.
        layout: Layout,
    },
}

impl fmt::Display for TryReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CapacityOverflow => "memory allocation failed: capacity overflow",
            Self::AllocError { .. } => "memory allocation failed: the allocator refused",
        })
    }
}

impl core::error::Error for TryReserveError {}

/// The state of a map's memory and of its growth; see [`HashMap::stats`](crate::HashMap::stats).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Entries.
    pub len: usize,
    /// Go's B: log2 of the number of buckets.
    pub b: u8,
    /// Buckets of the array; 0 before the first insertion.
    pub buckets: usize,
    /// Overflow buckets in use.
    pub overflow_buckets: usize,
    /// Overflow buckets reserved and not in use.
    pub spare_buckets: usize,
    /// Go's count of overflow buckets of the array: exact while `b < 16`, approximate above.
    pub noverflow: u16,
    /// Whether a growth is under way.
    pub growing: bool,
    /// Whether that growth adds no buckets and only packs the chains.
    pub same_size: bool,
    /// Buckets that the growth in progress evacuates: half of all, or all if it is of the same size; 0
    /// when there is none.
    pub old_buckets: usize,
    /// How many of these are evacuated.
    pub evacuated: usize,
    /// Bytes of the array and of the overflow chunks. Keys and values above 128 bytes live in blocks of
    /// their own and are not counted.
    pub bytes: usize,
}
