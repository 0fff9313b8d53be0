//! Models of the status machine, the modified list and the waiting protocol.

use super::node::{Body, Node};
use super::owned::Owned;
use super::{Handle, Status, Timers};
use crate::callback::Callback;
use crate::waiter::Waiter;
use crate::when::NEVER;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;

/// A callback that counts its firings in a loom atomic.
fn count(fired: &std::sync::Arc<AtomicUsize>) -> Callback {
    let fired = std::sync::Arc::clone(fired);
    Callback::shared(
        std::sync::Arc::new(move || {
            fired.fetch_add(1, Relaxed);
        }),
        0,
    )
}

/// Waits for a transient status are spins: allow for more steps than loom does by default.
fn model(f: impl Fn() + Sync + Send + 'static) {
    builder().check(f);
}

fn builder() -> loom::model::Builder {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 20_000;
    builder
}

fn counter() -> std::sync::Arc<AtomicUsize> {
    std::sync::Arc::new(AtomicUsize::new(0))
}

/// R58, R59: stopped or fired, never both and never neither.
#[test]
fn loom_stop_and_fire_agree() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let fired = counter();
        let timer = timers.insert(5, 0, count(&fired)).0;
        let runner = {
            let timers = Arc::clone(&timers);
            thread::spawn(move || timers.check(5).1)
        };
        let stopped = timer.stop();
        let ran = runner.join().unwrap();
        assert_eq!(ran + usize::from(stopped), 1);
        assert_eq!(fired.load(Relaxed), ran);
        assert!(!timer.status().is_pending());
    });
}

/// R62: an owner and a thief run the same heap; each timer fires once.
#[test]
fn loom_owner_and_thief_share_the_due_timers() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let fired = counter();
        let _a = timers.insert(5, 0, count(&fired)).0;
        let _b = timers.insert(6, 0, count(&fired)).0;
        let thief = {
            let timers = Arc::clone(&timers);
            thread::spawn(move || timers.check(6).1)
        };
        let ran = timers.check(6).1 + thief.join().unwrap();
        assert_eq!((ran, fired.load(Relaxed)), (2, 2));
    });
}

/// R61: whatever two resets and a check do to each other, the timer keeps one of the deadlines it was
/// given last, and `next_when` is not later than it.
#[test]
fn loom_resets_are_not_lost() {
    let mut builder = builder();
    // Three threads that wait for each other: two preemptions are what a minute allows.
    builder.preemption_bound = builder.preemption_bound.map(|n| n.min(2));
    builder.check(|| {
        let timers = Arc::new(Timers::new());
        let fired = counter();
        let timer = Arc::new(timers.insert(50, 0, count(&fired)).0);
        let other = {
            let (timers, timer) = (Arc::clone(&timers), Arc::clone(&timer));
            thread::spawn(move || timers.reset(&timer, 20).was_pending)
        };
        let checker = {
            let timers = Arc::clone(&timers);
            thread::spawn(move || timers.check(30).1)
        };
        let pending = timers.reset(&timer, 40).was_pending;
        let other_pending = other.join().unwrap();
        let early = checker.join().unwrap();
        assert!(early == 1 || (pending && other_pending));
        if timer.status().is_pending() {
            assert!(timers.next_when() <= 40);
            assert_eq!(timers.check(40), (NEVER, 1));
        }
        assert!(fired.load(Relaxed) >= 1);
        assert!(timers.is_empty());
    });
}

/// A linked timer that is stopped and removed is off the list first.
#[test]
fn loom_a_modified_timer_may_be_stopped_and_removed() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let timer = timers.insert(50, 0, Callback::none()).0;
        let checker = {
            let timers = Arc::clone(&timers);
            thread::spawn(move || timers.check(60).1)
        };
        let _ = timers.reset(&timer, 20);
        drop(timer);
        let ran = checker.join().unwrap();
        assert!(ran <= 2);
        let _ = timers.check(60);
        assert!(timers.is_empty());
    });
}

