//! A value of any type: Go's `eface`, two words, the type and the address.
//!
//! [`Eface`] borrows the value shared, [`EfaceMut`] exclusively. Go's nil interface is `Option<Eface>`,
//! two words as well.
//!
//! Invariant: `data` is the address of a live `typ`, borrowed (shared or exclusively) for `'a`.

use core::any::{Any, TypeId};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::error::TypeAssertionError;
use crate::iface::{Iface, IfaceMut, Interface, entry, missing};
use crate::object::{Object, cast_to};
use crate::rtype::{Describe, RType, is_case, type_hash};

/// A shared reference to a value of any type, which knows the type.
///
/// ```
/// use gitab::Eface;
///
/// assert_eq!(size_of::<Option<Eface>>(), 2 * size_of::<usize>());
/// let n = 7i32;
/// let e = Eface::new(&n);
/// assert_eq!(e.downcast::<i32>(), Some(&7));
/// assert_eq!(e.downcast::<u32>(), None);
/// assert_eq!(e.comma_ok::<u32>(), (0, false), "the zero value, as in Go");
/// ```
///
/// It is not `Send`, because what it borrows need not be `Sync`:
///
/// ```compile_fail,E0277
/// let n = std::cell::Cell::new(1);
/// let e = gitab::Eface::opaque(&n);
/// std::thread::scope(|s| s.spawn(move || e.is::<u8>()).join().unwrap());
/// ```
///
/// The type owns what it holds or borrows it for ever, because an identity says nothing of lifetimes:
///
/// ```compile_fail,E0597
/// let text = String::from("short");
/// let borrowed: &str = &text;
/// let e = gitab::Eface::opaque(&borrowed); // a `&'a str`, which is not 'static
/// ```
#[derive(Clone, Copy)]
pub struct Eface<'a> {
    typ: &'static RType,
    data: NonNull<()>,
    life: PhantomData<&'a ()>,
}

impl<'a> Eface<'a> {
    /// A value of a described type.
    #[must_use]
    #[inline]
    pub const fn new<T: Describe>(value: &'a T) -> Self {
        Self {
            typ: RType::of_described::<T>(),
            data: NonNull::from_ref(value).cast(),
            life: PhantomData,
        }
    }

