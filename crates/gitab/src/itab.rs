//! One entry of the table: Go's `itab` (Go 1.19's `runtime/runtime2.go`), a header followed by code.
//!
//! ```text
//!            ┌───────────────────────────────┐ 0   (64-byte aligned)
//!            │ inter: TypeId                 │
//!            │ typ:   TypeId                 │
//!            ├───────────────┬───────────────┤ 32
//!            │ hash     u32  │ probe    u32  │
//!            ├───────────────┴───────────────┤ 40
//!            │ rtype: Option<&'static RType> │
//!            ├───────────────────────────────┤ 48
//!            │ verdict u8, len u16           │
//!            ├───────────────────────────────┤ 56
//!            │ fun[0], fun[1], .. fun[len-1] │
//!            └───────────────────────────────┘
//! ```
//!
//! Invariants
//! - An entry is written once, before it is published, and never freed. Nothing in it changes afterwards, but
//!   that a negative one is marked stale when another takes its place, for those who remember it.
//! - `verdict` plays the part of Go's `fun[0] != 0`: an interface without methods has no `fun[0]`.
//! - Of a structural entry that implements, `fun[k]` has the signature of the interface's method `k`
//!   and takes a receiver that points at a `typ`. Of a nominal one, `fun[0]` is the caster, a
//!   `fn(*mut ()) -> *mut I`, and `fun[1]` is the vtable word, or null where the word order was
//!   not proved.
//!
//! Rejected: `fun` as a separate allocation (one more load in every call).

use core::any::TypeId;
use core::fmt;
use core::ops::Deref;
use core::ptr::{self, NonNull};

use crate::method::Fun;
use crate::rtype::{RType, type_hash};
use crate::sync::{AtomicU8, Ordering};

/// What an entry is found by. Identities are borrowed from where they stand (a descriptor, a constant):
/// copied, they would be stored in halves and loaded whole, which stalls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'k> {
    pub(crate) inter: &'k TypeId,
    pub(crate) typ: &'k TypeId,
    /// Where the probe sequence begins.
    pub(crate) probe: u32,
}

impl<'k> Key<'k> {
    /// R106: the hash of the pair is the exclusive or of the two hashes.
    #[inline(always)]
    pub(crate) fn new(inter: &'k TypeId, typ: &'k TypeId) -> Self {
        Self {
            inter,
            typ,
            probe: type_hash(*inter) ^ type_hash(*typ),
        }
    }
}

/// The header of an entry of the interface table.
#[repr(C, align(64))]
pub(crate) struct Itab {
    // All fields but one: written by `Entry::write` before publication, read-only since.
    inter: TypeId,
    typ: TypeId,
    /// The type's hash, for type switches (R108).
    hash: u32,
    /// The pair's hash, so that growth need not compute it.
    probe: u32,
    /// None only where the value came as `dyn Any` and its type is unknown to the table.
    rtype: Option<&'static RType>,
    /// A [`Verdict`]. The one field that changes: from a negative verdict to `Stale`, under the table's lock,
    /// after the entry that supersedes this one has been published.
    verdict: AtomicU8,
    len: u16,
    /// Lets models see a read that publication does not order after the write.
    #[cfg(loom)]
    written: loom::cell::UnsafeCell<()>,
    fun: [Slot; 0],
}

/// Whether the type implements the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Verdict {
    /// It does.
    Yes = 0,
    /// It does not: a cached answer.
    No = 1,
    /// It does not, as far as could be told without knowing the type's methods.
    NotYet = 2,
    /// This entry answered one of the latter two, and a registration turned the answer: another entry has
    /// taken its place in the table.
    Stale = 3,
}

/// Code, or for a nominal entry's second slot a vtable.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union Slot {
    pub(crate) fun: Fun,
    pub(crate) word: *const (),
}

// SAFETY: an entry once shared is read-only but for an atomic; the pointers in it are to code and vtables,
// which are immutable and live for ever.
unsafe impl Send for Itab {}
// SAFETY: as above.
unsafe impl Sync for Itab {}

/// A published entry. Not a reference: slots lie behind the header, out of a reference's reach.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Entry(NonNull<Itab>);

// SAFETY: it gives shared access to an `Itab`, which is `Sync`.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

