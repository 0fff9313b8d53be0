//! A reference pool, in which every rule of R109 to R118 is a line, and random histories that the
//! shards must agree with item for item. Three slots, one thread: who holds which slot is chosen
//! by the history.

use std::collections::VecDeque;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use crate::barrier::Barrier;
use crate::chain::Spare;
use crate::locals::Local;
use crate::pin::{Leased, Record, Slots};
use crate::shards::{Missing, Shards, Spares};

/// The slots that play, on both sides of where an array needs a second allocation.
const IDS: [usize; SLOTS] = [0, 12, 13];
const SLOTS: usize = 3;
/// Grown as far as this, an array also has places without a slot.
const FAR: usize = 20;

#[derive(Clone, Debug, Default)]
struct Array {
    shards: [(Option<u32>, VecDeque<u32>); SLOTS],
    drained: bool,
}

impl Array {
    fn steal(&mut self, from: usize) -> Option<u32> {
        (0..SLOTS).find_map(|i| self.shards[(from + i) % SLOTS].1.pop_front())
    }

    fn items(&self) -> usize {
        let of = |s: &(Option<u32>, VecDeque<u32>)| usize::from(s.0.is_some()) + s.1.len();
        self.shards.iter().map(of).sum()
    }
}

#[derive(Clone, Debug, Default)]
struct Model {
    locals: Option<Array>,
    victim: Option<Array>,
    next: u32,
    /// What the last operation returned.
    got: Option<u32>,
}

#[derive(Clone, Debug)]
enum Op {
    Put(usize),
    Get(usize),
    Age,
    Grow,
    Shrink(usize),
}

impl Model {
    fn put(&mut self, slot: usize) {
        let (private, shared) = &mut self.locals.get_or_insert_default().shards[slot];
        match private {
            None => *private = Some(self.next),
            Some(_) => shared.push_back(self.next),
        }
        self.next += 1;
    }

    fn get(&mut self, slot: usize) -> Option<u32> {
        if let Some(locals) = &mut self.locals {
            let (private, shared) = &mut locals.shards[slot];
            let own = private.take().or_else(|| shared.pop_back());
            if let Some(item) = own.or_else(|| locals.steal(slot + 1)) {
                return Some(item);
            }
        }
        let victim = self.victim.as_mut().filter(|v| !v.drained)?;
        let own = victim.shards[slot].0.take();
        let item = own.or_else(|| victim.steal(slot));
        victim.drained = item.is_none();
        item
    }

    fn items(&self) -> usize {
        let of = |a: &Option<Array>| a.as_ref().map_or(0, Array::items);
        of(&self.locals) + of(&self.victim)
    }

    fn shrink(&mut self, keep: usize) {
        while self.items() > keep {
            let some = [&mut self.victim, &mut self.locals]
                .into_iter()
                .flatten()
                .find(|a| a.items() > 0)
                .expect("there are items");
            if some.steal(0).is_none() {
                some.shards.iter_mut().find_map(|s| s.0.take());
            }
        }
    }
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Op> {
        prop_oneof![
            12 => (0..SLOTS).prop_map(Op::Put),
            9 => (0..SLOTS).prop_map(Op::Get),
            1 => Just(Op::Age),
            1 => Just(Op::Grow),
            1 => (0..20_usize).prop_map(Op::Shrink),
        ]
        .boxed()
    }

    fn apply(mut state: Self, op: &Op) -> Self {
        state.got = None;
        match op {
            Op::Put(slot) => state.put(*slot),
            Op::Get(slot) => state.got = state.get(*slot),
            Op::Age => state.victim = state.locals.take(),
            Op::Grow => drop(state.locals.get_or_insert_default()),
            Op::Shrink(keep) => state.shrink(*keep),
        }
        state
    }
}

/// One table for all histories, since records are never freed.
static TABLE: OnceLock<(Slots, [&'static Record; SLOTS])> = OnceLock::new();

struct Real {
    slots: &'static Slots,
    records: &'static [&'static Record],
    pool: Shards<u32>,
    next: u32,
}

impl Real {
    fn leased(&self, slot: usize) -> Leased<'static> {
        // SAFETY: one thread plays all slots in turn, with one operation at a time.
        unsafe { Leased::new(self.records[slot], self.slots.barrier()) }
    }

    /// As `Pool::put`.
    fn put(&self, slot: usize, item: u32) {
        let full = self.pool.put_private(self.leased(slot), item);
        let left = full.and_then(|(pinned, item)| self.pool.put_shared(pinned, item));
        let Some(mut item) = left else {
            return;
        };
        let mut spares = Spares::none();
        while let Err((back, missing)) = self.pool.put(self.leased(slot), item, &mut spares) {
            item = back;
            match missing {
                Missing::Place(id) => assert!(self.pool.grow(self.slots, id)),
                Missing::Local => spares.local = Local::try_new(),
                Missing::Ring(size) => spares.ring = Spare::try_new(size),
                Missing::Room => unreachable!("no limit"),
            }
        }
    }
}

impl StateMachineTest for Real {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        let (slots, records) = TABLE.get_or_init(|| {
            let slots = Slots::new(Barrier::of_process());
            let all: Vec<_> = (0..=FAR).map(|_| slots.lease()).collect();
            let records = IDS.map(|id| all[id]);
            (slots, records)
        });
        Self {
            slots,
            records,
            pool: Shards::new(usize::MAX),
            next: 0,
        }
    }

    fn apply(mut real: Self, model: &Model, op: Op) -> Self {
        match op {
            Op::Put(slot) => {
                real.put(slot, real.next);
                real.next += 1;
            }
            Op::Get(slot) => assert_eq!(real.pool.get(real.leased(slot)), model.got),
            Op::Age => drop(real.pool.age(real.slots)),
            Op::Grow => assert!(real.pool.grow(real.slots, FAR)),
            Op::Shrink(keep) => {
                let mut out = Vec::with_capacity(1); // so that it takes several rounds
                while !real.pool.shrink(real.slots, keep, &mut out) {
                    out.clear();
                }
            }
        }
        real
    }

    fn check_invariants(real: &Self, model: &Model) {
        let (_, idle, victim) = real.pool.census();
        assert_eq!(idle + victim, model.items());
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// R109, R111, R113, R116, R117, R118: each get returns the very item that the rules name.
    #[test]
    fn r116_random_histories_agree_with_the_reference(sequential 1..150 => Real);
}
