//! `HashTable` and the raw entries: a model of both, hashes good and bad, entries taken and put back in
//! every stage of a growth, numbers of buckets, and closures that unwind.

use ghmap::hash_map::RawEntryMut;
use ghmap::hash_table::Entry;
use ghmap::{HashMap, HashTable};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::RandomState;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// Under Miri, which is a thousand times slower, the models take fewer steps.
const SLOW: u64 = if cfg!(miri) { 20 } else { 1 };

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn good(n: u64) -> u64 {
    (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Sixteen hashes for all.
fn bad(n: u64) -> u64 {
    good(n % 16)
}

/// A value with a number in it.
trait Numbered: Clone + std::fmt::Debug {
    fn new(n: u64, version: u64) -> Self;
    fn n(&self) -> u64;
    fn version(&self) -> u64;
}

impl Numbered for (u64, u64) {
    fn new(n: u64, version: u64) -> Self {
        (n, version)
    }
    fn n(&self) -> u64 {
        self.0
    }
    fn version(&self) -> u64 {
        self.1
    }
}

/// Above 128 bytes: kept in a block of its own (R78).
impl Numbered for (Rc<u64>, [u64; 20]) {
    fn new(n: u64, version: u64) -> Self {
        (Rc::new(n), [version; 20])
    }
    fn n(&self) -> u64 {
        *self.0
    }
    fn version(&self) -> u64 {
        self.1[19]
    }
}

/// Table and model agree, by every way of looking.
fn same<T: Numbered>(table: &HashTable<T>, model: &BTreeMap<u64, u64>, hash: fn(u64) -> u64) {
    assert_eq!(table.len(), model.len());
    let seen: BTreeMap<u64, u64> = table.iter().map(|v| (v.n(), v.version())).collect();
    assert_eq!(&seen, model);
    let buckets: BTreeSet<usize> = table.iter_buckets().collect();
    assert_eq!(buckets.len(), model.len());
    let full = (0..table.num_buckets() + 9).filter(|&i| table.get_bucket(i).is_some());
    assert!(full.eq(buckets.iter().copied()));
    for &n in model.keys() {
        let at = table
            .find_bucket_index(hash(n), |v| v.n() == n)
            .expect("present");
        assert!(buckets.contains(&at));
        assert_eq!(table.get_bucket(at).map(T::n), Some(n));
        assert!(table.iter_hash(hash(n)).any(|v| v.n() == n));
        assert!(table.iter_hash_buckets(hash(n)).any(|i| i == at));
    }
}

fn follows_the_model<T: Numbered>(hash: fn(u64) -> u64, span: u64, steps: u64, seed: u64) {
    let mut rng = Rng(seed);
    let (mut table, mut model) = (HashTable::<T>::new(), BTreeMap::new());
    let hasher = |v: &T| hash(v.n());
    for step in 0..steps / SLOW {
        let n = rng.below(span);
        let is_n = |v: &T| v.n() == n;
        match rng.below(12) {
            0..=3 => {
                let entry = table.entry(hash(n), is_n, hasher);
                let entry = entry.and_modify(|v| *v = T::new(n, step));
                entry.or_insert_with(|| T::new(n, step));
                model.insert(n, step);
            }
            4 => match table.find_entry(hash(n), is_n) {
                Ok(entry) => {
                    let (value, place) = entry.remove();
                    assert_eq!(model.remove(&n), Some(value.version()));
                    // Half of them come back at once.
                    if rng.below(2) == 0 {
                        assert!(is_n(place.insert(T::new(n, step)).get()));
                        model.insert(n, step);
                    }
                }
                Err(absent) => {
                    assert!(!model.contains_key(&n));
                    absent
                        .into_table()
                        .insert_unique(hash(n), T::new(n, step), hasher);
                    model.insert(n, step);
                }
            },
            5 => {
                if let Ok(entry) = table.find_entry(hash(n), is_n) {
                    let keep = rng.below(2) == 0;
                    match entry.replace_entry_with(|_| keep.then(|| T::new(n, step))) {
                        Entry::Occupied(_) => model.insert(n, step),
                        Entry::Vacant(_) => model.remove(&n),
                    };
                }
            }
            6 => {
                // Taken by its number, the entry's chain is not known, and may be put back all the same.
                if let Some(at) = table.find_bucket_index(hash(n), is_n) {
                    let entry = table.get_bucket_entry(at).expect("full");
                    assert_eq!(entry.bucket_index(), at);
                    let (_, place) = entry.remove();
                    model.remove(&n);
                    if rng.below(2) == 0 {
                        place.insert(T::new(n, step));
                        model.insert(n, step);
                    }
                }
            }
            7 => {
                assert_eq!(
                    table.find(hash(n), is_n).map(T::version),
                    model.get(&n).copied()
                );
            }
            8 if rng.below(200) == 0 => {
                let m = 2 + rng.below(5);
                table.retain(|v| v.n() % m != 0);
                model.retain(|n, _| n % m != 0);
            }
            9 if rng.below(200) == 0 => {
                let m = 2 + rng.below(5);
                for value in table.extract_if(|v| v.n() % m == 0) {
                    assert_eq!(model.remove(&value.n()), Some(value.version()));
                }
            }
            10 if rng.below(100) == 0 => match rng.below(4) {
                0 => table.shrink_to_fit(hasher),
                1 => table.reserve(rng.below(span) as usize, hasher),
                2 => table.finish_growth(hasher),
                _ => table = table.clone(),
            },
            11 if rng.below(400) == 0 => same(&table, &model, hash),
            _ => {}
        }
    }
    same(&table, &model, hash);
    assert_eq!(table.drain().count(), model.len());
    assert!(table.is_empty());
}

#[test]
fn a_table_follows_the_model() {
    for (seed, span) in [(1, 9), (2, 60), (3, 400), (4, 3000)] {
        follows_the_model::<(u64, u64)>(good, span, 20_000, seed);
        follows_the_model::<(Rc<u64>, [u64; 20])>(good, span, 8_000, seed);
    }
}

#[test]
fn a_table_of_long_chains_follows_the_model() {
    for (seed, span) in [(5, 60), (6, 900)] {
        follows_the_model::<(u64, u64)>(bad, span, 12_000, seed);
        follows_the_model::<(Rc<u64>, [u64; 20])>(bad, span, 6_000, seed);
    }
}

/// As chance would have it: neighbours are not spread evenly.
fn random(n: u64) -> u64 {
    let x = good(n);
    good(x >> 29 ^ x)
}

/// Puts `n` into the table, in which it is not, by its entry.
fn insert_by_entry(table: &mut HashTable<u64>, n: u64, hash: fn(u64) -> u64) {
    match table.entry(hash(n), |v| *v == n, |n| hash(*n)) {
        Entry::Vacant(entry) => assert_eq!(*entry.insert(n).get(), n),
        Entry::Occupied(_) => panic!("{n} is present"),
    }
}

#[test]
fn r91_insertions_alone_end_a_growth_before_the_next() {
    grows_in_time(|table, n| assert_eq!(*table.insert_unique(good(n), n, |n| good(*n)).get(), n));
    grows_in_time(|table, n| insert_by_entry(table, n, good));
}

fn grows_in_time(insert: impl Fn(&mut HashTable<u64>, u64)) {
    let mut table = HashTable::new();
    let mut grown = 0;
    for n in 0..20_000 / SLOW {
        let before = table.stats();
        insert(&mut table, n);
        let after = table.stats();
        if after.b > before.b {
            assert!(!before.growing);
            grown += 1;
        }
        // A removal moves nothing.
        if n % 3 == 0 {
            let evacuated = after.evacuated;
            table
                .find_entry(good(n), |v| *v == n)
                .expect("just inserted")
                .remove();
            assert_eq!(table.stats().evacuated, evacuated);
        }
    }
    assert!(grown > if SLOW > 1 { 4 } else { 8 });
}

#[test]
fn r74_long_thin_chains_of_entries_are_packed() {
    let mut table = HashTable::new();
    let (mut packed, mut was) = (0, false);
    for n in 0..200_000 / SLOW {
        insert_by_entry(&mut table, n, random);
        if n >= 1000 {
            let oldest = n - 1000;
            let entry = table.find_entry(random(oldest), |v| *v == oldest);
            assert_eq!(entry.expect("a thousand are kept").remove().0, oldest);
        }
        let stats = table.stats();
        packed += u32::from(stats.same_size && stats.growing && !was);
        was = stats.growing;
        assert!(stats.overflow_buckets <= 2 * stats.buckets);
    }
    assert_eq!((table.len(), table.stats().b), (1000, 8));
    assert!(packed > 0 || SLOW > 1);
}

#[test]
fn a_hasher_that_unwinds_loses_nothing() {
    for fuse in 0..40 / SLOW as u32 {
        let mut table = HashTable::new();
        let mut n = 0u64;
        while !table.stats().growing || table.len() < 400 {
            table.insert_unique(good(n), Rc::new(n), |v| good(**v));
            n += 1;
        }
        let left = std::cell::Cell::new(fuse);
        let insert = || {
            let hasher = |v: &Rc<u64>| match left.get() {
                0 => panic!("hash"),
                k => {
                    left.set(k - 1);
                    good(**v)
                }
            };
            table.insert_unique(good(n), Rc::new(n), hasher);
        };
        let done = catch_unwind(AssertUnwindSafe(insert)).is_ok();
        assert_eq!(table.len() as u64, n + u64::from(done));
        for k in 0..n {
            let found = table.find(good(k), |v| **v == k).expect("not lost");
            assert_eq!(Rc::strong_count(found), 1);
        }
    }
}

#[test]
fn a_replacement_that_unwinds_takes_the_entry_and_no_more() {
    let mut table = HashTable::new();
    let mut map: HashMap<u64, Rc<u64>, RandomState> = HashMap::default();
    let witness = Rc::new(0);
    for n in 0..500u64 {
        table.insert_unique(good(n), (n, witness.clone()), |v| good(v.0));
        map.insert(n, witness.clone());
    }
    let replaced = catch_unwind(AssertUnwindSafe(|| {
        let entry = table.find_entry(good(77), |v| v.0 == 77).expect("present");
        entry.replace_entry_with(|_| panic!("user"));
    }));
    assert!(replaced.is_err());
    let replaced = catch_unwind(AssertUnwindSafe(|| {
        let entry = map.entry(77);
        entry.and_replace_entry_with(|_, _| panic!("user"));
    }));
    assert!(replaced.is_err());
    let replaced = catch_unwind(AssertUnwindSafe(|| {
        let entry = map.raw_entry_mut().from_key(&78);
        entry.and_replace_entry_with(|_, _| panic!("user"));
    }));
    assert!(replaced.is_err());
    assert_eq!((table.len(), map.len()), (499, 498));
    assert_eq!(Rc::strong_count(&witness), 1 + 499 + 498);
    assert!((0..500).all(|n| (n == 77) == table.find(good(n), |v| v.0 == n).is_none()));
    assert!((0..500).all(|n| [77, 78].contains(&n) != map.contains_key(&n)));
    drop((table, map));
    assert_eq!(Rc::strong_count(&witness), 1);
}

#[test]
fn an_entry_is_replaced_where_its_key_has_no_hash() {
    /// Neither `Hash` nor `Eq`: what the entry's methods must not ask for.
    struct Opaque(u64);

    let mut map: HashMap<Opaque, u64, ()> = HashMap::with_hasher(());
    for n in 0..1000 {
        match map.raw_entry_mut().from_hash(good(n), |k| k.0 == n) {
            RawEntryMut::Vacant(place) => {
                place.insert_with_hasher(good(n), Opaque(n), n, |k| good(k.0));
            }
            RawEntryMut::Occupied(_) => panic!("{n} twice"),
        }
    }
    for n in 0..1000 {
        let entry = map.raw_entry_mut().from_hash(good(n), |k| k.0 == n);
        entry.and_replace_entry_with(|k, v| (k.0 % 2 == 0).then_some(v + 1));
    }
    assert_eq!(map.len(), 500);
    for n in 0..1000 {
        let found = map.raw_entry().from_hash(good(n), |k| k.0 == n);
        assert_eq!(found.map(|(_, v)| *v), (n % 2 == 0).then_some(n + 1));
    }
}

#[test]
fn raw_entries_change_keys_and_values_in_place() {
    let mut map: HashMap<String, u32, RandomState> = HashMap::default();
    for n in 0..300 {
        let key = n.to_string();
        let (_, value) = map.raw_entry_mut().from_key(&key).or_insert(key, n);
        assert_eq!(*value, n);
    }
    for n in 0..300 {
        let key = n.to_string();
        let entry = map
            .raw_entry_mut()
            .from_key(&key)
            .and_modify(|_, v| *v += 1);
        let RawEntryMut::Occupied(mut entry) = entry else {
            panic!("{n} is not there");
        };
        assert_eq!(entry.insert_key(key.clone()), key);
        assert_eq!(entry.insert(n + 2), n + 1);
        assert_eq!(entry.get_key_value(), (&key, &(n + 2)));
        if n % 2 == 0 {
            assert_eq!(entry.remove_entry(), (key, n + 2));
        }
    }
    assert_eq!(map.len(), 150);
    assert_eq!(map.raw_entry().from_key("7"), Some((&"7".to_string(), &9)));
    assert_eq!(map.raw_entry().from_key("8"), None);
}

#[test]
#[should_panic(expected = "duplicate")]
fn one_value_is_not_lent_twice() {
    let mut table = HashTable::new();
    table.insert_unique(1, 1, |_| 1);
    let _ = table.get_disjoint_mut([1, 1], |_, _| true);
}

#[test]
fn the_smallest_tables_have_no_place_to_name() {
    let mut table = HashTable::<u8>::new();
    assert_eq!((table.num_buckets(), table.allocation_size()), (0, 0));
    assert_eq!(table.iter_buckets().len() + table.iter_hash(0).count(), 0);
    assert!(table.get_bucket(0).is_none() && table.get_bucket_entry(usize::MAX).is_err());
    assert!(table.find_entry(0, |_| true).is_err());
    // A vacant entry that is not filled leaves nothing behind but the room for one.
    assert!(matches!(table.entry(0, |_| true, |_| 0), Entry::Vacant(_)));
    assert_eq!((table.len(), table.iter().count()), (0, 0));
    let mut units = HashTable::new();
    units.insert_unique(0, (), |_| 0);
    units.insert_unique(0, (), |_| 0);
    assert_eq!((units.len(), units.iter_hash(0).count()), (2, 2));
}

#[cfg(feature = "rayon")]
#[test]
fn parallel_iterators_see_every_value_once() {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};
    let mut table = HashTable::new();
    for n in 0..10_000 / SLOW {
        table.insert_unique(good(n), n, |n| good(*n));
    }
    let n = 10_000 / SLOW;
    let sum = n * (n - 1) / 2;
    assert_eq!((&table).into_par_iter().sum::<u64>(), sum);
    (&mut table).into_par_iter().for_each(|n| *n *= 2);
    let clone = table.clone();
    assert_eq!(clone.into_par_iter().sum::<u64>(), 2 * sum);
    let drain = table.par_drain();
    assert_eq!(
        (drain.count() as u64, table.len()),
        (n, 0),
        "zero among them"
    );
}
