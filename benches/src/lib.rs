//! What the programs of this package share: the harness, and the allocators' workloads, because every
//! allocator is the global one of a program of its own.
//!
//! `cargo xtask bench-all` is what people run.

pub mod alloc;
pub mod harness;
