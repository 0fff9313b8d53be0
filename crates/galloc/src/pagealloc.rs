//! Which pages of an arena are free: Go's page bitmaps and radix summaries (`mpagealloc.go`).
//!
//! A set bit in `alloc` is a page in use; a set bit in `scav` is a page the system has not backed,
//! because it was never touched or was given back, so that it reads as zero. Pages in use have
//! `scav` clear. Per chunk of 512 pages (4 MiB) a summary gives the free pages at its start, the
//! longest free run and those at its end; sixteen chunks make an arena's summary, and the heap keeps
//! one word per arena, which it scans in address order of creation: first fit, lowest first.
//! Go's radix tree spans the whole address space in five levels and reserves 600 MiB for it; arenas
//! here are numbered densely, so two levels and a scan do (16,384 arenas make a terabyte).
//!
//! Everything in this file happens under the heap lock.

use crate::arena::ARENA_PAGES;
use core::cell::Cell;

pub(crate) const CHUNK_PAGES: usize = 512;
pub(crate) const CHUNKS: usize = ARENA_PAGES / CHUNK_PAGES;
const WORDS: usize = ARENA_PAGES / 64;
const CHUNK_WORDS: usize = CHUNK_PAGES / 64;

/// Free pages at the start, longest free run, free pages at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) start: u16,
    pub(crate) max: u16,
    pub(crate) end: u16,
}

/// The page state of one arena. All zero is "all in use is clear": call [`init`](Self::init) first.
#[derive(Debug)]
pub(crate) struct PageBits {
    alloc: [Cell<u64>; WORDS],
    scav: [Cell<u64>; WORDS],
    sums: [Cell<Summary>; CHUNKS],
    /// Free pages that are backed by memory, per chunk.
    dirty: [Cell<u16>; CHUNKS],
}

// SAFETY: reached under the heap lock only.
unsafe impl Sync for PageBits {}

/// A mask of `n` bits from bit `from` on.
fn mask(from: usize, n: usize) -> u64 {
    debug_assert!(n >= 1 && from + n <= 64);
    (u64::MAX >> (64 - n)) << from
}

/// Calls `f(word, mask)` for the words that a run of pages covers.
fn for_words(page: usize, n: usize, mut f: impl FnMut(usize, u64)) {
    let (mut at, end) = (page, page + n);
    while at < end {
        let bits = (64 - at % 64).min(end - at);
        f(at / 64, mask(at % 64, bits));
        at += bits;
    }
}

impl PageBits {
    /// Everything free and not backed.
    pub(crate) fn init(&self) {
        for i in 0..WORDS {
            self.alloc[i].set(0);
            self.scav[i].set(u64::MAX);
        }
        for chunk in 0..CHUNKS {
            self.dirty[chunk].set(0);
            self.summarise(chunk);
        }
    }

    /// The arena's longest free run.
    pub(crate) fn max_run(&self) -> usize {
        let (mut best, mut run) = (0, 0);
        for sum in &self.sums {
            let s = sum.get();
            best = best.max(run + s.start as usize).max(s.max as usize);
            run = if s.start as usize == CHUNK_PAGES {
                run + CHUNK_PAGES
            } else {
                s.end as usize
            };
        }
        best.max(run)
    }

    /// The lowest run of `n` free pages that starts at a multiple of `align` pages (a power of two).
    pub(crate) fn find(&self, n: usize, align: usize) -> Option<usize> {
        let need = n + align - 1;
        let mut run = 0;
        for (chunk, sum) in self.sums.iter().enumerate() {
            let s = sum.get();
            let base = chunk * CHUNK_PAGES;
            if run + s.start as usize >= need {
                return Some((base - run).next_multiple_of(align));
            }
            if s.max as usize >= need {
                return self
                    .find_in_chunk(chunk, need)
                    .map(|page| page.next_multiple_of(align));
            }
            run = if s.start as usize == CHUNK_PAGES {
                run + CHUNK_PAGES
            } else {
                s.end as usize
            };
        }
        None
    }

    fn find_in_chunk(&self, chunk: usize, n: usize) -> Option<usize> {
        let end = (chunk + 1) * CHUNK_PAGES;
        let mut page = chunk * CHUNK_PAGES;
        while let Some(start) = next(&self.alloc, page, end, false) {
            let stop = next(&self.alloc, start, end, true).unwrap_or(end);
            if stop - start >= n {
                return Some(start);
            }
            page = stop;
        }
        None
    }

    /// Whether `n` pages from `page` on are free (and exist).
    pub(crate) fn is_free(&self, page: usize, n: usize) -> bool {
        let end = page + n;
        end <= ARENA_PAGES && next(&self.alloc, page, end, true).is_none()
    }

    /// Takes free pages into use. Returns how many of them were not backed.
    pub(crate) fn take(&self, page: usize, n: usize) -> usize {
        let mut clean = 0;
        for_words(page, n, |w, m| {
            debug_assert_eq!(self.alloc[w].get() & m, 0, "pages taken twice");
            self.alloc[w].set(self.alloc[w].get() | m);
            let scav = self.scav[w].get() & m;
            self.scav[w].set(self.scav[w].get() & !m);
            clean += scav.count_ones() as usize;
            let dirty = &self.dirty[w / CHUNK_WORDS];
            dirty.set(dirty.get() - (m & !scav).count_ones() as u16);
        });
        self.summarise_run(page, n);
        clean
    }

