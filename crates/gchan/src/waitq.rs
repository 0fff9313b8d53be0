//! Waiters, their nodes, and the FIFO of nodes that a channel keeps for each direction (R9).
//!
//! Re-creates `sudog` and `waitq` of Go's `runtime/runtime2.go` and `chan.go` (1.27). A [`Waiter`] is one blocked call:
//! a thread, a goroutine or a future, with the word that says how its wait ended. A [`Node`] is its place in one queue:
//! a plain send or receive has one, a select has one per case. Both live in the waiter's own frame, or pinned in its
//! future; nothing is allocated to wait.
//!
//! # The waiter's word
//! `OPEN` → (`CLAIMED` →) `DONE | outcome | case`, with the bit `ASLEEP` set by the waiter before it sleeps.
//! - A node of a plain operation is taken by whoever unlinks it: the channel's lock decides, no claim is needed.
//! - The nodes of a select stand in several queues. Whoever wants one must first win `OPEN → CLAIMED` (Go's
//!   `selectDone`); a node whose waiter is no longer open is unlinked and passed over.
//! - `DONE` is stored last: from then on the frame that holds waiter and node may be gone. So [`Waiter::finish`] takes
//!   out whom to wake first, and hands it back to be woken after the lock is released (R8).
//! - `CLAIMED` without `DONE` lasts while a value is pending: the other side is a select that was chosen but whose send
//!   expression is still being evaluated (R16).
//!
//! # Memory order
//! Queues and nodes are touched under the channel's lock only. A value written into a node's slot is published by the
//! release half of the exchange to `DONE` and read after an acquiring load, also by an owner that spins and takes no
//! lock. `ASLEEP` and `DONE` meet in one word by read-modify-writes, so either the finisher sees the sleeper or the
//! sleeper sees `DONE`: no fence is needed. The models in `wait` check it, and all of a channel's run on it.

use crate::lock::held;
use crate::park::Handle;
use crate::sync::{AtomicUsize, Ordering, UnsafeCell};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::task::Waker;

/// Whom to wake.
#[derive(Debug)]
pub(crate) enum Wake {
    /// A thread or a goroutine.
    Handle(Handle),
    /// A task.
    Waker(Waker),
}

impl Wake {
    /// Wakes; never under a channel lock, because a `Waker` is user code (R8).
    #[inline]
    pub(crate) fn fire(self) {
        self.fire_at(ptr::null());
    }

    /// [`fire`](Self::fire), for a waiter that was met at this address.
    #[inline]
    fn fire_at(self, at: *const ()) {
        held::assert_none();
        match self {
            Wake::Handle(handle) => handle.unpark_at(at),
            Wake::Waker(waker) => waker.wake(),
        }
    }
}

/// Wakes, if there is anybody to be woken; see [`Wake::fire`].
#[inline]
pub(crate) fn fire(wake: Option<Wake>) {
    if let Some(wake) = wake {
        wake.fire();
    }
}

/// [`fire`], for a waiter that was met at this channel.
#[inline]
pub(crate) fn fire_at<C>(wake: Option<Wake>, chan: &C) {
    if let Some(wake) = wake {
        wake.fire_at(ptr::from_ref(chan).cast());
    }
}

/// At most this many are woken per turn of the lock.
const WAKES: usize = 4;

/// The first panic of a waker, put off until everybody else was woken.
#[derive(Debug, Default)]
pub(crate) struct PutOff(Option<Box<dyn Any + Send>>);

impl PutOff {
    pub(crate) fn catch(&mut self, f: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
            match self.0 {
                None => self.0 = Some(panic),
                // The panic hook told of it. Its drop may panic too.
                Some(_) => std::mem::forget(panic),
            }
        }
    }

    pub(crate) fn resume(self) {
        if let Some(panic) = self.0 {
            resume_unwind(panic);
        }
    }
}

/// Collects whom to wake once the lock is released. To be [resumed](Self::resume) at the end.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    list: [Option<Wake>; WAKES],
    len: usize,
    put_off: PutOff,
}

impl Wakes {
    pub(crate) fn push(&mut self, wake: Option<Wake>) {
        if wake.is_some() {
            self.list[self.len] = wake;
            self.len += 1;
        }
    }

