//! The interface that both engines share.

use crate::callback::Callback;

/// What arming a timer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "`earliest` says that whoever waits for this heap has to be woken"]
pub struct Armed {
    /// The timer was pending before, so an earlier firing has been prevented.
    pub was_pending: bool,
    /// Whoever waits for this heap has to be woken: the new deadline is before everything that
    /// [`Engine::next_when`] announced (`heap`), or before what the timerproc waits for (`bucket`).
    pub earliest: bool,
}

/// One heap of timers with its lock: no thread, no clock, no waiting of its own.
///
/// [`heap::Timers`](crate::heap::Timers) (Go 1.15: one per P, lazy) and
/// [`bucket::Timers`](crate::bucket::Timers) (Go 1.12: one of 64, eager) implement it. Everything
/// here may be called from any thread at any time; callbacks run, and user values are dropped, with
/// no lock and no timer status held, so they may call back in.
///
/// **Time** is an `i64` of nanoseconds on a monotonic clock whose origin the caller chooses. A
/// negative deadline counts as overflowed and means [`NEVER`](crate::NEVER).
///
/// **Waiting.** `check` returns the deadline to wait for. A waiter must
/// 1. publish that it is about to wait (a store that wakers look at),
/// 2. issue a `SeqCst` fence (a read-modify-write is not enough outside x86),
/// 3. read [`next_when`](Engine::next_when) again, and give up if it is earlier than planned,
/// 4. wait.
///
/// And whoever gets [`Armed::earliest`] issues a `SeqCst` fence (or a `SeqCst` read-modify-write of
/// what step 1 wrote) and wakes the waiter that it then finds published. So one of the two sees
/// the other.
///
/// ```
/// use gtimer::{Callback, Engine};
///
/// fn run<E: Engine>() {
///     let timers = E::default();
///     let timer = timers.insert(20, 0, Callback::once(|| println!("fired"))).0;
///     assert_eq!(timers.check(10), (20, 0)); // not before 20, none ran
///     assert_eq!(timers.check(25), (gtimer::NEVER, 1));
///     assert!(!E::stop(&timer)); // too late
/// }
/// run::<gtimer::heap::Timers>();
/// run::<gtimer::bucket::Timers>();
/// ```
pub trait Engine: Default + Send + Sync + 'static {
    /// One timer, owned jointly by its user and, while it is armed, by a heap. Dropping it stops
    /// the timer.
    type Handle: Send + Sync + Unpin + core::fmt::Debug + 'static;

    /// A timer that is not armed yet: the one allocation of its life.
    fn handle(&self) -> Self::Handle;

    /// A new timer that fires at `when`, and every `period` nanoseconds after that unless `period`
    /// is zero. The flag is [`Armed::earliest`]. O(1) on average, O(log n) at worst.
    ///
    /// # Panics
    ///
    /// If `period` is negative, or positive with a callback that can run only once.
    fn insert(&self, when: i64, period: i64, callback: Callback) -> (Self::Handle, bool) {
        let handle = self.handle();
        let armed = self.arm(&handle, when, period, callback);
        (handle, armed.earliest)
    }

    /// Arms `timer` anew with another deadline, period and callback, pending or not. No allocation
    /// beyond the heap's own growth.
    ///
    /// # Panics
    ///
    /// As [`insert`](Engine::insert).
    fn arm(&self, timer: &Self::Handle, when: i64, period: i64, callback: Callback) -> Armed {
        let (armed, old) = self.exchange(timer, when, period, callback);
        drop(old);
        armed
    }

    /// As [`arm`](Engine::arm), and hands out the callback that was replaced. Dropping that may run
    /// user code, which may panic: the caller first sees to [`Armed::earliest`], and leaves whatever lock
    /// it holds.
    ///
    /// ```
    /// use gtimer::{Callback, heap::Timers};
    /// let timers = Timers::new();
    /// let timer = timers.insert(20, 0, Callback::once(|| println!("late"))).0;
    /// let (armed, old) = timers.exchange(&timer, 10, 0, Callback::once(|| println!("soon")));
    /// assert!(armed.was_pending && armed.earliest); // wake whoever waits, and then:
    /// drop(old);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`insert`](Engine::insert).
    fn exchange(
        &self,
        timer: &Self::Handle,
        when: i64,
        period: i64,
        callback: Callback,
    ) -> (Armed, Callback);

    /// Arms `timer` anew for `when`, keeping its period and its callback. A callback that can run
    /// only once and has run is gone: the timer then fires without effect.
    fn reset(&self, timer: &Self::Handle, when: i64) -> Armed;

    /// Disarms `timer`. True if that prevented a firing; false if it was not armed or has fired,
    /// and then its callback may still be running on another thread. A periodic timer is
    /// always pending between its ticks.
    fn stop(timer: &Self::Handle) -> bool;

    /// Lets `timer` go on without a handle.
    fn detach(timer: Self::Handle);

    /// Runs what is due at `now` and returns the next deadline, [`NEVER`](crate::NEVER) if there
    /// is none, and how many callbacks ran. Any thread may call it, also several at once.
    ///
    /// A callback that panics unwinds through `check`: its timer is done with (or, periodic, on its
    /// way to the next tick), the others are untouched, and calling again runs them. Callbacks
    /// that keep arming due timers do not hold the caller: one call runs at most as many as there
    /// were timers when it began, and then returns a deadline that is not after `now`.
    fn check(&self, now: i64) -> (i64, usize);

    /// The deadline that a waiter has to mind, read without the lock: never later than the
    /// earliest armed timer, at times earlier (that timer was stopped or postponed).
    fn next_when(&self) -> i64;

    /// Entries in the heap. Stopped timers that have not been cleared yet are among them.
    fn len(&self) -> usize;

    /// Whether the heap has no entry.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What both engines say in the same words: [`Engine`] by their methods of the same names, which
