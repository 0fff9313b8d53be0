//! Random operations on a map and on a `HashTable`, against `std`'s map, and on a `GoMap` under several cursors,
//! for GORT_FUZZ_SECONDS (1) from GORT_FUZZ_SEED (7).

use ghmap::hash_table::Entry;
use ghmap::{GoCursor, GoMap, HashMap, HashTable};
use std::collections::{BTreeMap, BTreeSet, HashMap as Model};
use std::hash::RandomState;
use std::time::{Duration, Instant};

fn env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect(name))
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn same(map: &HashMap<u64, String, RandomState>, model: &Model<u64, String>) {
    assert_eq!(map.len(), model.len());
    assert_eq!(map.iter().len(), map.iter().count());
    assert!(map.iter().all(|(k, v)| model.get(k) == Some(v)));
    assert!(model.iter().all(|(k, v)| map.get(k) == Some(v)));
}

fn map_round(rng: &mut Rng) {
    let span = 1 << (1 + rng.below(13));
    let (mut map, mut model) = (HashMap::with_hasher(RandomState::new()), Model::new());
    let mut cursor = map.cursor();
    for _ in 0..rng.below(20_000) {
        let k = rng.below(span);
        match rng.below(if span > 512 { 2000 } else { 200 }) {
            0 => {
                map.clear();
                model.clear();
            }
            1 => {
                map.shrink_to(rng.below(span) as usize);
            }
            2 => map.reserve(rng.below(span) as usize),
            3 => map.finish_growth(),
            4 => {
                let m = 2 + rng.below(9);
                map.retain(|k, _| k % m != 0);
                model.retain(|k, _| k % m != 0);
            }
            5 => {
                let m = 2 + rng.below(9);
                for (k, v) in map.extract_if(|k, _| k % m == 0) {
                    assert_eq!(model.remove(&k), Some(v));
                }
                model.retain(|k, _| k % m != 0);
            }
            6 => map = map.clone(),
            7 => same(&map, &model),
            8 => cursor = map.cursor(),
            n if n % 8 == 0 => match cursor.next(&mut map) {
                Some((k, v)) => assert_eq!(model.get(k), Some(&*v)),
                None => cursor = map.cursor(),
            },
            n if n % 3 == 0 => assert_eq!(map.remove(&k), model.remove(&k)),
            n if n % 3 == 1 => {
                let v = format!("{k}.{n}");
                assert_eq!(map.insert(k, v.clone()), model.insert(k, v));
            }
            _ => assert_eq!(map.get(&k), model.get(&k)),
        }
    }
    same(&map, &model);
}

/// A value of a table: its number, and a string that shows a second drop under a sanitizer.
type Value = (u64, String);

fn same_table(table: &HashTable<Value>, model: &Model<u64, String>, hash: &impl Fn(u64) -> u64) {
    assert_eq!(table.len(), model.len());
    assert_eq!(table.iter().len(), table.iter().count());
    assert!(table.iter().all(|(k, v)| model.get(k) == Some(v)));
    for (k, v) in model {
        let found = table.find(hash(*k), |value| value.0 == *k);
        assert_eq!(found.map(|value| &value.1), Some(v));
        assert_eq!(
            table
                .iter_hash(hash(*k))
                .filter(|value| value.0 == *k)
                .count(),
            1
        );
    }
    assert!(
        table
            .iter_buckets()
            .all(|at| table.get_bucket(at).is_some())
    );
}

