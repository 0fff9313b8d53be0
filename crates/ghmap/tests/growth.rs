//! When and how the table grows: Go's numbers, found by running Go (R67, R73, R91, R92).

use ghmap::HashMap;
use std::hash::{BuildHasher, Hasher};

/// A hash that spreads without a seed, so that every run is the same.
#[derive(Clone, Copy, Default)]
struct Fixed;

struct FixedHasher(u64);

impl BuildHasher for Fixed {
    type Hasher = FixedHasher;
    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0)
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(u64::from(b));
        }
    }
    fn write_u64(&mut self, n: u64) {
        let mut x = (self.0 ^ n).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = x ^ (x >> 31);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

fn map() -> HashMap<u64, u64, Fixed> {
    HashMap::default()
}

/// Inserts one by one: `extend` would reserve.
fn fill(map: &mut HashMap<u64, u64, Fixed>, n: u64) {
    for i in 0..n {
        map.insert(i, i);
    }
}

#[test]
fn r67_b_changes_at_exactly_gos_lengths() {
    let (mut map, mut seen) = (map(), Vec::new());
    for i in 0..60_000 {
        let before = map.stats().b;
        map.insert(i, i);
        if map.stats().b != before {
            assert!(!map.stats().same_size);
            seen.push(map.len());
        }
    }
    assert_eq!(
        seen,
        [
            9, 14, 27, 53, 105, 209, 417, 833, 1665, 3329, 6657, 13313, 26625, 53249
        ]
    );
}

#[test]
fn r73_hints_choose_the_least_b_that_is_not_overloaded() {
    let hints = [
        (1, 0),
        (8, 0),
        (9, 1),
        (13, 1),
        (14, 2),
        (26, 2),
        (27, 3),
        (53, 4),
        (105, 5),
        (209, 6),
        (1000, 8),
        (65536, 14),
    ];
    for (hint, b) in hints {
        let map: HashMap<u64, u64, _> = HashMap::with_capacity_and_hasher(hint, Fixed);
        assert_eq!(
            (map.stats().b, map.stats().buckets),
            (b, 1 << b),
            "hint {hint}"
        );
        assert!(map.capacity() >= hint);
    }
    let none: HashMap<u64, u64, _> = HashMap::with_capacity_and_hasher(0, Fixed);
    assert_eq!(none.stats().buckets, 0);
}

#[test]
fn r72_b_has_no_limit_of_15() {
    let mut map = map();
    fill(&mut map, 500_000);
    assert_eq!(map.stats().b, 17);
    assert!((0..500_000).all(|i| map.get(&i) == Some(&i)));
}

#[test]
fn r91_a_write_evacuates_two_buckets_and_the_growth_ends_in_time() {
    let mut map = map();
    fill(&mut map, 833);
    // 833 entries: B has just gone from 7 to 8.
    assert_eq!((map.stats().b, map.stats().growing), (8, true));
    assert_eq!(map.stats().old_buckets, 128);
    // Two with the write that began it, and two with each since.
    let mut evacuated = 2;
    while map.stats().growing {
        assert_eq!(map.stats().evacuated, evacuated);
        map.insert(10_000 + evacuated as u64, 0);
        evacuated += 2;
    }
    assert_eq!(evacuated, 128);
}

#[test]
fn r95_lookups_never_evacuate_and_removals_do() {
    let mut map = map();
    fill(&mut map, 833);
    let before = map.stats();
    for i in 0..833 {
        assert_eq!(map.get(&i), Some(&i));
        assert_eq!(map.get_mut(&i), Some(&mut { i }));
    }
    assert_eq!(map.stats(), before);
    for i in 0..128 {
        map.remove(&i);
    }
    assert!(!map.stats().growing);
}

#[test]
fn r82_every_key_is_found_at_every_step_of_a_growth() {
    let mut map = map();
    for i in 0..2000 {
        map.insert(i, i);
        if map.stats().growing {
            assert!((0..=i).all(|k| map.get(&k) == Some(&k)));
            assert!((i + 1..i + 20).all(|k| !map.contains_key(&k)));
            let mut keys: Vec<_> = map.keys().copied().collect();
            keys.sort_unstable();
            assert!(keys.into_iter().eq(0..=i));
        }
    }
}

#[test]
fn r92_a_sliding_window_grows_in_place_only() {
    let mut map = map();
    fill(&mut map, 1000);
    map.finish_growth();
    assert_eq!(map.stats().b, 8);
    let (mut same, mut big, mut peak, mut was) = (0, 0, 0, map.stats().growing);
    for i in 1000..2_001_000 {
        map.remove(&(i - 1000));
        map.insert(i, i);
        let s = map.stats();
        peak = peak.max(s.noverflow);
        if s.growing && !was {
            same += u32::from(s.same_size);
            big += u32::from(!s.same_size);
        }
        was = s.growing;
    }
    assert_eq!((big, map.stats().b, map.len()), (0, 8, 1000));
    // Go: 22 times in this run; the number depends a little on the hash.
    assert!((10..=40).contains(&same), "{same}");
    assert_eq!(peak, 256);
}

#[test]
fn r96_it_never_shrinks_by_itself() {
    let mut map = map();
    fill(&mut map, 1000);
    for i in 0..1000 {
        map.remove(&i);
    }
    assert_eq!((map.len(), map.stats().b), (0, 8));
    map.shrink_to_fit();
    assert_eq!((map.capacity(), map.allocation_size()), (0, 0));
    map.insert(1, 1);
    assert_eq!(map[&1], 1);
}

#[test]
fn overflow_buckets_are_recycled_by_the_next_growth() {
    let mut map = map();
    fill(&mut map, 1 << 16);
    let reserved =
        |m: &HashMap<u64, u64, Fixed>| m.stats().overflow_buckets + m.stats().spare_buckets;
    map.finish_growth();
    let before = reserved(&map);
    assert!(map.stats().spare_buckets > map.stats().overflow_buckets);
    map.insert(1 << 16, 0);
    assert_eq!(reserved(&map), before);
}

#[test]
fn reserve_and_shrink_move_everything_at_once() {
    let mut map = map();
    fill(&mut map, 100);
    map.reserve(10_000);
    let s = map.stats();
    assert!(!s.growing && map.capacity() >= 10_100);
    map.extend((100..10_100).map(|i| (i, i)));
    assert_eq!(map.stats().b, s.b);
    map.retain(|k, _| k % 100 == 0);
    map.shrink_to(50);
    assert_eq!(map.stats().b, 4);
    assert!((0..101).all(|i| map.get(&(i * 100)) == Some(&(i * 100))));
}

#[test]
fn shrinking_ends_a_growth_that_leaves_nothing_to_shrink() {
    let mut map = map();
    fill(&mut map, 105);
    assert!(map.stats().growing);
    map.shrink_to_fit();
    assert_eq!((map.stats().b, map.stats().growing), (5, false));
    assert!((0..105).all(|i| map.get(&i) == Some(&i)));
}

#[test]
fn clearing_ends_the_growth_of_a_map_that_is_empty_already() {
    let mut map = map();
    fill(&mut map, 105);
    map.retain(|_, _| false);
    assert!(map.is_empty() && map.stats().growing);
    map.clear();
    assert!(!map.stats().growing);
}

#[test]
fn shrinking_gives_back_the_overflow_buckets_of_long_thin_chains() {
    let mut map = map();
    fill(&mut map, 13 << 9);
    let mut oldest = 0;
    while map.stats().overflow_buckets < map.stats().buckets * 3 / 4 {
        map.remove(&oldest);
        map.insert(oldest + (13 << 9), 0);
        oldest += 1;
    }
    let (churned, entries) = (map.stats(), map.clone());
    map.shrink_to_fit();
    let shrunk = map.stats();
    assert_eq!((shrunk.b, shrunk.len), (churned.b, churned.len));
    assert!(shrunk.overflow_buckets + shrunk.spare_buckets < shrunk.buckets / 3);
    assert!(map == entries);
    // There is nothing more to give.
    map.shrink_to_fit();
    assert_eq!(map.stats(), shrunk);
}

#[test]
fn shrinking_to_more_than_can_be_is_not_shrinking() {
    let mut map = map();
    fill(&mut map, 105);
    assert!(map.stats().growing);
    map.shrink_to(usize::MAX);
    assert_eq!((map.stats().b, map.len()), (5, 105));
    // Nor is shrinking to a capacity that it has not, in the middle of a growth.
    fill(&mut map, 209);
    assert!(map.stats().growing);
    map.shrink_to(10_000);
    assert_eq!((map.stats().b, map.len()), (6, 209));
}

#[test]
fn insertions_that_have_been_reserved_move_nothing() {
    let mut grown = map();
    for n in 0..2000 {
        grown.insert(n, n);
        if grown.stats().growing {
            let mut map = grown.clone();
            let (b, room) = (map.stats().b, map.capacity() - map.len());
            map.reserve(room);
            for i in 0..room as u64 {
                assert!(!map.stats().growing, "at {i} of {room} after {n}");
                map.insert(!i, i);
            }
            assert_eq!((map.stats().b, map.len()), (b, map.capacity()));
            assert!((0..=n).all(|i| map.get(&i) == Some(&i)));
        }
    }
}

#[test]
fn a_doubling_adds_what_is_there_and_no_second_array() {
    let mut map = map();
    let (mut before, mut doublings) = (map.stats(), 0);
    for i in 0..60_000 {
        map.insert(i, i);
        let stats = map.stats();
        if i > 100 && stats.buckets > before.buckets {
            doublings += 1;
            assert_eq!(stats.buckets, 2 * before.buckets);
            assert!(
                stats.bytes < 2 * before.bytes + 1024,
                "{before:?} {stats:?}"
            );
        }
        if i > 100 {
            // 6.5 and 3.25 entries for 144 bytes, and the overflow buckets.
            let each = stats.bytes as f64 / stats.len as f64;
            assert!((22.1..54.4).contains(&each), "{each} at {i}");
        }
        before = stats;
    }
    assert_eq!(doublings, 10, "at 105, 209, 417 ... 53249 (R67)");
}

#[test]
fn clone_from_uses_the_overflow_buckets_of_a_map_emptied_by_removals() {
    let mut source = map();
    fill(&mut source, 832);
    source.finish_growth();
    let used = source.stats().overflow_buckets;
    assert!(used > 0);
    let mut copy = source.clone();
    let bytes = copy.stats().bytes;
    for round in 0..200 {
        match round % 3 {
            0 => copy.retain(|_, _| false),
            1 => assert_eq!(copy.extract_if(|_, _| true).count(), 832),
            _ => (0..832).for_each(|i| assert_eq!(copy.remove(&i), Some(i))),
        }
        copy.clone_from(&source);
        assert_eq!(copy.stats().overflow_buckets, used);
        assert_eq!(copy.stats().bytes, bytes);
    }
    assert!(copy == source);
}

#[test]
fn reserving_room_that_is_there_moves_nothing() {
    let mut map = map();
    fill(&mut map, 300);
    map.finish_growth();
    let places = |map: &HashMap<u64, u64, Fixed>| -> Vec<*const u64> {
        map.values().map(|v| &raw const *v).collect()
    };
    let before = places(&map);
    map.reserve(map.capacity() - map.len());
    assert_eq!(places(&map), before);
    map.reserve(map.capacity() - map.len() + 1);
    assert_ne!(places(&map), before);
}
