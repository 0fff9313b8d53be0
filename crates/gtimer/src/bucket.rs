//! The engine of Go 1.12: 64 buckets, each with a lock, an eager heap and a `timerproc` (R53 to
//! R58).
//!
//! Re-creates `addtimerLocked`, `deltimer` and `timerproc` of Go 1.10 to 1.13 (`runtime/time.go`).
//! Everything happens under the bucket's lock: stopping removes the entry at once, so the heap holds
//! armed timers only. That is simple and tight in memory, and makes whoever stops a timer wait for
//! whoever runs the bucket; [`heap`](crate::heap) is what Go replaced it with.
//!
//! **The timerproc** is whoever calls `check` and waits for the deadline it returns. Its three
//! flags say what an insertion has to do about it ([`Wake`]):
//! - `created`: there is one, because an insertion has asked for it;
//! - `rescheduling`: it found the heap empty and parked;
//! - `sleeping`: it waits until `sleep_until`.
//!
//! If none of the last two is set it is running timers, and looks at the heap again anyway.
//!
//! **Differences from Go.** A timer stays in the bucket it was made in; Go moves it to the current
//! P's at each reset, and races if two do it at once.
//!
//! **Lock order.** A bucket, then a timer's body. No `unsafe` here.

use crate::callback::Callback;
use crate::dary::{Dary, Item, NONE};
use crate::engine::{Armed, check_period, engine};
use crate::lock::Lock;
use crate::prefetch::prefetch_value;
use crate::sync::{AtomicI64, AtomicU32, AtomicUsize, Ordering};
use crate::when::{NEVER, clamp, next_tick};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::mem;

/// How many buckets there are (Go's `timersLen`).
pub const BUCKETS: usize = 64;

/// Go 1.12's array of buckets: P number `p` uses bucket `p % 64` (R53).
///
/// ```
/// use gtimer::{Callback, bucket::Buckets};
///
/// let buckets = Buckets::new();
/// let (timer, _) = buckets.of(65).insert(10, 0, Callback::none());
/// assert_eq!(buckets.of(1).next_when(), 10); // 65 % 64
/// assert!(timer.stop());
/// assert_eq!(buckets.of(1).len(), 0); // at once
/// ```
#[derive(Debug)]
pub struct Buckets(Box<[Timers]>);

/// One bucket. See [`Engine`](crate::Engine) for the rules of the operations, which are also methods here.
pub struct Timers {
    shared: Arc<Shared>,
}

/// A timer of one bucket. Dropping it stops the timer.
pub struct Handle {
    node: Arc<Node>,
    /// Set by `detach`: dropping does not stop the timer.
    detached: bool,
}

/// What an insertion has to do about the bucket's timerproc (R56).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the bucket's timers are late unless its timerproc is woken"]
pub enum Wake {
    /// Nothing: it runs, or wakes early enough.
    No,
    /// Start it: this is the bucket's first timer.
    Create,
    /// Ready it: it parked because there was no timer.
    Ready,
    /// Wake it from a sleep that would last too long.
    Note,
}

/// A bucket's flags, as they stood a moment ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// An insertion has asked for a timerproc.
    pub created: bool,
    /// The timerproc waits until `sleep_until`.
    pub sleeping: bool,
    /// The timerproc found no timer and parked.
    pub rescheduling: bool,
    /// When the timerproc wakes by itself.
    pub sleep_until: i64,
}

/// Padded, so that Ps with different buckets do not share a line (128: pairs are prefetched).
#[repr(align(128))]
struct Shared {
    bucket: Lock<Bucket>,
    /// The root's deadline, `NEVER` if there is none. Stored under the lock.
    first: AtomicI64,
    /// Entries. Stored under the lock.
    len: AtomicUsize,
}

#[derive(Debug)]
struct Bucket {
    entries: Dary<Arc<Node>>,
    flags: Flags,
}

struct Node {
    /// The bucket it belongs to, for life. While it is armed the two own each other; stopping,
    /// firing and the death of the bucket end that.
    home: Arc<Shared>,
    /// Its seat in the heap, `NONE` if it is in none; written under the bucket's lock.
    seat: AtomicU32,
    /// Under the bucket's lock too; its own lock is never contended and spares `unsafe`.
    body: Lock<Body>,
}

#[derive(Debug, Default)]
struct Body {
    when: i64,
    period: i64,
    callback: Callback,
}

// Padded (R53): whole pairs of lines.
const _: () = assert!(align_of::<Shared>() == 128 && size_of::<Shared>().is_multiple_of(128));

impl Item for Arc<Node> {
    fn seated(&self, seat: u32) {
        self.seat.store(seat, Ordering::Relaxed);
    }

    fn prefetch(&self) {
        prefetch_value(&**self);
    }
}

