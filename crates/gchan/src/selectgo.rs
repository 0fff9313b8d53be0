//! Select, as Go does it (R17).
//!
//! Re-creates `selectgo` of Go's `runtime/select.go` (1.27):
//! 1. A random permutation of the cases is the order in which they are looked at, so that ready cases are chosen
//!    uniformly.
//! 2. Pass 1, under the locks of all channels, taken in the order of their addresses: is a case ready? Being under all
//!    locks makes `default` atomic: it is taken only if at one instant no case was ready.
//! 3. Pass 2, still under the locks: the waiter is queued once per case.
//! 4. It sleeps. Whoever wants one of its nodes first claims the waiter, so exactly one case wins.
//! 5. Pass 3: the nodes of the losers are unlinked.
//!
//! Two departures. Before pass 1 the cases are tried in order with one lock at a time: a case that is ready then is as
//! good as any that pass 1 finds, and the common select of a busy program takes one lock instead of all. And a send
//! is chosen before its value exists (R16): the outcome is then a promise, see `hchan`.
//!
//! The same channel may stand in several cases, its lock is taken once. A select never matches itself: in pass 1 it is
//! queued nowhere, and once queued it only waits.

mod nodes;
mod order;

use nodes::Nodes;
use order::{Locks, Order};

use crate::case::{Attempt, EMPTY_PACKET, Later, Packet, RawCase};
use crate::hchan::Promise;
use crate::lock::RawLock;
use crate::op::Kind;
use crate::park::Reason;
use crate::sync::UnsafeCell;
use crate::wait::{Blocker, as_blocker, goroutine};
use crate::waitq::{Haste, Node, Outcome, PutOff, Waiter, Wake};
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::ptr;
use std::task::Waker;
use std::time::Instant;

/// One case: a side of a channel, which is the user's handle itself, and the index the user knows it by.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub(crate) handle: &'a dyn RawCase,
    pub(crate) index: usize,
}

/// How the chosen case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// Received, under this ticket; the value is in the packet or the box.
    Value(u64),
    Closed,
    Promise(Promise),
}

/// The chosen case, with its value if it is a receive.
pub(crate) struct Token {
    pub(crate) chosen: Chosen,
    /// The case's place in the list of cases.
    pub(crate) case: usize,
    /// The box of a large value, or null.
    pub(crate) slot: *mut (),
    pub(crate) packet: Packet,
}

/// Tries the cases one lock at a time. False if none was ready when it was looked at; then the order is settled.
///
/// The token is the caller's, filled where it is: a processor that copies in wide words what was just written in narrow
/// ones waits for its store buffer.
#[inline(always)]
fn pass0(cases: &[Case<'_>], order: &mut Order, token: &mut Token) -> bool {
    for at in 0..order.len() {
        let i = order.draw(at);
        // SAFETY: the packet takes a value, and there is no box yet.
        let attempt = unsafe {
            let packet = &raw mut token.packet;
            cases[i].handle.attempt_alone(packet, &mut token.slot)
        };
        token.chosen = match attempt {
            Attempt::Value => Chosen::Value(0),
            Attempt::Promise(promise) => Chosen::Promise(promise),
            Attempt::Closed => Chosen::Closed,
            Attempt::Blocks | Attempt::NeedsNode | Attempt::Paired => continue,
        };
        token.case = i;
        return true;
    }
    false
}

impl Token {
    /// Of no case yet.
    #[inline]
    pub(crate) fn empty() -> Self {
        Self {
            chosen: Chosen::Closed,
            case: 0,
            slot: ptr::null_mut(),
            packet: EMPTY_PACKET,
        }
    }

    /// Where the value is.
    #[inline]
    pub(crate) fn slot(&mut self) -> *mut () {
        if self.slot.is_null() {
            self.packet.as_mut_ptr().cast()
        } else {
            self.slot
        }
    }
}

/// What pass 1 and pass 2 did.
enum Entered {
    /// The token is filled.
    Chosen,
    /// Queued in all cases, or paired in one: the waiter will be finished.
    Waiting,
    /// Nothing was ready, and the caller does not wait.
    Nothing,
}

/// A select's waiter with its nodes, pinned in the caller's frame or a future's box. Dropping it leaves all channels;
/// what it was given meanwhile goes back.
struct Registration<'c, 'a> {
    cases: &'c [Case<'a>],
    waiter: Waiter,
    /// One per case; guarded by the lock of the case's channel while queued.
    nodes: UnsafeCell<Nodes>,
    /// Filled with the nodes; owner only.
    locks: UnsafeCell<Locks<'a>>,
    /// The owner's, and outlives this. Its packet receives the value of whichever case wins, if it is small.
    token: *mut Token,
    /// In queues, or paired. Owner only.
    entered: Cell<bool>,
    _pinned: PhantomPinned,
}

