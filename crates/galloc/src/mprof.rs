//! The heap profile by sampling: Go's `mprof.go` (1.12 to 1.27), behind the feature `profile`.
//!
//! One allocation per [`set_mem_profile_rate`] bytes, on average, is recorded with its stack. The
//! distance to the next sample is drawn from an exponential distribution, so that any byte is as
//! likely as any other; each cache counts its own down. A record, Go's *bucket*, stands for a stack
//! and is never removed. A sampled object that is still out is in a table by its address, and its
//! span counts it: a free looks into the table only where the span's count is not 0.
//!
//! Stacks are walked by the unwinder that every Rust program carries, before the lock is taken. It
//! may allocate, and so may whatever it calls: while a thread walks, its cache's distance to the
//! next sample is out of reach, so that what is allocated meanwhile is not sampled. Nothing is
//! allocated through galloc under the lock, which is a leaf: only `persistent_alloc`'s is taken
//! under it.
//!
//! A large object that is resized where it is, or moved by `mremap`, counts as freed and allocated
//! anew, as one that is copied does. Rejected: samples that follow their object. A buffer that grew
//! to a gibibyte would stand where its first kilobytes were asked for.
//!
//! Not sampled: objects of `tiny_alloc`.

use crate::fixalloc::FixAlloc;
use crate::lock::Mutex;
use core::ffi::{c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::io;

/// Frames kept of a stack, as in Go.
pub const MEM_PROFILE_FRAMES: usize = 32;
const SLOTS: usize = 4096;

static RATE: AtomicUsize = AtomicUsize::new(512 << 10);
/// State of the generator that draws distances. Racing threads may draw the same number.
static SEED: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);

type Stack = [usize; MEM_PROFILE_FRAMES];

#[derive(Debug)]
struct Bucket {
    next: *mut Bucket,
    record: MemProfileRecord,
}

#[derive(Debug)]
struct Sample {
    next: *mut Sample,
    address: usize,
    size: usize,
    bucket: *mut Bucket,
}

#[derive(Debug)]
pub(crate) struct Profile {
    /// Records, by a hash of their stack.
    buckets: [*mut Bucket; SLOTS],
    len: usize,
    /// Sampled objects that are out, by a hash of their address.
    samples: [*mut Sample; SLOTS],
    bucket_alloc: FixAlloc,
    sample_alloc: FixAlloc,
}

// SAFETY: the pointers name records that are the profile's, under its lock.
unsafe impl Send for Profile {}

pub(crate) static PROFILE: Mutex<Profile> = Mutex::new(Profile {
    buckets: [ptr::null_mut(); SLOTS],
    len: 0,
    samples: [ptr::null_mut(); SLOTS],
    bucket_alloc: FixAlloc::new(size_of::<Bucket>(), false, None),
    sample_alloc: FixAlloc::new(size_of::<Sample>(), false, None),
});

/// What was sampled at one place of the program: Go's `MemProfileRecord`.
///
/// The numbers are those of the samples. To estimate the program's, see
/// [`scale`](Self::scale).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemProfileRecord {
    /// Bytes asked for.
    pub alloc_bytes: u64,
    /// Of these, freed since.
    pub free_bytes: u64,
    /// Objects allocated.
    pub alloc_objects: u64,
    /// Of these, freed since.
    pub free_objects: u64,
    stack: Stack,
}

impl MemProfileRecord {
    /// Bytes of the sampled objects that are out.
    #[must_use]
    pub const fn in_use_bytes(&self) -> u64 {
        self.alloc_bytes - self.free_bytes
    }

    /// Sampled objects that are out.
    #[must_use]
    pub const fn in_use_objects(&self) -> u64 {
        self.alloc_objects - self.free_objects
    }

    /// Return addresses, innermost first, at most [`MEM_PROFILE_FRAMES`].
    #[must_use]
    pub fn stack(&self) -> &[usize] {
        let len = self.stack.iter().position(|&pc| pc == 0);
        &self.stack[..len.unwrap_or(MEM_PROFILE_FRAMES)]
    }

