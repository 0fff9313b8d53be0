//! The hashes that the crate offers, by the tests that Go's `hash_test.go` and SMHasher make (R64):
//! avalanche, sparse, cyclic, windowed, zero and appended keys. A table needs good low bits (the bucket)
//! and a good top byte (the slot), so both are looked at.

use ghmap::{DefaultHashBuilder, MemHash};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher};

/// One test body for all hashes. The seeds are random: what is asserted holds with a chance of failure
/// below one in a million.
fn each(test: impl Fn(&dyn Fn(&[u8]) -> u64, &str)) {
    let default = DefaultHashBuilder::default();
    test(&|key| bytes(&default, key), "default");
    let aes = MemHash::new();
    test(&|key| bytes(&aes, key), "memhash");
    let portable = MemHash::portable();
    assert!(!portable.uses_aes());
    test(&|key| bytes(&portable, key), "memhash, portable");
}

fn bytes(builder: &impl BuildHasher, key: &[u8]) -> u64 {
    let mut hasher = builder.build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// Collisions of n hashes in 2^bits places may exceed what chance gives by little.
fn assert_spread(hashes: &[u64], name: &str) {
    let n = hashes.len() as f64;
    let whole: HashSet<u64> = hashes.iter().copied().collect();
    assert_eq!(whole.len(), hashes.len(), "{name}: 64-bit collision");
    for (what, shift) in [("low", 0), ("top", 64 - 14)] {
        // Entries per place, as a bucket sees them: 14 bits.
        let mut places: HashMap<u64, f64> = HashMap::new();
        for h in hashes {
            *places.entry(h >> shift & 0x3fff).or_default() += 1.0;
        }
        let pairs: f64 = places.values().map(|c| c * (c - 1.0) / 2.0).sum();
        let expected = n * (n - 1.0) / 2.0 / 16384.0;
        let slack = 8.0 * expected.sqrt() + 8.0;
        assert!(
            pairs < expected + slack,
            "{name} {what}: {pairs} pairs for {expected}"
        );
    }
}

#[test]
fn r64_avalanche_every_input_bit_flips_every_output_bit_half_the_time() {
    each(|hash, name| {
        for len in [2, 4, 8, 16, 24, 32, 100] {
            let mut flips = vec![[0u32; 64]; len * 8];
            let rounds = 2000;
            for round in 0..rounds {
                let mut key: Vec<u8> = (0..len)
                    .map(|i| (round * 131 + i * 17 + round * i * 7) as u8)
                    .collect();
                key[0] ^= (round >> 8) as u8;
                let base = hash(&key);
                for (bit, row) in flips.iter_mut().enumerate() {
                    key[bit / 8] ^= 1 << (bit % 8);
                    let diff = base ^ hash(&key);
                    key[bit / 8] ^= 1 << (bit % 8);
                    for (o, count) in row.iter_mut().enumerate() {
                        *count += (diff >> o & 1) as u32;
                    }
                }
            }
            for row in &flips {
                for (o, &count) in row.iter().enumerate() {
                    let p = f64::from(count) / rounds as f64;
                    assert!((0.38..0.62).contains(&p), "{name} len {len} bit {o}: {p}");
                }
            }
        }
    });
}

#[test]
fn r64_blocks_in_other_lanes_are_other_keys() {
    // Up to sixteen blocks of sixteen bytes: those that a hash of several lanes may take for one another. Every
    // key differs from another by where its blocks are, or by a block that stands in two lanes.
    let blocks = |key: &[u8]| -> Vec<u8> { key.iter().flat_map(|&b| [b; 16]).collect() };
    each(|hash, name| {
        for len in 2..=16 {
            let mut keys = HashSet::new();
            for a in 0..len {
                for b in 0..len {
                    for (x, y) in [(1, 1), (1, 2), (2, 1), (2, 2), (200, 200)] {
                        let mut key = vec![0; len];
                        (key[a], key[b]) = (x, y);
                        keys.insert(key);
                    }
                }
            }
            keys.extend((1..=255).map(|x| vec![x; len]));
            let hashes: Vec<u64> = keys.iter().map(|key| hash(&blocks(key))).collect();
            assert_spread(&hashes, name);
        }
    });
}

#[test]
fn r64_sparse_keys_spread() {
    each(|hash, name| {
        for (len, bits) in [(4, 3), (8, 3), (32, 2), (256, 2)] {
            let mut hashes = Vec::new();
            let mut key = vec![0u8; len];
            sparse(&mut key, 0, bits, &mut |key| hashes.push(hash(key)));
            assert_spread(&hashes, &format!("{name}, {bits} of {len} bytes"));
        }
    });
}

/// All keys with at most `left` further bits set, from bit `from` on; long keys in steps of three bits.
fn sparse(key: &mut [u8], from: usize, left: usize, visit: &mut dyn FnMut(&[u8])) {
    visit(key);
    if left == 0 {
        return;
    }
    let step = if key.len() > 32 { 3 } else { 1 };
    for bit in (from..key.len() * 8).step_by(step) {
        key[bit / 8] |= 1 << (bit % 8);
        sparse(key, bit + 1, left - 1, visit);
        key[bit / 8] &= !(1 << (bit % 8));
    }
}

#[test]
fn r64_cyclic_keys_spread() {
    each(|hash, name| {
        for period in [2usize, 4, 5, 8] {
            let hashes: Vec<u64> = (0..20_000u64)
                .map(|i| {
                    let seed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
                    let unit = if period == 2 {
                        (i as u16).to_le_bytes().to_vec()
                    } else {
                        seed[..period].to_vec()
                    };
                    hash(&unit.repeat(8))
                })
                .collect();
            let distinct: HashSet<Vec<u8>> = (0..20_000u64)
                .map(|i| {
                    let seed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
                    if period == 2 {
                        (i as u16).to_le_bytes().to_vec()
                    } else {
                        seed[..period].to_vec()
                    }
                })
                .collect();
            assert_eq!(distinct.len(), hashes.len());
            assert_spread(&hashes, &format!("{name}, period {period}"));
        }
    });
}

#[test]
fn r64_windows_of_bits_spread() {
    each(|hash, name| {
        for len in [8usize, 16, 32] {
            for shift in (0..len * 8 - 16).step_by(13) {
                let hashes: Vec<u64> = (0..1u32 << 14)
                    .map(|i| {
                        let mut key = vec![0u8; len];
                        for b in 0..16 {
                            let bit = shift + b;
                            key[bit / 8] |= ((i >> b & 1) as u8) << (bit % 8);
                        }
                        hash(&key)
                    })
                    .collect();
                assert_spread(&hashes, &format!("{name}, {len} bytes at bit {shift}"));
            }
        }
    });
}

#[test]
fn r64_zeros_of_every_length_and_appended_zeros_differ() {
    each(|hash, name| {
        let zeros = vec![0u8; 20_000];
        let hashes: Vec<u64> = (0..=zeros.len()).map(|n| hash(&zeros[..n])).collect();
        assert_spread(&hashes, &format!("{name}, zeros"));
        let appended: Vec<u64> = (1..256)
            .map(|n| {
                let mut key = vec![0u8; n];
                key[0] = 7;
                hash(&key)
            })
            .collect();
        assert_spread(&appended, &format!("{name}, appended"));
    });
}

#[test]
fn r64_seeds_make_every_map_different() {
    let mut seen = HashSet::new();
    for _ in 0..200 {
        assert!(seen.insert(MemHash::new().hash_one(1u64)));
        assert!(seen.insert(MemHash::portable().hash_one(1u64)));
        assert!(seen.insert(DefaultHashBuilder::default().hash_one(1u64)));
    }
}

#[test]
fn r64_small_integers_and_multiples_spread() {
    let builders: [&dyn Fn(u64) -> u64; 3] = [
        &|n| {
            thread_local!(static B: DefaultHashBuilder = DefaultHashBuilder::default());
            B.with(|b| b.hash_one(n))
        },
        &|n| {
            thread_local!(static B: MemHash = MemHash::new());
            B.with(|b| b.hash_one(n))
        },
        &|n| {
            thread_local!(static B: MemHash = MemHash::portable());
            B.with(|b| b.hash_one(n))
        },
    ];
    for hash in builders {
        for multiple in [1u64, 8, 4096, 1 << 32, 1 << 48] {
            let hashes: Vec<u64> = (0..20_000).map(|i| hash(i * multiple)).collect();
            assert_spread(&hashes, &format!("multiples of {multiple}"));
        }
    }
}
