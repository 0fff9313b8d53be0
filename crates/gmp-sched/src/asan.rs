//! Telling AddressSanitizer on which stack a thread goes on. Only under `--cfg gort_asan`, which
//! `cargo xtask asan` sets together with `-Zsanitizer=address`; otherwise nothing of this exists.
//!
//! AddressSanitizer keeps two things per thread that are a stack's: its bounds, by which it knows what to
//! unpoison before a call that does not return (a panic, above all), and the fake stack, on which it
//! lays out locals whose address is taken, so that a use after return is found. Both move with a
//! goroutine: whoever leaves a stack keeps its fake stack in a local there, and says where the thread
//! goes on; whoever arrives takes its own up again.

use core::ffi::c_void;
use core::ops::Range;
use core::ptr;

unsafe extern "C" {
    fn __sanitizer_start_switch_fiber(save: *mut *mut c_void, bottom: *const c_void, size: usize);
    fn __sanitizer_finish_switch_fiber(
        save: *mut c_void,
        left_bottom: *mut *const c_void,
        left_size: *mut usize,
    );
}

/// What a stack that was left needs when it is taken up again.
pub(crate) struct Left {
    fake_stack: *mut c_void,
}

impl Left {
    /// The next thing this thread does is to go on on the stack within `bounds`.
    #[inline(always)]
    pub(crate) fn for_stack(bounds: Range<usize>) -> Self {
        let mut fake_stack = ptr::null_mut();
        let bottom = ptr::without_provenance(bounds.start);
        // SAFETY: the bounds are those of a mapped stack; the switch follows.
        unsafe { __sanitizer_start_switch_fiber(&raw mut fake_stack, bottom, bounds.len()) };
        Self { fake_stack }
    }

    /// Somebody has switched back to this stack.
    #[inline(always)]
    pub(crate) fn arrive(self) {
        // SAFETY: saved when this very stack was left, and used once.
        unsafe {
            __sanitizer_finish_switch_fiber(self.fake_stack, ptr::null_mut(), ptr::null_mut());
        }
    }
}

/// First thing on a stack that has never run.
pub(crate) fn arrive_anew() {
    // SAFETY: null stands for a stack that has no fake stack yet.
    unsafe {
        __sanitizer_finish_switch_fiber(ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    }
}

/// The bounds of the calling thread's own stack, whichever it runs on.
pub(crate) fn own_stack() -> Range<usize> {
    let mut bottom = ptr::null_mut();
    let mut size = 0;
    // SAFETY: zero is a valid pattern for the attributes, which the first call fills in, the second
    // reads, and the third frees; all are live locals.
    unsafe {
        let mut attr: libc::pthread_attr_t = core::mem::zeroed();
        let rc = libc::pthread_getattr_np(libc::pthread_self(), &raw mut attr);
        assert_eq!(rc, 0, "a thread knows its stack");
        libc::pthread_attr_getstack(&raw const attr, &raw mut bottom, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attr);
    }
    bottom as usize..bottom as usize + size
}
