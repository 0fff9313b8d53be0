//! Loom models: every interleaving of a few operations, up to the preemption bound.
//!
//! Values carry a loom cell, which is written before one side's operation and read after the other's without any other
//! ordering; loom reports a race if the channel does not order them. So each is a litmus test of a rule of Go's memory
//! model (R1-R5) as well as a check of the protocol.

use crate::{RecvError, Select, TryRecvError, bounded, unbounded};
use loom::cell::UnsafeCell;
use loom::thread;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// A word without any ordering of its own.
#[derive(Clone)]
struct Plain(Arc<UnsafeCell<u32>>);

// SAFETY: loom checks every access.
unsafe impl Send for Plain {}
// SAFETY: as above.
unsafe impl Sync for Plain {}

impl Plain {
    fn new() -> Self {
        Self(Arc::new(UnsafeCell::new(0)))
    }

    fn set(&self, value: u32) {
        // SAFETY: loom reports it if another access is not ordered with this one.
        self.0.with_mut(|cell| unsafe { *cell = value });
    }

    fn get(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|cell| unsafe { *cell })
    }
}

#[test]
fn loom_r2_r4_a_rendezvous_orders_both_ways() {
    loom::model(|| {
        let (s, r) = bounded(0);
        let (before_send, before_recv) = (Plain::new(), Plain::new());
        let (a, b) = (before_send.clone(), before_recv.clone());
        let sender = thread::spawn(move || {
            a.set(1);
            s.send(()).unwrap();
            assert_eq!(b.get(), 2);
        });
        before_recv.set(2);
        r.recv().unwrap();
        assert_eq!(before_send.get(), 1);
        sender.join().unwrap();
    });
}

#[test]
fn loom_r3_the_first_receive_is_before_the_second_send_completes() {
    loom::model(|| {
        let (s, r) = bounded(1);
        let before_recv = Plain::new();
        let seen = before_recv.clone();
        let sender = thread::spawn(move || {
            s.send(1).unwrap();
            s.send(2).unwrap();
            assert_eq!(seen.get(), 7);
        });
        before_recv.set(7);
        assert_eq!(r.recv(), Ok(1));
        assert_eq!(r.recv(), Ok(2));
        sender.join().unwrap();
    });
}

#[test]
fn loom_r5_close_is_before_the_receive_that_reports_it() {
    loom::model(|| {
        let (s, r) = bounded::<()>(0);
        let before_close = Plain::new();
        let set = before_close.clone();
        let closer = thread::spawn(move || {
            set.set(3);
            drop(s);
        });
        assert_eq!(r.recv(), Err(RecvError));
        assert_eq!(before_close.get(), 3);
        closer.join().unwrap();
    });
}

#[test]
fn loom_close_gives_a_blocked_sender_its_value_back() {
    loom::model(|| {
        let (s, r) = bounded(0);
        let sender = thread::spawn(move || s.send(5).unwrap_err().into_inner());
        drop(r);
        assert_eq!(sender.join().unwrap(), 5);
    });
}

