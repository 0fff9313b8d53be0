//! The workloads of `alloc` with galloc as the program's allocator.

#[global_allocator]
static GLOBAL: galloc::Galloc = galloc::Galloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gort_benches::alloc::main("galloc")
}