impl Bucket {
    /// Go's `deltimer`: takes the timer out if it is in.
    fn remove(&mut self, node: &Node) -> Option<Arc<Node>> {
        match node.seat.swap(NONE, Ordering::Relaxed) {
            NONE => None,
            seat => Some(self.entries.remove(seat)),
        }
    }

    /// What to do about the timerproc, now that the root is due at `when`.
    fn wake(&mut self, when: i64) -> Wake {
        let flags = &mut self.flags;
        if !flags.created {
            flags.created = true;
            return Wake::Create;
        }
        if flags.rescheduling {
            flags.rescheduling = false;
            return Wake::Ready;
        }
        if flags.sleeping && flags.sleep_until > when {
            flags.sleeping = false;
            return Wake::Note;
        }
        Wake::No
    }

    /// The timerproc's step: the callback of the root if it is due, and its timer if it is out.
    fn next_due(&mut self, now: i64) -> Option<(Callback, Option<Arc<Node>>)> {
        let (when, node) = self.entries.root()?;
        if when > now {
            return None;
        }
        let mut body = node.body.lock();
        let callback = body.callback.fire();
        if body.period == 0 {
            drop(body);
            let node = Arc::clone(node);
            return Some((callback, self.remove(&node)));
        }
        body.when = next_tick(body.when, body.period, now);
        let when = body.when;
        drop(body);
        let seat = node.seat.load(Ordering::Relaxed);
        self.entries.change(seat, when);
        Some((callback, None))
    }

    /// Says how the timerproc waits.
    fn rest(&mut self) {
        let when = self.entries.earliest();
        let empty = self.entries.len() == 0;
        self.flags.created = true;
        self.flags.rescheduling = empty;
        self.flags.sleeping = !empty;
        self.flags.sleep_until = when;
    }
}

impl Shared {
    fn publish(&self, bucket: &Bucket) {
        self.first
            .store(bucket.entries.earliest(), Ordering::Release);
        self.len.store(bucket.entries.len(), Ordering::Relaxed);
    }

    /// Disarms all timers.
    fn empty(&self) {
        loop {
            let mut bucket = self.bucket.lock();
            let last = bucket.entries.len().wrapping_sub(1);
            let Some(node) = bucket.entries.nth(last).map(Arc::clone) else {
                return;
            };
            let owned = bucket.remove(&node);
            self.publish(&bucket);
            drop(bucket);
            drop(owned);
        }
    }

    fn stop(&self, node: &Node) -> bool {
        let mut bucket = self.bucket.lock();
        let owned = bucket.remove(node);
        let spare = owned.as_ref().and_then(|_| bucket.entries.spare_of_few());
        self.publish(&bucket);
        drop(bucket);
        if let Some(room) = spare {
            self.shrink(room);
        }
        owned.is_some()
    }

    /// Goes on in smaller arrays, if [`Dary::spare`] said so.
    #[cold]
    fn shrink(&self, room: usize) {
        let Some(room) = Dary::with_room(room) else {
            return;
        };
        let mut bucket = self.bucket.lock();
        let old = bucket.entries.move_into(room);
        drop(bucket);
        drop(old);
    }
}

impl Buckets {
    /// 64 empty buckets.
    #[must_use]
    pub fn new() -> Self {
        Self((0..BUCKETS).map(|_| Timers::new()).collect())
    }

    /// The bucket of P number `p`.
    #[must_use]
    pub fn of(&self, p: usize) -> &Timers {
        &self.0[p % BUCKETS]
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self::new()
    }
}

