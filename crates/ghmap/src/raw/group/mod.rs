//! The eight tophash bytes of a bucket, compared at once. One file per instruction set.

#[cfg(target_arch = "x86_64")]
mod sse2;
#[cfg(target_arch = "x86_64")]
pub(crate) use sse2::{Group, Mask};

#[cfg(any(test, not(target_arch = "x86_64")))]
mod swar;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use swar::{Group, Mask};

/// A set of slots, iterated from the lowest. `SHIFT` is log2 of the bits that one slot takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots<const SHIFT: u32>(u64);

impl Slots<0> {
    /// The slots whose bits are set.
    #[inline(always)]
    pub(crate) fn of(bits: u8) -> Self {
        Self(u64::from(bits))
    }
}

impl<const SHIFT: u32> Slots<SHIFT> {
    /// No slot at all.
    pub(crate) const NONE: Self = Self(0);

    /// The lowest slot of the set.
    #[inline(always)]
    pub(crate) fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| (self.0.trailing_zeros() >> SHIFT) as usize)
    }
}

impl<const SHIFT: u32> Iterator for Slots<SHIFT> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let slot = self.first()?;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, swar};
    use std::vec::Vec;

    #[test]
    fn both_instruction_sets_agree_on_every_byte_at_every_place() {
        for byte in 0..=255u8 {
            for place in 0..8 {
                let mut bytes = [200u8; 8];
                bytes[place] = byte;
                bytes[(place + 3) % 8] = byte.wrapping_add(1);
                // SAFETY: eight readable bytes.
                let (a, b) = unsafe {
                    (
                        Group::load(bytes.as_ptr()),
                        swar::Group::load(bytes.as_ptr()),
                    )
                };
                let want = |f: &dyn Fn(u8) -> bool| -> Vec<usize> {
                    (0..8).filter(|&i| f(bytes[i])).collect()
                };
                for probe in [byte, byte.wrapping_add(1), 200, 7] {
                    let w = want(&|b| b == probe);
                    assert_eq!(a.matches(probe).collect::<Vec<_>>(), w);
                    assert_eq!(b.matches(probe).collect::<Vec<_>>(), w);
                }
                let w = want(&|b| b >= 5);
                assert_eq!(a.full().collect::<Vec<_>>(), w);
                assert_eq!(b.full().collect::<Vec<_>>(), w);
                assert_eq!(b.full().bits(), w.iter().fold(0, |bits, i| bits | 1 << i));
                assert_eq!(a.full().bits(), b.full().bits());
                let w = want(&|b| b <= 1);
                assert_eq!(a.empty().collect::<Vec<_>>(), w);
                assert_eq!(b.empty().collect::<Vec<_>>(), w);
            }
        }
    }
}
