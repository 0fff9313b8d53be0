//! Hashing: the default builder, and [`MemHash`], which hashes as Go does.

#[cfg(feature = "memhash")]
mod memhash;

#[cfg(feature = "memhash")]
pub use memhash::{MemHash, MemHasher};

use core::fmt;
#[cfg(feature = "default-hasher")]
use core::hash::{BuildHasher, Hasher};

/// The default `BuildHasher`: foldhash, its `quality` variant, with a seed of its own for every map.
///
/// Chosen by measurement. On a `u64` it takes 1.0 ns where foldhash's `fast` variant takes 0.6, AES rounds
/// 2.4 and SipHash 5.5; but `fast` fails the avalanche test, and spreads consecutive integers over the top
/// byte, which tells the slots of a bucket apart here, three times worse than chance with some seeds. Like
/// both variants it resists flooding by those who can neither see hashes nor time lookups; against others
/// use `std`'s `RandomState`.
///
/// Without the `default-hasher` feature it cannot hash, and only names the default type.
#[derive(Clone, Default)]
pub struct DefaultHashBuilder {
    #[cfg(feature = "default-hasher")]
    inner: foldhash::quality::RandomState,
}

impl fmt::Debug for DefaultHashBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The seed is nobody's business.
        f.debug_struct("DefaultHashBuilder").finish_non_exhaustive()
    }
}

/// The hasher of [`DefaultHashBuilder`].
#[cfg(feature = "default-hasher")]
#[derive(Clone)]
pub struct DefaultHasher {
    inner: <foldhash::quality::RandomState as BuildHasher>::Hasher,
}

#[cfg(feature = "default-hasher")]
impl fmt::Debug for DefaultHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The state would give the seed away.
        f.debug_struct("DefaultHasher").finish_non_exhaustive()
    }
}

#[cfg(feature = "default-hasher")]
impl BuildHasher for DefaultHashBuilder {
    type Hasher = DefaultHasher;

    #[inline(always)]
    fn build_hasher(&self) -> DefaultHasher {
        DefaultHasher {
            inner: self.inner.build_hasher(),
        }
    }
}

#[cfg(feature = "default-hasher")]
macro_rules! forward {
    ($($write:ident($ty:ty)),*) => {$(
        #[inline(always)]
        fn $write(&mut self, n: $ty) {
            self.inner.$write(n);
        }
    )*};
}

#[cfg(feature = "default-hasher")]
impl Hasher for DefaultHasher {
    forward!(
        write(&[u8]),
        write_u8(u8),
        write_u16(u16),
        write_u32(u32),
        write_u64(u64),
        write_u128(u128),
        write_usize(usize),
        write_i8(i8),
        write_i16(i16),
        write_i32(i32),
        write_i64(i64),
        write_i128(i128),
        write_isize(isize)
    );

    #[inline(always)]
    fn finish(&self) -> u64 {
        self.inner.finish()
    }
}

#[cfg(all(test, feature = "default-hasher"))]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn debug_shows_no_seed() {
        let builder = DefaultHashBuilder::default();
        assert_eq!(format!("{builder:?}"), "DefaultHashBuilder { .. }");
        let hasher = builder.build_hasher();
        assert_eq!(format!("{hasher:?}"), "DefaultHasher { .. }");
    }
}