/// users call without importing it, and `Default` and `Debug`.
macro_rules! engine {
    ($timers:ident, $handle:ident) => {
        impl $crate::engine::Engine for $timers {
            type Handle = $handle;

            fn handle(&self) -> $handle {
                $timers::handle(self)
            }

            fn insert(&self, when: i64, period: i64, callback: Callback) -> ($handle, bool) {
                $timers::insert(self, when, period, callback)
            }

            fn arm(&self, timer: &$handle, when: i64, period: i64, callback: Callback) -> Armed {
                $timers::arm(self, timer, when, period, callback)
            }

            fn exchange(
                &self,
                timer: &$handle,
                when: i64,
                period: i64,
                callback: Callback,
            ) -> (Armed, Callback) {
                $timers::exchange(self, timer, when, period, callback)
            }

            fn reset(&self, timer: &$handle, when: i64) -> Armed {
                $timers::reset(self, timer, when)
            }

            fn stop(timer: &$handle) -> bool {
                timer.stop()
            }

            fn detach(timer: $handle) {
                timer.detach();
            }

            fn check(&self, now: i64) -> (i64, usize) {
                $timers::check(self, now)
            }

            fn next_when(&self) -> i64 {
                $timers::next_when(self)
            }

            fn len(&self) -> usize {
                $timers::len(self)
            }
        }

        impl Default for $timers {
            fn default() -> Self {
                Self::new()
            }
        }

        impl core::fmt::Debug for $timers {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.debug_struct("Timers")
                    .field("len", &self.len())
                    .field("next_when", &self.next_when())
                    .finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use engine;

/// # Panics
///
/// If the period is negative, or positive and the callback can run only once.
pub(crate) fn check_period(period: i64, callback: &Callback) {
    assert!(
        period >= 0,
        "a timer's period must not be negative: {period}"
    );
    assert!(
        period == 0 || callback.repeats(),
        "a periodic timer needs a callback that can run more than once"
    );
}
