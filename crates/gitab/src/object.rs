//! Values that know their own type, and assertions from them to any registered `dyn Trait`.
//!
//! The nominal layer: ordinary Rust traits. [`implements!`](crate::implements) puts an entry into the
//! table whose first slot is a caster, the unsizing coercion `*mut T -> *mut dyn A` as a function.
//! An assertion finds the entry by the pair of type identities and runs the caster on the value's
//! address.
//!
//! Why it is sound
//! - A caster is keyed by both types. It is stored by [`Caster::register`], which knows both, under
//!   the key made of both, and called by [`cast`] under the same key; `T` is the value's own type by
//!   the contract of [`Object`].
//! - A caster only attaches a vtable, by the contract of [`Caster::new`]: the macro writes it as a
//!   coercion between pointers to mut, which can do nothing else.
//! - What comes back addresses the same value and carries the vtable of the value's own type, which is
//!   what `Box::from_raw`, `Rc::from_raw` and `Arc::from_raw` ask of a pointer after unsizing.
//!
//! What a pair goes by unless more is known of it is the caster, and it is an indirect call: where types alternate,
//! one that is mispredicted, after a chain of loads. So registration runs the caster on two made-up addresses and
//! looks at the words of what comes back. If the first word is the address and the second the same pointer both
//! times, then pointers to this `dyn A` are (address, vtable), the vtable is kept in the entry, and a lookup puts
//! the two together; if not, the caster goes on being called. No assumption is made about pairs that were not
//! looked at. Without the feature `rebuild`, on by default, casters are always called.
//!
//! Rejected: `TypeId`-keyed maps of boxed casters checked by `Any` (a virtual call and a second
//! comparison each), transmuting trait objects by an assumed layout, and casters from `&dyn Any`
//! (they cannot serve `Box`, `Rc` and `Arc` without four more functions per pair).

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::any::{Any, TypeId};
use core::fmt;
use core::mem::{MaybeUninit, transmute, transmute_copy};
use core::ptr;

use crate::error::TypeAssertionError;
use crate::global::itab_table;
use crate::itab::{Entry, Key, Slot};
use crate::method::Fun;
use crate::rtype::RType;

/// A value that can be asked for its type: every `'static` type, `dyn Any`, and `dyn A` for every trait
/// `A: Object`.
///
/// ```
/// use gitab::{Assert, Object};
///
/// trait Part: Object {}
/// struct Door;
/// impl Part for Door {}
///
/// trait Open { fn open(&self) -> &str; }
/// impl Open for Door { fn open(&self) -> &str { "creak" } }
/// gitab::implements!(Door: dyn Open);
///
/// let part: &dyn Part = &Door;
/// assert_eq!(part.assert::<dyn Open>().unwrap().open(), "creak");
/// ```
///
/// # Safety
/// `dynamic_type` names the type of the value at the address of `self`, and what `dynamic_rtype` gives describes it.
pub unsafe trait Object: 'static {
    /// The type of this very value.
    fn dynamic_type(&self) -> TypeId;
    /// Its descriptor, where that is known.
    fn dynamic_rtype(&self) -> Option<&'static RType>;
}

// SAFETY: a sized value's dynamic type is its static type, which `RType::of` describes.
unsafe impl<T: 'static> Object for T {
    #[inline]
    fn dynamic_type(&self) -> TypeId {
        TypeId::of::<T>()
    }

    #[inline]
    fn dynamic_rtype(&self) -> Option<&'static RType> {
        Some(RType::of::<T>())
    }
}

macro_rules! object_for_any {
    ($($any:ty),*) => {$(
        // SAFETY: `Any::type_id` through the vtable names the type of the value behind it, and the table finds the
        // descriptor of that identity.
        unsafe impl Object for $any {
            #[inline]
            fn dynamic_type(&self) -> TypeId {
                Any::type_id(self)
            }

            fn dynamic_rtype(&self) -> Option<&'static RType> {
                itab_table().rtype(Any::type_id(self))
            }
        }
    )*};
}
object_for_any!(
    dyn Any,
    dyn Any + Send,
    dyn Any + Sync,
    dyn Any + Send + Sync
);

/// The registration of one pair, made by [`implements!`](crate::implements).
pub struct Caster {
    key: fn() -> Key<'static>,
    typ: &'static RType,
    cast: Fun,
    /// Reads the vtable word off the caster, where the word order can be proved.
    vtable: fn(Fun) -> *const (),
}

