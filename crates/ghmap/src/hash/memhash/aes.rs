//! Hashing by AES rounds; compare `aeshash` in Go's `runtime/asm_amd64.s`.
//!
//! Go lays up to eight lanes side by side for long keys. Here are four, which keeps the loop in few
//! registers; whether eight would be faster was not measured.

use core::arch::x86_64::{
    __m128i, _mm_aesenc_si128, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_set_epi64x, _mm_xor_si128,
};

/// The round keys: both halves of the seed.
#[target_feature(enable = "aes")]
#[inline]
fn keys(seed: &[u64; 4]) -> (__m128i, __m128i) {
    (
        _mm_set_epi64x(seed[1] as i64, seed[0] as i64),
        _mm_set_epi64x(seed[3] as i64, seed[2] as i64),
    )
}

/// Three rounds, after which every bit has met every other.
#[target_feature(enable = "aes")]
#[inline]
fn finish(x: __m128i, k0: __m128i, k1: __m128i) -> u64 {
    let x = _mm_aesenc_si128(x, k0);
    let x = _mm_aesenc_si128(x, k1);
    _mm_cvtsi128_si64(_mm_aesenc_si128(x, k0)) as u64
}

/// The hash of `len` bytes that fit a word.
#[target_feature(enable = "aes")]
#[inline]
pub(super) fn hash_word(n: u64, len: u64, hash: u64, seed: &[u64; 4]) -> u64 {
    let (k0, k1) = keys(seed);
    let x = _mm_set_epi64x((hash ^ len.rotate_left(56)) as i64, n as i64);
    finish(_mm_xor_si128(x, k1), k0, k1)
}

/// Up to sixteen bytes as a block. Shorter ones are read as two words that may overlap: the length is
/// in the hash already, so that no two keys of one length look alike, and no bytes are copied about.
#[target_feature(enable = "aes")]
#[inline]
fn block(bytes: &[u8]) -> __m128i {
    if let Some(sixteen) = bytes.first_chunk::<16>() {
        // SAFETY: sixteen readable bytes.
        return unsafe { _mm_loadu_si128(sixteen.as_ptr().cast()) };
    }
    let (low, high) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(low), Some(high)) => (u64::from_le_bytes(*low), u64::from_le_bytes(*high)),
        _ => match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(low), Some(high)) => (
                u64::from(u32::from_le_bytes(*low)),
                u64::from(u32::from_le_bytes(*high)),
            ),
            _ => match *bytes {
                [] => (0, 0),
                [a] => (u64::from(a), 0),
                [a, b] => (u64::from(a), u64::from(b)),
                [a, b, c, ..] => (u64::from(a) | u64::from(b) << 8, u64::from(c)),
            },
        },
    };
    _mm_set_epi64x(high as i64, low as i64)
}

/// The hash of any bytes.
#[target_feature(enable = "aes")]
pub(super) fn hash_bytes(bytes: &[u8], hash: u64, seed: &[u64; 4]) -> u64 {
    let (k0, k1) = keys(seed);
    let start = _mm_xor_si128(_mm_set_epi64x(bytes.len() as i64, hash as i64), k0);
    if bytes.len() <= 16 {
        let x = _mm_aesenc_si128(start, k1);
        return finish(_mm_xor_si128(x, block(bytes)), k0, k1);
    }
    // All lanes start alike. Go gives each a seed of its own, because it ends by XORing them, and what two have in
    // common would cancel out; here each meets the next by another number of rounds.
    let mut lanes = [_mm_aesenc_si128(start, k1); 4];
    for four in bytes.chunks(64) {
        for (lane, part) in lanes.iter_mut().zip(four.chunks(16)) {
            let x = _mm_aesenc_si128(_mm_xor_si128(*lane, block(part)), k0);
            *lane = _mm_aesenc_si128(x, k1);
        }
    }
    let [a, b, c, d] = lanes;
    let x = _mm_xor_si128(_mm_aesenc_si128(a, k0), b);
    let y = _mm_xor_si128(_mm_aesenc_si128(c, k1), d);
    finish(_mm_xor_si128(_mm_aesenc_si128(x, k1), y), k0, k1)
}
