//! Wakers that panic: whoever calls them unwinds, nobody else is the worse for it, and each value is there once.

mod common {
    pub(crate) mod bell;
    pub(crate) mod counted;
}

use common::bell::{Bell, poll_with};
use common::counted::Counted;
use gchan::{Receiver, SendFut, TryRecvError, bounded, select, unbounded};
use std::cell::RefCell;
use std::fmt::Debug;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::time::Duration;

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// Polls once with a waker that panics when it is woken.
fn poll_badly<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::new(Panics))))
}

/// Runs what unwinds.
fn unwinds<R>(f: impl FnOnce() -> R) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "it woke nobody");
}

#[test]
fn a_receive_future_whose_partners_waker_panics_is_queued_and_can_be_dropped() {
    for dropped in [false, true] {
        let (s, r) = bounded::<[usize; 4]>(0);
        let mut select = gchan::Select::new();
        select.send(&s);
        let mut future = select.select_async();
        assert!(poll_badly(Pin::new(&mut future)).is_pending());
        let bell = Arc::<Bell>::default();
        let mut receive = Box::pin(r.recv_async());
        unwinds(|| poll_with(receive.as_mut(), &bell));
        if dropped {
            drop(receive);
            assert!(poll_with(Pin::new(&mut future), &bell).is_pending());
            thread::scope(|scope| {
                let receiver = scope.spawn(|| r.recv());
                let chosen = loop {
                    match poll_with(Pin::new(&mut future), &bell) {
                        Poll::Ready(chosen) => break chosen,
                        Poll::Pending => thread::yield_now(),
                    }
                };
                chosen.send(&s, [1, 2, 3, 4]).unwrap();
                assert_eq!(receiver.join().unwrap(), Ok([1, 2, 3, 4]));
            });
        } else {
            assert!(poll_with(receive.as_mut(), &bell).is_pending());
            let Poll::Ready(chosen) = poll_with(Pin::new(&mut future), &bell) else {
                panic!("it was chosen");
            };
            chosen.send(&s, [1, 2, 3, 4]).unwrap();
            assert_eq!(bell.rings(), 1);
            assert_eq!(
                poll_with(receive.as_mut(), &bell),
                Poll::Ready(Ok([1, 2, 3, 4]))
            );
        }
    }
}

thread_local! {
    /// Runs when the waker of [`interrupting`] is cloned.
    static WHEN_CLONED: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A waker within whose clone something else happens.
fn interrupting(f: impl FnOnce() + 'static) -> Waker {
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            if let Some(f) = WHEN_CLONED.take() {
                f();
            }
            RawWaker::new(data, &TABLE)
        },
        |_| {},
        |_| {},
        |_| {},
    );
    WHEN_CLONED.set(Some(Box::new(f)));
    // SAFETY: nothing is done with the pointer.
    unsafe { Waker::new(std::ptr::null(), &TABLE) }
}

#[test]
fn a_send_future_that_unwound_after_it_sent_has_sent_once() {
    for polled in [false, true] {
        let (s, r) = bounded(0);
        let r: &'static Receiver<Box<u8>> = Box::leak(Box::new(r));
        let receive = Box::leak(Box::new(Box::pin(r.recv_async())));
        let receive = Arc::new(std::sync::Mutex::new(receive));
        let later = receive.clone();
        // A receiver comes between the future's look and its start.
        let waker = interrupting(move || {
            assert!(poll_badly(later.lock().unwrap().as_mut()).is_pending());
        });
        let mut send = Box::pin(s.send_async(Box::new(7)));
        unwinds(|| send.as_mut().poll(&mut Context::from_waker(&waker)));
        if polled {
            let again = send.as_mut().poll(&mut Context::from_waker(&waker));
            assert_eq!(again, Poll::Ready(Ok(())));
        }
        drop(send);
        let got = poll_badly(receive.lock().unwrap().as_mut());
        assert_eq!(got, Poll::Ready(Ok(Box::new(7))));
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    }
}

#[test]
fn a_receive_future_that_unwound_after_it_received_has_the_value() {
    for polled in [false, true] {
        let (s, r) = bounded(0);
        let s: &'static gchan::Sender<u8> = Box::leak(Box::new(s));
        let send: &'static mut Pin<Box<SendFut<'_, u8>>> =
            Box::leak(Box::new(Box::pin(s.send_async(8))));
        let waker = interrupting(move || assert!(poll_badly(send.as_mut()).is_pending()));
        let mut receive = Box::pin(r.recv_async());
        unwinds(|| receive.as_mut().poll(&mut Context::from_waker(&waker)));
        if polled {
            let again = receive.as_mut().poll(&mut Context::from_waker(&waker));
            assert_eq!(again, Poll::Ready(Ok(8)));
        } else {
            drop(receive);
            assert_eq!(r.try_recv(), Ok(8));
        }
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    }
}