impl Timers {
    /// An empty bucket.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                bucket: Lock::new(Bucket {
                    entries: Dary::new(),
                    flags: Flags::default(),
                }),
                first: AtomicI64::new(NEVER),
                len: AtomicUsize::new(0),
            }),
        }
    }

    /// A timer of this bucket that is not armed.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            node: Arc::new(Node {
                home: Arc::clone(&self.shared),
                seat: AtomicU32::new(NONE),
                body: Lock::new(Body::default()),
            }),
            detached: false,
        }
    }

    /// A new timer; see [`Engine::insert`](crate::Engine::insert).
    ///
    /// # Panics
    ///
    /// If `period` is negative, or positive with a callback that can run only once.
    pub fn insert(&self, when: i64, period: i64, callback: Callback) -> (Handle, bool) {
        let handle = self.handle();
        let armed = self.arm(&handle, when, period, callback);
        (handle, armed.earliest)
    }

    /// Arms a timer of this bucket anew; see [`Engine::arm`](crate::Engine::arm).
    ///
    /// # Panics
    ///
    /// As [`insert`](Self::insert), and if the timer was made in another bucket.
    pub fn arm(&self, timer: &Handle, when: i64, period: i64, callback: Callback) -> Armed {
        check_period(period, &callback);
        self.armed(timer, when, Some(&mut (period, callback)))
    }

    /// As [`arm`](Self::arm), and hands out the callback that was replaced; see
    /// [`Engine::exchange`](crate::Engine::exchange).
    ///
    /// # Panics
    ///
    /// As `arm`.
    #[must_use = "whoever waits may have to be woken; and the old callback should be dropped after that"]
    pub fn exchange(
        &self,
        timer: &Handle,
        when: i64,
        period: i64,
        callback: Callback,
    ) -> (Armed, Callback) {
        check_period(period, &callback);
        let mut change = (period, callback);
        let armed = self.armed(timer, when, Some(&mut change));
        (armed, change.1)
    }

    /// Gives a timer of this bucket another deadline; see [`Engine::reset`](crate::Engine::reset).
    ///
    /// # Panics
    ///
    /// If the timer was made in another bucket.
    pub fn reset(&self, timer: &Handle, when: i64) -> Armed {
        self.armed(timer, when, None)
    }

    /// As [`reset`](Self::reset), and says what to do about the timerproc.
    ///
    /// # Panics
    ///
    /// As `reset`.
    pub fn start(&self, timer: &Handle, when: i64) -> Wake {
        self.add(timer, when, None).1
    }

    fn armed(&self, timer: &Handle, when: i64, change: Option<&mut (i64, Callback)>) -> Armed {
        let (was_pending, wake) = self.add(timer, when, change);
        Armed {
            was_pending,
            earliest: wake != Wake::No,
        }
    }

    /// Go 1.12's reset, `deltimer` then `addtimer`, under one lock. What is replaced is left in `change`.
    fn add(&self, timer: &Handle, when: i64, change: Option<&mut (i64, Callback)>) -> (bool, Wake) {
        let node = &timer.node;
        assert!(
            Arc::ptr_eq(&self.shared, &node.home),
            "the timer belongs to another bucket"
        );
        let when = clamp(when);
        let mut bucket = self.shared.bucket.lock();
        let mut body = node.body.lock();
        body.when = when;
        if let Some((period, callback)) = change {
            mem::swap(&mut body.period, period);
            mem::swap(&mut body.callback, callback);
        }
        drop(body);
        let seat = node.seat.load(Ordering::Relaxed);
        let was_pending = seat != NONE;
        if was_pending {
            bucket.entries.change(seat, when);
        } else {
            bucket.entries.push(when, Arc::clone(node));
        }
        let wake = if bucket.entries.is_root(node.seat.load(Ordering::Relaxed)) {
            bucket.wake(when)
        } else {
            Wake::No
        };
        self.shared.publish(&bucket);
        (was_pending, wake)
    }

    /// The timerproc's loop, up to its wait; see [`Engine::check`](crate::Engine::check). It parks if the deadline returned
    /// is [`NEVER`].
    pub fn check(&self, now: i64) -> (i64, usize) {
        let now = now.min(NEVER - 1);
        let shared = &*self.shared;
        let mut ran = 0;
        let mut bucket = shared.bucket.lock();
        bucket.flags.sleeping = false;
        bucket.flags.rescheduling = false;
        let limit = bucket.entries.len().max(1);
        loop {
            let due = if ran < limit {
                bucket.next_due(now)
            } else {
                None
            };
            let Some((callback, node)) = due else {
                bucket.rest();
                shared.publish(&bucket);
                let next = bucket.entries.earliest();
                let spare = bucket.entries.spare(now);
                drop(bucket);
                if let Some(room) = spare {
                    shared.shrink(room);
                }
                return (next, ran);
            };
            shared.publish(&bucket);
            drop(bucket);
            ran += 1;
            callback.run(now);
            drop(node);
            bucket = shared.bucket.lock();
        }
    }

    /// The deadline to mind; see [`Engine::next_when`](crate::Engine::next_when).
    #[must_use]
    pub fn next_when(&self) -> i64 {
        self.shared.first.load(Ordering::Acquire)
    }

    /// Armed timers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len.load(Ordering::Relaxed)
    }

    /// Whether no timer is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the timerproc does.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.shared.bucket.lock().flags
    }
}

impl Handle {
    /// Disarms the timer; see [`Engine::stop`](crate::Engine::stop). O(log n), under the bucket's lock.
    pub fn stop(&self) -> bool {
        self.node.home.stop(&self.node)
    }

    /// Whether the timer is armed.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.node.seat.load(Ordering::Relaxed) != NONE
    }

    /// Lets the timer go on without a handle: it fires, or dies with its bucket.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.detached {
            self.stop();
        }
    }
}

impl Drop for Timers {
    /// Disarms all timers.
    fn drop(&mut self) {
        let dying = Dying(&self.shared);
        dying.0.empty();
    }
}

/// Takes out what is left when a value that was dropped has panicked: timer and bucket own each other.
struct Dying<'a>(&'a Shared);

impl Drop for Dying<'_> {
    fn drop(&mut self) {
        self.0.empty();
    }
}

engine!(Timers, Handle);

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("is_pending", &self.is_pending())
            .finish()
    }
}