    /// Frees pages; `scavenged` says that they are not backed any more.
    pub(crate) fn free(&self, page: usize, n: usize, scavenged: bool) {
        for_words(page, n, |w, m| {
            debug_assert_eq!(self.alloc[w].get() & m, m, "pages freed twice");
            self.alloc[w].set(self.alloc[w].get() & !m);
            if scavenged {
                self.scav[w].set(self.scav[w].get() | m);
            } else {
                let dirty = &self.dirty[w / CHUNK_WORDS];
                dirty.set(dirty.get() + m.count_ones() as u16);
            }
        });
        self.summarise_run(page, n);
    }

    /// The highest run of at most `most` free pages that are backed, below page `below`, within one
    /// chunk. Chunks that are almost full (31 of 32 pages in use) are passed over unless `dense`:
    /// their huge pages are worth more than their few free pages.
    pub(crate) fn find_dirty(&self, below: usize, most: usize, dense: bool) -> Option<(usize, usize)> {
        for chunk in (0..below.div_ceil(CHUNK_PAGES)).rev() {
            let dirty = self.dirty[chunk].get() as usize;
            if dirty == 0 || (!dense && dirty <= CHUNK_PAGES / 32) {
                continue;
            }
            let base = chunk * CHUNK_PAGES;
            let mut end = below.min(base + CHUNK_PAGES);
            while end > base && !self.is_dirty(end - 1) {
                end -= 1;
            }
            let mut start = end;
            while start > base && end - start < most && self.is_dirty(start - 1) {
                start -= 1;
            }
            if start < end {
                return Some((start, end - start));
            }
        }
        None
    }

    fn is_dirty(&self, page: usize) -> bool {
        let w = page / 64;
        (self.alloc[w].get() | self.scav[w].get()) >> (page % 64) & 1 == 0
    }

    fn summarise_run(&self, page: usize, n: usize) {
        for chunk in page / CHUNK_PAGES..=(page + n - 1) / CHUNK_PAGES {
            self.summarise(chunk);
        }
    }

    /// Recomputes a chunk's summary from its eight words.
    fn summarise(&self, chunk: usize) {
        let words = &self.alloc[chunk * CHUNK_WORDS..(chunk + 1) * CHUNK_WORDS];
        let (mut start, mut max, mut run) = (None, 0, 0);
        for word in words {
            let mut used = word.get();
            let mut left = 64;
            while left > 0 {
                let free = (used.trailing_zeros() as usize).min(left);
                run += free;
                left -= free;
                if left == 0 {
                    break;
                }
                start.get_or_insert(run);
                max = max.max(run);
                run = 0;
                used >>= free;
                let busy = (used.trailing_ones() as usize).min(left);
                left -= busy;
                used = used.checked_shr(busy as u32).unwrap_or(0);
            }
        }
        self.sums[chunk].set(Summary {
            start: start.unwrap_or(run) as u16,
            max: max.max(run) as u16,
            end: run as u16,
        });
    }
}

/// The first page from `from` on, below `end`, whose bit equals `set`.
fn next(words: &[Cell<u64>; WORDS], from: usize, end: usize, set: bool) -> Option<usize> {
    let mut page = from;
    while page < end {
        let word = words[page / 64].get();
        let word = if set { word } else { !word };
        let rest = word >> (page % 64);
        if rest != 0 {
            let found = page + rest.trailing_zeros() as usize;
            return (found < end).then_some(found);
        }
        page = (page / 64 + 1) * 64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fresh() -> Box<PageBits> {
        // SAFETY: PageBits is made of integers.
        let bits: Box<PageBits> = unsafe { Box::new_zeroed().assume_init() };
        bits.init();
        bits
    }

    /// The first aligned run, by the definition.
    fn naive(used: &[bool], n: usize, align: usize) -> Option<usize> {
        let need = n + align - 1;
        let mut run = 0;
        for (i, &u) in used.iter().enumerate() {
            run = if u { 0 } else { run + 1 };
            if run == need {
                return Some((i + 1 - need).next_multiple_of(align));
            }
        }
        None
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn r120_pages_are_found_first_fit_and_never_twice(
            ops in prop::collection::vec((1usize..900, 0u32..3, any::<bool>(), any::<prop::sample::Index>()), 1..120)
        ) {
            let bits = fresh();
            let mut used = vec![false; ARENA_PAGES];
            let mut live: Vec<(usize, usize)> = Vec::new();
            for (n, align, free, which) in ops {
                if free && !live.is_empty() {
                    let (page, n) = live.swap_remove(which.index(live.len()));
                    bits.free(page, n, n % 2 == 0);
                    used[page..page + n].fill(false);
                } else {
                    let found = bits.find(n, 1 << align);
                    prop_assert_eq!(found, naive(&used, n, 1 << align));
                    if let Some(page) = found {
                        prop_assert!(bits.is_free(page, n));
                        bits.take(page, n);
                        used[page..page + n].fill(true);
                        live.push((page, n));
                    }
                }
                let longest = used.split(|&u| u).map(<[bool]>::len).max().unwrap();
                prop_assert_eq!(bits.max_run(), longest);
            }
        }
    }

    #[test]
    fn dirty_runs_are_found_from_the_top_and_counted() {
        let bits = fresh();
        assert_eq!(bits.take(0, 1000), 1000, "never touched");
        bits.free(100, 200, false);
        bits.free(700, 50, false);
        assert_eq!(bits.find_dirty(ARENA_PAGES, 512, true), Some((700, 50)));
        assert_eq!(bits.find_dirty(700, 64, true), Some((236, 64)));
        assert_eq!(bits.take(100, 10), 0, "still backed");
        bits.take(700, 50);
        bits.free(700, 50, true);
        assert_eq!(bits.find_dirty(ARENA_PAGES, 512, true), Some((110, 190)));
        assert_eq!(bits.take(700, 50), 50, "given back");
    }
}
