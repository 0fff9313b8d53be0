//! `Sender` and `Receiver`: the faces of a channel that closes when one side is gone, as Rust's channels do.

use crate::block::{self, Receiving, Sending};
use crate::clock::Clock;
use crate::err::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use crate::hchan::{Got, Hchan, Sent};

use crate::now;
use crate::op::Step;
use crate::park::Reason;
use crate::sync::{AtomicUsize, Ordering};
use crate::wait::wait_for_time;
use crate::waitq::PutOff;
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Makes a channel that holds at most `cap` messages.
///
/// With `cap == 0` it holds none: a send and a receive meet, and the value goes from hand to hand. Blocked senders and
/// receivers are served in the order they came, and nobody who comes later overtakes them.
///
/// # Panics
/// If a buffer of `cap` messages is larger than the address space, or the allocator, allows (R11).
///
/// ```
/// let (s, r) = gchan::bounded(1);
/// s.send("hello")?;
/// assert!(s.try_send("there").unwrap_err().is_full());
/// assert_eq!(r.recv(), Ok("hello"));
/// # Ok::<(), gchan::SendError<&str>>(())
/// ```
#[must_use]
pub fn bounded<T>(cap: usize) -> (Sender<T>, Receiver<T>) {
    pair(Hchan::new(Some(cap)))
}

/// Makes a channel that holds any number of messages. Its memory follows the number of messages in both directions.
///
/// ```
/// let (s, r) = gchan::unbounded();
/// for n in 0..1000 {
///     s.send(n)?;
/// }
/// drop(s);
/// assert_eq!(r.iter().sum::<u32>(), 499_500);
/// # Ok::<(), gchan::SendError<u32>>(())
/// ```
#[must_use]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    pair(Hchan::new(None))
}

fn pair<T>(chan: Hchan<T>) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        chan,
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    (
        Sender {
            shared: shared.clone(),
        },
        Receiver {
            flavor: Flavor::Chan(shared),
        },
    )
}

/// Delivers the current time once, when `duration` has passed. It never disconnects.
///
/// ```
/// use std::time::Duration;
/// let timeout = gchan::after(Duration::from_millis(5));
/// assert!(timeout.try_recv().is_err());
/// timeout.recv()?;
/// # Ok::<(), gchan::RecvError>(())
/// ```
#[must_use]
pub fn after(duration: Duration) -> Receiver<Instant> {
    Instant::now().checked_add(duration).map_or_else(never, at)
}

/// Delivers one message at the time `when`. It never disconnects.
#[must_use]
pub fn at(when: Instant) -> Receiver<Instant> {
    clock(Clock::new(when, None))
}

/// Delivers a message every `duration`, the first after one `duration`. Ticks that nobody is there to take are not
/// heaped up; those that follow keep to the times that they would have had. It never disconnects.
#[must_use]
pub fn tick(duration: Duration) -> Receiver<Instant> {
    match Instant::now().checked_add(duration) {
        Some(first) => clock(Clock::new(first, Some(duration))),
        None => never(),
    }
}

fn clock(clock: Clock) -> Receiver<Instant> {
    Receiver {
        flavor: Flavor::Clock(Arc::new(clock), |when| when),
    }
}

/// Never delivers a message, and never disconnects. In a select it is a case that is switched off, as a nil channel is
/// in Go.
///
/// ```
/// let r = gchan::never::<String>();
/// assert_eq!(r.try_recv(), Err(gchan::TryRecvError::Empty));
/// ```
#[must_use]
pub const fn never<T>() -> Receiver<T> {
    Receiver {
        flavor: Flavor::Never,
    }
}

/// What the handles of one channel share.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    pub(crate) chan: Hchan<T>,
    /// Handles alive; the one that ends a side closes the channel.
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// The sending side; clone it for more senders. When the last is dropped, receivers get what is buffered and then an
/// error.
///
/// All calls named `send*` without `try` may park: see [`park`](crate::park).
///
/// It crosses threads if its messages do:
///
/// ```compile_fail,E0277
/// let (s, _r) = gchan::bounded::<std::rc::Rc<u8>>(1);
/// std::thread::spawn(move || drop(s));
/// ```
pub struct Sender<T> {
    pub(crate) shared: Arc<Shared<T>>,
}

/// The receiving side; clone it for more receivers, of which each message reaches one. When the last is dropped,
/// messages in the channel are dropped and senders get their values back.
///
/// All calls named `recv*` without `try` may park: see [`park`](crate::park).
///
/// It crosses threads if its messages do:
///
/// ```compile_fail,E0277
/// let (_s, r) = gchan::bounded::<std::rc::Rc<u8>>(1);
/// std::thread::scope(|scope| scope.spawn(|| drop(r.recv())));
/// ```
pub struct Receiver<T> {
    pub(crate) flavor: Flavor<T>,
}

