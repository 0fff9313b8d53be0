//! What a program has of the crate, on the virtual clock, against a plain map: timers under both rules,
//! tickers, functions and futures, on both engines (R54, R57, R58).

#[path = "common/model.rs"]
mod common;

use common::{after, name, named};
use gtimer::{AfterFunc, Driver, Engine, Sleep, Stale, Ticker, Timer, VirtualClock, bucket, heap};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Timer(Stale),
    Ticker,
    Func,
    Sleep,
}

/// What one of them should be doing.
#[derive(Clone, Debug)]
struct Expected {
    kind: Kind,
    /// Its deadline if it is armed.
    when: Option<i64>,
    /// A ticker's.
    period: i64,
    /// The firing in its mailbox. A sleep's is that it is over.
    unread: Option<i64>,
}

#[derive(Clone, Debug, Default)]
struct Reference {
    now: i64,
    all: BTreeMap<usize, Expected>,
    made: usize,
    /// What the last stop or reset should have answered.
    prevented: bool,
    /// What the last receive should have got.
    received: Option<i64>,
    /// What fired in the last advance, in order: the time and the number.
    fired: Vec<(i64, usize)>,
}

/// Operations name a timer as [`named`] says.
#[derive(Clone, Debug)]
enum Op {
    Make(Kind, i64),
    Reset(usize, i64),
    Stop(usize),
    Drop(usize),
    Receive(usize),
    Advance(i64),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Timer(Stale::Discard)),
        Just(Kind::Timer(Stale::Keep)),
        Just(Kind::Ticker),
        Just(Kind::Func),
        Just(Kind::Sleep),
    ]
}

impl Expected {
    /// Go 1.23's rule for what was not received, which tickers keep too.
    const fn discards(&self) -> bool {
        matches!(self.kind, Kind::Timer(Stale::Discard) | Kind::Ticker)
    }

    /// Disarms it. True if that prevented a firing, or its being received.
    fn stop(&mut self) -> bool {
        let unread = self.discards() && self.unread.take().is_some();
        self.when.take().is_some() || unread
    }

    fn arm(&mut self, now: i64, after: i64) {
        self.when = Some(gtimer::when(now, after));
        match self.kind {
            Kind::Ticker => self.period = after,
            // It needs no timer for a time that has come.
            Kind::Sleep => {
                self.when = self.when.filter(|&when| when > now);
                self.unread = self.when.is_none().then_some(now);
            }
            Kind::Timer(_) | Kind::Func => {}
        }
    }

    fn fire(&mut self, now: i64) {
        let next = now.saturating_add(self.period);
        self.when = (self.kind == Kind::Ticker).then_some(next);
        self.unread.get_or_insert(now);
    }
}

impl Reference {
    fn nth(&mut self, i: usize) -> Option<(usize, &mut Expected)> {
        let id = named(&self.all, i)?;
        Some((id, self.all.get_mut(&id)?))
    }

    fn advance(&mut self, after: i64) {
        self.fired.clear();
        let target = self.now + after;
        let due = |all: &BTreeMap<usize, Expected>| {
            let armed = all.iter().filter_map(|(&id, e)| Some((e.when?, id)));
            armed.min().filter(|&(when, _)| when <= target)
        };
        while let Some((when, id)) = due(&self.all) {
            self.all.get_mut(&id).expect("a living one").fire(when);
            self.fired.push((when, id));
        }
        self.now = target;
    }
}

impl ReferenceStateMachine for Reference {
    type State = Self;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Op> {
        let i = name();
        prop_oneof![
            6 => (kind(), after()).prop_map(|(kind, after)| Op::Make(kind, after)),
            6 => (i.clone(), after()).prop_map(|(i, after)| Op::Reset(i, after)),
            3 => i.clone().prop_map(Op::Stop),
            1 => i.clone().prop_map(Op::Drop),
            4 => i.prop_map(Op::Receive),
            6 => (0..60_i64).prop_map(Op::Advance),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, op: &Op) -> bool {
        match *op {
            // A period of zero is a panic, which has a test of its own.
            Op::Make(Kind::Ticker, after) => after > 0,
            Op::Reset(i, 0) => state
                .clone()
                .nth(i)
                .is_none_or(|(_, e)| e.kind != Kind::Ticker),
            _ => true,
        }
    }

    fn apply(mut state: Self, op: &Op) -> Self {
        let now = state.now;
        match *op {
            Op::Make(kind, after) => {
                let mut made = Expected {
                    kind,
                    when: None,
                    period: 0,
                    unread: None,
                };
                made.arm(now, after);
                state.all.insert(state.made, made);
                state.made += 1;
            }
            Op::Reset(i, after) => {
                if let Some((_, expected)) = state.nth(i) {
                    let prevented = expected.stop();
                    expected.arm(now, after);
                    state.prevented = prevented;
                }
            }
            Op::Stop(i) => {
                if let Some((_, expected)) = state.nth(i).filter(|(_, e)| e.kind != Kind::Sleep) {
                    state.prevented = expected.stop();
                }
            }
            Op::Drop(i) => {
                if let Some((id, _)) = state.nth(i) {
                    state.all.remove(&id);
                }
            }
            Op::Receive(i) => {
                if let Some((_, expected)) = state.nth(i) {
                    // A sleep that is over stays so.
                    let keeps = expected.kind == Kind::Sleep;
                    let unread = expected.unread;
                    expected.unread = unread.filter(|_| keeps);
                    state.received = unread;
                }
            }
            Op::Advance(after) => state.advance(after),
        }
        state
    }
}

enum Thing<E: Engine> {
    Timer(Timer<Driver<E>>),
    Ticker(Ticker<Driver<E>>),
    Func(AfterFunc<Driver<E>>),
    Sleep(Sleep<Driver<E>>),
}

struct Sut<E: Engine> {
    driver: Driver<E>,
    clock: VirtualClock<E>,
    all: BTreeMap<usize, Thing<E>>,
    /// What functions ran since the last advance began: the time and the number.
    ran: Arc<Mutex<Vec<(i64, usize)>>>,
}

fn poll<E: Engine>(sleep: &mut Sleep<Driver<E>>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(sleep).poll(&mut cx).is_ready()
}

impl<E: Engine> Sut<E> {
    fn make(&self, id: usize, kind: Kind, d: Duration) -> Thing<E> {
        let driver = &self.driver;
        match kind {
            Kind::Timer(stale) => Thing::Timer(Timer::with_stale(driver, d, stale)),
            Kind::Ticker => Thing::Ticker(driver.tick(d)),
            Kind::Func => {
                let (ran, core) = (Arc::clone(&self.ran), self.clock.driver());
                let note = move || ran.lock().unwrap().push((gtimer::Host::now(&core), id));
                Thing::Func(driver.after_func(d, note))
            }
            Kind::Sleep => {
                let mut sleep = driver.delay(d);
                poll(&mut sleep);
                Thing::Sleep(sleep)
            }
        }
    }

