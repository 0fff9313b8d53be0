//! Tests of what no program sees: the order in memory, the counters, the marks.

use super::bucket::{Bucket, SLOTS};
use super::hmap::{ALLOCATED, Hmap, Rehash, capacity};
use super::tophash::{EMPTY_ONE, EMPTY_REST, MIN_TOP_HASH, tophash};
use crate::Global;
use std::collections::BTreeMap;
use std::vec::Vec;

/// The key is its own hash.
struct Own;

impl Rehash<u64> for Own {
    fn hash(&self, key: &u64) -> u64 {
        *key
    }
}

/// A table of `u64` keys that hash to themselves, which frees itself.
struct Table(Hmap<u64, u64>);

impl Table {
    fn new() -> Self {
        Self(Hmap::new())
    }

    fn insert(&mut self, key: u64) {
        let assigned = self
            .0
            .find_or_insert(key, (key, key), |a, b| a == b, &Global, &Own);
        assert!(assigned.is_ok());
        self.check();
    }

    /// Inserts an absent key in two steps, as an entry does.
    fn insert_by_place(&mut self, key: u64) {
        match self.0.find_or_place(key, |k| *k == key, &Global, &Own) {
            // SAFETY: just found.
            Ok(Err(place)) => unsafe {
                assert!(self.0.fill_place(place, key, key, &Global).is_ok());
            },
            found => assert!(matches!(found, Ok(Ok(_)))),
        }
        self.check();
    }

    fn remove(&mut self, key: u64) -> bool {
        self.0.before_delete(key, &Global, &Own);
        let slot = self.0.find(key, |k| *k == key);
        if let Some(slot) = slot {
            // SAFETY: just found.
            let entry = unsafe { self.0.remove(slot, &Global) };
            assert_eq!(entry, (key, key));
        }
        self.check();
        slot.is_some()
    }

    /// Buckets of the chain, from its head.
    fn chain(&self, n: usize) -> Vec<Bucket<u64, u64>> {
        let mut chain = Vec::new();
        let mut next = self.0.chain_head(n);
        while let Some(bucket) = next {
            chain.push(bucket);
            // SAFETY: live.
            next = unsafe { bucket.overflow() };
        }
        chain
    }

    fn tops(&self, n: usize) -> Vec<u8> {
        self.chain(n)
            .iter()
            .flat_map(|bucket| {
                // SAFETY: live.
                (0..SLOTS).map(|i| unsafe { bucket.top(i) })
            })
            .collect()
    }

    /// Every invariant of the head comments.
    fn check(&self) {
        let (mut count, mut overflow, mut counted) = (0, 0, 0);
        for n in 0..self.0.chains() {
            let tops = self.tops(n);
            let behind_first = self.chain(n).len() - 1;
            overflow += behind_first;
            // Those of a chain that has its evacuation before it are counted then.
            if !self.0.in_old(n as u64) {
                counted += behind_first;
            }
            let mut rest = false;
            for top in tops {
                assert!(!rest || top == EMPTY_REST, "something behind EMPTY_REST");
                assert!(
                    top <= EMPTY_ONE || top >= MIN_TOP_HASH,
                    "evacuated and in use"
                );
                rest = top == EMPTY_REST;
                count += usize::from(top >= MIN_TOP_HASH);
            }
            for bucket in self.chain(n) {
                for i in 0..SLOTS {
                    // SAFETY: live; the key is read of full slots only.
                    unsafe {
                        if bucket.top(i) >= MIN_TOP_HASH {
                            let key = *bucket.key(i);
                            // R65, R77: the low bits say the bucket; R76: the top ones the byte.
                            let mask = if self.0.in_old(n as u64) {
                                self.0.old_len() - 1
                            } else {
                                self.0.mask
                            };
                            assert_eq!(key as usize & mask, n);
                            assert_eq!(bucket.top(i), tophash(key));
                            assert!(self.0.find(key, |k| *k == key).is_some());
                        }
                    }
                }
            }
        }
        assert_eq!(count, self.0.len());
        assert_eq!(self.0.iter().count(), count);
        assert_eq!(usize::from(self.0.noverflow), counted, "R68");
        let (all, _) = self.0.pool.size();
        assert_eq!(
            all - self.0.pool.available(),
            overflow,
            "an overflow bucket lost"
        );
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: keys and values need no drop, and nothing uses the table any more.
        unsafe { self.0.free(&Global) };
    }
}

/// Keys that all go to bucket 0, with top bytes from 100 on.
fn colliding(n: u64) -> impl DoubleEndedIterator<Item = u64> {
    (0..n).map(|i| (100 + i) << 56 | i << 40)
}

#[cfg(target_pointer_width = "64")]
#[test]
fn r66_the_head_is_72_bytes_and_a_pool_that_is_not_used_one_pointer_of_them() {
    assert_eq!(size_of::<Hmap<u64, u64>>(), 72);
    assert_eq!(size_of::<super::overflow::Pool<u64, u64>>(), 8);
}

