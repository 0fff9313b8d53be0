//! What the kernel does not give: threads, address space, memory. Each in a process of its own, which limits itself.
//! Not under AddressSanitizer, which reserves terabytes.
#![cfg(not(gort_asan))]

use gmp_sched::{BuildError, Builder, go};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Names the limit that a child process sets.
const LIMIT: &str = "GMP_SCHED_TEST_LIMIT";

/// Runs the test `name` of this file again, in a child that sets this limit.
fn under(limit: &str, name: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(LIMIT, limit)
        .output()
        .unwrap()
}

fn succeeds_under(limit: &str, name: &str) {
    let child = under(limit, name);
    assert!(child.status.success(), "{limit}: {child:?}");
}

fn limit() -> Option<String> {
    std::env::var(LIMIT).ok()
}

fn set_limit(resource: libc::__rlimit_resource_t, to: u64) {
    let limit = libc::rlimit {
        rlim_cur: to,
        rlim_max: to,
    };
    // SAFETY: `limit` is live.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// A runtime does its work, and there is memory left for others.
fn works() {
    for _ in 0..2 {
        // SAFETY: nothing bound to a thread is kept across a park.
        let rt = unsafe { Builder::new().procs(2).build_stackful() }.unwrap();
        let sum = rt.run(|| {
            let all: Vec<_> = (0..100u64).map(|i| go(move || i)).collect();
            all.into_iter().map(|h| h.join().unwrap()).sum::<u64>()
        });
        assert_eq!(sum, 4950);
        assert_eq!(
            vec![1_u8; 200 << 20]
                .iter()
                .map(|b| u64::from(*b))
                .sum::<u64>(),
            200 << 20
        );
    }
}

#[test]
fn a_runtime_leaves_address_space_and_memory_to_others() {
    let name = "a_runtime_leaves_address_space_and_memory_to_others";
    match limit().as_deref() {
        // A little more than a power of two: what is halved until it fits would leave nothing.
        Some("address space") => set_limit(libc::RLIMIT_AS, 1100 << 20),
        Some("data") => set_limit(libc::RLIMIT_DATA, 1100 << 20),
        _ => {
            succeeds_under("address space", name);
            succeeds_under("data", name);
        }
    }
    works();
}

/// A process that locks its memory has what is reserved for stacks in memory as far as it is in use.
#[test]
fn a_process_that_locks_its_memory_pays_for_the_stacks_in_use() {
    let name = "a_process_that_locks_its_memory_pays_for_the_stacks_in_use";
    match limit().as_deref() {
        Some("future") => {
            // What would be reserved without: a terabyte.
            set_limit(libc::RLIMIT_AS, 8 << 30);
            if lock_memory(libc::MCL_CURRENT | libc::MCL_FUTURE) {
                works();
                assert!(resident() < 1 << 30, "{} bytes", resident());
            }
        }
        Some("current") => {
            set_limit(libc::RLIMIT_AS, 8 << 30);
            works();
            if lock_memory(libc::MCL_CURRENT) {
                assert!(resident() < 1 << 30, "{} bytes", resident());
                works();
            }
        }
        _ => {
            succeeds_under("future", name);
            succeeds_under("current", name);
        }
    }
}

/// False where the process may not.
fn lock_memory(flags: libc::c_int) -> bool {
    // SAFETY: integers.
    unsafe { libc::mlockall(flags) == 0 }
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn no_address_space_for_stacks_is_an_error() {
    if limit().is_none() {
        return succeeds_under(
            "no address space",
            "no_address_space_for_stacks_is_an_error",
        );
    }
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    set_limit(libc::RLIMIT_AS, pages * 4096 + (32 << 20));
    // SAFETY: as in `works`.
    let failed = unsafe { Builder::new().build_stackful() };
    assert!(matches!(failed, Err(BuildError::Stacks(_))), "{failed:?}");
    let futures = Builder::new().procs(1).build().unwrap();
    assert_eq!(futures.block_on(async { 42 }), 42);
}

/// Where the kernel refuses it, no P can be taken from code that computes.
#[test]
fn sysmon_does_not_wait_for_code_that_computes() {
    if limit().is_none() {
        return succeeds_under(
            "no membarrier",
            "sysmon_does_not_wait_for_code_that_computes",
        );
    }
    refuse_membarrier();
    // SAFETY: as in `works`.
    let rt = unsafe { Builder::new().build_stackful() }.unwrap();
    let handle = rt.handle();
    assert!(!handle.can_retake());
    // What sysmon finds when it counts the CPUs is another number.
    while !pin("gmp-sysmon") {
        // A thread that has just been started gives itself its name.
        thread::yield_now();
    }
    let over = Arc::new(AtomicBool::new(false));
    let ends = over.clone();
    let computes = rt.go(move || while !ends.load(Ordering::Relaxed) {});
    // Longer than it believes in their number.
    thread::sleep(Duration::from_millis(1_500));
    let (start, before) = (Instant::now(), handle.stats().sysmon_ticks);
    while handle.stats().sysmon_ticks < before + 10 {
        assert!(start.elapsed() < Duration::from_secs(20), "sysmon waits");
        thread::yield_now();
    }
    over.store(true, Ordering::Relaxed);
    computes.join().unwrap();
}

/// By this thread and those that it starts.
fn refuse_membarrier() {
    let op = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    let mut ops = [
        op((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0),
        op(
            (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            1,
            libc::SYS_membarrier as u32,
        ),
        op(
            (libc::BPF_RET | libc::BPF_K) as u16,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        op(
            (libc::BPF_RET | libc::BPF_K) as u16,
            0,
            libc::SECCOMP_RET_ALLOW,
        ),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: ops.as_mut_ptr(),
    };
    // SAFETY: integers, and a live program.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
            0
        );
    }
}

/// Has the thread of this name use one CPU only.
fn pin(name: &str) -> bool {
    std::fs::read_dir("/proc/self/task").unwrap().any(|task| {
        let path = task.unwrap().path();
        let named = std::fs::read_to_string(path.join("comm")).is_ok_and(|n| n.trim() == name);
        named && {
            let tid = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            // SAFETY: plain data, of the size told.
            unsafe {
                let mut one: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(libc::sched_getcpu().try_into().unwrap(), &mut one);
                libc::sched_setaffinity(tid, size_of::<libc::cpu_set_t>(), &raw const one) == 0
            }
        }
    })
}

#[test]
fn no_thread_for_sysmon_is_an_error() {
    if limit().is_none() {
        return succeeds_under("no thread", "no_thread_for_sysmon_is_an_error");
    }
    set_limit(libc::RLIMIT_NPROC, 0);
    // The limit does not hold for root. Not by libc, which would have all threads do it, the harness's too.
    // SAFETY: integers.
    unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
    for _ in 0..2 {
        let failed = Builder::new().build();
        assert!(matches!(failed, Err(BuildError::Thread(_))), "{failed:?}");
    }
}
