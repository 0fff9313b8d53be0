//! A value as an interface: Go's `iface`, two words, the table entry and the address.
//!
//! The structural layer: a type implements an interface by having its methods, without saying so.
//! [`interface!`](crate::interface) declares what is asked for, [`describe!`](crate::describe) what a
//! type has; the two need not know one another.
//!
//! Invariant: `tab` is a positive entry of the interface `I` and the type of the live value at `data`,
//! which is borrowed (shared or exclusively) for `'a`.

use core::any::TypeId;
use core::fmt;
use core::marker::PhantomData;
use core::mem::transmute_copy;
use core::ptr::NonNull;

use crate::eface::{Eface, EfaceMut};
use crate::error::TypeAssertionError;
use crate::global::itab_table;
use crate::interface::InterfaceType;
use crate::itab::Entry;
use crate::method::{Fun, IMethod, Recv, RecvMut, merge};
use crate::rtype::{RType, is_case};

/// What an interface asks for: implemented by [`interface!`](crate::interface) for `dyn Name`.
///
/// # Safety
/// `METHODS` is sorted by name, and whoever calls method `k` calls it with the signature that `METHODS[k]`
/// was made from. `interface_type` always returns the same static, made by `InterfaceType::of::<Self>`.
pub unsafe trait Interface: 'static {
    /// The methods, sorted by name (Go's `interfacetype`).
    const METHODS: &'static [IMethod];

    /// The interface's description, one in the program, or one in each image of a program with plugins.
    #[doc(hidden)]
    fn interface_type() -> &'static InterfaceType;
}

/// The table's entry of `I` and `typ`, if it is positive.
#[inline(always)]
pub(crate) fn entry<I: ?Sized + Interface>(typ: &'static RType) -> Option<Entry> {
    I::interface_type().find(typ)
}

/// Why there is none. The table does not record it: as in Go, the merge is run again.
#[cold]
pub(crate) fn missing<I: ?Sized + Interface>(typ: &'static RType) -> TypeAssertionError {
    let known = itab_table().rtype(typ.id()).filter(|t| t.is_described());
    let methods = known.unwrap_or(typ).methods();
    let (name, asserted) = (typ.name(), core::any::type_name::<I>());
    match merge(I::METHODS, methods, |_, _| {}, || {}) {
        Err(m) => {
            let method = I::METHODS[m.index].name();
            TypeAssertionError::missing_method(name, asserted, method, m.other_signature)
        }
        // Another thread has registered the type since.
        Ok(()) => TypeAssertionError::other_type(None, Some(name), asserted),
    }
}

/// A shared reference to a value, as an interface.
///
/// It implements the trait that [`interface!`](crate::interface) declared, so its methods are called
/// as on any value:
///
/// ```
/// use gitab::{Eface, Iface};
///
/// gitab::interface! {
///     pub trait Shape {
///         fn area(&self) -> f64;
///         fn name(&self) -> &str;
///     }
/// }
///
/// struct Square(f64);
/// impl Square {
///     fn area(&self) -> f64 { self.0 * self.0 }
///     fn name(&self) -> &str { "square" }
/// }
/// gitab::describe! {
///     struct Square {
///         fn name(&self) -> &str;
///         fn area(&self) -> f64;
///     }
/// }
///
/// let square = Square(3.0);
/// let shape: Iface<dyn Shape> = Eface::new(&square).assert().unwrap();
/// assert_eq!((shape.area(), shape.name()), (9.0, "square"));
/// assert_eq!(size_of::<Option<Iface<dyn Shape>>>(), 2 * size_of::<usize>());
/// ```
pub struct Iface<'a, I: ?Sized> {
    tab: Entry,
    data: NonNull<()>,
    life: PhantomData<(&'a (), *const I)>,
}

impl<I: ?Sized> Clone for Iface<'_, I> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<I: ?Sized> Copy for Iface<'_, I> {}

/// What both references to an interface offer, and what the macros use of them.
macro_rules! common {
    () => {
        /// Makes one.
        ///
        /// # Safety
        /// The invariant in this file's head comment.
        #[inline]
        pub(crate) unsafe fn from_parts(tab: Entry, data: NonNull<()>) -> Self {
            Self {
                tab,
                data,
                life: PhantomData,
            }
        }

        /// The value's type.
        #[must_use]
        #[inline]
        pub fn rtype(&self) -> &'static RType {
            // Structural entries are built from a descriptor.
            self.tab.rtype().expect("a structural entry names its type")
        }

        /// The hash of the value's type, kept in the table's entry for type switches.
        #[must_use]
        #[inline]
        pub fn type_hash(&self) -> u32 {
            self.tab.hash()
        }

        /// Whether the value is a `T`.
        #[must_use]
        #[inline(always)]
        pub fn is<T: 'static>(&self) -> bool {
            is_case(self.tab.type_id_ref(), self.tab.hash(), TypeId::of::<T>())
        }

        /// Method `k` of the interface.
        ///
        /// # Safety
        /// `F` is the function pointer type that `I::METHODS[k]` was made from, up to lifetimes that
        /// it is generic over.
        #[doc(hidden)]
        #[must_use]
        #[inline]
        pub unsafe fn __method<F: Copy>(&self, k: usize) -> F {
            const { assert!(size_of::<F>() == size_of::<Fun>()) };
            // SAFETY: `k` is a method of the interface, so a positive entry of it has slot `k`, which
            // holds code. Its type is F by contract, because the merge compared signatures.
            unsafe { transmute_copy::<Fun, F>(&self.tab.slot(k).fun) }
        }

        /// The receiver of `&self` methods.
        #[doc(hidden)]
        #[must_use]
        #[inline]
        pub fn __recv(&self) -> Recv<'_> {
            Recv::new(self.data)
        }
    };
}

