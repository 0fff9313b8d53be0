//! Which pages a map asks the system for. A process of its own, because what the allocator does with memory
//! that has been advised is not the map's.
#![cfg(all(target_os = "linux", feature = "std", feature = "default-hasher"))]

use ghmap::HashMap;
use std::fs::read_to_string;

/// The flags of the mapping in which most of the map lies, as the system shows them.
fn flags(map: &HashMap<u64, u64>) -> String {
    let mut places: Vec<usize> = map.values().map(|v| &raw const *v as usize).collect();
    places.sort_unstable();
    let middle = places[places.len() / 2];
    let smaps = read_to_string("/proc/self/smaps").expect("Linux has it");
    let mut inside = false;
    for line in smaps.lines() {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        if let Some((from, to)) = range
            && let (Ok(from), Ok(to)) = (
                usize::from_str_radix(from, 16),
                usize::from_str_radix(to, 16),
            )
        {
            inside = (from..to).contains(&middle);
        }
        if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
            return flags.to_string();
        }
    }
    unreachable!("no mapping holds {middle:x}:\n{smaps}");
}

fn filled(n: usize, huge: bool) -> HashMap<u64, u64> {
    let mut map = HashMap::new();
    map.huge_pages(huge);
    map.reserve(n);
    map.extend((0..n as u64).map(|i| (i, i)));
    map
}

#[test]
fn large_blocks_ask_for_small_pages_or_for_huge_ones_if_told_so_and_small_blocks_for_none() {
    if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        // A system without huge pages has nothing to be asked for.
        return;
    }
    let asks = |map: &HashMap<u64, u64>| {
        let flags = flags(map);
        (flags.contains(" hg"), flags.contains(" nh"))
    };
    // 2^14 buckets of 144 bytes are less than 4 MiB, 2^15 are more.
    let (small, large, huge) = (
        filled(50_000, true),
        filled(200_000, false),
        filled(200_000, true),
    );
    assert_eq!(asks(&small), (false, false));
    assert_eq!(asks(&large), (false, true));
    assert_eq!(asks(&huge), (true, false));
    assert_eq!(asks(&huge.clone()), (true, false));
    let mut replaced = filled(10, true);
    replaced.reserve(200_000);
    replaced.extend((0..150_000).map(|i| (i, i)));
    assert_eq!(asks(&replaced), (true, false));
    // A map whose drain was forgotten is empty and asks as before.
    let mut again = filled(10, true);
    std::mem::forget(again.drain());
    again.extend((0..200_000).map(|i| (i, i)));
    assert_eq!(asks(&again), (true, false));
}