/// A reset to an earlier deadline and a waiter going to sleep: one sees the other. A lost wake
/// would leave the waiter asleep forever.
#[test]
fn loom_a_waiter_learns_of_an_earlier_deadline() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let waiter = Arc::new(Waiter::new());
        let fired = counter();
        let timer = timers.insert(50, 0, count(&fired)).0;
        let driver = {
            let (timers, waiter) = (Arc::clone(&timers), Arc::clone(&waiter));
            thread::spawn(move || {
                // Time stands at 20 throughout.
                loop {
                    waiter.begin();
                    let (next, ran) = timers.check(20);
                    if ran > 0 {
                        return;
                    }
                    waiter.sleep(next, || timers.next_when() < next);
                }
            })
        };
        if timers.reset(&timer, 20).earliest {
            waiter.wake();
        }
        driver.join().unwrap();
        assert_eq!(fired.load(Relaxed), 1);
    });
}

/// The same with the root stopped or fired meanwhile, which raises the other word.
#[test]
fn loom_a_waiter_learns_of_a_second_deadline_behind_the_first() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let waiter = Arc::new(Waiter::new());
        let fired = counter();
        let _first = timers.insert(10, 0, count(&fired)).0;
        let timer = timers.insert(50, 0, count(&fired)).0;
        let driver = {
            let (timers, waiter) = (Arc::clone(&timers), Arc::clone(&waiter));
            thread::spawn(move || {
                let mut all = 0;
                while all < 2 {
                    waiter.begin();
                    let (next, ran) = timers.check(20);
                    all += ran;
                    if all < 2 && next > 20 {
                        waiter.sleep(next, || timers.next_when() < next);
                    }
                }
            })
        };
        if timers.reset(&timer, 20).earliest {
            waiter.wake();
        }
        driver.join().unwrap();
        assert_eq!(fired.load(Relaxed), 2);
    });
}

/// Moving a dying P's timers while one is stopped: it is stopped in either heap.
#[test]
fn loom_adopt_and_stop_agree() {
    model(|| {
        let (old, new) = (Arc::new(Timers::new()), Arc::new(Timers::new()));
        let fired = counter();
        let a = old.insert(5, 0, count(&fired)).0;
        let _b = old.insert(6, 0, count(&fired)).0;
        let mover = {
            let (old, new) = (Arc::clone(&old), Arc::clone(&new));
            thread::spawn(move || new.adopt(&old))
        };
        assert!(a.stop());
        mover.join().unwrap();
        assert_eq!((old.len(), old.check(9)), (0, (NEVER, 0)));
        assert_eq!(new.check(9), (NEVER, 1));
    });
}

/// The same while one is reset to an earlier deadline, which links it in either heap.
#[test]
fn loom_adopt_and_reset_agree() {
    model(|| {
        let (old, new) = (Arc::new(Timers::new()), Arc::new(Timers::new()));
        let fired = counter();
        let timer = old.insert(50, 0, count(&fired)).0;
        let mover = {
            let (old, new) = (Arc::clone(&old), Arc::clone(&new));
            thread::spawn(move || new.adopt(&old))
        };
        assert!(old.reset(&timer, 5).was_pending);
        mover.join().unwrap();
        assert_eq!((old.len(), new.next_when()), (0, 5));
        let _root = new.insert(4, 0, Callback::none()).0; // the root is looked at anyway
        assert!(new.reset(&timer, 3).was_pending, "linked in the new heap");
        assert_eq!(new.check(3), (4, 1));
        assert_eq!(old.check(9), (NEVER, 0));
    });
}

/// A heap dies while a timer of it is stopped: the stop touches no freed heap.
#[test]
fn loom_a_heap_may_die_under_a_stop() {
    model(|| {
        let timers = Timers::new();
        let timer = timers.insert(5, 0, Callback::none()).0;
        let stopper = thread::spawn(move || timer.stop());
        drop(timers);
        stopper.join().unwrap();
    });
}

/// R60: two threads stop timers, and each clears what the other stopped, while one timer is armed
/// again; under loom a single stopped timer is reason enough to clear.
#[test]
fn loom_stops_that_clear_agree_with_a_reset() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let a = timers.insert(5, 0, Callback::none()).0;
        let b = timers.insert(6, 0, Callback::none()).0;
        let stopper = thread::spawn(move || {
            assert!(a.stop());
            a
        });
        assert!(b.stop());
        assert!(!timers.reset(&b, 4).was_pending);
        let a = stopper.join().unwrap();
        assert!(!a.stop());
        assert!(b.status().is_pending() && !a.status().is_pending());
        assert!(timers.len() <= 2);
        assert_eq!(timers.check(9).1, 1);
    });
}

