//! The macros that declare interfaces, describe types and register pairs.
//!
//! They contain the only unsafe code that runs in a user's crate. What the user writes reaches it only
//! as types, names and argument lists; the bodies are fixed here.
//!
//! `__methods!` turns method declarations into a normal form,
//! `{ attributes; name; lifetimes; receiver; self; erased receiver; its getter; arguments; return }`,
//! and hands the list to the macro that asked. The token `self` travels along because it must come from
//! the same expansion as the receiver.

/// Says that a type implements ordinary traits, so that values of it can be asserted to them.
///
/// A statement: it registers when it runs, at the latest before the first assertion that relies on it
/// (an earlier failure is not remembered against it). Whether the type implements the traits is checked
/// by the compiler.
///
/// ```
/// use gitab::Assert;
/// use std::any::Any;
/// use std::fmt::{Debug, Display};
///
/// gitab::implements!(u8: dyn Debug, dyn Display);
/// gitab::implements!(Vec<u8>: dyn Debug, dyn Debug + Send);
///
/// let value: &dyn Any = &7u8;
/// assert_eq!(value.assert::<dyn Display>().unwrap().to_string(), "7");
/// ```
///
/// ```compile_fail,E0277
/// gitab::implements!(Vec<u8>: dyn std::fmt::Display);
/// ```
///
/// Auto traits are part of the trait: `dyn A` and `dyn A + Send` are registered each for itself, and only for types
/// that have them.
///
/// ```compile_fail,E0277
/// gitab::implements!(std::rc::Rc<u8>: dyn std::fmt::Debug + Send);
/// ```
///
/// A cast that is not an unsizing coercion is refused, one to a supertype among them: through a `&mut` to it a
/// function could be put where one is called that takes less than it asks for.
///
/// ```compile_fail,E0308
/// gitab::implements!(u8: i8);
/// ```
///
/// ```compile_fail,E0308
/// type Any = for<'a> fn(&'a str);
/// gitab::implements!(Any: fn(&'static str));
/// ```
#[macro_export]
macro_rules! implements {
    ($t:ty: $($i:ty),+ $(,)?) => {{
        $( $crate::__caster!($t, $i).register(); )+
    }};
}

