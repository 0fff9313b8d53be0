//! What an interface asks for (Go's `interfacetype`), and the entries that it was found with lately.
//!
//! Re-creates the caches that Go has kept beside its table since 1.22 (`typeAssert` in `runtime/iface.go`). Go
//! keeps one at each place of assertion, which the compiler lays out; here each interface keeps one, in
//! the static that [`interface!`](crate::interface) declares, shared by all places that ask for it. Its address
//! and length are constants, and the interface needs no comparing, so a lookup in it takes about two thirds of
//! what one in the table takes.
//!
//! ```text
//!   slots   0   1   2   3   4   5  .. 126 127       a type's places are hash % 128 and the same with the
//!         ┌───┬───┬───┬───┬───┬───┬──┬───┬───┐      last bit turned: one cache line holds both
//!         │   │ ● │   │   │ ● │ ● │  │   │   │
//!         └───┴─┼─┴───┴───┴─┼─┴─┼─┴──┴───┴───┘
//!               ▼           ▼   ▼
//!           entries of the table
//! ```
//!
//! Invariants
//! - A slot holds null or an entry of this interface, positive or negative, of the table in use.
//! - A slot goes from null to an entry, and from a stale entry to another, and otherwise keeps what it holds:
//!   a program with more types than slots finds the rest in the table, and no two threads write in turns.
//! - An entry that a registration supersedes is marked stale before the registration returns, so what a slot
//!   remembers can be out of date, and is seen to be.
//! - When another table is [adopted](crate::adopt), every slot of this copy of the crate is cleared, under the
//!   lock under which slots are filled.
//!
//! Memory ordering: slots are stored with release and loaded with acquire, as those of the table are, so the entry
//! behind a pointer is seen whole.
//!
//! Rejected: one entry per interface (types that alternate would throw each other out), replacement by age or
//! chance (writes on a path that all threads share), and growth as in Go (a load more in every hit).

use core::any::TypeId;
#[cfg(not(loom))]
use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::global;
#[cfg(not(loom))]
use crate::iface::Interface;
use crate::itab::{Entry, Itab, Verdict};
use crate::method::IMethod;
use crate::rtype::{RType, type_hash};
use crate::sync::{AtomicPtr, Ordering};
use crate::table::ItabTable;

/// The key of an interface in the structural layer: one trait may be asked for in both layers, without the two
/// answers meeting in one entry.
#[cfg(not(loom))]
struct Structural<I: ?Sized>(PhantomData<I>);

/// How many entries an interface remembers.
#[cfg(not(loom))]
const SLOTS: usize = 128;
/// As many as a model's types need.
#[cfg(loom)]
const SLOTS: usize = 2;

/// What an interface asks for, with the identity that it is found by.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct InterfaceType {
    /// What was found lately. Stored under the lock of [`global::remembering`].
    slots: [AtomicPtr<Itab>; SLOTS],
    /// Whether `adopt` knows that there is something to clear. Written and read under the same lock.
    listed: AtomicBool,
    // The rest is constant.
    pub(crate) id: TypeId,
    pub(crate) methods: &'static [IMethod],
}