/// A timer that was stopped in one heap is armed in another, while the first clears it or dies.
fn a_stopped_timer_is_armed_elsewhere(meanwhile: fn(Timers)) {
    model(move || {
        let (here, there) = (Timers::new(), Arc::new(Timers::new()));
        let fired = counter();
        let timer = here.insert(50, 0, Callback::none()).0;
        let _others = [60, 70].map(|when| here.insert(when, 0, Callback::none()).0);
        assert!(timer.stop());
        let armer = {
            let (there, callback) = (Arc::clone(&there), count(&fired));
            thread::spawn(move || {
                let armed = there.arm(&timer, 5, 0, callback);
                assert!(armed.earliest && !armed.was_pending);
                timer
            })
        };
        meanwhile(here);
        let _timer = armer.join().unwrap();
        assert_eq!(there.len(), 1);
        assert_eq!(there.check(9), (NEVER, 1));
        assert_eq!(fired.load(Relaxed), 1);
    });
}

#[test]
fn loom_a_stopped_timer_is_armed_elsewhere_while_it_is_cleared() {
    a_stopped_timer_is_armed_elsewhere(|here| {
        drop(here.insert(80, 0, Callback::none()));
        assert_eq!(here.check(9).1, 0);
    });
}

#[test]
fn loom_a_stopped_timer_is_armed_elsewhere_while_its_heap_dies() {
    a_stopped_timer_is_armed_elsewhere(drop);
}

/// Armed in two heaps at once it is in one of them, and the second arming finds it armed.
#[test]
fn loom_a_stopped_timer_is_armed_in_one_of_two_heaps() {
    model(|| {
        let (here, there) = (Arc::new(Timers::new()), Arc::new(Timers::new()));
        let fired = counter();
        let timer = Arc::new(here.insert(50, 0, Callback::none()).0);
        let _others = [60, 70].map(|when| here.insert(when, 0, Callback::none()).0);
        assert!(timer.stop());
        let armer = {
            let (there, timer, callback) = (Arc::clone(&there), Arc::clone(&timer), count(&fired));
            thread::spawn(move || there.arm(&timer, 5, 0, callback).was_pending)
        };
        let pending = here.arm(&timer, 7, 0, count(&fired)).was_pending;
        assert!(pending ^ armer.join().unwrap(), "one came first");
        assert_eq!(here.check(9).1 + there.check(9).1, 1);
        assert_eq!(fired.load(Relaxed), 1);
    });
}

/// Two threads arm the same idle timer: it is in the heap once.
#[test]
fn loom_two_arm_an_idle_timer() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let timer = Arc::new(Handle::new());
        let fired = counter();
        let other = {
            let (timers, timer, callback) =
                (Arc::clone(&timers), Arc::clone(&timer), count(&fired));
            thread::spawn(move || timers.arm(&timer, 7, 0, callback).was_pending)
        };
        let pending = timers.arm(&timer, 9, 0, count(&fired)).was_pending;
        assert!(pending ^ other.join().unwrap(), "one came first");
        assert_eq!(timers.check(9), (NEVER, 1));
        assert_eq!(fired.load(Relaxed), 1);
        assert_eq!(timer.status(), Status::NoStatus);
    });
}

/// A reset finds the timer linked while the drain takes it off: one of the two sees the other.
#[test]
fn loom_a_reset_during_the_drain_is_not_lost() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let fired = counter();
        let timer = timers.insert(100, 0, count(&fired)).0;
        let _ = timers.reset(&timer, 40); // linked
        let _ = timers.reset(&timer, 100);
        let _far = timers.insert(200, 0, Callback::none()).0; // puts the head right
        assert_eq!(timer.status(), Status::Waiting, "and linked still");
        let _root = timers.insert(60, 0, Callback::none()).0; // the root is looked at anyway
        let checker = {
            let timers = Arc::clone(&timers);
            thread::spawn(move || timers.check(45).1)
        };
        assert!(timers.reset(&timer, 20).was_pending);
        let ran = checker.join().unwrap();
        assert_eq!(ran + timers.check(45).1, 1);
    });
}

