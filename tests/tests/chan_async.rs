//! The async ends of a channel on two executors that know nothing of each other: tokio and gort. Each body runs on
//! tokio's pool of one and of two, on gort for futures, and on gort with stackful goroutines beside the tasks.

use futures_core::Stream;
use gort::chan::{self, Receiver, RecvError, Select, Sender};
use gort_tests::pending_once;
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::thread;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a body needs of an executor.
trait Executor: Clone + Send + Sync + 'static {
    /// Starts a task; the future that comes back gives its number.
    fn spawn(&self, task: impl Future<Output = u64> + Send + 'static) -> Boxed<u64>;
}

#[derive(Clone)]
struct Tokio;

impl Executor for Tokio {
    fn spawn(&self, task: impl Future<Output = u64> + Send + 'static) -> Boxed<u64> {
        let task = tokio::spawn(task);
        Box::pin(async { task.await.unwrap() })
    }
}

#[derive(Clone)]
struct Gort;

impl Executor for Gort {
    fn spawn(&self, task: impl Future<Output = u64> + Send + 'static) -> Boxed<u64> {
        let task = gort::spawn(task);
        Box::pin(async { task.await.unwrap() })
    }
}

/// Gort with stackful goroutines beside its tasks.
fn stackful(procs: usize) -> gort::Runtime {
    // SAFETY: the bodies keep nothing bound to a thread across a park.
    unsafe { gort::Runtime::builder().procs(procs).build_stackful() }.unwrap()
}

/// Runs a body on all executors.
macro_rules! everywhere {
    ($($name:ident => $body:path;)*) => {$(
        #[test]
        fn $name() {
            for threads in [1, 2] {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(threads)
                    .build()
                    .unwrap()
                    .block_on($body(Tokio));
                let futures = gort::Runtime::builder().procs(threads).build().unwrap();
                futures.block_on($body(Gort));
                stackful(threads).block_on($body(Gort));
            }
        }
    )*};
}

everywhere! {
    tasks_pass_every_value_at_every_capacity => pass_all;
    a_blocked_thread_and_a_task_share_a_channel => mixed;
    a_dropped_receive_loses_no_value => cancelled_receives;
    a_dropped_send_leaves_no_value => cancelled_sends;
    an_async_select_gets_each_value_once => selects;
    a_stream_ends_with_its_senders => streams;
    a_batch_and_a_oneshot_resolve => batches;
    nil_and_closed_channels_keep_gos_rules => gos_face;
}

fn channel(cap: Option<usize>) -> (Sender<u64>, Receiver<u64>) {
    cap.map_or_else(chan::unbounded, chan::bounded)
}

async fn pass_all<E: Executor>(e: E) {
    const EACH: u64 = 300;
    for cap in [Some(0), Some(1), Some(7), None] {
        let (s, r) = channel(cap);
        let producers: Vec<_> = (0..4)
            .map(|p| {
                let s = s.clone();
                e.spawn(async move {
                    for i in 0..EACH {
                        s.send_async(p * EACH + i).await.unwrap();
                    }
                    0
                })
            })
            .collect();
        drop(s);
        let consumers: Vec<_> = (0..3)
            .map(|_| {
                let r = r.clone();
                e.spawn(async move {
                    let mut sum = 0;
                    while let Ok(n) = r.recv_async().await {
                        sum += n;
                    }
                    sum
                })
            })
            .collect();
        let mut sum = 0;
        for task in producers.into_iter().chain(consumers) {
            sum += task.await;
        }
        assert_eq!(sum, 4 * EACH * (4 * EACH - 1) / 2);
    }
}

async fn mixed<E: Executor>(e: E) {
    const N: u64 = 200;
    for cap in [0, 3] {
        let (s, r) = chan::bounded(cap);
        let (back, answers) = chan::bounded(cap);
        let thread = thread::spawn(move || {
            for n in r {
                back.send(n + 1).unwrap();
            }
        });
        let sender = e.spawn(async move {
            for n in 0..N {
                s.send_async(n).await.unwrap();
            }
            0
        });
        for n in 0..N {
            assert_eq!(answers.recv_async().await, Ok(n + 1));
        }
        assert_eq!(answers.recv_async().await, Err(RecvError));
        sender.await;
        thread.join().unwrap();
    }
}

