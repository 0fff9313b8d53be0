//! A plugin: functions, a variable, a constant, and an initialisation that talks to the host.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use gplugin::Host;

/// How often `init` has run in this process: once, or something is wrong.
static INITS: AtomicU32 = AtomicU32::new(0);
static CALLS: AtomicU32 = AtomicU32::new(0);

fn greet(name: &str) -> String {
    CALLS.fetch_add(1, Relaxed);
    format!("hello, {name}")
}

fn longer<'a>(a: &'a str, b: &'a str) -> &'a str {
    if a.len() < b.len() { b } else { a }
}

fn fails() {
    panic!("as it was told");
}

/// Many crates have such an alias: `plugin!` means std's.
type Result<T> = std::result::Result<T, String>;

fn init(host: &Host) -> Result<()> {
    INITS.fetch_add(1, Relaxed);
    if let Some(log) = host.get::<Mutex<Vec<String>>>() {
        log.lock().unwrap().push("sample initialised".into());
    }
    Ok(())
}

gplugin::plugin! {
    name: "sample",
    version: "1.0.0",
    crates: [("shapes", "1.2.0")],
    init: init,
    symbols: {
        greet: fn(&str) -> String = greet,
        longer: for<'a> fn(&'a str, &'a str) -> &'a str = longer,
        INITS: &'static AtomicU32 = &INITS,
        CALLS: &'static AtomicU32 = &CALLS,
        answer: u32 = 42,
        fails: fn() = fails,
    }
}
