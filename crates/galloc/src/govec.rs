//! A growable array that grows as Go's slices do (`append`), R126 to R132.

use crate::growslice::{GrowError, grow_capacity};
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};

/// A growable array with the capacities of Go 1.12: [`grow_capacity`]. It takes its memory from the
/// global allocator.
///
/// Passing the capacity always moves the elements to new memory (R132): no old address is used
/// again by the same array.
///
/// ```
/// let mut v = galloc::GoVec::new();
/// for i in 0..1025u64 {
///     v.append(&[i]);
/// }
/// assert_eq!((v.len(), v.capacity()), (1025, 1280));
/// assert_eq!(v[1024], 1024);
/// for x in &mut v {
///     *x += 1;
/// }
/// let sum: u64 = (&v).into_iter().sum();
/// assert_eq!(sum, 1025 * 1026 / 2);
/// ```
pub struct GoVec<T> {
    ptr: NonNull<T>,
    len: usize,
    cap: usize,
    owns: PhantomData<T>,
}

// SAFETY: a GoVec owns its elements as a Vec does.
unsafe impl<T: Send> Send for GoVec<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for GoVec<T> {}

impl<T> GoVec<T> {
    /// An empty array. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ptr: NonNull::dangling(),
            len: 0,
            cap: 0,
            owns: PhantomData,
        }
    }

    /// Elements there is room for. For elements of no size it is the largest length so far
    /// (R131).
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.cap
    }

    /// Makes room for `more` elements.
    ///
    /// # Errors
    /// [`GrowError`] if the capacity would not fit the address space; the array stays as it is.
    ///
    /// # Panics
    /// Without memory, as `Vec` (through `handle_alloc_error`).
    pub fn try_grow(&mut self, more: usize) -> Result<(), GrowError> {
        let needed = self.len.checked_add(more).ok_or(GrowError::CapOutOfRange)?;
        if needed <= self.cap {
            return Ok(());
        }
        let cap = grow_capacity(self.len, self.cap, needed, size_of::<T>())?;
        if size_of::<T>() > 0 {
            let layout = Layout::array::<T>(cap).map_err(|_| GrowError::CapOutOfRange)?;
            // SAFETY: the layout has a size, since the elements have one and `cap >= needed > 0`;
            // the old `len` elements move to the new memory, and the old is freed once.
            unsafe {
                let Some(new) = NonNull::new(alloc(layout).cast::<T>()) else {
                    handle_alloc_error(layout)
                };
                new.copy_from_nonoverlapping(self.ptr, self.len);
                self.free();
                self.ptr = new;
            }
        }
        self.cap = cap;
        Ok(())
    }

    /// Appends one element. Amortised O(1).
    ///
    /// # Panics
    /// "growslice: cap out of range" if the capacity would not fit the address space.
    pub fn push(&mut self, value: T) {
        self.grow(1);
        // SAFETY: there is room for one more.
        unsafe { self.ptr.add(self.len).write(value) };
        self.len += 1;
    }

    /// Appends copies of elements, as Go's `append(v, values...)`: the capacity grows at most once.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn append(&mut self, values: &[T])
    where
        T: Clone,
    {
        self.grow(values.len());
        for value in values {
            self.push(value.clone());
        }
    }

    /// Takes the last element.
    pub fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the element is initialised, and now outside of the array.
        Some(unsafe { self.ptr.add(self.len).read() })
    }

    fn grow(&mut self, more: usize) {
        if let Err(e) = self.try_grow(more) {
            panic!("{e}");
        }
    }

    /// Frees the memory, not the elements.
    fn free(&mut self) {
        if self.cap > 0 && size_of::<T>() > 0 {
            // SAFETY: the memory came from `alloc` with this layout, whose size did not overflow
            // then either.
            unsafe {
                let layout =
                    Layout::from_size_align_unchecked(self.cap * size_of::<T>(), align_of::<T>());
                dealloc(self.ptr.as_ptr().cast(), layout);
            }
        }
    }
}

impl<T> Drop for GoVec<T> {
    fn drop(&mut self) {
        struct Memory<'a, T>(&'a mut GoVec<T>);
        impl<T> Drop for Memory<'_, T> {
            fn drop(&mut self) {
                self.0.free();
            }
        }
        let len = core::mem::take(&mut self.len);
        // The memory goes even if an element's drop panics.
        let memory = Memory(self);
        // SAFETY: the first `len` elements are initialised, and the array has forgotten them.
        unsafe {
            core::ptr::slice_from_raw_parts_mut(memory.0.ptr.as_ptr(), len).drop_in_place();
        }
    }
}

impl<T> Deref for GoVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` elements are initialised.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for GoVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as `deref`, and borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> Default for GoVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for GoVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

impl<'a, T> IntoIterator for &'a GoVec<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, T> IntoIterator for &'a mut GoVec<T> {
    type Item = &'a mut T;
    type IntoIter = core::slice::IterMut<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T> Extend<T> for GoVec<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.push(value);
        }
    }
}

impl<T> FromIterator<T> for GoVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut v = Self::new();
        v.extend(values);
        v
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn r127_append_of_three_to_two_gives_six() {
        let mut v: GoVec<u64> = GoVec::new();
        v.append(&[1]);
        v.append(&[2]);
        assert_eq!(v.capacity(), 2);
        v.append(&[3, 4, 5]);
        assert_eq!((&v[..], v.capacity()), (&[1, 2, 3, 4, 5][..], 6));
    }

    #[test]
    fn r132_passing_the_capacity_moves() {
        let mut v: GoVec<u64> = (0..4).collect();
        let before = v.as_ptr();
        v.pop();
        v.push(9);
        assert_eq!(v.as_ptr(), before, "within the capacity");
        v.push(10);
        assert_ne!(v.as_ptr(), before, "past it");
        assert_eq!(v[..], [0, 1, 2, 9, 10]);
    }

    #[test]
    fn r131_elements_of_no_size_take_no_memory() {
        let mut v = GoVec::new();
        v.append(&[(); 100]);
        assert_eq!((v.len(), v.capacity()), (100, 100));
        assert_eq!(v.pop(), Some(()));
        assert_eq!((v.len(), v.capacity()), (99, 100));
    }

    #[test]
    fn elements_are_dropped_once() {
        let one = Rc::new(());
        let mut v: GoVec<_> = (0..50).map(|_| one.clone()).collect();
        drop(v.pop());
        assert_eq!(Rc::strong_count(&one), 50);
        drop(v);
        assert_eq!(Rc::strong_count(&one), 1);
    }

    #[test]
    fn r129_what_cannot_be_is_an_error() {
        let mut v: GoVec<u64> = GoVec::new();
        assert!(v.try_grow(usize::MAX).is_err());
        v.push(1);
        assert_eq!(v[..], [1]);
    }
}