pub(crate) enum Flavor<T> {
    Chan(Arc<Shared<T>>),
    /// The function turns an `Instant` into a `T`, which it is.
    Clock(Arc<Clock>, fn(Instant) -> T),
    Never,
}

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}
impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl<T> Sender<T> {
    pub(crate) fn chan(&self) -> &Hchan<T> {
        &self.shared.chan
    }

    /// Sends if that needs no waiting: a receiver waits, or there is room.
    ///
    /// # Errors
    /// [`TrySendError::Full`] or [`TrySendError::Disconnected`], with the value. An unbounded channel is full when the
    /// allocator has no memory for more; all other ways to send end the program then, as a `Vec` that cannot grow does.
    #[inline]
    pub fn try_send(&self, msg: T) -> Result<(), TrySendError<T>> {
        if !self.chan().maybe_writable() {
            return Err(TrySendError::Full(msg));
        }
        let msg = ManuallyDrop::new(msg);
        // SAFETY: the value is moved out exactly once: by the channel if `Sent`, else here.
        unsafe {
            match now::send(self.chan(), &raw const *msg) {
                Sent::Done => Ok(()),
                Sent::Closed => Err(TrySendError::Disconnected(ManuallyDrop::into_inner(msg))),
                Sent::Full | Sent::NeedBlock => {
                    Err(TrySendError::Full(ManuallyDrop::into_inner(msg)))
                }
            }
        }
    }

    /// Sends, and waits as long as there is neither room nor a receiver. May park.
    ///
    /// # Errors
    /// [`SendError`] with the value if all receivers are gone, before or while waiting.
    ///
    /// ```
    /// let (s, r) = gchan::bounded(0);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| s.send(1).unwrap());
    ///     assert_eq!(r.recv(), Ok(1));
    /// });
    /// ```
    #[inline(always)]
    pub fn send(&self, msg: T) -> Result<(), SendError<T>> {
        self.send_until(msg, None)
            .map_err(|e| SendError(e.into_inner()))
    }

    /// Sends, and waits at most `timeout`. May park.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_timeout(&self, msg: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.send_deadline(msg, deadline),
            None => self.send(msg).map_err(SendTimeoutError::from),
        }
    }

    /// Sends, and waits until `deadline` at most. May park.
    ///
    /// # Errors
    /// [`SendTimeoutError`] with the value.
    pub fn send_deadline(&self, msg: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(msg, Some(deadline))
    }

    #[inline(always)]
    fn send_until(&self, msg: T, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        let mut msg = ManuallyDrop::new(msg);
        let chan = self.chan();
        // SAFETY: the value is moved out exactly once: by the channel if it was sent, else here.
        unsafe {
            match block::until::<T, Sending>(chan, &raw mut *msg, deadline) {
                Step::Passed => Ok(()),
                Step::Closed => Err(SendTimeoutError::Disconnected(ManuallyDrop::into_inner(
                    msg,
                ))),
                Step::Waiting => Err(SendTimeoutError::Timeout(ManuallyDrop::into_inner(msg))),
            }
        }
    }

    /// No message is buffered. True at capacity zero, but for messages that came back, see [`len`](Self::len).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer has no room. Always true at capacity zero.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.capacity().is_some_and(|cap| self.len() >= cap)
    }

    /// How many messages are in the channel: those that are buffered, and those that came back from receives which were
    /// cancelled, of which there may be more than its capacity. O(1), without the lock.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chan().len()
    }

    /// How many messages the buffer holds; `None` for an unbounded channel.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.chan().cap()
    }

    /// Both handles are of one channel.
    #[must_use]
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let shared = self.shared.clone();
        shared.senders.fetch_add(1, Ordering::Relaxed);
        Self { shared }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.chan.close();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender { .. }")
    }
}

