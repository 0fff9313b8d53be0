//! The table as a whole: lookup without locks, building under one lock, growth.
//!
//! Re-creates `getitab` and `itabAdd` of Go 1.19's `runtime/iface.go`, with one thing that Go has no
//! need of: types and interfaces may become known late, when a plugin is opened for instance, and an
//! answer "does not implement" that was cached before is then decided anew.
//!
//! Invariants
//! - `current` points at an array that is never freed. Growth builds an array of twice the size,
//!   fills it and publishes it; readers of the old one go on and at worst miss, which sends them to
//!   the lock (R107).
//! - One entry per pair of interface and type: whoever misses takes the lock and looks again before
//!   building (R102).
//! - A positive entry stays for ever. A negative one is exchanged in place, in the current array,
//!   when a registration turns it. A lookup that happens after that registration loads this array or
//!   a later one, and so sees the new answer; one that races with it may see either.
//! - No user code runs under the lock: names and signatures are compared, memory is taken from the
//!   global allocator.
//!
//! Rejected: purging negative entries by removal (tombstones lengthen every probe), a version counter
//! in negative entries (a load more on the path of every cached "no").
//!
//! Memory ordering (R105): `current` is stored with release after the new array was filled, and loaded
//! with acquire. Everything else is under the lock.

use alloc::alloc::{alloc, handle_alloc_error};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::any::TypeId;
use core::fmt;
use core::mem;
use core::ptr::{self, NonNull};

use crate::interface::InterfaceType;
use crate::itab::{Entry, Header, Itab, Key, Slot, Verdict};
use crate::method::merge;
use crate::rtype::RType;
use crate::slots::Slots;
use crate::sync::{AtomicPtr, Lock, Ordering};

/// The interface table: which types implement which interfaces, and with what code.
///
/// There is one, [`itab_table`](crate::itab_table); a plugin that carries a copy of this crate is
/// pointed at its host's by [`adopt`](crate::adopt).
pub struct ItabTable {
    /// The newest array. Stored under `lock`.
    current: AtomicPtr<()>,
    lock: Lock<Inner>,
}

/// How many descriptors are recognised without a search.
const LATELY: usize = 128;

/// What the lock guards.
struct Inner {
    /// Filled slots of the current array.
    count: usize,
    /// Filled slots of the current array that hold a negative entry.
    negatives: usize,
    /// Entries ever built.
    builds: usize,
    /// Names ever compared by the merge.
    compares: usize,
    /// Descriptors of the types that became known, with methods where they were described.
    types: BTreeMap<TypeId, &'static RType>,
    /// Descriptors learnt lately, each in the place of its hash: a type that is asked for by one interface is
    /// asked for by others.
    lately: [Option<&'static RType>; LATELY],
    /// The interfaces that negative entries were decided for.
    inters: BTreeMap<TypeId, &'static InterfaceType>,
    memory: Persistent,
    /// Code found so far by the merge that is running; empty memory to reuse otherwise.
    scratch: Vec<Slot>,
}

// SAFETY: slots are pointers to code and vtables, which are immutable and live for ever; `memory` owns
// what it points at.
unsafe impl Send for Inner {}

/// Counts, for people who wonder about the table, and for tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Slots in the current array.
    pub size: usize,
    /// Entries in it; it grows when one is added to three quarters of `size`.
    pub count: usize,
    /// Entries that cache "does not implement".
    pub negatives: usize,
    /// Entries ever built: an assertion that was answered from the table builds none.
    pub builds: usize,
    /// Method names ever compared while building.
    pub compares: usize,
}

impl ItabTable {
    /// A table whose first array is `slots`, empty.
    #[cfg(not(loom))]
    pub(crate) const fn over(slots: Slots) -> Self {
        Self {
            current: AtomicPtr::new(slots.as_ptr()),
            lock: Lock::new(Inner::new()),
        }
    }

