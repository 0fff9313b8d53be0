//! The heap profile by sampling (feature `profile`).
#![cfg(feature = "profile")]

use galloc::MemProfileRecord;
use std::sync::Mutex;
use std::thread;

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

/// The rate is the process's, so tests take turns.
static TURN: Mutex<()> = Mutex::new(());

#[inline(never)]
fn bulk(n: usize, size: usize) -> Vec<Vec<u8>> {
    (0..n).map(|_| vec![1; size]).collect()
}

fn in_use(size: u64) -> (u64, f64) {
    let all = galloc::mem_profile();
    let ours = all
        .iter()
        .filter(|r| r.alloc_objects > 0 && r.alloc_bytes / r.alloc_objects == size);
    ours.fold((0, 0.0), |(n, sum), r: &MemProfileRecord| {
        assert!(r.stack().len() > 2, "{r:?}");
        (
            n + r.in_use_objects(),
            sum + r.in_use_bytes() as f64 * r.scale(64 << 10),
        )
    })
}

#[test]
fn at_rate_one_every_object_is_recorded_and_leaves() {
    let _turn = TURN.lock().unwrap();
    galloc::set_mem_profile_rate(1);
    // Each thread comes to a new rate at its next sample; a new thread's first one draws it.
    thread::spawn(|| {
        drop(vec![0u8; 64 << 20]);
        let before = in_use(777).0;
        let v = bulk(1000, 777);
        assert_eq!(in_use(777).0 - before, 1000);
        // Freed by another thread than allocated.
        thread::spawn(move || drop(v)).join().unwrap();
        assert_eq!(in_use(777).0, before);
        let large = vec![1u8; 777_777];
        assert_eq!(in_use(777_777).0, 1);
        drop(large);
        assert_eq!(in_use(777_777).0, 0);
    })
    .join()
    .unwrap();
    galloc::set_mem_profile_rate(512 << 10);
}

#[test]
fn a_large_object_that_grows_leaves_no_sample_behind() {
    let _turn = TURN.lock().unwrap();
    galloc::set_mem_profile_rate(1);
    thread::spawn(|| {
        drop(vec![0u8; 64 << 20]);
        // In place; then huge, where `mremap` moves it.
        let mut v = Vec::<u8>::new();
        for bytes in [
            300_003,
            600_007,
            40_000_003,
            90_000_001,
            200_000_003,
            50_000_017,
        ] {
            v.reserve_exact(bytes);
            v.shrink_to(bytes);
            assert_eq!(in_use(bytes as u64).0, 1, "{bytes}");
        }
        drop(v);
        for bytes in [
            300_003,
            600_007,
            40_000_003,
            90_000_001,
            200_000_003,
            50_000_017,
        ] {
            assert_eq!(in_use(bytes).0, 0, "{bytes}");
        }
    })
    .join()
    .unwrap();
    galloc::set_mem_profile_rate(512 << 10);
}

#[test]
fn samples_scaled_up_are_about_what_is_in_use() {
    let _turn = TURN.lock().unwrap();
    galloc::set_mem_profile_rate(64 << 10);
    let v = thread::spawn(|| {
        drop(vec![0u8; 64 << 20]);
        bulk(40_000, 999)
    })
    .join()
    .unwrap();
    // 40 MB in 64 KiB steps are about 610 samples: five standard deviations are a fifth.
    let estimate = in_use(999).1;
    let real = (v.len() * 999) as f64;
    assert!(
        (estimate / real - 1.0).abs() < 0.25,
        "{estimate} for {real}"
    );
    drop(v);
    assert_eq!(in_use(999).0, 0);
    galloc::set_mem_profile_rate(512 << 10);
}

#[test]
fn pprof_gets_a_header_records_and_mappings() {
    let _turn = TURN.lock().unwrap();
    galloc::set_mem_profile_rate(1);
    drop(vec![0u8; 64 << 20]);
    let kept = bulk(10, 555);
    let mut text = Vec::new();
    galloc::write_heap_profile(&mut text).unwrap();
    galloc::set_mem_profile_rate(512 << 10);
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("heap profile: ") && text.contains("@ heap_v2/1\n"));
    assert!(text.contains(" @ 0x") && text.contains("MAPPED_LIBRARIES:\n"));
    drop(kept);
}