impl Entry {
    /// Writes an entry at `at`.
    ///
    /// # Safety
    /// `at` is the start of `Itab::bytes(slots.len())` bytes, aligned for `Itab`, valid for writes,
    /// not shared yet, and never freed.
    pub(crate) unsafe fn write(at: NonNull<Itab>, header: Header<'_>, slots: &[Slot]) -> Self {
        let len = u16::try_from(slots.len()).expect("an interface has fewer than 65,536 methods");
        // SAFETY: `at` is valid for the header by contract. The slots begin at `fun`, inside the
        // bytes that the contract grants, and `slots` cannot overlap memory that is not shared yet.
        // The header's 64 bytes reach over `fun[0]`, which is why the slots are written after it.
        unsafe {
            at.write(Itab {
                inter: *header.key.inter,
                typ: *header.key.typ,
                hash: type_hash(*header.key.typ),
                probe: header.key.probe,
                rtype: header.rtype,
                verdict: AtomicU8::new(header.verdict as u8),
                len,
                #[cfg(loom)]
                written: loom::cell::UnsafeCell::new(()),
                fun: [],
            });
            let fun = (&raw mut (*at.as_ptr()).fun).cast::<Slot>();
            ptr::copy_nonoverlapping(slots.as_ptr(), fun, slots.len());
        }
        Self(at)
    }

    /// The entry that [`as_ptr`](Self::as_ptr) gave.
    ///
    /// # Safety
    /// `at` came from `as_ptr`.
    #[inline]
    pub(crate) unsafe fn from_ptr(at: NonNull<Itab>) -> Self {
        Self(at)
    }

    #[inline]
    pub(crate) fn as_ptr(self) -> *mut Itab {
        self.0.as_ptr()
    }

    /// Slot `k`.
    ///
    /// # Safety
    /// `k` is below the number of slots that the entry was written with.
    #[inline]
    pub(crate) unsafe fn slot(self, k: usize) -> Slot {
        // SAFETY: the contract puts slot `k` inside the entry, whose provenance `self.0` carries.
        unsafe {
            (&raw const (*self.0.as_ptr()).fun)
                .cast::<Slot>()
                .add(k)
                .read()
        }
    }
}

impl Deref for Entry {
    type Target = Itab;

    #[inline]
    fn deref(&self) -> &Itab {
        // SAFETY: `write` initialised the header, and nothing changes or frees it afterwards.
        unsafe { self.0.as_ref() }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The fields of an entry about to be built.
#[derive(Clone, Copy)]
pub(crate) struct Header<'k> {
    pub(crate) key: Key<'k>,
    pub(crate) rtype: Option<&'static RType>,
    pub(crate) verdict: Verdict,
}

impl Itab {
    /// Bytes that an entry with `len` slots takes, header included.
    pub(crate) const fn bytes(len: usize) -> usize {
        (core::mem::offset_of!(Self, fun) + len * size_of::<Slot>())
            .next_multiple_of(align_of::<Self>())
    }

    #[inline(always)]
    pub(crate) fn is(&self, key: Key<'_>) -> bool {
        #[cfg(loom)]
        self.written.with(|_| ());
        self.typ == *key.typ && self.inter == *key.inter
    }

    /// Whether the type half is this one.
    #[inline(always)]
    pub(crate) fn is_of(&self, typ: &TypeId) -> bool {
        #[cfg(loom)]
        self.written.with(|_| ());
        self.typ == *typ
    }

    #[inline]
    pub(crate) fn key(&self) -> Key<'_> {
        Key {
            inter: &self.inter,
            typ: &self.typ,
            probe: self.probe,
        }
    }

    /// The type half of the pair.
    #[inline]
    pub(crate) fn type_id(&self) -> TypeId {
        self.typ
    }

    /// The same, where it stands.
    #[inline]
    pub(crate) fn type_id_ref(&self) -> &TypeId {
        &self.typ
    }

    /// The type half's hash.
    #[inline]
    pub(crate) fn hash(&self) -> u32 {
        self.hash
    }

    /// The type half, if the table knows it.
    #[inline]
    pub(crate) fn rtype(&self) -> Option<&'static RType> {
        self.rtype
    }

    /// Whether the type implements the interface; if not, this entry caches that answer.
    #[inline]
    pub(crate) fn verdict(&self) -> Verdict {
        // Relaxed: what it was first is published with the entry. For what it becomes see `supersede`.
        match self.verdict.load(Ordering::Relaxed) {
            0 => Verdict::Yes,
            1 => Verdict::No,
            2 => Verdict::NotYet,
            _ => Verdict::Stale,
        }
    }

    /// Marks a negative entry whose place another has taken. The caller holds the table's lock.
    pub(crate) fn supersede(&self) {
        debug_assert!(!self.implements());
        // Relaxed: whoever comes after the registration sees the mark; and whoever sees the mark, but not yet the
        // other entry in the table, asks under the table's lock.
        self.verdict.store(Verdict::Stale as u8, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn implements(&self) -> bool {
        self.verdict() == Verdict::Yes
    }
}

impl fmt::Debug for Itab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Itab")
            .field("type", &self.rtype.map(RType::name))
            .field("verdict", &self.verdict())
            .field("slots", &self.len)
            .finish_non_exhaustive()
    }
}