impl<'c, 'a> Registration<'c, 'a> {
    /// Inlined: this is large, and made in its place.
    ///
    /// # Safety
    /// `token` is empty, and stays in place and is left alone until this chose a case or was dropped.
    #[inline(always)]
    unsafe fn new(cases: &'c [Case<'a>], waiter: Waiter, token: *mut Token) -> Self {
        Self {
            cases,
            waiter,
            nodes: UnsafeCell::new(Nodes::none()),
            locks: UnsafeCell::new(Locks::none()),
            token,
            entered: Cell::new(false),
            _pinned: PhantomPinned,
        }
    }

    fn node(&self, i: usize) -> *mut Node {
        // SAFETY: the nodes are filled in once, before any is queued; who reaches one through a queue does so by this
        // pointer, not through the list.
        self.nodes
            .with_mut(|nodes| unsafe { (*nodes).as_mut_ptr().add(i) })
    }

    fn locks(&self) -> &Locks<'a> {
        // SAFETY: they are filled in once, by `prepare`, which nobody calls while this is borrowed.
        self.locks.with_mut(|locks| unsafe { &*locks })
    }

    fn lock_all(&self) {
        self.locks().for_each(RawLock::lock);
    }

    fn unlock_all(&self) {
        self.locks().for_each(RawLock::unlock);
    }

    fn packet(&self) -> *mut Packet {
        // SAFETY: the token is in place.
        unsafe { &raw mut (*self.token).packet }
    }

    /// Makes one node per case, with a box for each receive that needs one, and puts the locks in order. Once.
    #[inline]
    fn prepare(self: Pin<&Self>, kind: Kind) {
        let packet = self.packet();
        // SAFETY: no node is queued yet, so the lists are ours.
        let (nodes, locks) = unsafe {
            (
                self.nodes.with_mut(|nodes| &mut *nodes),
                self.locks.with_mut(|locks| &mut *locks),
            )
        };
        nodes.fill(self.cases.iter().enumerate().map(|(i, case)| {
            let (lock, slot) = case.handle.lock_and_slot(packet);
            if let Some(lock) = lock {
                locks.push(lock);
            }
            let mut node = Node::new(&raw const self.waiter, slot);
            node.case = i as u16;
            node.select = true;
            node.task = kind.task;
            node.haste = kind.haste;
            node
        }));
        locks.sort();
    }

    /// Passes 1 and 2.
    fn enter(self: Pin<&Self>, order: &Order, wait: bool) -> Entered {
        let mut later = Later::nothing();
        self.lock_all();
        for i in order.iter() {
            let handle = self.cases[i].handle;
            if !handle.maybe_ready() {
                continue;
            }
            let node = self.node(i);
            // SAFETY: under all locks; the node is unqueued, pinned, and has a slot if this is a receive.
            let attempt = unsafe { handle.attempt((*node).slot, node, &mut later) };
            if attempt == Attempt::Blocks || attempt == Attempt::NeedsNode {
                continue;
            }
            self.unlock_all();
            self.entered.set(attempt == Attempt::Paired);
            let chosen = match attempt {
                Attempt::Value => Chosen::Value(0),
                Attempt::Promise(promise) => Chosen::Promise(promise),
                Attempt::Paired => {
                    later.run(handle);
                    return Entered::Waiting;
                }
                _ => Chosen::Closed,
            };
            self.choose(i, chosen);
            let undo = Undo {
                token: self.token,
                handle,
            };
            later.run(handle);
            std::mem::forget(undo);
            return Entered::Chosen;
        }
        let mut watched = false;
        if wait {
            // In the order of looking, so that cases on one channel have equal chances here too.
            for i in order.iter() {
                // SAFETY: under all locks; the node is pinned and unlinked before it goes.
                watched |= unsafe { self.cases[i].handle.enqueue(self.node(i)) };
            }
            self.entered.set(true);
        }
        self.unlock_all();
        if watched {
            let mut put_off = PutOff::default();
            for case in self.cases {
                put_off.catch(|| case.handle.notify());
            }
            put_off.resume();
        }
        if wait {
            Entered::Waiting
        } else {
            Entered::Nothing
        }
    }

    /// Fills the token with a chosen case, whose value, if it has one, is in the packet or in its node's box.
    fn choose(&self, i: usize, chosen: Chosen) {
        // SAFETY: the case was won, so its node and slot are ours, and so is the token. A slot that is not the packet is
        // a box, which moves to the token.
        unsafe {
            (*self.token).chosen = chosen;
            (*self.token).case = i;
            let slot = &mut (*self.node(i)).slot;
            if matches!(chosen, Chosen::Value(_)) && *slot != self.packet().cast() {
                (*self.token).slot = std::mem::replace(slot, ptr::null_mut());
            }
        }
    }

    /// Pass 3: `won` is the case whose node its partner unlinked, if one did.
    fn unlink_all(&self, won: Option<usize>) {
        for (i, case) in self.cases.iter().enumerate() {
            if won != Some(i) {
                // SAFETY: no lock is held; the node is this channel's or in no queue.
                unsafe { case.handle.leave(self.node(i)) };
            }
        }
        self.entered.set(false);
    }

    /// What follows the end of the wait. False if it is to be started again, true if a case was chosen.
    fn end(&self, (outcome, i): (Outcome, usize)) -> bool {
        self.unlink_all(Some(i));
        // SAFETY: the node is unlinked, so it is ours.
        let (ticket, pairing, task) = unsafe {
            let node = self.node(i);
            ((*node).ticket, (*node).pairing, (*node).task)
        };
        let handle = self.cases[i].handle;
        let chosen = match outcome {
            Outcome::Passed if handle.is_send() => return false,
            // Its receiver did not wait for it to be polled.
            Outcome::Matched if task && !handle.commit(pairing) => return false,
            Outcome::Passed => Chosen::Value(ticket),
            Outcome::Closed => Chosen::Closed,
            Outcome::Reserved => Chosen::Promise(Promise::Slot),
            Outcome::Matched => Chosen::Promise(Promise::Receiver(pairing)),
            Outcome::Retry | Outcome::Notified => return false,
        };
        self.choose(i, chosen);
        true
    }

    /// Leaves all queues unless a case was won. True if it left.
    fn withdraw(&self) -> bool {
        self.lock_all();
        let open = self.waiter.is_open();
        // A waiter that is paired from pass 1 is open too, but its node stands in `matched`.
        // SAFETY: under all locks.
        let committed = (0..self.cases.len()).any(|i| unsafe { (*self.node(i)).is_committed() });
        let leave = open && !committed;
        if leave {
            for (i, case) in self.cases.iter().enumerate() {
                // SAFETY: under all locks.
                unsafe { case.handle.unlink(self.node(i)) };
            }
            self.entered.set(false);
        }
        self.unlock_all();
        leave
    }

    /// Forgets pairings, and keeps the turns.
    fn rearm(&self) {
        for i in 0..self.cases.len() {
            // SAFETY: the nodes are in no queue.
            unsafe { (*self.node(i)).pairing = 0 };
        }
    }

    /// When a case becomes ready by itself. Only those without a lock do.
    fn due(&self) -> Option<Instant> {
        if self.locks().len() == self.cases.len() {
            return None;
        }
        self.cases.iter().filter_map(|case| case.handle.due()).min()
    }
}

