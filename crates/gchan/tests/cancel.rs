//! Futures that are dropped: no value is lost, none is left behind, no waiter is forgotten.

mod common {
    pub(crate) mod bell;
    pub(crate) mod counted;
}

use common::bell::{Bell, poll_with};
use common::counted::Counted;
use gchan::{Receiver, Sender, TryRecvError, TrySendError, bounded, unbounded};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWakerVTable, Waker};

/// Polls a fresh future once.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_dropped_receive_that_was_handed_a_value_gives_it_back_at_its_place() {
    let (s, r) = bounded(2);
    let bell = Arc::<Bell>::default();
    let mut first = Box::pin(r.recv_async());
    let mut second = Box::pin(r.recv_async());
    assert!(poll_with(first.as_mut(), &bell).is_pending());
    assert!(poll_with(second.as_mut(), &bell).is_pending());
    (1..=4).for_each(|n| s.try_send(n).unwrap());
    assert_eq!(bell.rings(), 2);
    // 1 and 2 were handed over, 3 and 4 are buffered.
    drop(first);
    drop(second);
    assert_eq!(s.try_send(5), Err(TrySendError::Full(5)));
    assert_eq!(r.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(s.try_send(5), Ok(()));
}

#[test]
fn a_value_that_comes_back_goes_to_the_next_receiver_first() {
    let (s, r) = bounded(0);
    let bell = Arc::<Bell>::default();
    let mut first = Box::pin(r.recv_async());
    assert!(poll_with(first.as_mut(), &bell).is_pending());
    s.try_send(1).unwrap();
    let mut second = pin!(r.recv_async());
    assert!(poll_with(second.as_mut(), &bell).is_pending());
    drop(first);
    assert_eq!(bell.rings(), 2);
    assert_eq!(poll_with(second, &bell), Poll::Ready(Ok(1)));
}

