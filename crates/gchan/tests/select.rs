//! Go's rules of select (R16, R17), and the ways in which a select can be left.

mod common {
    pub(crate) mod asleep;
    pub(crate) mod bell;
    pub(crate) mod counted;
}

use common::asleep::spawn_until_it_sleeps;
use common::bell::{Bell, poll_with};
use common::counted::Counted;
use gchan::{
    Chan, Select, SelectCase, TryRecvError, after, at, bounded, make, select, select_biased,
    select_cases, try_select_cases, unbounded,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn r17_ready_cases_are_chosen_uniformly() {
    const TRIALS: f64 = 10_000.0;
    let (s1, r1) = unbounded();
    let (s2, r2) = unbounded();
    let (_s3, r3) = bounded::<()>(0);
    for _ in 0..TRIALS as usize {
        s1.send(()).unwrap();
        s2.send(()).unwrap();
    }
    let mut first = 0.0;
    for _ in 0..TRIALS as usize {
        select! {
            recv(r1) -> _ => first += 1.0,
            recv(r2) -> _ => {}
            recv(r3) -> _ => unreachable!(),
        }
    }
    // Ten standard deviations of a fair coin.
    let sigma = (TRIALS * 0.25_f64).sqrt();
    assert!((first - TRIALS / 2.0).abs() < 10.0 * sigma, "{first}");
}

#[test]
fn r17_default_is_never_taken_while_a_token_goes_round() {
    // Whatever the select looks at first, the token is there all the time.
    let (s, r) = bounded(1);
    let (_quiet, other) = bounded::<()>(1);
    s.send(()).unwrap();
    for _ in 0..1000 {
        select! {
            recv(other) -> _ => unreachable!(),
            recv(r) -> _ => s.send(()).unwrap(),
            default => panic!("a value that stays available was missed"),
        }
    }
}

#[test]
fn r17_a_select_never_matches_itself() {
    let (s, r) = bounded(0);
    for _ in 0..100 {
        select! {
            recv(r) -> _ => panic!("received its own"),
            send(s, 1) -> _ => panic!("sent to itself"),
            default(Duration::from_micros(50)) => {}
        }
    }
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..200 {
                    select! { recv(r) -> v => assert_eq!(v, Ok(1)), send(s, 1) -> ok => ok.unwrap() }
                }
            });
        }
    });
}

#[test]
fn r17_the_same_channel_may_stand_in_many_cases() {
    let (s, r) = bounded(0);
    let mut hits = [0; 8];
    thread::scope(|scope| {
        scope.spawn(|| (0..400).for_each(|n| s.send(n).unwrap()));
        for n in 0..400 {
            let mut select = Select::new();
            hits.iter().for_each(|_| {
                select.recv(&r);
            });
            let chosen = select.select();
            hits[chosen.index()] += 1;
            assert_eq!(chosen.recv(&r), Ok(n));
        }
    });
    assert!(hits.iter().all(|&n| n > 5), "{hits:?}");
}

/// More than a few, so that their locks lie in a list of their own.
#[test]
fn r17_selects_over_the_same_channels_in_any_order_wait_for_nobody() {
    let channels: Vec<_> = (0..20).map(|_| bounded::<()>(0)).collect();
    let look = |backwards: bool| {
        for _ in 0..20_000 {
            let mut select = Select::new();
            for i in 0..channels.len() {
                let i = if backwards { channels.len() - 1 - i } else { i };
                select.recv(&channels[i].1);
            }
            assert!(select.try_select().is_err());
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| look(true));
        look(false);
    });
}

#[test]
fn r16_try_recv_of_a_promised_slot_is_empty_and_recv_waits_for_it() {
    let (s, r) = bounded(1);
    let mut select = Select::new();
    select.send(&s);
    let chosen = select.select();
    assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    assert!(s.try_send(9).unwrap_err().is_full());
    thread::scope(|scope| {
        let receiver = scope.spawn(|| r.recv());
        thread::sleep(Duration::from_millis(20));
        chosen.send(&s, 1).unwrap();
        assert_eq!(receiver.join().unwrap(), Ok(1));
    });
}

#[test]
fn r16_a_panic_in_the_send_expression_restores_the_order() {
    for cap in [0, 1] {
        let (s, r) = bounded(cap);
        let (out, got) = unbounded();
        thread::scope(|scope| {
            for name in 0..3 {
                let (r, out) = (r.clone(), out.clone());
                spawn_until_it_sleeps(scope, move || out.send((r.recv().unwrap(), name)).unwrap());
            }
            let thrown = catch_unwind(AssertUnwindSafe(|| {
                select! { send(s, "no number".parse::<i32>().unwrap()) -> _ => {} }
            }));
            assert!(thrown.is_err());
            (0..3).for_each(|n| s.send(n).unwrap());
        });
        let mut got: Vec<_> = got.try_iter().collect();
        got.sort_unstable();
        assert_eq!(got, [(0, 0), (1, 1), (2, 2)], "cap {cap}");
    }
}

