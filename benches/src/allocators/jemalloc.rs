//! The workloads of `alloc` with jemalloc as the program's allocator.

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gort_benches::alloc::main("tikv-jemallocator")
}