    /// By how much a sampled object of the record's average size stands for more than itself when
    /// samples are `rate` bytes apart: 1 / (1 - e^(-size / rate)).
    #[must_use]
    pub fn scale(&self, rate: usize) -> f64 {
        if rate <= 1 || self.alloc_objects == 0 {
            return 1.0;
        }
        let size = self.alloc_bytes as f64 / self.alloc_objects as f64;
        1.0 / (1.0 - (-size / rate as f64).exp())
    }
}

/// Sets the average number of bytes between two samples, and returns the old one: 512 KiB at first,
/// as Go's `MemProfileRate`. 1 samples every object, 0 none.
///
/// To be set once and early: threads come to a new rate at their next sample (with 0 set before,
/// after at most 64 MiB allocated), and what was sampled before is scaled by the new one.
pub fn set_mem_profile_rate(bytes: usize) -> usize {
    RATE.swap(bytes, Ordering::Relaxed)
}

/// A copy of all records, in no order. Go's `MemProfile`. O(places in the program that were sampled).
///
/// ```
/// galloc::set_mem_profile_rate(1);
/// let allocated = galloc::mem_profile().iter().map(|r| r.alloc_bytes).sum::<u64>();
/// println!("{allocated} bytes");
/// ```
#[must_use]
pub fn mem_profile() -> Vec<MemProfileRecord> {
    // The vector's allocation may be sampled, which takes the lock: it is made outside. Places that
    // come meanwhile have some room.
    let places = {
        let profile = PROFILE.lock();
        profile.len
    };
    let mut all = Vec::with_capacity(places + 64);
    let profile = PROFILE.lock();
    for &first in &profile.buckets {
        let mut bucket = first;
        while !bucket.is_null() && all.len() < all.capacity() {
            // SAFETY: buckets are never removed, and written under the lock.
            unsafe {
                all.push((*bucket).record);
                bucket = (*bucket).next;
            }
        }
    }
    all
}

/// Writes the profile in the text format that `pprof` reads, with the program's mappings. `pprof`
/// scales the samples itself.
///
/// ```
/// let mut text = Vec::new();
/// galloc::write_heap_profile(&mut text).unwrap();
/// assert!(text.starts_with(b"heap profile: "));
/// ```
///
/// # Errors
/// Those of the writer, and of reading `/proc/self/maps`.
pub fn write_heap_profile(to: &mut impl io::Write) -> io::Result<()> {
    let records = mem_profile();
    let sum = |f: fn(&MemProfileRecord) -> u64| records.iter().map(f).sum::<u64>();
    writeln!(
        to,
        "heap profile: {}: {} [{}: {}] @ heap_v2/{}",
        sum(MemProfileRecord::in_use_objects),
        sum(MemProfileRecord::in_use_bytes),
        sum(|r| r.alloc_objects),
        sum(|r| r.alloc_bytes),
        RATE.load(Ordering::Relaxed),
    )?;
    for r in &records {
        let (n, bytes) = (r.in_use_objects(), r.in_use_bytes());
        write!(
            to,
            "{n}: {bytes} [{}: {}] @",
            r.alloc_objects, r.alloc_bytes
        )?;
        for pc in r.stack() {
            write!(to, " {pc:#x}")?;
        }
        writeln!(to)?;
    }
    writeln!(to, "\nMAPPED_LIBRARIES:")?;
    io::copy(&mut std::fs::File::open("/proc/self/maps")?, to)?;
    Ok(())
}

/// Whether an object whose turn has come is to be sampled. `first`: its cache has drawn no distance
/// yet, so that it has not.
pub(crate) fn is_taken(first: bool) -> bool {
    match RATE.load(Ordering::Relaxed) {
        0 => false,
        1 => true,
        _ => !first,
    }
}

/// Bytes from one sample to the next; 0 for every object.
pub(crate) fn next_sample() -> isize {
    let rate = RATE.load(Ordering::Relaxed);
    match rate {
        0 => 64 << 20,
        1 => 0,
        _ => {
            let mut x = SEED.load(Ordering::Relaxed);
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            SEED.store(x, Ordering::Relaxed);
            // In (0, 1]: the logarithm is finite.
            let u = ((x >> 11) + 1) as f64 / (1u64 << 53) as f64;
            let distance = -u.ln() * rate as f64;
            distance.min(1e15) as isize + 1
        }
    }
}

#[repr(C)]
struct UnwindContext {
    opaque: [u8; 0],
}

