//! Waits that start again: a partner withdraws, or a promise is broken, and the waiter stands in line a second time.

mod common {
    pub(crate) mod bell;
}

use common::bell::{Bell, poll_with};
use gchan::{
    Receiver, RecvTimeoutError, Select, SelectCase, Sender, TryRecvError, bounded, make, select,
    try_select_cases,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

/// Chooses a send to whoever waits, and withdraws.
fn choose_and_withdraw(s: &Sender<u32>) {
    fn leave(s: &Sender<u32>) -> Option<()> {
        let value = None;
        select! {
            send(s, value?) -> _ => unreachable!("there is no value"),
            default => panic!("nobody waits"),
        }
    }
    assert_eq!(leave(s), None);
}

#[test]
fn a_select_future_is_woken_the_second_time_too() {
    let (s, r) = bounded(0);
    let bell = Arc::<Bell>::default();
    let mut select = Select::new();
    select.recv(&r);
    let mut future = select.select_async();
    assert!(poll_with(Pin::new(&mut future), &bell).is_pending());
    for round in 0..3 {
        choose_and_withdraw(&s);
        assert_eq!(bell.rings(), round + 1);
        assert!(poll_with(Pin::new(&mut future), &bell).is_pending());
    }
    s.try_send(7).unwrap();
    assert_eq!(bell.rings(), 4);
    match poll_with(Pin::new(&mut future), &bell) {
        Poll::Ready(chosen) => assert_eq!(chosen.recv(&r), Ok(7)),
        Poll::Pending => panic!("the value was sent"),
    }
}

/// A select, too, that a sender chose and left, goes before those that came after it.
#[test]
fn r9_who_stands_in_line_again_has_kept_its_turn() {
    let (s, r) = bounded(0);
    let bell = Arc::<Bell>::default();
    let mut select = Select::new();
    select.recv(&r);
    let mut first = select.select_async();
    assert!(poll_with(Pin::new(&mut first), &bell).is_pending());
    let mut second = pin!(r.recv_async());
    assert!(poll_with(second.as_mut(), &bell).is_pending());
    choose_and_withdraw(&s);
    assert!(poll_with(Pin::new(&mut first), &bell).is_pending());
    (1..=2).for_each(|n| s.try_send(n).unwrap());
    assert_eq!(poll_with(second, &bell), Poll::Ready(Ok(2)));
    match poll_with(Pin::new(&mut first), &bell) {
        Poll::Ready(chosen) => assert_eq!(chosen.recv(&r), Ok(1)),
        Poll::Pending => panic!("it was first"),
    }
}

#[test]
fn a_dropped_operation_is_a_withdrawal_too() {
    let (s, r) = bounded(0);
    let bell = Arc::<Bell>::default();
    let mut receive = pin!(r.recv_async());
    assert!(poll_with(receive.as_mut(), &bell).is_pending());
    let mut other = Select::new();
    other.send(&s);
    let chosen = other.try_select().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(chosen))).is_err());
    assert!(poll_with(receive.as_mut(), &bell).is_pending());
    let before = bell.rings();
    s.try_send(8).unwrap();
    assert_eq!(bell.rings(), before + 1);
    assert_eq!(poll_with(receive, &bell), Poll::Ready(Ok(8)));
}

/// Chooses a send as soon as somebody waits for it, and leaves from within its expression, which does `first` before.
fn choose_and_leave(s: &Sender<u32>, first: impl Fn()) {
    let leave = || {
        select! {
            send(s, {
                first();
                None::<u32>?
            }) -> sent => Some(sent),
        }
    };
    assert_eq!(leave(), None);
}

#[test]
fn a_receive_whose_deadline_passed_in_a_broken_promise_ends() {
    let (s, r) = bounded(0);
    let soon = Duration::from_millis(5);
    let alone = || r.recv_timeout(soon).is_err_and(|e| e.is_timeout());
    let by_select = || select! { recv(r) -> _ => false, default(soon) => true };
    let receives: [&(dyn Fn() -> bool + Sync); 2] = [&alone, &by_select];
    for times_out in receives {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert!(times_out());
                }
            });
            // Longer than the receiver waits, so that its deadline passes while it is paired.
            choose_and_leave(&s, || thread::sleep(soon * 10));
            over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_try_recv_that_chose_a_select_which_leaves_finds_nothing() {
    let (s, r) = bounded(0);
    let left = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            choose_and_leave(&s, || thread::sleep(Duration::from_millis(5)));
            left.store(true, Ordering::Relaxed);
        });
        while !left.load(Ordering::Relaxed) {
            assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        }
    });
}

