//! User code that unwinds in the middle of an operation: the map stays valid, holds what it held or
//! what it should hold, and every value is dropped once (R85).
//!
//! LeakSanitizer names three tests, and nothing but what they leak: the keys behind one whose `Drop`
//! panicked (the table's memory is freed), an iterator and a drain that are forgotten.

use ghmap::HashMap;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

thread_local! {
    /// Calls of user code until one panics; `u32::MAX` is never.
    static FUSE: Cell<u32> = const { Cell::new(u32::MAX) };
}

fn spark(what: &str) {
    FUSE.with(|fuse| match fuse.get() {
        u32::MAX => {}
        0 => {
            fuse.set(u32::MAX);
            panic!("{what}");
        }
        n => fuse.set(n - 1),
    });
}

/// All live values, by number: a second drop or a leak shows.
#[derive(Clone, Default)]
struct Ledger(Rc<RefCell<BTreeSet<u64>>>, Rc<Cell<u64>>);

#[derive(Debug)]
struct Key {
    n: u32,
    id: u64,
    ledger: Ledger,
    fragile: bool,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

impl Ledger {
    fn key(&self, n: u32) -> Key {
        let id = self.1.get();
        self.1.set(id + 1);
        assert!(self.0.borrow_mut().insert(id));
        Key {
            n,
            id,
            ledger: self.clone(),
            fragile: false,
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        assert!(self.ledger.0.borrow_mut().remove(&self.id), "dropped twice");
        if self.fragile && !std::thread::panicking() {
            spark("drop");
        }
    }
}

impl Clone for Key {
    fn clone(&self) -> Self {
        spark("clone");
        self.ledger.key(self.n)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        spark("eq");
        self.n == other.n
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        spark("hash");
        self.n.hash(state);
    }
}

#[derive(Clone, Copy, Default)]
struct Short;

struct ShortHasher(u64);

impl BuildHasher for Short {
    type Hasher = ShortHasher;
    fn build_hasher(&self) -> ShortHasher {
        ShortHasher(0)
    }
}

impl Hasher for ShortHasher {
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    fn finish(&self) -> u64 {
        // Few buckets in use, so that chains are long and growth moves much at once.
        let h = self.0 ^ self.0 >> 17;
        (h & 7) | (h & 15) << 56
    }
}

type Map = HashMap<Key, u32, Short>;

fn filled(ledger: &Ledger, n: u32) -> Map {
    let mut map = Map::default();
    for i in 0..n {
        map.insert(ledger.key(i), i);
    }
    map
}

/// What the map holds, found in two ways that must agree.
fn contents(map: &Map, ledger: &Ledger) -> BTreeSet<(u32, u32)> {
    FUSE.set(u32::MAX);
    let listed: Vec<_> = map.iter().map(|(k, v)| (k.n, *v)).collect();
    let set: BTreeSet<_> = listed.iter().copied().collect();
    assert_eq!(listed.len(), set.len(), "an entry twice");
    assert_eq!(set.len(), map.len());
    for (n, v) in &set {
        let key = ledger.key(*n);
        assert_eq!(map.get(&key), Some(v), "listed and not found");
    }
    set
}

/// Runs `op` on maps of many sizes with a fuse of every length, until it runs to its end.
fn with_every_fuse(
    op: impl Fn(&mut Map, &Ledger),
    after: impl Fn(&BTreeSet<(u32, u32)>) -> BTreeSet<(u32, u32)>,
) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut blown = 0;
        for size in [0, 1, 8, 9, 14, 27, 40, 53, 60, 105, 120] {
            for fuse in 0..2000 {
                let ledger = Ledger::default();
                let mut map = filled(&ledger, size);
                let before = contents(&map, &ledger);
                FUSE.set(fuse);
                let panicked = catch_unwind(AssertUnwindSafe(|| op(&mut map, &ledger))).is_err();
                let now = contents(&map, &ledger);
                let want = after(&before);
                if panicked {
                    blown += 1;
                    assert!(
                        now == before || now == want,
                        "size {size} fuse {fuse}: neither before nor after"
                    );
                } else {
                    assert_eq!(now, want, "size {size}");
                }
                // It still works.
                for n in 1000..1020 {
                    map.insert(ledger.key(n), n);
                }
                assert_eq!(contents(&map, &ledger).len(), now.len() + 20);
                drop(map);
                assert!(ledger.0.borrow().is_empty(), "leaked");
                if !panicked {
                    break;
                }
            }
        }
        assert!(blown > 0, "no fuse ever blew");
    }));
    std::panic::set_hook(hook);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn r85_insert_of_a_new_key() {
    with_every_fuse(
        |map, ledger| {
            map.insert(ledger.key(500), 1);
        },
        |before| before.iter().copied().chain([(500, 1)]).collect(),
    );
}

