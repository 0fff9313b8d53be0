//! What the program sets before its first object is not undone by the environment. A program without galloc as its
//! global allocator, so that there is no object before.

use galloc::{Galloc, Scavenger};
use std::alloc::{GlobalAlloc, Layout};
use std::process::Command;

/// Tells a child which of the cases it is.
const CASE: &str = "GALLOC_TEST_CASE";

fn object() {
    let layout = Layout::new::<u64>();
    // SAFETY: the size is not 0; freed once.
    unsafe {
        let p = Galloc.alloc(layout);
        assert!(!p.is_null());
        Galloc.dealloc(p, layout);
    }
}

fn case(name: &str) {
    match name {
        "limit" => {
            assert_eq!(galloc::set_memory_limit(64 << 20), 48 << 20);
            object();
            assert_eq!(galloc::set_memory_limit(usize::MAX), 64 << 20);
        }
        "scavenger" => {
            assert_eq!(galloc::set_scavenger(Scavenger::Off), Scavenger::Inline);
            object();
            assert_eq!(galloc::set_scavenger(Scavenger::Off), Scavenger::Off);
        }
        "host" => {
            assert!(!galloc::host_scavenger(|| ()), "the environment chose");
            object();
            assert_eq!(galloc::set_scavenger(Scavenger::Off), Scavenger::Inline);
        }
        "huge" => {
            assert!(galloc::set_huge_pages(false));
            object();
            assert!(!galloc::set_huge_pages(false));
        }
        _ => panic!("no case {name}"),
    }
}

#[test]
fn what_the_program_sets_first_counts() {
    if let Ok(name) = std::env::var(CASE) {
        return case(&name);
    }
    for name in ["limit", "scavenger", "host", "huge"] {
        let status = Command::new(std::env::current_exe().unwrap())
            .env(CASE, name)
            .env("GALLOC_MEMORY_LIMIT", "48MiB")
            .env("GALLOC_SCAVENGER", "inline")
            .env("GALLOC_HUGE_PAGES", "on")
            .status();
        assert!(status.unwrap().success(), "{name}");
    }
}
