//! A plugin whose initialisation says that it has begun and waits to be told to go on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender};

use gplugin::Host;

static INITS: AtomicU32 = AtomicU32::new(0);

fn init(host: &Host) -> Result<(), String> {
    let (begun, go_on) = host
        .get::<(Mutex<Sender<()>>, Mutex<Receiver<bool>>)>()
        .ok_or("nobody to wait for")?;
    begun.lock().unwrap().send(()).unwrap();
    let well = go_on.lock().unwrap().recv().unwrap();
    INITS.fetch_add(1, Relaxed);
    if well {
        Ok(())
    } else {
        Err("told to fail".into())
    }
}

gplugin::plugin! {
    name: "init_waits",
    init: init,
    symbols: { INITS: &'static AtomicU32 = &INITS }
}
