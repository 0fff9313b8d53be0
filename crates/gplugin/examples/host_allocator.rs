//! A plugin that allocates from its host.

use gplugin::HostAlloc;

#[global_allocator]
static ALLOCATOR: HostAlloc = HostAlloc::new();

fn concat(parts: &[&str]) -> String {
    parts.concat()
}

gplugin::plugin! {
    name: "host_allocator",
    allocator: host ALLOCATOR,
    symbols: { concat: fn(&[&str]) -> String = concat }
}
