//! The workloads of `alloc` with the system's malloc as the program's allocator.

#[global_allocator]
static GLOBAL: std::alloc::System = std::alloc::System;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    gort_benches::alloc::main("glibc")
}
