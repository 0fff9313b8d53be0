//! Synchronisation for goroutines, threads and futures' threads alike.

mod sema;
mod waitgroup;

pub use self::{sema::Semaphore, waitgroup::WaitGroup};