/// As [`implements!`], for item position: registered before the first assertion that would fail, from
/// wherever in the program it stands. Needs the feature `inventory`.
///
/// ```
/// use gitab::Assert;
///
/// gitab::auto_implements!(i16: dyn std::fmt::Binary);
///
/// fn main() {
///     let value: &dyn std::any::Any = &5i16;
///     assert_eq!(format!("{:b}", value.assert::<dyn std::fmt::Binary>().unwrap()), "101");
/// }
/// ```
#[cfg(feature = "inventory")]
#[macro_export]
macro_rules! auto_implements {
    ($t:ty: $($i:ty),+ $(,)?) => {
        $( $crate::__private::inventory::submit! {
            $crate::__private::Auto($crate::__caster!($t, $i))
        } )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __caster {
    ($t:ty, $i:ty) => {
        // SAFETY: the closure returns its argument as `$t`, unsized to `$i` by coercion: between raw pointers to
        // mut, which are invariant, no other coercion exists. (Pointers to const also coerce to a supertype, through
        // which a `&mut` could write what is no `$t`.)
        unsafe {
            $crate::__private::Caster::new::<$t, $i>(|data| {
                let sized: *mut $t = data.cast();
                let unsized_: *mut $i = sized;
                unsized_
            })
        }
    };
}

/// Declares an interface: a trait, and the list of its methods sorted by name.
///
/// A value is asserted to it with [`Eface::assert`](crate::Eface::assert), whatever its type, if the
/// type was [described](crate::describe) with methods of these names and signatures; the result,
/// [`Iface`](crate::Iface), implements the trait. Methods take `&self` or `&mut self` and `'static` or
/// borrowed arguments; where the compiler could not tell in a function pointer which reference a result
/// borrows from, lifetimes are written out:
///
/// ```
/// gitab::interface! {
///     /// Anything that can be searched.
///     pub trait Search {
///         fn find<'a>(&'a self, text: &str) -> Option<&'a str>;
///         fn clear(&mut self);
///     }
/// }
/// # use gitab::EfaceMut;
/// # struct Words(Vec<String>);
/// # impl Words {
/// #     fn find(&self, text: &str) -> Option<&str> {
/// #         self.0.iter().map(|s| s.as_str()).find(|s| s.contains(text))
/// #     }
/// #     fn clear(&mut self) { self.0.clear() }
/// # }
/// gitab::describe! {
///     struct Words {
///         fn clear(&mut self);
///         fn find<'a>(&'a self, text: &str) -> Option<&'a str>;
///     }
/// }
///
/// let mut words = Words(vec!["table".into()]);
/// let mut search = EfaceMut::new(&mut words).assert::<dyn Search>().unwrap();
/// assert_eq!(search.find("tab"), Some("table"));
/// search.clear();
/// assert_eq!(search.find("tab"), None);
/// ```
#[macro_export]
macro_rules! interface {
    ($(#[$attr:meta])* $vis:vis trait $name:ident { $($methods:tt)* }) => {
        $crate::__methods! {
            (__interface) [[$(#[$attr])*] [$vis] [$name]] [shared] [] $($methods)*
        }
    };
}

/// Describes a type: its kind and its methods.
///
/// The methods are those that exist under these names, inherent or of a trait in scope; they are only
/// listed here. A type is described once, next to its definition.
///
/// ```
/// use gitab::{Kind, RType};
///
/// struct Pair<T>(T, T);
/// impl<T: Copy> Pair<T> {
///     fn first(&self) -> T { self.0 }
/// }
/// gitab::describe! {
///     for[T: Copy + 'static] struct Pair<T> {
///         fn first(&self) -> T;
///     }
/// }
///
/// let t = RType::of_described::<Pair<u8>>();
/// assert_eq!(t.kind(), Kind::Struct);
/// assert_eq!(t.methods()[0].name(), "first");
/// ```
///
/// A method that does not exist, has another signature or is listed twice does not compile:
///
/// ```compile_fail,E0599
/// struct Empty;
/// gitab::describe! { struct Empty { fn first(&self) -> u8; } }
/// ```
///
/// ```compile_fail,E0308
/// struct One;
/// impl One { fn first(&self) -> u16 { 1 } }
/// gitab::describe! { struct One { fn first(&self) -> u8; } }
/// ```
///
/// What is unsafe to call is no method that everybody may call:
///
/// ```compile_fail,E0133
/// struct Raw(*const u8);
/// impl Raw { unsafe fn first(&self) -> u8 { unsafe { *self.0 } } }
/// gitab::describe! { struct Raw { fn first(&self) -> u8; } }
/// ```
///
/// ```compile_fail,E0080
/// struct One;
/// impl One { fn first(&self) -> u8 { 1 } }
/// gitab::describe! { struct One { fn first(&self) -> u8; fn first(&self) -> u8; } }
/// let _ = gitab::RType::of_described::<One>();
/// ```
#[macro_export]
macro_rules! describe {
    (for[$($generics:tt)*] struct $($rest:tt)+) => {
        $crate::__describe!(@type [$($generics)*] Struct $($rest)+);
    };
    (for[$($generics:tt)*] enum $($rest:tt)+) => {
        $crate::__describe!(@type [$($generics)*] Enum $($rest)+);
    };
    (for[$($generics:tt)*] union $($rest:tt)+) => {
        $crate::__describe!(@type [$($generics)*] Union $($rest)+);
    };
    (for[$($generics:tt)*] $($rest:tt)+) => {
        $crate::__describe!(@type [$($generics)*] $($rest)+);
    };
    ($($rest:tt)+) => {
        $crate::describe!(for[] $($rest)+);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __describe {
    (@type [$($generics:tt)*] $kind:ident $t:ty $({ $($methods:tt)* })? $(;)?) => {
        $crate::__methods! {
            (__describe) [[$($generics)*] [$kind] [$t]] [shared] [] $($($methods)*)?
        }
    };
    (
        @emit [[$($generics:tt)*] [$kind:ident] [$t:ty]] [$mode:ident]
        [$({
            [$($attr:tt)*] $f:ident [$($lt:lifetime)*] [$($recv:tt)*] $this:ident
            [$recv_ty:ty] $get:ident [$($a:ident: $at:ty,)*] [$(-> $r:ty)?]
        })*]
    ) => {
        // SAFETY: `sorted_methods` sorts; each method is `$t`'s own, called on a receiver that is one.
        unsafe impl<$($generics)*> $crate::Describe for $t {
            const KIND: $crate::Kind = $crate::Kind::$kind;
            const METHODS: &'static [$crate::Method] = &$crate::__private::sorted_methods([$(
                {
                    // Not in the unsafe block below, which would let a method be called that is unsafe.
                    let call: for<$($lt),*> unsafe fn($recv_ty $(, $at)*) $(-> $r)? = |this $(, $a)*| {
                        // SAFETY: the receiver points at a `$t`, where this list belongs.
                        let this = unsafe { this.get::<$t>() };
                        <$t>::$f(this $(, $a)*)
                    };
                    // SAFETY: the type is of the form asked for, and `call` calls `$t`'s method on a receiver that
                    // points at a `$t`.
                    unsafe {
                        $crate::Method::new::<for<$($lt),*> unsafe fn($recv_ty $(, $at)*) $(-> $r)?>(
                            ::core::stringify!($f),
                            call,
                        )
                    }
                },
            )*]);
        }
    };
}

/// The trait, what it asks for, and its methods as calls through the table. An argument may have any name, that of an
/// item too:
///
/// ```
/// gitab::interface! { trait Times { fn a(&self); fn times(&self, K: usize, f: usize, this: usize) -> usize; } }
/// struct Two;
/// impl Two {
///     fn a(&self) {}
///     fn times(&self, k: usize, f: usize, this: usize) -> usize { 2 * k + f * this }
/// }
/// gitab::describe! { struct Two { fn a(&self); fn times(&self, K: usize, f: usize, this: usize) -> usize; } }
/// assert_eq!(gitab::Eface::new(&Two).assert::<dyn Times>().unwrap().times(42, 5, 3), 99);
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! __interface {
    (
        @emit [[$($attr:tt)*] [$vis:vis] [$name:ident]] [$mode:ident]
        [$($method:tt)*]
    ) => {
        $crate::__interface!(@declare [[$($attr)*] [$vis] [$name]] [$($method)*]);
        $crate::__interface!(@call [$name] IfaceMut [$($method)*]);
        $crate::__interface!(@$mode [$name] [$($method)*]);
    };
    (@shared [$name:ident] [$($method:tt)*]) => {
        $crate::__interface!(@call [$name] Iface [$($method)*]);
    };
    (@exclusive [$name:ident] [$($method:tt)*]) => {};
    (
        @declare [[$($tattr:tt)*] [$vis:vis] [$name:ident]]
        [$({
            [$($attr:tt)*] $f:ident [$($lt:lifetime)*] [$($recv:tt)*] $this:ident
            [$recv_ty:ty] $get:ident [$($a:ident: $at:ty,)*] [$(-> $r:ty)?]
        })*]
    ) => {
        $($tattr)*
        $vis trait $name {
            $( $($attr)* fn $f<$($lt),*>($($recv)* $this $(, $a: $at)*) $(-> $r)?; )*
        }

        // SAFETY: `sorted` sorts; methods are called below, with the signatures listed here.
        unsafe impl $crate::Interface for dyn $name {
            const METHODS: &'static [$crate::IMethod] = &$crate::__private::sorted([$(
                $crate::IMethod::new::<for<$($lt),*> unsafe fn($recv_ty $(, $at)*) $(-> $r)?>(
                    ::core::stringify!($f),
                ),
            )*]);

            #[inline]
            fn interface_type() -> &'static $crate::__private::InterfaceType {
                static TYPE: $crate::__private::InterfaceType =
                    $crate::__private::InterfaceType::of::<dyn $name>();
                &TYPE
            }
        }
    };
    (
        @call [$name:ident] $face:ident
        [$({
            [$($attr:tt)*] $f:ident [$($lt:lifetime)*] [$($recv:tt)*] $this:ident
            [$recv_ty:ty] $get:ident [$($a:ident: $at:ty,)*] [$(-> $r:ty)?]
        })*]
    ) => {
        impl $name for $crate::$face<'_, dyn $name> {
            $(
                #[inline]
                fn $f<$($lt),*>($($recv)* $this $(, $a: $at)*) $(-> $r)? {
                    // SAFETY: the method of this name was listed with this type, up to the lifetimes in scope
                    // here; the receiver is the value that the entry's type describes. (Its place is no item with
                    // a name, which would hide an argument of that name.)
                    unsafe {
                        let f = $this.__method::<unsafe fn($recv_ty $(, $at)*) $(-> $r)?>(const {
                            $crate::__private::index_of(
                                <dyn $name as $crate::Interface>::METHODS,
                                ::core::stringify!($f),
                            )
                        });
                        f($this.$get() $(, $a)*)
                    }
                }
            )*
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __methods {
    (($to:ident) $head:tt $mode:tt [$($done:tt)*]) => {
        $crate::$to!(@emit $head $mode [$($done)*]);
    };
    (
        ($to:ident) $head:tt $mode:tt [$($done:tt)*]
        $(#[$attr:meta])* fn $f:ident $(<$($lt:lifetime),* $(,)?>)?
        (&self $(, $a:ident: $at:ty)* $(,)?) $(-> $r:ty)?; $($rest:tt)*
    ) => {
        $crate::__methods! { ($to) $head $mode [$($done)* {
            [$(#[$attr])*] $f [$($($lt)*)?] [&] self
            [$crate::Recv<'_>] __recv [$($a: $at,)*] [$(-> $r)?]
        }] $($rest)* }
    };
    (
        ($to:ident) $head:tt $mode:tt [$($done:tt)*]
        $(#[$attr:meta])* fn $f:ident $(<$($lt:lifetime),* $(,)?>)?
        (&mut self $(, $a:ident: $at:ty)* $(,)?) $(-> $r:ty)?; $($rest:tt)*
    ) => {
        $crate::__methods! { ($to) $head [exclusive] [$($done)* {
            [$(#[$attr])*] $f [$($($lt)*)?] [&mut] self
            [$crate::RecvMut<'_>] __recv_mut [$($a: $at,)*] [$(-> $r)?]
        }] $($rest)* }
    };
    (
        ($to:ident) $head:tt $mode:tt [$($done:tt)*]
        $(#[$attr:meta])* fn $f:ident $(<$($lt:lifetime),* $(,)?>)?
        (&$slt:lifetime self $(, $a:ident: $at:ty)* $(,)?) $(-> $r:ty)?; $($rest:tt)*
    ) => {
        $crate::__methods! { ($to) $head $mode [$($done)* {
            [$(#[$attr])*] $f [$($($lt)*)?] [&$slt] self
            [$crate::Recv<$slt>] __recv [$($a: $at,)*] [$(-> $r)?]
        }] $($rest)* }
    };
    (
        ($to:ident) $head:tt $mode:tt [$($done:tt)*]
        $(#[$attr:meta])* fn $f:ident $(<$($lt:lifetime),* $(,)?>)?
        (&$slt:lifetime mut self $(, $a:ident: $at:ty)* $(,)?) $(-> $r:ty)?; $($rest:tt)*
    ) => {
        $crate::__methods! { ($to) $head [exclusive] [$($done)* {
            [$(#[$attr])*] $f [$($($lt)*)?] [&$slt mut] self
            [$crate::RecvMut<$slt>] __recv_mut [$($a: $at,)*] [$(-> $r)?]
        }] $($rest)* }
    };
}
