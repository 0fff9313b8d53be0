// The examples hash by the default: tests of a build without it see none of them.
#![cfg(any(not(doctest), feature = "default-hasher"))]
#![cfg_attr(any(not(doctest), feature = "default-hasher"), doc = include_str!("../README.md"))]
#![no_std]

#[cfg(any(test, feature = "std"))]
extern crate std;

extern crate alloc as stdalloc;

mod alloc;
mod cursor;
mod error;
mod go;
mod hash;
mod map;
mod random;
mod raw;
#[cfg(feature = "rayon")]
mod rayon;
#[cfg(feature = "serde")]
mod serde;
mod set;
mod table;

pub use crate::alloc::{Allocator, Global};
pub use crate::cursor::Cursor;
pub use crate::error::{Stats, TryReserveError};
#[cfg(feature = "std")]
pub use crate::go::SharedMap;
pub use crate::go::{GoCursor, GoKey, GoMap};
pub use crate::hash::DefaultHashBuilder;
#[cfg(feature = "default-hasher")]
pub use crate::hash::DefaultHasher;
#[cfg(feature = "memhash")]
pub use crate::hash::{MemHash, MemHasher};
pub use crate::map::HashMap;
pub use crate::set::HashSet;
pub use crate::table::HashTable;

/// The map and the types that its methods give.
pub mod hash_map {
    pub use crate::map::*;

    /// Parallel iterators.
    #[cfg(feature = "rayon")]
    pub mod rayon {
        pub use crate::rayon::map::*;
    }
}

/// The set and the types that its methods give.
pub mod hash_set {
    pub use crate::set::*;

    /// Parallel iterators.
    #[cfg(feature = "rayon")]
    pub mod rayon {
        pub use crate::rayon::set::*;
    }
}

/// The table that leaves hashing to its caller, and the types that its methods give.
pub mod hash_table {
    pub use crate::table::*;

    /// Parallel iterators.
    #[cfg(feature = "rayon")]
    pub mod rayon {
        pub use crate::rayon::table::*;
    }
}

#[cfg(feature = "equivalent")]
pub use equivalent::Equivalent;

/// Comparison of a lookup key with a stored key, for lookups by something that is not `Borrow`.
///
/// The two must also hash alike. With the `equivalent` feature this is that crate's trait.
#[cfg(not(feature = "equivalent"))]
pub trait Equivalent<K: ?Sized> {
    /// Whether this is the key `key`.
    fn equivalent(&self, key: &K) -> bool;
}

#[cfg(not(feature = "equivalent"))]
impl<Q: ?Sized + Eq, K: ?Sized + core::borrow::Borrow<Q>> Equivalent<K> for Q {
    #[inline]
    fn equivalent(&self, key: &K) -> bool {
        self == key.borrow()
    }
}

/// Sharing between threads is what the entries allow, checked at compile time.
const _: () = {
    const fn send_sync<T: Send + Sync>() {}
    send_sync::<HashMap<u8, u8, (), Global>>();
    send_sync::<HashSet<u8, (), Global>>();
    send_sync::<Cursor<u8>>();
    send_sync::<GoMap<u8, u8, ()>>();
    send_sync::<GoCursor<u8, u8>>();
    send_sync::<HashTable<u8, Global>>();
    send_sync::<hash_table::Entry<'_, u8>>();
    send_sync::<hash_table::IterBuckets<'_, u8>>();
    send_sync::<hash_table::IterHashMut<'_, u8>>();
    send_sync::<hash_table::Drain<'_, u8>>();
    send_sync::<hash_map::RawEntryMut<'_, u8, u8, ()>>();
    send_sync::<hash_map::Iter<'_, u8, u8>>();
    send_sync::<hash_map::IterMut<'_, u8, u8>>();
    send_sync::<hash_map::IntoIter<u8, u8>>();
    send_sync::<hash_map::Drain<'_, u8, u8>>();
    send_sync::<hash_map::OccupiedEntry<'_, u8, u8, ()>>();
};
