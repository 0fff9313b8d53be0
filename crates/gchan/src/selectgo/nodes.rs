//! The nodes of one select: Go's `sudog` list, in the waiter's own frame if they are few.

use crate::waitq::Node;
use std::mem::MaybeUninit;

/// So many nodes need no allocation: one of glibc's costs as much as the rest of pass 2 over four cases.
const FEW: usize = 4;

pub(crate) struct Nodes {
    few: [MaybeUninit<Node>; FEW],
    /// All of them, if they are many.
    many: Vec<Node>,
    len: usize,
}

impl Nodes {
    pub(crate) fn none() -> Self {
        Self {
            few: [const { MaybeUninit::uninit() }; FEW],
            many: Vec::new(),
            len: 0,
        }
    }

    /// Takes them in, once.
    #[inline]
    pub(crate) fn fill(&mut self, nodes: impl ExactSizeIterator<Item = Node>) {
        debug_assert_eq!(self.len, 0);
        self.len = nodes.len();
        if self.len > FEW {
            self.many = nodes.collect();
            return;
        }
        for (slot, node) in self.few.iter_mut().zip(nodes) {
            slot.write(node);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first of `len` nodes, that lie side by side. They stay in place as long as this does.
    #[inline]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut Node {
        if self.len > FEW {
            self.many.as_mut_ptr()
        } else {
            self.few.as_mut_ptr().cast()
        }
    }
}
