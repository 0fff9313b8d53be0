//! Whose memory it is. What one image allocates and the other frees must come from one allocator.
//!
//! An image does not know its global allocator: no language feature names it. So a plugin that has one
//! says so in [`plugin!`](crate::plugin), and a host in [`Host::allocator`](crate::Host::allocator); whoever
//! says nothing uses the system's, which is one for the whole process. Two copies of any other
//! allocator are two allocators, even of one type, so they are compared by address, and a plugin that is
//! to live with any host uses [`HostAlloc`].

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::hint::spin_loop;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// The identity of an image's global allocator.
#[derive(Clone, Copy)]
pub struct Allocator {
    type_name: fn() -> &'static str,
    /// The address of the static; null for the system's.
    instance: *const (),
    /// The same, where the static forwards to the host's.
    forward: Option<&'static HostAlloc>,
}

// SAFETY: the address is compared, never followed.
unsafe impl Send for Allocator {}
// SAFETY: as above.
unsafe impl Sync for Allocator {}

impl Allocator {
    /// The system's allocator, which is what a program has that declares none.
    pub const SYSTEM: Self = Self {
        type_name: std::any::type_name::<System>,
        instance: ptr::null(),
        forward: None,
    };

    /// The allocator that stands in a static under `#[global_allocator]`.
    #[must_use]
    pub const fn of<A: GlobalAlloc>(allocator: &'static A) -> Self {
        Self {
            type_name: std::any::type_name::<A>,
            instance: (&raw const *allocator).cast(),
            forward: None,
        }
    }

    /// A plugin's allocator that forwards to its host's.
    #[must_use]
    pub const fn host(allocator: &'static HostAlloc) -> Self {
        Self {
            forward: Some(allocator),
            ..Self::of(allocator)
        }
    }

    pub(crate) fn forward(&self) -> Option<&'static HostAlloc> {
        self.forward
    }
}

impl PartialEq for Allocator {
    fn eq(&self, other: &Self) -> bool {
        self.instance == other.instance
    }
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str((self.type_name)())?;
        if !self.instance.is_null() {
            write!(f, " at {:p}", self.instance)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Allocator({self})")
    }
}

/// The global allocator for plugins: it forwards to the host's, whatever that is.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: gplugin::HostAlloc = gplugin::HostAlloc::new();
///
/// gplugin::plugin! {
///     allocator: host ALLOCATOR,
///     symbols: {}
/// }
/// # fn main() {}
/// ```
///
/// Until the plugin is opened (constructors may run before) memory comes from the system; if any of it
/// is still in use when the plugin is opened, opening fails, because it would be freed by another.
#[derive(Debug)]
pub struct HostAlloc {
    /// Null, then the host's functions. Written once, by `connect`.
    functions: AtomicPtr<Functions>,
    /// Blocks from the system that are in use, or about to be; [`CLOSED`] and above once there will be no more.
    early: AtomicUsize,
}

const CLOSED: usize = usize::MAX / 2 + 1;

/// The host's allocator, as functions of the host's image.
#[derive(Debug)]
pub(crate) struct Functions {
    alloc: unsafe fn(Layout) -> *mut u8,
    alloc_zeroed: unsafe fn(Layout) -> *mut u8,
    dealloc: unsafe fn(*mut u8, Layout),
    realloc: unsafe fn(*mut u8, Layout, usize) -> *mut u8,
}

impl Functions {
    /// This image's.
    pub(crate) const HERE: &'static Self = &Self {
        alloc: std::alloc::alloc,
        alloc_zeroed: std::alloc::alloc_zeroed,
        dealloc: std::alloc::dealloc,
        realloc: std::alloc::realloc,
    };
}

impl HostAlloc {
    /// An allocator that is not connected to a host yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            functions: AtomicPtr::new(ptr::null_mut()),
            early: AtomicUsize::new(0),
        }
    }

    /// Forwards from now on. Exact also while other threads of the plugin allocate: a block is counted before
    /// it is taken from the system, and none is counted that comes after the count was closed at nought.
    ///
    /// # Errors
    /// The number of blocks in use that did not come from the host.
    pub(crate) fn connect(&self, functions: &'static Functions) -> Result<(), usize> {
        self.early
            .compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire)?;
        self.functions
            .store(ptr::from_ref(functions).cast_mut(), Ordering::Release);
        Ok(())
    }

    fn functions(&self) -> Option<&'static Functions> {
        // SAFETY: null, or from the `&'static` that `connect` stored with release.
        unsafe { self.functions.load(Ordering::Acquire).as_ref() }
    }

    /// The functions, or else leave to take one block from the system, which is counted already.
    fn enter(&self) -> Option<&'static Functions> {
        if let Some(functions) = self.functions() {
            return Some(functions);
        }
        if self.early.fetch_add(1, Ordering::AcqRel) < CLOSED {
            return None;
        }
        // `connect` is between its two steps.
        loop {
            match self.functions() {
                None => spin_loop(),
                found => return found,
            }
        }
    }

    /// A block from the system, or no block, which does not count.
    fn early(&self, at: *mut u8) -> *mut u8 {
        if at.is_null() {
            self.early.fetch_sub(1, Ordering::AcqRel);
        }
        at
    }
}

// SAFETY: each method forwards to one allocator with the caller's arguments. Which one it is changes
// once, when no block of the first is in use (nor will be: `connect`), so a block goes back where it came from.
unsafe impl GlobalAlloc for HostAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract, passed on.
        unsafe {
            match self.enter() {
                Some(f) => (f.alloc)(layout),
                None => self.early(System.alloc(layout)),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract, passed on.
        unsafe {
            match self.enter() {
                Some(f) => (f.alloc_zeroed)(layout),
                None => self.early(System.alloc_zeroed(layout)),
            }
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract, passed on.
        unsafe {
            match self.functions() {
                Some(f) => (f.dealloc)(at, layout),
                None => {
                    System.dealloc(at, layout);
                    self.early.fetch_sub(1, Ordering::AcqRel);
                }
            }
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract, passed on.
        unsafe {
            match self.functions() {
                Some(f) => (f.realloc)(at, layout, size),
                None => System.realloc(at, layout, size),
            }
        }
    }
}

impl Default for HostAlloc {
    fn default() -> Self {
        Self::new()
    }
}
