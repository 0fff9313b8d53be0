//! How many Ps a process should have: the CPUs it may use, less what its control groups withhold.
//!
//! Go 1.25's rule (`getGOMAXPROCS`): the lower of the affinity mask and the cgroup's CPU limit,
//! rounded up, the limit counting no lower than two. Unlike Go, the tightest limit of *all* ancestors counts
//! (golang/go#81180).
//!
//! The mask is the calling thread's, as in Go. Masks are of threads: `taskset -p` changes the main thread's alone, on which
//! no goroutine runs, and so changes nothing here; `taskset -a -p` and control groups change all, sysmon's too.
//! Rejected: to ask for the main thread's, which programs pin for themselves while the runtime's threads may run anywhere.

use std::fs;
use std::path::Path;

/// At least one.
pub(crate) fn default_procs() -> u32 {
    let cpus = affinity().unwrap_or(1).max(1);
    match cgroup_limit() {
        Some(limit) => cpus.min(round(limit)),
        None => cpus,
    }
}

/// A limit in CPUs, as a count: rounded up, at least two, as in Go.
fn round(limit: f64) -> u32 {
    (limit.ceil() as u32).max(2)
}

fn affinity() -> Option<u32> {
    // SAFETY: the set is plain data, and the call fills in no more than its size.
    unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        (libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) == 0)
            .then(|| libc::CPU_COUNT(&set).cast_unsigned())
    }
}

/// The tightest CPU limit of the process's control group and its ancestors.
fn cgroup_limit() -> Option<f64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|l| l.strip_prefix("0::"))?;
    tightest(Path::new("/sys/fs/cgroup"), path)
}

fn tightest(mount: &Path, group: &str) -> Option<f64> {
    let mut dir = mount.join(group.trim_start_matches('/'));
    let mut least: Option<f64> = None;
    loop {
        let limit = fs::read_to_string(dir.join("cpu.max")).ok().and_then(|s| parse(&s));
        if let Some(l) = limit {
            least = Some(least.map_or(l, |least| least.min(l)));
        }
        if dir == mount || !dir.pop() {
            return least;
        }
    }
}

/// `cpu.max`: quota and period in microseconds, or `max`.
fn parse(text: &str) -> Option<f64> {
    let mut words = text.split_ascii_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next()?.parse().ok()?;
    (period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::{parse, round, tightest};
    use std::fs;

    #[test]
    fn cpu_max_is_quota_over_period() {
        assert_eq!(parse("max 100000\n"), None);
        assert_eq!(parse("150000 100000\n"), Some(1.5));
        assert_eq!(parse(""), None);
        assert_eq!((round(0.5), round(2.0), round(2.1)), (2, 2, 3));
    }

    #[test]
    fn the_tightest_ancestor_counts() {
        let root = std::env::temp_dir().join(format!("gmp-cpus-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("cpu.max"), "max 100000").unwrap();
        fs::write(root.join("a/cpu.max"), "300000 100000").unwrap();
        fs::write(root.join("a/b/cpu.max"), "800000 100000").unwrap();
        assert_eq!(tightest(&root, "/a/b"), Some(3.0));
        assert_eq!(tightest(&root, "/"), None);
        fs::remove_dir_all(root).unwrap();
    }
}
