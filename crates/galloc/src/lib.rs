#![doc = include_str!("../README.md")]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "galloc needs 64-bit Linux: it reserves address space in arenas of 64 MiB, sleeps on futexes \
     and gives memory back with madvise"
);

// Under loom only the protocol that is modelled is compiled: the rest needs const atomics.
mod remote;

macro_rules! not_loom {
    ($($item:item)*) => { $(#[cfg(not(all(test, loom)))] $item)* };
}

not_loom! {
    mod arena;
    mod fixalloc;
    mod global;
    mod hardened;
    mod linear_alloc;
    mod malloc;
    mod mcache;
    mod mcentral;
    mod mheap;
    mod mspan;
    mod pagealloc;
    mod persistent_alloc;
    mod scavenge;
    mod sizeclasses;
    mod slots;
    mod sys;
    mod tls;

    pub use fixalloc::FixAlloc;
    pub use global::{Galloc, owns, usable_size};
    pub use linear_alloc::LinearAlloc;
    pub use persistent_alloc::{persistent_alloc, persistent_sys};
    pub use scavenge::{Scavenger, release, set_memory_limit, set_scavenger};
    pub use sizeclasses::{
        MAX_SMALL_SIZE, NUM_SIZE_CLASSES, PAGE_SIZE, class_pages, class_size, round_up_size,
    };
    pub use slots::release_slot;
}
