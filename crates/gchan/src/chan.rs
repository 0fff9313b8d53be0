//! Go's face of a channel: one handle for both directions, closed explicitly, never by dropping.
//!
//! Every handle, also a directional view, keeps both ends of the underlying channel alive, so that no end ever
//! disconnects while a handle exists. A nil channel has a sender that nobody receives from and a receiver to which
//! nobody sends; they are of different channels, so the two never meet.

use crate::channel::{Flavor, Receiver, Sender, bounded, never};
use crate::err::{TryRecvError, TrySendError};
use crate::park::Reason;
use crate::select::{Select, SelectedOperation};
use crate::wait::wait_for_time;
use std::fmt;

/// Makes a channel with room for `cap` values, as Go's `make(chan T, cap)`.
///
/// # Panics
/// "makechan: size out of range" if the buffer would be larger than the address space, or the allocator, allows (R11).
///
/// ```
/// let c = gchan::make(0);
/// let d = c.clone();
/// std::thread::spawn(move || {
///     for n in 1..=3 {
///         d.send(n);
///     }
///     d.close();
/// });
/// assert_eq!((&c).into_iter().collect::<Vec<_>>(), [1, 2, 3]);
/// ```
#[must_use]
pub fn make<T>(cap: usize) -> Chan<T> {
    let (sender, receiver) = bounded(cap);
    Chan {
        sender,
        receiver,
        keep: None,
    }
}

/// A channel with Go's rules: sending on a closed channel panics, receiving from it gives what is buffered and then
/// `None`, and a nil channel blocks for ever.
///
/// `send` and `recv` may park: see [`park`](crate::park).
pub struct Chan<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
    /// The receiver of a nil channel's sender: kept, never received from.
    keep: Option<Receiver<T>>,
}

/// The sending direction of a [`Chan`], Go's `chan<- T`.
///
/// ```
/// let c = gchan::make(1);
/// let out = c.send_only();
/// out.send(1);
/// assert_eq!(c.recv(), Some(1));
/// ```
///
/// Receiving from it does not compile:
///
/// ```compile_fail
/// gchan::make::<i32>(1).send_only().recv();
/// ```
pub struct SendOnly<T>(Chan<T>);

/// The receiving direction of a [`Chan`], Go's `<-chan T`.
///
/// ```
/// let c = gchan::make(1);
/// c.send(1);
/// assert_eq!(c.recv_only().recv(), Some(1));
/// ```
///
/// Sending on it, or closing it, does not compile:
///
/// ```compile_fail
/// gchan::make(1).recv_only().send(1);
/// ```
///
/// ```compile_fail
/// gchan::make::<i32>(1).recv_only().close();
/// ```
pub struct RecvOnly<T>(Chan<T>);

impl<T> Chan<T> {
    /// A nil channel: sends and receives on it block for ever, and a select never chooses it.
    #[must_use]
    pub fn nil() -> Self {
        let (sender, keep) = bounded(0);
        Self {
            sender,
            receiver: never(),
            keep: Some(keep),
        }
    }

