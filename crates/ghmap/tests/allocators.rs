//! Maps in allocators that count, refuse or unwind: where memory comes from and that all of it goes back. What they
//! give is full of what no map has written, so that one which reads it before it writes goes wrong.

mod common;

use allocator_api2::alloc::{AllocError, Allocator, Global};
use common::OneHash;
use ghmap::{DefaultHashBuilder, HashMap, HashSet, HashTable, TryReserveError};
use std::alloc::Layout;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What the allocators of one test share.
#[derive(Debug)]
struct Books {
    blocks: AtomicUsize,
    bytes: AtomicUsize,
    /// Calls of `allocate` so far.
    asked: AtomicUsize,
    /// The number of such calls that succeed.
    allowed: AtomicUsize,
    /// What the others do.
    unwind: bool,
    /// Calls of `deallocate` until one unwinds, its block given back.
    fuse: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Counting(Arc<Books>);

impl Counting {
    fn new(unwind: bool) -> Self {
        Self(Arc::new(Books {
            blocks: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            allowed: AtomicUsize::new(usize::MAX),
            unwind,
            fuse: AtomicUsize::new(usize::MAX),
        }))
    }

    fn map<V>(&self) -> Map<V> {
        HashMap::with_hasher_in(DefaultHashBuilder::default(), self.clone())
    }

    /// Lets `n` more calls succeed.
    fn allow(&self, n: usize) {
        let most = self.0.asked.load(Relaxed).saturating_add(n);
        self.0.allowed.store(most, Relaxed);
    }
}

// SAFETY: forwards to the global allocator, for whatever it does not refuse.
unsafe impl Allocator for Counting {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if self.0.asked.fetch_add(1, Relaxed) >= self.0.allowed.load(Relaxed) {
            assert!(!self.0.unwind, "no memory");
            return Err(AllocError);
        }
        let block = Global.allocate(layout)?;
        // SAFETY: fresh, and as long as the layout says.
        unsafe { block.cast::<u8>().write_bytes(0xa5, layout.size()) };
        self.0.blocks.fetch_add(1, Relaxed);
        self.0.bytes.fetch_add(layout.size(), Relaxed);
        Ok(block)
    }

    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        self.0.blocks.fetch_sub(1, Relaxed);
        self.0.bytes.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise; the block came from the global allocator.
        unsafe { Global.deallocate(ptr, layout) }
        assert_ne!(self.0.fuse.fetch_sub(1, Relaxed), 0, "unwinds");
    }
}

/// The keys below `n`, in one chain.
fn one_chain(alloc: &Counting, n: u64) -> HashMap<u64, u64, OneHash, Counting> {
    let mut map = HashMap::with_hasher_in(OneHash, alloc.clone());
    for i in 0..n {
        map.insert(i, i);
    }
    map
}

type Map<V> = HashMap<u64, V, DefaultHashBuilder, Counting>;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// A value of which the living are counted.
#[derive(Debug)]
struct Live;

impl Live {
    fn new() -> Self {
        LIVE.set(LIVE.get() + 1);
        Self
    }
}

