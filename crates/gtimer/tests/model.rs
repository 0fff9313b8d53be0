//! Both engines against a plain map, on random sequences of operations (R55, R57, R58, R60, R61).

#[path = "common/model.rs"]
mod common;

use common::{after, name, named};
use gtimer::{Callback, Engine, NEVER, bucket, heap};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What a timer should do, by its number.
#[derive(Clone, Debug)]
struct Expected {
    /// Its deadline if it is armed.
    when: Option<i64>,
    period: i64,
}

#[derive(Clone, Debug, Default)]
struct Reference {
    now: i64,
    timers: BTreeMap<usize, Expected>,
    made: usize,
    /// What the last operation should have answered or fired, in order of deadline.
    fired: Vec<(i64, usize)>,
    pending: bool,
}

/// Operations name a timer as [`named`] says, a heap by its number modulo two.
#[derive(Clone, Debug)]
enum Op {
    Insert {
        heap: usize,
        after: i64,
        period: i64,
    },
    Arm {
        heap: usize,
        timer: usize,
        after: i64,
        period: i64,
    },
    Reset {
        heap: usize,
        timer: usize,
        after: i64,
    },
    Stop(usize),
    Drop(usize),
    Check(i64),
    /// Moves all timers of one heap to the other.
    Adopt(usize),
}

fn period() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 1 => 1..30_i64]
}

impl Reference {
    fn arm(&mut self, id: usize, after: i64, period: Option<i64>) {
        let timer = self.timers.get_mut(&id).expect("a living timer");
        self.pending = timer.when.is_some();
        timer.when = Some(gtimer::when(self.now, after));
        timer.period = period.unwrap_or(timer.period);
    }

    fn run(&mut self) {
        self.fired.clear();
        for (&id, timer) in &mut self.timers {
            let Some(when) = timer.when.filter(|&when| when <= self.now) else {
                continue;
            };
            self.fired.push((when, id));
            timer.when = (timer.period > 0)
                .then(|| when + timer.period * ((self.now - when) / timer.period + 1));
        }
        self.fired.sort_unstable();
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
            6 => (0..2_usize, after(), period())
                .prop_map(|(heap, after, period)| Op::Insert { heap, after, period }),
            2 => (0..2_usize, i.clone(), after(), period())
                .prop_map(|(heap, timer, after, period)| Op::Arm { heap, timer, after, period }),
            6 => (0..2_usize, i.clone(), after())
                .prop_map(|(heap, timer, after)| Op::Reset { heap, timer, after }),
            3 => i.clone().prop_map(Op::Stop),
            2 => i.prop_map(Op::Drop),
            4 => (0..60_i64).prop_map(Op::Check),
            1 => (0..2_usize).prop_map(Op::Adopt),
        ]
        .boxed()
    }

    fn apply(mut state: Self, op: &Op) -> Self {
        match *op {
            Op::Insert { after, period, .. } => {
                let idle = Expected {
                    when: None,
                    period: 0,
                };
                state.timers.insert(state.made, idle);
                state.arm(state.made, after, Some(period));
                state.made += 1;
            }
            Op::Arm {
                timer,
                after,
                period,
                ..
            } => {
                if let Some(id) = named(&state.timers, timer) {
                    state.arm(id, after, Some(period));
                }
            }
            Op::Reset { timer, after, .. } => {
                if let Some(id) = named(&state.timers, timer) {
                    state.arm(id, after, None);
                }
            }
            Op::Stop(i) => {
                if let Some(id) = named(&state.timers, i) {
                    let timer = state.timers.get_mut(&id).expect("a living timer");
                    state.pending = timer.when.take().is_some();
                }
            }
            Op::Drop(i) => {
                if let Some(id) = named(&state.timers, i) {
                    state.timers.remove(&id);
                }
            }
            Op::Check(after) => {
                state.now += after;
                state.run();
            }
            Op::Adopt(_) => {}
        }
        state
    }
}

/// What differs between the engines: whether a timer may change its heap.
trait Kind: Engine {
    /// `earliest` compares with the announced deadline; else with what the timerproc is doing.
    const ANNOUNCES: bool;
    /// Which of the two heaps to use, given the one the operation names.
    fn heap(named: usize) -> usize;
    fn adopt(&self, dying: &Self);
    fn any_armed(&self) -> bool;
}

impl Kind for heap::Timers {
    const ANNOUNCES: bool = true;

