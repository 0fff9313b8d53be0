//! Goroutines that compute on without their P do so in the background, and their threads come back from
//! there or end. In a process of its own: it looks at all threads of the process.

use gmp_sched::{Builder, Context, Handle, go, lock_os_thread, unlock_os_thread, yield_now};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Set in a child process that is to give up its privileges.
const UNPRIVILEGED: &str = "GMP_SCHED_TEST_UNPRIVILEGED";

fn nice(tid: u32) -> i32 {
    // SAFETY: integers. (No thread of this process has -1, which an error returns too.)
    unsafe { libc::getpriority(libc::PRIO_PROCESS, tid) }
}

/// Threads of this process with the least weight.
fn in_background() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let tid =
        |task: std::io::Result<std::fs::DirEntry>| task.unwrap().file_name().into_string().unwrap();
    tasks
        .map(tid)
        .filter(|tid| nice(tid.parse().unwrap()) == 19)
        .count()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn computes_until(flag: &AtomicBool) {
    while !flag.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

/// Sets it, also if what is waited for does not come.
struct Stops(Arc<AtomicBool>);

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A goroutine does `before`, computes in the background, then does `after`; nobody is left there.
fn there_and_back(before: fn(), after: fn()) {
    // SAFETY: nothing bound to a thread is kept across a park.
    let rt = unsafe { Builder::new().procs(1).build_stackful() }.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let watcher = thread::spawn(move || {
        let _stops = Stops(flag);
        eventually("a thread in the background", || in_background() == 1);
    });
    let sum = rt.run(move || {
        // It waits for the only P while the hog, which was readied last, has it: so the P is taken.
        let other = go(|| 22);
        let hog = go(move || {
            before();
            computes_until(&stop);
            after();
            20
        });
        hog.join().unwrap() + other.join().unwrap()
    });
    assert_eq!(sum, 42);
    watcher.join().unwrap();
    eventually("nobody in the background", || in_background() == 0);
}

/// Another runtime, without a thread as yet.
fn other() -> Handle {
    static OTHER: OnceLock<gmp_sched::Runtime> = OnceLock::new();
    OTHER
        .get_or_init(|| Builder::new().procs(1).build().unwrap())
        .handle()
}

fn all() {
    // Threads that are started from the background are not there: the one that watches deadlines, and one of
    // another runtime.
    there_and_back(
        || (),
        || {
            Context::background()
                .with_timeout(Duration::from_secs(3600))
                .1
                .keep()
        },
    );
    other();
    there_and_back(|| (), || drop(other().spawn(async {})));
    assert!(other().num_threads() <= 1);
    there_and_back(|| (), || ());
    there_and_back(|| (), yield_now);
    // Bound to its thread, it comes back with it, and lets it go afterwards.
    there_and_back(lock_os_thread, || {
        yield_now();
        unlock_os_thread();
    });
}

#[test]
fn threads_come_forward_or_retire() {
    if std::env::var_os(UNPRIVILEGED).is_some() {
        let nobody = 65534;
        // SAFETY: integers only; of the whole process, and before there are other goroutines.
        let given_up = unsafe { libc::setresuid(nobody, nobody, nobody) };
        // It fails if the process has nothing to give up.
        let nothing = std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM);
        assert!(given_up == 0 || nothing);
        return all();
    }
    all();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("threads_come_forward_or_retire")
        .env(UNPRIVILEGED, "1")
        .output()
        .unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
}
