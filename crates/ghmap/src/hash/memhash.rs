//! [`MemHash`]: Go's way to hash memory. AES rounds where an x86-64 processor has them, xxh3 elsewhere (R64).
//!
//! Go picks one of the two when a program starts; here it is picked when a builder is made, and
//! every hasher of a map works the same way. Each piece of a key is hashed with the hash of the pieces
//! before it as its seed, which is how Go hashes a struct field by field.
//!
//! An AES round mixes each byte with three others of its column and moves it to another; after three
//! rounds every bit depends on every other. The keys of the rounds are the map's seed, 256 bits of it.

use core::fmt;
use core::hash::{BuildHasher, Hasher};
use xxhash_rust::xxh3::xxh3_64_with_seed;

#[cfg(target_arch = "x86_64")]
mod aes;

/// A `BuildHasher` that hashes as Go does, with a seed of its own for every map: by AES rounds on an x86-64
/// processor that has them (without the `std` feature, if the program is compiled for one), else by xxh3. Go has AES
/// rounds for ARM processors too.
///
/// Compare [`DefaultHashBuilder`](crate::DefaultHashBuilder), which is faster on integers and short keys:
/// see the figures in the crate's README.
///
/// ```
/// let mut map = ghmap::HashMap::with_hasher(ghmap::MemHash::new());
/// map.insert("key", 1);
/// assert_eq!(map["key"], 1);
/// ```
#[derive(Clone)]
pub struct MemHash {
    seed: [u64; 4],
    /// AES, by a processor that was found to have it.
    aes: bool,
}

impl fmt::Debug for MemHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The seed is nobody's business.
        f.debug_struct("MemHash")
            .field("aes", &self.aes)
            .finish_non_exhaustive()
    }
}

impl Default for MemHash {
    fn default() -> Self {
        Self::new()
    }
}

impl MemHash {
    /// A builder with a fresh seed: from the system's random numbers with the `std` feature, otherwise
    /// from a counter and where the program was loaded, which resists accidents and not attackers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            seed: core::array::from_fn(|_| random_seed()),
            aes: has_aes(),
        }
    }

    /// A builder that uses xxh3 whatever the processor.
    #[must_use]
    pub fn portable() -> Self {
        Self {
            aes: false,
            ..Self::new()
        }
    }

    /// Whether AES is used.
    #[must_use]
    pub fn uses_aes(&self) -> bool {
        self.aes
    }
}

fn random_seed() -> u64 {
    #[cfg(feature = "std")]
    return std::hash::RandomState::new().hash_one(crate::random::random());
    #[cfg(not(feature = "std"))]
    crate::random::random()
}

fn has_aes() -> bool {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(not(all(target_arch = "x86_64", feature = "std")))]
    cfg!(all(target_arch = "x86_64", target_feature = "aes"))
}

impl BuildHasher for MemHash {
    type Hasher = MemHasher;

    #[inline]
    fn build_hasher(&self) -> MemHasher {
        MemHasher {
            hash: self.seed[0],
            builder: self.clone(),
        }
    }
}

/// The hasher of [`MemHash`].
#[derive(Clone)]
pub struct MemHasher {
    /// The hash of what has been written, and the seed of what comes next.
    hash: u64,
    builder: MemHash,
}

impl fmt::Debug for MemHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The state begins as a part of the seed.
        f.debug_struct("MemHasher")
            .field("aes", &self.builder.aes)
            .finish_non_exhaustive()
    }
}

macro_rules! fixed {
    ($($write:ident($ty:ty)),*) => {$(
        #[inline]
        fn $write(&mut self, n: $ty) {
            self.word(n as u64, size_of::<$ty>() as u64);
        }
    )*};
}

impl MemHasher {
    /// Up to eight bytes.
    #[inline]
    fn word(&mut self, n: u64, len: u64) {
        #[cfg(target_arch = "x86_64")]
        if self.builder.aes {
            // SAFETY: the processor has AES: `has_aes` said so when the builder was made.
            self.hash = unsafe { aes::hash_word(n, len, self.hash, &self.builder.seed) };
            return;
        }
        let _ = len;
        self.hash = xxh3_64_with_seed(&n.to_le_bytes(), self.hash ^ self.builder.seed[1]);
    }
}

impl Hasher for MemHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        if self.builder.aes {
            // SAFETY: the processor has AES: `has_aes` said so when the builder was made.
            self.hash = unsafe { aes::hash_bytes(bytes, self.hash, &self.builder.seed) };
            return;
        }
        self.hash = xxh3_64_with_seed(bytes, self.hash ^ self.builder.seed[1]);
    }

    fixed!(
        write_u8(u8),
        write_u16(u16),
        write_u32(u32),
        write_u64(u64),
        write_usize(usize)
    );

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn debug_shows_no_seed() {
        for builder in [MemHash::new(), MemHash::portable()] {
            let aes = builder.uses_aes();
            assert_eq!(
                format!("{builder:?}"),
                format!("MemHash {{ aes: {aes}, .. }}")
            );
            assert_eq!(
                format!("{:?}", builder.build_hasher()),
                format!("MemHasher {{ aes: {aes}, .. }}")
            );
        }
    }
}
