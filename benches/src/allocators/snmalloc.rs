//! The workloads of `alloc` with snmalloc as the program's allocator.

#[global_allocator]
static GLOBAL: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gort_benches::alloc::main("snmalloc-rs")
}
