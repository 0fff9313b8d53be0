//! Every operation against `std`'s map, in random sequences that shrink (proptest-state-machine): growth
//! in every stage, because `Fill` brings the map to where a growth is under way; and with keys whose
//! `Hash`, `Eq`, `Clone` or `Drop` unwinds at a random call (R85).

#[cfg(feature = "default-hasher")]
use ghmap::DefaultHashBuilder as Good;
use ghmap::hash_map::{Entry, EntryRef, RawEntryMut};
use ghmap::{Equivalent, HashMap};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::cell::Cell;
use std::collections::HashMap as Model;
#[cfg(not(feature = "default-hasher"))]
use std::hash::RandomState as Good;
use std::hash::{BuildHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

type Key = u16;

thread_local! {
    /// Calls of the keys' code until one unwinds; `u32::MAX` is never.
    static FUSE: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// What a key unwinds with.
struct Blown;

fn spark() {
    match FUSE.get() {
        u32::MAX => {}
        0 => {
            FUSE.set(u32::MAX);
            // Without the panic hook's words.
            resume_unwind(Box::new(Blown));
        }
        n => FUSE.set(n - 1),
    }
}

/// A key that may unwind. Boxed, so that a sanitizer sees one that is dropped twice or used after.
#[derive(Debug)]
struct Touchy(Box<Key>);

impl Touchy {
    fn new(k: Key) -> Self {
        Self(Box::new(k))
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        spark();
        self.0 == other.0
    }
}

impl Eq for Touchy {}

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        spark();
        self.0.hash(state);
    }
}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        spark();
        Self(self.0.clone())
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            spark();
        }
    }
}

/// What looks a key up, and may unwind as well.
#[derive(Hash)]
struct Probe(Key);

impl Equivalent<Touchy> for Probe {
    fn equivalent(&self, key: &Touchy) -> bool {
        spark();
        self.0 == *key.0
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Key, u32),
    TryInsert(Key, u32),
    Remove(Key),
    RemoveEntry(Key),
    Get(Key),
    GetMany([Key; 4]),
    EntryOr(Key, u32),
    EntryRefOr(Key, u32),
    EntryRemove(Key),
    EntryReplace(Key, Option<u32>),
    EntryModify(Key, u32),
    RawEntryOr(Key, u32),
    GetDisjoint(Key, Key),
    Fill(Key, u16),
    Retain(u16),
    ExtractIf(u16, u16),
    IterMut,
    Drain(u16),
    Clear,
    Reserve(u16),
    ShrinkTo(u16),
    FinishGrowth,
    CloneIt,
    CloneFrom,
    IntoIter,
    Extend(Vec<(Key, u32)>),
    CursorRemove(u16),
}

/// An operation, and the call of the keys' code in it that unwinds, if it makes so many.
#[derive(Clone, Debug)]
struct Step {
    op: Op,
    fuse: Option<u32>,
}

struct Reference;

impl ReferenceStateMachine for Reference {
    type State = Model<Key, u32>;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self::State> {
        Just(Model::new()).boxed()
    }

    fn transitions(_: &Self::State) -> BoxedStrategy<Step> {
        let key = || 0..300u16;
        let op = prop_oneof![
            8 => (key(), any::<u32>()).prop_map(|(k, v)| Op::Insert(k, v)),
            2 => (key(), any::<u32>()).prop_map(|(k, v)| Op::TryInsert(k, v)),
            6 => key().prop_map(Op::Remove),
            2 => key().prop_map(Op::RemoveEntry),
            3 => key().prop_map(Op::Get),
            1 => [key(), key(), key(), key()].prop_map(Op::GetMany),
            2 => (key(), any::<u32>()).prop_map(|(k, v)| Op::EntryOr(k, v)),
            2 => (key(), any::<u32>()).prop_map(|(k, v)| Op::EntryRefOr(k, v)),
            2 => key().prop_map(Op::EntryRemove),
            2 => (key(), any::<Option<u32>>()).prop_map(|(k, v)| Op::EntryReplace(k, v)),
            2 => (key(), any::<u32>()).prop_map(|(k, v)| Op::EntryModify(k, v)),
            2 => (key(), any::<u32>()).prop_map(|(k, v)| Op::RawEntryOr(k, v)),
            1 => (key(), key()).prop_map(|(a, b)| Op::GetDisjoint(a, b)),
            3 => (key(), 1..200u16).prop_map(|(k, n)| Op::Fill(k, n)),
            1 => (1..5u16).prop_map(Op::Retain),
            1 => (1..5u16, 0..40u16).prop_map(|(m, n)| Op::ExtractIf(m, n)),
            1 => Just(Op::IterMut),
            1 => (0..40u16).prop_map(Op::Drain),
            1 => Just(Op::Clear),
            1 => (0..2000u16).prop_map(Op::Reserve),
            1 => (0..300u16).prop_map(Op::ShrinkTo),
            1 => Just(Op::FinishGrowth),
            1 => Just(Op::CloneIt),
            1 => Just(Op::CloneFrom),
            1 => Just(Op::IntoIter),
            1 => prop::collection::vec((key(), any::<u32>()), 0..60).prop_map(Op::Extend),
            1 => (1..5u16).prop_map(Op::CursorRemove),
        ];
        let fuse = prop_oneof![3 => Just(None), 1 => (0..12u32).prop_map(Some), 1 => (0..400u32).prop_map(Some)];
        (op, fuse).prop_map(|(op, fuse)| Step { op, fuse }).boxed()
    }