#[test]
fn nobody_who_may_not_wait_waits_for_a_task() {
    let c = make::<u32>(0);
    let (s, r) = (c.tx(), c.rx());
    let bell = Arc::<Bell>::default();
    let mut select = Select::new();
    select.send(s);
    let mut future = select.select_async();
    assert!(poll_with(Pin::new(&mut future), &bell).is_pending());
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    let timeout = Err(RecvTimeoutError::Timeout);
    assert_eq!(r.recv_timeout(Duration::ZERO), timeout);
    assert_eq!(r.recv_deadline(Instant::now()), timeout);
    select! {
        recv(r) -> value => panic!("{value:?}"),
        default => {}
    }
    select! {
        recv(r) -> value => panic!("{value:?}"),
        default(Duration::ZERO) => {}
    }
    assert_eq!(try_select_cases(&mut [SelectCase::Recv(&c)]), None);
    let mut look = Select::new();
    look.recv(r);
    assert!(look.try_ready().is_err());
    assert_eq!(bell.rings(), 0, "nobody chose it");
    // Who may wait finds it ready, and it is.
    assert_eq!(look.ready(), 0);
    thread::scope(|scope| {
        let receiver = scope.spawn(|| r.recv());
        let chosen = loop {
            match poll_with(Pin::new(&mut future), &bell) {
                Poll::Ready(chosen) => break chosen,
                Poll::Pending => thread::yield_now(),
            }
        };
        chosen.send(s, 4).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(4));
    });
}

#[test]
fn a_deadline_ends_a_wait_for_a_task() {
    let (s, r) = bounded(0);
    for with_select in [false, true] {
        let bell = Arc::<Bell>::default();
        let mut select = Select::new();
        select.send(&s);
        let mut future = select.select_async();
        assert!(poll_with(Pin::new(&mut future), &bell).is_pending());
        let mut timeout = Duration::from_millis(1);
        // Until it was chosen: a machine may be so slow that the time is up before.
        while bell.rings() == 0 {
            if with_select {
                select! {
                    recv(r) -> value => panic!("{value:?}"),
                    default(timeout) => {}
                }
            } else {
                assert_eq!(r.recv_timeout(timeout), Err(RecvTimeoutError::Timeout));
            }
            timeout *= 2;
        }
        // Its receiver is gone, so it waits for the next, who waits for it once it was polled.
        assert!(poll_with(Pin::new(&mut future), &bell).is_pending());
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                loop {
                    if let Ok(value) = r.recv_timeout(timeout) {
                        return Ok::<u32, ()>(value);
                    }
                }
            });
            let chosen = loop {
                match poll_with(Pin::new(&mut future), &bell) {
                    Poll::Ready(chosen) => break chosen,
                    Poll::Pending => thread::yield_now(),
                }
            };
            thread::sleep(2 * timeout);
            chosen.send(&s, 5).unwrap();
            assert_eq!(receiver.join().unwrap(), Ok(5));
        });
    }
}

#[test]
fn r16_a_receive_lets_the_next_sender_in_beside_a_slot_that_is_promised() {
    type Receive = fn(&Receiver<u32>) -> Option<u32>;
    let (waiting, trying): (Receive, Receive) = (|r| r.recv().ok(), |r| r.try_recv().ok());
    for receive in [waiting, trying] {
        let (s, r) = bounded(2);
        let bell = Arc::<Bell>::default();
        let mut select = Select::new();
        select.send(&s);
        s.send(1).unwrap();
        let chosen = select.select();
        let mut send = pin!(s.send_async(2));
        assert!(poll_with(send.as_mut(), &bell).is_pending());
        assert_eq!(receive(&r), Some(1));
        assert_eq!(bell.rings(), 1);
        assert_eq!(poll_with(send, &bell), Poll::Ready(Ok(())));
        chosen.send(&s, 3).unwrap();
        assert_eq!(r.try_iter().collect::<Vec<_>>(), [2, 3]);
    }
}

/// Once a task knows that it was chosen its receiver waits for the value, also beyond the deadline: the task, which may
/// not block, can send it.
#[test]
fn r16_who_is_paired_with_a_task_that_was_polled_waits_for_its_value() {
    let (s, r) = bounded::<u32>(0);
    let bell = Arc::<Bell>::default();
    let late = Duration::from_millis(100);
    thread::scope(|scope| {
        loop {
            let mut select = Select::new();
            select.send(&s);
            let mut future = select.select_async();
            assert!(poll_with(Pin::new(&mut future), &bell).is_pending());
            let before = bell.rings();
            let receiver = scope.spawn(|| r.recv_timeout(late));
            while bell.rings() == before && !receiver.is_finished() {
                thread::yield_now();
            }
            match poll_with(Pin::new(&mut future), &bell) {
                Poll::Ready(chosen) => {
                    thread::sleep(late * 2);
                    assert!(!receiver.is_finished());
                    chosen.send(&s, 7).unwrap();
                    assert_eq!(receiver.join().unwrap(), Ok(7));
                    return;
                }
                // On a busy machine the receiver may have left before.
                Poll::Pending => {
                    let left = receiver.join().unwrap();
                    assert_eq!(left, Err(RecvTimeoutError::Timeout));
                }
            }
        }
    });
}