#[test]
fn r68_noverflow_is_exact_below_16_and_random_above() {
    let mut map: Hmap<u64, u64> = Hmap::new();
    map.b = 15;
    for n in 1..=1000 {
        map.incr_noverflow();
        assert_eq!(map.noverflow, n);
    }
    // One in 2^(B - 15) counts. The generator starts the same every time.
    for b in [16, 17, 20] {
        let mut map: Hmap<u64, u64> = Hmap::new();
        map.b = b;
        for _ in 0..1000 << (b - 15) {
            map.incr_noverflow();
        }
        assert!((900..1100).contains(&map.noverflow), "{}", map.noverflow);
    }
}

#[test]
fn r68_a_chain_that_overflows_before_its_evacuation_is_counted_by_that() {
    for insert in [Table::insert, Table::insert_by_place] {
        let mut table = Table::new();
        assert!(table.0.allocate(5, &Global).is_ok());
        // The last bucket is empty, and the table grows.
        (0..209).for_each(|n| table.insert((n % 31) | (5 + n / 31) << 56));
        assert!(table.0.is_growing());
        (0..9).for_each(|n| insert(&mut table, 31 | (5 + n) << 56));
        assert_eq!((table.chain(31).len(), table.0.noverflow), (2, 0));
        assert!(table.0.finish_growth(&Global, &Own).is_ok());
        assert_eq!((table.chain(31).len(), table.0.noverflow), (2, 1));
        table.check();
    }
}

#[test]
fn r72_r74_packing_begins_at_as_many_overflow_buckets_as_buckets_counted_to_2_15() {
    for (b, many) in [(0, 1), (3, 8), (15, 1 << 15), (16, 1 << 15), (30, 1 << 15)] {
        let mut map: Hmap<u64, u64> = Hmap::new();
        (map.b, map.flags) = (b, ALLOCATED);
        map.noverflow = many - 1;
        map.set_limit();
        assert_eq!(map.limit, capacity(b), "B {b}");
        map.noverflow = many;
        map.set_limit();
        assert_eq!(map.limit, 0, "B {b}");
    }
}

#[test]
fn r79_spare_buckets_number_a_sixteenth_from_b_4_on() {
    // At most 256 KiB at a time.
    let most = (256 << 10) / Bucket::<u64, u64>::SIZE;
    for (b, spares) in [
        (0, 1),
        (3, 1),
        (4, 1),
        (5, 2),
        (8, 16),
        (10, 64),
        (16, most),
    ] {
        let mut table = Table::new();
        assert!(table.0.allocate(b, &Global).is_ok());
        assert!(table.0.pool.ensure(1, b, &Global).is_ok());
        assert_eq!(table.0.pool.available(), spares, "B {b}");
    }
}

#[test]
fn what_a_chunk_has_left_is_used_before_a_new_one() {
    let mut table = Table::new();
    assert!(table.0.pool.ensure(1, 8, &Global).is_ok());
    assert!(table.0.pool.ensure(20, 8, &Global).is_ok());
    assert_eq!(table.0.pool.available(), 16 + 20);
}

#[test]
fn r90_irreflexive_keys_take_either_side_anew_at_every_doubling() {
    /// No key equals itself, and none is hashed.
    struct Nan;
    impl Rehash<u64> for Nan {
        fn hash(&self, _: &u64) -> u64 {
            unreachable!("its hash says nothing")
        }
        fn irreflexive(&self, _: &u64) -> bool {
            true
        }
    }
    let mut table = Table::new();
    for n in 0..2000 {
        // All begin in bucket 0, with one tophash byte.
        let slot = table.0.insert_unique(200 << 56, n, n, &Global, &Nan);
        assert!(slot.is_ok());
    }
    assert!(table.0.finish_growth(&Global, &Nan).is_ok());
    let in_use = (0..512).filter(|&n| table.tops(n)[0] != EMPTY_REST).count();
    // Each has been moved as often as the map has doubled since. With their bytes kept they would stay together.
    assert!(in_use > 20, "{in_use} of 512 buckets in use");
}

#[test]
fn r87_a_full_chain_is_extended_at_its_end() {
    let mut table = Table::new();
    assert!(table.0.allocate(5, &Global).is_ok());
    colliding(24).for_each(|key| table.insert(key));
    let tops: Vec<u8> = (100..124).collect();
    assert_eq!(table.tops(0), tops);
    assert_eq!(table.chain(0).len(), 3);
}

