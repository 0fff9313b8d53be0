//! A call that leaves no trace in the processor's stack of return addresses.
//!
//! A processor foretells where a `ret` goes from the calls that it has seen. After a switch of goroutines those are the
//! calls of the one that was left: the returns of the one that goes on are foretold well as long as both came the same
//! way, and wrongly at the first where they differ, some 30 cycles; that is the return from this crate to the program. A
//! jump is foretold from the way that the program came, which a switch does not make wrong. So the program jumps to the
//! code that waits, and that jumps back. Two goroutines that hand a value to and fro, each by code of its own, took 70 ns
//! a round trip by a call, and take 55 so, which is what it takes if both run the same code.
//!
//! The address that a `call` would have pushed is pushed here. Behind it comes a call from the `veneer`, the same one for
//! all. An `asm` block may not unwind: a panic is caught before it, and goes on behind it.

/// Code that is called so.
pub(crate) trait Code {
    /// # Safety
    /// As the implementor says.
    unsafe fn run(a: *const (), b: *mut ()) -> u32;
}

/// Calls the code. A panic in it goes on here.
///
/// # Safety
/// As for the code.
#[inline(always)]
pub(crate) unsafe fn call<C: Code>(a: *const (), b: *mut ()) -> u32 {
    // SAFETY: passed on.
    unsafe { arch::call::<C>(a, b) }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(any(miri, loom))))]
mod arch {
    use super::Code;
    use core::arch::{asm, naked_asm};
    use std::any::Any;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::ptr;

    type Payload = Box<dyn Any + Send>;

    /// What comes back, in two registers: an answer, or, if not null, a panic.
    #[repr(C)]
    struct Ended {
        panic: *mut Payload,
        answer: usize,
    }

    #[inline(always)]
    pub(super) unsafe fn call<C: Code>(a: *const (), b: *mut ()) -> u32 {
        let (panic, answer): (*mut Payload, usize);
        // SAFETY: `veneer` calls `catching` as the platform's convention has it, which does not unwind, and comes back
        // with the stack as it was: it pops what is pushed. The block is not `nostack`, so nothing is kept below the
        // stack pointer. All that a call may change is declared.
        unsafe {
            asm!(
                "lea rcx, [rip + 2f]",
                "push rcx",
                "jmp {veneer}",
                "2:",
                veneer = sym veneer,
                inlateout("rax") catching::<C> as *const () => panic,
                lateout("rdx") answer,
                in("rdi") a,
                in("rsi") b,
                clobber_abi("sysv64"),
            );
        }
        if panic.is_null() {
            answer as u32
        } else {
            resume(panic)
        }
    }

    /// Jumped to, with the address to come back to on the stack: calls `rax`, and jumps there.
    #[unsafe(naked)]
    unsafe extern "sysv64" fn veneer() {
        naked_asm!(
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "and rsp, -16", // in a caller that calls nothing else it may be off
            "call rax",
            "mov rsp, rbp",
            "pop rbp",
            ".cfi_def_cfa rsp, 8",
            "pop rcx",
            ".cfi_def_cfa_offset 0",
            "jmp rcx",
            ".cfi_endproc",
        )
    }

    /// # Safety
    /// As for the code.
    unsafe extern "sysv64" fn catching<C: Code>(a: *const (), b: *mut ()) -> Ended {
        // SAFETY: passed on. It unwinds to the caller of `call` as it would without a veneer.
        match catch_unwind(AssertUnwindSafe(|| unsafe { C::run(a, b) })) {
            Ok(answer) => Ended {
                panic: ptr::null_mut(),
                answer: answer as usize,
            },
            Err(payload) => Ended {
                panic: Box::into_raw(Box::new(payload)),
                answer: 0,
            },
        }
    }

    #[cold]
    fn resume(panic: *mut Payload) -> ! {
        // SAFETY: from `catching`, and used once.
        resume_unwind(*unsafe { Box::from_raw(panic) })
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(any(miri, loom)))))]
mod arch {
    use super::Code;

