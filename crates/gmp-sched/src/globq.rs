//! The global run queue: a FIFO (R22). `globrunqput` and its kin in Go's `proc.go`.
//!
//! Blocks of pointers, where Go links the records: a list of a million goroutines, each in a cache line
//! that nobody has touched for long, is walked a memory access after the other, and was a fifth of
//! what skynet costs. Whoever takes many from blocks can ask for all their lines at once.
//!
//! All access under the runtime's lock.

use crate::runtime2::G;
use std::collections::VecDeque;

/// Entries of a block: 2 KiB.
const LEN: usize = 256;

type Block = [Option<&'static G>; LEN];

/// See the module's documentation.
pub(crate) struct GlobQueue {
    blocks: VecDeque<Box<Block>>,
    /// The next to take, in the first block.
    head: usize,
    /// The next to fill, in the last block.
    tail: usize,
    len: u32,
    /// So that a queue that goes back and forth over a block's end does not allocate each time.
    spare: Option<Box<Block>>,
}

impl GlobQueue {
    pub(crate) const fn new() -> Self {
        Self { blocks: VecDeque::new(), head: 0, tail: LEN, len: 0, spare: None }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Puts at the tail.
    pub(crate) fn push(&mut self, g: &'static G) {
        if self.tail == LEN {
            let block = self.spare.take().unwrap_or_else(|| Box::new([None; LEN]));
            self.blocks.push_back(block);
            self.tail = 0;
        }
        if let Some(last) = self.blocks.back_mut() {
            last[self.tail] = Some(g);
        }
        self.tail += 1;
        self.len += 1;
    }

    /// Takes from the head.
    pub(crate) fn pop(&mut self) -> Option<&'static G> {
        if self.len == 0 {
            return None;
        }
        let g = self.blocks.front()?[self.head];
        self.head += 1;
        self.len -= 1;
        if self.head == LEN {
            self.spare = self.blocks.pop_front();
            self.head = 0;
        }
        g
    }
}

#[cfg(test)]
mod tests {
    use super::{GlobQueue, LEN};
    use crate::runtime2::G;

    #[test]
    fn first_in_first_out_over_the_ends_of_blocks() {
        let gs: Vec<&'static G> =
            (0..3 * LEN).map(|_| &*Box::leak(Box::new(G::new()))).collect();
        let mut q = GlobQueue::new();
        let (mut put, mut taken) = (0, 0);
        // Ever more in the queue, then ever fewer, then empty; twice.
        for _ in 0..2 {
            for (puts, takes) in [(7, 3), (LEN + 1, 0), (0, LEN / 2), (1, 1), (3, 7), (0, 3 * LEN)] {
                for _ in 0..puts {
                    q.push(gs[put % gs.len()]);
                    put += 1;
                }
                for _ in 0..takes.min(put - taken) {
                    assert!(core::ptr::eq(q.pop().unwrap(), gs[taken % gs.len()]));
                    taken += 1;
                }
                assert_eq!(q.len() as usize, put - taken);
            }
            assert!(q.pop().is_none() && q.blocks.len() <= 1);
        }
    }
}
