//! A channel for one value: both ends are used up by use.
//!
//! A face of the same channel with room for one, so its receiver can stand in a select.

use crate::channel::{Receiver, Sender, bounded};
use crate::err::{RecvError, RecvTimeoutError, SendError, TryRecvError};
use crate::future::RecvFut;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let receiver = OneReceiver {
        receiver,
        taken: AtomicBool::new(false),
    };
    (OneSender { sender }, receiver)
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
    /// The value was received by reference. The channel alone does not say that nothing can come any more: a sender's
    /// handle goes a moment after its value. Orders nothing: the value did.
    taken: AtomicBool,
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
    /// [`RecvTimeoutError`]; `Disconnected` too after the value was received.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        if self.taken.load(Ordering::Relaxed) {
            return Err(RecvTimeoutError::Disconnected);
        }
        self.take(self.receiver.recv_timeout(timeout))
    }

    /// The value, if it is there.
    ///
    /// # Errors
    /// [`TryRecvError`]; `Disconnected` too after the value was received.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        if self.taken.load(Ordering::Relaxed) {
            return Err(TryRecvError::Disconnected);
        }
        self.take(self.receiver.try_recv())
    }

    fn take<E>(&self, received: Result<T, E>) -> Result<T, E> {
        if received.is_ok() {
            self.taken.store(true, Ordering::Relaxed);
        }
        received
    }

    /// The receiver for a select. It is an ordinary receiver of an ordinary channel: after it has received the value, it
    /// and [`try_recv`](Self::try_recv) may find the channel `Empty` for a moment, until the sender's handle is gone.
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn after_its_value_the_receiver_is_disconnected_though_the_sender_is_still_in_send() {
        let (tell, told) = channel();
        // A handle that goes a moment after the value, as the one in `send` does.
        let still_there = tell.sender.clone();
        assert_eq!(told.try_recv(), Err(TryRecvError::Empty));
        tell.send(1).unwrap();
        assert_eq!(told.try_recv(), Ok(1));
        assert_eq!(told.try_recv(), Err(TryRecvError::Disconnected));
        let again = told.recv_timeout(Duration::ZERO);
        assert_eq!(again, Err(RecvTimeoutError::Disconnected));
        drop(still_there);

        let (tell, told) = channel();
        let still_there = tell.sender.clone();
        tell.send(2).unwrap();
        assert_eq!(told.recv_timeout(Duration::MAX), Ok(2));
        assert_eq!(told.try_recv(), Err(TryRecvError::Disconnected));
        drop(still_there);
    }
}
