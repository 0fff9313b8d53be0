//! Iterators over what a receiver receives.

use crate::Receiver;
use std::fmt;
use std::iter::FusedIterator;

/// Receives until the channel is empty and disconnected; waits in between. May park.
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
    /// It has given `None`. A message can come back to a channel that has ended.
    ended: bool,
}

/// Receives what is there, and never waits.
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

/// As [`Iter`], owning its receiver.
pub struct IntoIter<T> {
    receiver: Receiver<T>,
    ended: bool,
}

impl<T> Receiver<T> {
    /// Iterates over messages, waiting for each, until the channel is empty and disconnected. May park.
    ///
    /// ```
    /// let (s, r) = gchan::unbounded();
    /// std::thread::spawn(move || (0..3).try_for_each(|n| s.send(n)));
    /// assert_eq!(r.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            receiver: self,
            ended: false,
        }
    }

    /// Iterates over the messages that are there, without waiting.
    ///
    /// ```
    /// let (s, r) = gchan::bounded(8);
    /// s.send('a')?;
    /// s.send('b')?;
    /// assert_eq!(r.try_iter().collect::<String>(), "ab");
    /// # Ok::<(), gchan::SendError<char>>(())
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }
}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.ended {
            return None;
        }
        let next = self.receiver.recv().ok();
        self.ended = next.is_none();
        next
    }
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.ended {
            return None;
        }
        let next = self.receiver.recv().ok();
        self.ended = next.is_none();
        next
    }
}

impl<T> FusedIterator for Iter<'_, T> {}
impl<T> FusedIterator for IntoIter<T> {}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter {
            receiver: self,
            ended: false,
        }
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Iter { .. }")
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TryIter { .. }")
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntoIter { .. }")
    }
}
