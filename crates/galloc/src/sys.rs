//! What galloc asks of the operating system: address space, pages back, a lock, a clock.
//!
//! Everything here works while the heap is in any state, so nothing here allocates: the lock is a
//! futex word (std's and parking_lot's may allocate per-thread data, and cannot be held across
//! `fork`), the environment is read in place, and a fatal report is one `write`.

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

/// Reserves `size` bytes, read-write, zero, not yet backed by memory. `None` when out of memory.
pub(crate) fn map(hint: usize, size: usize) -> Option<usize> {
    // SAFETY: an anonymous private mapping at a hint replaces nothing.
    let p = unsafe {
        libc::mmap(
            hint as *mut _,
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    (p != libc::MAP_FAILED).then_some(p as usize)
}

/// Reserves `size` bytes at a multiple of `align` (a power of two, at least a page), near `hint`
/// when that is free.
pub(crate) fn map_aligned(hint: usize, size: usize, align: usize) -> Option<usize> {
    let at = map(hint, size)?;
    if at & (align - 1) == 0 {
        return Some(at);
    }
    // SAFETY: just mapped, given to nobody.
    unsafe { unmap(at, size) };
    let whole = size.checked_add(align)?;
    let at = map(0, whole)?;
    let base = (at + align - 1) & !(align - 1);
    // SAFETY: the slack on both sides was just mapped and is given to nobody.
    unsafe {
        unmap(at, base - at);
        unmap(base + size, at + whole - (base + size));
    }
    Some(base)
}

/// Gives an address range back to the system.
///
/// # Safety
/// The range is page aligned, was obtained by [`map`], and nothing refers to it any more.
pub(crate) unsafe fn unmap(at: usize, size: usize) {
    if size > 0 {
        // SAFETY: the caller's contract.
        unsafe { libc::munmap(at as *mut _, size) };
    }
}

/// Gives the memory of a range back but keeps its addresses; it reads as zero afterwards.
/// Returns whether the system did so.
///
/// # Safety
/// The range is page aligned, was obtained by [`map`], and its contents are no longer needed.
pub(crate) unsafe fn decommit(at: usize, size: usize) -> bool {
    // SAFETY: the caller's contract.
    unsafe { libc::madvise(at as *mut _, size, libc::MADV_DONTNEED) == 0 }
}

/// Asks for huge pages under a range. A refusal changes nothing but speed.
pub(crate) fn advise_huge(at: usize, size: usize) {
    // SAFETY: advice on a mapping of ours changes no contents.
    unsafe { libc::madvise(at as *mut _, size, libc::MADV_HUGEPAGE) };
}

/// Moves the memory of `at..at + size` to `to..to + size`, where it replaces what was there; the old
/// range stays mapped and reads as zero. False, and nothing changed, where the kernel is older than 5.7.
///
/// # Safety
/// Both ranges were obtained by [`map`] whole; nothing refers to the contents of the new one before,
/// nor expects those of the old one after.
pub(crate) unsafe fn move_pages(at: usize, size: usize, to: usize) -> bool {
    // SAFETY: the caller's contract.
    let p = unsafe {
        libc::mremap(
            at as *mut _,
            size,
            size,
            libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP,
            to as *mut libc::c_void,
        )
    };
    p != libc::MAP_FAILED
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn nanotime() -> u64 {
    let mut t = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: t is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// The value of an environment variable (name with its NUL), read in place.
pub(crate) fn getenv(name: &core::ffi::CStr) -> Option<&'static [u8]> {
    // SAFETY: getenv reads the environment; like every getenv it must not race with setenv, which
    // Rust declares unsafe for that reason. The bytes are used at once and not kept.
    let p = unsafe { libc::getenv(name.as_ptr()) };
    if p.is_null() {
        return None;
    }
    // SAFETY: getenv returns a NUL-terminated string.
    Some(unsafe { core::ffi::CStr::from_ptr(p) }.to_bytes())
}

/// Writes the parts to standard error and aborts.
#[cold]
pub(crate) fn fatal(what: &str, address: usize) -> ! {
    let mut line = [0u8; 160];
    let mut n = 0;
    let mut put = |bytes: &[u8]| {
        for &b in bytes {
            if n < line.len() {
                line[n] = b;
                n += 1;
            }
        }
    };
    put(b"galloc: ");
    put(what.as_bytes());
    put(b" at 0x");
    for shift in (0..16).rev() {
        put(&[b"0123456789abcdef"[address >> (4 * shift) & 15]]);
    }
    put(b"\n");
    // SAFETY: writes n initialised bytes, then ends the process.
    unsafe {
        libc::write(2, line.as_ptr().cast(), n);
        libc::abort()
    }
}

/// Sleeps until `word` is no longer `expect`, a wake, a signal, or the timeout.
pub(crate) fn futex_wait(word: &AtomicU32, expect: u32, timeout_ns: Option<u64>) {
    let t = timeout_ns.map(|ns| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as _,
        tv_nsec: (ns % 1_000_000_000) as _,
    });
    let t = t.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word and the timespec outlive the call.
    unsafe {
        let errno = *libc::__errno_location();
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expect,
            t,
        );
        *libc::__errno_location() = errno;
    }
}

/// Wakes one thread that waits on `word`.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: a wake reads nothing through the address.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        )
    };
}

/// A mutex over a futex word: 0 free, 1 held, 2 held and somebody may sleep.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only by the holder of the lock, one thread at a time.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            word: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_, T> {
        self.acquire();
        Guard(self)
    }

    pub(crate) fn acquire(&self) {
        if self
            .word
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.acquire_slow();
        }
    }

    #[cold]
    fn acquire_slow(&self) {
        for _ in 0..100 {
            if self.word.load(Ordering::Relaxed) == 0
                && self
                    .word
                    .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return;
            }
            core::hint::spin_loop();
        }
        while self.word.swap(2, Ordering::Acquire) != 0 {
            futex_wait(&self.word, 2, None);
        }
    }

    /// Releases the lock.
    ///
    /// # Safety
    /// The calling thread holds it (or, after `fork`, the thread it is a copy of did).
    pub(crate) unsafe fn release(&self) {
        if self.word.swap(0, Ordering::Release) == 2 {
            futex_wake(&self.word);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Guard<'a, T>(&'a Lock<T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard holds the lock.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard holds the lock, and is borrowed exclusively.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this guard holds the lock.
        unsafe { self.0.release() };
    }
}
