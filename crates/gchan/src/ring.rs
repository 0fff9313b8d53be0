//! The buffer of a bounded channel: Go's `buf`, `sendx` and `recvx` (`runtime/chan.go`, 1.27; R7).
//!
//! A ring of `cap` slots in one allocation, none if `cap` or the element is zero-sized. The channel's `qcount` says how
//! many slots from `recvx` on are full; it is kept by the channel, because `len()` reads it without the lock.
//! Everything here is touched under the channel's lock.

use std::mem::MaybeUninit;

#[derive(Debug)]
#[repr(C)]
pub(crate) struct Ring<T> {
    slots: Box<[MaybeUninit<T>]>,
    /// The slot that the next send fills.
    sendx: usize,
    /// The slot that the next receive empties.
    recvx: usize,
}

impl<T> Ring<T> {
    /// # Panics
    /// As Go's `makechan`, if the buffer would be larger than the address space allows (R11). How much that is the
    /// allocator knows, so it is asked; where it has no memory for less the panic is the same.
    pub(crate) fn new(cap: usize) -> Self {
        let mut slots = Vec::new();
        assert!(
            slots.try_reserve_exact(cap).is_ok(),
            "makechan: size out of range"
        );
        // SAFETY: there is room for `cap`, and slots need not be initialised.
        unsafe { slots.set_len(cap) };
        Self {
            slots: slots.into_boxed_slice(),
            sendx: 0,
            recvx: 0,
        }
    }

    #[inline]
    pub(crate) fn cap(&self) -> usize {
        self.slots.len()
    }

    /// # Safety
    /// `src` holds a value, which is moved out of it; fewer than `cap` slots are full.
    #[inline]
    pub(crate) unsafe fn push(&mut self, src: *const T) {
        // SAFETY: `sendx < cap` always; the slot is free, by contract.
        unsafe {
            let slot = self.slots.as_mut_ptr().add(self.sendx);
            std::ptr::copy_nonoverlapping(src, slot.cast(), 1);
        }
        self.sendx = self.after(self.sendx);
    }

    /// # Safety
    /// At least one slot is full; `dst` may be written, and gets the oldest value.
    #[inline]
    pub(crate) unsafe fn pop(&mut self, dst: *mut T) {
        // SAFETY: `recvx < cap` always; the slot is full, by contract.
        unsafe {
            let slot = self.slots.as_ptr().add(self.recvx);
            std::ptr::copy_nonoverlapping(slot.cast(), dst, 1);
        }
        self.recvx = self.after(self.recvx);
    }

    #[inline]
    fn after(&self, x: usize) -> usize {
        if x + 1 == self.slots.len() { 0 } else { x + 1 }
    }
}
