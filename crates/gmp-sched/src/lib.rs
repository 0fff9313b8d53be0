//! Go's G-M-P scheduler.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "gmp-sched needs Linux on x86-64: it switches stacks in assembly and parks on futexes"
);

mod status;

pub use status::{GStatus, PStatus};
