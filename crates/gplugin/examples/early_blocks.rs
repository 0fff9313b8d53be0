//! A plugin that allocates from its host, and holds memory before there is one: a constructor, which the dynamic
//! loader runs, takes a block and keeps it.

use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use gplugin::HostAlloc;

#[global_allocator]
static ALLOCATOR: HostAlloc = HostAlloc::new();

static KEPT: AtomicPtr<u64> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn construct() {
    drop(Box::new(1_u64)); // one that is given back does not count
    KEPT.store(Box::into_raw(Box::new(2)), Relaxed);
}

/// Found by the loader.
#[used]
#[cfg_attr(
    target_vendor = "apple",
    unsafe(link_section = "__DATA,__mod_init_func")
)]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static CONSTRUCT: extern "C" fn() = construct;

gplugin::plugin! {
    name: "early_blocks",
    allocator: host ALLOCATOR,
    symbols: {}
}
