//! [`GoMap`] as a Rust collection: iterators and conversions, with keys that equal nothing among the others.
#![cfg(feature = "default-hasher")]

use ghmap::{DefaultHashBuilder, GoKey, GoMap};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// `n` entries, every third of a NaN key; the values number them.
fn mixed(n: u32) -> GoMap<f64, u32> {
    (0..n).map(|i| (key(i), i)).collect()
}

fn key(i: u32) -> f64 {
    if i.is_multiple_of(3) {
        f64::NAN
    } else {
        f64::from(i)
    }
}

/// The values, sorted, of entries that must have the keys of theirs.
fn values<'a>(entries: impl IntoIterator<Item = (&'a f64, &'a u32)>) -> Vec<u32> {
    let mut values: Vec<u32> = entries
        .into_iter()
        .map(|(k, &v)| {
            assert!(*k == key(v) || k.is_nan() && key(v).is_nan());
            v
        })
        .collect();
    values.sort_unstable();
    values
}

#[test]
fn r90_every_iterator_gives_every_entry_once_those_of_nan_keys_too_at_each_stage_of_growth() {
    let mut map = GoMap::new();
    for n in 0..500 {
        let all: Vec<u32> = (0..n).collect();
        assert_eq!(values(&map), all);
        assert_eq!(map.iter().len(), all.len());
        assert_eq!(map.values().map(|&v| u64::from(v)).sum::<u64>(), {
            all.iter().map(|&v| u64::from(v)).sum()
        });
        let nans = map.keys().filter(|k| k.is_nan()).count();
        assert_eq!(nans, n.div_ceil(3) as usize);
        map.insert(key(n), n);
    }
    let owned: Vec<(f64, u32)> = map.into_iter().collect();
    assert_eq!(
        values(owned.iter().map(|(k, v)| (k, v))),
        (0..500).collect::<Vec<_>>()
    );
}

#[test]
fn a_clone_is_the_same_map_in_every_stage_of_growth_and_goes_its_own_way() {
    let mut map = GoMap::new();
    for n in 0..500 {
        map.insert(key(n), n);
        let mut copy = map.clone();
        assert_eq!(values(&copy), values(&map));
        for i in 0..=n {
            let want = if key(i).is_nan() { 0 } else { i };
            assert_eq!(copy.get(&key(i)), want);
        }
        // It ends the growth that it began with, as the original will.
        for i in 500..600 {
            copy.insert(f64::NAN, i * 3);
        }
        copy.delete(&1.0);
        assert_eq!(copy.len(), map.len() + 100 - usize::from(n >= 1));
        assert_eq!(values(&map), (0..=n).collect::<Vec<_>>());
    }
}

#[test]
fn clone_from_makes_the_same_map_and_keeps_the_memory_of_one_as_large() {
    for (from, to) in [(0, 50), (50, 0), (50, 53), (105, 200), (300, 10)] {
        let (source, mut map) = (mixed(from), mixed(to));
        let bytes = map.stats().bytes;
        let as_large = map.stats().buckets == source.stats().buckets;
        map.clone_from(&source);
        assert_eq!(values(&map), (0..from).collect::<Vec<_>>());
        assert!(!as_large || map.stats().bytes == bytes);
        assert_eq!(map.get(&1.0), u32::from(from > 1));
    }
}

#[test]
fn r97_a_cursor_forgets_what_it_noted_of_the_map_that_clone_from_replaced() {
    for start in [&[f64::NAN; 8][..], &[1.0, f64::NAN, f64::NAN, 2.0]] {
        let mut map: GoMap<f64, u32> = start.iter().map(|&k| (k, 1)).collect();
        let mut cursor = map.cursor();
        assert!(cursor.next(&map).is_some());
        map.clone_from(&GoMap::from([(f64::NAN, 2), (3.0, 2)]));
        while let Some((_, value)) = cursor.next(&map) {
            assert_eq!(value, 2, "an entry of the map before");
        }
    }
}

#[test]
fn a_clone_that_unwinds_leaves_clone_from_an_empty_map_that_works() {
    #[derive(Debug, Default, PartialEq)]
    struct Touchy(u32);
    thread_local!(static LEFT: Cell<u32> = const { Cell::new(0) });
    impl Clone for Touchy {
        fn clone(&self) -> Self {
            LEFT.set(LEFT.get().wrapping_sub(1));
            if LEFT.get() == 0 {
                resume_unwind(Box::new(()));
            }
            Self(self.0)
        }
    }
    let source: GoMap<u32, Touchy> = (0..60).map(|i| (i, Touchy(i))).collect();
    for fuse in [1, 30, 60] {
        let mut map = GoMap::from([(1000, Touchy(1))]);
        LEFT.set(fuse);
        assert!(catch_unwind(AssertUnwindSafe(|| map.clone_from(&source))).is_err());
        assert!(map.is_empty() && map.iter().next().is_none());
        map.insert(7, Touchy(7));
        assert_eq!(map.lookup(&7), Some(&Touchy(7)));
    }
}

