//! The one thread-local of the crate: which cache this thread has leased.
//!
//! On Linux x86-64 it is an initial-exec thread-local defined and read in assembly, for two reasons.
//! The read is not `pure`, so the compiler may not keep its result over a point where a goroutine
//! moved to another thread; and it is one `mov` from `fs:` (in a shared object preceded by a load
//! from the GOT), where Rust's own thread-locals in a cdylib call `__tls_get_addr`, which may itself
//! allocate. Initial-exec variables in a shared object need room in the static TLS block: always
//! there at program start and under LD_PRELOAD, and for 8 bytes in practice under `dlopen` too.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod imp {
    use core::arch::{asm, global_asm};

    global_asm!(
        ".pushsection .tbss.galloc_0_1_cache,\"awT\",@nobits",
        ".globl galloc_0_1_cache",
        ".hidden galloc_0_1_cache",
        ".type galloc_0_1_cache,@object",
        ".size galloc_0_1_cache,8",
        ".p2align 3",
        "galloc_0_1_cache:",
        ".zero 8",
        ".popsection",
    );

    #[inline(always)]
    pub(crate) fn get() -> usize {
        let v: usize;
        // SAFETY: loads 8 bytes of this thread's static TLS block.
        unsafe {
            asm!(
                "mov {0}, qword ptr [rip + galloc_0_1_cache@GOTTPOFF]",
                "mov {0}, qword ptr fs:[{0}]",
                out(reg) v,
                options(nostack, preserves_flags, readonly)
            );
        }
        v
    }

    #[inline]
    pub(crate) fn set(v: usize) {
        // SAFETY: stores 8 bytes in this thread's static TLS block, which only this file touches.
        unsafe {
            asm!(
                "mov {1}, qword ptr [rip + galloc_0_1_cache@GOTTPOFF]",
                "mov qword ptr fs:[{1}], {0}",
                in(reg) v,
                out(reg) _,
                options(nostack, preserves_flags)
            );
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod imp {
    use core::cell::Cell;

    std::thread_local! {
        static CACHE: Cell<usize> = const { Cell::new(0) };
    }

    /// Out of line, so that no address outlives a call during which the thread could change.
    #[inline(never)]
    pub(crate) fn get() -> usize {
        CACHE.with(Cell::get)
    }

    #[inline(never)]
    pub(crate) fn set(v: usize) {
        CACHE.with(|c| c.set(v));
    }
}

pub(crate) use imp::{get, set};