impl InterfaceType {
    /// The description of `I`, for the static that [`interface!`](crate::interface) declares.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn of<I: ?Sized + Interface>() -> Self {
        Self::new(TypeId::of::<Structural<I>>(), I::METHODS)
    }

    #[cfg(not(loom))]
    pub(crate) const fn new(id: TypeId, methods: &'static [IMethod]) -> Self {
        Self {
            slots: [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS],
            listed: AtomicBool::new(false),
            id,
            methods,
        }
    }

    /// Loom's atomics are made while a model runs.
    #[cfg(loom)]
    pub(crate) fn new(id: TypeId, methods: &'static [IMethod]) -> Self {
        Self {
            slots: core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            listed: AtomicBool::new(false),
            id,
            methods,
        }
    }

    /// The positive entry of this interface and `typ`, if there is one.
    #[inline(always)]
    pub(crate) fn find(&'static self, typ: &'static RType) -> Option<Entry> {
        self.find_with(typ, global::itab_table)
    }

    /// The same, with the table that is asked where nothing is remembered.
    #[inline(always)]
    fn find_with(
        &'static self,
        typ: &'static RType,
        table: impl FnOnce() -> &'static ItabTable,
    ) -> Option<Entry> {
        if let Some(m) = self.recall(typ.id_ref()) {
            match m.verdict() {
                Verdict::Yes => return Some(m),
                Verdict::No => return None,
                // Decided without methods: if they have come with this value, look closer.
                Verdict::NotYet if !typ.is_described() => return None,
                Verdict::NotYet | Verdict::Stale => {}
            }
        }
        self.find_in(table(), typ)
    }

    /// Asks the table, and remembers an answer that stood there if there is room. (One that had to be built is
    /// remembered when it is asked for again: most are built and used once.)
    #[inline(never)]
    fn find_in(&'static self, table: &'static ItabTable, typ: &'static RType) -> Option<Entry> {
        let (m, built) = table.structural(self, typ);
        if built {
            return m.implements().then_some(m);
        }
        if self.room(m).is_some() {
            global::remembering(|interfaces| {
                // Another table may have been adopted, and another thread may have been here.
                if let Some(slot) = self.room(m)
                    && global::in_use(table)
                {
                    slot.store(m.as_ptr(), Ordering::Release);
                    if !self.listed.swap(true, Relaxed) {
                        interfaces.push(self);
                    }
                }
            });
        }
        m.implements().then_some(m)
    }

    /// The entry remembered for a type.
    #[inline(always)]
    fn recall(&self, typ: &TypeId) -> Option<Entry> {
        let [first, second] = self.places(type_hash(*typ));
        let m = Self::get(first)?;
        if m.is_of(typ) {
            return Some(m);
        }
        Self::get(second).filter(|m| m.is_of(typ))
    }

    /// Where an entry that is not remembered yet may be put.
    fn room(&self, m: Entry) -> Option<&AtomicPtr<Itab>> {
        let places = self.places(m.hash());
        let mut room = None;
        for slot in places.into_iter().rev() {
            match Self::get(slot) {
                Some(other) if other.as_ptr() == m.as_ptr() => return None,
                Some(other) if other.verdict() != Verdict::Stale => {}
                _ => room = Some(slot),
            }
        }
        room
    }

    /// Forgets everything. The caller holds the lock of [`global::remembering`].
    pub(crate) fn forget(&self) {
        for slot in &self.slots {
            slot.store(ptr::null_mut(), Ordering::Release);
        }
    }

    #[inline(always)]
    fn places(&self, hash: u32) -> [&AtomicPtr<Itab>; 2] {
        let first = hash as usize % SLOTS;
        [&self.slots[first], &self.slots[first ^ 1]]
    }

    #[inline(always)]
    fn get(slot: &AtomicPtr<Itab>) -> Option<Entry> {
        let at = NonNull::new(slot.load(Ordering::Acquire))?;
        // SAFETY: slots are only ever set to what `as_ptr` gave.
        Some(unsafe { Entry::from_ptr(at) })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::method::{Method, Recv, sorted, sorted_methods};
    use crate::register_type;
    use crate::rtype::{Describe, Kind};
    use alloc::boxed::Box;
    use std::vec::Vec;

    struct Runner<const N: usize>;

    unsafe fn run(_: Recv<'_>) {}

    const WANT: &[IMethod] = &sorted([IMethod::new::<unsafe fn(Recv<'_>)>("run")]);

    // SAFETY: one method, which takes any receiver.
    unsafe impl<const N: usize> Describe for Runner<N> {
        const KIND: Kind = Kind::Struct;
        // SAFETY: as above.
        const METHODS: &'static [Method] =
            &sorted_methods([unsafe { Method::new::<unsafe fn(Recv<'_>)>("run", run) }]);
    }

    /// An interface that nobody else asks for.
    fn interface<T: 'static>() -> &'static InterfaceType {
        Box::leak(Box::new(InterfaceType::new(TypeId::of::<T>(), WANT)))
    }

    /// Three hundred types, described and bare.
    fn types() -> Vec<(&'static RType, &'static RType)> {
        macro_rules! ten {
            ($($tens:literal)*) => { [$( one!($tens 0 1 2 3 4 5 6 7 8 9) ),*].concat() };
        }
        macro_rules! one {
            ($tens:literal $($n:literal)*) => {[$( {
                type T = Runner<{ $tens * 10 + $n }>;
                (RType::of_described::<T>(), RType::of::<T>())
            } ),*]};
        }
        ten!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29)
    }

    #[test]
    fn an_answer_is_remembered_whichever_it_is() {
        struct Key;
        let inter = interface::<Key>();
        for (typ, implements) in [(types()[0].0, true), (RType::of_described::<u8>(), false)] {
            assert!(inter.recall(typ.id_ref()).is_none());
            assert_eq!(inter.find(typ).is_some(), implements, "built");
            assert_eq!(inter.find(typ).is_some(), implements, "found");
            let m = inter.recall(typ.id_ref()).expect("remembered");
            assert_eq!((m.is_of(typ.id_ref()), m.implements()), (true, implements));
            assert_eq!(inter.find(typ).is_some(), implements);
        }
    }

    /// More types than slots: all are answered rightly, and those that are remembered stay.
    #[test]
    fn types_without_room_are_found_in_the_table() {
        struct Key;
        let inter = interface::<Key>();
        let remembered = || -> Vec<_> {
            let ids = types().into_iter().map(|t| t.0.id());
            ids.filter(|id| inter.recall(id).is_some()).collect()
        };
        for _ in 0..2 {
            assert!(types().iter().all(|t| inter.find(t.0).is_some()));
        }
        let first = remembered();
        assert!(
            (SLOTS / 4..=SLOTS).contains(&first.len()),
            "{}",
            first.len()
        );
        assert!(types().iter().rev().all(|t| inter.find(t.0).is_some()));
        assert_eq!(remembered(), first);
    }

    /// Types whose first place is the same are remembered both.
    #[test]
    fn two_types_of_one_place_are_both_remembered() {
        struct Key;
        let inter = interface::<Key>();
        let mut ids = [None; SLOTS];
        let twins = types().into_iter().find_map(|(typ, _)| {
            let other = ids[typ.hash() as usize % SLOTS].replace(typ);
            other.map(|other| [typ, other])
        });
        let twins: [&'static RType; 2] = twins.expect("three hundred types for 128 places");
        for typ in twins.into_iter().chain(twins) {
            assert!(inter.find(typ).is_some());
        }
        assert!(twins.iter().all(|typ| inter.recall(typ.id_ref()).is_some()));
    }

    /// All of many types are learnt, also those that come to the same place among the ones learnt lately.
    #[test]
    fn every_registered_type_is_learnt() {
        struct Key;
        let (table, inter) = (ItabTable::leak(), interface::<Key>());
        types().iter().for_each(|t| table.register_type(t.0));
        let implements = |t: &(_, &'static RType)| table.structural(inter, t.1).0.implements();
        assert!(types().iter().all(implements));
    }

    /// R99 with late registrations: a remembered "no" is not believed once it was turned, and its slot goes to
    /// the new answer.
    #[test]
    fn a_remembered_no_is_turned() {
        struct Key;
        struct Late;
        // SAFETY: `run` takes any receiver.
        unsafe impl Describe for Late {
            const KIND: Kind = Kind::Struct;
            const METHODS: &'static [Method] = Runner::<0>::METHODS;
        }
        let (inter, bare) = (interface::<Key>(), RType::of::<Late>());
        assert!(inter.find(bare).is_none());
        assert!(inter.find(bare).is_none());
        let no = inter.recall(bare.id_ref()).expect("remembered");
        assert_eq!(no.verdict(), Verdict::NotYet);
        register_type::<Late>();
        assert_eq!(no.verdict(), Verdict::Stale);
        let yes = inter.find(bare).expect("known by now");
        assert!(inter.find(bare).is_some());
        let now = inter.recall(bare.id_ref()).expect("remembered");
        assert_eq!((now.as_ptr(), now.verdict()), (yes.as_ptr(), Verdict::Yes));
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use crate::method::{Method, Recv, sorted, sorted_methods};
    use crate::rtype::{Describe, Kind};
    use alloc::boxed::Box;
    use loom::thread;

    struct Runs;

    unsafe fn run(_: Recv<'_>) {}

    // SAFETY: one method, which takes any receiver.
    unsafe impl Describe for Runs {
        const KIND: Kind = Kind::Struct;
        // SAFETY: as above.
        const METHODS: &'static [Method] =
            &sorted_methods([unsafe { Method::new::<unsafe fn(Recv<'_>)>("run", run) }]);
    }

    const WANT: &[IMethod] = &sorted([IMethod::new::<unsafe fn(Recv<'_>)>("run")]);

    /// A "no" that was remembered, its registration and two that ask: during the race either answer, afterwards
    /// the new one, and never half an entry.
    #[test]
    fn loom_a_remembered_no_is_turned() {
        loom::model(|| {
            let table = ItabTable::leak();
            let inter: &'static _ = Box::leak(Box::new(InterfaceType::new(
                const { TypeId::of::<()>() },
                WANT,
            )));
            let ask = move || inter.find_with(RType::of::<Runs>(), || table).is_some();
            assert!(!ask() && !ask());
            let asker = thread::spawn(move || (ask(), ask()));
            table.register_type(RType::of_described::<Runs>());
            assert!(ask(), "registered by this thread");
            let (before, after) = asker.join().unwrap();
            assert!(after || !before, "a yes stays");
            assert!(ask());
        });
    }

    /// Two that ask first: both get the entry whole, from the table or from what the other remembered.
    #[test]
    fn loom_racing_first_questions_are_both_answered() {
        loom::model(|| {
            let table = ItabTable::leak();
            let inter: &'static _ = Box::leak(Box::new(InterfaceType::new(
                const { TypeId::of::<()>() },
                WANT,
            )));
            let ask = move || {
                inter
                    .find_with(RType::of_described::<Runs>(), || table)
                    .is_some()
            };
            let other = thread::spawn(move || ask() && ask());
            assert!(ask() && ask());
            assert!(other.join().unwrap());
            assert_eq!(table.stats().builds, 1);
        });
    }
}
