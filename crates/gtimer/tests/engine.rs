//! What both engines promise, one body for the two.

use gtimer::{Callback, Engine, NEVER, bucket, heap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Counts firings, and drops of the callback.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
    fn up(&self) {
        self.0.fetch_add(1, Relaxed);
    }
    fn once(&self) -> Callback {
        let this = self.clone();
        Callback::once(move || this.up())
    }
    fn shared(&self) -> Callback {
        let this = self.clone();
        Callback::shared(Arc::new(move || this.up()), 0)
    }
}

fn fires_at_its_deadline_and_not_before<E: Engine>() {
    let (timers, fired) = (E::default(), Count::default());
    let (_timer, earliest) = timers.insert(100, 0, fired.once());
    assert!(earliest);
    assert_eq!(timers.next_when(), 100);
    assert_eq!(timers.check(99), (100, 0));
    assert_eq!(timers.check(100), (NEVER, 1));
    assert_eq!(fired.get(), 1);
    assert_eq!(timers.check(NEVER), (NEVER, 0));
    assert!(timers.is_empty());
}

/// TestAfterQueuing: whatever the order of insertion, firing is in order of deadline.
fn fires_in_order_of_deadline<E: Engine>() {
    let (timers, order) = (E::default(), Arc::new(Mutex::new(Vec::new())));
    let handles: Vec<_> = (0..1000_i64)
        .map(|i| {
            let (when, order) = (i * 7919 % 1000, Arc::clone(&order));
            let note = Callback::once(move || order.lock().unwrap().push(when));
            timers.insert(when, 0, note).0
        })
        .collect();
    assert_eq!(timers.check(499), (500, 500));
    assert_eq!(timers.check(1000), (NEVER, 500));
    assert_eq!(*order.lock().unwrap(), (0..1000).collect::<Vec<_>>());
    drop(handles);
}

/// TestAfterStop, TestTimerStopStress: true only if a firing was prevented.
fn stop_is_true_only_if_it_prevented_a_firing<E: Engine>() {
    let (timers, fired) = (E::default(), Count::default());
    let (timer, _) = timers.insert(10, 0, fired.once());
    assert!(E::stop(&timer));
    assert!(!E::stop(&timer));
    assert_eq!(timers.check(20).1, 0);
    let (timer, _) = timers.insert(10, 0, fired.once());
    assert_eq!(timers.check(20).1, 1);
    assert!(!E::stop(&timer));
    assert!(!E::stop(&timers.handle()), "never armed");
    assert_eq!(fired.get(), 1);
}

fn reset_moves_a_timer_either_way_and_revives_it<E: Engine>() {
    let (timers, fired) = (E::default(), Count::default());
    let (far, _) = timers.insert(1_000, 0, Callback::none());
    let (timer, _) = timers.insert(100, 0, fired.shared());
    let later = timers.reset(&timer, 200);
    assert!(later.was_pending && !later.earliest);
    assert_eq!(timers.check(150), (200, 0));
    let earlier = timers.reset(&timer, 160);
    assert!(earlier.was_pending && earlier.earliest);
    assert_eq!(timers.next_when(), 160);
    assert_eq!(timers.check(160), (1_000, 1));
    let revived = timers.reset(&timer, 170);
    assert!(!revived.was_pending && revived.earliest);
    assert_eq!(timers.check(170), (1_000, 1));
    assert!(!timers.reset(&timer, 180).was_pending);
    assert!(E::stop(&timer));
    assert!(!timers.reset(&timer, 190).was_pending, "stopped");
    assert_eq!(timers.check(190), (1_000, 1));
    assert_eq!(fired.get(), 3);
    assert!(E::stop(&far));
}

