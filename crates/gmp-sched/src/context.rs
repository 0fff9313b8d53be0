//! Contexts: Go's `context` (1.27): cancellation, deadlines and values that go down a tree of calls.
//!
//! A [`Context`] is two pointers: a *node* of the tree of cancellations, and the head of a list of
//! values. Values make no nodes, so looking whether a context is done is one load however deep it is.
//!
//! A node has a strong reference to its parent and its parent a weak one to it, by number, removed
//! when the node dies. Cancelling marks the node, then goes through its descendants with a list of
//! its own, not by recursion, as does dropping a chain: trees may be as deep as memory allows.
//!
//! Invariants: a node is cancelled once, with one cause, and never before its ancestor has been if
//! it was the ancestor that cancelled it; whoever registers with a cancelled node is told at once. No
//! lock is held while code that is not ours runs, an allocator included, nor the locks of two nodes. Wakers and callbacks
//! come last, when the whole tree is marked: one of them that panics, or takes long, leaves no
//! descendant alive, and the others are called all the same.
//!
//! Ordering: the cause is written under the node's lock, then `done` is set by Release; who sees
//! `done` (Acquire) sees the cause, and what came before the cancel.

use crate::locks::alarm::Alarm;
use crate::locks::room::{Slots, lock_with_room};
use crate::locks::wait;
use crate::locks::waitq::{Locked, NOTIFIED, WaitQueue, Waiter};
use crate::foreign::{Panicked, wake_all};
use crate::wait_reason::WaitReason;
use core::any::{Any, TypeId};
use core::error::Error;
use core::fmt;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Wake;
use std::time::Instant;

/// Why a context is done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ContextError {
    /// It, or one that it comes from, was cancelled.
    Canceled,
    /// Its deadline has passed.
    DeadlineExceeded,
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Canceled => "context canceled",
            Self::DeadlineExceeded => "context deadline exceeded",
        })
    }
}

impl Error for ContextError {}

/// What was given as the reason for a cancellation.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Cancellation, a deadline and values, handed down from caller to callee.
///
/// Cloning shares it. One that nobody refers to any more leaves its parent.
///
/// ```
/// use gmp_sched::{Context, ContextError};
/// use std::time::Duration;
///
/// let (ctx, cancel) = Context::background().with_cancel();
/// let (child, _timeout) = ctx.with_timeout(Duration::from_secs(60));
/// assert_eq!(child.err(), None);
/// cancel.cancel();
/// child.wait();
/// assert_eq!(child.err(), Some(ContextError::Canceled));
/// ```
#[derive(Clone)]
pub struct Context {
    /// None for the background: never done.
    node: Option<Arc<Node>>,
    values: Option<Arc<Value>>,
}

struct Value {
    key: TypeId,
    value: Box<dyn Any + Send + Sync>,
    next: Option<Arc<Value>>,
}

impl Drop for Value {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut value) = next.and_then(Arc::into_inner) {
            next = value.next.take();
        }
    }
}

struct Node {
    parent: Option<Arc<Node>>,
    /// Its number among its parent's children.
    number: usize,
    deadline: Option<u64>,
    /// Set after the state says so.
    done: AtomicBool,
    queue: WaitQueue<State>,
    /// Set once, by whoever made the node; emptied when it is done or dies.
    alarm: parking_lot::Mutex<Option<Alarm>>,
    attachment: OnceLock<Box<dyn Any + Send + Sync>>,
}

type Callback = Box<dyn FnOnce() + Send>;

/// Under the lock of the node's queue. Once it has ended, nothing is registered any more.
#[derive(Default)]
struct State {
    ended: Option<(ContextError, Cause)>,
    children: Slots<Weak<Node>>,
    callbacks: Slots<Callback>,
}

impl Node {
    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Ends this node and its descendants, then tells who waits.
    fn cancel(&self, why: ContextError, cause: &Cause) -> Panicked {
        let mut ended = Ended::default();
        self.end(why, cause, &mut ended);
        while let Some(child) = ended.children.pop() {
            if let Some(child) = child.upgrade() {
                child.end(why, cause, &mut ended);
                ended.nodes.push(child);
            }
        }
        ended.tell()
    }