    /// No room for another: release the lock, [`fire`](Self::fire), and come back.
    pub(crate) fn is_full(&self) -> bool {
        self.len == WAKES
    }

    /// No room for another two.
    pub(crate) fn nearly_full(&self) -> bool {
        self.len + 2 > WAKES
    }

    /// Wakes them all, whoever panics.
    pub(crate) fn fire(&mut self) {
        for wake in &mut self.list[..std::mem::take(&mut self.len)] {
            if let Some(wake) = wake.take() {
                self.put_off.catch(|| wake.fire());
            }
        }
    }

    /// Does something else that may wake, after all that it is to be told of were woken.
    pub(crate) fn and(&mut self, f: impl FnOnce()) {
        self.put_off.catch(f);
    }

    /// Lets the first panic of a waker go on.
    pub(crate) fn resume(self) {
        self.put_off.resume();
    }
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Outcome {
    /// The value was handed over (receive) or taken (send).
    Passed = 0,
    /// The channel was closed; a sender keeps its value.
    Closed = 1,
    /// A select's send, value to follow: a slot of the buffer is kept for it.
    Reserved = 2,
    /// A select's send, value to follow: a receiver waits for it, found by the number in the node.
    Matched = 3,
    /// The partner withdrew (its send expression panicked): try again.
    Retry = 4,
    /// For a select that only watches: the channel may have become ready.
    Notified = 5,
}

const PHASE: usize = 0b11;
const OPEN: usize = 0b00;
const CLAIMED: usize = 0b01;
const DONE: usize = 0b10;
const ASLEEP: usize = 0b100;
const OUTCOME_SHIFT: u32 = 3;
const CASE_SHIFT: u32 = 8;

#[derive(Debug)]
pub(crate) struct Waiter {
    /// See the head of the file.
    word: AtomicUsize,
    /// Whom to wake. Written by the waiter while it is in no queue, or while it holds the locks of all channels it is
    /// queued at; read or taken by a finisher under the lock of the channel where it found the node.
    whom: UnsafeCell<Option<Wake>>,
}

impl Waiter {
    /// A waiter that is awake and will call [`fall_asleep`](Self::fall_asleep) before it sleeps.
    pub(crate) fn awake(handle: Handle) -> Self {
        Self {
            word: AtomicUsize::new(OPEN),
            whom: UnsafeCell::new(Some(Wake::Handle(handle))),
        }
    }

    /// A waiter that must always be woken: a task, or a goroutine.
    #[inline]
    pub(crate) fn asleep(wake: Option<Wake>) -> Self {
        Self {
            word: AtomicUsize::new(OPEN | ASLEEP),
            whom: UnsafeCell::new(wake),
        }
    }

    /// Replaces whom to wake, and gives back the former.
    ///
    /// # Safety
    /// The caller owns the waiter and holds the locks of all channels it is queued at.
    pub(crate) unsafe fn set_wake(&self, wake: Wake) -> Option<Wake> {
        // SAFETY: finishers look at `whom` under one of the locks that the caller holds.
        self.whom.with_mut(|whom| unsafe { (*whom).replace(wake) })
    }

    /// Whether waking this waiter would wake `waker`.
    ///
    /// # Safety
    /// As for [`set_wake`](Self::set_wake).
    pub(crate) unsafe fn wakes(&self, waker: &Waker) -> bool {
        // SAFETY: as above.
        let whom = self.whom.with_mut(|whom| unsafe { &*whom });
        matches!(whom, Some(Wake::Waker(mine)) if mine.will_wake(waker))
    }

    /// Makes the word open again for another round of a waiter that must always be woken: `DONE` took the bit that
    /// says so with it. The waiter is in no queue.
    #[inline]
    pub(crate) fn reopen(&self) {
        self.word.store(OPEN | ASLEEP, Ordering::Relaxed);
    }

    /// As [`reopen`](Self::reopen), for a thread that is awake again.
    pub(crate) fn reopen_awake(&self) {
        self.word.store(OPEN, Ordering::Relaxed);
    }

