//! Sends and receives as futures, and a receiver as a stream.
//!
//! The op and its slot are pinned in the future. Both futures are cancel-safe: a receive that is dropped after it was handed a value
//! gives the value back to the channel, at its place in the order; a send that is dropped before its value was taken
//! takes the value with it. A wake-up is never lost that way, because it is the value that is handed on.
//!
//! A waker is replaced under the channel's lock, and cloned and dropped outside it.

use crate::channel::{Flavor, Receiver, Sender};
use crate::clock::Clock;
use crate::err::{RecvError, SendError};
use crate::hchan::{Dir, Got, Hchan, Sent};
use crate::now;
use crate::op::{Kind, Op, Step};
use crate::sync::UnsafeCell;
use crate::waitq::{Outcome, Waiter, Wake};
use std::fmt;
use std::future::Future;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::{FusedStream, Stream};

/// A handle borrowed or owned, so that one future serves both.
enum Held<'a, H> {
    Borrowed(&'a H),
    Owned(H),
}

impl<H> Held<'_, H> {
    fn get(&self) -> &H {
        match self {
            Held::Borrowed(handle) => handle,
            Held::Owned(handle) => handle,
        }
    }
}

/// An operation that has to wait, pinned in its future.
struct Pending<T> {
    op: Op<T>,
    /// A sender's value until it is taken; a receiver's once it is passed.
    slot: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: a value of `T`, and an op, which is `Send` if that is.
unsafe impl<T: Send> Send for Pending<T> {}
// SAFETY: as for `Op`; the slot is touched under the channel's lock, or by the owner through `Pin<&mut>`.
unsafe impl<T: Send> Sync for Pending<T> {}

impl<T> Pending<T> {
    fn new(value: MaybeUninit<T>) -> Self {
        Self {
            op: Op::new(Waiter::asleep(None)),
            slot: UnsafeCell::new(value),
        }
    }

    fn op(self: Pin<&Self>) -> Pin<&Op<T>> {
        // SAFETY: the op is pinned with this.
        unsafe { self.map_unchecked(|this| &this.op) }
    }

    fn slot(&self) -> *mut T {
        self.slot.with_mut(|slot| slot.cast())
    }
}

/// Polls an op that was started, or starts it. `Waiting` means pending.
fn poll_op<T>(pending: Pin<&Pending<T>>, chan: &Hchan<T>, dir: Dir, waker: &Waker) -> Step {
    let op = pending.op();
    loop {
        match op.state() {
            None => {
                // SAFETY: the op is queued nowhere, so nobody else looks at its waker.
                drop(unsafe { op.waiter.set_wake(Wake::Waker(waker.clone())) });
                // If it waits, whoever finishes it from here on wakes the waker.
                // SAFETY: the slot is pinned with the op, and left alone until the op is done or was abandoned.
                return unsafe { op.start(chan, dir, pending.slot(), Kind::TASK) };
            }
            Some(Step::Waiting) => {}
            // What it did at its start, which then unwound.
            Some(step) => {
                op.set_state(None);
                return step;
            }
        }
        match op.poll() {
            Some(Outcome::Passed) => return Step::Passed,
            Some(Outcome::Closed) => return Step::Closed,
            Some(_) => {
                op.rearm();
                op.waiter.reopen();
            }
            None if renew_waker(op, chan, waker) => return Step::Waiting,
            None => {}
        }
    }
}

/// Replaces the waker of a queued op if it is another task's; false if the op was done meanwhile.
fn renew_waker<T>(op: Pin<&Op<T>>, chan: &Hchan<T>, waker: &Waker) -> bool {
    let locked = chan.lock();
    // SAFETY: under the lock of the one channel where the op is queued.
    if op.waiter.is_done() || unsafe { op.waiter.wakes(waker) } {
        return !op.waiter.is_done();
    }
    drop(locked);
    let fresh = Wake::Waker(waker.clone());
    let locked = chan.lock();
    if op.waiter.is_done() {
        drop(locked);
        return false;
    }
    // SAFETY: as above.
    let former = unsafe { op.waiter.set_wake(fresh) };
    drop(locked);
    drop(former);
    true
}

/// The future of [`Sender::send_async`]: resolves once the value was taken or buffered.
#[must_use = "a future does nothing unless it is awaited"]
pub struct SendFut<'a, T> {
    sender: Held<'a, Sender<T>>,
    /// The value before the first poll; after it, if it must wait, the value is in `pending`.
    value: Option<T>,
    pending: Option<Pending<T>>,
}