#[test]
fn loom_two_senders_and_one_receiver_lose_nothing() {
    loom::model(|| {
        let (s, r) = bounded(0);
        let other = s.clone();
        let first = thread::spawn(move || s.send(1).unwrap());
        let second = thread::spawn(move || other.send(2).unwrap());
        assert_eq!(r.recv().unwrap() + r.recv().unwrap(), 3);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn loom_r12_a_value_that_stays_is_not_missed_by_the_fast_path() {
    loom::model(|| {
        let (s, r) = unbounded();
        let data = Plain::new();
        let set = data.clone();
        let sender = thread::spawn(move || {
            set.set(1);
            s.send(()).unwrap();
            s
        });
        if r.try_recv().is_ok() {
            assert_eq!(data.get(), 1);
            sender.join().unwrap();
        } else {
            let _s = sender.join().unwrap();
            assert_eq!(r.try_recv(), Ok(()));
            assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        }
    });
}

/// Receives from either channel, whichever comes first.
fn select_recv(a: &crate::Receiver<u32>, b: &crate::Receiver<u32>) -> Result<u32, RecvError> {
    let mut select = Select::new_biased();
    let first = select.recv(a);
    select.recv(b);
    let chosen = select.select();
    if chosen.index() == first {
        chosen.recv(a)
    } else {
        chosen.recv(b)
    }
}

#[test]
fn loom_select_is_won_by_one_of_two_senders() {
    loom::model(|| {
        let (s1, r1) = bounded(0);
        let (s2, r2) = bounded(0);
        let first = thread::spawn(move || s1.send(1).is_ok());
        let second = thread::spawn(move || s2.send(2).is_ok());
        let got = select_recv(&r1, &r2).unwrap();
        drop((r1, r2));
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        // Who was received was sent, and the other got its value back.
        assert_eq!((first, second), (got == 1, got == 2));
    });
}

#[test]
fn loom_select_against_close() {
    loom::model(|| {
        let (s1, r1) = bounded(0);
        let (s2, r2) = bounded::<u32>(0);
        let sender = thread::spawn(move || s1.send(1).is_ok());
        let closer = thread::spawn(move || drop(s2));
        let got = select_recv(&r1, &r2);
        drop(r1);
        closer.join().unwrap();
        assert_eq!(sender.join().unwrap(), got.is_ok());
    });
}

/// Who watches is told of a value that another takes, and waits a second time.
#[test]
fn loom_a_watcher_that_found_nothing_is_told_of_the_next() {
    loom::model(|| {
        let (s, r) = bounded(1);
        let rival = r.clone();
        let watcher = thread::spawn(move || {
            let mut select = Select::new_biased();
            select.recv(&r);
            loop {
                select.ready();
                if let Ok(value) = r.try_recv() {
                    return value;
                }
            }
        });
        s.send(1).unwrap();
        let last = if rival.try_recv().is_ok() { 2 } else { 1 };
        if last == 2 {
            s.send(2).unwrap();
        }
        assert_eq!(watcher.join().unwrap(), last);
    });
}

#[test]
fn loom_r16_a_select_that_sends_meets_a_receiver() {
    for cap in [0, 1] {
        loom::model(move || {
            let (s, r) = bounded(cap);
            let data = Plain::new();
            let set = data.clone();
            let sender = thread::spawn(move || {
                let mut select = Select::new();
                select.send(&s);
                let chosen = select.select();
                set.set(4);
                chosen.send(&s, 9).unwrap();
            });
            assert_eq!(r.recv(), Ok(9));
            assert_eq!(data.get(), 4);
            sender.join().unwrap();
        });
    }
}

#[test]
fn loom_r16_a_promise_that_is_taken_back_leaves_the_receiver_waiting() {
    loom::model(|| {
        let (s, r) = bounded(0);
        /// Leaves the select from within the expression of the chosen send.
        fn take_back(s: &crate::Sender<u32>) -> Option<()> {
            let value = None;
            crate::select! { send(s, value?) -> _ => unreachable!("there is no value") }
        }
        let sender = thread::spawn(move || {
            assert_eq!(take_back(&s), None);
            s
        });
        let receiver = thread::spawn(move || r.recv());
        let s = sender.join().unwrap();
        s.send(6).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(6));
    });
}

#[test]
fn loom_a_dropped_receive_future_loses_no_value() {
    loom::model(|| {
        let (s, r) = bounded(1);
        let sender = thread::spawn(move || s.send(8).unwrap());
        let got = {
            let mut future = pin!(r.recv_async());
            future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        };
        match got {
            Poll::Ready(value) => assert_eq!(value, Ok(8)),
            Poll::Pending => assert_eq!(r.recv(), Ok(8)),
        }
        sender.join().unwrap();
    });
}

#[test]
fn loom_a_dropped_send_future_leaves_nothing_behind() {
    loom::model(|| {
        let (s, r) = bounded(0);
        let receiver = thread::spawn(move || r.recv());
        let sent = {
            let mut future = pin!(s.send_async(1));
            future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        };
        // Pending and dropped: taken meanwhile, or gone.
        drop(s);
        let got = receiver.join().unwrap();
        if sent.is_ready() {
            assert_eq!(got, Ok(1));
        } else {
            assert!(got == Ok(1) || got == Err(RecvError));
        }
    });
}

/// Runs a future to its end on loom's parker.
fn run<F: Future>(future: F) -> F::Output {
    let parker = crate::wait::model::Parker::new();
    let waker = Waker::from(parker.clone());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => parker.park(),
        }
    }
}

#[test]
fn loom_an_async_select_is_won_by_one_of_two_senders() {
    loom::model(|| {
        let (s1, r1) = bounded(0);
        let (s2, r2) = bounded(0);
        let first = thread::spawn(move || s1.send(1).is_ok());
        let second = thread::spawn(move || s2.send(2).is_ok());
        let got = run(async {
            let mut select = Select::new_biased();
            let first = select.recv(&r1);
            select.recv(&r2);
            let chosen = select.select_async().await;
            let from = if chosen.index() == first { &r1 } else { &r2 };
            chosen.recv(from)
        });
        let got = got.unwrap();
        drop((r1, r2));
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        assert_eq!((first, second), (got == 1, got == 2));
    });
}

