//! What users ask of a channel beyond Go and crossbeam: batches, `drain`, `oneshot`, choices made at run time, and the
//! days on which something goes wrong.

mod common {
    pub(crate) mod asleep;
}

use common::asleep::spawn_until_it_sleeps;
use gchan::{
    Chan, RecvError, SelectCase, Sender, TryRecvError, bounded, make, oneshot, select,
    select_cases, try_select_cases, unbounded,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[test]
fn a_batch_waits_for_the_first_and_takes_no_more_than_asked() {
    let (s, r) = bounded(4);
    let sender = thread::spawn(move || (0..100).for_each(|n| s.send(n).unwrap()));
    let mut all = Vec::new();
    while let Ok(n) = r.recv_many(&mut all, 3) {
        assert!((1..=3).contains(&n));
    }
    sender.join().unwrap();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert_eq!(
        r.try_recv_many(&mut all, 1),
        Err(TryRecvError::Disconnected)
    );
    assert_eq!(r.recv_many(&mut all, 0), Ok(0));
}

#[test]
fn r16_a_batch_lets_blocked_senders_in_in_their_order() {
    let (s, r) = bounded(1);
    s.send(0).unwrap();
    thread::scope(|scope| {
        for n in 1..=3 {
            let blocked = s.clone();
            spawn_until_it_sleeps(scope, move || blocked.send(n).unwrap());
        }
        let mut all = Vec::new();
        while all.len() < 4 {
            r.recv_many(&mut all, 10).unwrap();
        }
        assert_eq!(all, [0, 1, 2, 3]);
    });
}

#[test]
fn drain_takes_what_is_there_and_ends() {
    let (s, r) = unbounded();
    (0..50).for_each(|n| s.send(n).unwrap());
    assert_eq!(r.drain().take(10).sum::<i32>(), 45);
    assert_eq!(r.len(), 40, "what was not asked for stays");
    assert_eq!(r.drain().count(), 40);
    assert_eq!(r.drain().next(), None);
    s.send(7).unwrap();
    assert_eq!(r.drain().collect::<Vec<_>>(), [7]);
}

#[test]
fn oneshot_passes_one_value_or_says_that_none_comes() {
    let (tell, told) = oneshot::channel();
    assert_eq!(told.try_recv(), Err(TryRecvError::Empty));
    let asker = thread::spawn(move || told.recv());
    tell.send(1).unwrap();
    assert_eq!(asker.join().unwrap(), Ok(1));

    let (tell, told) = oneshot::channel::<u8>();
    drop(tell);
    assert_eq!(told.recv(), Err(RecvError));

    let (tell, told) = oneshot::channel();
    drop(told);
    assert_eq!(tell.send(2).unwrap_err().into_inner(), 2);

    let (tell, told) = oneshot::channel();
    let (_s, other) = bounded::<u8>(0);
    tell.send(3).unwrap();
    select! {
        recv(told.as_receiver()) -> got => assert_eq!(got, Ok(3)),
        recv(other) -> _ => unreachable!(),
    }

    let (tell, told) = oneshot::channel();
    tell.send(4).unwrap();
    assert_eq!(gchan::block_on(told.into_future()), Ok(4));
}

/// The chi-square of counts against equal chances.
fn chi_square(counts: &[usize]) -> f64 {
    let expected = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    let square = |&n: &usize| (n as f64 - expected).powi(2) / expected;
    counts.iter().map(square).sum()
}

/// For seven degrees of freedom a fair choice exceeds this once in a million runs.
const LIMIT: f64 = 40.5;

#[test]
fn r17_a_choice_among_ready_cases_is_uniform_also_beside_cases_that_are_not_ready() {
    // Ready and idle cases alternate, then ready ones come in a row: a random start would favour what follows a gap.
    let layout = [1, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1];
    let channels: Vec<_> = layout.iter().map(|_| make::<u8>(1)).collect();
    let mut counts = vec![0; layout.len()];
    for (chan, ready) in channels.iter().zip(layout) {
        if ready == 1 {
            chan.send(0);
        }
    }
    for _ in 0..40_000 {
        let mut cases: Vec<_> = channels.iter().map(SelectCase::Recv).collect();
        let (i, got) = select_cases(&mut cases);
        assert_eq!(got, Some(0));
        counts[i] += 1;
        channels[i].send(0);
    }
    let ready: Vec<_> = layout
        .iter()
        .zip(&counts)
        .filter(|(l, _)| **l == 1)
        .map(|(_, &n)| n)
        .collect();
    assert_eq!(
        ready.iter().sum::<usize>(),
        40_000,
        "only ready cases are chosen"
    );
    assert!(chi_square(&ready) < LIMIT, "{ready:?}");
}

#[test]
fn r17_select_over_closed_channels_is_uniform_too() {
    let channels: Vec<Chan<u8>> = (0..8).map(|_| make(0)).collect();
    channels.iter().for_each(Chan::close);
    let mut counts = [0; 8];
    for _ in 0..40_000 {
        let mut cases: Vec<_> = channels.iter().map(SelectCase::Recv).collect();
        counts[select_cases(&mut cases).0] += 1;
    }
    assert!(chi_square(&counts) < LIMIT, "{counts:?}");
}

#[test]
fn r17_a_list_of_a_thousand_cases_sends_and_receives() {
    let channels: Vec<Chan<usize>> = (0..500).map(|i| make(i % 2)).collect();
    let takers: Vec<_> = channels
        .iter()
        .cloned()
        .map(|c| {
            thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(move || c.recv())
                .unwrap()
        })
        .collect();
    let mut left: Vec<usize> = (0..500).collect();
    while !left.is_empty() {
        let mut cases: Vec<_> = left
            .iter()
            .map(|&i| SelectCase::Send(&channels[i], Some(i)))
            .collect();
        cases.extend(left.iter().map(|_| SelectCase::Recv(&NIL.0)));
        let (at, _) = select_cases(&mut cases);
        drop(cases);
        left.swap_remove(at);
    }
    for (i, taker) in takers.into_iter().enumerate() {
        assert_eq!(taker.join().unwrap(), Some(i));
    }
    assert!(try_select_cases::<usize>(&mut []).is_none());
}

struct Nil(Chan<usize>);
static NIL: std::sync::LazyLock<Nil> = std::sync::LazyLock::new(|| Nil(Chan::nil()));

#[test]
fn a_panic_of_one_party_ends_the_wait_of_the_other() {
    let (s, r) = bounded::<u8>(0);
    let (back, answers) = bounded::<u8>(0);
    let server = thread::spawn(move || {
        let _reply_to = back;
        let n = r.recv().unwrap();
        panic!("no answer to {n}");
    });
    s.send(1).unwrap();
    assert_eq!(answers.recv(), Err(RecvError), "dropped while it unwound");
    assert!(server.join().is_err());
    assert!(s.send(2).is_err());
}

#[test]
fn dropping_the_last_handle_ends_all_who_wait() {
    for side in ["send", "recv", "select"] {
        let (s, r) = bounded::<u8>(0);
        let ended = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (s, r) = (s, r);
            match side {
                "send" => {
                    for _ in 0..8 {
                        let s = s.clone();
                        let ended = &ended;
                        scope.spawn(move || {
                            ended.fetch_add(usize::from(s.send(1).is_err()), Ordering::SeqCst)
                        });
                    }
                    thread::sleep(std::time::Duration::from_millis(10));
                    drop(r);
                }
                _ => {
                    for _ in 0..8 {
                        let r = r.clone();
                        let ended = &ended;
                        scope.spawn(move || {
                            let never = gchan::never::<u8>();
                            let got = if side == "recv" {
                                r.recv()
                            } else {
                                select! { recv(r) -> got => got, recv(never) -> got => got }
                            };
                            ended.fetch_add(usize::from(got.is_err()), Ordering::SeqCst)
                        });
                    }
                    thread::sleep(std::time::Duration::from_millis(10));
                    drop(s);
                }
            }
        });
        assert_eq!(ended.into_inner(), 8, "{side}");
    }
}