impl<T> Receiver<T> {
    /// Receives if that needs no waiting.
    ///
    /// The one exception: if the first sender in line is a blocked [`select!`](crate::select) whose value is evaluated
    /// only once it is chosen, this chooses it and waits for the value. (It passes over a select that is a future.)
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], or [`TryRecvError::Disconnected`] once the channel is empty and all senders are gone: then
    /// nothing comes any more, unless it comes back from a future that is dropped with a message it was handed.
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        // The look without the lock alone is inlined: whoever polls mostly finds nothing.
        match &self.flavor {
            Flavor::Chan(shared) if !shared.chan.maybe_readable() => Err(TryRecvError::Empty),
            flavor => Self::try_recv_from(flavor),
        }
    }

    #[inline(never)]
    fn try_recv_from(flavor: &Flavor<T>) -> Result<T, TryRecvError> {
        match flavor {
            Flavor::Chan(shared) => try_recv_chan(&shared.chan),
            Flavor::Clock(clock, make) => clock.try_recv().map(make),
            Flavor::Never => Err(TryRecvError::Empty),
        }
    }

    /// Receives, and waits as long as there is nothing. May park.
    ///
    /// # Errors
    /// [`RecvError`] once the channel is empty and all senders are gone.
    #[inline(always)]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(None).map_err(|_| RecvError)
    }

    /// Receives, and waits at most `timeout`. May park. The exception is that of [`try_recv`](Self::try_recv): the value
    /// of a thread's select that was chosen is waited for.
    ///
    /// # Errors
    /// [`RecvTimeoutError`]
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Instant::now().checked_add(timeout))
    }

    /// Receives, and waits until `deadline` at most. May park.
    ///
    /// # Errors
    /// [`RecvTimeoutError`]
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    #[inline(always)]
    fn recv_until(&self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        match &self.flavor {
            Flavor::Chan(shared) => recv_chan(&shared.chan, deadline),
            Flavor::Clock(clock, make) => clock.recv(deadline).map(make),
            Flavor::Never => {
                wait_for_time(Reason::ChanReceive, deadline);
                Err(RecvTimeoutError::Timeout)
            }
        }
    }

    /// No message is in the channel. True at capacity zero, but for messages that came back, see [`len`](Self::len).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer has no room. Always true at capacity zero and for [`never()`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.capacity().is_some_and(|cap| self.len() >= cap)
    }

    /// How many messages are in the channel: those that are buffered, and those that came back from receives which were
    /// cancelled, of which there may be more than its capacity. O(1), without the lock.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.flavor {
            Flavor::Chan(shared) => shared.chan.len(),
            Flavor::Clock(clock, _) => usize::from(clock.is_ready()),
            Flavor::Never => 0,
        }
    }

    /// How many messages the buffer holds; `None` for an unbounded channel.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        match &self.flavor {
            Flavor::Chan(shared) => shared.chan.cap(),
            Flavor::Clock(..) => Some(1),
            Flavor::Never => Some(0),
        }
    }

    /// Both handles are of one channel.
    #[must_use]
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        match (&self.flavor, &other.flavor) {
            (Flavor::Chan(a), Flavor::Chan(b)) => Arc::ptr_eq(a, b),
            (Flavor::Clock(a, _), Flavor::Clock(b, _)) => Arc::ptr_eq(a, b),
            (Flavor::Never, Flavor::Never) => true,
            _ => false,
        }
    }
}

#[inline]
fn try_recv_chan<T>(chan: &Hchan<T>) -> Result<T, TryRecvError> {
    let mut slot = MaybeUninit::uninit();
    // SAFETY: the slot may be written, and was when the answer says so.
    unsafe {
        let step = match now::recv(chan, slot.as_mut_ptr()) {
            Got::Received => return Ok(slot.assume_init()),
            Got::Closed => Step::Closed,
            Got::Empty | Got::Paired => Step::Waiting,
            Got::Deferred => block::try_recv_deferred(chan, slot.as_mut_ptr()),
        };
        match step {
            Step::Passed => Ok(slot.assume_init()),
            Step::Closed => Err(TryRecvError::Disconnected),
            Step::Waiting => Err(TryRecvError::Empty),
        }
    }
}

#[inline(always)]
pub(crate) fn recv_chan<T>(
    chan: &Hchan<T>,
    deadline: Option<Instant>,
) -> Result<T, RecvTimeoutError> {
    let mut slot = MaybeUninit::uninit();
    // SAFETY: the slot may be written, and was when the answer says so.
    unsafe {
        match block::until::<T, Receiving>(chan, slot.as_mut_ptr(), deadline) {
            Step::Passed => Ok(slot.assume_init()),
            Step::Closed => Err(RecvTimeoutError::Disconnected),
            Step::Waiting => Err(RecvTimeoutError::Timeout),
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let flavor = match &self.flavor {
            Flavor::Chan(shared) => {
                let shared = shared.clone();
                shared.receivers.fetch_add(1, Ordering::Relaxed);
                Flavor::Chan(shared)
            }
            Flavor::Clock(clock, make) => Flavor::Clock(clock.clone(), *make),
            Flavor::Never => Flavor::Never,
        };
        Self { flavor }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Flavor::Chan(shared) = &self.flavor
            && shared.receivers.fetch_sub(1, Ordering::AcqRel) == 1
        {
            let mut put_off = PutOff::default();
            put_off.catch(|| {
                shared.chan.close();
            });
            put_off.catch(|| shared.chan.discard());
            put_off.resume();
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver { .. }")
    }
}