unsafe extern "C" {
    fn _Unwind_Backtrace(
        f: extern "C" fn(*mut UnwindContext, *mut c_void) -> c_int,
        arg: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut UnwindContext) -> usize;
}

/// `_URC_NO_REASON` and `_URC_END_OF_STACK`.
const GO_ON: c_int = 0;
const STOP: c_int = 5;

/// A walk: the stack so far, and the number of frames seen.
struct Walk(Stack, usize);

/// Frames of this file, innermost: `walk` and `sampled`.
const OURS: usize = 2;

extern "C" fn frame(context: *mut UnwindContext, arg: *mut c_void) -> c_int {
    // SAFETY: `arg` is what `walk` passes.
    let Walk(stack, seen) = unsafe { &mut *arg.cast::<Walk>() };
    *seen += 1;
    let Some(i) = seen.checked_sub(OURS + 1) else {
        return GO_ON;
    };
    let Some(pc) = stack.get_mut(i) else {
        return STOP;
    };
    // SAFETY: the unwinder passes a valid context.
    *pc = unsafe { _Unwind_GetIP(context) };
    GO_ON
}

#[inline(never)]
fn walk() -> Stack {
    let mut found = Walk([0; MEM_PROFILE_FRAMES], 0);
    // SAFETY: `frame` gets back the pointer it expects, which lives until the walk ends.
    unsafe { _Unwind_Backtrace(frame, (&raw mut found).cast()) };
    found.0
}

fn slot_of(key: usize) -> usize {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52
}

/// Records an object with its stack. False without memory for the records. The caller's span counts
/// it if true.
#[cold]
#[inline(never)]
pub(crate) fn sampled(address: usize, size: usize) -> bool {
    let stack = walk();
    let mut profile = PROFILE.lock();
    let Some(bucket) = profile.bucket_of(stack) else {
        return false;
    };
    let Some(sample) = profile.sample_alloc.alloc() else {
        return false;
    };
    let sample = sample.cast::<Sample>().as_ptr();
    let slot = slot_of(address);
    // SAFETY: the new record is ours, and the bucket the profile's.
    unsafe {
        sample.write(Sample {
            next: profile.samples[slot],
            address,
            size,
            bucket,
        });
        (*bucket).record.alloc_objects += 1;
        (*bucket).record.alloc_bytes += size as u64;
    }
    profile.samples[slot] = sample;
    true
}

/// Takes the record of an object away that is about to be freed; false if it was not sampled.
#[cold]
#[inline(never)]
pub(crate) fn freed(address: usize) -> bool {
    let mut profile = PROFILE.lock();
    let slot = slot_of(address);
    let mut sample = profile.samples[slot];
    let mut before = ptr::null_mut::<Sample>();
    // SAFETY: records in the table are the profile's.
    unsafe {
        while !sample.is_null() && (*sample).address != address {
            before = sample;
            sample = (*sample).next;
        }
        let Some(found) = ptr::NonNull::new(sample) else {
            return false;
        };
        if before.is_null() {
            profile.samples[slot] = (*sample).next;
        } else {
            (*before).next = (*sample).next;
        }
        let record = &mut (*(*sample).bucket).record;
        record.free_objects += 1;
        record.free_bytes += (*sample).size as u64;
        profile.sample_alloc.free(found.cast());
    }
    true
}

impl Profile {
    fn bucket_of(&mut self, stack: Stack) -> Option<*mut Bucket> {
        let hash = stack.iter().fold(0usize, |h, &pc| {
            (h.rotate_left(5) ^ pc).wrapping_mul(0x100_0000_01b3)
        });
        let slot = slot_of(hash);
        let mut bucket = self.buckets[slot];
        // SAFETY: buckets are never removed, and this is under their lock.
        unsafe {
            while !bucket.is_null() && (*bucket).record.stack != stack {
                bucket = (*bucket).next;
            }
            if bucket.is_null() {
                bucket = self.bucket_alloc.alloc()?.cast().as_ptr();
                bucket.write(Bucket {
                    next: self.buckets[slot],
                    record: MemProfileRecord {
                        alloc_bytes: 0,
                        free_bytes: 0,
                        alloc_objects: 0,
                        free_objects: 0,
                        stack,
                    },
                });
                self.buckets[slot] = bucket;
                self.len += 1;
            }
        }
        Some(bucket)
    }
}
