//! Which pages of an arena are free: Go's page bitmaps and summaries (`mpagealloc.go`, 1.14 on).
//!
//! An arena's 8192 pages are 16 chunks of 512. A bit per page says "in use", another "dirty" (may
//! hold old bytes and occupy memory; see `sys`). Each chunk has a summary: the free pages at its
//! start, at its end, and its longest free run; from these the arena's longest run follows. A
//! search reads summaries and looks at bits only inside the one chunk that is known to have room.
//! Go spreads its tree over the whole address space in five levels; arenas here come one by one,
//! so the tree has three: heap (a run per arena), arena, chunk.
//!
//! Pages are taken first fit, lowest address first, which leaves the high ones to the scavenger.
//! Everything here is under the heap lock.

pub(crate) const ARENA_PAGES: usize = 8192;
const CHUNK_PAGES: usize = 512;
const CHUNKS: usize = ARENA_PAGES / CHUNK_PAGES;
const WORDS: usize = ARENA_PAGES / 64;
/// Pages of ours in a huge page of the system's, which are of 2 MiB.
pub(crate) const HUGE_PAGES: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Summary {
    start: u16,
    max: u16,
    end: u16,
}

/// The page bits of one arena. All zero bytes are *not* a valid value: see [`PageAlloc::reset`].
#[derive(Debug)]
pub(crate) struct PageAlloc {
    used: [u64; WORDS],
    dirty: [u64; WORDS],
    chunks: [Summary; CHUNKS],
    /// The longest free run.
    max: usize,
}

impl PageAlloc {
    /// All pages free and clean, but for the first `taken`.
    pub(crate) fn reset(&mut self, taken: usize) {
        let n = CHUNK_PAGES as u16;
        self.used.fill(0);
        self.dirty.fill(0);
        self.chunks.fill(Summary {
            start: n,
            max: n,
            end: n,
        });
        if taken > 0 {
            self.alloc(0, taken);
        } else {
            self.max = ARENA_PAGES;
        }
    }

    /// The longest free run.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// The lowest free run of `n` pages at a multiple of `align` pages.
    pub(crate) fn find(&self, n: usize, align: usize) -> Option<usize> {
        if self.max < n {
            return None;
        }
        if align > 1 {
            return self.find_in(0, ARENA_PAGES, n, align);
        }
        let mut run = 0;
        for (c, s) in self.chunks.iter().enumerate() {
            let at = c * CHUNK_PAGES;
            if run + s.start as usize >= n {
                return Some(at - run);
            }
            if s.max as usize >= n {
                return self.find_in(at, at + CHUNK_PAGES, n, 1);
            }
            run = if s.start as usize == CHUNK_PAGES {
                run + CHUNK_PAGES
            } else {
                s.end as usize
            };
        }
        None
    }

    fn find_in(&self, mut from: usize, to: usize, n: usize, align: usize) -> Option<usize> {
        while from < to {
            let start = seek(&self.used, from, to, false);
            let end = seek(&self.used, start, to, true);
            let at = start.next_multiple_of(align);
            if at + n <= end {
                return Some(at);
            }
            from = end;
        }
        None
    }

    /// True if the pages are free. False also past the end of the arena.
    pub(crate) fn is_free(&self, start: usize, n: usize) -> bool {
        start + n <= ARENA_PAGES && seek(&self.used, start, start + n, true) == start + n
    }

    /// Takes free pages; returns how many of them were dirty. They all are afterwards.
    pub(crate) fn alloc(&mut self, start: usize, n: usize) -> usize {
        let dirty = count(&self.dirty, start, n);
        set(&mut self.used, start, n, true);
        set(&mut self.dirty, start, n, true);
        self.summarize(start, n);
        dirty
    }

    /// Puts pages back, dirty or, if their memory went back to the system, clean.
    pub(crate) fn free(&mut self, start: usize, n: usize, dirty: bool) {
        set(&mut self.used, start, n, false);
        set(&mut self.dirty, start, n, dirty);
        self.summarize(start, n);
    }

    /// The highest run of free dirty pages below page `below`: at most `limit` of them, or up to the edge
    /// of a huge page more.
    pub(crate) fn find_dirty(&self, below: usize, limit: usize) -> Option<(usize, usize)> {
        let bits_of = |w: usize| {
            let past = (w * 64 + 64).saturating_sub(below);
            self.dirty[w] & !self.used[w] & (u64::MAX >> past)
        };
        let mut w = (0..below.div_ceil(64)).rev().find(|&w| bits_of(w) != 0)?;
        let end = w * 64 + 64 - bits_of(w).leading_zeros() as usize;
        let mut start = end;
        while start > 0 && (end - start < limit || !start.is_multiple_of(HUGE_PAGES)) {
            w = (start - 1) / 64;
            if (self.dirty[w] & !self.used[w]) >> ((start - 1) % 64) & 1 == 0 {
                break;
            }
            start -= 1;
        }
        Some((start, end - start))
    }

