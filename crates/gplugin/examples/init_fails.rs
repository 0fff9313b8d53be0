//! A plugin whose initialisation fails, and counts how often it is tried.

use gplugin::Host;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

fn init(host: &Host) -> Result<(), std::fmt::Error> {
    if let Some(tries) = host.get::<AtomicU32>() {
        tries.fetch_add(1, Relaxed);
    }
    Err(std::fmt::Error)
}

gplugin::plugin! { name: "init_fails", init: init, symbols: {} }
