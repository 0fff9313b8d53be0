//! A kernel that refuses membarrier: pins fall back to fences, and ages still wait for them.
#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gpool::Pool;

/// From here on, membarrier fails with EPERM for this thread and those that it starts.
fn refuse_membarrier() {
    const RET: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let op = |code: u16, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = u32::try_from(libc::SYS_membarrier).unwrap();
    let mut program = [
        op((libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, 0, 0, 0),
        op(
            (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            0,
            1,
            number,
        ),
        op(RET, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        op(RET, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program outlives the calls, which copy it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let filter = libc::SECCOMP_MODE_FILTER;
        let set = libc::prctl(libc::PR_SET_SECCOMP, filter, &raw const program);
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        assert_eq!(libc::syscall(libc::SYS_membarrier, 0, 0, 0), -1);
    }
}

/// The only test of this process, so that the filter is there before the first lease.
#[test]
fn r117_without_membarrier_pins_are_fences_and_ages_work() {
    refuse_membarrier();
    let pool = Arc::new(Pool::new(|| Box::new(0_u64)));
    pool.put(Box::new(7));
    assert_eq!((pool.age(), *pool.get()), (0, 7));
    pool.put(Box::new(7));
    assert_eq!((pool.age(), pool.age(), *pool.get()), (0, 1, 0));

    let done = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (0..3)
        .map(|_| {
            let (pool, done) = (pool.clone(), done.clone());
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut held: Vec<_> = (0..5).map(|_| pool.get()).collect();
                    for item in &mut held {
                        assert_eq!(core::mem::replace(&mut **item, 1), 0, "held twice");
                    }
                    for mut item in held {
                        *item = 0;
                        pool.put(item);
                    }
                }
            })
        })
        .collect();
    for _ in 0..5_000 {
        pool.age();
    }
    done.store(true, Ordering::Relaxed);
    users.into_iter().for_each(|t| t.join().unwrap());
    assert!(pool.stats().ages >= 5_000);
}