/// R54: TestOverflowSleep, TestOverflowPeriodRuntimeTimer: a negative deadline is an overflowed one.
fn an_overflowed_deadline_never_fires_and_does_not_jam_the_heap<E: Engine>() {
    let (timers, fired) = (E::default(), Count::default());
    let overflowed = gtimer::when(5, i64::MAX);
    let _never = timers.insert(overflowed, 0, fired.once()).0;
    let _negative = timers.insert(i64::MIN, 0, fired.once()).0;
    let _soon = timers.insert(25, 0, Callback::none()).0;
    assert_eq!(timers.check(30), (NEVER, 1));
    assert_eq!(timers.check(NEVER - 1), (NEVER, 0));
    assert_eq!((fired.get(), timers.len()), (0, 2));
}

/// R57: a slow receiver's missed ticks are skipped, and the grid is kept.
fn a_periodic_timer_skips_missed_ticks_and_keeps_its_grid<E: Engine>() {
    let (timers, fired) = (E::default(), Count::default());
    let (ticker, _) = timers.insert(100, 10, fired.shared());
    assert_eq!(timers.check(100), (110, 1));
    assert_eq!(timers.check(137), (140, 1), "three ticks became one");
    assert_eq!(timers.check(140), (150, 1));
    assert!(E::stop(&ticker), "pending between ticks");
    assert_eq!(timers.check(1_000).1, 0);
    assert_eq!(fired.get(), 3);
}

fn a_period_that_overflows_ticks_once<E: Engine>() {
    let (timers, fired) = (E::default(), Count::default());
    let _ticker = timers.insert(100, NEVER, fired.shared()).0;
    assert_eq!(timers.check(100), (NEVER, 1));
    assert_eq!(timers.check(NEVER - 1), (NEVER, 0));
}

fn a_bad_period_is_refused_with_a_clear_panic<E: Engine>() {
    let timers = E::default();
    let text = |period, callback| {
        let panic = catch_unwind(AssertUnwindSafe(|| timers.insert(1, period, callback)));
        let payload = panic.unwrap_err();
        match payload.downcast_ref::<String>() {
            Some(text) => text.clone(),
            None => (*payload.downcast_ref::<&str>().unwrap()).to_string(),
        }
    };
    assert!(text(-1, Callback::none()).contains("must not be negative"));
    assert!(text(1, Callback::once(|| {})).contains("more than once"));
    assert_eq!(timers.check(10), (NEVER, 0));
}

fn a_panic_in_a_callback_leaves_the_others_alive<E: Engine>() {
    let (timers, fired) = (E::default(), Count::default());
    let handles: Vec<_> = (0..10)
        .map(|when| {
            let callback = if when % 3 == 0 {
                Callback::once(|| panic!("a user's mistake"))
            } else {
                fired.once()
            };
            timers.insert(when, 0, callback).0
        })
        .collect();
    let mut panics = 0;
    while timers.next_when() != NEVER {
        panics += usize::from(catch_unwind(AssertUnwindSafe(|| timers.check(20))).is_err());
    }
    assert_eq!((panics, fired.get()), (4, 6));
    assert!(handles.iter().all(|timer| !E::stop(timer)));
}

/// A callback may do to the timers whatever it likes: no lock is held.
fn a_callback_may_call_back_in<E: Engine>() {
    let timers = Arc::new(E::default());
    let fired = Count::default();
    let slot: Arc<Mutex<Option<E::Handle>>> = Arc::default();
    let callback = {
        let (timers, fired, slot) = (Arc::downgrade(&timers), fired.clone(), Arc::clone(&slot));
        Callback::once(move || {
            fired.up();
            let timers = timers.upgrade().unwrap();
            drop(slot.lock().unwrap().take()); // its own handle
            timers.check(5); // nested
            let again = timers.insert(10, 0, fired.once()).0;
            assert!(E::stop(&again));
            *slot.lock().unwrap() = Some(timers.insert(6, 0, fired.once()).0);
        })
    };
    *slot.lock().unwrap() = Some(timers.insert(5, 0, callback).0);
    let inner = timers.insert(5, 0, fired.once()).0;
    timers.check(5);
    timers.check(6);
    assert_eq!(fired.get(), 3);
    drop(inner);
}

