//! Receiving many messages under few turns of the lock.

use crate::channel::{Flavor, Receiver};
use crate::err::{RecvError, TryRecvError};
use std::fmt;

impl<T> Receiver<T> {
    /// Waits for a message, then takes what else is there, up to `limit` messages, and appends them to `buf`. Returns
    /// how many, at least one. May park.
    ///
    /// # Errors
    /// [`RecvError`] once the channel is empty and all senders are gone.
    ///
    /// ```
    /// let (s, r) = gchan::unbounded();
    /// (0..10).for_each(|n| s.send(n).unwrap());
    /// let mut batch = Vec::new();
    /// assert_eq!(r.recv_many(&mut batch, 8), Ok(8));
    /// assert_eq!(r.recv_many(&mut batch, 8), Ok(2));
    /// assert_eq!(batch, (0..10).collect::<Vec<_>>());
    /// ```
    pub fn recv_many(&self, buf: &mut Vec<T>, limit: usize) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let before = buf.len();
        buf.push(self.recv()?);
        self.take_many(buf, limit - 1);
        Ok(buf.len() - before)
    }

    /// As [`recv_many`](Self::recv_many), as a future. Cancel-safe: nothing is taken before it resolves.
    ///
    /// # Errors
    /// [`RecvError`] once the channel is empty and all senders are gone.
    pub async fn recv_many_async(
        &self,
        buf: &mut Vec<T>,
        limit: usize,
    ) -> Result<usize, RecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let before = buf.len();
        let first = self.recv_async().await?;
        buf.push(first);
        self.take_many(buf, limit - 1);
        Ok(buf.len() - before)
    }

    /// Takes what is there, without waiting, and appends it to `buf`. Returns how many.
    ///
    /// # Errors
    /// [`TryRecvError`] if that is none.
    pub fn try_recv_many(&self, buf: &mut Vec<T>, limit: usize) -> Result<usize, TryRecvError> {
        if limit == 0 {
            return Ok(0);
        }
        let before = buf.len();
        buf.push(self.try_recv()?);
        self.take_many(buf, limit - 1);
        Ok(buf.len() - before)
    }

    /// Takes the messages that are in the channel now, and no later ones, without waiting. What is not taken from the
    /// iterator stays in the channel.
    ///
    /// ```
    /// let (s, r) = gchan::bounded(4);
    /// s.send(1).unwrap();
    /// s.send(2).unwrap();
    /// for n in r.drain() {
    ///     s.send(n * 10).unwrap(); // not drained in turn
    /// }
    /// assert_eq!(r.try_iter().collect::<Vec<_>>(), [10, 20]);
    /// ```
    pub fn drain(&self) -> Drain<'_, T> {
        Drain {
            receiver: self,
            left: self.len(),
        }
    }

    fn take_many(&self, buf: &mut Vec<T>, limit: usize) {
        let Flavor::Chan(shared) = &self.flavor else {
            return;
        };
        let mut left = limit;
        while left > 0 {
            // Room first: nothing is allocated under the lock.
            let there = shared.chan.len().min(left);
            if there == 0 {
                return;
            }
            buf.reserve(there);
            let taken = shared.chan.recv_many(buf, there);
            if taken == 0 {
                return;
            }
            left -= taken;
        }
    }
}

/// The iterator of [`Receiver::drain`].
pub struct Drain<'a, T> {
    receiver: &'a Receiver<T>,
    /// At most so many more.
    left: usize,
}

impl<T> Iterator for Drain<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        self.receiver.try_recv().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl<T> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