/// A receive that unwinds, because the waker of a sender that it lets go on panics, leaves its value to the next.
fn gives_back<R: Debug>(receive: impl Fn(&Receiver<[u8; 100]>) -> R) {
    for cap in [0, 1] {
        let (s, r) = bounded(cap);
        (0..cap).for_each(|_| s.try_send([1; 100]).unwrap());
        let mut send = pin!(s.send_async([1; 100]));
        assert!(poll_badly(send.as_mut()).is_pending());
        unwinds(|| receive(&r));
        assert_eq!(r.try_recv(), Ok([1; 100]));
        assert_eq!(r.try_recv().is_ok(), cap == 1);
        assert_eq!(poll_badly(send), Poll::Ready(Ok(())));
    }
}

#[test]
fn a_receive_that_unwinds_gives_its_value_back() {
    gives_back(|r| r.recv());
    gives_back(|r| r.try_recv());
    gives_back(|r| r.recv_timeout(std::time::Duration::ZERO));
    gives_back(|r| pin!(r.recv_async()).poll(&mut Context::from_waker(Waker::noop())));
    gives_back(|r| select! { recv(r) -> value => value });
    gives_back(|r| {
        let mut select = gchan::Select::new();
        select.recv(r);
        select.try_select().map(|chosen| chosen.recv(r))
    });
}

#[test]
fn a_batch_that_unwinds_keeps_what_it_took() {
    let (s, r) = bounded(2);
    (1..=2).for_each(|n| s.try_send(n).unwrap());
    let mut send = pin!(s.send_async(3));
    assert!(poll_badly(send.as_mut()).is_pending());
    let mut got = vec![0];
    unwinds(|| {
        r.recv_many(&mut got, 1)
            .and_then(|_| r.recv_many(&mut got, 3))
    });
    got.extend(r.try_iter());
    assert_eq!(got, [0, 1, 2, 3]);
}

#[test]
fn a_close_wakes_everybody_whoever_panics() {
    let (s, r) = bounded::<u8>(0);
    let bell = Arc::<Bell>::default();
    let mut waits: Vec<_> = (0..12).map(|_| Box::pin(r.recv_async())).collect();
    for (i, wait) in waits.iter_mut().enumerate() {
        if i % 3 == 0 {
            assert!(poll_badly(wait.as_mut()).is_pending());
        } else {
            assert!(poll_with(wait.as_mut(), &bell).is_pending());
        }
    }
    unwinds(|| drop(s));
    assert_eq!(bell.rings(), 8);
    for wait in &mut waits {
        assert!(matches!(
            poll_with(wait.as_mut(), &bell),
            Poll::Ready(Err(_))
        ));
    }
}

#[test]
fn the_last_receiver_drops_the_messages_whoever_panics() {
    let drops = AtomicUsize::new(0);
    let (s, r) = bounded(1);
    s.try_send(Counted(&drops)).unwrap();
    let mut send = Box::pin(s.send_async(Counted(&drops)));
    assert!(poll_badly(send.as_mut()).is_pending());
    unwinds(|| drop(r));
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    drop(poll_badly(send.as_mut()));
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    let (s, r) = unbounded();
    s.send(Counted(&drops)).unwrap();
    drop((s, r));
    assert_eq!(drops.load(Ordering::Relaxed), 3);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("a payload that panics"));
    }
}

struct PanicsWithABomb;

impl Wake for PanicsWithABomb {
    fn wake(self: Arc<Self>) {
        std::panic::resume_unwind(Box::new(Bomb));
    }
}

#[test]
fn alarms_outlive_a_waker_that_panics_with_a_payload_that_panics() {
    let soon = Duration::from_millis(1);
    let clock = gchan::after(soon);
    let mut future = pin!(clock.recv_async());
    let waker = Waker::from(Arc::new(PanicsWithABomb));
    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    // Later than the first.
    gchan::block_on(gchan::after(soon).recv_async()).unwrap();
    gchan::block_on(gchan::after(soon).recv_async()).unwrap();
}
