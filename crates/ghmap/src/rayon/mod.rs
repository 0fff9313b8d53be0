//! Parallel iterators. A table is cut into pieces of 512 buckets, which rayon
//! hands out; owned entries are first moved to a vector.

pub(crate) mod map;
pub(crate) mod set;
pub(crate) mod table;
