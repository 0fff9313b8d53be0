//! Descriptions of the types that everybody has: kinds, no methods.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

macro_rules! plain {
    ($($kind:ident $t:ty;)*) => { $( crate::describe!($kind $t); )* };
}

plain! {
    Bool bool; Char char; Unit (); String String; String &'static str;
    I8 i8; I16 i16; I32 i32; I64 i64; I128 i128; Isize isize;
    U8 u8; U16 u16; U32 u32; U64 u64; U128 u128; Usize usize;
    F32 f32; F64 f64;
}

crate::describe!(for[T: 'static] Pointer Box<T>);
crate::describe!(for[T: 'static] Pointer Rc<T>);
crate::describe!(for[T: 'static] Pointer Arc<T>);
crate::describe!(for[T: 'static] Pointer &'static T);
crate::describe!(for[T: 'static] Slice Vec<T>);
crate::describe!(for[T: 'static] Slice &'static [T]);
crate::describe!(for[T: 'static, const N: usize] Array [T; N]);
crate::describe!(for[T: 'static] Enum Option<T>);
crate::describe!(for[T: 'static, E: 'static] Enum Result<T, E>);
crate::describe!(for[K: 'static, V: 'static] Map BTreeMap<K, V>);
crate::describe!(for[A: 'static] Tuple (A,));
crate::describe!(for[A: 'static, B: 'static] Tuple (A, B));
crate::describe!(for[A: 'static, B: 'static, C: 'static] Tuple (A, B, C));
crate::describe!(for[A: 'static, B: 'static, C: 'static, D: 'static] Tuple (A, B, C, D));
