//! The three fatal errors of a map shared without a lock (R81, R95), each provoked in a child process:
//! a key's `==` or `Drop`, which runs in the middle of a write, uses the map again.
#![cfg(all(feature = "std", feature = "default-hasher"))]

use ghmap::{GoCursor, GoKey, SharedMap};
use std::hash::Hasher;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};

static MAP: LazyLock<SharedMap<Meddler, u32>> = LazyLock::new(SharedMap::new);

/// What the next comparison or drop does with the map: nothing, or one of the operations below.
static DEED: AtomicU8 = AtomicU8::new(0);

#[derive(Clone)]
struct Meddler(u32);

fn meddle() {
    let deed = DEED.swap(0, Ordering::Relaxed);
    // SAFETY: not kept, which is the point: the map must notice before it touches anything.
    unsafe {
        match deed {
            1 => drop(MAP.lookup(&Meddler(1))),
            2 => MAP.insert(Meddler(1), 1),
            3 => MAP.delete(&Meddler(1)),
            4 => MAP.clear(),
            5 => {
                let mut cursor: GoCursor<Meddler, u32> = MAP.cursor();
                MAP.next(&mut cursor);
            }
            _ => {}
        }
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        meddle();
    }
}

impl GoKey for Meddler {
    fn go_eq(&self, other: &Self) -> bool {
        meddle();
        self.0 == other.0
    }

    fn go_hash<H: Hasher>(&self, state: &mut H) {
        state.write_u32(self.0);
    }
}

/// Not a test of its own: the child of the one below runs it.
#[test]
fn child() {
    let (Ok(write), Ok(deed)) = (std::env::var("GHMAP_WRITE"), std::env::var("GHMAP_DEED")) else {
        return;
    };
    let key = Meddler(1);
    // SAFETY: one thread.
    unsafe {
        MAP.insert(Meddler(1), 1);
        DEED.store(deed.parse().expect("a number"), Ordering::Relaxed);
        match write.as_str() {
            "insert" => MAP.insert(key, 2),
            "delete" => MAP.delete(&key),
            _ => MAP.clear(),
        }
    }
    println!("not caught");
}

/// This program, to run `child` alone.
fn meddler(write: &str, deed: u8) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args(["--exact", "child", "--nocapture"])
        .env("GHMAP_DEED", deed.to_string())
        .env("GHMAP_WRITE", write);
    command
}

#[test]
fn r81_an_error_that_cannot_be_reported_ends_the_program_too() {
    for write in ["insert", "delete", "clear"] {
        let (nobody, stderr) = std::io::pipe().expect("a pipe");
        drop(nobody);
        let child = meddler(write, 1).stderr(stderr).output().expect("a child");
        // Not by a panic, which would make a failed test of it.
        let code = child.status.code();
        assert!(!matches!(code, Some(0 | 101)), "{write}: {code:?}");
    }
}

#[test]
fn r81_r95_the_three_messages() {
    let expected = [
        (1, "fatal error: concurrent map read and map write\n"),
        (2, "fatal error: concurrent map writes\n"),
        (3, "fatal error: concurrent map writes\n"),
        (4, "fatal error: concurrent map writes\n"),
        (5, "fatal error: concurrent map iteration and map write\n"),
    ];
    let writes = ["insert", "delete", "clear"];
    for ((deed, message), write) in expected.iter().flat_map(|e| writes.map(|w| (e, w))) {
        let child = meddler(write, *deed).output().expect("a child");
        let stderr = String::from_utf8_lossy(&child.stderr);
        assert!(!child.status.success(), "{write}, deed {deed}");
        assert!(stderr.contains(message), "{write}, deed {deed}: {stderr}");
        assert!(!String::from_utf8_lossy(&child.stdout).contains("not caught"));
    }
}

#[test]
fn r85_a_panic_in_the_middle_of_a_write_leaves_the_map_usable() {
    let map: SharedMap<f64, u32> = SharedMap::new();
    // SAFETY: one thread.
    unsafe {
        map.insert(1.0, 1);
        map.insert(f64::NAN, 2);
        assert_eq!((map.get(&1.0), map.get(&2.0), map.len()), (1, 0, 2));
        map.clear();
        assert!(map.is_empty());
    }
    static ALONE: LazyLock<SharedMap<Brittle, u32>> = LazyLock::new(SharedMap::new);
    // SAFETY: one thread.
    unsafe {
        ALONE.insert(Brittle::Nowhere, 1);
        for brittle in [|| Brittle::InEq, || Brittle::InHash] {
            assert!(std::panic::catch_unwind(|| ALONE.insert(brittle(), 2)).is_err());
            assert!(std::panic::catch_unwind(|| ALONE.delete(&brittle())).is_err());
            assert!(std::panic::catch_unwind(|| ALONE.lookup(&brittle())).is_err());
            ALONE.insert(Brittle::Nowhere, 3);
            assert_eq!((ALONE.get(&Brittle::Nowhere), ALONE.len()), (3, 1));
        }
    }
}

/// Where a key panics.
#[derive(PartialEq)]
enum Brittle {
    Nowhere,
    InEq,
    InHash,
}

impl GoKey for Brittle {
    fn go_eq(&self, other: &Self) -> bool {
        assert!(*self != Self::InEq && *other != Self::InEq, "in ==");
        true
    }

    fn go_hash<H: Hasher>(&self, state: &mut H) {
        assert!(*self != Self::InHash, "in the hash");
        state.write_u8(0);
    }
}