    /// Wins the waiter for one case, against other channels that try the same.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & PHASE == OPEN {
            match self.word.compare_exchange_weak(
                word,
                word | CLAIMED,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(seen) => word = seen,
            }
        }
        false
    }

    /// The waiter is still open: nobody took it.
    pub(crate) fn is_open(&self) -> bool {
        self.word.load(Ordering::Acquire) & PHASE == OPEN
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.word.load(Ordering::Acquire) & PHASE == DONE
    }

    /// Announces that the waiter must be woken from now on; false if it is done already. Who announced it before, and
    /// waits on after a deadline, writes nothing: a finisher that knows of the sleeper stores as if it were alone.
    pub(crate) fn fall_asleep(&self) -> bool {
        let mut word = self.word.load(Ordering::Acquire);
        if word & ASLEEP == 0 {
            word = self.word.fetch_or(ASLEEP, Ordering::AcqRel);
        }
        word & PHASE != DONE
    }

    /// The outcome and the case, once done.
    #[inline]
    pub(crate) fn result(&self) -> Option<(Outcome, usize)> {
        let word = self.word.load(Ordering::Acquire);
        if word & PHASE != DONE {
            return None;
        }
        let outcome = match (word >> OUTCOME_SHIFT) & 0b111 {
            0 => Outcome::Passed,
            1 => Outcome::Closed,
            2 => Outcome::Reserved,
            3 => Outcome::Matched,
            4 => Outcome::Retry,
            _ => Outcome::Notified,
        };
        Some((outcome, word >> CASE_SHIFT))
    }

    /// Marks the waiter done and says whom to wake after the lock is released. The waiter's frame may be gone when
    /// this returns.
    ///
    /// # Safety
    /// The caller unlinked one of the waiter's nodes (and, for a select, claimed the waiter), holds that channel's
    /// lock, and has written whatever the outcome promises. It calls this once.
    #[inline]
    pub(crate) unsafe fn finish(
        this: *const Waiter,
        outcome: Outcome,
        case: usize,
    ) -> Option<Wake> {
        // SAFETY: until `DONE` is stored the waiter's frame waits for it, so `this` is good up to the store, and the
        // caller alone may finish it, so `whom` has no other user.
        unsafe {
            let whom = (*this).whom.with_mut(|whom| match &*whom {
                Some(Wake::Handle(handle)) => Some(Wake::Handle(*handle)),
                _ => (*whom).take(),
            });
            let done = DONE | ((outcome as usize) << OUTCOME_SHIFT) | (case << CASE_SHIFT);
            // A waiter that sleeps stays asleep until it is done, and only the caller may write its word: a store
            // will do. One that is awake may fall asleep this instant, so that takes a read-modify-write.
            if (*this).word.load(Ordering::Relaxed) & ASLEEP != 0 {
                (*this).word.store(done, Ordering::Release);
                return whom;
            }
            let before = (*this).word.swap(done, Ordering::AcqRel);
            if before & ASLEEP != 0 { whom } else { None }
        }
    }
}

/// A waiter's place in one queue. All fields but the constant ones are written under the channel's lock.
#[derive(Debug)]
pub(crate) struct Node {
    next: *mut Node,
    prev: *mut Node,
    /// The queue this node stands in, null if none; compared, never followed, by the owner.
    queue: *mut WaitQ,
    /// Constant while queued.
    pub(crate) waiter: *const Waiter,
    /// Constant while queued: where the value is, or goes to. Null for a deferred send; a watcher's is not
    /// used.
    pub(crate) slot: *mut (),
    /// The order of arrival at this channel, 0 before the first. Kept over a retry, so that the waiter's turn is too.
    pub(crate) ticket: u64,
    /// Links a deferred send to its receiver; set in both when they are matched.
    pub(crate) pairing: u64,
    /// Constant: the index of the case in its select.
    pub(crate) case: u16,
    /// Constant: a select's node, which must be claimed.
    pub(crate) select: bool,
    /// Constant: a send whose value comes after it was chosen.
    pub(crate) deferred: bool,
    /// Constant: nobody may block its thread until this waiter acts, because it is a task that may share the thread.
    pub(crate) task: bool,
    /// Constant: how long a receiver waits for the value of a sender that it is paired with.
    pub(crate) haste: Haste,
    /// A receiver: the sender it is paired with is a task that was not polled since, and need never be.
    pub(crate) with_task: bool,
}

/// How long a waiter waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// As long as it takes.
    Patient,
    /// Until its deadline. A partner that withdraws wakes it, so that it can look at the clock.
    Deadline,
    /// Not at all, but for the value of a thread's select, which comes. It is paired with no task.
    Now,
}

