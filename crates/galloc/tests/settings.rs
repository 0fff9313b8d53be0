//! The memory limit, and what the environment chooses.

use galloc::{MemStats, Scavenger};
use std::process::Command;

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

/// Tells a child that it is one.
const CHILD: &str = "GALLOC_TEST_CHILD";

/// Runs the test `name` alone in a process with these variables.
fn alone(name: &str, variables: &[(&str, &str)]) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .envs(variables.iter().copied())
        .env(CHILD, "1")
        .status();
    assert!(status.unwrap().success(), "{name} with {variables:?}");
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Bytes of the heap that occupy memory.
fn occupied() -> usize {
    let now = MemStats::read();
    now.heap_sys - now.heap_released
}

fn objects(n: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| vec![i as u8; bytes]).collect()
}

/// Free runs that are too short for what is asked for next: without a limit the heap grows beside them.
fn grow_beside_holes(most: usize) -> usize {
    let mut all = objects(400, 100_000);
    let mut odd = false;
    all.retain(|_| {
        odd = !odd;
        odd
    });
    let mut peak = 0;
    for i in 0..100 {
        all.push(vec![i as u8; 200_000]);
        peak = peak.max(occupied());
    }
    assert!(all.iter().all(|v| v.iter().all(|b| *b == v[0])));
    assert!(peak <= most, "{peak}");
    peak
}

#[test]
fn free_memory_goes_back_rather_than_pass_the_limit() {
    if !is_child() {
        return alone("free_memory_goes_back_rather_than_pass_the_limit", &[]);
    }
    const LIMIT: usize = 48 << 20;
    galloc::set_scavenger(Scavenger::Off);
    assert!(grow_beside_holes(usize::MAX) > LIMIT);
    galloc::release();
    let before = MemStats::read().total_released;
    assert_eq!(galloc::set_memory_limit(LIMIT), usize::MAX);
    grow_beside_holes(LIMIT);
    assert!(MemStats::read().total_released > before);
    // What is in use is never refused: small objects, large ones, one of its own mapping.
    for (n, bytes) in [(80_000, 1000), (800, 100_000), (1, 80 << 20)] {
        let all = objects(n, bytes);
        assert!(occupied() > LIMIT);
        drop(all);
        galloc::release();
    }
    assert_eq!(galloc::set_memory_limit(usize::MAX), LIMIT);
}

/// xorshift64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

/// What is in use is over the limit, and objects of all sizes replace each other: what is given back is wanted again
/// elsewhere.
#[test]
fn a_limit_that_cannot_be_kept_costs_little() {
    if !is_child() {
        return alone("a_limit_that_cannot_be_kept_costs_little", &[]);
    }
    const LIMIT: usize = 16 << 20;
    galloc::set_scavenger(Scavenger::Off);
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let mut object = || vec![1u8; 40_000 + rng.below(900_000)];
    let mut all: Vec<_> = (0..100).map(|_| object()).collect();
    galloc::set_memory_limit(LIMIT);
    let before = MemStats::read().total_released;
    let mut taken = 0;
    for i in 0..4000 {
        let i = i * 7919 % all.len();
        all[i] = Vec::new();
        all[i] = object();
        taken += galloc::round_up_size(all[i].len());
    }
    let now = MemStats::read();
    assert!(now.heap_inuse > 2 * LIMIT);
    let released = (now.total_released - before) as usize;
    // The last may have gone on to the edge of a huge page.
    assert!(
        released <= taken / 8 + LIMIT + (2 << 20),
        "{released} {taken}"
    );
}

#[test]
fn what_is_free_beyond_a_new_limit_goes_back_at_once() {
    if !is_child() {
        return alone("what_is_free_beyond_a_new_limit_goes_back_at_once", &[]);
    }
    galloc::set_scavenger(Scavenger::Off);
    let kept = objects(200, 100_000);
    drop(objects(1000, 100_000));
    assert!(occupied() > 100 << 20);
    galloc::set_memory_limit(48 << 20);
    assert!(occupied() <= 48 << 20);
    assert!(
        occupied() >= 44 << 20,
        "no more than is over: {}",
        occupied()
    );
    assert_eq!(kept[199][99_999], 199);
}