    /// Whether this is a nil channel.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.keep.is_some()
    }

    /// Sends, and waits as long as there is neither room nor a receiver. May park.
    ///
    /// # Panics
    /// "send on closed channel", also if it is closed while waiting.
    pub fn send(&self, value: T) {
        if self.is_nil() {
            block_for_ever(Reason::ChanSendNil);
        }
        if self.sender.send(value).is_err() {
            send_on_closed();
        }
    }

    /// Receives, and waits as long as there is nothing; `None` once the channel is closed and drained. May park.
    pub fn recv(&self) -> Option<T> {
        if self.is_nil() {
            block_for_ever(Reason::ChanReceiveNil);
        }
        self.receiver.recv().ok()
    }

    /// Sends if that needs no waiting, as Go's select with a `default`.
    ///
    /// # Errors
    /// The value, if it would have had to wait.
    ///
    /// # Panics
    /// "send on closed channel"
    pub fn try_send(&self, value: T) -> Result<(), T> {
        match self.sender.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(value)) => Err(value),
            Err(TrySendError::Disconnected(_)) => send_on_closed(),
        }
    }

    /// Receives if that needs no waiting.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] if it would have had to wait, `Disconnected` if the channel is closed and drained.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.receiver.try_recv()
    }

    /// As [`send`](Self::send), as a future.
    ///
    /// # Panics
    /// As `send`, when polled.
    pub async fn send_async(&self, value: T) {
        if self.sender.send_async(value).await.is_err() {
            send_on_closed();
        }
    }

    /// As [`recv`](Self::recv), as a future.
    pub async fn recv_async(&self) -> Option<T> {
        self.receiver.recv_async().await.ok()
    }

    /// Closes the channel: waiting receivers get `None`, waiting senders panic, buffered values stay to be received.
    ///
    /// # Panics
    /// "close of closed channel" and "close of nil channel".
    ///
    /// ```should_panic
    /// let c = gchan::make::<()>(0);
    /// c.close();
    /// c.close();
    /// ```
    pub fn close(&self) {
        assert!(!self.is_nil(), "close of nil channel");
        assert!(self.sender.chan().close(), "close of closed channel");
    }

    /// How many values are in the channel: see [`Receiver::len`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// No value is in the channel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values the buffer holds; 0 for a nil channel.
    #[must_use]
    pub fn cap(&self) -> usize {
        self.receiver.capacity().unwrap_or(usize::MAX)
    }

    /// This channel for sending alone.
    #[must_use]
    pub fn send_only(&self) -> SendOnly<T> {
        SendOnly(self.clone())
    }

    /// This channel for receiving alone.
    #[must_use]
    pub fn recv_only(&self) -> RecvOnly<T> {
        RecvOnly(self.clone())
    }

    /// The sending end, for [`select!`](crate::select). Sending on a closed channel is an error there, not a panic.
    #[must_use]
    pub fn tx(&self) -> &Sender<T> {
        &self.sender
    }

    /// The receiving end, for [`select!`](crate::select).
    #[must_use]
    pub fn rx(&self) -> &Receiver<T> {
        &self.receiver
    }
}

fn block_for_ever(reason: Reason) -> ! {
    loop {
        wait_for_time(reason, None);
    }
}

#[cold]
fn send_on_closed() -> ! {
    panic!("send on closed channel")
}

impl<T> SendOnly<T> {
    /// See [`Chan::send`]. May park.
    ///
    /// # Panics
    /// "send on closed channel"
    pub fn send(&self, value: T) {
        self.0.send(value);
    }

    /// See [`Chan::try_send`].
    ///
    /// # Errors
    /// The value, if it would have had to wait.
    ///
    /// # Panics
    /// "send on closed channel"
    pub fn try_send(&self, value: T) -> Result<(), T> {
        self.0.try_send(value)
    }

    /// See [`Chan::close`].
    ///
    /// # Panics
    /// "close of closed channel" and "close of nil channel".
    pub fn close(&self) {
        self.0.close();
    }

    /// The sending end, for [`select!`](crate::select).
    #[must_use]
    pub fn tx(&self) -> &Sender<T> {
        self.0.tx()
    }
}

impl<T> RecvOnly<T> {
    /// See [`Chan::recv`]. May park.
    pub fn recv(&self) -> Option<T> {
        self.0.recv()
    }

    /// See [`Chan::try_recv`].
    ///
    /// # Errors
    /// [`TryRecvError`]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv()
    }

    /// The receiving end, for [`select!`](crate::select).
    #[must_use]
    pub fn rx(&self) -> &Receiver<T> {
        self.0.rx()
    }
}

/// The values of a channel until it is closed and drained, as Go's `for v := range c`. May park.
#[derive(Debug)]
pub struct Range<'a, T> {
    chan: &'a Chan<T>,
}

impl<T> Iterator for Range<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.chan.recv()
    }
}

impl<'a, T> IntoIterator for &'a Chan<T> {
    type Item = T;
    type IntoIter = Range<'a, T>;

