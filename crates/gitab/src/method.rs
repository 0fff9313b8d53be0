//! Methods: what an interface asks for, what a type offers, and the merge that compares the two.
//!
//! Re-creates `imethod`, `method` and the loop of `itab.init` in Go 1.19's `runtime/iface.go`.
//!
//! Invariants
//! - Both lists are sorted by name, and a name occurs once in a list. [`sorted`] and
//!   [`sorted_methods`] establish this while the program is compiled.
//! - A signature is the [`TypeId`] of the erased function pointer type, receiver included, so equal
//!   signatures mean equal calling convention, argument types, lifetimes and receiver mutability.
//!   Names of types are never compared.
//!
//! Rejected: comparing signatures by their text (two crates may have a `Config` each), and hashing
//! names (a merge over sorted names needs no hash and says which method is missing).

use core::any::TypeId;
use core::cmp::Ordering;
use core::fmt;
use core::marker::PhantomData;
use core::mem::size_of;
use core::ptr::NonNull;

/// A method's code with its signature forgotten. It is called only after being turned back into the
/// function pointer type that it was made from.
pub(crate) type Fun = unsafe fn();

/// The receiver of a `&self` method: the address of some value, alive and shared for `'a`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Recv<'a>(NonNull<()>, PhantomData<&'a ()>);

/// The receiver of a `&mut self` method: the address of some value, borrowed exclusively for `'a`.
#[derive(Debug)]
#[repr(transparent)]
pub struct RecvMut<'a>(NonNull<()>, PhantomData<&'a mut ()>);

impl<'a> Recv<'a> {
    pub(crate) const fn new(data: NonNull<()>) -> Self {
        Self(data, PhantomData)
    }

    /// The receiver as a reference.
    ///
    /// # Safety
    /// The value behind this receiver is a `T`.
    #[must_use]
    pub const unsafe fn get<T>(self) -> &'a T {
        // SAFETY: the value lives and is shared for 'a by construction (`Iface::recv`), and the
        // caller says that it is a T.
        unsafe { self.0.cast::<T>().as_ref() }
    }
}

impl<'a> RecvMut<'a> {
    pub(crate) const fn new(data: NonNull<()>) -> Self {
        Self(data, PhantomData)
    }

    /// The receiver as a reference.
    ///
    /// # Safety
    /// The value behind this receiver is a `T`.
    #[must_use]
    pub const unsafe fn get<T>(self) -> &'a mut T {
        // SAFETY: the value lives and is borrowed exclusively for 'a by construction
        // (`IfaceMut::recv`), `self` is consumed, and the caller says that it is a T.
        unsafe { self.0.cast::<T>().as_mut() }
    }
}

/// A method that an interface asks for (Go's `imethod`).
#[derive(Clone, Copy)]
pub struct IMethod {
    name: &'static str,
    /// The first eight bytes of the name, as a number that sorts as they do.
    head: u64,
    signature: TypeId,
    signature_name: fn() -> &'static str,
}

impl IMethod {
    /// A method called `name` whose erased function pointer type is `F`.
    ///
    /// # Panics
    /// If the name holds a zero byte.
    #[must_use]
    pub const fn new<F: 'static>(name: &'static str) -> Self {
        Self {
            name,
            head: head(name),
            signature: TypeId::of::<F>(),
            signature_name: core::any::type_name::<F>,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The text of its erased signature, for people.
    #[must_use]
    pub fn signature(&self) -> &'static str {
        (self.signature_name)()
    }

    /// Compares names. Most comparisons of a merge end at the first eight bytes.
    fn cmp_name(&self, other: &Self) -> Ordering {
        match self.head.cmp(&other.head) {
            Ordering::Equal if self.name.len() > 8 || other.name.len() > 8 => {
                self.name.cmp(other.name)
            }
            // Names hold no zero byte, so heads of short names are equal if the names are.
            decided => decided,
        }
    }
}

/// The first eight bytes of a name, the first on top, zeros behind a shorter one.
///
/// # Panics
/// If there is a zero byte among them, which would pass for the end.
const fn head(name: &str) -> u64 {
    let name = name.as_bytes();
    let (mut head, mut i) = (0, 0);
    while i < 8 {
        head <<= 8;
        if i < name.len() {
            assert!(name[i] != 0, "a name holds no zero byte");
            head |= name[i] as u64;
        }
        i += 1;
    }
    head
}

impl fmt::Debug for IMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.signature())
    }
}