    /// Ends this node alone.
    fn end(&self, why: ContextError, cause: &Cause, ended: &mut Ended) {
        let all = |state: &Locked<'_, State>| match state.ended {
            None => state.tags().count(),
            Some(_) => 0,
        };
        let (mut state, mut wakers) = self.queue.lock_with_room(all);
        if state.ended.is_some() {
            return;
        }
        state.ended = Some((why, cause.clone()));
        self.done.store(true, Ordering::Release);
        let children = core::mem::take(&mut state.children);
        let callbacks = core::mem::take(&mut state.callbacks);
        state.drain(&mut wakers, NOTIFIED);
        drop(state);
        ended.children.extend(children.into_values());
        ended.callbacks.extend(callbacks.into_values());
        ended.wakers.extend(wakers);
        let alarm = self.alarm.lock().take();
        ended.alarms.extend(alarm);
    }

    fn poll(&self, waiter: Pin<&Waiter<'_, State>>, waker: &Waker) -> Poll<()> {
        if self.is_done() {
            return Poll::Ready(());
        }
        if waiter.still_queued(waker) {
            return Poll::Pending;
        }
        let waker = waker.clone();
        let mut state = self.queue.lock();
        if state.ended.is_some() {
            drop(state);
            return Poll::Ready(());
        }
        state.push_back(waiter, waker, 0);
        Poll::Pending
    }
}

/// What a cancellation has collected from the nodes that it ended.
#[derive(Default)]
struct Ended {
    /// Still to be ended.
    children: Vec<Weak<Node>>,
    wakers: Vec<Waker>,
    callbacks: Vec<Callback>,
    /// Need not ring any more.
    alarms: Vec<Alarm>,
    /// Kept until all are ended: the last reference drops what others attached.
    nodes: Vec<Arc<Node>>,
}

impl Ended {
    fn tell(self) -> Panicked {
        let mut panicked = Panicked::default();
        panicked.run(|| drop(self.alarms));
        panicked.run(|| wake_all(self.wakers));
        for f in self.callbacks {
            panicked.run(f);
        }
        panicked.run(|| drop(self.nodes));
        panicked
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut parent = self.parent.take();
        let mut number = self.number;
        while let Some(node) = parent {
            let child = node.queue.lock().children.remove(number);
            drop(child);
            // The last one of a chain dies here, not within its child's destructor.
            let Some(mut node) = Arc::into_inner(node) else { break };
            number = node.number;
            parent = node.parent.take();
        }
    }
}

/// Wakes by cancelling.
struct Deadline(Weak<Node>);

impl Wake for Deadline {
    fn wake(self: Arc<Self>) {
        if let Some(node) = self.0.upgrade() {
            let why = ContextError::DeadlineExceeded;
            // Whoever watches the clock is not to blame.
            node.cancel(why, &(Arc::new(why) as Cause)).discard();
        }
    }
}

impl Context {
    /// The root of all contexts: never done, no deadline, no values.
    #[must_use]
    pub const fn background() -> Self {
        Self { node: None, values: None }
    }

