//! The table driven from below: made-up keys, exact growth, races, late registrations.

use super::*;
use crate::method::{IMethod, Method, Recv, sorted, sorted_methods};
use alloc::boxed::Box;
use core::ptr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

/// A family of types, one per number, for keys by the hundred.
struct Numbered<const N: usize>;

fn ids() -> Vec<&'static TypeId> {
    macro_rules! ids {
        ($($hi:literal)*) => {
            std::vec![$( ids!(@ $hi 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15) ),*].concat()
        };
        (@ $hi:literal $($lo:literal)*) => {
            [$( const { &TypeId::of::<Numbered<{ $hi * 16 + $lo }>>() } ),*]
        };
    }
    ids!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25)
}

fn pairs() -> impl Iterator<Item = (&'static TypeId, &'static TypeId)> {
    let ids = ids();
    let n = ids.len();
    (0..n * n).map(move |i| (ids[i / n], ids[i % n]))
}

fn entry(memory: &mut Persistent, key: Key<'_>) -> Entry {
    let header = Header {
        key,
        rtype: None,
        verdict: Verdict::No,
    };
    let at = memory.take(Itab::bytes(0));
    // SAFETY: `take` gives the bytes that `write` asks for.
    unsafe { Entry::write(at.cast(), header, &[]) }
}

/// R104: with one hash for all, the n-th entry stands at the n-th triangular number.
#[test]
fn r104_probes_at_triangular_numbers() {
    let slots = Slots::leak(512);
    let mut memory = Persistent::new();
    let mut expected = Vec::new();
    for (i, (inter, typ)) in pairs().take(384).enumerate() {
        let key = Key {
            inter,
            typ,
            probe: 500,
        };
        assert!(slots.put(entry(&mut memory, key)).is_none());
        expected.push(((500 + i * (i + 1) / 2) % 512, key));
    }
    assert_eq!([0, 1, 3, 4].map(|n| expected[n].0), [500, 501, 506, 510]);
    for (place, key) in expected {
        let (found, m) = slots
            .iter_places()
            .find(|(_, m)| m.is(key))
            .expect("it was put");
        assert_eq!(found, place);
        assert!(slots.find(key).expect("it was put").is(m.key()));
    }
}

/// R106: pairs whose hashes are equal are told apart by identity.
#[test]
fn r106_equal_hashes_are_told_apart() {
    let slots = Slots::leak(512);
    let mut memory = Persistent::new();
    let ids: Vec<_> = ids();
    // x with y and y with x: their hashes xor to the same by nature.
    for (i, x) in ids[..16].iter().enumerate() {
        for y in &ids[..i] {
            let (a, b) = (Key::new(x, y), Key::new(y, x));
            assert_eq!(a.probe, b.probe);
            assert!(slots.find(a).is_none());
            slots.put(entry(&mut memory, a));
            assert!(slots.find(b).is_none(), "the mirrored pair is another");
            slots.put(entry(&mut memory, b));
            assert!(slots.find(a).is_some_and(|m| m.is(a)));
            assert!(slots.find(b).is_some_and(|m| m.is(b)));
        }
    }
}

/// Every probe sequence reaches every slot, so a table with one empty slot still ends a search.
#[test]
fn r104_every_slot_is_reached() {
    for bits in 0..8 {
        let size = 1usize << bits;
        let mut seen = std::vec![false; size];
        for i in 0..size {
            seen[(i * (i + 1) / 2) % size] = true;
        }
        assert!(seen.iter().all(|&s| s), "{size}");
    }
}

