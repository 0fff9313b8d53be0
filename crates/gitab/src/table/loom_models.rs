//! Models of publication and growth: four slots, so that the fourth entry doubles them.

use super::*;
use core::any::TypeId;
use core::ptr;
use loom::thread;

fn key(n: usize) -> Key<'static> {
    let types = [
        const { &TypeId::of::<u8>() },
        const { &TypeId::of::<u16>() },
        const { &TypeId::of::<u32>() },
        const { &TypeId::of::<u64>() },
    ];
    Key {
        inter: const { &TypeId::of::<()>() },
        typ: types[n],
        // All on one probe sequence: the models look at the longest way.
        probe: 0,
    }
}

fn register(table: &ItabTable, n: usize) {
    table.register_pair(key(n), RType::of::<u8>(), [Slot { word: ptr::null() }; 2]);
}

fn holds(table: &ItabTable, n: usize) -> bool {
    table
        .find(key(n))
        .is_some_and(|m| m.is(key(n)) && m.implements())
}

/// R105: whoever finds an entry finds all of it; what was there before is found during growth (R107).
#[test]
fn loom_a_reader_races_growth() {
    loom::model(|| {
        let table = ItabTable::leak();
        for n in 0..3 {
            register(table, n);
        }
        // The reader is the spawned one: loom remembers one load per atomic, and the writer's own
        // would hide the reader's from it.
        let reader = thread::spawn(|| {
            assert!((0..3).all(|n| holds(table, n)));
            // In the race: there or not, but never half.
            holds(table, 3)
        });
        register(table, 3);
        let _ = reader.join().unwrap();
        assert!((0..4).all(|n| holds(table, n)));
        assert_eq!((table.stats().size, table.stats().count), (8, 4));
    });
}

/// R102: two that miss at once build one entry.
#[test]
fn loom_racing_misses_build_one_entry() {
    loom::model(|| {
        let table = ItabTable::leak();
        let other = thread::spawn(|| table.nominal(key(0)).is_none());
        assert!(table.nominal(key(0)).is_none());
        assert!(other.join().unwrap());
        assert_eq!((table.stats().builds, table.stats().count), (1, 1));
    });
}

/// A negative answer that races with its registration may be either; afterwards it is yes, for good,
/// in whatever array the reader looks.
#[test]
fn loom_a_negative_answer_is_turned() {
    loom::model(|| {
        let table = ItabTable::leak();
        for n in 1..4 {
            register(table, n % 3);
        }
        let grower = thread::spawn(|| register(table, 3));
        let asker = thread::spawn(|| table.nominal(key(2)).is_some());
        assert!(asker.join().unwrap(), "registered before the threads began");
        grower.join().unwrap();
        assert!((0..4).all(|n| holds(table, n)));
    });
    loom::model(|| {
        let table = ItabTable::leak();
        let asker = thread::spawn(|| table.nominal(key(0)).is_some());
        register(table, 0);
        let _ = asker.join().unwrap();
        assert!(holds(table, 0));
        assert_eq!((table.stats().count, table.stats().negatives), (1, 0));
    });
}