/// A thread that resets many drains ahead of time while another fires.
#[test]
fn loom_draining_ahead_of_time_loses_nothing() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let fired = counter();
        let handles: Vec<_> = (0..3)
            .map(|i| timers.insert(50 + i, 0, count(&fired)).0)
            .collect();
        let checker = {
            let timers = Arc::clone(&timers);
            thread::spawn(move || timers.check(20).1)
        };
        for handle in &handles {
            assert!(timers.reset(handle, 20).was_pending);
        }
        let ran = checker.join().unwrap();
        assert_eq!(ran + timers.check(20).1, 3);
    });
}

/// `next_when` is read while linked timers are on their way to their place.
#[test]
fn loom_a_reader_misses_no_deadline_during_the_drain() {
    model(|| {
        let timers = Arc::new(Timers::new());
        let timer = timers.insert(100, 0, Callback::none()).0;
        let other = timers.insert(90, 0, Callback::none()).0;
        let _ = timers.reset(&timer, 30);
        let _ = timers.reset(&other, 10);
        assert!(other.stop());
        let reader = {
            let timers = Arc::clone(&timers);
            thread::spawn(move || timers.next_when())
        };
        assert_eq!(timers.check(15), (30, 0));
        assert!(reader.join().unwrap() <= 30);
    });
}

/// Must be dropped by the thread that made it.
struct Mine(thread::ThreadId);

impl Drop for Mine {
    fn drop(&mut self) {
        assert_eq!(thread::current().id(), self.0);
    }
}

/// What a stopped timer holds is dropped by whoever drops its handle, also while another thread clears
/// it: that one may hold a lock that the value's drop takes, or other timers at `Moving`.
fn the_dropper_of_a_handle_drops_its_value(clear: fn(&Timers)) {
    model(move || {
        let timers = Arc::new(Timers::new());
        let mine = Mine(thread::current().id());
        let timer = timers.insert(5, 0, Callback::once(move || drop(mine))).0;
        let _others = [6, 7].map(|when| timers.insert(when, 0, Callback::none()).0);
        assert!(timer.stop());
        let clearer = {
            let timers = Arc::clone(&timers);
            thread::spawn(move || clear(&timers))
        };
        drop(timer);
        clearer.join().unwrap();
    });
}

#[test]
fn loom_the_dropper_of_a_handle_drops_its_value_under_an_insertion() {
    the_dropper_of_a_handle_drops_its_value(|timers| {
        drop(timers.insert(8, 0, Callback::none()));
    });
}

#[test]
fn loom_the_dropper_of_a_handle_drops_its_value_under_an_adoption() {
    the_dropper_of_a_handle_drops_its_value(|timers| {
        assert!(Timers::new().adopt(timers));
    });
}

/// Sees, when it is dropped, what its owners did before.
struct Probe {
    done: std::sync::Arc<AtomicUsize>,
    dropped: std::sync::Arc<AtomicUsize>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Relaxed: only the order of the owners' count can make this see them all.
        assert_eq!(self.done.load(Relaxed), 3);
        self.dropped.fetch_add(1, Relaxed);
    }
}

/// Whichever of three owners is the last frees the timer, once, and after the others are done with it.
#[test]
fn loom_the_last_owner_frees_after_the_others() {
    model(|| {
        let (done, dropped) = (counter(), counter());
        let probe = Probe {
            done: std::sync::Arc::clone(&done),
            dropped: std::sync::Arc::clone(&dropped),
        };
        let mut body = Body::idle();
        body.callback = Callback::once(move || drop(probe));
        let node = Owned::new(Node::new(Status::NoStatus, body));
        let others = [node.clone(), node.clone()].map(|node| {
            let done = std::sync::Arc::clone(&done);
            thread::spawn(move || {
                done.fetch_add(1, Relaxed);
                drop(node);
            })
        });
        done.fetch_add(1, Relaxed);
        drop(node);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(dropped.load(Relaxed), 1);
    });
}