    fn child(&self, deadline: Option<u64>) -> (Self, Canceler) {
        let earliest = match (deadline, self.node.as_ref().and_then(|n| n.deadline)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut ended = None;
        let node = Arc::new_cyclic(|me: &Weak<Node>| {
            let mut number = 0;
            if let Some(parent) = &self.node {
                let (_outgrown, mut state) =
                    lock_with_room(|| parent.queue.lock(), |state| state.children.full());
                ended = state.ended.clone();
                if ended.is_none() {
                    number = state.children.insert(me.clone());
                }
            }
            Node {
                parent: self.node.clone(),
                number,
                deadline: earliest,
                done: AtomicBool::new(false),
                queue: WaitQueue::new(State::default()),
                alarm: parking_lot::Mutex::new(None),
                attachment: OnceLock::new(),
            }
        });
        // Its parent may have been cancelled while it could not be upgraded yet.
        let ended = ended.or_else(|| self.node.as_ref().and_then(|p| p.queue.lock().ended.clone()));
        if let Some((why, cause)) = ended {
            // It has no callbacks and no waiters yet.
            node.cancel(why, &cause).go_on();
        } else if let Some(at) = deadline
            && earliest == deadline
        {
            Self::set_deadline(&node, at);
        }
        let ctx = Self { node: Some(node.clone()), values: self.values.clone() };
        (ctx, Canceler { node: Some(node) })
    }

    fn set_deadline(node: &Arc<Node>, at: u64) {
        let waker = Waker::from(Arc::new(Deadline(Arc::downgrade(node))));
        if wait::now() >= at {
            return waker.wake();
        }
        let alarm = Alarm::set(at, &waker);
        let mut slot = node.alarm.lock();
        // `end` sets `done` before it looks here.
        if !node.is_done() {
            *slot = Some(alarm);
        }
    }

    /// A context that is done when its [`Canceler`] says so, or when this one is.
    ///
    /// ```
    /// let (ctx, cancel) = gmp_sched::Context::background().with_cancel();
    /// let (child, _keep) = ctx.with_cancel();
    /// drop(cancel);
    /// assert!(ctx.is_done() && child.is_done());
    /// ```
    pub fn with_cancel(&self) -> (Self, Canceler) {
        self.child(None)
    }

    /// A context that is done at `at` as well. An earlier deadline of this one stays.
    ///
    /// # Panics
    /// If it is the first deadline that this crate watches, and the thread for that cannot be started.
    pub fn with_deadline(&self, at: Instant) -> (Self, Canceler) {
        self.child(Some(wait::nanos_until(at)))
    }

    /// A context that is done after `d` as well.
    ///
    /// # Panics
    /// As [`with_deadline`](Self::with_deadline).
    ///
    /// ```
    /// use gmp_sched::{Context, ContextError};
    /// let (ctx, _cancel) = Context::background().with_timeout(std::time::Duration::from_millis(1));
    /// let mut rounds = 0u64;
    /// let why = loop {
    ///     match ctx.check() {
    ///         Ok(()) => rounds += 1,
    ///         Err(why) => break why,
    ///     }
    /// };
    /// assert_eq!(why, ContextError::DeadlineExceeded);
    /// ```
    pub fn with_timeout(&self, d: Duration) -> (Self, Canceler) {
        self.child(Some(wait::nanos_from_now(d)))
    }

    /// A context with a value, found by its type: use types of your own as keys. Hides a value of the
    /// same type that this one has. O(1).
    ///
    /// ```
    /// #[derive(PartialEq, Debug)]
    /// struct User(&'static str);
    /// let ctx = gmp_sched::Context::background().with_value(User("gopher"));
    /// assert_eq!(ctx.value::<User>(), Some(&User("gopher")));
    /// assert_eq!(ctx.value::<u32>(), None);
    /// ```
    #[must_use]
    pub fn with_value<T: Any + Send + Sync>(&self, value: T) -> Self {
        let value = Value {
            key: TypeId::of::<T>(),
            value: Box::new(value),
            next: self.values.clone(),
        };
        Self { node: self.node.clone(), values: Some(Arc::new(value)) }
    }

    /// A context with the values of this one, that is not done when this one is.
    ///
    /// ```
    /// let (ctx, cancel) = gmp_sched::Context::background().with_value(1u8).with_cancel();
    /// let cleanup = ctx.without_cancel();
    /// cancel.cancel();
    /// assert!(!cleanup.is_done());
    /// assert_eq!(cleanup.value::<u8>(), Some(&1));
    /// ```
    #[must_use]
    pub fn without_cancel(&self) -> Self {
        Self { node: None, values: self.values.clone() }
    }

    /// The value of that type. O(values set on the way here).
    #[must_use]
    pub fn value<T: Any + Send + Sync>(&self) -> Option<&T> {
        let mut at = self.values.as_deref();
        while let Some(value) = at {
            if value.key == TypeId::of::<T>() {
                return value.value.downcast_ref();
            }
            at = value.next.as_deref();
        }
        None
    }

    /// Whether it is done: one load.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.node.as_ref().is_some_and(|n| n.is_done())
    }