impl<T> Sender<T> {
    /// Sends, and waits as long as there is neither room nor a receiver. Cancel-safe: dropped before it resolves, it
    /// has sent nothing.
    ///
    /// # Errors
    /// The future gives [`SendError`] with the value if all receivers are gone.
    ///
    /// ```
    /// # fn main() {
    /// let (s, r) = gchan::bounded(1);
    /// gchan::block_on(async {
    ///     s.send_async(1).await.unwrap();
    ///     assert_eq!(r.recv_async().await, Ok(1));
    /// });
    /// # }
    /// ```
    pub fn send_async(&self, msg: T) -> SendFut<'_, T> {
        SendFut {
            sender: Held::Borrowed(self),
            value: Some(msg),
            pending: None,
        }
    }

    /// As [`send_async`](Self::send_async), for a future that owns its sender.
    pub fn into_send_async(self, msg: T) -> SendFut<'static, T> {
        SendFut {
            sender: Held::Owned(self),
            value: Some(msg),
            pending: None,
        }
    }
}

impl<T> Future for SendFut<'_, T> {
    type Output = Result<(), SendError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `pending` is treated as pinned and never moved; the other fields are not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        let chan = this.sender.get().chan();
        if let Some(value) = this.value.take() {
            let value = ManuallyDrop::new(value);
            // Whoever has to wait, as far as can be seen, takes the lock once only: when it stands in line.
            // SAFETY: the value is moved exactly once: by the channel if `Done`, to the error, or into the slot.
            unsafe {
                let sent = if chan.maybe_writable() {
                    now::send(chan, &raw const *value)
                } else {
                    Sent::Full
                };
                match sent {
                    Sent::Done => return Poll::Ready(Ok(())),
                    Sent::Closed => {
                        return Poll::Ready(Err(SendError(ManuallyDrop::into_inner(value))));
                    }
                    Sent::Full | Sent::NeedBlock => {
                        let value = MaybeUninit::new(ManuallyDrop::into_inner(value));
                        this.pending = Some(Pending::new(value));
                    }
                }
            }
        }
        let pending = this.pending.as_ref().expect("polled after it resolved");
        // SAFETY: pinned with the future.
        let pending = unsafe { Pin::new_unchecked(pending) };
        let step = poll_op(pending, chan, Dir::Send, cx.waker());
        if step == Step::Waiting {
            return Poll::Pending;
        }
        // SAFETY: a closed send has its value in the slot, and the op is out of the channel.
        let result = unsafe {
            match step {
                Step::Closed => Err(SendError(pending.slot().read())),
                _ => Ok(()),
            }
        };
        this.pending = None;
        Poll::Ready(result)
    }
}

impl<T> Drop for SendFut<'_, T> {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            // SAFETY: pinned with the future.
            let op = unsafe { Pin::new_unchecked(pending) }.op();
            if op.state().is_some() {
                op.abandon(self.sender.get().chan(), Dir::Send);
            } else {
                // A waker panicked before the value could stand in line.
                // SAFETY: an op that never started, or is to start again, has its value, and is in no queue.
                unsafe { pending.slot().drop_in_place() };
            }
        }
    }
}

/// The future of [`Receiver::recv_async`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct RecvFut<'a, T> {
    receiver: Held<'a, Receiver<T>>,
    pending: Option<Pending<T>>,
    /// Wakes when a clock's value is due.
    alarm: Option<crate::alarm::Alarm>,
}

impl<T> Receiver<T> {
    /// Receives, and waits as long as there is nothing. Cancel-safe: dropped before it resolves, it has received
    /// nothing.
    ///
    /// # Errors
    /// The future gives [`RecvError`] once the channel is empty and all senders are gone.
    ///
    /// # Panics
    /// The future of an [`after`](crate::after), [`at`](crate::at) or [`tick`](crate::tick) panics when it is polled, if
    /// the thread that keeps alarms cannot be started. It can be polled again.
    pub fn recv_async(&self) -> RecvFut<'_, T> {
        RecvFut {
            receiver: Held::Borrowed(self),
            pending: None,
            alarm: None,
        }
    }

    /// As [`recv_async`](Self::recv_async), for a future that owns its receiver.
    pub fn into_recv_async(self) -> RecvFut<'static, T> {
        RecvFut {
            receiver: Held::Owned(self),
            pending: None,
            alarm: None,
        }
    }

    /// The messages as a [`Stream`], which ends when the channel is empty and all senders are gone.
    pub fn stream(&self) -> RecvStream<'_, T> {
        RecvStream {
            next: self.recv_async(),
            ended: false,
        }
    }

    /// As [`stream`](Self::stream), for a stream that owns its receiver.
    pub fn into_stream(self) -> RecvStream<'static, T> {
        RecvStream {
            next: self.into_recv_async(),
            ended: false,
        }
    }
}

