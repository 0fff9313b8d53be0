//! Iteration while the map changes, and Go's other rules for maps.
#![cfg(feature = "default-hasher")]

use ghmap::{GoKey, GoMap, HashMap};
use std::cell::Cell;
use std::collections::{HashMap as Model, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn filled(n: u64) -> HashMap<u64, u64> {
    let mut map = HashMap::new();
    for i in 0..n {
        map.insert(i, i);
    }
    map
}

#[test]
fn r97_an_untouched_map_is_given_once_each_in_every_stage_of_growth() {
    for n in 0..300 {
        let mut map = filled(n);
        let (mut cursor, mut seen) = (map.cursor(), HashSet::new());
        while let Some((k, v)) = cursor.next(&mut map) {
            assert_eq!(*k, *v);
            assert!(seen.insert(*k));
        }
        assert_eq!(seen.len() as u64, n);
        assert!(cursor.next(&mut map).is_none());
    }
}

#[test]
fn r97_entries_deleted_before_their_turn_are_not_given() {
    for n in [5, 60, 105, 1000] {
        let mut map = filled(n);
        let (mut cursor, mut seen) = (map.cursor(), 0);
        while let Some((&k, _)) = cursor.next(&mut map) {
            seen += 1;
            // Its partner goes; whichever of the two came first is the only one given.
            map.remove(&k);
            map.remove(&(k ^ 1));
        }
        assert_eq!(seen, n.div_ceil(2));
        assert!(map.is_empty());
    }
}

#[test]
fn r97_growth_in_the_middle_gives_no_entry_twice_and_misses_none_that_stays() {
    for start in [1, 8, 13, 50, 104, 105, 110, 400] {
        let mut map = filled(start);
        let (mut cursor, mut seen, mut fresh) = (map.cursor(), HashSet::new(), 1_000_000);
        while let Some((&k, _)) = cursor.next(&mut map) {
            assert!(seen.insert(k), "{k} twice");
            if fresh < 1_003_000 {
                for _ in 0..17 {
                    map.insert(fresh, fresh);
                    fresh += 1;
                }
            }
        }
        assert!((0..start).all(|k| seen.contains(&k)));
    }
}

#[test]
fn r97_same_size_growth_reserve_and_shrink_in_the_middle() {
    let mut map = filled(1000);
    let mut model: Model<u64, u64> = (0..1000).map(|i| (i, i)).collect();
    let (mut cursor, mut seen, mut step) = (map.cursor(), HashSet::new(), 0u64);
    while let Some((&k, _)) = cursor.next(&mut map) {
        assert!(seen.insert(k));
        step += 1;
        match step % 250 {
            0 => map.reserve(5000 + step as usize * 10),
            125 => map.shrink_to_fit(),
            _ => {
                let gone = step * 7 % 1000;
                map.remove(&gone);
                model.remove(&gone);
            }
        }
    }
    assert!(model.keys().all(|k| seen.contains(k)));
}

#[test]
fn r97_clear_in_the_middle_ends_it() {
    let mut map = filled(1000);
    let mut cursor = map.cursor();
    for _ in 0..10 {
        assert!(cursor.next(&mut map).is_some());
    }
    map.clear();
    assert!(cursor.next(&mut map).is_none());
}

#[test]
fn r97_the_start_is_random() {
    let mut map = filled(1000);
    let firsts: HashSet<u64> = (0..50)
        .filter_map(|_| map.cursor().next(&mut map).map(|(k, _)| *k))
        .collect();
    assert!(firsts.len() > 10, "{}", firsts.len());
    // In a table that is nearly empty.
    map.retain(|k, _| k % 250 == 0);
    let firsts: HashSet<u64> = (0..200)
        .filter_map(|_| map.cursor().next(&mut map).map(|(k, _)| *k))
        .collect();
    assert!(firsts.len() > 1);
    // Within one bucket too.
    let mut small = filled(8);
    let firsts: HashSet<u64> = (0..100)
        .filter_map(|_| small.cursor().next(&mut small).map(|(k, _)| *k))
        .collect();
    assert!(firsts.len() > 4, "{}", firsts.len());
}

#[test]
fn values_can_be_changed_through_a_cursor() {
    let mut map = filled(100);
    let mut cursor = map.cursor();
    while let Some((_, v)) = cursor.next(&mut map) {
        *v += 1;
    }
    assert!(map.iter().all(|(k, v)| *v == k + 1));
}

#[test]
fn a_cursor_of_another_map_is_harmless() {
    let mut large = filled(5000);
    let mut small = filled(3);
    let mut cursor = large.cursor();
    for _ in 0..100 {
        cursor.next(&mut large);
    }
    let mut steps = 0;
    while let Some((k, _)) = cursor.next(&mut small) {
        assert!(*k < 3);
        steps += 1;
    }
    assert!(steps <= 3);
    let mut cursor = small.cursor();
    cursor.next(&mut small);
    while cursor.next(&mut large).is_some() {}
    assert!(cursor.next(&mut filled(0)).is_none());
}

#[test]
fn r84_a_missing_key_is_the_zero_value() {
    let mut map: GoMap<&str, [u64; 4]> = GoMap::new();
    assert_eq!(map.get(&"a"), [0; 4]);
    assert_eq!(map.lookup(&"a"), None);
    map.insert("a", [1; 4]);
    assert_eq!((map.get(&"a"), map.lookup(&"b")), ([1; 4], None));
}

#[test]
fn r84_a_missing_key_is_the_zero_value_however_large() {
    #[derive(Clone, PartialEq, Debug)]
    struct Huge([u8; 4096]);
    impl Default for Huge {
        fn default() -> Self {
            Self([0; 4096])
        }
    }
    let mut map = GoMap::new();
    for i in 0..100 {
        assert_eq!(map.get(&i), Huge::default());
        map.insert(i, Huge([1; 4096]));
        map.delete(&(i / 2));
    }
    assert_eq!(
        (map.get(&49), map.get(&99)),
        (Huge::default(), Huge([1; 4096]))
    );
}

#[test]
fn r86_the_zeros_are_one_key_and_the_last_assigned_is_kept() {
    let mut map = GoMap::new();
    // Enough others for growth to move the zeros about.
    for i in 1..500 {
        map.insert(f64::from(i), i);
        map.insert(if i % 2 == 0 { 0.0 } else { -0.0 }, i);
        let (mut cursor, mut zeros) = (map.cursor(), Vec::new());
        while let Some((k, v)) = cursor.next(&map) {
            if k == 0.0 {
                zeros.push((k.is_sign_negative(), v));
            }
        }
        assert_eq!(zeros, [(i % 2 != 0, i)]);
    }
}

#[test]
fn r86_an_assignment_stores_the_string_that_it_names() {
    let (long, whole) = ("the whole of a long text".to_string(), "whole".to_string());
    let mut map = GoMap::new();
    map.insert(&long[4..9], 1);
    map.insert(&whole, 2);
    let (key, value) = map.cursor().next(&map).expect("one entry");
    assert_eq!((key, value, map.len()), ("whole", 2, 1));
    assert_eq!(key.as_ptr(), whole.as_ptr());

    // What contains strings does so too.
    let needs_update = [
        <(u8, Option<String>)>::NEEDS_UPDATE,
        <[Box<str>; 2]>::NEEDS_UPDATE,
        <(u8, Option<char>)>::NEEDS_UPDATE,
    ];
    assert_eq!(needs_update, [true, true, false]);
}

#[test]
fn r90_nan_entries_add_up_survive_growth_and_leave_by_clear() {
    let mut map = GoMap::new();
    for i in 0..3000u64 {
        map.insert(f64::NAN, i);
        assert_eq!(map.len() as u64, i + 1);
    }
    assert_eq!(map.lookup(&f64::NAN), None);
    map.delete(&f64::NAN);
    assert_eq!(map.len(), 3000);
    let (mut cursor, mut seen) = (map.cursor(), HashSet::new());
    while let Some((k, v)) = cursor.next(&map) {
        assert!(k.is_nan() && seen.insert(v));
    }
    assert_eq!(seen.len(), 3000);
    // They spread: the top bytes change as they move, so halves go either way each time.
    assert!(
        map.stats().overflow_buckets < 400,
        "{}",
        map.stats().overflow_buckets
    );
    map.clear();
    assert!(map.is_empty() && map.cursor().next(&map).is_none());
}

#[test]
fn r90_r97_each_nan_is_given_once_in_every_stage_of_growth() {
    for n in 0..300 {
        let mut map = GoMap::new();
        for i in 0..n {
            map.insert(f64::NAN, i);
        }
        let (mut cursor, mut seen) = (map.cursor(), HashSet::new());
        while let Some((_, v)) = cursor.next(&map) {
            assert!(seen.insert(v), "{v} of {n} twice");
        }
        assert_eq!(seen.len(), n);
    }
}

#[test]
fn r90_growth_under_an_iterator_gives_each_nan_once() {
    for start in [7, 26, 50, 104, 110, 300] {
        let mut map = GoMap::new();
        for i in 0..start {
            map.insert(f64::NAN, i);
        }
        let (mut cursor, mut seen, mut fresh) = (map.cursor(), HashSet::new(), 1_000_000);
        while let Some((_, v)) = cursor.next(&map) {
            assert!(seen.insert(v), "{v} twice");
            if fresh < 1_002_000 {
                for _ in 0..7 {
                    map.insert(f64::NAN, fresh);
                    fresh += 1;
                }
                map.insert(f64::from(fresh), fresh);
                fresh += 1;
            }
        }
        assert!((0..start).all(|i| seen.contains(&i)), "one missed");
    }
}

#[test]
fn r90_nans_gone_in_a_clear_are_not_given() {
    let mut map = GoMap::new();
    for i in 0..100 {
        map.insert(f64::NAN, i);
    }
    let mut cursor = map.cursor();
    assert!(cursor.next(&map).is_some());
    map.clear();
    map.insert(1.0, 1);
    while let Some((k, _)) = cursor.next(&map) {
        assert_eq!(k, 1.0);
    }
}

#[test]
fn r80_a_senseless_hint_is_no_hint() {
    for hint in [
        usize::MAX,
        usize::MAX / 2,
        isize::MAX as usize,
        1 << (usize::BITS - 4),
    ] {
        let mut map: GoMap<u64, u64> = GoMap::with_hint(hint);
        assert_eq!(map.stats().buckets, 0);
        map.insert(1, 1);
        assert_eq!(map.get(&1), 1);
    }
    let map: GoMap<u64, u64> = GoMap::with_hint(1000);
    assert_eq!(map.stats().b, 8);
}

#[test]
fn r89_the_seed_changes_when_the_last_entry_goes() {
    let mut map = GoMap::new();
    let mut orders = HashSet::new();
    for _ in 0..20 {
        for i in 0..6 {
            map.insert(i * 16, ());
        }
        // A key's slot depends on insertion; which of many buckets it is in depends on the seed.
        for i in 0..200 {
            map.insert(1_000_000 + i, ());
        }
        orders.insert(format!("{map:?}"));
        for i in 0..6 {
            map.delete(&(i * 16));
        }
        for i in 0..200 {
            map.delete(&(1_000_000 + i));
        }
        assert!(map.is_empty());
    }
    assert!(orders.len() > 10, "{}", orders.len());
}

#[test]
fn r89_r97_entries_of_a_new_seed_are_not_given_twice() {
    for _ in 0..50 {
        let mut map = GoMap::new();
        for i in 0..100 {
            map.insert(i, 1);
        }
        let mut cursor = map.cursor();
        assert!(cursor.next(&map).is_some());
        for i in 0..100 {
            map.delete(&i);
        }
        for i in 0..100 {
            map.insert(i, 2);
        }
        let mut seen = HashSet::new();
        while let Some((key, _)) = cursor.next(&map) {
            assert!(seen.insert(key), "{key} twice");
        }
    }
}

#[test]
fn r97_an_iteration_that_begins_after_a_clear_gives_all_that_is_there() {
    let mut map = GoMap::from([(1, 1)]);
    let mut cursor = map.cursor();
    map.clear();
    for i in 0..100 {
        map.insert(i, i);
    }
    let mut seen = HashSet::new();
    while let Some((key, _)) = cursor.next(&map) {
        assert!(seen.insert(key), "{key} twice");
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn keys_of_several_parts_follow_their_parts() {
    let mut map = GoMap::new();
    map.insert((1u8, [0.0f32, 1.0]), "a");
    map.insert((1, [-0.0, 1.0]), "b");
    map.insert((1, [f32::NAN, 1.0]), "c");
    assert_eq!((map.len(), map.get(&(1, [0.0, 1.0]))), (2, "b"));
    let mut map: GoMap<std::sync::Arc<str>, u8> = GoMap::new();
    map.insert("a".into(), 1);
    map.insert("a".into(), 2);
    assert_eq!((map.len(), map.get(&"a".into())), (1, 2));
    let mut map: GoMap<Option<Vec<f64>>, u8> = GoMap::new();
    map.insert(None, 1);
    map.insert(Some(vec![0.0]), 2);
    assert_eq!((map.get(&None), map.get(&Some(vec![-0.0]))), (1, 2));
}

#[test]
fn r97_a_step_that_unwinds_in_a_clone_gives_its_entry_next_time() {
    /// Of the first hundred `Clone`s, every seventh unwinds.
    struct Touchy(u32);
    thread_local!(static CLONES: Cell<u32> = const { Cell::new(0) });
    impl Clone for Touchy {
        fn clone(&self) -> Self {
            CLONES.set(CLONES.get() + 1);
            if CLONES.get() < 100 && CLONES.get().is_multiple_of(7) {
                resume_unwind(Box::new(()));
            }
            Self(self.0)
        }
    }
    for n in [1, 60, 105] {
        CLONES.set(0);
        let mut map = GoMap::new();
        for i in 0..n {
            let key = if i % 2 == 0 { f64::NAN } else { f64::from(i) };
            map.insert(key, Touchy(i));
        }
        let (mut cursor, mut given, mut ended) = (map.cursor(), Vec::new(), false);
        while !ended {
            let step = catch_unwind(AssertUnwindSafe(|| cursor.next(&map)));
            if let Ok(entry) = step {
                ended = entry.is_none();
                given.extend(entry.map(|(_, value)| value.0));
            }
        }
        given.sort_unstable();
        assert!(given.into_iter().eq(0..n));
    }
}