/// A value that uses its own channel when it is dropped.
struct Talkative(Sender<u8>);

impl Drop for Talkative {
    fn drop(&mut self) {
        self.0.send(1).unwrap();
    }
}

#[test]
fn values_may_use_channels_in_their_drop() {
    let (note, notes) = unbounded();
    let (s, r) = bounded(2);
    s.send(Talkative(note.clone())).unwrap();
    s.send(Talkative(note)).unwrap();
    drop((s, r));
    assert_eq!(notes.iter().count(), 2);
}

fn no_value() -> u8 {
    panic!("no value")
}

#[test]
fn a_panic_between_choice_and_value_leaves_all_channels_usable() {
    let (s, r) = bounded::<u8>(0);
    let (s2, r2) = bounded::<u8>(1);
    let receiver = thread::spawn(move || r.recv());
    while catch_unwind(AssertUnwindSafe(|| {
        select! {
            send(s, no_value()) -> _ => unreachable!(),
            default => {}
        }
    }))
    .is_ok()
    {
        thread::yield_now();
    }
    // The receiver waits on; the other channel never noticed.
    s2.send(1).unwrap();
    assert_eq!(r2.recv(), Ok(1));
    s.send(5).unwrap();
    assert_eq!(receiver.join().unwrap(), Ok(5));
}

