//! The atomics that the model-checked protocols use: core's, or loom's under `--cfg loom`.
//!
//! Only the protocol modules ([`crate::runq`], [`crate::park_word`], ...) import from here; under
//! loom nothing else of the crate is compiled.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic;

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