    /// A table of its own, empty; neither it nor what it builds is ever freed. For tests that must not
    /// see one another's registrations: [`adopt`](crate::adopt) puts it to use, and what `auto_implements!`
    /// submitted into it.
    #[must_use]
    pub fn leak() -> &'static Self {
        let slots = Slots::leak(crate::slots::INIT_SIZE);
        alloc::boxed::Box::leak(alloc::boxed::Box::new(Self {
            current: AtomicPtr::new(slots.as_ptr()),
            lock: Lock::new(Inner::new()),
        }))
    }

    #[inline(always)]
    fn slots(&self) -> Slots {
        // SAFETY: `current` is only ever set to what `as_ptr` gave, published with release.
        unsafe { Slots::from_ptr(self.current.load(Ordering::Acquire)) }
    }

    #[inline(always)]
    pub(crate) fn find(&self, key: Key<'_>) -> Option<Entry> {
        self.slots().find(key)
    }

    /// The entry of an interface with methods and a type, built if there is none (Go's `getitab`); and whether
    /// the lock was needed for it.
    pub(crate) fn structural(
        &self,
        inter: &'static InterfaceType,
        typ: &'static RType,
    ) -> (Entry, bool) {
        if let Some(m) = self.find(Key::new(&inter.id, typ.id_ref())) {
            match m.verdict() {
                Verdict::Yes | Verdict::No => return (m, false),
                // Decided without methods: if they have come with this value, look closer.
                Verdict::NotYet if !typ.is_described() => return (m, false),
                // Or decided anew while this thread looked at the old answer.
                Verdict::NotYet | Verdict::Stale => {}
            }
        }
        (self.structural_slow(inter, typ), true)
    }

    #[cold]
    #[inline(never)]
    fn structural_slow(&self, inter: &'static InterfaceType, typ: &'static RType) -> Entry {
        self.lock.with(|inner| {
            if typ.is_described() {
                self.learn(inner, typ);
            }
            self.find(Key::new(&inter.id, typ.id_ref()))
                .unwrap_or_else(|| {
                    let m = inner.build(inter, typ);
                    self.add(inner, m);
                    m
                })
        })
    }

    /// Makes the methods of a type known. Complexity: the size of the table, if anything negative is
    /// in it; otherwise logarithmic in the number of types.
    pub(crate) fn register_type(&self, typ: &'static RType) {
        self.lock.with(|inner| self.learn(inner, typ));
    }

    /// The descriptor of a type that the table knows.
    pub(crate) fn rtype(&self, id: TypeId) -> Option<&'static RType> {
        self.lock.with(|inner| inner.types.get(&id).copied())
    }

    /// Remembers a described type, and decides anew what was decided without its methods.
    fn learn(&self, inner: &mut Inner, typ: &'static RType) {
        let lately = &mut inner.lately[typ.hash() as usize % LATELY];
        if lately.is_some_and(|known| ptr::eq(known, typ)) {
            return;
        }
        *lately = Some(typ);
        let known = inner.types.entry(typ.id()).or_insert(RType::of::<()>());
        if known.is_described() {
            return;
        }
        *known = typ;
        if inner.negatives == 0 {
            return;
        }
        let slots = self.slots();
        for m in slots.iter() {
            if m.verdict() == Verdict::NotYet && m.type_id() == typ.id() {
                let inter = inner.inters[m.key().inter];
                let m = inner.build(inter, typ);
                self.exchange(inner, m);
            }
        }
    }

    /// The entry of a `dyn` trait and a type; None if the pair was not registered.
    #[inline(always)]
    pub(crate) fn nominal(&self, key: Key<'_>) -> Option<Entry> {
        match self.find(key) {
            Some(m) => m.implements().then_some(m),
            None => self.nominal_slow(key),
        }
    }

    #[cold]
    #[inline(never)]
    fn nominal_slow(&self, key: Key<'_>) -> Option<Entry> {
        #[cfg(all(feature = "inventory", not(loom)))]
        crate::auto::take();
        self.lock.with(|inner| {
            let m = self.find(key).unwrap_or_else(|| {
                let header = Header {
                    key,
                    rtype: inner.types.get(key.typ).copied(),
                    verdict: Verdict::No,
                };
                let m = inner.write(header, &[]);
                self.add(inner, m);
                m
            });
            m.implements().then_some(m)
        })
    }

    /// Says that a type implements a `dyn` trait, `slots` being its caster and vtable word. Saying it
    /// twice changes nothing. Complexity: constant.
    pub(crate) fn register_pair(&self, key: Key<'_>, typ: &'static RType, slots: [Slot; 2]) {
        self.lock.with(|inner| {
            inner.types.entry(*key.typ).or_insert(typ);
            let before = self.find(key);
            if before.is_some_and(|m| m.implements()) {
                return;
            }
            let header = Header {
                key,
                rtype: Some(typ),
                verdict: Verdict::Yes,
            };
            let m = inner.write(header, &slots);
            match before {
                None => self.add(inner, m),
                Some(_) => self.exchange(inner, m),
            }
        });
    }

    /// Adds an entry of a new key (Go's `itabAdd`). The entry that finds three quarters of the slots
    /// filled doubles them first (R101).
    fn add(&self, inner: &mut Inner, m: Entry) {
        let mut slots = self.slots();
        if inner.count >= 3 * (slots.size() / 4) {
            let twice = Slots::leak(slots.size() * 2);
            for m in slots.iter() {
                twice.put(m);
            }
            self.current.store(twice.as_ptr(), Ordering::Release);
            slots = twice;
        }
        let before = slots.put(m);
        debug_assert!(before.is_none());
        inner.count += 1;
        inner.negatives += usize::from(!m.implements());
    }

    /// Exchanges a negative entry for another of its key.
    fn exchange(&self, inner: &mut Inner, m: Entry) {
        let before = self.slots().put(m).expect("there is one of this key");
        before.supersede();
        inner.negatives -= usize::from(m.implements());
    }

    /// Counts as they stand.
    pub fn stats(&self) -> Stats {
        self.lock.with(|inner| Stats {
            size: self.slots().size(),
            count: inner.count,
            negatives: inner.negatives,
            builds: inner.builds,
            compares: inner.compares,
        })
    }
}