const WANT: &[IMethod] = &sorted([IMethod::new::<unsafe fn(Recv<'_>)>("run")]);

unsafe fn run(_: Recv<'_>) {}

// SAFETY: `run` takes any receiver.
const HAVE: &[Method] =
    &sorted_methods([unsafe { Method::new::<unsafe fn(Recv<'_>)>("run", run) }]);

struct Runs;
// SAFETY: sorted above, and `run` takes any receiver.
unsafe impl crate::Describe for Runs {
    const KIND: crate::Kind = crate::Kind::Struct;
    const METHODS: &'static [Method] = HAVE;
}

fn interface(id: TypeId) -> &'static InterfaceType {
    Box::leak(Box::new(InterfaceType::new(id, WANT)))
}

/// An interface that asks for `run`, one per number.
fn runner<const N: usize>() -> &'static InterfaceType {
    interface(TypeId::of::<Numbered<N>>())
}

fn runners() -> Vec<&'static InterfaceType> {
    ids().into_iter().map(|&id| interface(id)).collect()
}

/// R100, R101: 512 slots hold 384 entries; the 385th makes them 1,024, and so on.
#[test]
fn r101_the_385th_entry_doubles_the_table() {
    let table = ItabTable::leak();
    let typ = RType::of_described::<Runs>();
    let mut sizes = Vec::new();
    let all = runners();
    let mut nominal = 0;
    for &inter in &all[..384] {
        assert!(table.structural(inter, typ).0.implements());
    }
    assert_eq!((table.stats().count, table.stats().size), (384, 512));
    // What is there already does not make it grow.
    assert!(table.structural(all[7], typ).0.implements());
    assert_eq!(table.stats().size, 512);
    for (inter, t) in pairs().filter(|(a, b)| a != b).take(1200) {
        table.nominal(Key::new(inter, t));
        nominal += 1;
        sizes.push(table.stats().size);
        assert_eq!(table.stats().count, 384 + nominal);
    }
    assert_eq!(sizes[0], 1024, "the 385th");
    assert_eq!(sizes[768 - 385], 1024, "the 768th");
    assert_eq!(sizes[768 - 384], 2048, "the 769th");
    for &inter in &all[..384] {
        assert!(
            table
                .find(Key::new(&inter.id, typ.id_ref()))
                .is_some_and(|m| m.implements())
        );
    }
    assert_eq!(table.stats().negatives, nominal);
}

/// Exchanging a negative entry in a table that is filled to three quarters does not grow it.
#[test]
fn r101_an_exchange_does_not_grow_the_table() {
    let table = ItabTable::leak();
    let all: Vec<_> = pairs().take(384).map(|(i, t)| Key::new(i, t)).collect();
    for &key in &all {
        assert!(table.nominal(key).is_none());
    }
    table.register_pair(all[9], RType::of::<u8>(), [Slot { word: ptr::null() }; 2]);
    assert!(table.nominal(all[9]).is_some());
    let stats = table.stats();
    assert_eq!((stats.size, stats.count, stats.negatives), (512, 384, 383));
}

/// R99: a second assertion that fails scans no methods and builds nothing.
#[test]
fn r99_negative_answers_are_cached() {
    struct Idle;
    // SAFETY: there is no method to call.
    unsafe impl crate::Describe for Idle {
        const KIND: crate::Kind = crate::Kind::Struct;
        const METHODS: &'static [Method] = &[];
    }
    let table = ItabTable::leak();
    let inter = runner::<0>();
    for typ in [RType::of_described::<Idle>(), RType::of::<u8>()] {
        assert!(!table.structural(inter, typ).0.implements());
        let before = table.stats();
        assert!(!table.structural(inter, typ).0.implements());
        assert_eq!(table.stats(), before);
    }
    assert_eq!(table.stats().negatives, 2);
}

/// R102: however many threads ask at once, one entry is built, and all get it.
#[test]
fn r102_racing_assertions_build_one_entry() {
    for round in 0..20 {
        let table = ItabTable::leak();
        let barrier = Barrier::new(64);
        let (inter, typ) = (runners()[round], RType::of_described::<Runs>());
        let found: Vec<usize> = thread::scope(|s| {
            let threads: Vec<_> = (0..64)
                .map(|_| {
                    s.spawn(|| {
                        barrier.wait();
                        table.structural(inter, typ).0.as_ptr().addr()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(found.iter().all(|&at| at == found[0]));
        assert_eq!((table.stats().builds, table.stats().count), (1, 1));
    }
}

/// R107: readers that began before a growth find everything that was there, throughout.
#[test]
fn r107_readers_survive_growth() {
    let table = ItabTable::leak();
    let typ = RType::of_described::<Runs>();
    let old = runners();
    let old = &old[..100];
    for a in old {
        assert!(table.structural(a, typ).0.implements());
    }
    let (done, lookups) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                loop {
                    for a in old {
                        assert!(
                            table
                                .find(Key::new(&a.id, typ.id_ref()))
                                .is_some_and(|m| m.implements())
                        );
                    }
                    lookups.fetch_add(1, Relaxed);
                    if done.load(Relaxed) {
                        break;
                    }
                }
            });
        }
        for (i, t) in pairs().filter(|(a, b)| a != b).take(6000) {
            table.nominal(Key::new(i, t));
        }
        done.store(true, Relaxed);
    });
    assert!(lookups.load(Relaxed) >= 2);
    assert_eq!((table.stats().count, table.stats().size), (6100, 8192));
}

/// A type that becomes known late turns the answers that were given without knowing it, and only those.
#[test]
fn late_types_turn_negative_answers() {
    let table = ItabTable::leak();
    let all = runners();
    let bare = RType::of::<Runs>();
    for &inter in &all[..10] {
        assert!(!table.structural(inter, bare).0.implements());
        assert!(!table.structural(inter, RType::of::<u8>()).0.implements());
    }
    assert_eq!(table.stats().negatives, 20);
    table.register_type(RType::of_described::<Runs>());
    assert_eq!(table.stats().negatives, 10);
    let builds = table.stats().builds;
    for &inter in &all[..10] {
        assert!(table.structural(inter, bare).0.implements());
        assert!(!table.structural(inter, RType::of::<u8>()).0.implements());
    }
    assert_eq!(table.stats().builds, builds);
}

/// The same, when nobody registers but a value comes whose descriptor carries the methods.
#[test]
fn a_described_value_turns_negative_answers() {
    let table = ItabTable::leak();
    let inter = runner::<1>();
    assert!(!table.structural(inter, RType::of::<Runs>()).0.implements());
    assert!(
        table
            .structural(inter, RType::of_described::<Runs>())
            .0
            .implements()
    );
    assert!(table.structural(inter, RType::of::<Runs>()).0.implements());
    assert_eq!(table.stats().negatives, 0);
}

/// An interface with more methods than a chunk holds gets memory of its own.
#[test]
fn large_entries_are_cut_whole() {
    let mut memory = Persistent::new();
    let mut last = 0;
    for size in [64, 8 << 10, 64, 16 << 10, 1 << 20, 128] {
        let at = memory.take(size);
        assert!(at.addr().get().is_multiple_of(64));
        assert_ne!(at.addr().get(), last);
        last = at.addr().get();
        // SAFETY: `take` gave `size` bytes.
        unsafe { at.write_bytes(0xa5, size) };
    }
}

/// Memory for entries of any length: aligned, and nobody else's.
#[test]
fn persistent_memory_is_cut_without_overlap() {
    let mut memory = Persistent::new();
    let chunk = Persistent::CHUNK;
    let sizes = [64, chunk / 4, chunk / 2, chunk, 2 * chunk, 128];
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for size in sizes.into_iter().cycle().take(100) {
        let at = memory.take(size).addr().get();
        assert!(at.is_multiple_of(64));
        spans.push((at, at + size));
    }
    spans.sort_unstable();
    assert!(spans.is_sorted_by(|a, b| a.1 <= b.0));
}