/// A select that sends has its turn among senders, also with who does not wait.
#[test]
fn r9_a_try_recv_takes_from_senders_in_their_order() {
    let (s, r) = bounded(0);
    let (_quiet, never) = bounded::<()>(0);
    thread::scope(|scope| {
        spawn_until_it_sleeps(scope, || {
            select! { send(s, 1) -> sent => sent.unwrap(), recv(never) -> _ => unreachable!() }
        });
        spawn_until_it_sleeps(scope, || s.send(2).unwrap());
        assert_eq!((r.try_recv(), r.try_recv()), (Ok(1), Ok(2)));
    });
}

#[test]
fn a_clock_that_is_due_goes_before_the_deadline() {
    let deadline = Instant::now() + Duration::from_millis(5);
    let clock = at(deadline - Duration::from_nanos(1));
    let mut select = Select::new();
    select.recv(&clock);
    let chosen = select.select_deadline(deadline).expect("it was due");
    assert!(chosen.recv(&clock).is_ok());
}

/// As a `try_recv`, it waits for the value of a thread's select, and for nothing else.
#[test]
fn r16_a_receive_with_no_time_left_gets_what_a_select_offers() {
    let (s, r) = bounded(0);
    let (_quiet, never) = bounded::<()>(0);
    thread::scope(|scope| {
        spawn_until_it_sleeps(scope, || {
            select! { send(s, 1) -> sent => sent.unwrap(), recv(never) -> _ => unreachable!() }
        });
        assert_eq!(r.recv_timeout(Duration::ZERO), Ok(1));
    });
}

/// Whoever chose a thread's select is waited for by it, so it waits too, also beyond its deadline.
#[test]
fn r16_who_is_paired_with_a_thread_waits_for_its_value() {
    let soon = Duration::from_millis(5);
    let (s, r) = bounded(0);
    let (_quiet, never) = bounded::<()>(0);
    let by_select = || select! { recv(r) -> n => n.ok(), default(soon) => None };
    let receives: [&dyn Fn() -> Option<u32>; 2] = [&|| r.recv_timeout(soon).ok(), &by_select];
    for receive in receives {
        let slow = || {
            thread::sleep(soon * 10);
            7
        };
        thread::scope(|scope| {
            spawn_until_it_sleeps(scope, || {
                select! { send(s, slow()) -> sent => sent.unwrap(), recv(never) -> _ => unreachable!() }
            });
            assert_eq!(receive(), Some(7));
        });
    }
}

/// Waits until the channel's side is ready, while `f` makes it so.
fn is_told<'a>(add: impl FnOnce(&mut Select<'a>) + Send, f: impl FnOnce()) {
    thread::scope(|scope| {
        spawn_until_it_sleeps(scope, || {
            let mut select = Select::new();
            add(&mut select);
            assert_eq!(select.ready(), 0);
        });
        f();
    });
}

#[test]
fn who_waits_for_a_channel_to_be_ready_is_told_of_what_comes_back() {
    let (s, r) = bounded(0);
    let bell = Arc::<Bell>::default();
    let mut receive = Box::pin(r.recv_async());
    assert!(poll_with(receive.as_mut(), &bell).is_pending());
    s.try_send(1).unwrap();
    is_told(|reads| _ = reads.recv(&r), || drop(receive));
    assert_eq!(r.try_recv(), Ok(1));
    // A slot, too.
    let (s, _r) = bounded(1);
    let mut select = Select::new();
    select.send(&s);
    let chosen = select.select();
    let withdraw = || assert!(catch_unwind(AssertUnwindSafe(|| drop(chosen))).is_err());
    is_told(|writes| _ = writes.send(&s), withdraw);
    s.try_send(2).unwrap();
}

#[test]
fn who_waits_for_a_channel_to_be_ready_waits_no_longer_than_told() {
    let (_s, r) = bounded::<u32>(0);
    let mut select = Select::new();
    select.recv(&r);
    assert!(select.ready_timeout(Duration::from_millis(5)).is_err());
    // A clock is ready by itself.
    let soon = after(Duration::from_millis(5));
    let clock = select.recv(&soon);
    assert_eq!(select.ready(), clock);
    assert!(soon.try_recv().is_ok());
}

#[test]
fn who_waits_for_a_channel_to_be_ready_is_told_of_its_end() {
    let (s, r) = bounded::<u32>(0);
    is_told(|reads| _ = reads.recv(&r), || drop(s));
    let (s, r) = bounded::<u32>(0);
    is_told(|writes| _ = writes.send(&s), || drop(r));
}

