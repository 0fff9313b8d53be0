//! The channel's rules, seen from outside.

mod common {
    pub(crate) mod asleep;
    pub(crate) mod counted;
    pub(crate) mod modes;
}

use common::asleep::spawn_until_it_sleeps;
use common::counted::Counted;
use common::modes::modes;
use gchan::{
    RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError, bounded, unbounded,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn r13_order_is_closed_then_receiver_then_buffer_then_wait() {
    let (s, r) = bounded(1);
    assert_eq!(s.try_send(1), Ok(()));
    assert_eq!(s.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(s.len(), 1);
    assert_eq!(r.try_recv(), Ok(1));
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    drop(r);
    assert_eq!(s.try_send(3), Err(TrySendError::Disconnected(3)));
    assert_eq!(s.send(4), Err(SendError(4)));
}

#[test]
fn r5_receivers_drain_the_buffer_before_they_see_the_close() {
    for cap in [Some(4), None] {
        let (s, r) = cap.map_or_else(unbounded, bounded);
        s.send(1).unwrap();
        s.send(2).unwrap();
        drop(s);
        assert_eq!(r.recv(), Ok(1));
        assert_eq!(r.try_recv(), Ok(2));
        assert_eq!(r.recv(), Err(RecvError));
        assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
    }
}

#[test]
fn r7_indexes_wrap_and_order_is_kept() {
    let (s, r) = bounded(3);
    for round in 0..100 {
        for n in 0..3 {
            s.try_send(round * 3 + n).unwrap();
        }
        assert!(s.is_full());
        for n in 0..3 {
            assert_eq!(r.try_recv(), Ok(round * 3 + n));
        }
    }
}

#[test]
fn r11_a_size_out_of_range_panics_as_makechan_does() {
    // Also if a `usize` counts the bytes, but no address space has so many.
    let far = isize::MAX as usize / 8;
    for cap in [
        usize::MAX,
        usize::MAX / 8,
        far + 1,
        far,
        far >> 8,
        far >> 15,
    ] {
        let panic = std::panic::catch_unwind(|| bounded::<u64>(cap)).unwrap_err();
        let text = panic.downcast_ref::<&str>().copied();
        assert_eq!(text, Some("makechan: size out of range"), "cap {cap}");
    }
    let (s, _r) = bounded::<()>(usize::MAX - 1);
    s.send(()).unwrap();
}

#[test]
fn r9_blocked_receivers_are_served_in_the_order_they_came() {
    let (s, r) = bounded(8);
    let (out, got) = unbounded();
    thread::scope(|scope| {
        for name in 0..6 {
            let (r, out) = (r.clone(), out.clone());
            spawn_until_it_sleeps(scope, move || out.send((name, r.recv().unwrap())).unwrap());
        }
        for n in 0..6 {
            s.send(n).unwrap();
            // A value never passes through the buffer while a receiver waits, so nobody can steal it.
            assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        }
    });
    let mut got: Vec<_> = got.try_iter().collect();
    got.sort_unstable();
    assert_eq!(got, (0..6).map(|n| (n, n)).collect::<Vec<_>>());
}

#[test]
fn r16_blocked_senders_are_served_in_the_order_they_came() {
    for cap in [0, 1, 3] {
        let (s, r) = bounded(cap);
        (0..cap).for_each(|n| s.send(n).unwrap());
        thread::scope(|scope| {
            for n in cap..cap + 5 {
                let s = s.clone();
                spawn_until_it_sleeps(scope, move || s.send(n).unwrap());
            }
            let got: Vec<_> = (0..cap + 5).map(|_| r.recv().unwrap()).collect();
            assert_eq!(got, (0..cap + 5).collect::<Vec<_>>());
        });
    }
}

#[test]
fn r15_a_value_is_dropped_exactly_once() {
    let drops = AtomicUsize::new(0);
    let make = || Counted(&drops);
    for cap in [Some(0), Some(2), None] {
        drops.store(0, Ordering::Relaxed);
        let (s, r) = cap.map_or_else(unbounded, bounded);
        let room = cap.unwrap_or(100).min(100);
        (0..room).for_each(|_| s.send(make()).unwrap());
        thread::scope(|scope| {
            if cap.is_some() {
                // One sender blocks and times out, one is cut off by the receivers' end.
                scope.spawn(|| drop(s.send_timeout(make(), Duration::from_millis(10))));
                scope.spawn(|| drop(s.send(make()).unwrap_err()));
                thread::sleep(Duration::from_millis(60));
            }
            drop(r);
        });
        let blocked = if cap.is_some() { 2 } else { 0 };
        assert_eq!(drops.load(Ordering::Relaxed), room + blocked, "cap {cap:?}");
    }
}

#[test]
fn timeouts_give_the_value_back_and_leave_nothing_queued() {
    let (s, r) = bounded::<i32>(0);
    let start = Instant::now();
    let error = s.send_timeout(7, Duration::from_millis(20)).unwrap_err();
    assert!(error.is_timeout() && start.elapsed() >= Duration::from_millis(20));
    assert_eq!(error.into_inner(), 7);
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    let waited = r.recv_timeout(Duration::from_millis(20));
    assert_eq!(waited, Err(RecvTimeoutError::Timeout));
    assert_eq!(s.try_send(8), Err(TrySendError::Full(8)));
}

#[test]
fn every_value_arrives_once_whoever_waits() {
    const EACH: u64 = 400;
    for cap in [Some(0), Some(1), Some(7), None] {
        for senders in modes() {
            for receivers in modes() {
                if cap == Some(0) && senders.only_tries() && receivers.only_tries() {
                    continue;
                }
                let (s, r) = cap.map_or_else(unbounded, bounded);
                let sum = AtomicUsize::new(0);
                thread::scope(|scope| {
                    for id in 0..3 {
                        let s = s.clone();
                        scope.spawn(move || {
                            for n in 0..EACH {
                                senders.send(&s, id * EACH + n);
                            }
                        });
                    }
                    drop(s);
                    for _ in 0..3 {
                        let (r, sum) = (r.clone(), &sum);
                        scope.spawn(move || {
                            while let Some(n) = receivers.recv(&r) {
                                sum.fetch_add(n as usize, Ordering::Relaxed);
                            }
                        });
                    }
                });
                let all = 3 * EACH as usize;
                assert_eq!(sum.into_inner(), all * (all - 1) / 2, "cap {cap:?}");
            }
        }
    }
}

#[test]
fn r3_a_channel_is_a_semaphore() {
    const CAP: usize = 3;
    let (s, r) = bounded(CAP);
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    s.send(()).unwrap();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < CAP);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    r.recv().unwrap();
                }
            });
        }
    });
}

#[test]
fn a_value_whose_drop_panics_leaves_the_channel_usable() {
    struct Grumpy(bool);
    impl Drop for Grumpy {
        fn drop(&mut self) {
            assert!(!std::mem::take(&mut self.0), "grumpy");
        }
    }
    let (s, r) = bounded(2);
    s.send(Grumpy(true)).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(r.recv())));
    assert!(caught.is_err());
    s.send(Grumpy(false)).unwrap();
    assert!(r.recv().is_ok());
    // When the channel itself drops it, the rest is leaked: a second panic would abort.
    let drops = AtomicUsize::new(0);
    let (s, r) = unbounded();
    s.send((Grumpy(true), Counted(&drops))).unwrap();
    s.send((Grumpy(false), Counted(&drops))).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(r)));
    drop(s);
    assert!(caught.is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn zero_sized_and_large_values_pass() {
    let (s, r) = bounded(5);
    (0..5).for_each(|_| s.send(()).unwrap());
    assert_eq!(r.try_iter().count(), 5);
    let (s, r) = unbounded();
    (0..100u8).for_each(|n| s.send([n; 5000]).unwrap());
    drop(s);
    assert!(r.iter().zip(0..).all(|(value, n)| value == [n; 5000]));
}
