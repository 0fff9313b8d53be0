//! x86-64: which stack a thread runs on, switching stacks, entering a new stack.
//!
//! Takes the place of `gosave`, `gogo` and `mcall` in Go's `asm_amd64.s`. A suspended stack is one
//! word, its stack pointer; what that points at looks so:
//!
//! ```text
//!   higher addresses
//!   +---------------------+
//!   | frames of the owner |
//!   +---------------------+
//!   | saved rbp           |   pushed by `switch`, because inline asm may not
//!   | saved rbx           |   declare these two as clobbered
//!   | resume address      | <- saved rsp
//!   +---------------------+
//!   lower addresses
//! ```
//!
//! Every other register is declared clobbered, so the compiler spills just those that are live:
//! usually none. The stack is left by `jmp`, not `ret`: a `ret` whose address was not pushed by a
//! `call` is mispredicted on every switch. MXCSR and the x87 control word are not switched: Rust
//! code may not change them.

use core::arch::{asm, global_asm, naked_asm};

/// What this copy's thread-local is named after: a program may hold several copies of this crate, and the
/// compiler names each one's static differently. Used, lest link-time optimisation rename it alone.
#[used]
static COPY: u8 = 0;

// In the initial-exec model: the offset from the thread pointer is read from the GOT (in an executable the linker
// makes a constant of it), with no call even in a shared object.
global_asm!(
    ".pushsection .tbss.gmp_sched_running,\"awT\",@nobits",
    ".globl {copy}.running",
    ".hidden {copy}.running",
    ".type {copy}.running,@object",
    ".p2align 3",
    "{copy}.running:",
    ".zero 8",
    ".size {copy}.running, 8",
    ".popsection",
    copy = sym COPY,
);

/// The address that this thread keeps for [`set_running`]; 0 at first.
///
/// Never inlined into code of other crates, which cannot name the symbol when this one is in a shared library.
#[inline(always)]
pub(crate) fn running() -> usize {
    let head: usize;
    // SAFETY: reads 8 bytes of the calling thread's own TLS block, where the symbol lies. Not `pure`: after a
    // switch the same code may run on another thread, so no two reads may be merged, nor the address be kept.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + {copy}.running@GOTTPOFF]",
            "mov {0}, qword ptr fs:[{0}]",
            out(reg) head,
            copy = sym COPY,
            options(nostack, preserves_flags, readonly),
        );
    }
    head
}

/// Keeps the address of the head of the stack that this thread goes on on.
#[inline(always)]
pub(crate) fn set_running(head: usize) {
    // SAFETY: writes those same 8 bytes, which only these two functions know.
    unsafe {
        asm!(
            "mov {0}, qword ptr [rip + {copy}.running@GOTTPOFF]",
            "mov qword ptr fs:[{0}], {1}",
            out(reg) _,
            in(reg) head,
            copy = sym COPY,
            options(nostack, preserves_flags),
        );
    }
}

/// Cache lines from its saved stack pointer upwards that a parked goroutine touches first when it goes on.
pub(crate) const PARKED: usize = 7;

/// Asks for the cache lines from `addr` upwards. A hint: any address will do.
#[inline(always)]
pub(crate) fn prefetch<const LINES: usize>(addr: usize) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for i in 0..LINES {
        // SAFETY: a prefetch of any address, mapped or not, has no effect but on caches.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(core::ptr::without_provenance(addr.wrapping_add(i * 64)));
        }
    }
}

/// Saves the running stack's pointer in `*from`, goes on at `to`, and returns when somebody
/// switches back here, with the `arg` that they passed.
///
/// # Safety
/// `to` was saved by `switch` or made by [`prepare`], belongs to a mapped stack that nobody else
/// runs on, and has not been resumed since. `from` is writable and read by nobody until this
/// stack is off its thread; what has to happen after that is done by the arriving side.
#[inline(always)]
pub(crate) unsafe fn switch(from: *mut usize, to: usize, arg: usize) -> usize {
    let passed: usize;
    // SAFETY: by the contract above `to` points at a resume address. All registers are either
    // declared clobbered or saved on the stack that is left (rbx, rbp) and restored on return.
    // The block is not `nostack`, so the compiler keeps no red zone that the pushes could hit.
    unsafe {
        asm!(
            "push rbp",
            "push rbx",
            "lea rax, [rip + 2f]",
            "push rax",
            "mov [rdi], rsp",
            "mov rsp, rsi",
            "pop rax",
            "jmp rax",
            "2:",
            "pop rbx",
            "pop rbp",
            inout("rdi") from => _,
            inout("rsi") to => _,
            inout("rdx") arg => passed,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("sysv64"),
        );
    }
    passed
}

/// Lays out a stack that has never run, so that switching to the returned pointer calls
/// `entry(arg)`. `top` is 16-byte aligned; the words below it are overwritten.
///
/// # Safety
/// The 32 bytes below `top` are writable and unused. `entry` never returns.
pub(crate) unsafe fn prepare(top: *mut u8, entry: extern "C" fn(usize) -> !) -> usize {
    debug_assert_eq!(top as usize % 16, 0);
    // SAFETY: both words lie in the 32 bytes that the caller gives.
    unsafe {
        let words = top.cast::<usize>();
        words.sub(2).write(entry as usize);
        words.sub(3).write(trampoline as *const () as usize);
        words.sub(3) as usize
    }
}

/// First code on a new stack: the function to call lies on the stack, its argument is in rdx.
///
/// `.cfi_undefined rip` tells unwinders that there is no caller, so that a goroutine's backtrace
/// ends here instead of in whatever the memory above happens to hold.
#[unsafe(naked)]
unsafe extern "C" fn trampoline() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "xor ebp, ebp",
        "pop rax", // entry; now rsp = top - 8
        "sub rsp, 8",
        "mov rdi, rdx",
        "call rax",
        "ud2",
        ".cfi_endproc",
    )
}

#[cfg(test)]
mod tests {
    use super::{prepare, switch};
    use std::cell::UnsafeCell;

    struct Pair {
        outside: UnsafeCell<usize>,
        inside: UnsafeCell<usize>,
    }

    extern "C" fn adder(first: usize) -> ! {
        let pair = first as *const Pair;
        let mut sum = 0;
        loop {
            // SAFETY: the test below keeps the pair alive and alternates strictly.
            let arg = unsafe { switch((*pair).inside.get(), *(*pair).outside.get(), sum) };
            assert_eq!((&raw const sum) as usize % 8, 0);
            sum += arg;
        }
    }

    #[test]
    fn switch_there_and_back_passes_arguments_and_keeps_frames() {
        let mut stack = vec![0u128; 4096];
        let pair = Pair { outside: UnsafeCell::new(0), inside: UnsafeCell::new(0) };
        // SAFETY: the stack is 64 KiB, 16-byte aligned, used only by `adder`, and outlives it.
        unsafe {
            let top = stack.as_mut_ptr_range().end.cast::<u8>();
            *pair.inside.get() = prepare(top, adder);
            let mut got = switch(pair.outside.get(), *pair.inside.get(), &raw const pair as usize);
            assert_eq!(got, 0);
            for i in 1..=100 {
                got = switch(pair.outside.get(), *pair.inside.get(), i);
            }
            assert_eq!(got, 5050);
        }
    }
}
