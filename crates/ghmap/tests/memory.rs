//! What the program holds of the system's memory while a map grows. A process of its own, since that is
//! what the system counts.
#![cfg(all(target_os = "linux", feature = "std", feature = "default-hasher"))]

use ghmap::HashMap;

/// Resident bytes of this process.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = text.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok());
    pages.expect("the second figure") * 4096
}

#[test]
fn a_growth_never_holds_more_than_the_array_it_ends_with() {
    let mut map: HashMap<u64, [u64; 8]> = HashMap::new();
    let before = resident();
    let (mut most, mut array) = (0.0f64, 0);
    for i in 0..220_000 {
        map.insert(i, [i; 8]);
        let stats = map.stats();
        if stats.growing && stats.b == 15 && stats.evacuated % 256 < 2 {
            array = stats.bytes;
            let held = resident().saturating_sub(before);
            most = most.max(held as f64 / array as f64);
        }
    }
    assert!(array > 16 << 20, "the growth was looked at: {array}");
    // Were entries copied to an array of their own, it would be 1.5.
    assert!(most < 1.25, "{most:.2} times the array");
    assert!(most > 0.5, "{most:.2}: the measurement is wrong");
}
