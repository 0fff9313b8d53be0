//! The workloads of `alloc` with mimalloc as the program's allocator.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gort_benches::alloc::main("mimalloc")
}