impl Caster {
    /// The caster of `T` to `I`.
    ///
    /// # Safety
    /// `cast` is the unsizing coercion: it returns its argument, with the metadata that makes a `T` an
    /// `I`.
    #[must_use]
    pub const unsafe fn new<T: 'static, I: ?Sized + 'static>(cast: fn(*mut ()) -> *mut I) -> Self {
        Self {
            key: || Key::new(const { &TypeId::of::<I>() }, const { &TypeId::of::<T>() }),
            typ: RType::of::<T>(),
            // SAFETY: both are function pointers; it is turned back before it is called.
            cast: unsafe { transmute::<fn(*mut ()) -> *mut I, Fun>(cast) },
            vtable: |cast| {
                // SAFETY: `cast` is the field beside this one, which `new::<T, I>` made from this type.
                prove::<I>(unsafe { transmute::<Fun, fn(*mut ()) -> *mut I>(cast) })
            },
        }
    }

    /// Puts the pair into the table. Doing so twice changes nothing.
    pub fn register(&self) {
        let word = (self.vtable)(self.cast);
        let slots = [Slot { fun: self.cast }, Slot { word }];
        itab_table().register_pair((self.key)(), self.typ, slots);
    }
}

impl fmt::Debug for Caster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caster")
            .field("type", &self.typ.name())
            .finish_non_exhaustive()
    }
}

type Words = [*const (); 2];

/// The vtable word, if pointers that `cast` makes are (address, vtable); else null.
fn prove<I: ?Sized>(cast: fn(*mut ()) -> *mut I) -> *const () {
    if size_of::<*const I>() != size_of::<Words>() {
        return ptr::null();
    }
    let words = |address: usize| -> Words {
        let wide = cast(ptr::without_provenance_mut(address));
        // SAFETY: the sizes are equal (checked above), and a pointer to a slice or trait object has
        // no padding and no uninitialised word: its halves are an address and a length or vtable,
        // either of which is a valid `*const ()`.
        unsafe { transmute_copy(&wide) }
    };
    const PROBES: [usize; 2] = [1 << 12, 3 << 12];
    let [a, b] = PROBES.map(words);
    let proved = a[0].addr() == PROBES[0] && b[0].addr() == PROBES[1] && a[1] == b[1];
    if proved { a[1] } else { ptr::null() }
}

/// The value at `data` as an `I`, given the entry of its type and `I`.
///
/// # Safety
/// `m` is a positive nominal entry under the key of `I` and the type of the value at `data`.
#[inline]
unsafe fn cast<I: ?Sized>(m: Entry, data: *const ()) -> *const I {
    if cfg!(feature = "rebuild") && size_of::<*const I>() == size_of::<Words>() {
        // SAFETY: a positive nominal entry has two slots, of which the second is a word.
        let vtable = unsafe { m.slot(1).word };
        if !vtable.is_null() {
            let words: MaybeUninit<Words> = MaybeUninit::new([data, vtable]);
            // SAFETY: the sizes are equal, and `prove` found for this very pair that a `*const I` made
            // by its caster is its address followed by this vtable.
            return unsafe { transmute_copy(&words) };
        }
    }
    // SAFETY: the first slot of a positive nominal entry is the caster that was registered under
    // this key, whose type `Caster::new` forgot.
    let cast = unsafe { transmute::<Fun, fn(*mut ()) -> *mut I>(m.slot(0).fun) };
    cast(data.cast_mut()).cast_const()
}

#[inline(always)]
fn find<I: ?Sized + 'static>(typ: &TypeId) -> Option<Entry> {
    let key = Key::new(const { &TypeId::of::<I>() }, typ);
    itab_table().nominal(key)
}

#[cold]
fn refused<S: ?Sized + Object, I: ?Sized + 'static>(value: &S) -> TypeAssertionError {
    TypeAssertionError::not_registered(
        S::dynamic_rtype(value).map(RType::name),
        core::any::type_name::<I>(),
    )
}

/// The value at `data`, of type `typ`, as an `I`: what [`Eface`](crate::Eface) uses.
#[inline(always)]
pub(crate) fn cast_to<I: ?Sized + 'static>(typ: &TypeId, data: *const ()) -> Option<*const I> {
    // SAFETY: `find` looked under the key of `I` and `typ`, and returns positive entries only.
    find::<I>(typ).map(|m| unsafe { cast(m, data) })
}