#[test]
fn who_waits_for_a_channel_to_be_ready_is_told_of_a_task_that_sends() {
    let (s, r) = bounded::<u32>(0);
    let bell = Arc::<Bell>::default();
    let mut future = pin!(s.send_async(1));
    let send = || assert!(poll_with(future.as_mut(), &bell).is_pending());
    is_told(|reads| _ = reads.recv(&r), send);
    assert_eq!(r.try_recv(), Ok(1));
    // A select, too.
    let mut sends = Select::new();
    sends.send(&s);
    let mut future = sends.select_async();
    let send = || assert!(poll_with(Pin::new(&mut future), &bell).is_pending());
    is_told(|reads| _ = reads.recv(&r), send);
}

#[test]
fn r16_a_blocked_sender_is_let_in_when_a_promise_is_taken_back() {
    let (s, r) = bounded(1);
    let mut select = Select::new();
    select.send(&s);
    let chosen = select.select();
    thread::scope(|scope| {
        scope.spawn(|| s.send(7).unwrap());
        thread::sleep(Duration::from_millis(20));
        assert!(catch_unwind(AssertUnwindSafe(|| drop(chosen))).is_err());
    });
    assert_eq!(r.try_recv(), Ok(7));
}

#[test]
fn r15_a_chosen_receive_that_is_dropped_gives_its_value_back() {
    let drops = AtomicUsize::new(0);
    let (s, r) = bounded(2);
    // Larger than a packet, so the value travels in a box.
    s.send((1, [0u64; 20], Counted(&drops))).unwrap();
    s.send((2, [0u64; 20], Counted(&drops))).unwrap();
    let mut select = Select::new();
    select.recv(&r);
    let chosen = select.select();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(chosen))).is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    assert_eq!(r.recv().unwrap().0, 1);
    assert_eq!(r.recv().unwrap().0, 2);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[test]
fn try_recv_meets_a_blocked_select_that_sends() {
    let (s, r) = bounded(0);
    thread::scope(|scope| {
        scope.spawn(|| select! { send(s, 5) -> ok => ok.unwrap() });
        loop {
            match r.try_recv() {
                Ok(n) => break assert_eq!(n, 5),
                Err(e) => assert!(e.is_empty()),
            }
            thread::yield_now();
        }
    });
}

#[test]
fn try_recv_that_meets_a_select_whose_send_panics_is_empty() {
    let (s, r) = bounded::<i32>(0);
    let chosen = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let value = || -> i32 {
                chosen.store(true, Ordering::Release);
                resume_unwind(Box::new("no value"))
            };
            select! { send(s, value()) -> _ => unreachable!() }
        });
        while !chosen.load(Ordering::Acquire) {
            assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        }
        assert!(sender.join().is_err());
    });
}

#[test]
fn a_receive_in_time_that_meets_a_send_that_is_taken_back_times_out() {
    let (s, r) = bounded::<i32>(0);
    thread::scope(|scope| {
        let receiver = scope.spawn(|| r.recv_timeout(Duration::from_millis(20)));
        let mut select = Select::new();
        select.send(&s);
        // The receiver may have come and gone on a slow machine.
        if let Ok(chosen) = select.select_timeout(Duration::from_millis(20)) {
            thread::sleep(Duration::from_millis(60));
            assert!(catch_unwind(AssertUnwindSafe(|| drop(chosen))).is_err());
        }
        assert!(receiver.join().unwrap().is_err());
    });
}

#[test]
fn a_select_whose_partner_withdrew_is_woken_again() {
    let (s, r) = bounded(0);
    let (_quiet, never) = bounded::<()>(0);
    let bell = Arc::<Bell>::default();
    let mut select = Select::new();
    select.recv(&r);
    select.recv(&never);
    let mut receiver = pin!(select.select_async());
    assert!(poll_with(receiver.as_mut(), &bell).is_pending());
    for times in 1..=3 {
        let mut sender = Select::new();
        sender.send(&s);
        let chosen = sender.try_select().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(chosen))).is_err());
        assert_eq!(bell.rings(), times);
        assert!(poll_with(receiver.as_mut(), &bell).is_pending());
    }
    s.try_send(5).unwrap();
    assert_eq!(bell.rings(), 4);
    match poll_with(receiver, &bell) {
        Poll::Ready(chosen) => assert_eq!(chosen.recv(&r), Ok(5)),
        Poll::Pending => panic!("it was woken for nothing"),
    }
}

