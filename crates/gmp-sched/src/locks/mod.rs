//! Synchronisation for goroutines, threads and futures' threads alike.

mod sema;

pub use self::sema::Semaphore;