/// One check returns even if a callback always arms a timer that is due.
fn endless_timers_do_not_hold_the_caller<E: Engine>() {
    struct Again<E: Engine>(Arc<E>, Mutex<Option<E::Handle>>, AtomicUsize);
    impl<E: Engine> gtimer::Fire for Again<E> {
        fn fire(&self, _: usize, now: i64) {
            self.2.fetch_add(1, Relaxed);
            if let Some(timer) = &*self.1.lock().unwrap() {
                let _ = self.0.reset(timer, now);
            }
        }
    }
    let timers = Arc::new(E::default());
    let again = Arc::new(Again(
        Arc::clone(&timers),
        Mutex::default(),
        AtomicUsize::new(0),
    ));
    let timer = timers
        .insert(1, 0, Callback::shared(Arc::clone(&again) as _, 0))
        .0;
    *again.1.lock().unwrap() = Some(timer);
    assert_eq!(timers.check(1), (1, 1));
    assert_eq!(timers.check(1), (1, 1));
    assert_eq!(again.2.load(Relaxed), 2);
    let timer = again.1.lock().unwrap().take();
    drop(timer);
}

struct Dropped(Count);
impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.up();
    }
}

fn callback_of(dropped: &Count) -> Callback {
    let token = Dropped(dropped.clone());
    Callback::once(move || drop(token))
}

fn dropping_the_handle_stops_the_timer_and_drops_the_callback_at_once<E: Engine>() {
    let (timers, dropped) = (E::default(), Count::default());
    drop(timers.insert(10, 0, callback_of(&dropped)).0);
    assert_eq!(dropped.get(), 1);
    let (stopped, _) = timers.insert(10, 0, callback_of(&dropped));
    assert!(E::stop(&stopped));
    assert_eq!(dropped.get(), 1, "kept for a reset");
    drop(stopped);
    assert_eq!(dropped.get(), 2);
    assert_eq!(timers.check(20).1, 0);
}

fn a_detached_timer_fires_without_its_handle<E: Engine>() {
    let (timers, dropped, fired) = (E::default(), Count::default(), Count::default());
    E::detach(timers.insert(10, 0, fired.once()).0);
    assert_eq!(timers.check(10), (NEVER, 1));
    assert_eq!(fired.get(), 1);
    E::detach(timers.insert(10, 0, callback_of(&dropped)).0);
    drop(timers);
    assert_eq!(dropped.get(), 1, "dies with its heap");
}

fn arming_drops_the_callback_it_replaces<E: Engine>() {
    let (timers, dropped, fired) = (E::default(), Count::default(), Count::default());
    let (timer, _) = timers.insert(10, 0, callback_of(&dropped));
    assert!(timers.arm(&timer, 5, 0, fired.once()).was_pending);
    assert_eq!((dropped.get(), fired.get()), (1, 0));
    assert_eq!(timers.check(5), (NEVER, 1));
    assert_eq!(fired.get(), 1);
}

/// Handles outlive their heap, and their timers never fire.
fn a_heap_may_die_first<E: Engine>() {
    let (timers, dropped) = (E::default(), Count::default());
    let handles: Vec<_> = (0..100)
        .map(|when| timers.insert(when, 0, callback_of(&dropped)).0)
        .collect();
    assert!(E::stop(&handles[3]));
    let _ = timers.reset(&handles[99], 1);
    drop(timers);
    assert!(handles.iter().all(|timer| !E::stop(timer)));
    assert_eq!(dropped.get(), 0);
    drop(handles);
    assert_eq!(dropped.get(), 100);
}

/// A timer that was stopped in one heap, and not cleared yet, goes into the one it is armed or reset in.
#[test]
fn a_stopped_timer_is_armed_in_another_heap() {
    let (old, new, fired) = (heap::Timers::new(), heap::Timers::new(), Count::default());
    let timers = [100, 200].map(|when| old.insert(when, 0, fired.shared()).0);
    assert!(timers.iter().all(heap::Handle::stop));
    assert_eq!(old.len(), 2, "not cleared yet");
    let armed = new.arm(&timers[0], 5, 0, fired.shared());
    assert!(armed.earliest && !armed.was_pending);
    assert!(!new.reset(&timers[1], 6).was_pending);
    assert_eq!((old.len(), new.len(), new.next_when()), (0, 2, 5));
    drop(old);
    assert_eq!(new.check(10), (NEVER, 2));
    assert_eq!(fired.get(), 2);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a user's mistake");
    }
}