    #[inline(always)]
    pub(super) unsafe fn call<C: Code>(a: *const (), b: *mut ()) -> u32 {
        // SAFETY: passed on.
        unsafe { C::run(a, b) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Code, call};
    use std::backtrace::Backtrace;
    use std::cell::Cell;
    use std::hint::black_box;
    use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
    use std::ptr;

    struct Count;

    impl Code for Count {
        /// # Safety
        /// `a` and `b` are `u32`s.
        unsafe fn run(a: *const (), b: *mut ()) -> u32 {
            // SAFETY: the caller's promise.
            unsafe {
                let (a, b) = (*a.cast::<u32>(), &mut *b.cast::<u32>());
                *b += 1;
                // Wants the stack aligned, or it traps.
                let sum: [f32; 8] = std::array::from_fn(|i| i as f32 * a as f32);
                sum.iter().sum::<f32>() as u32
            }
        }
    }

    #[test]
    fn arguments_go_there_and_the_answer_comes_back() {
        let mut calls = 0u32;
        for a in 0..100u32 {
            // SAFETY: two `u32`s.
            let answer = unsafe { call::<Count>((&raw const a).cast(), (&raw mut calls).cast()) };
            assert_eq!(answer, 28 * a);
        }
        assert_eq!(calls, 100);
    }

    #[inline(never)]
    fn leaf(seed: u64) -> u64 {
        let (a, mut calls) = (1u32, 0u32);
        let mut kept: [u64; 8] = std::array::from_fn(|i| seed + i as u64);
        let kept = black_box(&mut kept);
        // SAFETY: two `u32`s.
        unsafe { call::<Count>((&raw const a).cast(), (&raw mut calls).cast()) };
        kept.iter().sum::<u64>() + u64::from(calls)
    }

    #[test]
    fn what_the_caller_keeps_on_its_stack_stays() {
        assert_eq!(leaf(5), 8 * 5 + 28 + 1);
    }

    struct Deep;

    impl Code for Deep {
        /// # Safety
        /// `a` is a `Cell<u32>`.
        unsafe fn run(a: *const (), b: *mut ()) -> u32 {
            // SAFETY: the caller's promise.
            let left = unsafe { &*a.cast::<Cell<u32>>() };
            if left.get() == 0 {
                panic_any("at the bottom");
            }
            left.set(left.get() - 1);
            let _dropped = AddOne(left);
            // SAFETY: passed on.
            unsafe { call::<Self>(a, b) }
        }
    }

    struct AddOne<'a>(&'a Cell<u32>);

    impl Drop for AddOne<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }

    #[test]
    fn a_panic_goes_through_and_drops_what_is_on_the_way() {
        let left = Cell::new(20);
        let a = ptr::from_ref(&left).cast();
        // SAFETY: a `Cell<u32>`.
        let ended = catch_unwind(AssertUnwindSafe(|| unsafe {
            call::<Deep>(a, ptr::null_mut())
        }));
        let payload = ended.unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"at the bottom"));
        assert_eq!(left.get(), 20);
        assert!(!std::thread::panicking());
    }

    struct Trace;

    impl Code for Trace {
        /// # Safety
        /// `b` is a `String`.
        #[inline(never)]
        unsafe fn run(_: *const (), b: *mut ()) -> u32 {
            // SAFETY: the caller's promise.
            unsafe { *b.cast::<String>() = Backtrace::force_capture().to_string() };
            0
        }
    }

    #[inline(never)]
    fn whoever_calls(trace: &mut String) {
        // SAFETY: a `String`.
        unsafe { call::<Trace>(ptr::null(), ptr::from_mut(trace).cast()) };
    }

    #[test]
    fn a_backtrace_leads_to_the_caller() {
        let mut trace = String::new();
        whoever_calls(&mut trace);
        assert!(trace.contains("whoever_calls"), "{trace}");
    }
}
