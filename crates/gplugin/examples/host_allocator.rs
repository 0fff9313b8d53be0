//! A plugin that allocates from its host, and opens another if the host asks it to.

use std::path::PathBuf;
use std::sync::Mutex;

use gplugin::{Host, HostAlloc};

#[global_allocator]
static ALLOCATOR: HostAlloc = HostAlloc::new();

fn concat(parts: &[&str]) -> String {
    parts.concat()
}

fn init(host: &Host) -> Result<(), String> {
    if let Some((path, told)) = host.get::<(PathBuf, Mutex<Option<String>>)>() {
        // SAFETY: the test that provides the path vouches for the plugin.
        let opened = unsafe { gplugin::open(path) };
        *told.lock().unwrap() = opened.err().map(|e| e.to_string());
    }
    Ok(())
}

gplugin::plugin! {
    name: "host_allocator",
    allocator: host ALLOCATOR,
    init: init,
    symbols: { concat: fn(&[&str]) -> String = concat }
}
