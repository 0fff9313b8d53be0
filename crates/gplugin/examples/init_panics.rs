//! A plugin whose initialisation panics.

use gplugin::Host;

fn init(_: &Host) -> Result<(), String> {
    panic!("no {} today", "luck");
}

gplugin::plugin! { name: "init_panics", init: init, symbols: {} }