#[test]
fn a_hundred_thousand_channels_with_a_future_waiting_on_each() {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    let mut cx = Context::from_waker(Waker::noop());
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..100_000).map(|_| bounded::<u32>(0)).unzip();
    let mut waiting: Vec<_> = receivers.iter().map(|r| Box::pin(r.recv_async())).collect();
    for future in &mut waiting {
        assert!(future.as_mut().poll(&mut cx).is_pending());
    }
    for (n, s) in (0..).zip(&senders) {
        s.try_send(n).unwrap();
    }
    for (n, future) in (0..).zip(&mut waiting) {
        assert_eq!(future.as_mut().poll(&mut cx), Poll::Ready(Ok(n)));
    }
}

#[test]
fn block_on_hears_a_wake_that_came_before_the_future_blocked_on_something_else() {
    use std::task::Poll;
    use std::time::Duration;
    let (_s, r) = bounded::<u8>(0);
    let mut polls = 0;
    gchan::block_on(std::future::poll_fn(|cx| {
        polls += 1;
        if polls == 3 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        // Both park on the permit that the wake gave.
        if polls == 1 {
            assert!(r.recv_timeout(Duration::from_millis(1)).is_err());
        } else {
            gchan::block_on(async {
                let past = gchan::after(Duration::from_millis(1));
                assert!(past.recv_async().await.is_ok());
            });
        }
        Poll::Pending
    }));
    assert_eq!(polls, 3);
}

#[test]
fn r57_ticks_keep_to_the_grid_of_the_first_however_late_they_are_taken() {
    use std::time::{Duration, Instant};
    let period = Duration::from_millis(2);
    let ticks = gchan::tick(period);
    let first = ticks.recv().unwrap();
    let mut last = first;
    for round in 1..=10 {
        // Half a period late, and a period and a half, and on time.
        thread::sleep(period / 2 * (round % 3 * round % 4));
        let tick = ticks.recv().unwrap();
        assert!(tick > last && tick <= Instant::now());
        let since = (tick - first).as_nanos();
        assert_eq!(since % period.as_nanos(), 0, "{since} ns after the first");
        last = tick;
    }
    // What was missed is not heaped up: one tick, and then none before its time.
    thread::sleep(period * 5);
    let missed = ticks.try_recv().unwrap();
    let next = ticks.recv().unwrap();
    assert!(next >= missed + period * 5);

    // Without a period there is always one.
    let always = gchan::tick(Duration::ZERO);
    (0..100).for_each(|_| assert!(always.try_recv().is_ok()));
}

#[test]
fn a_select_has_as_many_cases_as_go_allows_and_no_more() {
    let (s, r) = bounded::<u8>(1);
    let mut select = gchan::Select::new();
    for _ in 0..65_536 {
        select.recv(&r);
    }
    assert!(select.try_select().is_err() && select.try_ready().is_err());
    s.send(1).unwrap();
    let chosen = select.select();
    assert_eq!(chosen.recv(&r), Ok(1));

    select.recv(&r);
    let panic = catch_unwind(AssertUnwindSafe(|| select.try_ready())).unwrap_err();
    let message = panic.downcast_ref::<&str>().copied();
    assert_eq!(message, Some("select: too many cases (max 65536)"));
}

#[test]
fn a_select_future_of_no_cases_is_pending() {
    use std::future::Future;
    use std::task::{Context, Waker};
    let mut select = gchan::Select::new();
    let mut future = std::pin::pin!(select.select_async());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    assert!(future.as_mut().poll(&mut cx).is_pending());
}