impl Drop for Registration<'_, '_> {
    fn drop(&mut self) {
        if self.entered.get() {
            self.unlink_all(None);
            if self.waiter.result().is_some_and(|result| self.end(result)) {
                // SAFETY: the token is in place.
                let token = unsafe { &mut *self.token };
                token.undo(self.cases[token.case].handle);
            }
        }
        let packet = self.packet().cast::<()>();
        self.nodes.with_mut(|nodes| {
            // SAFETY: no node is queued any more; a slot that is neither null nor the packet is an empty box.
            unsafe {
                let first = (*nodes).as_mut_ptr();
                for (i, case) in self.cases.iter().enumerate().take((*nodes).len()) {
                    let slot = (*first.add(i)).slot;
                    if slot != packet && !slot.is_null() {
                        case.handle.free_slot(slot);
                    }
                }
            }
        });
    }
}

impl Token {
    /// Undoes the choice: a received value goes back to its channel, a promise is taken back.
    pub(crate) fn undo(&mut self, handle: &dyn RawCase) {
        match self.chosen {
            // SAFETY: the value is in the slot, and moves back; then the box is empty.
            Chosen::Value(ticket) => unsafe {
                handle.put_back(self.slot(), ticket);
                handle.free_slot(std::mem::replace(&mut self.slot, ptr::null_mut()));
            },
            Chosen::Promise(promise) => handle.break_promise(promise),
            Chosen::Closed => {}
        }
        self.chosen = Chosen::Closed;
    }
}