impl Inner {
    const fn new() -> Self {
        Self {
            count: 0,
            negatives: 0,
            builds: 0,
            compares: 0,
            types: BTreeMap::new(),
            lately: [None; LATELY],
            inters: BTreeMap::new(),
            memory: Persistent::new(),
            scratch: Vec::new(),
        }
    }

    /// Builds a structural entry (Go's `itab.init`).
    fn build(&mut self, inter: &'static InterfaceType, typ: &'static RType) -> Entry {
        let mut typ = typ;
        if !typ.is_described() {
            typ = self.types.get(&typ.id()).copied().unwrap_or(typ);
        }
        let mut slots = mem::take(&mut self.scratch);
        slots.clear();
        let found = merge(
            inter.methods,
            typ.methods(),
            |_, fun| slots.push(Slot { fun }),
            || self.compares += 1,
        );
        let verdict = match found {
            Ok(()) => Verdict::Yes,
            Err(_) => {
                slots.clear();
                self.inters.insert(inter.id, inter);
                if typ.is_described() {
                    Verdict::No
                } else {
                    Verdict::NotYet
                }
            }
        };
        let header = Header {
            key: Key::new(&inter.id, typ.id_ref()),
            rtype: Some(typ),
            verdict,
        };
        let m = self.write(header, &slots);
        self.scratch = slots;
        m
    }

    fn write(&mut self, header: Header<'_>, slots: &[Slot]) -> Entry {
        self.builds += 1;
        let at = self.memory.take(Itab::bytes(slots.len()));
        // SAFETY: `take` gives that many bytes, aligned to 64, to nobody else, for ever.
        unsafe { Entry::write(at.cast(), header, slots) }
    }
}

/// Memory that is never given back, cut from chunks (Go's `persistentalloc`).
#[derive(Debug)]
struct Persistent {
    /// The rest of the newest chunk.
    next: NonNull<u8>,
    left: usize,
}

impl Persistent {
    const CHUNK: usize = 16 << 10;

    const fn new() -> Self {
        Self {
            next: NonNull::dangling(),
            left: 0,
        }
    }

    /// `size` bytes, a multiple of 64, aligned to 64.
    fn take(&mut self, size: usize) -> NonNull<u8> {
        debug_assert!(size.is_multiple_of(align_of::<Itab>()) && size > 0);
        if size > self.left {
            if size > Self::CHUNK / 4 {
                return Self::chunk(size);
            }
            self.next = Self::chunk(Self::CHUNK);
            self.left = Self::CHUNK;
        }
        let at = self.next;
        // SAFETY: `size <= left`, so the sum stays inside the chunk or one past its end.
        self.next = unsafe { at.add(size) };
        self.left -= size;
        at
    }

    fn chunk(size: usize) -> NonNull<u8> {
        let layout = Layout::from_size_align(size, align_of::<Itab>()).expect("a small size");
        // SAFETY: the size is not 0.
        let at = unsafe { alloc(layout) };
        NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout))
    }
}

impl fmt::Debug for ItabTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ItabTable")
            .field("stats", &self.stats())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod loom_models;