    /// A value of any type. Its methods are found if [`register_type`](crate::register_type) has
    /// made them known.
    #[must_use]
    #[inline]
    pub const fn opaque<T: 'static>(value: &'a T) -> Self {
        Self {
            typ: RType::of::<T>(),
            data: NonNull::from_ref(value).cast(),
            life: PhantomData,
        }
    }

    /// The value behind a `dyn Any`, if its type was registered (by [`register_type`](crate::register_type)
    /// or [`implements!`](crate::implements)), or behind a `dyn A` of any trait `A: Object`. Its methods are found
    /// as [`opaque`](Self::opaque)'s are. Complexity: for a `dyn Any` a search under the table's lock.
    ///
    /// ```
    /// use gitab::{Eface, Object};
    ///
    /// trait Part: Object {}
    /// struct Lamp;
    /// impl Part for Lamp {}
    ///
    /// let parts: Vec<Box<dyn Part>> = vec![Box::new(Lamp)];
    /// assert!(Eface::from_any(&*parts[0]).unwrap().is::<Lamp>());
    /// ```
    #[must_use]
    pub fn from_any<S: ?Sized + Object>(value: &'a S) -> Option<Self> {
        let typ = S::dynamic_rtype(value)?;
        // The value's own descriptor, by the contract of `Object`.
        Some(Self::from_parts(typ, NonNull::from_ref(value).cast()))
    }

    #[inline]
    pub(crate) const fn from_parts(typ: &'static RType, data: NonNull<()>) -> Self {
        Self {
            typ,
            data,
            life: PhantomData,
        }
    }

    /// The value's type.
    #[must_use]
    #[inline]
    pub const fn rtype(&self) -> &'static RType {
        self.typ
    }

    /// The identity of the value's type.
    #[must_use]
    #[inline]
    pub const fn type_id(&self) -> TypeId {
        self.typ.id()
    }

    /// Whether the value is a `T`.
    #[must_use]
    #[inline(always)]
    pub fn is<T: 'static>(&self) -> bool {
        let id = self.typ.id_ref();
        is_case(id, type_hash(*id), TypeId::of::<T>())
    }

    /// The value, if it is a `T`: Go's `x, ok := e.(T)`.
    #[must_use]
    #[inline]
    pub fn downcast<T: 'static>(&self) -> Option<&'a T> {
        self.__case()
    }

    /// [`downcast`](Self::downcast) as an arm of a type switch.
    #[doc(hidden)]
    #[must_use]
    #[inline(always)]
    pub fn __case<T: 'static>(&self) -> Option<&'a T> {
        // SAFETY: the value is a live T, shared for 'a (invariant of this type, and `is`).
        self.is::<T>().then(|| unsafe { self.data.cast().as_ref() })
    }

    /// The value, if it is a `T`, or the error that Go would panic with.
    ///
    /// # Errors
    /// If the value is of another type.
    #[inline]
    pub fn try_downcast<T: 'static>(&self) -> Result<&'a T, TypeAssertionError> {
        self.downcast().ok_or_else(|| {
            let (have, want) = (self.typ.name(), core::any::type_name::<T>());
            TypeAssertionError::other_type(None, Some(have), want)
        })
    }

    /// The value as a `T`: Go's `e.(T)`.
    ///
    /// # Panics
    /// With a [`TypeAssertionError`] as message, if the value is of another type.
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn expect<T: 'static>(&self) -> &'a T {
        match self.try_downcast() {
            Ok(v) => v,
            Err(e) => panic!("{e}"),
        }
    }

    /// A copy of the value and true, or `T`'s zero value and false: Go's comma-ok form to the letter.
    #[must_use]
    pub fn comma_ok<T: Clone + Default + 'static>(&self) -> (T, bool) {
        match self.downcast::<T>() {
            Some(v) => (v.clone(), true),
            None => (T::default(), false),
        }
    }

    /// The value as an interface, if it has all its methods: Go's `x, ok := e.(I)`. Complexity:
    /// constant; the first time for a type and an interface, the number of methods of both.
    #[must_use]
    #[inline]
    pub fn assert<I: ?Sized + Interface>(&self) -> Option<Iface<'a, I>> {
        // SAFETY: the entry is of I and of the type of the value at `data`, shared for 'a.
        entry::<I>(self.typ).map(|m| unsafe { Iface::from_parts(m, self.data) })
    }

    /// The value as an interface, or the error that Go would panic with.
    ///
    /// # Errors
    /// If a method is missing.
    #[inline]
    pub fn try_assert<I: ?Sized + Interface>(&self) -> Result<Iface<'a, I>, TypeAssertionError> {
        self.assert().ok_or_else(|| missing::<I>(self.typ))
    }

    /// The value as an interface: Go's `e.(I)`.
    ///
    /// # Panics
    /// With a [`TypeAssertionError`] as message, if a method is missing.
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn expect_iface<I: ?Sized + Interface>(&self) -> Iface<'a, I> {
        match self.try_assert() {
            Ok(v) => v,
            Err(e) => panic!("{e}"),
        }
    }

    /// The value as a `dyn Trait` registered by [`implements!`](crate::implements).
    #[must_use]
    #[inline]
    pub fn assert_dyn<I: ?Sized + 'static>(&self) -> Option<&'a I> {
        let p = cast_to::<I>(self.typ.id_ref(), self.data.as_ptr())?;
        // SAFETY: `p` is `data` with a vtable; the value is shared for 'a.
        Some(unsafe { &*p })
    }

    /// The value as an `Any`.
    #[must_use]
    pub fn as_any(&self) -> &'a dyn Any {
        // SAFETY: `any` attaches the vtable of the value's own type to its address; the value is
        // shared for 'a.
        unsafe { &*self.typ.any(self.data.as_ptr()) }
    }
}

impl fmt::Debug for Eface<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Eface({} at {:p})", self.typ, self.data)
    }
}

/// Turns Go's nil interface into Go's error.
///
/// ```
/// use gitab::{Eface, OrNil};
///
/// let nothing: Option<Eface> = None;
/// let e = nothing.or_nil::<i32>().unwrap_err();
/// assert_eq!(e.to_string(), "interface conversion: interface is nil, not i32");
/// ```
pub trait OrNil: Sized {
    /// What there is if it is not nil.
    type Value;

    /// The value, or the error of an assertion of nil to `T`.
    ///
    /// # Errors
    /// If there is no value.
    fn or_nil<T: ?Sized>(self) -> Result<Self::Value, TypeAssertionError>;
}

impl<'a> OrNil for Option<Eface<'a>> {
    type Value = Eface<'a>;

    fn or_nil<T: ?Sized>(self) -> Result<Eface<'a>, TypeAssertionError> {
        let error = || TypeAssertionError::other_type(None, None, core::any::type_name::<T>());
        self.ok_or_else(error)
    }
}