/// Undoes a choice that cannot be told of, because a waker panicked.
struct Undo<'a> {
    token: *mut Token,
    handle: &'a dyn RawCase,
}

impl Drop for Undo<'_> {
    #[cold]
    fn drop(&mut self) {
        // A second panic would end the program.
        let mut put_off = PutOff::default();
        // SAFETY: the token is in place, and the registration's, which made this.
        put_off.catch(|| unsafe { (*self.token).undo(self.handle) });
        std::mem::forget(put_off);
    }
}

/// How long a select waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all.
    Try,
    /// Until then, or for ever.
    Until(Option<Instant>),
}

impl Patience {
    fn haste(self) -> Haste {
        match self {
            Patience::Until(None) => Haste::Patient,
            Patience::Until(Some(deadline)) if Instant::now() < deadline => Haste::Deadline,
            Patience::Until(Some(_)) | Patience::Try => Haste::Now,
        }
    }
}

#[inline]
fn order_of(cases: &[Case<'_>], biased: bool) -> Order {
    if biased {
        Order::identity(cases.len())
    } else {
        Order::shuffled(cases.len())
    }
}

/// Chooses a case, and fills the token, which is empty. False if none was ready in time.
///
/// Not inlined: what calls it is, into the user's code.
#[inline(never)]
pub(crate) fn select(
    cases: &[Case<'_>],
    biased: bool,
    patience: Patience,
    token: &mut Token,
) -> bool {
    let mut order = order_of(cases, biased);
    pass0(cases, &mut order, token) || wait(cases, &mut order, patience, token)
}

/// One function down to the hook of a goroutine, for the reason given at `block::block`.
#[cold]
#[inline(never)]
fn wait(cases: &[Case<'_>], order: &mut Order, patience: Patience, token: &mut Token) -> bool {
    if let Some(blocker) = goroutine() {
        return block(&blocker, cases, order, patience, token);
    }
    wait_thread(cases, order, patience, token)
}

#[inline(never)]
fn wait_thread(
    cases: &[Case<'_>],
    order: &mut Order,
    patience: Patience,
    token: &mut Token,
) -> bool {
    as_blocker(|blocker| {
        if patience != Patience::Try {
            blocker.hesitate(|| cases.iter().any(|case| case.handle.maybe_ready()));
            if pass0(cases, order, token) {
                return true;
            }
        }
        block(blocker, cases, order, patience, token)
    })
}

#[inline(always)]
fn block(
    blocker: &Blocker,
    cases: &[Case<'_>],
    order: &mut Order,
    patience: Patience,
    token: &mut Token,
) -> bool {
    let token: *mut Token = token;
    // SAFETY: the token outlives this call, and is left alone until a case was chosen or no node is queued.
    let reg = std::pin::pin!(unsafe { Registration::new(cases, blocker.waiter(), token) });
    let reg = reg.as_ref();
    let reason = if reg.cases.is_empty() {
        Reason::SelectNoCases
    } else {
        Reason::Select
    };
    reg.prepare(Kind::blocking(patience.haste()));
    loop {
        match reg.enter(order, patience != Patience::Try) {
            Entered::Chosen => return true,
            Entered::Nothing => return false,
            Entered::Waiting => {}
        }
        let deadline = match patience {
            Patience::Until(deadline) => deadline,
            // Paired with a thread: it is waited for, and for nothing else.
            Patience::Try => None,
        };
        let until = [deadline, reg.due()].into_iter().flatten().min();
        let mut result = blocker.wait(&reg.waiter, reason, until);
        if result.is_none() && reg.withdraw() {
            // The order: a case that is due by now goes before the timeout.
            // SAFETY: no node is queued, so the token is ours.
            if pass0(reg.cases, order, unsafe { &mut *token }) {
                return true;
            }
            if deadline.is_some_and(|d| Instant::now() >= d) {
                return false;
            }
        } else {
            result = result.or_else(|| blocker.wait_on(&reg.waiter, reason));
            if result.is_some_and(|result| reg.end(result)) {
                return true;
            }
        }
        reg.rearm();
        blocker.reopen(&reg.waiter);
    }
}

/// Does something under the channel's lock, if it has one.
fn locked(handle: &dyn RawCase, f: impl FnOnce() -> bool) -> bool {
    let lock = handle.lock();
    lock.inspect(|lock| lock.lock());
    let result = f();
    lock.inspect(|lock| lock.unlock());
    result
}

/// The first case, in order, that would not block now; or not longer than until a task is polled, if `tasks` are good
/// enough.
fn find_ready(cases: &[Case<'_>], order: &mut Order, tasks: bool) -> Option<usize> {
    (0..order.len()).map(|at| order.draw(at)).find(|&i| {
        let handle = cases[i].handle;
        // SAFETY: under the lock.
        handle.maybe_ready() && locked(handle, || unsafe { handle.is_ready(tasks) })
    })
}

/// Waits until a case would not block, without performing it. `None` if none was in time.
pub(crate) fn ready(cases: &[Case<'_>], biased: bool, patience: Patience) -> Option<usize> {
    let mut order = order_of(cases, biased);
    if let Some(i) = find_ready(cases, &mut order, patience.haste() != Haste::Now) {
        return Some(i);
    }
    let Patience::Until(deadline) = patience else {
        return None;
    };
    as_blocker(|blocker| {
        let mut token = Token::empty();
        // SAFETY: the token outlives the registration.
        let reg = unsafe { Registration::new(cases, blocker.waiter(), &raw mut token) };
        let reg = std::pin::pin!(reg);
        let reg = reg.as_ref();
        reg.prepare(Kind::blocking(Haste::Deadline));
        loop {
            let found = reg.watch(&order);
            if found.is_none() {
                let until = [deadline, reg.due()].into_iter().flatten().min();
                blocker.wait(&reg.waiter, Reason::Select, until);
            }
            reg.unlink_all(None);
            if let Some(i) = found.or_else(|| find_ready(cases, &mut order, true)) {
                return Some(i);
            }
            if deadline.is_some_and(|d| Instant::now() >= d) {
                return None;
            }
            blocker.reopen(&reg.waiter);
        }
    })
}

impl<'c, 'a> Registration<'c, 'a> {
    /// Queues watchers until a case is found ready.
    fn watch(&self, order: &Order) -> Option<usize> {
        self.entered.set(true);
        order.iter().find(|&i| {
            let handle = self.cases[i].handle;
            // SAFETY: under the lock; the node is pinned and unlinked before it goes.
            locked(handle, || unsafe {
                let ready = handle.is_ready(true);
                if !ready {
                    handle.enqueue_watcher(self.node(i));
                }
                ready
            })
        })
    }

    /// A select as a future: false means pending, and the waker will be woken.
    fn poll(self: Pin<&Self>, biased: bool, waker: &Waker) -> bool {
        loop {
            if !self.entered.get() {
                let mut order = order_of(self.cases, biased);
                // SAFETY: no node is queued, so the token is ours.
                if pass0(self.cases, &mut order, unsafe { &mut *self.token }) {
                    return true;
                }
                // SAFETY: the waiter is queued nowhere, so nobody else looks at its waker.
                drop(unsafe { self.waiter.set_wake(Wake::Waker(waker.clone())) });
                // SAFETY: the nodes are in no queue.
                if self.nodes.with_mut(|nodes| unsafe { (*nodes).len() == 0 }) {
                    self.prepare(Kind::TASK);
                }
                return matches!(self.enter(&order, true), Entered::Chosen);
            }
            match self.waiter.result() {
                Some(result) => {
                    if self.end(result) {
                        return true;
                    }
                    self.rearm();
                    self.waiter.reopen();
                }
                // A clock that is due is not announced by the waiter: look again.
                None if self.due().is_some_and(|d| Instant::now() >= d) && self.withdraw() => {
                    self.rearm();
                }
                None if self.renew_waker(waker) => return false,
                None => {}
            }
        }
    }

    /// Replaces the waker, under all locks; false if the waiter was done meanwhile.
    fn renew_waker(&self, waker: &Waker) -> bool {
        let fresh = Wake::Waker(waker.clone());
        self.lock_all();
        let done = self.waiter.is_done();
        let mut former = None;
        if !done {
            // SAFETY: under the locks of all channels where the waiter is queued.
            former = unsafe { self.waiter.set_wake(fresh) };
        }
        self.unlock_all();
        drop(former);
        !done
    }
}

/// A select as a future has it: the registration and its token. Dropped in this order.
pub(crate) struct Pending<'c, 'a> {
    registration: Registration<'c, 'a>,
    token: UnsafeCell<Token>,
}

impl<'c, 'a> Pending<'c, 'a> {
    pub(crate) fn new(cases: &'c [Case<'a>]) -> Pin<Box<Self>> {
        let waiter = Waiter::asleep(None);
        let mut this = Box::new(Self {
            // SAFETY: the token, of which it is told below, is pinned with it.
            registration: unsafe { Registration::new(cases, waiter, ptr::null_mut()) },
            token: UnsafeCell::new(Token::empty()),
        });
        this.registration.token = this.token.with_mut(|token| token);
        Box::into_pin(this)
    }

    /// `None` means pending, and the waker will be woken.
    pub(crate) fn poll(self: Pin<&Self>, biased: bool, waker: &Waker) -> Option<Token> {
        // SAFETY: the registration is pinned with this.
        let registration = unsafe { self.map_unchecked(|this| &this.registration) };
        registration.poll(biased, waker).then(|| {
            // SAFETY: a case was chosen, so the token is ours.
            self.token
                .with_mut(|token| unsafe { std::mem::replace(&mut *token, Token::empty()) })
        })
    }

    /// When a case becomes ready by itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.registration.due()
    }

    pub(crate) fn cases(&self) -> &'c [Case<'a>] {
        self.registration.cases
    }
}