#[test]
fn r85_insert_of_a_present_key() {
    with_every_fuse(
        |map, ledger| {
            map.insert(ledger.key(0), 7);
        },
        |before| {
            before
                .iter()
                .copied()
                .filter(|e| e.0 != 0)
                .chain([(0, 7)])
                .collect()
        },
    );
}

#[test]
fn r85_remove() {
    with_every_fuse(
        |map, ledger| {
            let key = ledger.key(3);
            map.remove(&key);
        },
        |before| before.iter().copied().filter(|e| e.0 != 3).collect(),
    );
}

#[test]
fn entry_and_then_insert() {
    with_every_fuse(
        |map, ledger| {
            map.entry(ledger.key(500)).or_insert(1);
        },
        |before| before.iter().copied().chain([(500, 1)]).collect(),
    );
}

#[test]
fn reserve_shrink_and_finish_leave_the_contents_alone() {
    with_every_fuse(|map, _| map.reserve(1000), BTreeSet::clone);
    with_every_fuse(|map, _| map.finish_growth(), |b| b.clone());
}

#[test]
fn shrink_after_removals() {
    with_every_fuse(
        |map, ledger| {
            for n in 0..100 {
                let key = ledger.key(n);
                let fuse = FUSE.replace(u32::MAX);
                map.remove(&key);
                FUSE.set(fuse);
            }
            map.shrink_to_fit();
        },
        |before| before.iter().copied().filter(|e| e.0 >= 100).collect(),
    );
}

impl Drop for FuseOff {
    fn drop(&mut self) {
        FUSE.set(u32::MAX);
    }
}

struct FuseOff;

fn quietly(f: impl FnOnce()) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let panicked = catch_unwind(AssertUnwindSafe(f)).is_err();
    std::panic::set_hook(hook);
    panicked
}

#[test]
fn clone_that_panics_drops_what_it_had_copied() {
    let _off = FuseOff;
    for size in [1, 9, 60, 105] {
        let ledger = Ledger::default();
        let map = filled(&ledger, size);
        for fuse in 0..size {
            FUSE.set(fuse);
            assert!(quietly(|| drop(map.clone())));
            assert_eq!(ledger.0.borrow().len(), size as usize);
        }
        FUSE.set(u32::MAX);
        let copy = map.clone();
        assert_eq!(ledger.0.borrow().len(), 2 * size as usize);
        assert!(copy == map);
        let state = |m: &Map| {
            let s = m.stats();
            (s.b, s.growing, s.evacuated, s.noverflow, s.overflow_buckets)
        };
        assert_eq!(state(&copy), state(&map));
    }
}

#[test]
fn clone_from_copies_everything_and_empties_the_map_if_it_panics() {
    let _off = FuseOff;
    for (size, target) in [(60, 0), (60, 55), (105, 100), (105, 60), (9, 105), (0, 60)] {
        let ledger = Ledger::default();
        let source = filled(&ledger, size);
        for fuse in 0..size {
            let mut map = filled(&ledger, target);
            FUSE.set(fuse);
            assert!(quietly(|| map.clone_from(&source)));
            FUSE.set(u32::MAX);
            assert!(map.is_empty());
            assert_eq!(ledger.0.borrow().len(), size as usize);
            map.insert(ledger.key(1), 1);
            assert_eq!(contents(&map, &ledger).len(), 1);
        }
        let mut map = filled(&ledger, target);
        map.clone_from(&source);
        assert_eq!(ledger.0.borrow().len(), 2 * size as usize);
        assert_eq!(contents(&map, &ledger), contents(&source, &ledger));
        for i in 0..200 {
            map.insert(ledger.key(i), i);
        }
        assert_eq!(contents(&map, &ledger).len(), 200);
    }
}

