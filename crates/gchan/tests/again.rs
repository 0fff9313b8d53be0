//! Waits that start again: a partner withdraws, or a promise is broken, and the waiter stands in line a second time.

mod common {
    pub(crate) mod bell;
}

use common::bell::{Bell, poll_with};
use gchan::{Select, Sender, bounded, select};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

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
