//! A channel for one value: both ends are used up by use.
//!
//! A face of the same channel with room for one, so its receiver can stand in a select.

use crate::channel::{Receiver, Sender, bounded};
use crate::err::{RecvError, RecvTimeoutError, SendError, TryRecvError};
use crate::future::RecvFut;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Makes a channel for one value.
///
/// ```
/// let (tell, told) = gchan::oneshot::channel();
/// std::thread::spawn(move || tell.send(6 * 7));
/// assert_eq!(told.recv(), Ok(42));
/// ```
///
/// The sender is used up by sending:
///
/// ```compile_fail
/// let (tell, told) = gchan::oneshot::channel();
/// tell.send(1).unwrap();
/// tell.send(2).unwrap();
/// ```
#[must_use]
pub fn channel<T>() -> (OneSender<T>, OneReceiver<T>) {
    let (sender, receiver) = bounded(1);
    (OneSender { sender }, OneReceiver { receiver })
}

/// Sends the one value. Dropped without sending, it lets the receiver know.
#[derive(Debug)]
pub struct OneSender<T> {
    sender: Sender<T>,
}

/// Receives the one value; a future too.
#[derive(Debug)]
pub struct OneReceiver<T> {
    receiver: Receiver<T>,
}

impl<T> OneSender<T> {
    /// Sends; never waits.
    ///
    /// # Errors
    /// [`SendError`] with the value if the receiver is gone.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        self.sender
            .try_send(value)
            .map_err(|e| SendError(e.into_inner()))
    }
}

impl<T> OneReceiver<T> {
    /// Waits for the value. May park.
    ///
    /// # Errors
    /// [`RecvError`] if the sender was dropped without sending.
    pub fn recv(self) -> Result<T, RecvError> {
        self.receiver.recv()
    }

    /// Waits for the value, at most `timeout`. May park.
    ///
    /// # Errors
    /// [`RecvTimeoutError`]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receiver.recv_timeout(timeout)
    }

    /// The value, if it is there.
    ///
    /// # Errors
    /// [`TryRecvError`]; `Disconnected` too after the value was received.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.receiver.try_recv()
    }

    /// The receiver for a select.
    #[must_use]
    pub fn as_receiver(&self) -> &Receiver<T> {
        &self.receiver
    }
}

/// The future of awaiting a [`OneReceiver`]. For values that borrow, await `as_receiver().recv_async()`.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct OneFut<T: 'static> {
    recv: RecvFut<'static, T>,
}

impl<T: 'static> Future for OneFut<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `recv` is the only field, and is pinned with the future.
        unsafe { self.map_unchecked_mut(|this| &mut this.recv) }.poll(cx)
    }
}

impl<T: 'static> IntoFuture for OneReceiver<T> {
    type Output = Result<T, RecvError>;
    type IntoFuture = OneFut<T>;

    fn into_future(self) -> OneFut<T> {
        OneFut {
            recv: self.receiver.into_recv_async(),
        }
    }
}