#[test]
fn drops_that_panic_free_the_table_and_drop_nothing_twice() {
    let _off = FuseOff;
    let ops: [fn(Map); 4] = [
        |map| drop(map),
        |mut map| map.clear(),
        |mut map| drop(map.drain()),
        |map| drop(map.into_iter()),
    ];
    for op in ops {
        for fuse in [0, 1, 30] {
            let ledger = Ledger::default();
            let mut map = Map::default();
            for i in 0..60 {
                let mut key = ledger.key(i);
                key.fragile = true;
                map.insert(key, i);
            }
            FUSE.set(fuse);
            assert!(quietly(|| op(map)));
            FUSE.set(u32::MAX);
            // Those behind the one that panicked may be leaked, and none is dropped twice.
            assert!(ledger.0.borrow().len() < 60);
        }
    }
}

#[test]
fn retain_and_extract_that_panic_keep_the_rest() {
    let ledger = Ledger::default();
    let mut map = filled(&ledger, 105);
    assert!(quietly(|| map.retain(|k, _| if k.n == 50 {
        panic!()
    } else {
        false
    })));
    let left = contents(&map, &ledger);
    assert!(left.contains(&(50, 50)));
    assert_eq!(ledger.0.borrow().len(), left.len());
    let taken = map.extract_if(|_, _| true).take(1).count();
    assert_eq!(contents(&map, &ledger).len(), left.len() - taken);
}

#[test]
fn walks_given_up_or_forgotten_lose_nothing_else() {
    let ledger = Ledger::default();
    let mut map = filled(&ledger, 105);
    // Given up after ten. It has no `Drop`, so that forgetting it is the same.
    let walk = map.extract_if(|k, _| k.n % 2 == 0);
    let taken: Vec<_> = walk.take(10).map(|(k, _)| k.n).collect();
    assert_eq!((taken.len(), map.len()), (10, 95));
    let left = contents(&map, &ledger);
    assert!(taken.iter().all(|n| !left.contains(&(*n, *n))));
    map.insert(ledger.key(taken[0]), 1);
    assert_eq!(contents(&map, &ledger).len(), 96);
    let mut entries = map.into_iter();
    assert!(entries.next().is_some());
    std::mem::forget(entries);
    assert_eq!(ledger.0.borrow().len(), 95, "forgotten, so never dropped");
}

#[test]
fn a_leaked_drain_leaks_its_entries_and_leaves_an_empty_map() {
    let ledger = Ledger::default();
    let mut map = filled(&ledger, 60);
    let mut drain = map.drain();
    drain.next();
    std::mem::forget(drain);
    assert!(map.is_empty());
    map.insert(ledger.key(1), 1);
    assert_eq!(contents(&map, &ledger).len(), 1);
}

#[test]
fn r97_a_step_of_a_cursor_that_unwinds_is_none() {
    let _off = FuseOff;
    for size in [5, 60, 105, 120] {
        let ledger = Ledger::default();
        let mut map = filled(&ledger, size);
        for fuse in 0.. {
            let (mut cursor, mut given) = (map.cursor(), Vec::new());
            let (mut ended, mut blown) = (false, false);
            FUSE.set(fuse);
            while !ended {
                blown |= quietly(|| match cursor.next(&mut map) {
                    Some((key, _)) => given.push(key.n),
                    None => ended = true,
                });
            }
            FUSE.set(u32::MAX);
            given.sort_unstable();
            assert!(given.iter().copied().eq(0..size), "fuse {fuse}: {given:?}");
            if !blown {
                break;
            }
        }
    }
}
