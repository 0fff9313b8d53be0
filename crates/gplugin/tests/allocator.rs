//! A host with an allocator of its own (R133). A program of its own: the allocator is the whole program's.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::{open_with, plugin};
use gplugin::{Host, OpenError};

/// Its blocks are the system's, eight bytes further on: no other allocator could free them.
struct Apart;

static BLOCKS: AtomicUsize = AtomicUsize::new(0);

fn wider(layout: Layout) -> (Layout, usize) {
    let before = layout.align().max(8);
    let wider = Layout::from_size_align(layout.size() + before, before).expect("a small block");
    (wider, before)
}

// SAFETY: a block lies in one of the system's, behind as many bytes as its alignment has, and goes back whole.
unsafe impl GlobalAlloc for Apart {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BLOCKS.fetch_add(1, Relaxed);
        let (wider, before) = wider(layout);
        // SAFETY: the size is not 0, and the block is longer than `before`.
        unsafe {
            let at = System.alloc(wider);
            if at.is_null() { at } else { at.add(before) }
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let (wider, before) = wider(layout);
        // SAFETY: `alloc` gave `at`, `before` bytes into a block of this layout.
        unsafe { System.dealloc(at.sub(before), wider) }
    }
}

#[global_allocator]
static APART: Apart = Apart;

/// A plugin of the system's allocator is refused, also when a plugin of the host's opens it; a plugin of the
/// host's allocator gives memory that is freed here.
#[test]
fn r133_plugins_allocate_as_their_host_does() {
    // Two of the system's allocator, because failures are remembered.
    let (system, nested) = (plugin("sample_plugin"), plugin("other_crate"));
    let host = Host::new()
        .allocator(&APART)
        .provide((nested, Mutex::new(None::<String>)));
    match open_with(&host, system).unwrap_err() {
        OpenError::Allocator { wanted, found, .. } => {
            assert!(wanted.starts_with("allocator::Apart at 0x"), "{wanted}");
            assert_eq!(found, "std::alloc::System");
        }
        other => panic!("{other}"),
    }

    let plugins = open_with(&host, plugin("host_allocator")).unwrap();
    let (_, told) = host.get::<(PathBuf, Mutex<Option<String>>)>().unwrap();
    let told = told.lock().unwrap().take();
    let told = told.expect("what allocates elsewhere was opened");
    assert!(
        told.contains("uses a different allocator: wanted allocator::Apart at 0x"),
        "{told}"
    );

    let concat = plugins.lookup::<fn(&[&str]) -> String>("concat").unwrap();
    let before = BLOCKS.load(Relaxed);
    let made = concat(&["a", "b"]);
    assert!(
        BLOCKS.load(Relaxed) > before,
        "made by this program's allocator"
    );
    assert_eq!(made, "ab");
}