    fn heap(named: usize) -> usize {
        named % 2
    }
    fn adopt(&self, dying: &Self) {
        self.adopt(dying);
    }
    fn any_armed(&self) -> bool {
        self.any_armed()
    }
}

impl Kind for bucket::Timers {
    const ANNOUNCES: bool = false;

    fn heap(_: usize) -> usize {
        0
    }
    fn adopt(&self, _: &Self) {}
    fn any_armed(&self) -> bool {
        !self.is_empty()
    }
}

struct Sut<E: Kind> {
    heaps: [E; 2],
    handles: BTreeMap<usize, E::Handle>,
    fired: Arc<Mutex<Vec<usize>>>,
}

impl<E: Kind> Sut<E> {
    fn callback(&self, id: usize) -> Callback {
        let fired = Arc::clone(&self.fired);
        Callback::shared(Arc::new(move || fired.lock().unwrap().push(id)), 0)
    }

    fn apply(&mut self, reference: &Reference, op: &Op) {
        // The reference has taken the step already; `now` moves only in `Check`.
        let when = |after| gtimer::when(reference.now, after);
        match *op {
            Op::Insert {
                heap,
                after,
                period,
            } => {
                let id = reference.made - 1;
                let heap = &self.heaps[E::heap(heap)];
                let announced = heap.next_when();
                let (handle, earliest) = heap.insert(when(after), period, self.callback(id));
                assert!(earliest || announced <= when(after) || !E::ANNOUNCES);
                self.handles.insert(id, handle);
            }
            Op::Arm {
                heap,
                timer,
                after,
                period,
            } => {
                if let Some(id) = named(&self.handles, timer) {
                    let heap = &self.heaps[E::heap(heap)];
                    let callback = self.callback(id);
                    let armed = heap.arm(&self.handles[&id], when(after), period, callback);
                    assert_eq!(armed.was_pending, reference.pending);
                }
            }
            Op::Reset { heap, timer, after } => {
                if let Some(id) = named(&self.handles, timer) {
                    let armed = self.heaps[E::heap(heap)].reset(&self.handles[&id], when(after));
                    assert_eq!(armed.was_pending, reference.pending);
                }
            }
            Op::Stop(i) => {
                if let Some(id) = named(&self.handles, i) {
                    assert_eq!(E::stop(&self.handles[&id]), reference.pending);
                }
            }
            Op::Drop(i) => {
                if let Some(id) = named(&self.handles, i) {
                    self.handles.remove(&id);
                }
            }
            Op::Check(_) => {
                self.fired.lock().unwrap().clear();
                let ran: usize = self.heaps.iter().map(|h| h.check(reference.now).1).sum();
                let mut fired = std::mem::take(&mut *self.fired.lock().unwrap());
                assert_eq!(ran, fired.len());
                let mut expected: Vec<usize> = reference.fired.iter().map(|f| f.1).collect();
                fired.sort_unstable();
                expected.sort_unstable();
                assert_eq!(fired, expected);
            }
            Op::Adopt(heap) => {
                self.heaps[heap].adopt(&self.heaps[1 - heap]);
            }
        }
    }
}

impl<E: Kind> StateMachineTest for Sut<E> {
    type SystemUnderTest = Self;
    type Reference = Reference;

    fn init_test(_: &Reference) -> Self {
        Self {
            heaps: [E::default(), E::default()],
            handles: BTreeMap::new(),
            fired: Arc::default(),
        }
    }

    fn apply(mut sut: Self, reference: &Reference, op: Op) -> Self {
        Sut::apply(&mut sut, reference, &op);
        sut
    }

    fn check_invariants(sut: &Self, reference: &Reference) {
        let armed = reference.timers.values().filter_map(|t| t.when);
        let next = sut.heaps.iter().map(E::next_when).min().unwrap_or(NEVER);
        assert!(
            next <= armed.clone().min().unwrap_or(NEVER),
            "a deadline is missed"
        );
        let entries: usize = sut.heaps.iter().map(E::len).sum();
        assert_eq!(
            sut.heaps.iter().any(E::any_armed),
            armed.clone().count() > 0
        );
        assert!(entries >= armed.count(), "an armed timer is missing");
    }
}

type HeapSut = Sut<heap::Timers>;
type BucketSut = Sut<bucket::Timers>;

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_heap_engine_does_as_a_map_does(sequential 1..200 => HeapSut);

    #[test]
    fn the_bucket_engine_does_as_a_map_does(sequential 1..200 => BucketSut);
}