    fn apply(mut model: Self::State, Step { op, .. }: &Step) -> Self::State {
        match op {
            Op::Insert(k, v) => {
                model.insert(*k, *v);
            }
            Op::TryInsert(k, v)
            | Op::EntryOr(k, v)
            | Op::EntryRefOr(k, v)
            | Op::RawEntryOr(k, v) => {
                model.entry(*k).or_insert(*v);
            }
            Op::EntryModify(k, v) => {
                model.entry(*k).and_modify(|old| *old ^= v).or_insert(*v);
            }
            Op::Remove(k) | Op::RemoveEntry(k) | Op::EntryRemove(k) => {
                model.remove(k);
            }
            Op::EntryReplace(k, v) => {
                if model.contains_key(k) {
                    match v {
                        Some(v) => {
                            model.insert(*k, *v);
                        }
                        None => {
                            model.remove(k);
                        }
                    }
                }
            }
            Op::GetDisjoint(a, b) => {
                if let (true, Some(x), Some(y)) =
                    (a != b, model.get(a).copied(), model.get(b).copied())
                {
                    model.insert(*a, y);
                    model.insert(*b, x);
                }
            }
            Op::Fill(k, n) => model.extend((*k..k + n).map(|k| (k, u32::from(k)))),
            Op::Retain(m) => model.retain(|k, _| k % m == 0),
            Op::IterMut => model.values_mut().for_each(|v| *v = v.wrapping_add(1)),
            // Which entries go depends on the order; the test removes those from a model of its own.
            Op::ExtractIf(m, _) | Op::CursorRemove(m) => model.retain(|k, _| k % m != 0),
            Op::Drain(_) | Op::Clear | Op::IntoIter => model.clear(),
            Op::Extend(entries) => model.extend(entries.iter().copied()),
            Op::Get(_)
            | Op::GetMany(_)
            | Op::Reserve(_)
            | Op::ShrinkTo(_)
            | Op::FinishGrowth
            | Op::CloneIt
            | Op::CloneFrom => {}
        }
        model
    }
}

/// The map under test, with a hasher of one of three kinds.
struct Sut<S>(HashMap<Touchy, Box<u32>, S>);

/// Hashes that make chains: five bits of the key only.
#[derive(Clone, Copy, Default)]
struct Poor;

#[derive(Default)]
struct PoorHasher(u64);

impl BuildHasher for Poor {
    type Hasher = PoorHasher;
    fn build_hasher(&self) -> PoorHasher {
        PoorHasher(0)
    }
}

impl std::hash::Hasher for PoorHasher {
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = self.0 << 8 | u64::from(*b);
        }
    }
    fn finish(&self) -> u64 {
        (self.0 >> 8 & 31).wrapping_mul(0x0101_0101_0101_0101)
    }
}