impl Node {
    #[inline]
    pub(crate) fn new(waiter: *const Waiter, slot: *mut ()) -> Self {
        Self {
            next: ptr::null_mut(),
            prev: ptr::null_mut(),
            queue: ptr::null_mut(),
            waiter,
            slot,
            ticket: 0,
            pairing: 0,
            case: 0,
            select: false,
            deferred: false,
            task: false,
            haste: Haste::Patient,
            with_task: false,
        }
    }

    pub(crate) fn is_queued(&self) -> bool {
        !self.queue.is_null()
    }

    /// A send whose value comes once its task is polled, if it ever is.
    pub(crate) fn is_tasks_promise(&self) -> bool {
        self.deferred && self.task
    }

    /// A receiver that is paired with a sender who is at work on the value: it may not go before that is done. Before a
    /// task is polled, it may; the task finds it gone then, and chooses anew.
    pub(crate) fn is_committed(&self) -> bool {
        self.is_queued() && self.pairing != 0 && !self.with_task
    }

    /// Finishes the node's waiter. See [`Waiter::finish`].
    ///
    /// # Safety
    /// As [`Waiter::finish`]; `this` was unlinked by the caller.
    #[inline]
    pub(crate) unsafe fn finish(this: *mut Node, outcome: Outcome) -> Option<Wake> {
        // SAFETY: the node lives at least until its waiter is done.
        unsafe { Waiter::finish((*this).waiter, outcome, (*this).case as usize) }
    }

    /// Takes the node out of the queue it stands in, if any. True if it stood in one.
    ///
    /// # Safety
    /// The caller holds the lock of the channel it was queued at.
    pub(crate) unsafe fn unlink(this: *mut Node) -> bool {
        // SAFETY: `queue` is null or a queue of that channel, whose lock is held.
        unsafe {
            let queue = (*this).queue;
            if queue.is_null() {
                return false;
            }
            (*queue).remove(this);
            true
        }
    }
}

/// A FIFO of nodes, linked through the nodes themselves. Lives in a channel and is touched under its lock.
///
/// A queue must not move while nodes stand in it, because nodes point back; it lives in the channel's shared part.
#[derive(Debug)]
pub(crate) struct WaitQ {
    first: *mut Node,
    last: *mut Node,
}

