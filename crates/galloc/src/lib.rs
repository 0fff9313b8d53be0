#![doc = include_str!("../README.md")]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "galloc needs 64-bit Linux: it relies on mremap, futexes and MADV_DONTNEED's zeroes"
);

#[cfg(feature = "allocator-api2")]
mod allocator_api2;
mod arena;
mod fixalloc;
mod fork;
mod govec;
mod growslice;
#[cfg(feature = "hardened")]
mod hardened;
mod linear_alloc;
mod lock;
mod malloc;
mod mcache;
mod mcentral;
mod memlimit;
mod mheap;
#[cfg(feature = "profile")]
mod mprof;
mod mstats;
mod pagealloc;
mod persistent_alloc;
#[cfg(not(any(loom, target_feature = "crt-static")))]
mod pin;
mod remote;
mod scavenge;
mod shelf;
mod sizeclass;
mod slot;
mod span;
mod sys;
mod tiny;
mod tiny_box;

pub use fixalloc::{FIX_ALLOC_CHUNK, FixAlloc};
pub use govec::GoVec;
pub use growslice::{GrowError, grow_capacity};
pub use linear_alloc::LinearAlloc;
pub use malloc::Galloc;
pub use memlimit::set_memory_limit;
#[cfg(feature = "profile")]
pub use mprof::{
    MEM_PROFILE_FRAMES, MemProfileRecord, mem_profile, set_mem_profile_rate, write_heap_profile,
};
pub use mstats::{BySize, MemStats};
pub use persistent_alloc::persistent_alloc;
pub use scavenge::{
    Scavenger, host_scavenger, release, scavenge_step, set_huge_pages, set_scavenger,
};
pub use sizeclass::{
    MAX_SMALL_SIZE, NUM_SIZE_CLASSES, PAGE_SIZE, class_of, class_pages, class_size, round_up_size,
};
pub use slot::release_slot;
pub use tiny::TINY_SIZE;
pub use tiny_box::{TinyBox, tiny_alloc, tiny_free};
