//! Select over a list of cases made at run time, and what the macros call.

use crate::case::{RawCase, SelectHandle};
use crate::channel::{Receiver, Sender};
use crate::err::{
    ReadyTimeoutError, RecvError, SelectTimeoutError, SendError, TryReadyError, TrySelectError,
};
use crate::hchan::{Promise, Sent};
use crate::selectgo::{Case, Chosen, Patience, Pending, Token, ready, select};
use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Waits for the first of a list of channel operations that was put together at run time.
///
/// Among ready operations one is chosen uniformly at random. A chosen operation must be completed with
/// [`SelectedOperation::send`] or [`SelectedOperation::recv`]. For a fixed list there is [`select!`](crate::select).
///
/// # Panics
/// All that choose or look panic if the list has more than 65,536 operations, Go's limit.
///
/// ```
/// use gchan::{Select, unbounded};
///
/// let (s1, r1) = unbounded();
/// let (_s2, r2) = unbounded::<i32>();
/// s1.send(7).unwrap();
///
/// let mut select = Select::new();
/// let first = select.recv(&r1);
/// let second = select.recv(&r2);
/// let chosen = select.select();
/// match chosen.index() {
///     i if i == first => assert_eq!(chosen.recv(&r1), Ok(7)),
///     i if i == second => println!("{:?}", chosen.recv(&r2)),
///     _ => unreachable!(),
/// }
/// ```
#[derive(Clone)]
pub struct Select<'a> {
    cases: Vec<Case<'a>>,
    /// Given to the next case; never reused, so that a removed case's index stays free.
    next: usize,
    biased: bool,
}

// SAFETY: a select only moves values between channels, packets and its caller, and runs nothing of theirs; what was
// received and not taken is given back to the channel. Taking a value out needs the channel's own handle.
unsafe impl Send for Select<'_> {}
// SAFETY: nothing is done through a shared select.
unsafe impl Sync for Select<'_> {}

impl<'a> Select<'a> {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cases: Vec::with_capacity(4),
            next: 0,
            biased: false,
        }
    }

    /// An empty list, of which always the first ready operation is chosen.
    #[must_use]
    pub fn new_biased() -> Self {
        Self {
            biased: true,
            ..Self::new()
        }
    }

    /// Adds a send, and returns its index.
    pub fn send<T>(&mut self, s: &'a Sender<T>) -> usize {
        self.add(Case::new(s, self.next))
    }

    /// Adds a receive, and returns its index.
    pub fn recv<T>(&mut self, r: &'a Receiver<T>) -> usize {
        self.add(Case::new(r, self.next))
    }

    fn add(&mut self, case: Case<'a>) -> usize {
        self.cases.push(case);
        self.next += 1;
        self.next - 1
    }

    /// Takes an operation out of the list. The indexes of the others stay.
    ///
    /// # Panics
    /// If there is no operation with that index (any more).
    pub fn remove(&mut self, index: usize) {
        assert!(
            index < self.next,
            "index out of bounds; {index} >= {}",
            self.next
        );
        let place = self.cases.iter().position(|case| case.index == index);
        self.cases
            .swap_remove(place.expect("no operation with this index"));
        if self.biased {
            self.cases.sort_unstable_by_key(|case| case.index);
        }
    }

    /// Chooses an operation that is ready now.
    ///
    /// # Errors
    /// [`TrySelectError`] if at one instant none was.
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.run(Patience::Try).ok_or(TrySelectError)
    }

    /// Waits until an operation is ready, and chooses it. May park.
    ///
    /// # Panics
    /// If the list is empty.
    pub fn select(&mut self) -> SelectedOperation<'a> {
        self.assert_some();
        self.run(Patience::Until(None))
            .expect("a select without a time limit")
    }

    /// As [`select`](Self::select), for at most `timeout`. May park.
    ///
    /// # Errors
    /// [`SelectTimeoutError`] if none became ready in time.
    pub fn select_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(patience(timeout)).ok_or(SelectTimeoutError)
    }

    /// As [`select`](Self::select), until `deadline` at most. May park.
    ///
    /// # Errors
    /// [`SelectTimeoutError`] if none became ready in time.
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Patience::Until(Some(deadline)))
            .ok_or(SelectTimeoutError)
    }

    /// Finds an operation that would not block now, without performing it.
    ///
    /// # Errors
    /// [`TryReadyError`] if there is none.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.ready_within(Patience::Try).ok_or(TryReadyError)
    }

    /// Waits until an operation would not block, without performing it. By the time it is performed, someone else may
    /// have been faster. May park.
    ///
    /// # Panics
    /// If the list is empty.
    pub fn ready(&mut self) -> usize {
        self.assert_some();
        self.ready_within(Patience::Until(None))
            .expect("a wait without a time limit")
    }

    /// As [`ready`](Self::ready), for at most `timeout`. May park.
    ///
    /// # Errors
    /// [`ReadyTimeoutError`] if none became ready in time.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.ready_within(patience(timeout))
            .ok_or(ReadyTimeoutError)
    }

    /// As [`ready`](Self::ready), until `deadline` at most. May park.
    ///
    /// # Errors
    /// [`ReadyTimeoutError`] if none became ready in time.
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.ready_within(Patience::Until(Some(deadline)))
            .ok_or(ReadyTimeoutError)
    }

    /// As [`select`](Self::select), as a future. Cancel-safe: dropped before it resolves, it has chosen nothing.
    ///
    /// A chosen send whose receiver is a task that is dropped in the same moment waits in
    /// [`SelectedOperation::send`] for the next receiver. Of an empty list nothing is ever chosen: the future stays
    /// pending, where [`select`](Self::select) panics.
    ///
    /// # Panics
    /// The future panics when it is polled, if it waits for an [`after`](crate::after), [`at`](crate::at) or
    /// [`tick`](crate::tick) and the thread that keeps alarms cannot be started. It can be polled again.
    ///
    /// ```
    /// use gchan::{Select, bounded};
    ///
    /// let (s, r) = bounded(1);
    /// let (_quiet, never) = bounded::<()>(0);
    /// gchan::block_on(async {
    ///     s.send_async("news").await.unwrap();
    ///     let mut select = Select::new();
    ///     let news = select.recv(&r);
    ///     select.recv(&never);
    ///     let chosen = select.select_async().await;
    ///     assert_eq!(chosen.index(), news);
    ///     assert_eq!(chosen.recv(&r), Ok("news"));
    /// });
    /// ```
    pub fn select_async(&mut self) -> SelectFut<'_, 'a> {
        SelectFut {
            pending: Pending::new(&self.cases),
            biased: self.biased,
            alarm: None,
        }
    }

    fn assert_some(&self) {
        assert!(
            !self.cases.is_empty(),
            "no operations have been added to `Select`"
        );
    }

    fn run(&self, patience: Patience) -> Option<SelectedOperation<'a>> {
        let mut token = Token::empty();
        select(&self.cases, self.biased, patience, &mut token).then(|| SelectedOperation {
            case: self.cases[token.case],
            token,
        })
    }

    fn ready_within(&self, patience: Patience) -> Option<usize> {
        ready(&self.cases, self.biased, patience).map(|i| self.cases[i].index)
    }
}