impl WaitQ {
    pub(crate) const fn new() -> Self {
        Self {
            first: ptr::null_mut(),
            last: ptr::null_mut(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Appends a node.
    ///
    /// # Safety
    /// Under the lock; the node is queued nowhere and stays in place until it is unlinked.
    #[inline]
    pub(crate) unsafe fn push_back(&mut self, node: *mut Node) {
        // SAFETY: nodes of the queue are alive, by this function's contract for each of them.
        unsafe {
            (*node).queue = self;
            (*node).next = ptr::null_mut();
            (*node).prev = self.last;
            if self.last.is_null() {
                self.first = node;
            } else {
                (*self.last).next = node;
            }
            self.last = node;
        }
    }

    /// Puts a node where its ticket says: before all that came later. Almost always at the end; at the front for a
    /// waiter that was matched and is put back.
    ///
    /// # Safety
    /// As [`push_back`](Self::push_back).
    #[inline]
    pub(crate) unsafe fn push_in_turn(&mut self, node: *mut Node) {
        // SAFETY: as `push_back`.
        unsafe {
            if self.last.is_null() || (*self.last).ticket <= (*node).ticket {
                self.push_back(node);
            } else {
                self.push_before(node);
            }
        }
    }

    /// The last node came later.
    ///
    /// # Safety
    /// As [`push_back`](Self::push_back).
    #[cold]
    unsafe fn push_before(&mut self, node: *mut Node) {
        // SAFETY: as `push_back`; `after` is a live node of the queue or null.
        unsafe {
            let mut after = (*self.last).prev;
            while !after.is_null() && (*after).ticket > (*node).ticket {
                after = (*after).prev;
            }
            let before = if after.is_null() {
                self.first
            } else {
                (*after).next
            };
            (*node).queue = self;
            (*node).prev = after;
            (*node).next = before;
            (*before).prev = node;
            if after.is_null() {
                self.first = node;
            } else {
                (*after).next = node;
            }
        }
    }

    /// # Safety
    /// Under the lock; the node stands in this queue.
    #[inline]
    unsafe fn remove(&mut self, node: *mut Node) {
        // SAFETY: the node and its neighbours are alive, see `push_back`.
        unsafe {
            let (prev, next) = ((*node).prev, (*node).next);
            if prev.is_null() {
                self.first = next;
            } else {
                (*prev).next = next;
            }
            if next.is_null() {
                self.last = prev;
            } else {
                (*next).prev = prev;
            }
            (*node).queue = ptr::null_mut();
        }
    }

    /// The first node has its value, or room for one, and is won: a select's is claimed.
    ///
    /// # Safety
    /// Under the lock; there is one. If it is won, it is to be [unlinked](Self::dequeue_first) and finished.
    #[inline(always)]
    pub(crate) unsafe fn win_first(&self) -> bool {
        let first = self.first;
        // SAFETY: nodes of the queue and their waiters are alive.
        unsafe { !(*first).select || (!(*first).deferred && (*(*first).waiter).claim()) }
    }

    /// Unlinks and returns the first node.
    ///
    /// # Safety
    /// Under the lock; there is one.
    #[inline(always)]
    pub(crate) unsafe fn dequeue_first(&mut self) -> *mut Node {
        let first = self.first;
        // SAFETY: there is a first node, and nodes of the queue are alive.
        unsafe {
            let next = (*first).next;
            self.first = next;
            if next.is_null() {
                self.last = ptr::null_mut();
            } else {
                (*next).prev = ptr::null_mut();
            }
            (*first).queue = ptr::null_mut();
        }
        first
    }

    /// Unlinks and returns the first node that is still to be had; for a select's node this claims its waiter, and
    /// nodes that another channel won already are dropped from the queue on the way. `accept` may pass over nodes
    /// that must stay.
    ///
    /// # Safety
    /// Under the lock.
    #[inline]
    pub(crate) unsafe fn dequeue_if(
        &mut self,
        accept: impl Fn(&Node) -> bool,
    ) -> Option<*mut Node> {
        let mut node = self.first;
        while !node.is_null() {
            // SAFETY: nodes of the queue are alive, and so are their waiters: a waiter leaves its frame only after it
            // has unlinked its nodes under this lock, or was finished by someone who unlinked this one.
            unsafe {
                let next = (*node).next;
                if accept(&*node) {
                    self.remove(node);
                    if !(*node).select || (*(*node).waiter).claim() {
                        return Some(node);
                    }
                }
                node = next;
            }
        }
        None
    }

    /// As [`dequeue_if`](Self::dequeue_if) for any node.
    ///
    /// # Safety
    /// Under the lock.
    #[inline]
    pub(crate) unsafe fn dequeue(&mut self) -> Option<*mut Node> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: passed on.
        unsafe { self.dequeue_if(|_| true) }
    }

    /// The node with this pairing.
    ///
    /// # Safety
    /// Under the lock.
    pub(crate) unsafe fn find_pairing(&self, pairing: u64) -> Option<*mut Node> {
        let mut node = self.first;
        while !node.is_null() {
            // SAFETY: nodes of the queue are alive.
            unsafe {
                if (*node).pairing == pairing {
                    return Some(node);
                }
                node = (*node).next;
            }
        }
        None
    }

    /// Unlinks and returns the node with this pairing.
    ///
    /// # Safety
    /// Under the lock.
    pub(crate) unsafe fn take_pairing(&mut self, pairing: u64) -> Option<*mut Node> {
        // SAFETY: passed on; what is found stands here.
        unsafe {
            let node = self.find_pairing(pairing)?;
            self.remove(node);
            Some(node)
        }
    }

    /// Whether a node stands here that is acceptable, and whose waiter is still to be had.
    ///
    /// # Safety
    /// Under the lock.
    pub(crate) unsafe fn any_open(&self, accept: impl Fn(&Node) -> bool) -> bool {
        let mut node = self.first;
        while !node.is_null() {
            // SAFETY: nodes of the queue and their waiters are alive.
            unsafe {
                if accept(&*node) && (!(*node).select || (*(*node).waiter).is_open()) {
                    return true;
                }
                node = (*node).next;
            }
        }
        false
    }
}