impl<S: BuildHasher + Default + Clone + 'static> Sut<S> {
    fn run(&mut self, before: &Model<Key, u32>, op: &Op) {
        let map = &mut self.0;
        match op {
            Op::Insert(k, v) => {
                assert_eq!(
                    map.insert(Touchy::new(*k), Box::new(*v)).map(|b| *b),
                    before.get(k).copied()
                );
            }
            Op::TryInsert(k, v) => {
                let got = map.try_insert(Touchy::new(*k), Box::new(*v)).is_ok();
                assert_eq!(got, !before.contains_key(k));
            }
            Op::Remove(k) => assert_eq!(map.remove(&Probe(*k)).map(|b| *b), before.get(k).copied()),
            Op::RemoveEntry(k) => {
                assert_eq!(
                    map.remove_entry(&Probe(*k)).map(|(k, v)| (*k.0, *v)),
                    before.get(k).map(|v| (*k, *v))
                );
            }
            Op::Get(k) => {
                let probe = Probe(*k);
                assert_eq!(map.get(&probe).map(|b| **b), before.get(k).copied());
                assert_eq!(map.get_mut(&probe).map(|b| **b), before.get(k).copied());
                assert_eq!(map.contains_key(&probe), before.contains_key(k));
                let entry = map.get_key_value(&probe).map(|(k, v)| (*k.0, **v));
                assert_eq!(entry, before.get_key_value(k).map(|(k, v)| (*k, *v)));
            }
            Op::GetMany(ks) => {
                let probes = ks.map(Probe);
                let got = map.get_many(probes.each_ref());
                for (k, v) in ks.iter().zip(got) {
                    assert_eq!(v.map(|b| **b), before.get(k).copied());
                }
            }
            Op::EntryOr(k, v) => {
                let want = before.get(k).copied().unwrap_or(*v);
                assert_eq!(**map.entry(Touchy::new(*k)).or_insert(Box::new(*v)), want);
            }
            Op::EntryRefOr(k, v) => {
                if let EntryRef::Vacant(e) = map.entry_ref(&Probe(*k)) {
                    e.insert_with_key(Touchy::new(*k), Box::new(*v));
                }
            }
            Op::EntryRemove(k) => {
                if let Entry::Occupied(e) = map.entry(Touchy::new(*k)) {
                    assert_eq!(Some(*e.remove()), before.get(k).copied());
                }
            }
            Op::EntryReplace(k, v) => {
                let _ = map
                    .entry(Touchy::new(*k))
                    .and_replace_entry_with(|_, _| v.map(Box::new));
            }
            Op::EntryModify(k, v) => {
                let entry = map.entry(Touchy::new(*k)).and_modify(|old| **old ^= v);
                entry.or_insert(Box::new(*v));
            }
            Op::RawEntryOr(k, v) => {
                let (key, value) = match map.raw_entry_mut().from_key(&Probe(*k)) {
                    RawEntryMut::Occupied(entry) => entry.into_key_value(),
                    RawEntryMut::Vacant(entry) => entry.insert(Touchy::new(*k), Box::new(*v)),
                };
                assert_eq!(
                    (*key.0, **value),
                    (*k, before.get(k).copied().unwrap_or(*v))
                );
            }
            Op::GetDisjoint(a, b) => {
                if a != b
                    && let [Some(x), Some(y)] = map.get_disjoint_mut([&Probe(*a), &Probe(*b)])
                {
                    std::mem::swap(x, y);
                }
            }
            Op::Fill(k, n) => {
                for k in *k..k + n {
                    map.insert(Touchy::new(k), Box::new(u32::from(k)));
                }
            }
            Op::Retain(m) => map.retain(|k, _| *k.0 % m == 0),
            Op::ExtractIf(m, n) => {
                let mut left = before.clone();
                for (k, v) in map.extract_if(|k, _| *k.0 % m == 0).take(usize::from(*n)) {
                    assert_eq!(left.remove(&*k.0), Some(*v));
                }
                assert_same(map, &left);
                map.retain(|k, _| *k.0 % m != 0);
            }
            Op::IterMut => map.values_mut().for_each(|v| **v = v.wrapping_add(1)),
            Op::Drain(n) => {
                let mut seen = before.clone();
                let mut drain = map.drain();
                assert_eq!(drain.len(), before.len());
                for (k, v) in drain.by_ref().take(usize::from(*n)) {
                    assert_eq!(seen.remove(&*k.0), Some(*v));
                }
                assert_eq!(drain.len(), seen.len());
            }
            Op::Clear => map.clear(),
            Op::Reserve(n) => {
                map.reserve(usize::from(*n));
                assert!(map.capacity() >= map.len() + usize::from(*n));
            }
            Op::ShrinkTo(n) => {
                map.shrink_to(usize::from(*n));
                assert!(map.capacity() >= map.len());
            }
            Op::FinishGrowth => {
                map.finish_growth();
                assert!(!map.stats().growing);
            }
            Op::CloneIt => {
                let copy = map.clone();
                assert!(copy == *map);
                assert_eq!(copy.stats().len, map.stats().len);
                *map = copy;
            }
            Op::CloneFrom => {
                let mut other = HashMap::with_hasher(S::default());
                other.insert(Touchy::new(1), Box::new(1));
                other.clone_from(map);
                assert!(other == *map);
            }
            Op::IntoIter => {
                let map = std::mem::replace(map, HashMap::with_hasher(S::default()));
                let got: Model<Key, u32> = map.into_iter().map(|(k, v)| (*k.0, *v)).collect();
                assert_eq!(&got, before);
            }
            Op::Extend(entries) => {
                map.extend(entries.iter().map(|(k, v)| (Touchy::new(*k), Box::new(*v))));
            }
            Op::CursorRemove(m) => {
                let (mut cursor, mut seen) = (map.cursor(), before.clone());
                while let Some((k, v)) = cursor.next(map) {
                    let k = *k.0;
                    assert_eq!(seen.remove(&k), Some(**v));
                    if k % m == 0 {
                        map.remove(&Probe(k));
                    }
                }
                assert!(seen.is_empty());
            }
        }
    }
}