#[test]
fn r88_tombstones_turn_into_rest_backwards_across_buckets() {
    let mut table = Table::new();
    assert!(table.0.allocate(5, &Global).is_ok());
    colliding(20).for_each(|key| table.insert(key));
    let keys: Vec<u64> = colliding(20).collect();
    // In the middle: one tombstone.
    table.remove(keys[18]);
    assert_eq!(table.tops(0)[17..21], [117, EMPTY_ONE, 119, EMPTY_REST]);
    // The last: it and the tombstone before it are the rest.
    table.remove(keys[19]);
    assert_eq!(table.tops(0)[17..21], [117, 0, 0, 0]);
    // All of the middle bucket, then what follows: the walk back crosses two buckets.
    (5..16).for_each(|i| assert!(table.remove(keys[i])));
    assert_eq!(table.tops(0)[5..16], [EMPTY_ONE; 11]);
    table.remove(keys[17]);
    assert_eq!(table.tops(0)[16..18], [116, EMPTY_REST]);
    table.remove(keys[16]);
    assert_eq!(
        table.tops(0)[4..],
        [[104].as_slice(), &[EMPTY_REST; 19]].concat()
    );
    // The first empty slot of the chain is used again.
    table.insert(keys[9]);
    assert_eq!(table.tops(0)[5], 109);
    for key in keys {
        table.remove(key);
    }
    assert_eq!(table.tops(0), [EMPTY_REST; 24]);
}

#[test]
fn r88_the_last_slot_of_a_bucket_is_the_rest_if_the_next_bucket_is_empty() {
    let mut table = Table::new();
    assert!(table.0.allocate(5, &Global).is_ok());
    colliding(17).for_each(|key| table.insert(key));
    for key in colliding(17).skip(15).collect::<Vec<_>>().into_iter().rev() {
        assert!(table.remove(key));
    }
    assert_eq!(table.tops(0)[14..17], [114, EMPTY_REST, EMPTY_REST]);
}

#[test]
fn chains_are_loose_from_a_quarter_of_overflow_buckets_on() {
    for (overflow, loose) in [(64, false), (65, true)] {
        let mut table = Table::new();
        assert!(table.0.allocate(8, &Global).is_ok());
        assert!(table.0.pool.ensure(overflow, 8, &Global).is_ok());
        assert_eq!(table.0.has_loose_chains(), loose);
    }
}

#[test]
fn r83_r94_a_miss_compares_only_equal_top_bytes_and_stops_at_the_rest() {
    let mut table = Table::new();
    assert!(table.0.allocate(5, &Global).is_ok());
    colliding(24).for_each(|key| table.insert(key));
    let compared = |table: &Table, hash: u64| {
        let mut n = 0;
        let found = table.0.find(hash, |_| {
            n += 1;
            false
        });
        assert!(found.is_none());
        n
    };
    assert_eq!(compared(&table, 99 << 56), 0);
    assert_eq!(compared(&table, 110 << 56), 1);
    // The last bucket is emptied but for the link: a miss must not reach it.
    let keys: Vec<u64> = colliding(24).collect();
    (7..24).for_each(|i| assert!(table.remove(keys[i])));
    let last = table.chain(0)[2];
    // SAFETY: live. A full slot where none may be, which only a search past the rest would find.
    unsafe { last.set_top(0, 123) };
    assert_eq!(compared(&table, 123 << 56), 0);
    // SAFETY: as above.
    unsafe { last.set_top(0, EMPTY_REST) };
}

#[test]
fn random_operations_keep_every_invariant() {
    let mut table = Table::new();
    let (mut model, mut x) = (BTreeMap::new(), 1u64);
    for step in 0..if cfg!(miri) { 300 } else { 3000 } {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        // Sixteen buckets' worth of low bits, so that chains grow and shrink.
        let key = (x >> 20 & 15) | (x >> 30 & 15) << 56;
        if x & 7 < if step % 1000 < 500 { 6 } else { 2 } {
            if x & 8 == 0 {
                table.insert(key);
            } else {
                table.insert_by_place(key);
            }
            model.insert(key, ());
        } else {
            assert_eq!(table.remove(key), model.remove(&key).is_some());
        }
        assert_eq!(table.0.len(), model.len());
    }
}

#[test]
fn r82_a_chain_of_any_length_is_split_whole_and_packed() {
    for n in 0..=20 {
        for y in 0..=n {
            let mut table = Table::new();
            assert!(table.0.allocate(4, &Global).is_ok());
            // The Y entries stand among the others.
            let keys = colliding(n).enumerate();
            keys.for_each(|(i, key)| table.insert(key | u64::from(i as u64 * 23 % n < y) << 4));
            // The other chains have room for the rest of what makes the map double.
            let more = (0..=104 - n).map(|j| (100 + j / 15) << 56 | (1 + j % 15));
            more.for_each(|key| table.insert(key));
            assert!(table.0.finish_growth(&Global, &Own).is_ok());
            table.check();
            assert_eq!(table.0.b, 5);
            for (chain, entries) in [(0, n - y), (16, y)] {
                let full = table
                    .tops(chain)
                    .iter()
                    .filter(|&&top| top >= MIN_TOP_HASH)
                    .count();
                let least = (entries as usize).div_ceil(SLOTS).max(1);
                assert_eq!((full, table.chain(chain).len()), (entries as usize, least));
            }
        }
    }
}