/// A method that a type offers (Go's `method`): what is asked for, and the code.
#[derive(Clone, Copy)]
pub struct Method {
    method: IMethod,
    fun: Fun,
}

impl Method {
    /// A method called `name`, run by `fun`.
    ///
    /// # Panics
    /// If the name holds a zero byte, or `F` is no function pointer.
    ///
    /// # Safety
    /// `F` is `unsafe fn(Recv<'_>, ..) -> ..` or `unsafe fn(RecvMut<'_>, ..) -> ..`, and `fun` may be
    /// called with any receiver that points at a value of the type whose method set this goes into.
    #[must_use]
    pub const unsafe fn new<F: Copy + 'static>(name: &'static str, fun: F) -> Self {
        union Erase<F: Copy> {
            typed: F,
            erased: Fun,
        }
        assert!(
            size_of::<F>() == size_of::<Fun>(),
            "F is a function pointer"
        );
        Self {
            method: IMethod::new::<F>(name),
            // SAFETY: both are function pointers of the same size (F by the caller's word), so the
            // bytes of one are a valid value of the other.
            fun: unsafe { Erase { typed: fun }.erased },
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.method.name
    }

    /// The text of its erased signature, for people.
    #[must_use]
    pub fn signature(&self) -> &'static str {
        self.method.signature()
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.method.fmt(f)
    }
}

const fn less(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() {
        if a[i] != b[i] {
            return a[i] < b[i];
        }
        i += 1;
    }
    a.len() < b.len()
}

macro_rules! sort_by_name {
    ($list:ident) => {{
        let mut i = 1;
        while i < $list.len() {
            let mut j = i;
            while j > 0 && less($list[j].name(), $list[j - 1].name()) {
                $list.swap(j, j - 1);
                j -= 1;
            }
            assert!(
                j == 0 || less($list[j - 1].name(), $list[j].name()),
                "a method is listed twice"
            );
            i += 1;
        }
        $list
    }};
}

/// Sorts what an interface asks for, in a constant.
///
/// # Panics
/// If a name occurs twice; in a constant this is a compile error.
#[must_use]
pub const fn sorted<const N: usize>(mut list: [IMethod; N]) -> [IMethod; N] {
    sort_by_name!(list)
}

/// Sorts what a type offers, in a constant.
///
/// # Panics
/// If a name occurs twice; in a constant this is a compile error.
#[must_use]
pub const fn sorted_methods<const N: usize>(mut list: [Method; N]) -> [Method; N] {
    sort_by_name!(list)
}

/// Where `name` stands in a sorted list, in a constant.
///
/// # Panics
/// If it does not occur; in a constant this is a compile error.
#[must_use]
pub const fn index_of(list: &[IMethod], name: &str) -> usize {
    let mut i = 0;
    while i < list.len() {
        if !less(list[i].name, name) && !less(name, list[i].name) {
            return i;
        }
        i += 1;
    }
    panic!("no such method");
}

/// Why a type does not implement an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Where the method stands in the interface.
    pub(crate) index: usize,
    /// The type has a method of that name with another signature.
    pub(crate) other_signature: bool,
}

