//! The buffer of an unbounded channel: a linked list of blocks, given back as they empty.
//!
//! Blocks hold [`SLOTS`] values. Sends fill the last block, receives empty the first. An emptied block is kept as the
//! one spare if there is none, so that a channel that hovers around a few messages allocates nothing; every further one
//! is handed out to be freed. A drained channel holds one block. Blocks larger than a page are not kept at all: a drained
//! channel holds none.
//!
//! Nothing is allocated or freed here: both happen outside the channel's lock, because an allocator may be slow and is
//! user code. So a push that finds no room says so, and the caller comes back with a block.
//!
//! Everything here is touched under the channel's lock.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr;

/// Values per block.
#[cfg(not(loom))]
pub(crate) const SLOTS: usize = 32;
#[cfg(loom)]
pub(crate) const SLOTS: usize = 2;

#[derive(Debug)]
pub(crate) struct Block<T> {
    slots: [MaybeUninit<T>; SLOTS],
    next: *mut Block<T>,
}

impl<T> Block<T> {
    /// `None` if there is no memory for it.
    pub(crate) fn new() -> Option<Box<Self>> {
        // SAFETY: a block holds its link at least, so the layout has a size. The memory is of the allocator that boxes
        // use, in the block's own layout; slots start uninitialised, and `next` is the only other field.
        unsafe {
            let block = std::alloc::alloc(Self::LAYOUT).cast::<Self>();
            if block.is_null() {
                return None;
            }
            (&raw mut (*block).next).write(ptr::null_mut());
            Some(Box::from_raw(block))
        }
    }

    pub(crate) const LAYOUT: Layout = Layout::new::<Self>();

    /// Too large to be kept while it is empty.
    const LARGE: bool = size_of::<Self>() > 4096;
}

#[derive(Debug)]
pub(crate) struct List<T> {
    /// The block being emptied, null if there is no block at all.
    head: *mut Block<T>,
    /// The block being filled.
    tail: *mut Block<T>,
    /// The next slot of `head` to empty.
    head_at: usize,
    /// The next slot of `tail` to fill; `SLOTS` when it is full or there is none.
    tail_at: usize,
    spare: Option<Box<Block<T>>>,
}

impl<T> List<T> {
    pub(crate) fn new() -> Self {
        Self {
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
            head_at: 0,
            tail_at: SLOTS,
            spare: None,
        }
    }

    /// Whether the next push needs a block first.
    #[inline]
    pub(crate) fn needs_block(&self) -> bool {
        self.tail_at == SLOTS && self.spare.is_none()
    }

    /// Hands in a block for the next push; comes back if there is a spare already.
    pub(crate) fn give(&mut self, block: Box<Block<T>>) -> Option<Box<Block<T>>> {
        if self.spare.is_some() {
            return Some(block);
        }
        self.spare = Some(block);
        None
    }

    /// The block that was handed in, if it was not needed and is too large to be kept. To be freed outside the lock.
    pub(crate) fn take_surplus(&mut self) -> Option<Box<Block<T>>> {
        if Block::<T>::LARGE {
            self.spare.take()
        } else {
            None
        }
    }

    /// Keeps an emptied block as the spare, or lets it go.
    fn keep(&mut self, block: Box<Block<T>>) -> Option<Box<Block<T>>> {
        if Block::<T>::LARGE {
            Some(block)
        } else {
            self.give(block)
        }
    }

    /// # Safety
    /// `src` holds a value, which is moved out of it; [`needs_block`](Self::needs_block) is false.
    #[inline]
    pub(crate) unsafe fn push(&mut self, src: *const T) {
        if self.tail_at == SLOTS {
            self.grow();
        }
        // SAFETY: `tail` is a block of this list with a free slot at `tail_at`.
        unsafe {
            let slot = (&raw mut (*self.tail).slots).cast::<T>().add(self.tail_at);
            ptr::copy_nonoverlapping(src, slot, 1);
        }
        self.tail_at += 1;
    }

    fn grow(&mut self) {
        let Some(spare) = self.spare.take() else {
            unreachable!("a push without room: needs_block was not asked");
        };
        let block = Box::into_raw(spare);
        // SAFETY: `block` was just unboxed, `tail` is null or a block of this list.
        unsafe {
            (*block).next = ptr::null_mut();
            if self.tail.is_null() {
                self.head = block;
                self.head_at = 0;
            } else {
                (*self.tail).next = block;
            }
        }
        self.tail = block;
        self.tail_at = 0;
    }

    /// Moves the oldest value to `dst`. A block that is no longer wanted is returned, to be freed outside the lock.
    ///
    /// # Safety
    /// The list is not empty; `dst` may be written.
    #[inline]
    pub(crate) unsafe fn pop(&mut self, dst: *mut T) -> Option<Box<Block<T>>> {
        // SAFETY: the list holds a value, and the oldest is at `head_at` of `head`.
        unsafe {
            let slot = (&raw const (*self.head).slots)
                .cast::<T>()
                .add(self.head_at);
            ptr::copy_nonoverlapping(slot, dst, 1);
        }
        self.head_at += 1;
        if self.head == self.tail {
            if self.head_at == self.tail_at {
                return self.drained();
            }
        } else if self.head_at == SLOTS {
            return self.retire_head();
        }
        None
    }

    /// Whether a [`pop`](Self::pop) would let no block go.
    #[inline(always)]
    pub(crate) fn pops_plainly(&self) -> bool {
        let last = if self.head == self.tail {
            self.tail_at
        } else {
            SLOTS
        };
        self.head_at + 1 != last
    }

    /// As [`pop`](Self::pop), where that lets no block go.
    ///
    /// # Safety
    /// As [`pop`](Self::pop), and [`pops_plainly`](Self::pops_plainly) is true.
    #[inline(always)]
    pub(crate) unsafe fn pop_plain(&mut self, dst: *mut T) {
        // SAFETY: as in `pop`.
        unsafe {
            let slot = (&raw const (*self.head).slots)
                .cast::<T>()
                .add(self.head_at);
            ptr::copy_nonoverlapping(slot, dst, 1);
        }
        self.head_at += 1;
    }

    #[cold]
    fn retire_head(&mut self) -> Option<Box<Block<T>>> {
        // SAFETY: `head` is an emptied block of this list, and not the last, so `next` is one too.
        let block = unsafe { Box::from_raw(self.head) };
        self.head = block.next;
        self.head_at = 0;
        self.keep(block)
    }

    /// The only block is empty: use it from its start again, or let it go if it is large.
    #[inline]
    fn drained(&mut self) -> Option<Box<Block<T>>> {
        self.head_at = 0;
        self.tail_at = 0;
        if !Block::<T>::LARGE {
            return self.spare.take();
        }
        // SAFETY: as in `retire_head`, with nothing left behind it.
        let block = unsafe { Box::from_raw(self.head) };
        self.head = ptr::null_mut();
        self.tail = ptr::null_mut();
        self.tail_at = SLOTS;
        Some(block)
    }
}

/// Frees the blocks. The channel drops the values first.
impl<T> Drop for List<T> {
    fn drop(&mut self) {
        let mut block = self.head;
        while !block.is_null() {
            // SAFETY: each block of the list is freed once, after its successor was read.
            block = unsafe { Box::from_raw(block) }.next;
        }
    }
}
