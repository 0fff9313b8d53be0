//! The global run queue: an intrusive FIFO (R22). `globrunqput` and its kin in Go's `proc.go`.
//!
//! All access under the runtime's lock; a record's `link` belongs to the queue while it is on it.

use crate::runtime2::G;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct GlobQueue {
    head: Option<&'static G>,
    tail: Option<&'static G>,
    len: u32,
}

impl GlobQueue {
    pub(crate) const fn new() -> Self {
        Self { head: None, tail: None, len: 0 }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Puts at the tail.
    pub(crate) fn push(&mut self, g: &'static G) {
        g.link.set(None);
        match self.tail.replace(g) {
            Some(last) => last.link.set(Some(g)),
            None => self.head = Some(g),
        }
        self.len += 1;
    }

    /// Takes from the head.
    pub(crate) fn pop(&mut self) -> Option<&'static G> {
        let g = self.head?;
        self.head = g.link.take();
        if self.head.is_none() {
            self.tail = None;
        }
        self.len -= 1;
        Some(g)
    }
}

#[cfg(test)]
mod tests {
    use super::GlobQueue;
    use crate::runtime2::G;

    #[test]
    fn first_in_first_out() {
        let gs: Vec<&'static G> = (0..3).map(|_| &*Box::leak(Box::new(G::new()))).collect();
        let mut q = GlobQueue::new();
        for g in &gs {
            q.push(g);
        }
        assert_eq!(q.len(), 3);
        for want in [0, 1, 2] {
            assert!(core::ptr::eq(q.pop().unwrap(), gs[want]));
        }
        assert!(q.pop().is_none() && q.len() == 0);
        q.push(gs[0]);
        assert!(q.pop().is_some());
    }
}