fn patience(timeout: Duration) -> Patience {
    Patience::Until(Instant::now().checked_add(timeout))
}

impl Default for Select<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Select { .. }")
    }
}

impl<'a> Case<'a> {
    /// Not public: the address must be the handle's.
    #[inline]
    fn new<H: SelectHandle>(handle: &'a H, index: usize) -> Self {
        Self {
            handle: handle.raw(),
            index,
        }
    }
}

/// Whether a chosen case is this very sender or receiver; no other lives at its address.
#[inline]
fn is_of<H>(handle: &dyn RawCase, side: &H) -> bool {
    ptr::from_ref(handle).cast::<()>() == ptr::from_ref(side).cast()
}

impl Token {
    /// Completes a receive.
    ///
    /// # Safety
    /// The chosen case is a `Receiver<T>`, which is `handle`. The token is not used again.
    #[inline]
    unsafe fn received<T>(&mut self, handle: &dyn RawCase) -> Result<T, RecvError> {
        if !matches!(self.chosen, Chosen::Value(_)) {
            return Err(RecvError);
        }
        // SAFETY: there is a `T` in the box, or in the packet if there is no box.
        unsafe {
            let value = self.slot().cast::<T>().read();
            handle.free_slot(self.slot);
            Ok(value)
        }
    }

    /// Completes a send.
    ///
    /// # Safety
    /// The chosen case is the sender `s`. The token is not used again.
    unsafe fn sent<T>(&self, s: &Sender<T>, msg: T) -> Result<(), SendError<T>> {
        let Chosen::Promise(promise) = self.chosen else {
            return Err(SendError(msg));
        };
        if promise == Promise::Unbounded {
            return s.send(msg);
        }
        let msg = ManuallyDrop::new(msg);
        // SAFETY: the value is moved out once: by the channel if `Done`, else here. The promise is this channel's.
        unsafe {
            match s.chan().keep_promise(promise, &raw const *msg) {
                Some(Sent::Done) => Ok(()),
                Some(_) => Err(SendError(ManuallyDrop::into_inner(msg))),
                None => s.send(ManuallyDrop::into_inner(msg)),
            }
        }
    }
}

impl fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// The future of [`Select::select_async`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct SelectFut<'s, 'a> {
    pending: Pin<Box<Pending<'s, 'a>>>,
    biased: bool,
    alarm: Option<crate::alarm::Alarm>,
}

// SAFETY: as for `Select`; others reach the registration under the channels' locks only.
unsafe impl Send for SelectFut<'_, '_> {}

