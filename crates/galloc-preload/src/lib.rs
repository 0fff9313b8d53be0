//! The C face of galloc, for `LD_PRELOAD`.
//!
//! ```sh
//! cargo build --release -p galloc-preload
//! LD_PRELOAD=target/release/libgalloc_preload.so python3 script.py
//! ```
//!
//! Every object is aligned to 16 bytes, as C's `max_align_t` wants. Rust code inside this library
//! allocates through the `malloc` it exports, and galloc allocates nothing.

use galloc::Galloc;
use libc::{EINVAL, ENOMEM, c_int, c_void, size_t};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr;

const ALIGN: usize = 16;

fn set_errno(e: c_int) {
    // SAFETY: this thread's errno.
    unsafe { *libc::__errno_location() = e };
}

fn allocate(align: usize, size: usize, zeroed: bool) -> *mut c_void {
    let p = match Layout::from_size_align(size.max(1), align.max(ALIGN)) {
        // SAFETY: the size is not 0.
        Ok(layout) if zeroed => unsafe { Galloc.alloc_zeroed(layout) },
        // SAFETY: as above.
        Ok(layout) => unsafe { Galloc.alloc(layout) },
        Err(_) => ptr::null_mut(),
    };
    if p.is_null() {
        set_errno(ENOMEM);
    }
    p.cast()
}

/// C's `malloc`.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: size_t) -> *mut c_void {
    allocate(ALIGN, size, false)
}

/// C's `calloc`.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(n: size_t, size: size_t) -> *mut c_void {
    match n.checked_mul(size) {
        Some(bytes) => allocate(ALIGN, bytes, true),
        None => {
            set_errno(ENOMEM);
            ptr::null_mut()
        }
    }
}

/// C's `free`.
///
/// # Safety
/// Null, or an object of this library that is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(p: *mut c_void) {
    if !p.is_null() {
        // SAFETY: as the caller promises.
        unsafe { Galloc.free(p.cast()) }
    }
}

/// The old name of `free`.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree(p: *mut c_void) {
    // SAFETY: as the caller promises.
    unsafe { free(p) }
}

/// C23's `free_sized`.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(p: *mut c_void, _: size_t) {
    // SAFETY: as the caller promises.
    unsafe { free(p) }
}

/// C23's `free_aligned_sized`.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(p: *mut c_void, _: size_t, _: size_t) {
    // SAFETY: as the caller promises.
    unsafe { free(p) }
}

/// C's `realloc`; a size of 0 frees, as glibc's does.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(p: *mut c_void, size: size_t) -> *mut c_void {
    if p.is_null() {
        return malloc(size);
    }
    // SAFETY: as the caller promises; the size is not 0 where it is used.
    unsafe {
        if size == 0 {
            free(p);
            return ptr::null_mut();
        }
        let new = Galloc.resize(p.cast(), ALIGN, size);
        if new.is_null() {
            set_errno(ENOMEM);
        }
        new.cast()
    }
}

/// `realloc` of an array.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(p: *mut c_void, n: size_t, size: size_t) -> *mut c_void {
    let Some(bytes) = n.checked_mul(size) else {
        set_errno(ENOMEM);
        return ptr::null_mut();
    };
    // SAFETY: as the caller promises.
    unsafe { realloc(p, bytes) }
}

/// The alignment is rounded up to a power of two, as glibc's is.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(align: size_t, size: size_t) -> *mut c_void {
    match align.checked_next_power_of_two() {
        Some(align) => allocate(align, size, false),
        None => {
            set_errno(EINVAL);
            ptr::null_mut()
        }
    }
}

/// C11's `aligned_alloc`.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(align: size_t, size: size_t) -> *mut c_void {
    if !align.is_power_of_two() {
        set_errno(EINVAL);
        return ptr::null_mut();
    }
    allocate(align, size, false)
}

/// POSIX's `posix_memalign`: the error is returned, errno left alone.
///
/// # Safety
/// `out` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(
    out: *mut *mut c_void,
    align: size_t,
    size: size_t,
) -> c_int {
    if !align.is_power_of_two() || !align.is_multiple_of(size_of::<*mut c_void>()) {
        return EINVAL;
    }
    // SAFETY: this thread's errno, and `out` as the caller promises.
    unsafe {
        let errno = *libc::__errno_location();
        let p = allocate(align, size, false);
        set_errno(errno);
        if p.is_null() {
            return ENOMEM;
        }
        *out = p;
    }
    0
}

/// Bytes of a page of the system's.
fn page() -> usize {
    // SAFETY: asks for a number that there is.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// An object aligned to the system's page.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: size_t) -> *mut c_void {
    allocate(page(), size, false)
}

/// Whole pages.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: size_t) -> *mut c_void {
    match size.max(1).checked_next_multiple_of(page()) {
        Some(size) => allocate(page(), size, false),
        None => {
            set_errno(ENOMEM);
            ptr::null_mut()
        }
    }
}

/// Bytes that may be used at `p`; 0 for null.
///
/// # Safety
/// As [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(p: *mut c_void) -> size_t {
    if p.is_null() {
        return 0;
    }
    // SAFETY: as the caller promises.
    unsafe { Galloc.usable_size(p.cast()) }
}

/// Gives free memory back; 1 if there was any.
#[unsafe(no_mangle)]
pub extern "C" fn malloc_trim(_: size_t) -> c_int {
    c_int::from(galloc::release() > 0)
}
