//! Go's `fixalloc` (mfixalloc.go): objects of one size from a free list over 16 KiB chunks (R124).
//!
//! The memory is type-stable: chunks are never returned, so a freed object may be looked at through
//! a stale pointer (galloc's spans rely on it). Not synchronised: the caller holds a lock.

use crate::persistent_alloc::persistent_alloc;
use core::marker::PhantomData;
use core::mem::{align_of, size_of};
use core::ptr::{self, NonNull};

const CHUNK: usize = 16 << 10;

/// A free-list allocator for objects of type `T`.
///
/// Memory is raw: [`alloc`](Self::alloc) returns it zeroed, unless the allocator was made with
/// [`keep_contents`](Self::keep_contents), and runs no destructor.
///
/// ```
/// let mut f = galloc::FixAlloc::<[u64; 4]>::new();
/// let a = f.alloc().unwrap();
/// unsafe { f.free(a) };
/// assert_eq!(f.alloc(), Some(a), "last in, first out");
/// assert_eq!(f.in_use(), 32);
/// ```
#[derive(Debug)]
pub struct FixAlloc<T> {
    /// Called once per object, the first time it is handed out.
    first: Option<fn(NonNull<T>)>,
    list: *mut Link,
    chunk: usize,
    left: usize,
    in_use: usize,
    sys: usize,
    zero: bool,
    _of: PhantomData<fn() -> T>,
}

/// What a free object holds.
struct Link {
    next: *mut Link,
}

// SAFETY: the memory belongs to the allocator alone, and nothing in it is bound to a thread.
unsafe impl<T> Send for FixAlloc<T> {}

impl<T> FixAlloc<T> {
    const SIZE: usize = {
        let size = size_of::<T>();
        assert!(size <= CHUNK && align_of::<T>() <= 4096, "T does not fit in a chunk");
        let align = if align_of::<T>() > 8 { align_of::<T>() } else { 8 };
        let size = if size < size_of::<Link>() { size_of::<Link>() } else { size };
        size.next_multiple_of(align)
    };

    /// An empty allocator that zeroes what it hands out.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            first: None,
            list: ptr::null_mut(),
            chunk: 0,
            left: 0,
            in_use: 0,
            sys: 0,
            zero: true,
            _of: PhantomData,
        }
    }

    /// Calls `first` on every object the first time it is handed out.
    #[must_use]
    pub const fn with_first(mut self, first: fn(NonNull<T>)) -> Self {
        self.first = Some(first);
        self
    }

    /// Does not zero reused objects: they keep what they held, their first word excepted.
    #[must_use]
    pub const fn keep_contents(mut self) -> Self {
        self.zero = false;
        self
    }

    /// An object's memory; `None` when the system is out of it. O(1), a system call per 16 KiB at most.
    #[must_use]
    pub fn alloc(&mut self) -> Option<NonNull<T>> {
        if let Some(link) = NonNull::new(self.list) {
            // SAFETY: list members are free objects, whose first word is their link.
            self.list = unsafe { link.as_ref() }.next;
            if self.zero {
                // SAFETY: the object is SIZE bytes, free, and ours.
                unsafe { ptr::write_bytes(link.as_ptr().cast::<u8>(), 0, Self::SIZE) };
            }
            self.in_use += Self::SIZE;
            return Some(link.cast());
        }
        if self.left < Self::SIZE {
            let align = align_of::<T>().max(64);
            self.chunk = persistent_alloc(CHUNK, align)? as usize;
            self.left = CHUNK;
            self.sys += CHUNK;
        }
        let object = NonNull::new(self.chunk as *mut T)?;
        self.chunk += Self::SIZE;
        self.left -= Self::SIZE;
        self.in_use += Self::SIZE;
        if let Some(first) = self.first {
            first(object);
        }
        Some(object)
    }

    /// Takes an object back. O(1).
    ///
    /// # Safety
    /// It came from this allocator's [`alloc`](Self::alloc) and was not freed since.
    pub unsafe fn free(&mut self, object: NonNull<T>) {
        self.in_use -= Self::SIZE;
        let link = object.cast::<Link>().as_ptr();
        // SAFETY: by contract the object is ours again, and it is at least a link long.
        unsafe { link.write(Link { next: self.list }) };
        self.list = link;
    }

    /// Bytes handed out and not freed.
    #[must_use]
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Bytes taken from the system.
    #[must_use]
    pub const fn sys(&self) -> usize {
        self.sys
    }
}

impl<T> Default for FixAlloc<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn r124_reuse_is_last_in_first_out_and_zeroed() {
        let mut f = FixAlloc::<[u64; 3]>::new();
        let a = f.alloc().unwrap();
        let b = f.alloc().unwrap();
        // SAFETY: both are ours.
        unsafe {
            a.as_ptr().write([7; 3]);
            f.free(b);
            f.free(a);
        }
        assert_eq!(f.in_use(), 0);
        assert_eq!(f.alloc(), Some(a));
        // SAFETY: a is ours and zeroed.
        assert_eq!(unsafe { a.as_ptr().read() }, [0; 3]);
        assert_eq!(f.alloc(), Some(b));
        assert_eq!((f.in_use(), f.sys()), (48, CHUNK));
    }

    #[test]
    fn r124_the_first_hook_runs_once_per_object() {
        static FIRSTS: AtomicUsize = AtomicUsize::new(0);
        let mut f = FixAlloc::<u64>::new().with_first(|_| {
            FIRSTS.fetch_add(1, Ordering::Relaxed);
        });
        for _ in 0..10 {
            let a = f.alloc().unwrap();
            let b = f.alloc().unwrap();
            // SAFETY: just allocated.
            unsafe {
                f.free(a);
                f.free(b);
            }
        }
        assert_eq!(FIRSTS.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn r124_kept_contents_survive_past_the_link() {
        let mut f = FixAlloc::<[u64; 2]>::new().keep_contents();
        let a = f.alloc().unwrap();
        // SAFETY: ours until freed.
        unsafe {
            a.as_ptr().write([1, 2]);
            f.free(a);
        }
        let again = f.alloc().unwrap();
        assert_eq!(again, a);
        // SAFETY: initialised above; only the first word was overwritten.
        assert_eq!(unsafe { again.as_ptr().read() }[1], 2);
    }

    #[test]
    fn chunks_follow_one_another_without_overlap() {
        let mut f = FixAlloc::<[u8; 96]>::new();
        let mut all: Vec<usize> = (0..1000).map(|_| f.alloc().unwrap().as_ptr() as usize).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|w| w[1] - w[0] >= 96));
        assert_eq!(f.sys(), 1000usize.div_ceil(CHUNK / 96) * CHUNK);
    }
}
