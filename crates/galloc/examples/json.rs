//! A real workload under the system's allocator and under galloc: a JSON document of 200,000 records
//! is printed, parsed and sorted into a `BTreeMap`. For each allocator a process of its own prints
//! time, peak memory and what is left a second after everything is freed.
//!
//! `cargo run --release -p galloc --example json`

use galloc::Galloc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Names the allocator in the environment of a child.
const CHOICE: &core::ffi::CStr = c"JSON_ALLOCATOR";

/// One of the two, as the environment says. A program has one allocator; this one has two so that
/// there is but one program to build.
struct Chosen;

impl Chosen {
    /// Decided by the first allocation, for what one of them gave the other must not get.
    fn is_galloc() -> bool {
        static DECIDED: AtomicU8 = AtomicU8::new(0);
        match DECIDED.load(Ordering::Relaxed) {
            0 => {
                // SAFETY: the name is a C string, and nobody changes the environment.
                let is = unsafe {
                    let value = libc::getenv(CHOICE.as_ptr());
                    !value.is_null() && *value == b'g' as core::ffi::c_char
                };
                DECIDED.store(1 + u8::from(is), Ordering::Relaxed);
                is
            }
            decided => decided == 2,
        }
    }
}

// SAFETY: each object is allocated, resized and freed by the same of the two.
unsafe impl GlobalAlloc for Chosen {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises, here and below.
        unsafe {
            if Self::is_galloc() {
                Galloc.alloc(layout)
            } else {
                System.alloc(layout)
            }
        }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe {
            if Self::is_galloc() {
                Galloc.dealloc(p, layout);
            } else {
                System.dealloc(p, layout);
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if Self::is_galloc() {
                Galloc.alloc_zeroed(layout)
            } else {
                System.alloc_zeroed(layout)
            }
        }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if Self::is_galloc() {
                Galloc.realloc(p, layout, size)
            } else {
                System.realloc(p, layout, size)
            }
        }
    }
}

#[global_allocator]
static A: Chosen = Chosen;

/// A line of `/proc/self/status`, in MiB.
fn mib(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(field));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.unwrap_or(0) >> 10
}

fn work() {
    let records: Vec<_> = (0..200_000u64)
        .map(|i| {
            let name = format!("record {}", i * 7919 % 200_003);
            serde_json::json!({ "id": i, "name": name, "tags": [i, i + 1] })
        })
        .collect();
    let text = serde_json::to_string(&records).expect("numbers and strings");
    let parsed: Vec<serde_json::Value> = serde_json::from_str(&text).expect("printed just now");
    let by_name: BTreeMap<String, u64> = parsed
        .iter()
        .map(|r| (r["name"].to_string(), r["id"].as_u64().unwrap_or(0)))
        .collect();
    assert_eq!((by_name.len(), records == parsed), (200_000, true));
}

fn main() {
    if let Ok(name) = std::env::var(CHOICE.to_str().expect("ASCII")) {
        let start = Instant::now();
        work();
        let (ms, peak) = (start.elapsed().as_millis(), mib("VmHWM"));
        std::thread::sleep(Duration::from_secs(1));
        let left = mib("VmRSS");
        println!("{name}: {ms} ms, peak {peak} MiB, a second later {left} MiB");
        return;
    }
    let this = std::env::current_exe().expect("the program's path");
    for name in ["system", "galloc"] {
        let choice = CHOICE.to_str().expect("ASCII");
        let status = Command::new(&this).env(choice, name).status();
        assert!(status.expect("runs").success(), "{name}");
    }
}