    fn into_iter(self) -> Range<'a, T> {
        Range { chan: self }
    }
}

impl<'a, T> IntoIterator for &'a RecvOnly<T> {
    type Item = T;
    type IntoIter = Range<'a, T>;

    fn into_iter(self) -> Range<'a, T> {
        Range { chan: &self.0 }
    }
}

impl<T> Clone for Chan<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            receiver: self.receiver.clone(),
            keep: self.keep.clone(),
        }
    }
}

impl<T> Clone for SendOnly<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Clone for RecvOnly<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Two handles are equal if they are of the same channel, or both nil.
impl<T> PartialEq for Chan<T> {
    fn eq(&self, other: &Self) -> bool {
        match (&self.receiver.flavor, &other.receiver.flavor) {
            (Flavor::Never, Flavor::Never) => true,
            _ => self.receiver.same_channel(&other.receiver),
        }
    }
}

impl<T> Eq for Chan<T> {}

impl<T> fmt::Debug for Chan<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nil() {
            return f.write_str("Chan(nil)");
        }
        f.debug_struct("Chan")
            .field("len", &self.len())
            .field("cap", &self.cap())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SendOnly<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendOnly").field(&self.0).finish()
    }
}

impl<T> fmt::Debug for RecvOnly<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecvOnly").field(&self.0).finish()
    }
}

/// A case of [`select_cases`]: a channel and what to do with it.
#[derive(Debug)]
pub enum SelectCase<'a, T> {
    /// Send this value. It is still here afterwards unless the case was chosen.
    Send(&'a Chan<T>, Option<T>),
    /// Receive.
    Recv(&'a Chan<T>),
}

/// Waits for the first of a list of cases and performs it, as Go's `reflect.Select`. Returns its index, and, for a
/// receive, the value, or `None` if that channel is closed. Nil channels are never chosen. May park.
///
/// # Panics
/// "send on closed channel" if that is what the chosen send does, if a send case has no value, or if there are more than
/// 65,536 cases, as in Go.
///
/// ```
/// use gchan::{Chan, SelectCase, make, select_cases};
///
/// let (a, b) = (make(1), make(0));
/// a.send("a");
/// let nil = Chan::nil();
/// let mut cases = vec![
///     SelectCase::Recv(&b),
///     SelectCase::Recv(&a),
///     SelectCase::Send(&nil, Some("never")),
/// ];
/// assert_eq!(select_cases(&mut cases), (1, Some("a")));
/// ```
pub fn select_cases<T>(cases: &mut [SelectCase<'_, T>]) -> (usize, Option<T>) {
    let mut select = Select::new();
    for case in &*cases {
        match case {
            SelectCase::Send(chan, _) => select.send(&chan.sender),
            SelectCase::Recv(chan) => select.recv(&chan.receiver),
        };
    }
    if cases.is_empty() {
        block_for_ever(Reason::SelectNoCases);
    }
    let chosen = select.select();
    complete(chosen, cases)
}

/// As [`select_cases`], but `None` if at one instant no case is ready: Go's select with a `default`.
///
/// # Panics
/// As [`select_cases`].
pub fn try_select_cases<T>(cases: &mut [SelectCase<'_, T>]) -> Option<(usize, Option<T>)> {
    let mut select = Select::new();
    for case in &*cases {
        match case {
            SelectCase::Send(chan, _) => select.send(&chan.sender),
            SelectCase::Recv(chan) => select.recv(&chan.receiver),
        };
    }
    let chosen = select.try_select().ok()?;
    Some(complete(chosen, cases))
}

fn complete<T>(
    chosen: SelectedOperation<'_>,
    cases: &mut [SelectCase<'_, T>],
) -> (usize, Option<T>) {
    let index = chosen.index();
    match &mut cases[index] {
        SelectCase::Recv(chan) => (index, chosen.recv(&chan.receiver).ok()),
        SelectCase::Send(chan, value) => {
            let value = value.take().expect("a send case without a value");
            if chosen.send(&chan.sender, value).is_err() {
                send_on_closed();
            }
            (index, None)
        }
    }
}
