//! [`GoKey`]: equality and hashing by Go's rules, under which a NaN equals nothing, not even itself, and
//! the two zeros are one key.

use core::hash::{Hash, Hasher};
use stdalloc::boxed::Box;
use stdalloc::rc::Rc;
use stdalloc::string::String;
use stdalloc::sync::Arc;
use stdalloc::vec::Vec;

/// A key by Go's rules.
///
/// Implemented for the integers, `bool`, `char`, strings, `f32` and `f64`, `Option`, slices, arrays,
/// vectors, boxes, `Rc`, `Arc` and tuples of up to four keys. For a type of one's own that is `Eq` and
/// `Hash`, forward to these.
///
/// ```
/// use ghmap::GoKey;
/// assert!(0.0f64.go_eq(&-0.0));
/// assert!(!f64::NAN.go_eq(&f64::NAN));
/// assert!(!(1, f64::NAN).is_reflexive());
/// ```
pub trait GoKey {
    /// Whether equal keys can differ, so that an assignment must store the new one: true of types that
    /// contain floats, whose zeros are equal and print differently, or strings, which may keep a larger one
    /// alive (R86).
    const NEEDS_UPDATE: bool = false;

    /// Go's `==`.
    fn go_eq(&self, other: &Self) -> bool;

    /// Hashes: alike for equal keys. Not asked of keys that are not reflexive.
    fn go_hash<H: Hasher>(&self, state: &mut H);

    /// Whether the key equals itself.
    fn is_reflexive(&self) -> bool {
        true
    }
}

macro_rules! by_eq {
    ($needs_update:literal: $($ty:ty),*) => {$(
        impl GoKey for $ty {
            const NEEDS_UPDATE: bool = $needs_update;

            #[inline]
            fn go_eq(&self, other: &Self) -> bool {
                self == other
            }

            #[inline]
            fn go_hash<H: Hasher>(&self, state: &mut H) {
                self.hash(state);
            }
        }
    )*};
}

by_eq!(false: u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, bool, char, ());
by_eq!(true: str, String);

macro_rules! float {
    ($($ty:ty),*) => {$(
        impl GoKey for $ty {
            const NEEDS_UPDATE: bool = true;

            #[inline]
            fn go_eq(&self, other: &Self) -> bool {
                self == other
            }

            #[inline]
            fn go_hash<H: Hasher>(&self, state: &mut H) {
                // Adding zero makes one zero of the two.
                (self + 0.0).to_bits().hash(state);
            }

            #[inline]
            fn is_reflexive(&self) -> bool {
                !self.is_nan()
            }
        }
    )*};
}

float!(f32, f64);

macro_rules! forward {
    ($($ty:ty),*) => {$(
        impl<T: GoKey + ?Sized> GoKey for $ty {
            const NEEDS_UPDATE: bool = T::NEEDS_UPDATE;

            #[inline]
            fn go_eq(&self, other: &Self) -> bool {
                (**self).go_eq(&**other)
            }

            #[inline]
            fn go_hash<H: Hasher>(&self, state: &mut H) {
                (**self).go_hash(state);
            }

            #[inline]
            fn is_reflexive(&self) -> bool {
                (**self).is_reflexive()
            }
        }
    )*};
}

forward!(&T, Box<T>, Rc<T>, Arc<T>);

impl<T: GoKey> GoKey for [T] {
    const NEEDS_UPDATE: bool = T::NEEDS_UPDATE;

    fn go_eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other).all(|(a, b)| a.go_eq(b))
    }

    fn go_hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|element| element.go_hash(state));
    }

    fn is_reflexive(&self) -> bool {
        self.iter().all(T::is_reflexive)
    }
}

macro_rules! as_slice {
    ($([$($n:tt)*] $ty:ty),*) => {$(
        impl<T: GoKey, $($n)*> GoKey for $ty {
            const NEEDS_UPDATE: bool = T::NEEDS_UPDATE;

            fn go_eq(&self, other: &Self) -> bool {
                self[..].go_eq(&other[..])
            }

            fn go_hash<H: Hasher>(&self, state: &mut H) {
                self[..].go_hash(state);
            }

            fn is_reflexive(&self) -> bool {
                self[..].is_reflexive()
            }
        }
    )*};
}

as_slice!([] Vec<T>, [const N: usize] [T; N]);

impl<T: GoKey> GoKey for Option<T> {
    const NEEDS_UPDATE: bool = T::NEEDS_UPDATE;

    fn go_eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Some(a), Some(b)) => a.go_eq(b),
            (None, None) => true,
            _ => false,
        }
    }

    fn go_hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(u8::from(self.is_some()));
        if let Some(key) = self {
            key.go_hash(state);
        }
    }

    fn is_reflexive(&self) -> bool {
        self.as_ref().is_none_or(T::is_reflexive)
    }
}

macro_rules! tuple {
    ($($name:ident $i:tt),*) => {
        impl<$($name: GoKey),*> GoKey for ($($name,)*) {
            const NEEDS_UPDATE: bool = false $(|| $name::NEEDS_UPDATE)*;

            fn go_eq(&self, other: &Self) -> bool {
                true $(&& self.$i.go_eq(&other.$i))*
            }

            fn go_hash<H: Hasher>(&self, state: &mut H) {
                $(self.$i.go_hash(state);)*
            }

            fn is_reflexive(&self) -> bool {
                true $(&& self.$i.is_reflexive())*
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