/// One entry by an entry of the table: removed, put back, replaced, or looked at by its number.
fn table_entry(
    rng: &mut Rng,
    table: &mut HashTable<Value>,
    model: &mut Model<u64, String>,
    (k, hash): (u64, u64),
) {
    let Ok(entry) = table.find_entry(hash, |value| value.0 == k) else {
        assert!(!model.contains_key(&k));
        return;
    };
    let entry = if rng.below(2) == 0 {
        entry
    } else {
        // Found by its number, the head of its chain is not known.
        let at = entry.bucket_index();
        entry
            .into_table()
            .get_bucket_entry(at)
            .unwrap_or_else(|_| panic!("{at} is full"))
    };
    let fresh = format!("{k}/{}", rng.below(1000));
    match rng.below(3) {
        0 => {
            let ((_, v), _) = entry.remove();
            assert_eq!(model.remove(&k), Some(v));
        }
        1 => {
            let ((_, v), place) = entry.remove();
            place.insert((k, fresh.clone()));
            assert_eq!(model.insert(k, fresh), Some(v));
        }
        _ => {
            let keep = rng.below(2) == 0;
            match entry.replace_entry_with(|_| keep.then(|| (k, fresh.clone()))) {
                Entry::Occupied(_) => model.insert(k, fresh),
                Entry::Vacant(_) => model.remove(&k),
            };
        }
    }
}

fn table_round(rng: &mut Rng) {
    let span = 1 << (1 + rng.below(13));
    // All bits of the hash, or so few that chains are long.
    let few = 1 + rng.below(span);
    let poor = rng.below(4) == 0;
    let hash = move |k: u64| {
        let k = if poor { k % few.min(64) } else { k };
        (k ^ k >> 31)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32)
    };
    let hasher = |value: &Value| hash(value.0);
    let (mut table, mut model) = (HashTable::<Value>::new(), Model::new());
    for _ in 0..rng.below(if poor { 4_000 } else { 20_000 }) {
        let k = rng.below(span);
        let is_k = |value: &Value| value.0 == k;
        match rng.below(if span > 512 { 2000 } else { 200 }) {
            0 => {
                table.clear();
                model.clear();
            }
            1 => table.shrink_to(rng.below(span) as usize, hasher),
            2 => table.reserve(rng.below(span) as usize, hasher),
            3 => table.finish_growth(hasher),
            4 => {
                let m = 2 + rng.below(9);
                table.retain(|value| value.0 % m != 0);
                model.retain(|k, _| k % m != 0);
            }
            5 => {
                let m = 2 + rng.below(9);
                for (k, v) in table.extract_if(|value| value.0 % m == 0) {
                    assert_eq!(model.remove(&k), Some(v));
                }
                assert!(model.keys().all(|k| k % m != 0));
            }
            6 => table = table.clone(),
            7 => same_table(&table, &model, &hash),
            8 => {
                let (a, b) = (rng.below(span), rng.below(span));
                if a != b {
                    let found =
                        table.get_disjoint_mut([hash(a), hash(b)], |i, value| value.0 == [a, b][i]);
                    for (value, k) in found.into_iter().zip([a, b]) {
                        assert_eq!(value.map(|value| &value.1), model.get(&k));
                    }
                }
            }
            9 if rng.below(8) == 0 => {
                let drained: Model<u64, String> = table.drain().collect();
                assert_eq!(drained, model);
                model.clear();
            }
            n if n % 4 == 0 => table_entry(rng, &mut table, &mut model, (k, hash(k))),
            n if n % 3 == 1 => {
                let v = format!("{k}.{n}");
                match table.entry(hash(k), is_k, hasher) {
                    Entry::Occupied(mut entry) => entry.get_mut().1.clone_from(&v),
                    Entry::Vacant(entry) => assert!(is_k(entry.insert((k, v.clone())).get())),
                }
                model.insert(k, v);
            }
            n if n % 3 == 2 && !model.contains_key(&k) => {
                let v = format!("{k}:{n}");
                table.insert_unique(hash(k), (k, v.clone()), hasher);
                model.insert(k, v);
            }
            _ => {
                let found = table.find_mut(hash(k), is_k).map(|value| &value.1);
                assert_eq!(found, model.get(&k));
            }
        }
    }
    same_table(&table, &model, &hash);
}