/// What a dying heap drops may panic: its other timers have left it all the same.
fn a_panic_in_a_drop_leaves_no_timer_in_a_dying_heap<E: Engine>() {
    let (timers, dropped) = (E::default(), Count::default());
    let handles: Vec<_> = (0..100)
        .map(|when| timers.insert(when, 0, callback_of(&dropped)).0)
        .collect();
    let bomb = Bomb;
    E::detach(timers.insert(100, 0, Callback::once(move || drop(bomb))).0);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(timers))).is_err());
    assert!(handles.iter().all(|timer| !E::stop(timer)));
    assert_eq!(dropped.get(), 0);
    drop(handles);
    assert_eq!(dropped.get(), 100);
}

/// R60: timeouts that are created and stopped do not pile up, even if nobody ever checks.
fn r60_stopped_timers_do_not_pile_up<E: Engine>() {
    for live in [0_i64, 100, 10_000] {
        let timers = E::default();
        let handles: Vec<_> = (0..live)
            .map(|i| timers.insert(1_000 + i, 0, Callback::none()).0)
            .collect();
        let mut longest = 0;
        for i in 0..100_000 {
            let timer = timers
                .insert(1_000 + i * 7919 % 100_000, 0, Callback::none())
                .0;
            assert!(E::stop(&timer));
            longest = longest.max(timers.len());
        }
        let bound = 2 * handles.len() + 16;
        assert!(longest <= bound, "{longest} entries for {live} timers");
    }
}

/// R60: timers that are all dropped, or stopped, at once give their memory back although nobody
/// inserts or checks any more.
fn r60_a_burst_of_stops_clears_itself<E: Engine>() {
    let timers = E::default();
    let kept: Vec<_> = (0..100)
        .map(|i| timers.insert(i * 50, 0, Callback::none()).0)
        .collect();
    let mut burst: Vec<_> = (0..10_000)
        .map(|i| timers.insert(i * 7919 % 5_000, 0, Callback::none()).0)
        .collect();
    burst
        .drain(..5_000)
        .for_each(|timer| assert!(E::stop(&timer)));
    drop(burst);
    let len = timers.len();
    assert!(len <= 2 * kept.len() + 64, "{len} entries for 100 timers");
    assert_eq!(timers.check(NEVER).1, 100);
}

macro_rules! both {
    ($($name:ident)*) => {
        mod heap_engine { $(#[test] fn $name() { super::$name::<super::heap::Timers>(); })* }
        mod bucket_engine { $(#[test] fn $name() { super::$name::<super::bucket::Timers>(); })* }
    };
}

both! {
    fires_at_its_deadline_and_not_before
    fires_in_order_of_deadline
    stop_is_true_only_if_it_prevented_a_firing
    reset_moves_a_timer_either_way_and_revives_it
    an_overflowed_deadline_never_fires_and_does_not_jam_the_heap
    a_periodic_timer_skips_missed_ticks_and_keeps_its_grid
    a_period_that_overflows_ticks_once
    a_bad_period_is_refused_with_a_clear_panic
    a_panic_in_a_callback_leaves_the_others_alive
    a_callback_may_call_back_in
    endless_timers_do_not_hold_the_caller
    dropping_the_handle_stops_the_timer_and_drops_the_callback_at_once
    a_detached_timer_fires_without_its_handle
    arming_drops_the_callback_it_replaces
    a_heap_may_die_first
    a_panic_in_a_drop_leaves_no_timer_in_a_dying_heap
    r60_stopped_timers_do_not_pile_up
    r60_a_burst_of_stops_clears_itself
}