/// Assertions from a reference or smart pointer to a registered `dyn Trait`.
///
/// The pointer kind stays: `&S` gives `&dyn A`, `Box<S>` gives `Box<dyn A>`, and so on. Owning pointers
/// that cannot be asserted come back as the error. Write `(*boxed).assert()` or
/// `boxed.as_ref().assert()` to borrow from a smart pointer instead of consuming it.
///
/// ```
/// use gitab::Assert;
/// use std::{any::Any, fmt::Debug, rc::Rc, sync::Arc};
///
/// trait Speak { fn speak(&self) -> String; }
/// trait Rename { fn rename(&mut self, to: &str); }
/// #[derive(Debug)]
/// struct Dog(String);
/// impl Speak for Dog { fn speak(&self) -> String { format!("{}: woof", self.0) } }
/// impl Rename for Dog { fn rename(&mut self, to: &str) { self.0 = to.into(); } }
/// gitab::implements!(Dog: dyn Speak, dyn Rename, dyn Debug);
///
/// let mut dog = Dog("Rex".into());
/// let any: &mut dyn Any = &mut dog;
/// any.assert::<dyn Rename>().unwrap().rename("Fido");
/// let any: &dyn Any = &dog;
/// assert_eq!(any.assert::<dyn Speak>().unwrap().speak(), "Fido: woof");
/// assert!(any.assert::<dyn Send>().is_none(), "not registered");
///
/// let owned: Box<dyn Any> = Box::new(dog);
/// let owned: Box<dyn Speak> = owned.assert().unwrap();
/// assert_eq!(owned.speak(), "Fido: woof");
/// let shared: Arc<dyn Any + Send + Sync> = Arc::new(5u8);
/// assert!(shared.assert::<dyn Speak>().is_err());
/// let counted: Rc<dyn Any> = Rc::new(Dog("Rex".into()));
/// assert_eq!(format!("{:?}", counted.assert::<dyn Debug>().unwrap()), r#"Dog("Rex")"#);
/// ```
///
/// The lifetime of the result is the lifetime of the borrow:
///
/// ```compile_fail,E0597
/// # use gitab::Assert;
/// # trait Speak {}
/// let kept: Option<&dyn Speak>;
/// {
///     let dog = 5u8;
///     kept = (&dog).assert::<dyn Speak>();
/// }
/// drop(kept);
/// ```
pub trait Assert: Sized {
    /// What the assertion to `I` gives.
    type Asserted<I: ?Sized + 'static>;

    /// This value as an `I`, Go's `x, ok := v.(I)`. Complexity: constant.
    fn assert<I: ?Sized + 'static>(self) -> Self::Asserted<I>;
}

impl<'a, S: ?Sized + Object> Assert for &'a S {
    type Asserted<I: ?Sized + 'static> = Option<&'a I>;

    #[inline]
    fn assert<I: ?Sized + 'static>(self) -> Option<&'a I> {
        let p = cast_to::<I>(&S::dynamic_type(self), ptr::from_ref(self).cast())?;
        // SAFETY: `p` is `self` with another vtable (see `cast`), so it is valid as long as `self`.
        Some(unsafe { &*p })
    }
}

impl<'a, S: ?Sized + Object> Assert for &'a mut S {
    type Asserted<I: ?Sized + 'static> = Option<&'a mut I>;

    #[inline]
    fn assert<I: ?Sized + 'static>(self) -> Option<&'a mut I> {
        let typ = S::dynamic_type(self);
        let p = cast_to::<I>(&typ, ptr::from_mut(self).cast::<()>().cast_const())?;
        // SAFETY: `p` is `self`, consumed here, with another vtable. Its provenance is that of the
        // exclusive reference: passing through `*const` changes nothing of it.
        Some(unsafe { &mut *p.cast_mut() })
    }
}

impl<S: ?Sized + Object> Assert for Box<S> {
    type Asserted<I: ?Sized + 'static> = Result<Box<I>, Self>;

    #[inline]
    fn assert<I: ?Sized + 'static>(self) -> Result<Box<I>, Self> {
        let Some(m) = find::<I>(&S::dynamic_type(&self)) else {
            return Err(self);
        };
        let data = Box::into_raw(self).cast::<()>().cast_const();
        // SAFETY: `m` is the positive entry of `I` and the type of the value at `data`.
        let p = unsafe { cast::<I>(m, data) };
        // SAFETY: the pointer came from `Box::into_raw` and carries the vtable of the value's own
        // type, hence the size and alignment that the box was allocated with.
        Ok(unsafe { Box::from_raw(p.cast_mut()) })
    }
}