impl Clone for Live {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

#[test]
fn every_byte_goes_back_and_every_value_is_dropped_once() {
    let alloc = Counting::new(false);
    for n in [0, 1, 8, 9, 100, 837, 5000] {
        let mut map = alloc.map();
        for i in 0..n {
            map.insert(i, (Live::new(), [0u8; 200]));
        }
        // `stats` counts the table; the values are boxed, one block each (R78).
        let boxes = n as usize * size_of::<(Live, [u8; 200])>();
        assert_eq!(map.stats().bytes + boxes, alloc.0.bytes.load(Relaxed));
        for i in 0..n / 3 {
            map.remove(&i);
        }
        map.retain(|k, _| k % 5 != 0);
        let copy = map.clone();
        assert_eq!(LIVE.get(), 2 * map.len() as isize);
        copy.into_iter().take(3).for_each(drop);
        map.extract_if(|k, _| k % 7 == 0).take(10).for_each(drop);
        map.shrink_to_fit();
        map.drain().take(2).for_each(drop);
        assert_eq!((map.len(), LIVE.get()), (0, 0));
        map.insert(1, (Live::new(), [0; 200]));
        drop(map);
        assert_eq!(alloc.0.blocks.load(Relaxed), 0);
        assert_eq!(alloc.0.bytes.load(Relaxed), 0);
    }
    assert_eq!(LIVE.get(), 0);
}

#[test]
fn clear_and_clone_from_use_the_memory_that_is_there() {
    let alloc = Counting::new(false);
    let mut map = alloc.map();
    for i in 0..6000 {
        map.insert(i, i);
    }
    map.finish_growth();
    let source = map.clone();
    let mut set: HashSet<u64, _, _> =
        HashSet::with_hasher_in(DefaultHashBuilder::default(), alloc.clone());
    set.extend(0..6000);
    let set_source = set.clone();
    set.clear();
    let asked = alloc.0.asked.load(Relaxed);
    for _ in 0..3 {
        map.clear();
        map.clone_from(&source);
        assert!(map == source);
        map.clear();
        for i in 0..6000 {
            map.insert(i, i);
        }
    }
    set.clone_from(&set_source);
    assert!(set == set_source);
    assert_eq!(alloc.0.asked.load(Relaxed), asked, "nothing was allocated");
    // In the middle of a growth too, of either.
    for n in [1, 6700, 7000] {
        let mut other = alloc.map();
        other.extend((0..n).map(|i| (i, i + 1)));
        map.clone_from(&other);
        assert!(map == other);
        map.insert(0, 0);
        other.clone_from(&source);
        assert!(other == source);
    }
}

#[test]
fn a_refused_reservation_is_reported_and_changes_nothing() {
    let alloc = Counting::new(false);
    for n in [0, 5, 837] {
        let mut map = alloc.map();
        map.extend((0..n).map(|i| (i, i)));
        let before = map.stats();
        // The array, then overflow chunks, one by one.
        for allowed in 0.. {
            alloc.allow(allowed);
            let result = map.try_reserve(2000);
            alloc.allow(usize::MAX);
            if result.is_ok() {
                break;
            }
            assert!(
                matches!(result, Err(TryReserveError::AllocError { layout }) if layout.size() > 0)
            );
            assert_eq!(map.stats(), before);
            assert!((0..n).all(|i| map.get(&i) == Some(&i)));
        }
        assert!(map.capacity() >= n as usize + 2000);
        assert!((0..n).all(|i| map.get(&i) == Some(&i)));
        assert_eq!(
            map.try_reserve(usize::MAX),
            Err(TryReserveError::CapacityOverflow)
        );
    }
    assert_eq!(alloc.0.blocks.load(Relaxed), 0);
}

#[test]
fn an_allocator_that_unwinds_in_an_insertion_loses_nothing() {
    let alloc = Counting::new(true);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for allowed in 0..12 {
        let mut map = alloc.map();
        let mut refused = 0;
        for i in 0..2000u64 {
            // Now and then memory runs out; the same insertion succeeds when there is some again.
            alloc.allow(if i % 3 == 0 { allowed } else { 0 });
            let value = (i, [1u8; 3]);
            if catch_unwind(AssertUnwindSafe(|| map.insert(i, value))).is_err() {
                refused += 1;
                assert_eq!(map.len() as u64, i);
                alloc.allow(usize::MAX);
                assert_eq!(map.insert(i, value), None);
            }
        }
        assert!(refused > 0);
        assert!((0..2000).all(|i| map.get(&i) == Some(&(i, [1; 3]))));
        alloc.allow(usize::MAX);
        drop(map);
        assert_eq!(alloc.0.blocks.load(Relaxed), 0);
    }
    std::panic::set_hook(hook);
}

#[test]
fn an_allocator_that_unwinds_leaks_no_array() {
    let alloc = Counting::new(true);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    // From 2^8 buckets on an array is two blocks, and so is what doubling one of 2^7 adds to it.
    for n in [0, 832u64] {
        for allowed in 0.. {
            let mut map = alloc.map();
            map.reserve(n as usize);
            for i in 0..n {
                map.insert(i, i);
            }
            map.finish_growth();
            alloc.allow(allowed);
            let done = catch_unwind(AssertUnwindSafe(|| match n {
                0 => map.reserve(2000),
                _ => _ = map.insert(n, n),
            }));
            assert_eq!(alloc.0.bytes.load(Relaxed), map.stats().bytes);
            alloc.allow(usize::MAX);
            assert!((0..n).all(|i| map.get(&i) == Some(&i)));
            drop(map);
            assert_eq!(alloc.0.blocks.load(Relaxed), 0);
            if done.is_ok() {
                assert!(allowed >= 2);
                break;
            }
        }
    }
    std::panic::set_hook(hook);
}

#[test]
fn an_allocator_that_unwinds_leaks_no_box() {
    let alloc = Counting::new(true);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    // One chain, so that an insertion may need a bucket, a box for the key and one for the value (R78).
    let mut map = HashMap::with_hasher_in(OneHash, alloc.clone());
    for i in 0..40u64 {
        for allowed in 0.. {
            alloc.allow(allowed);
            let entry = ([i; 17], [i; 18]);
            if catch_unwind(AssertUnwindSafe(|| map.insert(entry.0, entry.1))).is_ok() {
                break;
            }
            let stats = map.stats();
            assert_eq!(stats.len as u64, i);
            let boxes = (17 + 18) * 8 * stats.len;
            assert_eq!(alloc.0.bytes.load(Relaxed), stats.bytes + boxes);
        }
    }
    assert!((0..40).all(|i| map.get(&[i; 17]) == Some(&[i; 18])));
    drop(map);
    assert_eq!(alloc.0.blocks.load(Relaxed), 0);
    std::panic::set_hook(hook);
}

#[test]
fn removals_and_replacements_need_no_memory_for_a_growth_under_way() {
    let alloc = Counting::new(false);
    let mut refused = false;
    for n in 9..200 {
        let mut map = one_chain(&alloc, n);
        alloc.allow(0);
        let asked = alloc.0.asked.load(Relaxed);
        for i in 0..n / 2 {
            assert_eq!(map.remove(&i), Some(i));
            assert_eq!(
                map.insert(n - 1, i),
                Some(if i == 0 { n - 1 } else { i - 1 })
            );
            assert!((i + 1..n - 1).all(|k| map.get(&k) == Some(&k)));
        }
        refused |= alloc.0.asked.load(Relaxed) > asked;
        alloc.allow(usize::MAX);
        map.finish_growth();
        assert!(!map.stats().growing);
        assert!((n / 2..n - 1).all(|k| map.get(&k) == Some(&k)));
    }
    assert!(refused, "no growth wanted memory");
    assert_eq!(alloc.0.blocks.load(Relaxed), 0);
}

#[test]
fn a_deallocation_that_unwinds_drops_nothing_twice_and_uses_nothing_freed() {
    type Boxed = HashMap<[u64; 17], (Live, [u8; 200]), DefaultHashBuilder, Counting>;
    let operations: [fn(&mut Boxed); 6] = [
        |map| _ = map.remove(&[3; 17]),
        |map| map.retain(|k, _| k[0] % 3 == 0),
        |map| map.extract_if(|k, _| k[0] % 3 == 0).for_each(drop),
        |map| map.shrink_to_fit(),
        |map| map.clear(),
        |map| {
            map.retain(|_, _| false);
            map.shrink_to_fit();
        },
    ];
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for operation in operations {
        for fuse in 0.. {
            let alloc = Counting::new(false);
            let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), alloc.clone());
            map.reserve(1000);
            for i in 0..150 {
                map.insert([i; 17], (Live::new(), [0; 200]));
            }
            alloc.0.fuse.store(fuse, Relaxed);
            let done = catch_unwind(AssertUnwindSafe(|| operation(&mut map)));
            alloc.0.fuse.store(usize::MAX, Relaxed);
            assert_eq!(map.values().count(), map.len());
            assert!(map.keys().all(|k| map.contains_key(k)));
            // What `clear` has not come to is leaked, as by a drop that unwinds.
            let leaked = LIVE.get() - map.len() as isize;
            assert!(leaked == 0 || leaked > 0 && map.is_empty());
            map.insert([1000; 17], (Live::new(), [0; 200]));
            drop(map);
            assert_eq!(LIVE.replace(0), leaked);
            if done.is_ok() {
                assert!(fuse > 0);
                assert_eq!((leaked, alloc.0.blocks.load(Relaxed)), (0, 0));
                break;
            }
        }
    }
    std::panic::set_hook(hook);
}

