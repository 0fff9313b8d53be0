//! A plugin whose initialisation opens the plugin at a path that the host names: itself, for instance.

use std::path::PathBuf;
use std::sync::{Arc, Barrier};

use gplugin::Host;

fn init(host: &Host) -> Result<(), String> {
    let path = host.get::<PathBuf>().ok_or("no path")?;
    if let Some(barrier) = host.get::<Arc<Barrier>>() {
        barrier.wait();
    }
    // SAFETY: the test that provides the path vouches for the plugin. (Not `host.open`: a plugin's own
    // copy of gplugin must find its host's list of plugins.)
    let plugin = unsafe { gplugin::open(path) }.map_err(|e| e.to_string())?;
    let answer = plugin.lookup::<u32>("answer").map_err(|e| e.to_string())?;
    (*answer == 42).then_some(()).ok_or("another answer".into())
}

gplugin::plugin! {
    name: env!("CARGO_CRATE_NAME"),
    init: init,
    symbols: { answer: u32 = 42 }
}