macro_rules! assert_for_counted {
    ($($rc:ident),*) => {$(
        impl<S: ?Sized + Object> Assert for $rc<S> {
            type Asserted<I: ?Sized + 'static> = Result<$rc<I>, Self>;

            #[inline]
            fn assert<I: ?Sized + 'static>(self) -> Result<$rc<I>, Self> {
                let Some(m) = find::<I>(&S::dynamic_type(&self)) else {
                    return Err(self);
                };
                let data = $rc::into_raw(self).cast::<()>();
                // SAFETY: `m` is the positive entry of `I` and the type of the value at `data`.
                let p = unsafe { cast::<I>(m, data) };
                // SAFETY: the pointer came from `into_raw` and differs from it by an unsizing coercion,
                // which `from_raw` allows; the count that `into_raw` kept goes over to it.
                Ok(unsafe { $rc::from_raw(p) })
            }
        }
    )*};
}
assert_for_counted!(Rc, Arc);

/// This value as an `I`, Go's `v.(I)` with its panic.
///
/// ```should_panic
/// let n: &dyn std::any::Any = &5u8;
/// let _ = gitab::expect_dyn::<_, dyn std::fmt::Write>(n);
/// ```
///
/// # Panics
/// With a [`TypeAssertionError`] as message, if the type of the value was not registered for `I`.
#[must_use]
#[track_caller]
pub fn expect_dyn<S: ?Sized + Object, I: ?Sized + 'static>(value: &S) -> &I {
    match value.assert::<I>() {
        Some(v) => v,
        None => panic!("{}", refused::<S, I>(value)),
    }
}

/// This value as an `I`, or the error that Go would panic with.
///
/// # Errors
/// If the type of the value was not registered for `I`.
pub fn try_dyn<S: ?Sized + Object, I: ?Sized + 'static>(
    value: &S,
) -> Result<&I, TypeAssertionError> {
    value.assert::<I>().ok_or_else(|| refused::<S, I>(value))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::fmt::Debug;

    /// A word is kept only where the words of what the caster returns are the address and one vtable.
    #[test]
    fn a_vtable_is_kept_only_if_the_word_order_is_proved() {
        let word = prove::<dyn Debug>(|p| p.cast::<u8>() as *mut dyn Debug);
        assert!(!word.is_null());
        assert_eq!(
            word,
            prove::<dyn Debug>(|p| p.cast::<u8>() as *mut dyn Debug)
        );
        // The address is not where it was looked for.
        assert!(prove::<dyn Debug>(|_| ptr::null_mut::<u8>() as *mut dyn Debug).is_null());
        assert!(prove::<dyn Debug>(|p| p.cast::<u8>().wrapping_add(1) as *mut dyn Debug).is_null());
        // It is there for the first of the two addresses alone.
        assert!(
            prove::<dyn Debug>(|_| ptr::without_provenance_mut::<u8>(1 << 12) as *mut dyn Debug)
                .is_null()
        );
        // The other word depends on the address.
        assert!(
            prove::<dyn Debug>(|p| if p.addr() > 1 << 12 {
                p.cast::<u8>() as *mut dyn Debug
            } else {
                p.cast::<u16>() as *mut dyn Debug
            })
            .is_null()
        );
        // It is no wide pointer.
        assert!(prove::<u8>(|p| p.cast()).is_null());
    }

    /// A pair whose word order was not proved goes by its caster, with the feature `rebuild` or without.
    #[test]
    fn a_pair_without_a_vtable_goes_by_its_caster() {
        struct Own(u8);
        let table = itab_table();
        let key = Key::new(
            const { &TypeId::of::<dyn Debug>() },
            const { &TypeId::of::<Own>() },
        );
        fn caster(p: *mut ()) -> *mut dyn Debug {
            p.cast::<u8>() as *mut dyn Debug
        }
        // SAFETY: a function pointer, turned back by `cast` before it is called; an `Own` begins with a u8.
        let fun = unsafe { transmute::<fn(*mut ()) -> *mut dyn Debug, Fun>(caster as fn(_) -> _) };
        table.register_pair(
            key,
            RType::of::<Own>(),
            [Slot { fun }, Slot { word: ptr::null() }],
        );
        let own = Own(7);
        let debug = (&own).assert::<dyn Debug>().expect("registered");
        assert_eq!(std::format!("{debug:?}"), "7");
        assert_eq!(own.0, 7);
    }
}