/// Less free memory than the scavenger's goal leaves, while the memory in use is over the limit.
#[test]
fn the_scavenger_keeps_the_limit_too() {
    if !is_child() {
        return alone("the_scavenger_keeps_the_limit_too", &[]);
    }
    let kept = objects(100, 1 << 20);
    galloc::release();
    galloc::set_memory_limit(8 << 20);
    drop(objects(1, 3 << 20));
    let start = std::time::Instant::now();
    let idle = || {
        let now = MemStats::read();
        now.heap_idle - now.heap_released
    };
    while idle() > 0 {
        // For as long as even a stuck machine would need.
        assert!(start.elapsed().as_secs() < 60, "{}", idle());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(kept[99][0], 99);
}

#[test]
fn the_environment_chooses() {
    if !is_child() {
        let name = "the_environment_chooses";
        alone(name, &[("GALLOC_MEMORY_LIMIT", "48MiB")]);
        alone(name, &[("GALLOC_SCAVENGER", "inline")]);
        alone(name, &[("GALLOC_SCAVENGER", "off")]);
        alone(name, &[("GALLOC_HUGE_PAGES", "on")]);
        return;
    }
    let var = |name| std::env::var(name).unwrap_or_default();
    let limit = match &*var("GALLOC_MEMORY_LIMIT") {
        "48MiB" => 48 << 20,
        _ => usize::MAX,
    };
    assert_eq!(galloc::set_memory_limit(usize::MAX), limit);
    let who = match &*var("GALLOC_SCAVENGER") {
        "inline" => Scavenger::Inline,
        "off" => Scavenger::Off,
        _ => Scavenger::Thread,
    };
    assert_eq!(galloc::set_scavenger(who), who);
    let huge = var("GALLOC_HUGE_PAGES") == "on";
    assert_eq!(galloc::set_huge_pages(huge), huge);
    if std::fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap() {
        assert_eq!(is_advised(&raw const *Box::new(1)), huge);
    }
}

#[test]
fn what_the_environment_says_wrong_is_told() {
    let name = "what_the_environment_says_wrong_is_told";
    if is_child() {
        assert_eq!(galloc::set_memory_limit(usize::MAX), usize::MAX);
        assert_eq!(galloc::set_scavenger(Scavenger::Off), Scavenger::Thread);
        assert!(!galloc::set_huge_pages(false));
        return;
    }
    let told = |variables: [(&str, &str); 3]| {
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .envs(variables)
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stderr).unwrap()
    };
    let names = [
        "GALLOC_MEMORY_LIMIT",
        "GALLOC_SCAVENGER",
        "GALLOC_HUGE_PAGES",
    ];
    let all = |values: [&'static str; 3]| [0, 1, 2].map(|i| (names[i], values[i]));
    assert_eq!(
        told(all(["512 MB", "of", "yes"])),
        "galloc: GALLOC_MEMORY_LIMIT=512 MB is ignored: allowed are a number, alone or with B, KiB, MiB, GiB or TiB, \
         or off\n\
         galloc: GALLOC_SCAVENGER=of is ignored: allowed are off, inline and thread\n\
         galloc: GALLOC_HUGE_PAGES=yes is ignored: allowed are on and off\n"
    );
    assert_eq!(told(all(["off", "thread", "off"])), "");
    assert_eq!(told(all(["", "", ""])), "");
}

/// Whether the mapping that holds an object is to be of huge pages: `hg` among its flags.
fn is_advised(p: *const i32) -> bool {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut lines = maps.lines();
    let holds = |line: &str| {
        let range = line.split(' ').next()?.split_once('-')?;
        let [from, to] = [range.0, range.1].map(|s| usize::from_str_radix(s, 16).ok());
        Some((from?..to?).contains(&p.addr()))
    };
    assert!(lines.any(|l| holds(l) == Some(true)));
    let flags = lines.find_map(|l| l.strip_prefix("VmFlags:")).unwrap();
    flags.split(' ').any(|f| f == "hg")
}
