//! Timers of the runtime: sleeps, time-outs, tickers, on the Ps and with no timer thread (R62).

use gort::time::{RuntimeTimers, Ticker, Timer};
use gort::{Runtime, chan, go, spawn, yield_now};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
/// What no test waits for.
const FAR: Duration = Duration::from_secs(3600);

fn runtime(procs: usize) -> Runtime {
    // SAFETY: the tests keep nothing bound to a thread across a park.
    unsafe { Runtime::builder().procs(procs).build_stackful() }.unwrap()
}

fn here() -> RuntimeTimers {
    RuntimeTimers::current().expect("on a runtime")
}

fn at_all_procs(body: impl Fn(&Runtime)) {
    for procs in [1, 2, 8] {
        body(&runtime(procs));
    }
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    let rt = runtime(1);
    rt.run(|| {
        let (tx, rx) = chan::unbounded();
        // From one start, so that the machine may take its time between two of them.
        let start = Instant::now() + MS * 20;
        for i in [5_u32, 1, 4, 2, 3] {
            let tx = tx.clone();
            drop(go(move || {
                gort::sleep((start + MS * 60 * i).saturating_duration_since(Instant::now()));
                tx.send(i).unwrap();
            }));
        }
        drop(tx);
        assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_sleep_is_not_shorter_than_asked() {
    at_all_procs(|rt| {
        rt.run(|| {
            let hs: Vec<_> = (0..100_u32)
                .map(|i| {
                    go(move || {
                        let (start, d) = (Instant::now(), Duration::from_micros(37) * i);
                        gort::sleep(d);
                        assert!(start.elapsed() >= d);
                    })
                })
                .collect();
            hs.into_iter().for_each(|h| h.join().unwrap());
        });
    });
}

#[test]
fn r62_ten_thousand_sleepers_need_no_more_threads() {
    let rt = runtime(2);
    rt.run(|| {
        let hs: Vec<_> = (0..10_000).map(|_| go(|| gort::sleep(MS * 5))).collect();
        hs.into_iter().for_each(|h| h.join().unwrap());
    });
    let stats = rt.handle().stats();
    // Those that wait for the lock of a heap, on a busy machine, keep their Ps.
    assert!(stats.threads_made < 16, "{stats:?}");
}

#[test]
fn channel_time_outs_on_goroutines() {
    at_all_procs(|rt| {
        rt.run(|| {
            let (tx, rx) = chan::bounded::<u32>(0);
            assert!(rx.recv_timeout(MS * 5).unwrap_err().is_timeout());
            assert!(tx.send_timeout(1, MS * 5).unwrap_err().is_timeout());
            let h = go(move || {
                gort::sleep(MS);
                tx.send(7).unwrap();
            });
            assert_eq!(rx.recv_timeout(Duration::from_secs(60)), Ok(7));
            h.join().unwrap();
        });
    });
}

/// R62: a goroutine that receives from a timer or ticker parks, and keeps neither P nor thread.
#[test]
fn r62_receives_from_timers_park() {
    const EACH: usize = 200;
    let rt = runtime(1);
    rt.run(|| {
        let host = here();
        let timers: Vec<_> = (0..EACH)
            .map(|_| Arc::new(Timer::new(&host, FAR)))
            .collect();
        let tickers: Vec<_> = (0..EACH)
            .map(|_| Arc::new(Ticker::new(&host, FAR)))
            .collect();
        let began = Arc::new(AtomicUsize::new(0));
        let mut waiting = Vec::new();
        for (timer, ticker) in timers.iter().zip(&tickers) {
            let (timer, ticker) = (Arc::clone(timer), Arc::clone(ticker));
            let begun = Arc::clone(&began);
            waiting.push(go(move || {
                begun.fetch_add(1, Ordering::Relaxed);
                timer.recv()
            }));
            let begun = Arc::clone(&began);
            waiting.push(go(move || {
                begun.fetch_add(1, Ordering::Relaxed);
                ticker.recv_timeout(FAR).expect("a tick")
            }));
        }
        // The only P: each of them has got as far as its wait, which gave the P on.
        while began.load(Ordering::Relaxed) < 2 * EACH {
            gort::yield_now();
        }
        timers.iter().for_each(|t| assert!(t.reset(MS)));
        tickers.iter().for_each(|t| t.reset(MS));
        waiting
            .into_iter()
            .for_each(|h| assert!(h.join().unwrap() > 0));
    });
    let stats = rt.handle().stats();
    assert!(stats.threads_made < 16, "{stats:?}");
}

#[test]
fn a_receive_from_a_timer_gives_up_at_its_own_deadline() {
    at_all_procs(|rt| {
        rt.run(|| {
            let timer = Arc::new(Timer::new(&here(), FAR));
            let hs: Vec<_> = (0..8)
                .map(|_| {
                    let timer = Arc::clone(&timer);
                    go(move || timer.recv_timeout(MS * 2))
                })
                .collect();
            hs.into_iter()
                .for_each(|h| assert_eq!(h.join().unwrap(), None));
            // None of them is woken in place of who waits now.
            let late = Arc::clone(&timer);
            let h = go(move || late.recv());
            timer.reset(MS);
            h.join().unwrap();
        });
    });
}

/// One timer, several who receive, on goroutines and on a thread: each firing is one's.
#[test]
fn each_tick_goes_to_one_of_those_who_receive() {
    const TICKS: usize = 60;
    at_all_procs(|rt| {
        rt.run(|| {
            let ticker = Arc::new(Ticker::new(&here(), MS / 5));
            let got = Arc::new(std::sync::Mutex::new(Vec::new()));
            let receive = {
                let (ticker, got) = (Arc::clone(&ticker), Arc::clone(&got));
                move || {
                    while got.lock().unwrap().len() < TICKS {
                        if let Some(tick) = ticker.recv_timeout(MS * 20) {
                            got.lock().unwrap().push(tick);
                        }
                    }
                }
            };
            let thread = std::thread::spawn(receive.clone());
            let hs: Vec<_> = (0..4).map(|_| go(receive.clone())).collect();
            hs.into_iter().for_each(|h| h.join().unwrap());
            gort::blocking(|| thread.join().unwrap());
            let mut ticks = got.lock().unwrap().clone();
            let all = ticks.len();
            ticks.sort_unstable();
            ticks.dedup();
            assert_eq!(ticks.len(), all, "a tick was received twice");
        });
    });
}

#[test]
fn join_and_future_time_outs() {
    at_all_procs(|rt| {
        rt.run(|| {
            let (tx, rx) = chan::bounded::<u32>(0);
            let mut h = go(move || rx.recv().unwrap());
            assert!(gort::time::join_timeout(&mut h, MS * 5).is_none());
            tx.send(3).unwrap();
            let joined = gort::time::join_timeout(&mut h, Duration::from_secs(60));
            assert_eq!(joined.unwrap().unwrap(), 3);
        });
        rt.block_on(async {
            let never = std::future::pending::<()>();
            assert!(gort::time::timeout(MS * 5, never).await.is_err());
            let soon = spawn(gort::time::delay(MS));
            gort::time::timeout(Duration::from_secs(60), soon)
                .await
                .unwrap()
                .unwrap();
        });
    });
}

#[test]
fn after_func_runs_in_a_goroutine_and_drop_stops_it() {
    at_all_procs(|rt| {
        rt.run(|| {
            let (tx, rx) = chan::bounded(4);
            let t2 = tx.clone();
            let stopped = gort::time::after_func(MS * 2, move || t2.send(0).unwrap());
            drop(stopped);
            let _running = gort::time::after_func(MS * 4, move || {
                // It may park: it is a goroutine.
                gort::sleep(MS);
                tx.send(1).unwrap();
            });
            assert_eq!(rx.recv(), Ok(1));
            assert!(rx.recv().is_err(), "the stopped one never ran");
        });
    });
}

/// Stacks serve one runtime after another, and a timer that was stopped may still lie in the heap that it
/// was on: of a runtime that ended, of one that lives, or of a P that this runtime does not have.
#[test]
fn a_stack_that_moves_to_another_runtime_takes_no_timer_along() {
    const THREADS: usize = 4;
    let (done, finished) = std::sync::mpsc::channel();
    for thread in 0..THREADS {
        let done = done.clone();
        std::thread::spawn(move || {
            for round in 0..200 {
                runtime([8, 1, 2][(thread + round) % 3]).run(|| {
                    // On stacks of the round before, whose timers were stopped.
                    let sleepers: Vec<_> = (0..8).map(|_| go(|| gort::sleep(MS / 10))).collect();
                    sleepers.into_iter().for_each(|h| h.join().unwrap());
                    let pairs: Vec<_> = (0..8)
                        .map(|_| {
                            let (tx, rx) = chan::bounded(0);
                            let far = Duration::from_secs(600);
                            (go(move || rx.recv_timeout(far)), go(move || tx.send(())))
                        })
                        .collect();
                    for (receives, sends) in pairs {
                        sends.join().unwrap().unwrap();
                        receives.join().unwrap().unwrap();
                    }
                });
            }
            done.send(()).unwrap();
        });
    }
    for _ in 0..THREADS {
        let end = finished.recv_timeout(Duration::from_secs(60));
        end.expect("all sleepers wake");
    }
}

#[test]
fn after_and_tick_channels() {
    at_all_procs(|rt| {
        rt.run(|| {
            chan::after(MS * 2).recv().unwrap();
            let ticks = chan::tick(MS);
            for _ in 0..5 {
                ticks.recv().unwrap();
            }
        });
    });
}

/// R62, TestTimerFairness: goroutines that only ever switch to one another keep no timer from firing.
#[test]
fn r62_a_timer_fires_while_all_ps_are_busy_yielding() {
    at_all_procs(|rt| {
        rt.run(|| {
            let (stop, stopped) = (Arc::new(AtomicBool::new(false)), chan::after(MS * 20));
            let busy: Vec<_> = (0..16)
                .map(|_| {
                    let stop = Arc::clone(&stop);
                    go(move || {
                        while !stop.load(Ordering::Relaxed) {
                            gort::yield_now();
                        }
                    })
                })
                .collect();
            stopped.recv().unwrap();
            stop.store(true, Ordering::Relaxed);
            busy.into_iter().for_each(|h| h.join().unwrap());
        });
    });
}

/// The same by hand-over: each makes the other the next one, and they inherit one another's slice.
#[test]
fn r62_a_timer_fires_beside_pairs_that_hand_over() {
    at_all_procs(|rt| {
        rt.run(|| {
            let (stop, stopped) = (Arc::new(AtomicBool::new(false)), chan::after(MS * 20));
            let pairs: Vec<_> = (0..16)
                .map(|_| {
                    let (tx, rx) = chan::bounded::<()>(0);
                    let stop = Arc::clone(&stop);
                    let echo = go(move || while rx.recv().is_ok() {});
                    let source = go(move || {
                        while !stop.load(Ordering::Relaxed) {
                            tx.send(()).unwrap();
                        }
                    });
                    (echo, source)
                })
                .collect();
            stopped.recv().unwrap();
            stop.store(true, Ordering::Relaxed);
            for (echo, source) in pairs {
                source.join().unwrap();
                echo.join().unwrap();
            }
        });
    });
}

/// R14.
#[test]
fn a_report_says_who_sleeps() {
    let rt = runtime(1);
    let handle = rt.handle();
    rt.run(|| {
        // Until the runtime ends.
        let sleeper = go(|| gort::sleep(FAR));
        let line = format!("goroutine {} [sleep]:", sleeper.id());
        while !handle.traceback().contains(&line) {
            yield_now();
        }
    });
}

/// R63, TestSleepZeroDeadlock: a sleep of zero returns, however many do it at once.
#[test]
fn r63_a_sleep_of_zero_returns() {
    at_all_procs(|rt| {
        rt.run(|| {
            let hs: Vec<_> = (0..4)
                .map(|_| go(|| (0..1_000).for_each(|_| gort::sleep(Duration::ZERO))))
                .collect();
            hs.into_iter().for_each(|h| h.join().unwrap());
        });
    });
}

/// A program whose goroutines all wait is not stuck as long as a timer will wake one of them.
#[test]
fn a_pending_timer_is_no_deadlock() {
    at_all_procs(|rt| {
        rt.run(|| {
            let (tx, rx) = chan::bounded::<u32>(0);
            let waits = go(move || rx.recv().unwrap());
            let _soon = gort::time::after_func(MS * 10, move || tx.send(1).unwrap());
            assert_eq!(waits.join().unwrap(), 1);
        });
    });
}

/// R62: whoever looks for work runs what is due on another's P, or its P is taken over: a goroutine that
/// computes and never yields keeps no timer from firing, not even those that it made itself.
#[test]
fn r62_a_timer_fires_while_the_goroutine_that_made_it_computes() {
    at_all_procs(|rt| {
        rt.run(|| {
            let busy: Vec<_> = (0..4)
                .map(|_| {
                    go(|| {
                        let fired = Arc::new(AtomicBool::new(false));
                        let seen = Arc::clone(&fired);
                        let _timer = gort::time::after_func(MS, move || {
                            seen.store(true, Ordering::Relaxed);
                        });
                        while !fired.load(Ordering::Relaxed) {
                            std::hint::spin_loop();
                        }
                    })
                })
                .collect();
            busy.into_iter().for_each(|h| h.join().unwrap());
        });
    });
}

/// The thread that sleeps to the deadline is the only one that is idle, and so the one that gets a P whose goroutine
/// computes.
#[test]
fn r62_a_timer_fires_though_who_watched_the_clock_computes_by_now() {
    for _ in 0..5 {
        let rt = runtime(2);
        let handle = rt.handle();
        rt.run(move || {
            let asleep = Arc::new(AtomicBool::new(false));
            let over = Arc::new(AtomicBool::new(false));
            let (tx, rx) = chan::bounded(1);
            let ends = over.clone();
            let computes = go(move || {
                rx.recv().unwrap();
                let start = Instant::now();
                while !ends.load(Ordering::SeqCst) {
                    assert!(start.elapsed() < MS * 20_000, "nobody looks at the clock");
                }
            });
            let (sleeps, ends) = (asleep.clone(), over.clone());
            let sleeper = go(move || {
                sleeps.store(true, Ordering::SeqCst);
                gort::sleep(MS * 100);
                ends.store(true, Ordering::SeqCst);
            });
            // On the other P, whose thread watches the clock then.
            while !asleep.load(Ordering::SeqCst) || handle.stats().idle_ms == 0 {
                if over.load(Ordering::SeqCst) {
                    break;
                }
            }
            tx.send(()).unwrap();
            gort::blocking_now(|| {
                while !over.load(Ordering::SeqCst) {
                    std::thread::sleep(MS);
                }
            });
            sleeper.join().unwrap();
            computes.join().unwrap();
        });
    }
}

/// A panic in one function costs that function alone.
#[test]
fn a_panic_in_an_after_func_leaves_the_others_alive() {
    at_all_procs(|rt| {
        rt.run(|| {
            let (tx, rx) = chan::bounded(1);
            let _bad = gort::time::after_func(MS, || panic!("a user's mistake"));
            let _good = gort::time::after_func(MS * 2, move || tx.send(5).unwrap());
            assert_eq!(rx.recv(), Ok(5));
        });
    });
}

/// One look at the clock may find many due: here all five, while the only P computes.
#[test]
fn those_that_are_due_at_once_run_in_the_order_of_their_deadlines() {
    const APART: Duration = Duration::from_micros(100);
    let round = || {
        let (tx, rx) = chan::unbounded();
        let (began, begins) = chan::unbounded();
        let base = Instant::now() + MS * 5;
        for i in [5_u32, 1, 4, 2, 3] {
            let (tx, began) = (tx.clone(), began.clone());
            drop(go(move || {
                let now = Instant::now();
                began.send(now).unwrap();
                gort::sleep((base + APART * i).saturating_duration_since(now));
                tx.send(i).unwrap();
            }));
        }
        drop(tx);
        gort::yield_now();
        began.send(Instant::now()).unwrap();
        drop(began);
        while Instant::now() < base + MS {
            std::hint::spin_loop();
        }
        let order: Vec<_> = rx.iter().collect();
        (order, begins.iter().collect::<Vec<_>>(), base)
    };
    runtime(1).run(move || {
        // A sleep looks at the clock again: before the next of them began, and the last one before `round`
        // went on. If each of these came soon enough, the deadlines are in the order meant. Where the machine
        // held one up, once more.
        let order = loop {
            let (order, begins, base) = round();
            let soon = |pair: &[Instant]| pair[1] - pair[0] < APART;
            if begins.windows(2).all(soon) && begins.iter().all(|began| *began < base) {
                break order;
            }
        };
        assert_eq!(order, [1, 2, 3, 4, 5]);
    });
}
