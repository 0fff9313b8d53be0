//! The records of the scheduler: G, M, P, the head of a stack, and the runtime they belong to.
//!
//! As in Go's `runtime2.go` (1.19) the data stand in one place, with who writes each field and
//! when; the code is elsewhere. All records are type-stable: once made, their memory holds a record
//! of that type until the process ends. So a reference to one is `'static`, and a stale one (in a
//! waker, in a queue that a thief looks at) points at a record in some state, never at other memory.
//!
//! Four kinds of owner appear below:
//! - *runner*: the M that runs the G now, or (between a switch and its post-switch action) the side
//!   that arrived;
//! - *holder*: the M that holds the P, inside its bracket ([`crate::attention`]);
//! - *M*: the M's own thread;
//! - *lock*: whoever holds [`Sched::lock`].

use crate::ahead::Ahead;
use crate::attention::Attention;
use crate::counted::Blocking;
use crate::gate::Gate;
use crate::goroutines::{self, Goroutines};
use crate::join_word::JoinWord;
use crate::park_word::ParkWord;
use crate::runq::RunQueue;
use crate::p_status::{PStatus, PWord};
use crate::status::GStatus;
use crate::wait_reason::WaitReason;
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::panic::Location;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use parking_lot::{Condvar, Mutex};

/// Words of a goroutine's record that hold its closure, its future or its result.
pub(crate) const PAYLOAD: usize = 40;

/// A goroutine, stackful or a future: 128 bytes.
#[repr(C, align(128))]
pub(crate) struct G {
    /// The permit; see [`crate::park_word`].
    pub(crate) park: ParkWord,
    /// What the goroutine does. Written by its owner of the moment, read by reports.
    status: AtomicU8,
    /// Why it waits. By the runner before it parks; read by reports.
    reason: AtomicU8,
    /// It may not change thread: if queued, only its own M may run it. By the runner.
    pub(crate) pinned: AtomicBool,
    /// It is a future, polled in place; otherwise a closure, run once. By the spawner.
    pub(crate) is_future: Cell<bool>,
    /// The result and the handle; see [`crate::join_word`].
    pub(crate) join: JoinWord,
    /// Next in the queue or list that holds it. By whoever owns that queue or list.
    pub(crate) link: Cell<Option<&'static G>>,
    /// The stack it is bound to: none before its first run, and none while a future waits.
    /// By the runner.
    pub(crate) stack: Cell<Option<&'static Stack>>,
    /// Where its stack was left, while it is off it. Here and not in the stack's head, so that whoever
    /// readies it can fetch the stack's lines without a look at the head. By `switch`; 0 if it
    /// has none. Whoever fetches may find an old one.
    pub(crate) sp: AtomicUsize,
    /// The runtime it belongs to. By the spawner, read by reports and by shutdown.
    sched: AtomicPtr<Sched>,
    /// How to run it, drop it, drop its result. By the spawner.
    pub(crate) task: Cell<Option<&'static Task>>,
    /// Its id, never used twice. By the spawner, read by reports.
    pub(crate) id: AtomicU64,
    /// Where it was spawned. By the spawner, read by reports.
    pub(crate) spawned_at: AtomicPtr<Location<'static>>,
    /// Closure or future, then result. By the spawner, then the runner, then (after DONE) by the
    /// later of runner and handle.
    pub(crate) payload: UnsafeCell<MaybeUninit<[u64; PAYLOAD / 8]>>,
}

const _: () = assert!(size_of::<G>() == 128);