#[test]
fn a_reservation_that_cannot_end_a_growth_is_refused_and_loses_nothing() {
    let alloc = Counting::new(false);
    let mut refused = false;
    for n in 9..200 {
        let mut map = one_chain(&alloc, n);
        alloc.allow(0);
        let result = map.try_reserve(map.capacity().saturating_sub(map.len()));
        alloc.allow(usize::MAX);
        assert_eq!(result.is_err(), map.stats().growing);
        refused |= result.is_err();
        assert!((0..n).all(|k| map.get(&k) == Some(&k)));
        assert_eq!(map.try_reserve(0), Ok(()));
        assert!(!map.stats().growing);
        assert!((0..n).all(|k| map.get(&k) == Some(&k)));
    }
    assert!(refused, "no growth wanted memory");
    assert_eq!(alloc.0.blocks.load(Relaxed), 0);
}

#[test]
fn a_map_that_is_refused_a_smaller_table_keeps_the_one_it_has() {
    let alloc = Counting::new(false);
    let mut map = alloc.map();
    for i in 0..7000 {
        map.insert(i, i);
    }
    map.retain(|k, _| k % 50 == 0);
    let before = map.stats();
    for allowed in 0.. {
        alloc.allow(allowed);
        map.shrink_to_fit();
        alloc.allow(usize::MAX);
        assert!((0..140).all(|i| map.get(&(50 * i)) == Some(&(50 * i))));
        if map.stats() != before {
            assert!(allowed > 0 && map.stats().bytes < before.bytes / 10);
            break;
        }
    }
    drop(map);
    assert_eq!(alloc.0.blocks.load(Relaxed), 0);
}