impl<'a> Future for SelectFut<'_, 'a> {
    type Output = SelectedOperation<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pending = self.pending.as_ref();
        match pending.poll(self.biased, cx.waker()) {
            Some(token) => {
                let case = pending.cases()[token.case];
                self.alarm = None;
                Poll::Ready(SelectedOperation { case, token })
            }
            None => {
                let due = pending.due();
                self.alarm = due.map(|due| crate::alarm::Alarm::set(due, cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for SelectFut<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SelectFut { .. }")
    }
}

/// An operation that was chosen and must be completed.
///
/// # Panics
/// If it is dropped without having been completed. The choice is undone then: a received value goes back to its
/// channel, and a receiver that was promised a value waits on at its place.
#[must_use = "a chosen operation must be completed"]
pub struct SelectedOperation<'a> {
    case: Case<'a>,
    token: Token,
}

impl SelectedOperation<'_> {
    /// The index of the chosen operation, as [`Select::send`] or [`Select::recv`] returned it.
    #[inline]
    #[must_use]
    pub fn index(&self) -> usize {
        self.case.index
    }

    /// Completes a send.
    ///
    /// # Errors
    /// [`SendError`] with the value if the channel is closed.
    ///
    /// # Panics
    /// If `s` is not the very sender that was chosen.
    pub fn send<T>(self, s: &Sender<T>, msg: T) -> Result<(), SendError<T>> {
        assert!(
            is_of(self.case.handle, s),
            "passed a sender that wasn't selected"
        );
        // SAFETY: the case is `s`, and the token is forgotten.
        unsafe { ManuallyDrop::new(self).token.sent(s, msg) }
    }

    /// Completes a receive.
    ///
    /// # Errors
    /// [`RecvError`] if the channel is closed and empty.
    ///
    /// # Panics
    /// If `r` is not the very receiver that was chosen.
    #[inline]
    pub fn recv<T>(self, r: &Receiver<T>) -> Result<T, RecvError> {
        assert!(
            is_of(self.case.handle, r),
            "passed a receiver that wasn't selected"
        );
        // SAFETY: the case is `r`, and the token is forgotten.
        unsafe { ManuallyDrop::new(self).token.received(r) }
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        self.token.undo(self.case.handle);
        if !std::thread::panicking() {
            panic!("dropped `SelectedOperation` without completing the operation");
        }
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SelectedOperation { .. }")
    }
}

/// What the macros expand to. Not for use by hand.
#[doc(hidden)]
pub mod internal {
    use super::*;

    pub use crate::selectgo::Case;

    #[inline]
    pub fn recv_case<T>(r: &Receiver<T>, index: usize) -> Case<'_> {
        Case::new(r, index)
    }

    #[inline]
    pub fn send_case<T>(s: &Sender<T>, index: usize) -> Case<'_> {
        Case::new(s, index)
    }

    /// What a macro's select chose, which stays where the select wrote it.
    ///
    /// If it is dropped without having been completed, because the send expression panicked or left by `?`, the choice
    /// is undone.
    pub struct Choice<'a> {
        token: Token,
        /// The chosen case; none before.
        handle: Option<&'a dyn RawCase>,
    }

    impl<'a> Choice<'a> {
        /// Of no case yet.
        #[inline]
        pub fn none() -> Self {
            Self {
                token: Token::empty(),
                handle: None,
            }
        }

        #[inline]
        fn run(&mut self, cases: &[Case<'a>], biased: bool, patience: Patience) -> bool {
            assert!(self.handle.is_none());
            let chosen = select(cases, biased, patience, &mut self.token);
            if chosen {
                self.handle = Some(cases[self.token.case].handle);
            }
            chosen
        }

        #[inline]
        pub fn choose(&mut self, cases: &[Case<'a>], biased: bool) {
            self.run(cases, biased, Patience::Until(None));
        }

        #[inline]
        pub fn try_choose(&mut self, cases: &[Case<'a>], biased: bool) -> bool {
            self.run(cases, biased, Patience::Try)
        }

        pub fn choose_within(
            &mut self,
            cases: &[Case<'a>],
            biased: bool,
            timeout: Duration,
        ) -> bool {
            self.run(cases, biased, patience(timeout))
        }

        /// The place of the chosen case.
        #[inline]
        pub fn index(&self) -> usize {
            self.token.case
        }

        /// Completes a receive, if the choice is this receiver's.
        #[inline]
        pub fn recv<T>(self, r: &Receiver<T>) -> Result<T, RecvError> {
            let mut this = ManuallyDrop::new(self);
            assert!(this.handle.is_some_and(|handle| is_of(handle, r)));
            // SAFETY: the case is `r`, and the token is forgotten.
            unsafe { this.token.received(r) }
        }

        /// Completes a send, if the choice is this sender's.
        pub fn send<T>(self, s: &Sender<T>, msg: T) -> Result<(), SendError<T>> {
            let this = ManuallyDrop::new(self);
            assert!(this.handle.is_some_and(|handle| is_of(handle, s)));
            // SAFETY: the case is `s`, and the token is forgotten.
            unsafe { this.token.sent(s, msg) }
        }
    }

    impl fmt::Debug for Choice<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Choice { .. }")
        }
    }

    impl Drop for Choice<'_> {
        fn drop(&mut self) {
            if let Some(handle) = self.handle {
                self.token.undo(handle);
            }
        }
    }
}