    fn summarize(&mut self, start: usize, n: usize) {
        for c in start / CHUNK_PAGES..=(start + n - 1) / CHUNK_PAGES {
            self.chunks[c] = self.summary(c * CHUNK_PAGES);
        }
        let (mut run, mut max) = (0, 0);
        for s in &self.chunks {
            max = max.max(run + s.start as usize).max(s.max as usize);
            run = if s.start as usize == CHUNK_PAGES {
                run + CHUNK_PAGES
            } else {
                s.end as usize
            };
        }
        self.max = max;
    }

    fn summary(&self, at: usize) -> Summary {
        let to = at + CHUNK_PAGES;
        let start = seek(&self.used, at, to, true) - at;
        let (mut max, mut end, mut p) = (start, start, at + start);
        while p < to {
            let from = seek(&self.used, p, to, false);
            p = seek(&self.used, from, to, true);
            end = p - from;
            max = max.max(end);
        }
        Summary {
            start: start as u16,
            max: max as u16,
            end: end as u16,
        }
    }
}

/// The first page from `from` whose bit is `bit`, or `to`.
fn seek(bits: &[u64; WORDS], from: usize, to: usize, bit: bool) -> usize {
    let mut p = from;
    while p < to {
        let word = if bit { bits[p / 64] } else { !bits[p / 64] } >> (p % 64);
        if word != 0 {
            return to.min(p + word.trailing_zeros() as usize);
        }
        p = (p / 64 + 1) * 64;
    }
    to
}

/// Word by word: the index, and a mask of the bits of `start..start + n` in it.
fn masks(start: usize, n: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = start + n;
    (start / 64..end.div_ceil(64)).map(move |w| {
        let low = start.max(w * 64) - w * 64;
        let high = end.min(w * 64 + 64) - w * 64;
        (w, (u64::MAX << low) & (u64::MAX >> (64 - high)))
    })
}

fn set(bits: &mut [u64; WORDS], start: usize, n: usize, bit: bool) {
    for (w, mask) in masks(start, n) {
        bits[w] = if bit { bits[w] | mask } else { bits[w] & !mask };
    }
}

fn count(bits: &[u64; WORDS], start: usize, n: usize) -> usize {
    masks(start, n)
        .map(|(w, mask)| (bits[w] & mask).count_ones() as usize)
        .sum()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fresh() -> Box<PageAlloc> {
        let none = Summary {
            start: 0,
            max: 0,
            end: 0,
        };
        let mut p = Box::new(PageAlloc {
            used: [0; WORDS],
            dirty: [0; WORDS],
            chunks: [none; CHUNKS],
            max: 0,
        });
        p.reset(0);
        p
    }

    fn first_fit(used: &[bool], n: usize, align: usize) -> Option<usize> {
        (0..=used.len().checked_sub(n)?)
            .step_by(align)
            .find(|&at| used[at..at + n].iter().all(|&u| !u))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Against a plain array of flags: same places, same dirtiness, same longest run.
        #[test]
        fn r120_pages_are_found_first_fit(
            steps in prop::collection::vec((0usize..4, 1usize..900, 0u32..5, any::<prop::sample::Index>()), 1..120)
        ) {
            let mut p = fresh();
            let mut used = vec![false; ARENA_PAGES];
            let mut dirty = vec![false; ARENA_PAGES];
            let mut live = Vec::new();
            for (what, n, shift, index) in steps {
                if what == 0 && !live.is_empty() {
                    let (at, n): (usize, usize) = live.swap_remove(index.index(live.len()));
                    p.free(at, n, true);
                    used[at..at + n].fill(false);
                } else if what == 1 {
                    let most = n;
                    let below = index.index(ARENA_PAGES + 1);
                    if let Some((at, n)) = p.find_dirty(below, most) {
                        prop_assert!(at + n <= below);
                        prop_assert!((at + n..below).all(|i| used[i] || !dirty[i]));
                        prop_assert!(n <= most || n < most + HUGE_PAGES);
                        let go_on = at > 0 && dirty[at - 1] && !used[at - 1];
                        prop_assert!(!go_on || n >= most && at.is_multiple_of(HUGE_PAGES));
                        prop_assert!((at..at + n).all(|i| dirty[i] && !used[i]));
                        p.free(at, n, false);
                        dirty[at..at + n].fill(false);
                    } else {
                        prop_assert!((0..below).all(|i| used[i] || !dirty[i]));
                    }
                } else {
                    let align = if what == 2 { 1 } else { 1 << shift };
                    let at = p.find(n, align);
                    prop_assert_eq!(at, first_fit(&used, n, align));
                    if let Some(at) = at {
                        prop_assert!(p.is_free(at, n));
                        let was = p.alloc(at, n);
                        prop_assert_eq!(was, dirty[at..at + n].iter().filter(|&&d| d).count());
                        used[at..at + n].fill(true);
                        dirty[at..at + n].fill(true);
                        live.push((at, n));
                    }
                }
                let longest = used.split(|&u| u).map(<[bool]>::len).max().unwrap();
                prop_assert_eq!(p.max(), longest);
            }
        }
    }
}