impl<'a, I: ?Sized + Interface> OrNil for Option<Iface<'a, I>> {
    type Value = Iface<'a, I>;

    fn or_nil<T: ?Sized>(self) -> Result<Iface<'a, I>, TypeAssertionError> {
        let from = core::any::type_name::<I>();
        let error =
            || TypeAssertionError::other_type(Some(from), None, core::any::type_name::<T>());
        self.ok_or_else(error)
    }
}

/// An exclusive reference to a value of any type, which knows the type.
///
/// ```
/// use gitab::EfaceMut;
///
/// let mut n = 7i32;
/// let mut e = EfaceMut::new(&mut n);
/// *e.reborrow().downcast::<i32>().unwrap() += 1;
/// assert_eq!(e.shared().downcast::<i32>(), Some(&8));
/// ```
pub struct EfaceMut<'a> {
    typ: &'static RType,
    data: NonNull<()>,
    life: PhantomData<&'a mut ()>,
}

impl<'a> EfaceMut<'a> {
    /// A value of a described type.
    #[must_use]
    #[inline]
    pub const fn new<T: Describe>(value: &'a mut T) -> Self {
        Self::from_parts(RType::of_described::<T>(), NonNull::from_mut(value).cast())
    }

    /// A value of any type. Its methods are found if [`register_type`](crate::register_type) has
    /// made them known.
    #[must_use]
    #[inline]
    pub const fn opaque<T: 'static>(value: &'a mut T) -> Self {
        Self::from_parts(RType::of::<T>(), NonNull::from_mut(value).cast())
    }

    /// The value behind a `dyn Any`, if its type was registered, or behind a `dyn A` of any trait `A: Object`: see
    /// [`Eface::from_any`].
    #[must_use]
    pub fn from_any<S: ?Sized + Object>(value: &'a mut S) -> Option<Self> {
        let typ = S::dynamic_rtype(value)?;
        // The value's own descriptor, by the contract of `Object`.
        Some(Self::from_parts(typ, NonNull::from_mut(value).cast()))
    }

    #[inline]
    pub(crate) const fn from_parts(typ: &'static RType, data: NonNull<()>) -> Self {
        Self {
            typ,
            data,
            life: PhantomData,
        }
    }

    /// The value's type.
    #[must_use]
    #[inline]
    pub const fn rtype(&self) -> &'static RType {
        self.typ
    }

    /// The same value, borrowed from this reference for a while.
    #[must_use]
    #[inline]
    pub fn reborrow(&mut self) -> EfaceMut<'_> {
        EfaceMut::from_parts(self.typ, self.data)
    }

    /// The same value, shared.
    #[must_use]
    #[inline]
    pub const fn shared(&self) -> Eface<'_> {
        Eface::from_parts(self.typ, self.data)
    }

    /// The value, if it is a `T`.
    ///
    /// # Errors
    /// This reference back, if the value is of another type.
    #[inline]
    pub fn downcast<T: 'static>(self) -> Result<&'a mut T, Self> {
        if self.shared().is::<T>() {
            // SAFETY: the value is a live T, borrowed exclusively for 'a by `self`, consumed here.
            Ok(unsafe { self.data.cast().as_mut() })
        } else {
            Err(self)
        }
    }

    /// The value as an interface, if it has all its methods.
    ///
    /// # Errors
    /// This reference back, if a method is missing; `shared().try_assert::<I>()` tells which.
    #[inline]
    pub fn assert<I: ?Sized + Interface>(self) -> Result<IfaceMut<'a, I>, Self> {
        match entry::<I>(self.typ) {
            // SAFETY: the entry is of I and of the type of the value at `data`, borrowed exclusively
            // for 'a by `self`, consumed here.
            Some(m) => Ok(unsafe { IfaceMut::from_parts(m, self.data) }),
            None => Err(self),
        }
    }

    /// The value as a `dyn Trait` registered by [`implements!`](crate::implements).
    ///
    /// # Errors
    /// This reference back, if the pair was not registered.
    #[inline]
    pub fn assert_dyn<I: ?Sized + 'static>(self) -> Result<&'a mut I, Self> {
        match cast_to::<I>(self.typ.id_ref(), self.data.as_ptr()) {
            // SAFETY: the pointer is `data` with a vtable; the value is borrowed exclusively for 'a by
            // `self`, consumed here.
            Some(p) => Ok(unsafe { &mut *p.cast_mut() }),
            None => Err(self),
        }
    }
}

impl fmt::Debug for EfaceMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EfaceMut({} at {:p})", self.typ, self.data)
    }
}