impl<'a, I: ?Sized + Interface> Iface<'a, I> {
    common!();

    /// The same value without the interface: Go's conversion to `interface{}`.
    #[must_use]
    #[inline]
    pub fn eface(&self) -> Eface<'a> {
        Eface::from_parts(self.rtype(), self.data)
    }

    /// The value, if it is a `T`: Go's `x, ok := i.(T)`.
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
            let (from, want) = (core::any::type_name::<I>(), core::any::type_name::<T>());
            TypeAssertionError::other_type(Some(from), Some(self.rtype().name()), want)
        })
    }

    /// The value as a `T`: Go's `i.(T)`.
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

    /// The value as another interface: Go's `y, ok := i.(J)`.
    #[must_use]
    #[inline]
    pub fn assert<J: ?Sized + Interface>(&self) -> Option<Iface<'a, J>> {
        self.eface().assert()
    }

    /// The value as another interface, or the error that Go would panic with.
    ///
    /// # Errors
    /// If a method is missing.
    #[inline]
    pub fn try_assert<J: ?Sized + Interface>(&self) -> Result<Iface<'a, J>, TypeAssertionError> {
        self.eface().try_assert()
    }

    /// The value as another interface: Go's `i.(J)`.
    ///
    /// # Panics
    /// With a [`TypeAssertionError`] as message, if a method is missing.
    #[must_use]
    #[inline]
    #[track_caller]
    pub fn expect_iface<J: ?Sized + Interface>(&self) -> Iface<'a, J> {
        self.eface().expect_iface()
    }
}

impl<I: ?Sized + Interface> fmt::Debug for Iface<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inter, typ) = (core::any::type_name::<I>(), self.rtype());
        write!(f, "Iface<{inter}>({typ} at {:p})", self.data)
    }
}

/// An exclusive reference to a value, as an interface. Interfaces with `&mut self` methods are callable
/// through it alone.
///
/// ```
/// use gitab::EfaceMut;
///
/// gitab::interface! { trait Push { fn push(&mut self, value: u8); } }
/// gitab::describe! { struct Stack { fn push(&mut self, value: u8); } }
/// struct Stack(Vec<u8>);
/// impl Stack { fn push(&mut self, value: u8) { self.0.push(value) } }
///
/// let mut stack = Stack(vec![]);
/// EfaceMut::new(&mut stack).assert::<dyn Push>().unwrap().push(1);
/// assert_eq!(stack.0, [1]);
/// ```
///
/// ```compile_fail,E0599
/// gitab::interface! { trait Push { fn push(&mut self, value: u8); } }
/// let n = 5u8;
/// let mut shared = gitab::Eface::new(&n).assert::<dyn Push>().unwrap();
/// shared.push(1); // no such method on a shared reference
/// ```
pub struct IfaceMut<'a, I: ?Sized> {
    tab: Entry,
    data: NonNull<()>,
    life: PhantomData<(&'a mut (), *const I)>,
}

impl<'a, I: ?Sized + Interface> IfaceMut<'a, I> {
    common!();

    /// The receiver of `&mut self` methods.
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn __recv_mut(&mut self) -> RecvMut<'_> {
        RecvMut::new(self.data)
    }

    /// The same value without the interface.
    #[must_use]
    #[inline]
    pub fn eface(self) -> EfaceMut<'a> {
        EfaceMut::from_parts(self.rtype(), self.data)
    }

    /// The same value, borrowed from this reference for a while.
    #[must_use]
    #[inline]
    pub fn reborrow(&mut self) -> IfaceMut<'_, I> {
        IfaceMut {
            tab: self.tab,
            data: self.data,
            life: PhantomData,
        }
    }

    /// The same value, shared.
    #[must_use]
    #[inline]
    pub fn shared(&self) -> Iface<'_, I> {
        Iface {
            tab: self.tab,
            data: self.data,
            life: PhantomData,
        }
    }
}

impl<I: ?Sized + Interface> fmt::Debug for IfaceMut<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (inter, typ) = (core::any::type_name::<I>(), self.rtype());
        write!(f, "IfaceMut<{inter}>({typ} at {:p})", self.data)
    }
}