    fn ended(&self) -> Option<(ContextError, Cause)> {
        let node = self.node.as_ref().filter(|n| n.is_done())?;
        node.queue.lock().ended.clone()
    }

    /// Why it is done; `None` if it is not.
    #[must_use]
    pub fn err(&self) -> Option<ContextError> {
        self.ended().map(|(why, _)| why)
    }

    /// The reason that was given to [`Canceler::cancel_with`], of the first cancellation that
    /// reached it; the error itself if none was given.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.ended().map(|(_, cause)| cause)
    }

    /// `Err` once it is done: for `ctx.check()?` in loops.
    ///
    /// # Errors
    /// As [`err`](Self::err).
    pub fn check(&self) -> Result<(), ContextError> {
        if self.is_done() { self.err().map_or(Ok(()), Err) } else { Ok(()) }
    }

    /// When it will be done by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let at = self.node.as_ref()?.deadline?;
        let (now, nanos) = (Instant::now(), wait::now());
        match at.checked_sub(nanos) {
            Some(left) => now.checked_add(Duration::from_nanos(left)),
            None => now.checked_sub(Duration::from_nanos(nanos - at)),
        }
    }

    /// Waits until it is done. **May park**; for ever on [`background`](Self::background).
    pub fn wait(&self) {
        self.wait_deadline(None);
    }

    /// As [`wait`](Self::wait), for as long as `d`; false if it was not done by then: a sleep that
    /// ends when it is. **May park.**
    ///
    /// # Panics
    /// As [`with_deadline`](Self::with_deadline).
    pub fn wait_timeout(&self, d: Duration) -> bool {
        self.wait_deadline(Some(wait::nanos_from_now(d)))
    }

    fn wait_deadline(&self, deadline: Option<u64>) -> bool {
        let Some(node) = &self.node else {
            return wait::block(WaitReason::Park, deadline, |_| Poll::<()>::Pending).is_some();
        };
        let waiter = pin!(Waiter::new(&node.queue));
        let waiter = waiter.as_ref();
        wait::block(WaitReason::Park, deadline, |w| node.poll(waiter, w)).is_some()
    }

    /// As [`wait`](Self::wait), in async code on any executor. Cancel-safe.
    ///
    /// ```
    /// let rt = gmp_sched::Builder::new().build().unwrap();
    /// rt.block_on(async {
    ///     let (ctx, cancel) = gmp_sched::Context::background().with_cancel();
    ///     let works = gmp_sched::spawn(async move { ctx.done().await });
    ///     cancel.cancel();
    ///     works.await.unwrap();
    /// });
    /// ```
    pub async fn done(&self) {
        let Some(node) = &self.node else { return core::future::pending().await };
        let waiter = pin!(Waiter::new(&node.queue));
        let waiter = waiter.as_ref();
        core::future::poll_fn(|cx| node.poll(waiter, cx.waker())).await;
    }

    /// Calls `f` once when it is done: at once, if it is. `f` runs on whoever cancels, possibly
    /// between two goroutines: it must not park, and should start a goroutine for what lasts.
    /// Dropping what is returned, before that, unregisters `f`. A panic of `f` goes on in whoever
    /// cancels, after all others were called; in a deadline it goes nowhere.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// static STOP: AtomicBool = AtomicBool::new(false);
    ///
    /// let (ctx, cancel) = gmp_sched::Context::background().with_cancel();
    /// let stops = ctx.after_func(|| STOP.store(true, Ordering::Relaxed));
    /// cancel.cancel();
    /// assert!(STOP.load(Ordering::Relaxed));
    /// assert!(!stops.stop(), "it was called already");
    /// ```
    pub fn after_func(&self, f: impl FnOnce() + Send + 'static) -> AfterDone {
        let Some(node) = &self.node else { return AfterDone { node: Weak::new(), number: 0 } };
        let f = Box::new(f);
        let (_outgrown, mut state) =
            lock_with_room(|| node.queue.lock(), |state| state.callbacks.full());
        if state.ended.is_some() {
            drop(state);
            f();
            return AfterDone { node: Weak::new(), number: 0 };
        }
        let number = state.callbacks.insert(f);
        AfterDone { node: Arc::downgrade(node), number }
    }

    /// A value kept with the node of the tree, made by `init` at first: the seam by which another
    /// crate gives each context something of its own (`gort`: the channel that `done` gives). One
    /// for each node; `None` on [`background`](Self::background), or if there is one of another type.
    /// Where several ask at once each calls its `init`, and what one of them returns stays.
    ///
    /// ```
    /// let (ctx, _cancel) = gmp_sched::Context::background().with_cancel();
    /// assert_eq!(ctx.attachment(|| "first"), Some(&"first"));
    /// assert_eq!(ctx.clone().attachment(|| "second"), Some(&"first"));
    /// ```
    pub fn attachment<T: Any + Send + Sync>(&self, init: impl FnOnce() -> T) -> Option<&T> {
        let attachment = &self.node.as_ref()?.attachment;
        if attachment.get().is_none() {
            // Not `get_or_init`: that would lock others out while `init` runs.
            drop(attachment.set(Box::new(init())));
        }
        attachment.get()?.downcast_ref()
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::background()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("err", &self.err())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

/// Cancels a context; also when dropped, as Go's `defer cancel()` does.
#[must_use = "dropped at once, it cancels the context at once"]
pub struct Canceler {
    /// None once it was told to keep the context.
    node: Option<Arc<Node>>,
}

impl Canceler {
    /// Cancels. Nothing happens if the context is done already.
    pub fn cancel(&self) {
        let why = ContextError::Canceled;
        self.cancel_by(&(Arc::new(why) as Cause));
    }

    /// Cancels, for a reason that [`Context::cause`] gives.
    ///
    /// ```
    /// use gmp_sched::{Context, ContextError};
    /// let (ctx, cancel) = Context::background().with_cancel();
    /// cancel.cancel_with("the disk is full");
    /// assert_eq!(ctx.err(), Some(ContextError::Canceled));
    /// assert_eq!(ctx.cause().unwrap().to_string(), "the disk is full");
    /// ```
    pub fn cancel_with(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) {
        self.cancel_by(&Arc::from(cause.into()));
    }

    pub(crate) fn cancel_by(&self, cause: &Cause) {
        if let Some(node) = &self.node {
            node.cancel(ContextError::Canceled, cause).go_on();
        }
    }

    /// Leaves the context to its deadline and its parent.
    ///
    /// ```
    /// let (parent, cancel) = gmp_sched::Context::background().with_cancel();
    /// let (ctx, canceler) = parent.with_cancel();
    /// canceler.keep();
    /// assert!(!ctx.is_done());
    /// cancel.cancel();
    /// assert!(ctx.is_done());
    /// ```
    pub fn keep(mut self) {
        self.node = None;
    }
}

impl Drop for Canceler {
    fn drop(&mut self) {
        if self.node.as_ref().is_some_and(|n| !n.is_done()) {
            self.cancel();
        }
    }
}

impl fmt::Debug for Canceler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceler").finish_non_exhaustive()
    }
}

/// A function to be called when a context is done; dropping this unregisters it.
#[must_use = "dropped, the function is not called"]
pub struct AfterDone {
    node: Weak<Node>,
    number: usize,
}

impl AfterDone {
    /// Unregisters the function. False if it was called, or is about to be.
    pub fn stop(mut self) -> bool {
        self.unregister()
    }

    fn unregister(&mut self) -> bool {
        let Some(node) = core::mem::take(&mut self.node).upgrade() else { return false };
        let f = node.queue.lock().callbacks.remove(self.number);
        f.is_some()
    }

    /// Leaves it registered for as long as the context exists.
    pub fn keep(mut self) {
        self.node = Weak::new();
    }
}

impl Drop for AfterDone {
    fn drop(&mut self) {
        self.unregister();
    }
}

impl fmt::Debug for AfterDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterDone").finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Context>();
    shared::<Canceler>();
    shared::<AfterDone>();
};
