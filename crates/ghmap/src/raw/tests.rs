//! Tests of what no program sees: the order in memory, the counters, the marks.

use super::bucket::{Bucket, SLOTS};
use super::hmap::{Hmap, Rehash};
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
        let (mut count, mut overflow) = (0, 0);
        for n in 0..self.0.chains() {
            let tops = self.tops(n);
            overflow += self.chain(n).len().saturating_sub(1);
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
                            assert_eq!(bucket.top(i), tophash(key));
                            assert!(self.0.find(key, |k| *k == key).is_some());
                        }
                    }
                }
            }
        }
        assert_eq!(count, self.0.len());
        assert_eq!(self.0.iter().count(), count);
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

#[test]
fn r68_noverflow_is_exact_below_16_and_random_above() {
    let mut map: Hmap<u64, u64> = Hmap::new();
    map.b = 15;
    for n in 1..=1000 {
        map.incr_noverflow();
        assert_eq!(map.noverflow, n);
    }
    // B = 20: one in 2^5 counts. The generator starts the same every time.
    let mut map: Hmap<u64, u64> = Hmap::new();
    map.b = 20;
    for _ in 0..32_000 {
        map.incr_noverflow();
    }
    assert!((900..1100).contains(&map.noverflow), "{}", map.noverflow);
}

#[test]
fn r79_spare_buckets_number_a_sixteenth_from_b_4_on() {
    for (b, spares) in [(0, 1), (3, 1), (4, 1), (5, 2), (8, 16), (10, 64)] {
        let mut table = Table::new();
        assert!(table.0.allocate(b, &Global).is_ok());
        assert!(table.0.pool.ensure(1, b, &Global).is_ok());
        assert_eq!(table.0.pool.available(), spares, "B {b}");
    }
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
            table.insert(key);
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
