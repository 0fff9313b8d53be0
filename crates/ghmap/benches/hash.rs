//! The cost of hashing one key, by length: `cargo bench -p ghmap --features memhash --bench hash`.

use std::hash::{BuildHasher, Hasher};
use std::hint::black_box;
use std::time::Instant;

fn ns(mut once: impl FnMut()) -> f64 {
    let mut runs: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..2_000_000 {
                once();
            }
            start.elapsed().as_nanos() as f64 / 2_000_000.0
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[2]
}

fn row(name: &str, builder: &impl BuildHasher) {
    print!("{name:>22}");
    let mut n = 0u64;
    print!(
        " {:>7.2}",
        ns(|| {
            n += 1;
            black_box(builder.hash_one(black_box(n)));
        })
    );
    for len in [8, 16, 32, 64, 256, 1024] {
        let key = vec![7u8; len];
        print!(
            " {:>7.2}",
            ns(|| {
                let mut hasher = builder.build_hasher();
                hasher.write(black_box(&key));
                black_box(hasher.finish());
            })
        );
    }
    println!();
}

fn main() {
    println!("ns per key                 u64    8 B    16 B    32 B    64 B   256 B   1 KiB");
    row("default", &ghmap::DefaultHashBuilder::default());
    row("foldhash fast", &foldhash::fast::RandomState::default());
    row(
        "foldhash quality",
        &foldhash::quality::RandomState::default(),
    );
    row("MemHash (AES)", &ghmap::MemHash::new());
    row("MemHash (xxh3)", &ghmap::MemHash::portable());
    row("std (SipHash 1-3)", &std::hash::RandomState::new());
}