#[test]
fn a_refused_insertion_ends_the_program_by_handle_alloc_error() {
    if std::env::var_os("GHMAP_REFUSED").is_some() {
        let alloc = Counting::new(false);
        let mut map = alloc.map();
        alloc.allow(3);
        for i in 0..10_000 {
            map.insert(i, i);
        }
        unreachable!("memory for 10000 entries in three blocks");
    }
    let output = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["a_refused_insertion", "--nocapture"])
        .env("GHMAP_REFUSED", "1")
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("memory allocation of"), "{said}");
}

#[cfg(feature = "rayon")]
#[test]
fn parallel_iterators_of_a_map_in_another_allocator() {
    use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, IntoParallelRefMutIterator};
    use rayon::iter::{ParallelExtend, ParallelIterator};
    let alloc = Counting::new(false);
    for n in [0, 10, 837, 6700] {
        let mut map = alloc.map();
        map.par_extend((0..n).into_par_iter().map(|i| (i, Arc::new(i))));
        let sum = n * n.saturating_sub(1) / 2;
        assert_eq!(map.par_iter().map(|(k, _)| *k).sum::<u64>(), sum);
        map.par_iter_mut().for_each(|(_, v)| *v = Arc::new(**v + 1));
        assert_eq!(map.par_values().map(|v| **v).sum::<u64>(), sum + n);
        let copy = map.clone();
        assert_eq!(copy.into_par_iter().count() as u64, n);
        assert_eq!(map.par_drain().count() as u64, n);
        assert!(map.is_empty());
        drop(map);
        assert_eq!(alloc.0.blocks.load(Relaxed), 0);
    }
}

#[test]
fn a_bucket_that_a_growth_has_not_reached_has_a_number_and_no_value() {
    let alloc = Counting::new(false);
    let mut table = HashTable::new_in(alloc.clone());
    for n in 0..1000u64 {
        table.insert_unique(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n, |n| {
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        if n % 16 == 0 {
            let numbers = 0..table.num_buckets();
            let found = numbers.filter(|&i| table.get_bucket(i).is_some()).count();
            assert_eq!(found, table.len());
        }
    }
}