    fn nth(&mut self, i: usize) -> Option<(usize, &mut Thing<E>)> {
        let id = named(&self.all, i)?;
        Some((id, self.all.get_mut(&id)?))
    }

    /// The reference has taken the step already.
    fn apply(&mut self, reference: &Reference, op: &Op) {
        let nanos = |after: i64| Duration::from_nanos(after.cast_unsigned());
        match *op {
            Op::Make(kind, after) => {
                let id = reference.made - 1;
                let made = self.make(id, kind, nanos(after));
                self.all.insert(id, made);
            }
            Op::Reset(i, after) => match self.nth(i) {
                Some((_, Thing::Timer(timer))) => {
                    assert_eq!(timer.reset(nanos(after)), reference.prevented);
                }
                Some((_, Thing::Ticker(ticker))) => ticker.reset(nanos(after)),
                Some((_, Thing::Func(func))) => {
                    assert_eq!(func.reset(nanos(after)), reference.prevented);
                }
                Some((_, Thing::Sleep(sleep))) => {
                    sleep.reset(nanos(after));
                    poll(sleep);
                }
                None => {}
            },
            Op::Stop(i) => match self.nth(i) {
                Some((_, Thing::Timer(timer))) => assert_eq!(timer.stop(), reference.prevented),
                Some((_, Thing::Ticker(ticker))) => ticker.stop(),
                Some((_, Thing::Func(func))) => assert_eq!(func.stop(), reference.prevented),
                Some((_, Thing::Sleep(_))) | None => {}
            },
            Op::Drop(i) => {
                if let Some((id, _)) = self.nth(i) {
                    self.all.remove(&id);
                }
            }
            Op::Receive(i) => match self.nth(i) {
                Some((_, Thing::Timer(timer))) => assert_eq!(timer.try_recv(), reference.received),
                Some((_, Thing::Ticker(t))) => assert_eq!(t.try_recv(), reference.received),
                Some((_, Thing::Sleep(s))) => assert_eq!(poll(s), reference.received.is_some()),
                Some((_, Thing::Func(_))) | None => {}
            },
            Op::Advance(after) => {
                self.ran.lock().unwrap().clear();
                assert_eq!(self.clock.advance(nanos(after)), reference.fired.len());
                let ran = self.ran.lock().unwrap();
                assert!(
                    ran.is_sorted_by_key(|&(now, _)| now),
                    "out of order: {ran:?}"
                );
                // Those of one moment run in any order.
                let mut ran = ran.clone();
                ran.sort_unstable();
                let func = |id| reference.all[&id].kind == Kind::Func;
                let expected = reference.fired.iter().copied().filter(|&(_, id)| func(id));
                assert_eq!(ran, expected.collect::<Vec<_>>());
            }
        }
    }
}

impl<E: Engine> StateMachineTest for Sut<E> {
    type SystemUnderTest = Self;
    type Reference = Reference;

    fn init_test(_: &Reference) -> Self {
        let (driver, clock) = Driver::<E>::virtual_clock_with();
        Self {
            driver,
            clock,
            all: BTreeMap::new(),
            ran: Arc::default(),
        }
    }

    fn apply(mut sut: Self, reference: &Reference, op: Op) -> Self {
        Sut::apply(&mut sut, reference, &op);
        sut
    }

    fn check_invariants(sut: &Self, reference: &Reference) {
        assert_eq!(sut.clock.elapsed().as_nanos(), reference.now as u128);
        let armed = reference.all.values().filter(|e| e.when.is_some()).count();
        assert!(sut.driver.len() >= armed, "an armed timer is missing");
    }
}

type HeapSut = Sut<heap::Timers>;
type BucketSut = Sut<bucket::Timers>;

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn programs_on_the_heap_engine_see_what_a_map_says(sequential 1..200 => HeapSut);

    #[test]
    fn programs_on_the_bucket_engine_see_what_a_map_says(sequential 1..200 => BucketSut);
}