async fn cancelled_receives<E: Executor>(e: E) {
    const N: u64 = 300;
    for cap in [0, 1] {
        let (s, r) = chan::bounded(cap);
        let sender = e.spawn(async move {
            for n in 0..N {
                s.send_async(n).await.unwrap();
            }
            0
        });
        let mut seen = BTreeSet::new();
        let mut dropped = 0;
        loop {
            let got = {
                let mut future = pin!(r.recv_async());
                let mut polls = 0;
                poll_fn(|cx| match future.as_mut().poll(cx) {
                    Poll::Ready(got) => Poll::Ready(Some(got)),
                    Poll::Pending => {
                        polls += 1;
                        cx.waker().wake_by_ref();
                        // Given up at its second poll, perhaps with a value that was handed to it meanwhile.
                        if polls == 2 {
                            Poll::Ready(None)
                        } else {
                            Poll::Pending
                        }
                    }
                })
                .await
            };
            match got {
                Some(Ok(n)) => assert!(seen.insert(n), "{n} twice"),
                Some(Err(RecvError)) => break,
                None => {
                    dropped += 1;
                    pending_once().await;
                }
            }
        }
        sender.await;
        assert_eq!(seen.len() as u64, N, "{dropped} receives were dropped");
    }
}

async fn cancelled_sends<E: Executor>(e: E) {
    const N: u64 = 300;
    for cap in [0, 1] {
        let (s, r) = chan::bounded(cap);
        let receiver = e.spawn(async move {
            let mut last = None;
            while let Ok(n) = r.recv_async().await {
                assert!(
                    last < Some(n),
                    "{n} after {last:?}: sent twice, or left behind"
                );
                last = Some(n);
                pending_once().await;
            }
            last.unwrap()
        });
        for n in 0..N {
            let mut future = pin!(s.send_async(n));
            let mut polls = 0;
            // Given up at its second poll.
            poll_fn(|cx| {
                polls += 1;
                cx.waker().wake_by_ref();
                match future.as_mut().poll(cx) {
                    Poll::Pending if polls < 2 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
        }
        s.send_async(N).await.unwrap();
        drop(s);
        assert_eq!(receiver.await, N);
    }
}

async fn selects<E: Executor>(e: E) {
    const N: u64 = 200;
    let (s1, r1) = chan::bounded(0);
    let (s2, r2) = chan::bounded(2);
    let senders = [(s1, 0), (s2, N)].map(|(s, from)| {
        e.spawn(async move {
            for n in from..from + N {
                s.send_async(n).await.unwrap();
            }
            0
        })
    });
    let mut seen = BTreeSet::new();
    let mut ended = [false; 2];
    while ended != [true; 2] {
        let mut select = Select::new();
        let (mut first, mut second) = (usize::MAX, usize::MAX);
        if !ended[0] {
            first = select.recv(&r1);
        }
        if !ended[1] {
            second = select.recv(&r2);
        }
        let chosen = select.select_async().await;
        let i = chosen.index();
        assert!(i == first || i == second);
        let got = chosen.recv(if i == first { &r1 } else { &r2 });
        match got {
            Ok(n) => assert!(seen.insert(n), "{n} twice"),
            Err(RecvError) => ended[usize::from(i == second)] = true,
        }
    }
    for sender in senders {
        sender.await;
    }
    assert_eq!(seen, (0..2 * N).collect());
}

async fn streams<E: Executor>(e: E) {
    let (s, r) = chan::bounded(2);
    let sender = e.spawn(async move {
        for n in 1..=100 {
            s.send_async(n).await.unwrap();
        }
        0
    });
    let mut stream = pin!(r.stream());
    let mut sum = 0;
    while let Some(n) = poll_fn(|cx: &mut Context<'_>| stream.as_mut().poll_next(cx)).await {
        sum += n;
    }
    assert_eq!(sum, 5050);
    sender.await;
}

async fn batches<E: Executor>(e: E) {
    let (s, r) = chan::bounded(8);
    let (tell, told) = chan::oneshot::channel();
    let sender = e.spawn(async move {
        for n in 0..100 {
            s.send_async(n).await.unwrap();
        }
        tell.send("all sent").unwrap();
        0
    });
    let mut all = Vec::new();
    while let Ok(n) = r.recv_many_async(&mut all, 5).await {
        assert!((1..=5).contains(&n));
    }
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert_eq!(told.await, Ok("all sent"));
    sender.await;
}

async fn gos_face<E: Executor>(e: E) {
    let c = chan::make(1);
    let other = c.clone();
    let sender = e.spawn(async move {
        for n in 0..10 {
            other.send_async(n).await;
        }
        other.close();
        0
    });
    let mut sum = 0;
    while let Some(n) = c.recv_async().await {
        sum += n;
    }
    assert_eq!(sum, 45);
    sender.await;
    let nil = chan::Chan::<u64>::nil();
    let mut never = pin!(nil.recv_async());
    poll_fn(|cx| {
        assert!(never.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}