/// A map of Go's, whose values number its entries: one that is put back is another one.
#[derive(Default)]
struct Numbered {
    map: GoMap<f64, u64, RandomState>,
    keyed: BTreeMap<u64, u64>,
    nans: BTreeSet<u64>,
    last: u64,
    walks: Vec<Walk>,
}

struct Walk {
    cursor: GoCursor<f64, u64>,
    given: BTreeSet<u64>,
    /// Those that have been there all the time.
    due: BTreeSet<u64>,
}

impl Numbered {
    /// Of a NaN, if there is no key.
    fn insert(&mut self, key: Option<u64>) {
        if key.is_some_and(|k| self.keyed.contains_key(&k)) {
            return;
        }
        self.last += 1;
        self.map
            .insert(key.map_or(f64::NAN, |k| k as f64), self.last);
        match key {
            Some(k) => assert_eq!(self.keyed.insert(k, self.last), None),
            None => assert!(self.nans.insert(self.last)),
        }
    }

    fn delete(&mut self, key: u64) {
        self.map.delete(&(key as f64));
        if let Some(n) = self.keyed.remove(&key) {
            for walk in &mut self.walks {
                walk.due.remove(&n);
            }
        }
    }

    fn clear(&mut self) {
        self.map.clear();
        self.keyed.clear();
        self.nans.clear();
        self.walks.iter_mut().for_each(|walk| walk.due.clear());
    }

    fn begin(&mut self) {
        self.walks.push(Walk {
            cursor: self.map.cursor(),
            given: BTreeSet::new(),
            due: self.keyed.values().chain(&self.nans).copied().collect(),
        });
    }

    /// R97: what is given is there and has not been given; at the end, all that stayed has been.
    fn step(&mut self, i: usize) {
        let walk = &mut self.walks[i];
        let Some((key, n)) = walk.cursor.next(&self.map) else {
            assert!(walk.due.is_empty(), "missed {:?}", walk.due);
            self.walks.swap_remove(i);
            return;
        };
        let there = self.keyed.get(&(key as u64)) == Some(&n);
        assert!(if key.is_nan() {
            self.nans.contains(&n)
        } else {
            there
        });
        assert!(walk.given.insert(n), "{n} twice");
        walk.due.remove(&n);
    }
}

fn cursor_round(rng: &mut Rng) {
    let span = 1 << (1 + rng.below(10));
    let mut numbered = Numbered::default();
    for _ in 0..rng.below(3_000) {
        let k = rng.below(span);
        match rng.below(120) {
            0 => numbered.clear(),
            1 => (0..span).for_each(|k| numbered.delete(k)),
            2..6 if numbered.walks.len() < 5 => numbered.begin(),
            6 => (0..rng.below(300)).for_each(|_| numbered.insert(Some(span + rng.below(5_000)))),
            7..12 => (0..rng.below(10)).for_each(|_| numbered.insert(None)),
            12..40 => numbered.delete(k),
            40..70 => numbered.insert(Some(k)),
            _ if numbered.walks.is_empty() => numbered.begin(),
            _ => numbered.step(rng.below(numbered.walks.len() as u64) as usize),
        }
        assert_eq!(
            numbered.map.len(),
            numbered.keyed.len() + numbered.nans.len()
        );
    }
    while !numbered.walks.is_empty() {
        numbered.step(0);
    }
}

#[test]
fn fuzz() {
    let (seconds, seed) = (env("GORT_FUZZ_SECONDS", 1), env("GORT_FUZZ_SEED", 7));
    println!("GORT_FUZZ_SECONDS={seconds} GORT_FUZZ_SEED={seed}");
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut rounds = 0u64;
    while rounds == 0 || Instant::now() < end {
        rounds += 1;
        match rng.below(3) {
            0 => map_round(&mut rng),
            1 => table_round(&mut rng),
            _ => cursor_round(&mut rng),
        }
    }
    println!("{rounds} rounds");
}