/// Whether what an unwinding operation leaves may only be what was there or what should be there.
fn all_or_nothing(op: &Op) -> bool {
    !matches!(
        op,
        Op::Fill(..)
            | Op::Retain(_)
            | Op::ExtractIf(..)
            | Op::Drain(_)
            | Op::Clear
            | Op::Extend(_)
            | Op::CursorRemove(_)
    )
}

/// `op` unwound: nothing that it does not name is lost or changed. Gives what is there now.
fn check_blown<S: BuildHasher>(
    map: &HashMap<Touchy, Box<u32>, S>,
    op: &Op,
    before: &Model<Key, u32>,
    after: &Model<Key, u32>,
) -> Model<Key, u32> {
    let now: Model<Key, u32> = map.iter().map(|(k, v)| (*k.0, **v)).collect();
    assert_same(map, &now);
    if all_or_nothing(op) {
        assert!(now == *before || now == *after, "neither before nor after");
    }
    for (k, v) in &now {
        let named = matches!(op, Op::Extend(entries) if entries.contains(&(*k, *v)));
        assert!(named || before.get(k) == Some(v) || after.get(k) == Some(v));
    }
    assert!(
        before
            .keys()
            .all(|k| !after.contains_key(k) || now.contains_key(k))
    );
    now
}

fn assert_same<S: BuildHasher>(map: &HashMap<Touchy, Box<u32>, S>, model: &Model<Key, u32>) {
    assert_eq!(map.len(), model.len());
    let mut iter = map.iter();
    let mut n = model.len();
    while let Some((k, v)) = iter.next() {
        n -= 1;
        assert_eq!(iter.len(), n);
        assert_eq!(model.get(&*k.0), Some(&**v));
    }
    assert_eq!(n, 0);
    for (k, v) in model {
        assert_eq!(map.get(&Probe(*k)).map(|b| &**b), Some(v));
    }
    let s = map.stats();
    assert_eq!(s.len, map.len());
    assert!(s.growing || s.old_buckets == 0);
}

impl<S: BuildHasher + Default + Clone + 'static> StateMachineTest for Sut<S> {
    /// With a model of its own, because an operation that unwinds may be half done.
    type SystemUnderTest = (Self, Model<Key, u32>);
    type Reference = Reference;

    fn init_test(_: &Model<Key, u32>) -> Self::SystemUnderTest {
        (Sut(HashMap::with_hasher(S::default())), Model::new())
    }

    fn apply(
        (mut sut, before): Self::SystemUnderTest,
        _: &Model<Key, u32>,
        step: Step,
    ) -> Self::SystemUnderTest {
        let after = Reference::apply(before.clone(), &step);
        FUSE.set(step.fuse.unwrap_or(u32::MAX));
        let ran = catch_unwind(AssertUnwindSafe(|| sut.run(&before, &step.op)));
        FUSE.set(u32::MAX);
        let now = match ran {
            Ok(()) => {
                assert_same(&sut.0, &after);
                after
            }
            Err(payload) if payload.is::<Blown>() => check_blown(&sut.0, &step.op, &before, &after),
            Err(payload) => resume_unwind(payload),
        };
        (sut, now)
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_std_with_a_good_hash(sequential 1..120 => Sut<Good>);

    #[test]
    fn as_std_with_a_hash_that_makes_chains(sequential 1..120 => Sut<Poor>);
}
