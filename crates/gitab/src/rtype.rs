//! Type descriptors (Go's `_type` and `reflect.rtype`, Go 1.19's `runtime/type.go`).
//!
//! A descriptor is a constant, promoted to `'static` where it is used, so that any `'static` type has
//! one, generics included, without registration. The compiler may place several copies of one
//! constant: descriptors are therefore equal when their [`TypeId`]s are equal. An equal address is a
//! short cut, an unequal one proves nothing, and the hash is never trusted alone.
//!
//! Rejected: a table of canonical descriptors (a lock at first use of every type), and a hash computed
//! from the name (two versions of one crate share names; `TypeId` is hashed by the compiler already).
//! Go's `gcdata`, a bitmap of the words that hold pointers, has no counterpart: there is no collector.

use core::any::{Any, TypeId};
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::method::Method;

/// What sort of type a descriptor describes. Kinds that Go has carry Go's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// Not described: see [`describe!`](crate::describe).
    Opaque = 0,
    /// `bool`
    Bool = 1,
    /// `isize`
    Isize = 2,
    /// `i8`
    I8 = 3,
    /// `i16`
    I16 = 4,
    /// `i32`
    I32 = 5,
    /// `i64`
    I64 = 6,
    /// `usize`
    Usize = 7,
    /// `u8`
    U8 = 8,
    /// `u16`
    U16 = 9,
    /// `u32`
    U32 = 10,
    /// `u64`
    U64 = 11,
    /// `f32`
    F32 = 13,
    /// `f64`
    F64 = 14,
    /// `[T; N]`
    Array = 17,
    /// A function pointer.
    Func = 19,
    /// A trait object.
    Interface = 20,
    /// A map.
    Map = 21,
    /// A reference, a raw pointer, or a smart pointer that owns one value.
    Pointer = 22,
    /// A growable array, or a reference to a slice.
    Slice = 23,
    /// `String`, `&'static str`
    String = 24,
    /// A struct.
    Struct = 25,
    /// An enum.
    Enum = 32,
    /// A union.
    Union = 33,
    /// A tuple of one or more.
    Tuple = 34,
    /// `()`
    Unit = 35,
    /// `char`
    Char = 36,
    /// `i128`
    I128 = 37,
    /// `u128`
    U128 = 38,
}

/// A type whose kind and methods are known: implemented by [`describe!`](crate::describe).
///
/// # Safety
/// `METHODS` is sorted by name, and each of its methods may be called on a value of this type.
pub unsafe trait Describe: 'static {
    /// What sort of type it is.
    const KIND: Kind;
    /// Its methods, sorted by name.
    const METHODS: &'static [Method];
}

/// The descriptor of a type.
///
/// ```
/// use gitab::{Kind, RType};
///
/// let t = RType::of::<Vec<u8>>();
/// assert_eq!((t.size(), t.align()), (size_of::<Vec<u8>>(), align_of::<Vec<u8>>()));
/// assert_eq!(t, RType::of::<Vec<u8>>());
/// assert_ne!(t, RType::of::<Vec<i8>>());
/// assert_eq!(RType::of_described::<u32>().kind(), Kind::U32);
/// ```
pub struct RType {
    // Constants, all of them: written by the compiler, read by everybody.
    id: TypeId,
    size: usize,
    align: usize,
    kind: Kind,
    described: bool,
    name: fn() -> &'static str,
    methods: &'static [Method],
    as_any: unsafe fn(*const ()) -> *const dyn Any,
}

impl RType {
    /// The descriptor of any type. Its methods and kind are not in it: an assertion to an interface
    /// finds them if [`register_type`](crate::register_type) has made them known.
    #[must_use]
    pub const fn of<T: 'static>() -> &'static Self {
        const { &Self::new::<T>(Kind::Opaque, false, &[]) }
    }

