//! Type switches: Go's `switch x := e.(type)`.
//!
//! An arm asks once and gets the value with the answer. To ask first and take the value then would trust that
//! `$e` is the same value twice, and it may be anything that dereferences to an `Eface`.

/// Runs the arm of the value's type: Go's `switch x := e.(type)`.
///
/// Works on [`Eface`](crate::Eface) and [`Iface`](crate::Iface). Arms are tried in the order in which they
/// stand; an arm of a concrete type is written `name: Type`, one of an interface `name: iface dyn I`, one
/// of a registered trait (on an `Eface`) `name: dyn A`. The last arm, `_`, is for everything else.
///
/// ```
/// use gitab::{Eface, type_switch};
///
/// fn describe(e: Eface) -> String {
///     type_switch!(e, {
///         n: i32 => format!("number {n}"),
///         s: String => format!("text {s}"),
///         _: () => "nothing".into(),
///         _ => format!("some {}", e.rtype()),
///     })
/// }
/// assert_eq!(describe(Eface::new(&5i32)), "number 5");
/// assert_eq!(describe(Eface::new(&"five".to_string())), "text five");
/// assert_eq!(describe(Eface::new(&())), "nothing");
/// assert_eq!(describe(Eface::new(&5u8)), "some u8");
/// ```
#[macro_export]
macro_rules! type_switch {
    ($e:expr, { $($arms:tt)+ }) => {
        match &$e {
            value => $crate::__type_switch!(value; $($arms)+),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __type_switch {
    ($v:ident; _ => $body:expr $(,)?) => { $body };
    ($v:ident; $x:tt : iface $t:ty => $body:expr, $($rest:tt)+) => {
        if let ::core::option::Option::Some($x) = $v.assert::<$t>() { $body }
        else { $crate::__type_switch!($v; $($rest)+) }
    };
    ($v:ident; $x:tt : dyn $t:path => $body:expr, $($rest:tt)+) => {
        if let ::core::option::Option::Some($x) = $v.assert_dyn::<dyn $t>() { $body }
        else { $crate::__type_switch!($v; $($rest)+) }
    };
    ($v:ident; $x:tt : $t:ty => $body:expr, $($rest:tt)+) => {
        if let ::core::option::Option::Some($x) = $v.__case::<$t>() { $body }
        else { $crate::__type_switch!($v; $($rest)+) }
    };
}