/// Finds every method of `inter` in `typ` and hands over its code, in the order of `inter`.
///
/// Both are sorted, so neither index ever goes back: at most `inter.len() + typ.len()` names are
/// compared (R103). `steps`, where given, counts them.
pub(crate) fn merge(
    inter: &[IMethod],
    typ: &[Method],
    mut found: impl FnMut(usize, Fun),
    mut step: impl FnMut(),
) -> Result<(), Missing> {
    let mut rest = typ.iter();
    for (index, want) in inter.iter().enumerate() {
        let missing = Missing {
            index,
            other_signature: false,
        };
        loop {
            let have = rest.next().ok_or(missing)?;
            step();
            match have.method.cmp_name(want) {
                Ordering::Less => {}
                Ordering::Equal if have.method.signature == want.signature => {
                    found(index, have.fun);
                    break;
                }
                Ordering::Equal => {
                    return Err(Missing {
                        other_signature: true,
                        ..missing
                    });
                }
                Ordering::Greater => return Err(missing),
            }
        }
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    type A = unsafe fn(Recv<'_>);
    type B = unsafe fn(RecvMut<'_>);
    unsafe fn a(_: Recv<'_>) {}
    unsafe fn b(_: RecvMut<'_>) {}

    fn offered(name: &'static str, exclusive: bool) -> Method {
        if exclusive {
            // SAFETY: `b` ignores its receiver.
            unsafe { Method::new::<B>(name, b) }
        } else {
            // SAFETY: `a` ignores its receiver.
            unsafe { Method::new::<A>(name, a) }
        }
    }

    fn asked(name: &'static str, exclusive: bool) -> IMethod {
        if exclusive {
            IMethod::new::<B>(name)
        } else {
            IMethod::new::<A>(name)
        }
    }

    const NAMES: [&str; 16] = [
        "",
        "a",
        "aa",
        "ab",
        "b",
        "ba",
        "close",
        "read",
        "read_all",
        "read_all_of",
        "read_all_to",
        "reader",
        "seek",
        "write",
        "write_it",
        "é",
    ];

    fn pick(set: &[(usize, bool)]) -> Vec<(&'static str, bool)> {
        let mut all: Vec<_> = set.iter().map(|&(i, e)| (NAMES[i], e)).collect();
        all.sort_by_key(|&(n, _)| n);
        all.dedup_by_key(|&mut (n, _)| n);
        all
    }

    proptest! {
        /// R103: the merge answers as the naive double loop does, and within n + m comparisons.
        #[test]
        fn r103_merge_agrees_with_a_naive_search(
            inter in prop::collection::vec((0..NAMES.len(), any::<bool>()), 0..8),
            typ in prop::collection::vec((0..NAMES.len(), any::<bool>()), 0..12),
        ) {
            let (inter, typ) = (pick(&inter), pick(&typ));
            let wanted: Vec<_> = inter.iter().map(|&(n, e)| asked(n, e)).collect();
            let methods: Vec<_> = typ.iter().map(|&(n, e)| offered(n, e)).collect();
            let naive = inter.iter().position(|m| !typ.contains(m)).map(|index| Missing {
                index,
                other_signature: typ.iter().any(|t| t.0 == inter[index].0),
            });
            let (mut filled, mut steps) = (Vec::new(), 0);
            let got = merge(&wanted, &methods, |i, f| filled.push((i, f)), || steps += 1);
            prop_assert_eq!(got.err(), naive);
            prop_assert!(steps <= wanted.len() + methods.len());
            if naive.is_none() {
                prop_assert_eq!(filled.len(), wanted.len());
                for (k, (i, f)) in filled.into_iter().enumerate() {
                    prop_assert_eq!(k, i);
                    let want = offered(inter[k].0, inter[k].1).fun;
                    prop_assert!(core::ptr::fn_addr_eq(f, want));
                }
            }
        }

        /// R98: whatever the order in which methods are written, the list is sorted by name.
        #[test]
        fn r98_lists_are_sorted_by_name(order in Just([0usize, 1, 2, 3, 4, 5]).prop_shuffle()) {
            let list = sorted(order.map(|i| asked(NAMES[i], false)));
            let names: Vec<String> = list.iter().map(|m| m.name().into()).collect();
            prop_assert_eq!(&names, &NAMES[..6]);
            for (i, m) in list.iter().enumerate() {
                prop_assert_eq!(index_of(&list, m.name()), i);
            }
        }
    }

    #[test]
    #[should_panic(expected = "listed twice")]
    fn a_name_listed_twice_is_refused() {
        let _ = sorted([asked("x", false), asked("y", false), asked("x", true)]);
    }

    /// How lifetimes are written is no part of a signature: by name or not, and in what order.
    #[test]
    fn signatures_are_equal_however_lifetimes_are_named() {
        let all = [
            IMethod::new::<unsafe fn(Recv<'_>, &str, &u8)>("f").signature,
            IMethod::new::<for<'a> unsafe fn(Recv<'a>, &str, &u8)>("f").signature,
            IMethod::new::<for<'b, 'a> unsafe fn(Recv<'_>, &'a str, &'b u8)>("f").signature,
            IMethod::new::<for<'a, 'b> unsafe fn(Recv<'_>, &'a str, &'b u8)>("f").signature,
        ];
        assert_eq!(all, [all[0]; 4]);
    }

    /// Signatures are types: a lifetime is part of them, and so is the receiver.
    #[test]
    fn signatures_differ_by_lifetime_and_receiver() {
        type Any = for<'a> unsafe fn(Recv<'_>, &'a str);
        type Static = unsafe fn(Recv<'_>, &'static str);
        let all = [
            IMethod::new::<Any>("f").signature,
            IMethod::new::<Static>("f").signature,
            IMethod::new::<A>("f").signature,
            IMethod::new::<B>("f").signature,
        ];
        for (i, x) in all.iter().enumerate() {
            for y in &all[i + 1..] {
                assert_ne!(x, y);
            }
        }
    }
}