    /// The descriptor of a described type, with kind and methods.
    #[must_use]
    pub const fn of_described<T: Describe>() -> &'static Self {
        const { &Self::new::<T>(T::KIND, true, T::METHODS) }
    }

    const fn new<T: 'static>(kind: Kind, described: bool, methods: &'static [Method]) -> Self {
        Self {
            id: TypeId::of::<T>(),
            size: size_of::<T>(),
            align: align_of::<T>(),
            kind,
            described,
            name: core::any::type_name::<T>,
            methods,
            as_any: |data| data.cast::<T>() as *const dyn Any,
        }
    }

    /// What makes two descriptors the same.
    #[must_use]
    #[inline]
    pub const fn id(&self) -> TypeId {
        self.id
    }

    /// The identity, where it stands.
    #[inline]
    pub(crate) const fn id_ref(&self) -> &TypeId {
        &self.id
    }

    /// Size of a value, in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Alignment of a value, in bytes.
    #[must_use]
    pub const fn align(&self) -> usize {
        self.align
    }

    /// What sort of type it is; [`Kind::Opaque`] if it was not described.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// A hash of the type: equal types have equal hashes, and different types may.
    #[must_use]
    #[inline]
    pub fn hash(&self) -> u32 {
        type_hash(self.id)
    }

    /// The name, as [`core::any::type_name`] gives it: for people, not for comparison.
    #[must_use]
    pub fn name(&self) -> &'static str {
        (self.name)()
    }

    /// The methods, sorted by name; none if it was not described.
    #[must_use]
    pub const fn methods(&self) -> &'static [Method] {
        self.methods
    }

    /// Whether kind and methods are in it.
    #[must_use]
    #[inline]
    pub const fn is_described(&self) -> bool {
        self.described
    }

    /// A pointer to a value of this type, with its `Any` vtable.
    pub(crate) fn any(&self, data: *const ()) -> *const dyn Any {
        // SAFETY: every `as_any` only attaches a vtable: it reads nothing through its argument.
        unsafe { (self.as_any)(data) }
    }
}

impl PartialEq for RType {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for RType {}

impl Hash for RType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for RType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RType")
            .field("name", &self.name())
            .field("kind", &self.kind)
            .field("size", &self.size)
            .field("align", &self.align)
            .field("methods", &self.methods)
            .finish()
    }
}

impl fmt::Display for RType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether `id`, whose hash is `hash`, is `wanted`: the test of one arm of a type switch. In a chain of them the
/// compiler turns the comparisons of hashes, which are constants, into a binary search, as Go does; then one
/// identity is compared (R108).
#[inline(always)]
pub(crate) fn is_case(id: &TypeId, hash: u32, wanted: TypeId) -> bool {
    // SAFETY: a reference is valid for reads. Volatile, because otherwise the compiler loads the identity ahead
    // of the first comparison and merges the two of each arm, which leaves no chain of hashes to search.
    hash == type_hash(wanted) && unsafe { core::ptr::read_volatile(id) } == wanted
}

/// The compiler's own hash of a type, which `TypeId` gives to a hasher: one load when optimised.
#[inline]
pub(crate) fn type_hash(id: TypeId) -> u32 {
    struct Take(u64);

    impl Hasher for Take {
        #[inline]
        fn write(&mut self, bytes: &[u8]) {
            for &b in bytes {
                self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }

        #[inline]
        fn write_u64(&mut self, n: u64) {
            self.0 = self.0.rotate_left(32) ^ n;
        }

        #[inline]
        fn finish(&self) -> u64 {
            self.0
        }
    }

    let mut take = Take(0);
    id.hash(&mut take);
    // Truncation is meant: Go's hash has 32 bits as well.
    take.finish() as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[inline(never)]
    fn elsewhere<T: 'static>() -> &'static RType {
        RType::of::<T>()
    }

    #[test]
    fn equal_types_have_equal_descriptors_wherever_they_are_made() {
        assert_eq!(RType::of::<Option<u8>>(), elsewhere::<Option<u8>>());
        assert_eq!(
            RType::of::<u8>(),
            RType::of_described::<u8>(),
            "described or not, a type is itself"
        );
        assert_ne!(RType::of::<u8>(), RType::of::<i8>());
        assert_eq!(
            RType::of::<Option<u8>>().hash(),
            elsewhere::<Option<u8>>().hash()
        );
    }

    /// R138: the kinds that Go has carry Go's numbers: 0x36 & 0x1f is a pointer.
    #[test]
    fn r138_kinds_carry_gos_numbers() {
        assert_eq!(Kind::Pointer as u8, 0x36 & 0x1f);
        assert_eq!(Kind::Struct as u8, 25);
        assert_eq!(
            RType::of_described::<std::string::String>().kind(),
            Kind::String
        );
        assert_eq!(RType::of_described::<[u16; 3]>().kind(), Kind::Array);
        assert_eq!(RType::of::<u16>().kind(), Kind::Opaque);
    }

    /// R108: a hash is no proof, whatever types come to share one.
    #[test]
    fn r108_a_case_is_told_by_identity() {
        let [have, other] = [TypeId::of::<u8>(), TypeId::of::<i8>()];
        assert!(is_case(&have, type_hash(have), have));
        assert!(!is_case(&have, type_hash(other), other));
        assert!(!is_case(&have, type_hash(have), other));
    }
}