#[test]
fn loom_a_dropped_async_select_loses_no_value() {
    loom::model(|| {
        let (s1, r1) = bounded(0);
        let (_s2, r2) = bounded::<u32>(0);
        let sender = thread::spawn(move || s1.send(5).unwrap());
        {
            let mut select = Select::new_biased();
            select.recv(&r1);
            select.recv(&r2);
            let mut future = pin!(select.select_async());
            let polled = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(chosen) = polled {
                assert_eq!(chosen.recv(&r1), Ok(5));
                return sender.join().unwrap();
            }
            // Dropped, whether it was won meanwhile or not.
        }
        assert_eq!(r1.recv(), Ok(5));
        sender.join().unwrap();
    });
}

#[test]
fn loom_r5_close_is_before_the_select_that_reports_it() {
    loom::model(|| {
        let (s1, r1) = bounded::<u32>(0);
        let (_s2, r2) = bounded::<u32>(0);
        let data = Plain::new();
        let set = data.clone();
        let closer = thread::spawn(move || {
            set.set(3);
            drop(s1);
        });
        assert_eq!(select_recv(&r1, &r2), Err(RecvError));
        assert_eq!(data.get(), 3);
        closer.join().unwrap();
    });
}

#[test]
fn loom_r5_close_ends_a_select_that_sends() {
    loom::model(|| {
        let (s1, r1) = bounded(0);
        let (s2, r2) = bounded(0);
        let first = thread::spawn(move || drop(r1));
        let second = thread::spawn(move || r2.recv().is_ok());
        let mut select = Select::new_biased();
        let closing = select.send(&s1);
        select.send(&s2);
        let chosen = select.select();
        let sent = if chosen.index() == closing {
            assert!(chosen.send(&s1, 1).is_err(), "nobody receives there");
            false
        } else {
            chosen.send(&s2, 2).unwrap();
            true
        };
        drop((s1, s2));
        first.join().unwrap();
        assert_eq!(second.join().unwrap(), sent);
    });
}

#[test]
fn loom_r2_a_buffered_send_is_before_the_select_and_the_try_that_receive_it() {
    loom::model(|| {
        let (s, r) = bounded(1);
        let (_other, never) = bounded::<u32>(0);
        let data = Plain::new();
        let set = data.clone();
        let sender = thread::spawn(move || {
            set.set(7);
            s.send(1).unwrap();
        });
        if r.try_recv() != Ok(1) {
            assert_eq!(select_recv(&never, &r), Ok(1));
        }
        assert_eq!(data.get(), 7);
        sender.join().unwrap();
    });
}

/// Leaves a select from within the expression of the send that it chose; false if none was chosen.
fn choose_and_leave(s: &crate::Sender<u32>) -> bool {
    fn leave(s: &crate::Sender<u32>) -> Option<bool> {
        let value = None;
        crate::select! {
            send(s, value?) -> _ => unreachable!("there is no value"),
            default => Some(false),
        }
    }
    leave(s).is_none()
}

#[test]
fn loom_an_async_select_that_has_to_wait_a_second_time_is_woken() {
    loom::model(|| {
        let (s, r) = bounded(0);
        let receiver = thread::spawn(move || {
            run(async {
                let mut select = Select::new();
                select.recv(&r);
                select.select_async().await.recv(&r)
            })
        });
        choose_and_leave(&s);
        s.send(6).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(6));
    });
}

#[test]
fn loom_a_select_that_has_to_wait_a_second_time_is_woken() {
    loom::model(|| {
        let (s, r) = bounded(0);
        let (_other, never) = bounded::<u32>(0);
        let receiver = thread::spawn(move || select_recv(&never, &r));
        choose_and_leave(&s);
        s.send(6).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(6));
    });
}

/// A time that no model reaches; its parker takes every deadline for passed.
const LATER: std::time::Duration = std::time::Duration::from_secs(3600);

#[test]
fn loom_a_deadline_that_passes_in_a_broken_promise_is_seen() {
    loom::model(|| {
        let (s, r) = bounded(0);
        let receiver = thread::spawn(move || {
            assert!(r.recv_timeout(LATER).is_err());
            r
        });
        choose_and_leave(&s);
        let r = receiver.join().unwrap();
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn loom_a_deadline_ends_a_wait_for_a_task_which_then_sends_to_the_next() {
    loom::model(|| {
        let (s, r) = bounded(0);
        let sender = thread::spawn(move || {
            run(async {
                let mut select = Select::new();
                select.send(&s);
                select.select_async().await.send(&s, 3).unwrap();
            });
        });
        assert_eq!(r.recv_timeout(LATER).or_else(|_| r.recv()), Ok(3));
        sender.join().unwrap();
    });
}