#[test]
fn r86_an_equal_key_that_needs_no_update_stays() {
    /// Equal by its number, whoever's it is.
    #[derive(Debug, PartialEq)]
    struct Owned(u32, char);
    impl GoKey for Owned {
        fn go_eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
        fn go_hash<H: Hasher>(&self, state: &mut H) {
            state.write_u32(self.0);
        }
    }
    let map = GoMap::from([(Owned(1, 'a'), 1), (Owned(1, 'b'), 2)]);
    assert!(map.iter().eq([(&Owned(1, 'a'), &2)]));
}

#[test]
fn keys_of_parts_are_equal_if_all_parts_are() {
    assert!(![1, 2][..].go_eq(&[1, 2, 3][..]) && ![1, 2, 3][..].go_eq(&[1, 2][..]));
    assert!([1, 2][..].go_eq(&[1, 2][..]) && ![1, 2][..].go_eq(&[1, 3][..]));
    assert!(!(1, 2).go_eq(&(1, 3)) && !(1, 2).go_eq(&(2, 2)) && (1, 2).go_eq(&(1, 2)));
    assert!(!Some(1).go_eq(&None) && !None.go_eq(&Some(1)) && None::<u8>.go_eq(&None));
    let nan = f64::NAN;
    assert!(!(nan, 1).is_reflexive() && !(1, nan).is_reflexive() && (1, 0.0).is_reflexive());
    assert!(![1.0, nan].is_reflexive() && !vec![nan, 1.0].is_reflexive());
    assert!(!Some(nan).is_reflexive() && None::<f64>.is_reflexive());
}

#[test]
fn extending_assigns_in_order_and_copies_from_a_borrowed_map() {
    let mut map = GoMap::from([(0.0, 1), (1.0, 1), (f64::NAN, 1)]);
    map.extend([(-0.0, 2), (1.0, 3), (1.0, 4), (f64::NAN, 5)]);
    assert_eq!((map.len(), map.get(&0.0), map.get(&1.0)), (4, 2, 4));
    // R86: the zero that was named last.
    assert!(map.keys().any(|k| *k == 0.0 && k.is_sign_negative()));
    let more: BTreeMap<u64, u64> = (0..100).map(|i| (i, i)).collect();
    let mut map: GoMap<u64, u64> = GoMap::new();
    map.extend(&more);
    map.extend(&GoMap::from([(5, 50), (100, 100)]));
    assert_eq!((map.len(), map.get(&5), map.get(&99)), (101, 50, 99));
}

#[test]
fn r80_a_size_hint_is_a_hint() {
    /// Promises more than there is memory.
    struct Boaster(u64);
    impl Iterator for Boaster {
        type Item = (u64, u64);
        fn next(&mut self) -> Option<(u64, u64)> {
            self.0 += 1;
            (self.0 <= 20).then_some((self.0, 1))
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (usize::MAX, None)
        }
    }
    let map: GoMap<u64, u64> = Boaster(0).collect();
    assert_eq!(map.len(), 20);
    let map: GoMap<u64, u64, DefaultHashBuilder> = (0..840).map(|i| (i, i)).collect();
    // Without a hint it would be in the middle of a growth.
    assert_eq!((map.stats().b, map.stats().growing), (8, false), "R73");
}

#[test]
fn r73_a_hint_of_one_bucket_allocates_at_the_first_insertion() {
    for hint in 0..=8 {
        let mut map: GoMap<u64, u64, DefaultHashBuilder> = GoMap::with_hint(hint);
        assert_eq!((map.stats().buckets, map.stats().bytes), (0, 0), "{hint}");
        map.insert(1, 1);
        assert_eq!(map.stats().buckets, 1);
    }
    let map: GoMap<u64, u64> = GoMap::with_hint(9);
    assert_eq!(map.stats().buckets, 2);
}

#[test]
fn r89_a_map_that_becomes_empty_gets_a_new_seed() {
    /// How many have been made.
    static SEEDS: AtomicU64 = AtomicU64::new(0);
    struct Seeded(u64);
    impl Default for Seeded {
        fn default() -> Self {
            Self(SEEDS.fetch_add(1, Relaxed))
        }
    }
    impl BuildHasher for Seeded {
        type Hasher = DefaultHasher;
        fn build_hasher(&self) -> DefaultHasher {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.0);
            hasher
        }
    }
    let mut map: GoMap<u64, u64, Seeded> = GoMap::default();
    map.insert(1, 1);
    assert_eq!(SEEDS.load(Relaxed), 1);
    map.delete(&1);
    assert_eq!(SEEDS.load(Relaxed), 2, "by a deletion");
    map.clear();
    map.delete(&1);
    assert_eq!(SEEDS.load(Relaxed), 2, "it was empty");
    map.insert(2, 2);
    map.insert(3, 3);
    map.delete(&2);
    assert_eq!(SEEDS.load(Relaxed), 2, "an entry is left");
    map.clear();
    assert_eq!(SEEDS.load(Relaxed), 3, "by a clear");
    map.insert(3, 4);
    assert_eq!((map.get(&2), map.get(&3)), (0, 4));
}

#[test]
fn debug_shows_a_map_whatever_its_keys() {
    /// Not a key by Go's rules: nobody asks it.
    #[derive(Debug)]
    struct Any;
    assert_eq!(format!("{:?}", GoMap::<Any, Any>::new()), "{}");
    let map = GoMap::from([(f64::NAN, 1)]);
    assert_eq!(format!("{map:?}"), "{NaN: 1}");
}