/// What a goroutine is made of: the functions that know the types of its closure and result.
pub(crate) struct Task {
    /// Runs the closure or polls the future; true if it finished and the result is written.
    pub(crate) run: unsafe fn(&'static G) -> bool,
    /// Drops the closure or future that will not run (again) and writes "cancelled" as its result.
    pub(crate) cancel: unsafe fn(&'static G),
    /// Drops the result.
    pub(crate) drop_result: unsafe fn(&'static G),
    /// Whether dropping the result runs code.
    pub(crate) needs_drop: bool,
}

/// The head of a stack: at the top of its slot ([`crate::stack`]), or in the M for its OS stack.
#[repr(C, align(64))]
pub(crate) struct Stack {
    /// The M that runs on it. By whoever switches to it, before the switch.
    pub(crate) m: Cell<Option<&'static M>>,
    /// The goroutine bound to it; none while the base loop looks for work. By the runner.
    pub(crate) g: Cell<Option<&'static G>>,
    /// Where its base loop, or an OS stack, was left. By `switch`.
    pub(crate) sp: AtomicUsize,
    /// Next free stack. By the holder of the list.
    pub(crate) next: Cell<Option<&'static Stack>>,
    /// Nested `blocking` sections of the goroutine that runs here, and waits. By the runner.
    pub(crate) blocking: Blocking,
    /// Nested `lock_os_thread` calls of the goroutine bound to it. By the runner.
    pub(crate) locked: Cell<u32>,
    /// Whom to fetch when its goroutine goes on; see [`crate::ahead`].
    pub(crate) ahead: Ahead,
    /// Goroutine-local values, owned by the module that sets them. By the runner.
    pub(crate) locals: Cell<*mut ()>,
    /// The umbrella's word; it outlives goroutines. By the runner.
    pub(crate) slot: Cell<*mut ()>,
}

/// What the side that arrives after a switch has to do for the side that left.
#[derive(Clone, Copy, Default)]
pub(crate) enum Post {
    /// Nothing.
    #[default]
    None,
    /// Let it wait, or ready it again if it was unparked meanwhile.
    Park(&'static G),
    /// Put it at the tail of the local queue.
    Requeue(&'static G),
    /// Put it on the global queue.
    Inject(&'static G),
    /// Give the stack back: its base loop goes on when it is taken again.
    FreeStack(&'static Stack),
    /// The M ends; its last stack goes back to the pool of stacks.
    Exit(&'static Stack),
}

/// A thread.
#[repr(C, align(128))]
pub(crate) struct M {
    /// The bracket and the requests; see [`crate::attention`].
    pub(crate) attention: Attention,
    /// It was asked to yield and has not yet. By the M.
    pub(crate) preempted: Cell<bool>,
    /// It looks for work without having any; counted in `Sched::gate`. By the M.
    pub(crate) spinning: Cell<bool>,
    /// The P it holds; while the attention word says SYSCALL, the P that it left in the syscall, or none
    /// if it gave that away at once. By the M; meaningless while the word says LOST.
    pub(crate) p: Cell<Option<&'static P>>,
    /// When it entered a syscall for which it gave its P away at once; 0 otherwise. By the M.
    pub(crate) call_began: Cell<u64>,
    /// The P that it gave away then. By the M.
    pub(crate) handed: Cell<Option<&'static P>>,
    /// For the arriving side of a switch. By the M.
    pub(crate) post: Cell<Post>,
    /// To be run by the base loop next: chosen by the goroutine that parked and switched to it, or who waited for the one
    /// that has ended there. By the M.
    pub(crate) handoff: Cell<Option<&'static G>>,
    /// Its goroutine, null between two, when it may run timers: for reports and for sysmon. By the M.
    pub(crate) curg: AtomicPtr<G>,
    /// Its OS stack.
    pub(crate) os: Stack,
    /// 1 once [`crate::idle`] wakes it; a futex. By the waker; cleared by the M.
    pub(crate) note: AtomicU32,
    /// The P it is woken with. By the waker before the note.
    pub(crate) nextp: AtomicPtr<P>,
    /// Next in the idle list. By lock.
    pub(crate) link: Cell<Option<&'static M>>,
    /// On the idle list. By lock.
    pub(crate) idle: Cell<bool>,
    /// The runtime it serves. Set when it starts.
    pub(crate) sched: Cell<Option<&'static Sched>>,
    /// Kernel thread id; 0 before it runs. By the M.
    pub(crate) tid: AtomicI32,
    /// Number within the process. Set when it is made.
    pub(crate) id: AtomicU32,
    /// It computed on without its P and was sent to the background; see [`crate::retake`], whose lock
    /// protects it.
    pub(crate) background: AtomicBool,
    /// What the kernel was told of it before. As above.
    pub(crate) foreground: Cell<Option<crate::sys::SchedAttr>>,
}

/// A processor: the right to run goroutines, and what goes with it.
#[repr(C, align(128))]
pub(crate) struct P {
    /// Index in `Sched::allp`.
    pub(crate) id: u32,
    /// See [`crate::p_status`] for who writes it.
    status: PWord,
    /// Who holds it. By the holder, or by who takes it.
    pub(crate) m: AtomicPtr<M>,
    /// The runtime. Set when it is made.
    pub(crate) sched: &'static Sched,
    /// Next in the idle list. By lock.
    pub(crate) link: Cell<Option<&'static P>>,
    /// Scheduling rounds: goroutines started, those that inherit a slice apart. By the holder,
    /// read by sysmon.
    pub(crate) schedtick: AtomicU32,
    /// The next switch has to go by way of `find_runnable`, which looks at the clock: direct switches
    /// do not, and goroutines that only ever switch to one another would keep timers from firing. Set
    /// by sysmon when a timer is due and by the holder now and then, cleared by the holder.
    pub(crate) poll_due: AtomicBool,
    /// Syscalls after which this P was taken back at once. By the holder, read by sysmon.
    pub(crate) syscalltick: AtomicU64,
    /// Runnable goroutines.
    pub(crate) runq: RunQueue<G>,
    /// Dead records, and how many. By the holder.
    pub(crate) gfree: Cell<Option<&'static G>>,
    pub(crate) ngfree: Cell<u32>,
    /// Free stacks, and how many. By the holder.
    pub(crate) stacks: Cell<Option<&'static Stack>>,
    pub(crate) nstacks: Cell<u32>,
    /// Ids not yet given out: next and end. By the holder.
    pub(crate) goids: Cell<(u64, u64)>,
    /// State of the cheap random numbers that steal order uses. By the holder.
    pub(crate) rng: Cell<u64>,
    /// Goroutines started and ended here. By the holder, summed by readers.
    pub(crate) goroutines: Goroutines,
    /// The last syscalls on this P outlasted sysmon's patience. By the holder.
    pub(crate) long_calls: Cell<bool>,
    /// What sysmon saw last: schedtick and when it changed, syscalltick and when. By sysmon.
    pub(crate) seen: Cell<Seen>,
    /// The stack that was left for the one that runs now; [`crate::ahead`] keeps a hint there. By the holder.
    pub(crate) left: Cell<Option<&'static Stack>>,
}

/// sysmon's notes on a P (`sysmontick` in Go).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Seen {
    pub(crate) schedtick: u32,
    pub(crate) schedwhen: u64,
    pub(crate) syscalltick: u64,
    pub(crate) syscallwhen: u64,
    /// CPU time of the M at `schedwhen`, or what it was when first found without progress.
    pub(crate) cpu: u64,
    /// Consecutive looks at which it had not moved.
    pub(crate) stood: u32,
    /// How often its `runnext` had been filled.
    pub(crate) nexts: u32,
    /// It was asked to yield since `schedwhen`.
    pub(crate) asked: bool,
}

/// How far a runtime is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Takes and runs goroutines.
    Open = 0,
    /// Every park unwinds, nothing new starts: what is spawned is cancelled.
    Aborting = 1,
    /// As before, and nothing more comes in from outside.
    Closed = 2,
    /// Its Ms end.
    Stopping = 3,
    /// In the pool of records.
    Free = 4,
}

/// One runtime: what `schedt` and `allp` are in Go.
pub(crate) struct Sched {
    /// Protects `inner` and the links of the records on its lists.
    pub(crate) lock: Mutex<Inner>,
    /// Mirrors the length of `inner.globq`, for looking without the lock.
    pub(crate) nglobq: AtomicU32,
    /// Idle Ps and spinning Ms; see [`crate::gate`].
    pub(crate) gate: Gate,
    /// Ps in use: `allp[..procs]`. By stop-the-world.
    pub(crate) procs: AtomicU32,
    /// The most Ps there were in this life, and so the [`Poll`](crate::poll::Poll) entries to look at: code that has lost its P without
    /// noticing may add some to a P that is gone. By stop-the-world.
    pub(crate) clocks: AtomicU32,
    /// Nobody has said how many Ps there should be: as many as the process may use CPUs. By the
    /// builder, then by who holds [`world`](Self::world).
    pub(crate) follows_cpus: AtomicBool,
    /// Every P ever made, by id. Appended under the lock.
    pub(crate) allp: Box<[AtomicPtr<P>]>,
    /// Whether goroutines have stacks of their own. Set when the runtime is built.
    pub(crate) stackful: AtomicBool,
    /// Everyone stops at the next entry. By lock.
    pub(crate) gcwaiting: AtomicBool,
    phase: AtomicU8,
    /// Goroutines started and ended without a P. By anybody.
    pub(crate) goroutines: Goroutines,
    /// Distinguishes the lives of a recycled record.
    pub(crate) epoch: AtomicU64,
    /// Plugged in by the umbrella. Set when the runtime is built; what it points at never changes, for
    /// sysmon and the handles of a life that is over may look at any time.
    hooks: AtomicPtr<Hooks>,
    /// The deadline that the idle M which watches the clock sleeps to; `u64::MAX` for none.
    pub(crate) sleeping_until: AtomicU64,
    /// Signalled, with the lock, when an M ends or a P stops for stop-the-world.
    pub(crate) ended: Condvar,
    /// One at a time may stop the world, or end it.
    pub(crate) world: Mutex<()>,
    /// Counters for tests and reports.
    pub(crate) stats: Stats,
}

/// What [`Sched::lock`] protects.
pub(crate) struct Inner {
    pub(crate) globq: crate::globq::GlobQueue,
    pub(crate) midle: Option<&'static M>,
    pub(crate) nmidle: u32,
    pub(crate) pidle: Option<&'static P>,
    /// Ms that exist: `mcount` in Go.
    pub(crate) mcount: u32,
    pub(crate) max_threads: u32,
    pub(crate) allm: Vec<&'static M>,
    /// The idle M that watches the clock.
    pub(crate) watcher: Option<&'static M>,
    /// Ps that stop-the-world still waits for.
    pub(crate) stopwait: u32,
    /// Bytes of an M's OS stack.
    pub(crate) thread_stack: usize,
    /// No spare M is made before this time: the kernel gave no thread for the last one.
    pub(crate) no_spare_before: u64,
}

/// What else a P looks at, and who else wants to know that a thread goes idle.
pub(crate) struct Hooks {
    pub(crate) poll: Option<&'static dyn crate::poll::Poll>,
    pub(crate) thread_idle: Option<fn()>,
    /// The main function of an M's thread, and the first function on a goroutine stack: they live
    /// on upper floors, so the lower ones are handed them.
    pub(crate) m_main: fn(&'static M),
    pub(crate) base: extern "C" fn(usize) -> !,
}

impl Hooks {
    /// Whether a runtime with these is plugged into the same things.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let poll = match (self.poll, other.poll) {
            // Of two types, for values without size may share their address.
            (Some(a), Some(b)) => core::ptr::addr_eq(a, b) && a.type_id() == b.type_id(),
            (a, b) => a.is_none() && b.is_none(),
        };
        let thread_idle = match (self.thread_idle, other.thread_idle) {
            (Some(a), Some(b)) => core::ptr::fn_addr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        poll && thread_idle
    }
}

/// Counters, written relaxed on slow paths only.
#[derive(Default)]
pub(crate) struct Stats {
    pub(crate) overflows: AtomicU64,
    pub(crate) globq_fair: AtomicU64,
    pub(crate) steals: AtomicU64,
    pub(crate) ms_made: AtomicU64,
    pub(crate) syscall_other_idle: AtomicU64,
    pub(crate) syscall_slow: AtomicU64,
    pub(crate) handoffs: AtomicU64,
    pub(crate) retaken: AtomicU64,
    pub(crate) preempts: AtomicU64,
    pub(crate) sysmon_ticks: AtomicU64,
    pub(crate) sysmon_sleeps: AtomicU64,
    /// Goroutines of the record's earlier lives. By `open`.
    pub(crate) started_before: AtomicU64,
}

// SAFETY: every field is an atomic, or a Cell whose single writer of the moment the field's comment
// names; ownership passes between threads only through the queues, words and locks named there,
// each of which orders the two owners.
unsafe impl Sync for G {}
// SAFETY: as for G.
unsafe impl Sync for M {}
// SAFETY: as for G.
unsafe impl Sync for P {}
// SAFETY: as for G.
unsafe impl Sync for Stack {}
// SAFETY: as for G.
unsafe impl Sync for Sched {}
// SAFETY: the references inside point at type-stable records, which are Sync.
unsafe impl Send for Inner {}

impl G {
    /// A record that has never been used.
    pub(crate) fn new() -> Self {
        Self {
            park: ParkWord::dead(),
            status: AtomicU8::new(GStatus::Idle as u8),
            reason: AtomicU8::new(0),
            pinned: AtomicBool::new(false),
            is_future: Cell::new(false),
            join: JoinWord::new(),
            link: Cell::new(None),
            stack: Cell::new(None),
            sp: AtomicUsize::new(0),
            sched: AtomicPtr::new(core::ptr::null_mut()),
            task: Cell::new(None),
            id: AtomicU64::new(0),
            spawned_at: AtomicPtr::new(core::ptr::null_mut()),
            payload: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// What it does now; exact for its owner, a snapshot for others.
    #[inline]
    pub(crate) fn status(&self) -> GStatus {
        GStatus::from_u8(self.status.load(Ordering::Relaxed))
    }

    /// Takes an edge of the table. By the owner.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn set_status(&self, to: GStatus) {
        debug_assert!(
            self.status().may_become(to),
            "goroutine {}: no edge {:?} -> {to:?}",
            self.id.load(Ordering::Relaxed),
            self.status()
        );
        self.status.store(to as u8, Ordering::Relaxed);
    }

    pub(crate) fn reason(&self) -> WaitReason {
        WaitReason::from_u8(self.reason.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn set_reason(&self, reason: WaitReason) {
        self.reason.store(reason as u8, Ordering::Relaxed);
    }

    /// The runtime it belongs to, or belonged to last.
    #[inline]
    pub(crate) fn last_sched(&self) -> Option<&'static Sched> {
        // SAFETY: null or a record of type Sched, which is never freed.
        unsafe { self.sched.load(Ordering::Relaxed).as_ref() }
    }

    /// The runtime of a live goroutine.
    #[inline]
    pub(crate) fn sched(&self) -> &'static Sched {
        self.last_sched().expect("a live goroutine has a runtime")
    }

    #[inline]
    pub(crate) fn set_sched(&self, sched: &'static Sched) {
        self.sched.store(core::ptr::from_ref(sched).cast_mut(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn task(&self) -> &'static Task {
        self.task.get().expect("a live goroutine has a task")
    }
}

impl Stack {
    pub(crate) const fn new() -> Self {
        Self {
            m: Cell::new(None),
            g: Cell::new(None),
            sp: AtomicUsize::new(0),
            next: Cell::new(None),
            blocking: Blocking::new(),
            locked: Cell::new(0),
            ahead: Ahead::new(),
            locals: Cell::new(core::ptr::null_mut()),
            slot: Cell::new(core::ptr::null_mut()),
        }
    }
}

impl M {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            attention: Attention::without_p(),
            preempted: Cell::new(false),
            spinning: Cell::new(false),
            p: Cell::new(None),
            call_began: Cell::new(0),
            handed: Cell::new(None),
            post: Cell::new(Post::None),
            handoff: Cell::new(None),
            curg: AtomicPtr::new(core::ptr::null_mut()),
            os: Stack::new(),
            note: AtomicU32::new(0),
            nextp: AtomicPtr::new(core::ptr::null_mut()),
            link: Cell::new(None),
            idle: Cell::new(false),
            sched: Cell::new(None),
            tid: AtomicI32::new(0),
            id: AtomicU32::new(id),
            background: AtomicBool::new(false),
            foreground: Cell::new(None),
        }
    }

    #[inline]
    pub(crate) fn sched(&self) -> &'static Sched {
        self.sched.get().expect("an M serves a runtime")
    }
}

impl P {
    pub(crate) fn new(id: u32, sched: &'static Sched) -> Self {
        Self {
            id,
            status: PWord::new(),
            m: AtomicPtr::new(core::ptr::null_mut()),
            sched,
            link: Cell::new(None),
            schedtick: AtomicU32::new(0),
            poll_due: AtomicBool::new(false),
            syscalltick: AtomicU64::new(0),
            runq: RunQueue::new(),
            gfree: Cell::new(None),
            ngfree: Cell::new(0),
            stacks: Cell::new(None),
            nstacks: Cell::new(0),
            goids: Cell::new((0, 0)),
            rng: Cell::new(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(u64::from(id) * 2 + 1)),
            goroutines: Goroutines::new(),
            long_calls: Cell::new(false),
            seen: Cell::new(Seen::default()),
            left: Cell::new(None),
        }
    }

    #[inline]
    pub(crate) fn status(&self) -> PStatus {
        self.status.get()
    }

    /// The word itself, for takers.
    pub(crate) fn word(&self) -> &PWord {
        &self.status
    }

    /// Takes an edge of the table. By the owner.
    #[inline]
    #[track_caller]
    pub(crate) fn set_status(&self, to: PStatus) {
        self.status.set(to);
    }

    /// Takes an edge that others may take too; false if they did.
    #[inline]
    pub(crate) fn cas_status(&self, from: PStatus, to: PStatus) -> bool {
        self.status.exchange(from, to)
    }

    /// Xorshift64: cheap, good enough to spread thieves. By the holder.
    pub(crate) fn random(&self) -> u32 {
        let mut x = self.rng.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.rng.set(x);
        (x >> 32) as u32
    }
}

impl Sched {
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Aborting,
            2 => Phase::Closed,
            3 => Phase::Stopping,
            _ => Phase::Free,
        }
    }

    pub(crate) fn set_phase(&self, to: Phase) {
        self.phase.store(to as u8, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn hooks(&self) -> &'static Hooks {
        // SAFETY: set when the record was made, to hooks that live for ever and never change.
        unsafe { &*self.hooks.load(Ordering::Acquire) }
    }

    pub(crate) fn set_hooks(&self, hooks: &'static Hooks) {
        self.hooks.store(core::ptr::from_ref(hooks).cast_mut(), Ordering::Release);
    }

    /// The Ps in use.
    pub(crate) fn ps(&self) -> impl Iterator<Item = &'static P> + '_ {
        let n = self.procs.load(Ordering::Acquire) as usize;
        self.allp[..n].iter().filter_map(|p| {
            // SAFETY: null or a P made once and never freed.
            unsafe { p.load(Ordering::Acquire).as_ref() }
        })
    }

    /// The ids under which [`Hooks::poll`] may have entries.
    pub(crate) fn clock_ids(&self) -> core::ops::Range<usize> {
        0..self.clocks.load(Ordering::Acquire) as usize
    }

    /// The P with this id; it exists for every id below `procs`.
    pub(crate) fn p(&self, id: u32) -> &'static P {
        // SAFETY: as in `ps`.
        unsafe { self.allp[id as usize].load(Ordering::Acquire).as_ref() }
            .expect("allp is filled up to procs")
    }

    /// Goroutines that exist: never too few, and exact while nobody spawns or ends one.
    pub(crate) fn num_goroutine(&self) -> usize {
        goroutines::count(self.goroutine_counters())
    }

    /// Goroutines started in all lives of this record.
    pub(crate) fn goroutines_started(&self) -> u64 {
        goroutines::started(self.goroutine_counters())
    }

    fn goroutine_counters(&self) -> impl Iterator<Item = &Goroutines> + Clone {
        let ps = self
            .allp
            .iter()
            // SAFETY: as in `ps`.
            .map_while(|p| unsafe { p.load(Ordering::Acquire).as_ref() })
            .map(|p| &p.goroutines);
        ps.chain([&self.goroutines])
    }
}

impl Stats {
    /// Starts again at zero, for a record's next life.
    pub(crate) fn reset(&self) {
        let Self { overflows, globq_fair, steals, ms_made, syscall_other_idle, syscall_slow, handoffs, retaken, preempts, sysmon_ticks, sysmon_sleeps, started_before: _ } = self;
        for counter in [overflows, globq_fair, steals, ms_made, syscall_other_idle, syscall_slow, handoffs, retaken, preempts, sysmon_ticks, sysmon_sleeps] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

/// Sched records start free.
pub(crate) fn new_sched(max_procs: usize, hooks: &'static Hooks) -> Sched {
    Sched {
        lock: Mutex::new(Inner {
            globq: crate::globq::GlobQueue::new(),
            midle: None,
            nmidle: 0,
            pidle: None,
            mcount: 0,
            max_threads: 10_000,
            allm: Vec::new(),
            watcher: None,
            stopwait: 0,
            thread_stack: 0,
            no_spare_before: 0,
        }),
        nglobq: AtomicU32::new(0),
        gate: Gate::new(),
        procs: AtomicU32::new(0),
        clocks: AtomicU32::new(0),
        follows_cpus: AtomicBool::new(false),
        allp: (0..max_procs).map(|_| AtomicPtr::new(core::ptr::null_mut())).collect(),
        stackful: AtomicBool::new(false),
        gcwaiting: AtomicBool::new(false),
        phase: AtomicU8::new(Phase::Free as u8),
        goroutines: Goroutines::new(),
        epoch: AtomicU64::new(0),
        hooks: AtomicPtr::new(core::ptr::from_ref(hooks).cast_mut()),
        sleeping_until: AtomicU64::new(u64::MAX),
        ended: Condvar::new(),
        world: Mutex::new(()),
        stats: Stats::default(),
    }
}