/// It keeps its place when it is passed on, and comes back again.
#[test]
fn a_value_that_comes_back_twice_comes_back_to_its_place() {
    let (s, r) = bounded(0);
    let bell = Arc::<Bell>::default();
    let [mut first, mut second, mut third] = [(); 3].map(|()| Box::pin(r.recv_async()));
    for receive in [&mut first, &mut second, &mut third] {
        assert!(poll_with(receive.as_mut(), &bell).is_pending());
    }
    (1..=2).for_each(|n| s.try_send(n).unwrap());
    drop(first);
    assert_eq!(bell.rings(), 3, "the third has the 1");
    drop(second);
    drop(third);
    assert_eq!(r.try_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_dropped_send_leaves_nothing_behind() {
    let drops = AtomicUsize::new(0);
    let (s, r) = bounded(0);
    {
        let mut send = pin!(s.send_async(Counted(&drops)));
        assert!(poll_with(send.as_mut(), &Arc::default()).is_pending());
    }
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert!(r.try_recv().is_err());
    // A future that was never polled has sent nothing either.
    drop(s.send_async(Counted(&drops)));
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[test]
fn a_send_that_was_taken_and_then_dropped_is_sent_once() {
    let drops = AtomicUsize::new(0);
    let (s, r) = bounded(0);
    let mut send = Box::pin(s.send_async(Counted(&drops)));
    assert!(poll_with(send.as_mut(), &Arc::default()).is_pending());
    let value = r.try_recv().unwrap();
    drop(send);
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    drop(value);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn r15_a_send_that_was_refused_and_then_dropped_drops_its_value() {
    let drops = AtomicUsize::new(0);
    let (s, r) = bounded(0);
    let bell = Arc::<Bell>::default();
    let mut send = Box::pin(s.send_async(Counted(&drops)));
    assert!(poll_with(send.as_mut(), &bell).is_pending());
    drop(r);
    assert_eq!((bell.rings(), drops.load(Ordering::Relaxed)), (1, 0));
    drop(send);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn a_waiter_behind_a_dropped_one_is_woken() {
    let (s, r) = bounded(1);
    s.try_send(0).unwrap();
    let bell = Arc::<Bell>::default();
    let mut first = Box::pin(s.send_async(1));
    let mut second = pin!(s.send_async(2));
    assert!(poll_with(first.as_mut(), &bell).is_pending());
    assert!(poll_with(second.as_mut(), &bell).is_pending());
    drop(first);
    assert_eq!(r.try_recv(), Ok(0));
    assert_eq!(bell.rings(), 1);
    assert_eq!(poll_with(second, &bell), Poll::Ready(Ok(())));
    assert_eq!(r.try_recv(), Ok(2));
}

#[test]
fn the_last_waker_given_is_the_one_woken() {
    let (s, r) = bounded(0);
    let (old, new) = (Arc::<Bell>::default(), Arc::<Bell>::default());
    let mut recv = pin!(r.recv_async());
    assert!(poll_with(recv.as_mut(), &old).is_pending());
    assert!(poll_with(recv.as_mut(), &new).is_pending());
    s.try_send(3).unwrap();
    assert_eq!((old.rings(), new.rings()), (0, 1));
    assert_eq!(poll_with(recv, &new), Poll::Ready(Ok(3)));
}

#[test]
fn futures_resolve_when_the_other_side_ends() {
    let (s, r) = bounded(0);
    let bell = Arc::<Bell>::default();
    let mut send = pin!(s.send_async(9));
    assert!(poll_with(send.as_mut(), &bell).is_pending());
    drop(r);
    assert_eq!(bell.rings(), 1);
    match poll_with(send, &bell) {
        Poll::Ready(Err(error)) => assert_eq!(error.into_inner(), 9),
        other => panic!("{other:?}"),
    }
    let (s, r) = unbounded::<u8>();
    let mut recv = pin!(r.recv_async());
    assert!(poll_with(recv.as_mut(), &bell).is_pending());
    drop(s);
    assert!(matches!(poll_with(recv, &bell), Poll::Ready(Err(_))));
    assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
}

#[test]
fn a_value_put_back_into_a_closing_channel_is_still_received() {
    let (s, r) = bounded(0);
    let mut recv = Box::pin(r.recv_async());
    assert!(poll_with(recv.as_mut(), &Arc::default()).is_pending());
    s.try_send(5).unwrap();
    drop(s);
    drop(recv);
    assert_eq!(r.recv(), Ok(5));
    assert!(r.recv().is_err());
}

/// Receives that were handed the values, in this order, and then dropped.
fn come_back(s: &Sender<u32>, r: &Receiver<u32>, values: &[u32], dropped: &[usize]) {
    let bell = Arc::<Bell>::default();
    let mut waits: Vec<_> = values
        .iter()
        .map(|_| Some(Box::pin(r.recv_async())))
        .collect();
    for wait in waits.iter_mut().flatten() {
        assert!(poll_with(wait.as_mut(), &bell).is_pending());
    }
    for &value in values {
        s.try_send(value).unwrap();
    }
    for &i in dropped {
        waits[i] = None;
    }
}

#[test]
fn values_that_came_back_are_counted_and_taken_in_batches() {
    let (s, r) = unbounded();
    for _ in 0..2 {
        come_back(&s, &r, &[1, 2, 3], &[0, 1, 2]);
        s.send(4).unwrap();
        assert_eq!((s.len(), r.len(), r.is_empty()), (4, 4, false));
        assert_eq!(r.drain().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(r.is_empty());
    }
    come_back(&s, &r, &[1, 2, 3], &[0, 1, 2]);
    let mut got = Vec::new();
    assert_eq!(r.recv_many(&mut got, 8), Ok(3));
    come_back(&s, &r, &[4, 5], &[0, 1]);
    assert_eq!(r.try_recv_many(&mut got, 8), Ok(2));
    assert_eq!(got, [1, 2, 3, 4, 5]);
    // They may be more than there is room for.
    let (s, r) = bounded(0);
    come_back(&s, &r, &[6, 7], &[0, 1]);
    assert_eq!(
        (r.len(), r.is_empty(), r.is_full(), s.is_full()),
        (2, false, true, true)
    );
    assert_eq!(r.try_iter().collect::<Vec<_>>(), [6, 7]);
    assert_eq!((r.len(), r.is_empty(), r.is_full()), (0, true, true));
}

#[test]
fn values_come_back_to_their_places_in_any_order() {
    let (s, r) = unbounded();
    for dropped in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        come_back(&s, &r, &[10, 11, 12, 13], &dropped);
        assert_eq!(r.try_iter().collect::<Vec<_>>(), [10, 11, 12, 13]);
    }
    // What is left when the channel goes is freed, however much it is.
    let n = 200_000;
    let all: Vec<_> = (0..n).collect();
    let order: Vec<_> = (0..n as usize).collect();
    come_back(&s, &r, &all, &order);
    assert_eq!(r.len(), n as usize);
}

#[test]
fn an_iterator_that_ended_has_ended() {
    let (s, r) = bounded(1);
    let mut wait = Box::pin(r.recv_async());
    assert!(poll_with(wait.as_mut(), &Arc::default()).is_pending());
    s.send(7).unwrap();
    drop(s);
    let mut borrowing = r.iter();
    let mut owning = r.clone().into_iter();
    assert_eq!((borrowing.next(), owning.next()), (None, None));
    drop(wait);
    assert_eq!((borrowing.next(), owning.next()), (None, None));
    assert_eq!(r.recv(), Ok(7));
}

#[test]
fn a_send_whose_waker_cannot_be_cloned_drops_its_value_once() {
    const NO_CLONES: RawWakerVTable =
        RawWakerVTable::new(|_| panic!("no clones"), |_| {}, |_| {}, |_| {});
    // SAFETY: nothing is done with the pointer.
    let waker = unsafe { Waker::new(std::ptr::null(), &NO_CLONES) };
    let drops = AtomicUsize::new(0);
    let (s, r) = bounded(0);
    let mut send = Box::pin(s.send_async(Counted(&drops)));
    let polled = catch_unwind(AssertUnwindSafe(|| {
        send.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    }));
    assert!(polled.is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    drop(send);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert!(r.try_recv().is_err());
}

#[test]
fn nothing_waits_when_nothing_must() {
    let (s, r) = bounded(1);
    assert!(poll_once(s.send_async(1)).is_ready());
    assert!(poll_once(r.recv_async()).is_ready());
}
