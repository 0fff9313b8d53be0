//! Random operations against `std`'s map, for GORT_FUZZ_SECONDS (1) from GORT_FUZZ_SEED (7).

use ghmap::HashMap;
use std::collections::HashMap as Model;
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

fn same(map: &HashMap<u64, String>, model: &Model<u64, String>) {
    assert_eq!(map.len(), model.len());
    assert_eq!(map.iter().len(), map.iter().count());
    assert!(map.iter().all(|(k, v)| model.get(k) == Some(v)));
    assert!(model.iter().all(|(k, v)| map.get(k) == Some(v)));
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
        let span = 1 << (1 + rng.below(13));
        let (mut map, mut model) = (HashMap::new(), Model::new());
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
    println!("{rounds} rounds");
}
