//! A real workload: a JSON document of 200,000 records is printed, parsed and sorted into a
//! `BTreeMap`. Prints time, peak memory and what is left after everything is freed.
//!
//! `cargo run --release -p galloc --example json` runs it under galloc.

use std::collections::BTreeMap;
use std::time::Instant;

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

fn kib(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with(field))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

fn main() {
    let start = Instant::now();
    let records: Vec<_> = (0..200_000u64)
        .map(|i| serde_json::json!({ "id": i, "name": format!("record {}", i * 7919 % 200_003), "tags": [i, i + 1] }))
        .collect();
    let text = serde_json::to_string(&records).expect("numbers and strings");
    let parsed: Vec<serde_json::Value> = serde_json::from_str(&text).expect("printed just now");
    let by_name: BTreeMap<String, u64> = parsed
        .iter()
        .map(|r| (r["name"].to_string(), r["id"].as_u64().unwrap_or(0)))
        .collect();
    assert_eq!((by_name.len(), records == parsed), (200_000, true));
    drop((records, text, parsed, by_name));
    println!(
        "{} ms, peak {} MiB",
        start.elapsed().as_millis(),
        kib("VmHWM") >> 10
    );
    galloc::release();
    println!("after release: {} MiB", kib("VmRSS") >> 10);
}