#[test]
fn two_selects_meet_and_lose_nothing() {
    let (s1, r1) = bounded(0);
    let (s2, r2) = bounded(0);
    const EACH: u64 = 2_000;
    let sum = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for n in 0..EACH {
                    select! { send(s1, n) -> ok => ok.unwrap(), send(s2, n) -> ok => ok.unwrap() }
                }
            });
            scope.spawn(|| {
                for _ in 0..EACH {
                    let n = select! { recv(r1) -> n => n.unwrap(), recv(r2) -> n => n.unwrap() };
                    sum.fetch_add(n as usize, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(sum.into_inner() as u64, EACH * (EACH - 1));
}

#[test]
fn async_selects_are_cancel_safe() {
    let (s1, r1) = bounded(0);
    let (s2, r2) = bounded(1);
    let bell = Arc::<Bell>::default();
    let mut select = Select::new();
    select.recv(&r1);
    select.recv(&r2);
    {
        let mut future = pin!(select.select_async());
        assert!(poll_with(future.as_mut(), &bell).is_pending());
        s2.try_send(4).unwrap();
        assert_eq!(bell.rings(), 1);
        // Won by the second case: the first channel has no receiver any more.
        assert!(s1.try_send(3).unwrap_err().is_full());
    }
    // Dropped with a value in hand: it went back.
    assert_eq!(r2.try_recv(), Ok(4));
    let mut future = pin!(select.select_async());
    assert!(poll_with(future.as_mut(), &bell).is_pending());
    s1.try_send(3).unwrap();
    let Poll::Ready(chosen) = poll_with(future, &bell) else {
        panic!("woken and not ready");
    };
    assert_eq!(chosen.recv(&r1), Ok(3));
}

#[test]
fn async_select_with_a_clock_is_woken_by_it() {
    let timeout = after(Duration::from_millis(20));
    let (_s, r) = bounded::<()>(0);
    let mut select = Select::new();
    select.recv(&r);
    let late = select.recv(&timeout);
    let chosen = gchan::block_on(select.select_async());
    assert_eq!(chosen.index(), late);
    chosen.recv(&timeout).unwrap();
}

#[test]
fn biased_takes_the_first() {
    let (s, r) = unbounded();
    (0..100).for_each(|n| s.send(n).unwrap());
    for _ in 0..50 {
        select_biased! { recv(r) -> _ => {} recv(r) -> _ => unreachable!() }
    }
}

fn panic_text(f: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    panic.downcast_ref::<&str>().unwrap().to_string()
}

#[test]
fn r5_gos_panics_in_gos_words() {
    let c = make(1);
    c.close();
    assert_eq!(panic_text(|| c.send(1)), "send on closed channel");
    assert_eq!(panic_text(|| c.close()), "close of closed channel");
    assert_eq!(
        panic_text(|| Chan::<()>::nil().close()),
        "close of nil channel"
    );
    assert_eq!(c.recv(), None);
    let c = make(0);
    let blocked = c.clone();
    let sender = thread::spawn(move || blocked.send(1));
    thread::sleep(Duration::from_millis(20));
    c.close();
    let panic = sender.join().unwrap_err();
    assert_eq!(
        panic.downcast_ref::<&str>(),
        Some(&"send on closed channel")
    );
}

#[test]
fn r6_r13_nil_channels_and_dynamic_cases() {
    let (a, b, nil) = (make(1), make(1), Chan::nil());
    let mut cases = [
        SelectCase::Recv(&nil),
        SelectCase::Send(&nil, Some(1)),
        SelectCase::Recv(&b),
    ];
    assert_eq!(try_select_cases(&mut cases), None);
    b.send(2);
    assert_eq!(select_cases(&mut cases), (2, Some(2)));
    let mut cases = [
        SelectCase::Send(&a, Some(5)),
        SelectCase::Send(&nil, Some(6)),
    ];
    assert_eq!(select_cases(&mut cases), (0, None));
    assert_eq!((a.len(), a.cap()), (1, 1));
    assert_eq!(a.recv(), Some(5));
    b.close();
    assert_eq!(select_cases(&mut [SelectCase::Recv(&b)]), (0, None));
    assert_eq!(nil.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(nil.try_send(1), Err(1));
}

#[test]
fn blocking_calls_work_in_thread_local_destructors() {
    use std::cell::RefCell;
    struct Talker(gchan::Sender<u8>, gchan::Receiver<u8>);
    impl Drop for Talker {
        fn drop(&mut self) {
            self.0.send(1).unwrap();
            assert_eq!(self.1.recv(), Ok(2));
            select! { send(self.0, 3) -> ok => ok.unwrap(), recv(self.1) -> _ => unreachable!() }
        }
    }
    thread_local! { static TALKER: RefCell<Option<Talker>> = const { RefCell::new(None) } }
    let (s1, r1) = bounded(0);
    let (s2, r2) = bounded(0);
    let talker = thread::spawn(move || {
        TALKER.set(Some(Talker(s1, r2)));
    });
    assert_eq!(r1.recv(), Ok(1));
    s2.send(2).unwrap();
    assert_eq!(r1.recv(), Ok(3));
    talker.join().unwrap();
}