impl<T> RecvFut<'_, T> {
    fn poll_chan(
        pending: &mut Option<Pending<T>>,
        chan: &Hchan<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        if pending.is_none() {
            let mut slot = MaybeUninit::uninit();
            // As in a send.
            // SAFETY: the slot may be written, and was if the answer is `Received`.
            unsafe {
                let got = if chan.maybe_readable() {
                    now::recv(chan, slot.as_mut_ptr())
                } else {
                    Got::Empty
                };
                match got {
                    Got::Received => return Poll::Ready(Ok(slot.assume_init())),
                    Got::Closed => return Poll::Ready(Err(RecvError)),
                    Got::Empty | Got::Deferred | Got::Paired => {}
                }
            }
            *pending = Some(Pending::new(slot));
        }
        let pinned = pending.as_ref().expect("just made");
        // SAFETY: pinned with the future.
        let pinned = unsafe { Pin::new_unchecked(pinned) };
        let result = match poll_op(pinned, chan, Dir::Recv, cx.waker()) {
            Step::Waiting => return Poll::Pending,
            Step::Closed => Err(RecvError),
            // SAFETY: a passed receive has its value in the slot.
            Step::Passed => Ok(unsafe { pinned.slot().read() }),
        };
        *pending = None;
        Poll::Ready(result)
    }

    fn poll_clock(
        alarm: &mut Option<crate::alarm::Alarm>,
        clock: &Clock,
        make: fn(std::time::Instant) -> T,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        if let Ok(when) = clock.try_recv() {
            *alarm = None;
            return Poll::Ready(Ok(make(when)));
        }
        if let Some(due) = clock.due() {
            *alarm = Some(crate::alarm::Alarm::set(due, cx.waker().clone()));
        }
        Poll::Pending
    }
}

impl<T> Future for RecvFut<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `pending` is treated as pinned and never moved; the other fields are not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        match &this.receiver.get().flavor {
            Flavor::Chan(shared) => Self::poll_chan(&mut this.pending, &shared.chan, cx),
            Flavor::Clock(clock, make) => Self::poll_clock(&mut this.alarm, clock, *make, cx),
            Flavor::Never => Poll::Pending,
        }
    }
}

impl<T> Drop for RecvFut<'_, T> {
    fn drop(&mut self) {
        if let (Some(pending), Flavor::Chan(shared)) = (&self.pending, &self.receiver.get().flavor)
        {
            // SAFETY: pinned with the future.
            let op = unsafe { Pin::new_unchecked(pending) }.op();
            op.abandon(&shared.chan, Dir::Recv);
        }
    }
}

/// The messages of a receiver as a [`Stream`]; see [`Receiver::stream`]. Dropping it loses no message.
#[must_use = "a stream does nothing unless it is polled"]
pub struct RecvStream<'a, T> {
    next: RecvFut<'a, T>,
    ended: bool,
}

impl<T> Stream for RecvStream<'_, T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        // SAFETY: `next` is pinned with the stream; `ended` is not pinned.
        let this = unsafe { self.get_unchecked_mut() };
        if this.ended {
            return Poll::Ready(None);
        }
        // SAFETY: as above. A resolved `RecvFut` starts afresh when polled again.
        let next = unsafe { Pin::new_unchecked(&mut this.next) };
        next.poll(cx).map(|result| {
            this.ended = result.is_err();
            result.ok()
        })
    }
}

impl<T> FusedStream for RecvStream<'_, T> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

impl<T> fmt::Debug for SendFut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendFut { .. }")
    }
}

impl<T> fmt::Debug for RecvFut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecvFut { .. }")
    }
}

impl<T> fmt::Debug for RecvStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecvStream { .. }")
    }
}

/// Runs a future to its end on this thread, for examples and small programs. May park. What the future calls may block
/// too.
#[cfg(not(loom))]
pub fn block_on<F: Future>(future: F) -> F::Output {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Wakes a blocked caller. The flag says that a wake came: the permit alone may be used up by whatever else the
    /// future blocks on. It is released before the permit is given, so who is unparked sees it.
    struct Alert {
        woken: AtomicBool,
        whom: crate::park::Handle,
    }
    impl std::task::Wake for Alert {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            self.woken.store(true, Ordering::Release);
            self.whom.unpark();
        }
    }

    let mut future = std::pin::pin!(future);
    crate::wait::as_blocker(|blocker| {
        let alert = Arc::new(Alert {
            woken: AtomicBool::new(false),
            whom: blocker.handle(),
        });
        let waker = Waker::from(alert.clone());
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            while !alert.woken.swap(false, Ordering::Acquire) {
                blocker.pause();
            }
        }
    })
}
