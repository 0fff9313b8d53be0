//! A shadow heap: it knows what every live object must hold, and checks overlap, alignment and
//! contents of what the allocator returns.

use galloc::Galloc;
use std::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;

/// A small seeded generator (splitmix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// Mostly small, sometimes large, as programs ask.
    pub fn size(&mut self) -> usize {
        match self.below(100) {
            0..70 => 1 + self.below(512),
            70..92 => 1 + self.below(8192),
            92..98 => 1 + self.below(64 << 10),
            _ => 1 + self.below(2 << 20),
        }
    }

    pub fn align(&mut self) -> usize {
        match self.below(20) {
            0 => 1 << self.below(17),
            1 => 64,
            _ => 8 << self.below(2),
        }
    }
}

/// One live object, filled with its stamp at both ends and in the middle.
#[derive(Debug)]
pub struct Block {
    at: *mut u8,
    layout: Layout,
    stamp: u8,
}

// SAFETY: a block owns its memory.
unsafe impl Send for Block {}

impl Block {
    pub fn new(rng: &mut Rng) -> Self {
        let layout = Layout::from_size_align(rng.size(), rng.align()).unwrap();
        let stamp = rng.next() as u8;
        let zeroed = rng.below(4) == 0;
        // SAFETY: the size is not zero.
        let at = unsafe {
            if zeroed {
                Galloc.alloc_zeroed(layout)
            } else {
                Galloc.alloc(layout)
            }
        };
        assert!(
            !at.is_null() && (at as usize).is_multiple_of(layout.align()),
            "{layout:?}: {at:p}"
        );
        if zeroed {
            // SAFETY: ours, and initialised by the allocator.
            let bytes = unsafe { std::slice::from_raw_parts(at, layout.size()) };
            assert!(bytes.iter().all(|&b| b == 0), "{layout:?} not zero");
        }
        let block = Self { at, layout, stamp };
        block.fill(0);
        block
    }

    pub fn range(&self) -> (usize, usize) {
        (self.at as usize, self.at as usize + self.layout.size())
    }

    fn fill(&self, from: usize) {
        // SAFETY: ours.
        unsafe {
            self.at
                .add(from)
                .write_bytes(self.stamp, self.layout.size() - from)
        };
    }

    pub fn check(&self) {
        // SAFETY: ours, and filled.
        let bytes = unsafe { std::slice::from_raw_parts(self.at, self.layout.size()) };
        let bad = bytes.iter().position(|&b| b != self.stamp);
        assert_eq!(bad, None, "{self:?} was overwritten");
    }

    pub fn resize(&mut self, size: usize) {
        let old = self.layout.size();
        // SAFETY: ours, with that layout.
        let at = unsafe { Galloc.realloc(self.at, self.layout, size) };
        assert!(!at.is_null() && (at as usize).is_multiple_of(self.layout.align()));
        self.at = at;
        self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        if size > old {
            self.fill(old);
        }
        self.check();
    }

    pub fn free(self) {
        self.check();
        // SAFETY: ours, given up here.
        unsafe { Galloc.dealloc(self.at, self.layout) };
    }
}

/// Live objects by address; a new one must touch none of them.
#[derive(Default)]
pub struct Shadow {
    live: BTreeMap<usize, usize>,
}

impl Shadow {
    pub fn add(&mut self, block: &Block) {
        let (start, end) = block.range();
        let before = self.live.range(..end).next_back();
        assert!(
            before.is_none_or(|(_, &e)| e <= start),
            "{block:?} overlaps {before:?}"
        );
        self.live.insert(start, end);
    }

    pub fn remove(&mut self, block: &Block) {
        assert_eq!(self.live.remove(&block.range().0), Some(block.range().1));
    }
}
