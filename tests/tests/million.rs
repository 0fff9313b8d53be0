//! A million goroutines of random lives on 1, 2, 8 and a changing number of Ps, against their sequential
//! meaning.
//!
//! The program is a forest of random trees. A node is a goroutine, stackful or a future: it uses what the
//! runtime has, meets a sibling, starts its children, gathers what they bring, adds its own number and
//! ends: by returning the sum, by a panic that carries it, by `goexit` after it was sent. What has to come
//! out is computed by walking the same trees without a goroutine. In the end each has begun and ended
//! exactly once, and those that were left waiting are unwound by their runtime's end.
//!
//! `GORT_FUZZ_SEED` chooses the forest. In debug builds it is smaller.

use gort::sched::{lock_os_thread, unlock_os_thread};
use gort::{
    AsyncMutex, AsyncRwLock, GoLocal, Goroutine, Handle, JoinError, JoinHandle, Mutex, Runtime,
    RwLock, Semaphore, Shutdown, WaitReason, blocking, blocking_now, chan, check_preempt, go,
    goexit, park, raw_blocking, sleep, spawn, yield_now,
};
use gort_tests::pending_once;
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::pending;
use std::io::Write;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// Goroutines per number of Ps, and how many runtimes they are shared out to.
const GOROUTINES: u32 = if cfg!(debug_assertions) {
    50_000
} else {
    1_000_000
};
const RUNTIMES: u32 = 10;
/// Of each runtime's goroutines, those that it leaves waiting when it ends.
const LEFT: u32 = 400;
/// Most nodes in a tree, trees at once, and nodes at once that nobody joins.
const TREE: u32 = 40;
const TREES: usize = 100;
const STRAYS: usize = 200;
/// What a process that bounds the living to those should never need, three runtimes at once.
const MEMORY: u64 = if cfg!(gort_asan) { 4 << 30 } else { 1 << 30 };
const PERMITS: usize = 3;
const AGES: Duration = Duration::from_secs(100_000);

struct Rng(u64);

impl Rng {
    fn new(seed: u64, index: u32, purpose: u64) -> Self {
        let mut rng = Self((seed ^ u64::from(index) << 20 ^ purpose << 60) | 1);
        for _ in 0..4 {
            rng.next();
        }
        rng
    }

    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn micros(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.below(most))
    }
}

/// A goroutine and those below it: `index..index + size`.
#[derive(Clone, Copy)]
struct Node {
    index: u32,
    size: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Return,
    Panic,
    Exit,
    /// By `goexit`, locked to its thread, which ends with it.
    ExitLocked,
}

/// A node as its parent starts it.
#[derive(Clone, Copy)]
struct Child {
    node: Node,
    future: bool,
    end: End,
    /// Nobody joins it: its number goes to the strays'.
    stray: bool,
}

impl Child {
    fn random(rng: &mut Rng, node: Node, mailbox: bool) -> Self {
        let future = rng.one_in(3);
        let stray = node.size == 1 && rng.one_in(6);
        let end = match rng.below(16) {
            0 | 1 => End::Panic,
            2 | 3 if mailbox && !future => End::Exit,
            4 if mailbox && !future && rng.one_in(20) => End::ExitLocked,
            _ => End::Return,
        };
        Self {
            node,
            future,
            end,
            stray,
        }
    }
}

/// What a node starts.
struct Shape {
    /// The children send their numbers over a channel of this capacity; otherwise they end with them.
    mailbox: Option<usize>,
    children: Vec<Child>,
}

impl Shape {
    fn of(seed: u64, node: Node) -> Self {
        let mut rng = Rng::new(seed, node.index, 1);
        let mailbox = rng.one_in(2).then(|| rng.below(3) as usize);
        let mut children = Vec::new();
        let (mut index, end) = (node.index + 1, node.index + node.size);
        while index < end {
            let size = 1 + rng.below(u64::from(end - index)) as u32;
            let node = Node { index, size };
            children.push(Child::random(&mut rng, node, mailbox.is_some()));
            index += size;
        }
        Self { mailbox, children }
    }
}

fn own_number(seed: u64, index: u32) -> u64 {
    Rng::new(seed, index, 2).below(1000)
}

/// What a node brings to its parent, and what the strays below it bring.
fn meaning(seed: u64, node: Node) -> (u64, u64) {
    let mut sum = (own_number(seed, node.index), 0);
    for child in Shape::of(seed, node).children {
        let (joined, strays) = meaning(seed, child.node);
        if child.stray {
            sum.1 += joined + strays;
        } else {
            sum.0 += joined;
            sum.1 += strays;
        }
    }
    sum
}

/// What all goroutines share.
struct World {
    seed: u64,
    /// By index: 1 for each beginning, 16 for each end.
    lives: Vec<AtomicU8>,
    alive: AtomicUsize,
    most_alive: AtomicUsize,
    strays: Semaphore,
    stray_sum: AtomicU64,
    pairs: [Mutex<(u64, u64)>; 8],
    shared: [RwLock<(u64, u64)>; 4],
    bumps: AtomicU64,
    room: Semaphore,
    inside: AtomicUsize,
    /// The runtime of the moment, for the report when nothing goes on.
    runtime: std::sync::Mutex<Option<Handle>>,
}

impl World {
    fn new(seed: u64, lives: u32) -> Self {
        Self {
            seed,
            lives: (0..lives).map(|_| AtomicU8::new(0)).collect(),
            alive: AtomicUsize::new(0),
            most_alive: AtomicUsize::new(0),
            strays: Semaphore::new(STRAYS),
            stray_sum: AtomicU64::new(0),
            pairs: Default::default(),
            shared: Default::default(),
            bumps: AtomicU64::new(0),
            room: Semaphore::new(PERMITS),
            inside: AtomicUsize::new(0),
            runtime: std::sync::Mutex::new(None),
        }
    }

    fn bump(&self, pair: &mut (u64, u64), meanwhile: impl FnOnce()) {
        assert_eq!(pair.0, pair.1, "two were in");
        pair.0 += 1;
        meanwhile();
        pair.1 += 1;
        self.bumps.fetch_add(1, SeqCst);
    }

    fn enter_room(&self) {
        assert!(self.inside.fetch_add(1, SeqCst) < PERMITS);
        self.inside.fetch_sub(1, SeqCst);
        self.room.release(1);
    }
}

/// Counts a goroutine's beginning and, wherever it is dropped, its end.
struct Life {
    world: Arc<World>,
    index: u32,
    stray: bool,
}

impl Life {
    fn new(world: &Arc<World>, index: u32, stray: bool) -> Self {
        let alive = world.alive.fetch_add(1, SeqCst) + 1;
        world.most_alive.fetch_max(alive, SeqCst);
        Self {
            world: world.clone(),
            index,
            stray,
        }
    }

    fn begins(&self) {
        self.world.lives[self.index as usize].fetch_add(1, SeqCst);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.world.lives[self.index as usize].fetch_add(16, SeqCst);
        self.world.alive.fetch_sub(1, SeqCst);
        if self.stray {
            self.world.strays.release(1);
        }
    }
}

/// How two siblings meet.
enum Partner {
    /// They exchange numbers.
    Talk {
        tx: chan::Sender<u64>,
        rx: chan::Receiver<u64>,
        first: bool,
        hears: u64,
    },
    /// It says who it is, and parks until it is told.
    Parks(chan::Sender<Goroutine>, Arc<AtomicBool>),
    /// It tells the other.
    Unparks(chan::Receiver<Goroutine>, Arc<AtomicBool>),
}

/// Two siblings that are to meet.
fn partners(seed: u64, a: Child, b: Child) -> (Partner, Partner) {
    if !a.future && !b.future && a.node.index.is_multiple_of(2) {
        let (tx, rx) = chan::bounded(1);
        let told = Arc::new(AtomicBool::new(false));
        return (Partner::Parks(tx, told.clone()), Partner::Unparks(rx, told));
    }
    let (to_b, from_a) = chan::bounded((a.node.index % 2) as usize);
    let (to_a, from_b) = chan::bounded(0);
    let number = |c: Child| own_number(seed, c.node.index);
    (
        Partner::Talk {
            tx: to_b,
            rx: from_b,
            first: true,
            hears: number(b),
        },
        Partner::Talk {
            tx: to_a,
            rx: from_a,
            first: false,
            hears: number(a),
        },
    )
}

fn meet(partner: Partner, number: u64) {
    match partner {
        Partner::Talk {
            tx,
            rx,
            first,
            hears,
        } => {
            if first {
                tx.send(number).unwrap();
            }
            assert_eq!(rx.recv(), Ok(hears));
            if !first {
                tx.send(number).unwrap();
            }
        }
        Partner::Parks(tx, told) => {
            tx.send(Goroutine::current().expect("it is stackful"))
                .unwrap();
            while !told.load(SeqCst) {
                park(WaitReason::Park);
            }
        }
        Partner::Unparks(rx, told) => {
            let other = rx.recv().unwrap();
            told.store(true, SeqCst);
            other.unpark();
        }
    }
}

async fn meet_async(partner: Partner, number: u64) {
    let Partner::Talk {
        tx,
        rx,
        first,
        hears,
    } = partner
    else {
        unreachable!("futures do not park")
    };
    if first {
        tx.send_async(number).await.unwrap();
    }
    assert_eq!(rx.recv_async().await, Ok(hears));
    if !first {
        tx.send_async(number).await.unwrap();
    }
}

fn nap(d: Duration) {
    // SAFETY: sleeps; touches no memory.
    unsafe { libc::usleep(d.as_micros() as u32) };
}

#[inline(never)]
fn tid() -> i32 {
    // SAFETY: no arguments, no memory.
    unsafe { libc::gettid() }
}

/// A real system call, or a short sleep in one.
fn system_call(rng: &mut Rng) {
    if rng.one_in(10) {
        nap(rng.micros(100));
    } else {
        assert!(tid() > 0);
    }
}

/// Parks while it unwinds.
struct YieldsWhenDropped;

impl Drop for YieldsWhenDropped {
    fn drop(&mut self) {
        yield_now();
    }
}

/// One random thing that a goroutine does.
fn act(world: &World, rng: &mut Rng) {
    static MINE: GoLocal<Cell<u64>> = GoLocal::new(|| Cell::new(0));
    let some = rng.next() as usize;
    match rng.below(400) {
        0..100 => (0..=some % 3).for_each(|_| yield_now()),
        100..160 => world.bump(&mut world.pairs[some % 8].lock(), || {
            if some & 64 == 0 {
                yield_now();
            }
        }),
        160..190 => world.bump(&mut world.shared[some % 4].write(), || {}),
        190..220 => {
            let pair = world.shared[some % 4].read();
            assert_eq!(pair.0, pair.1);
        }
        220..250 => {
            world.room.acquire(1);
            world.enter_room();
        }
        250..260 => {
            if world.room.acquire_timeout(1, rng.micros(100)) {
                world.enter_room();
            }
        }
        260..320 => blocking(|| system_call(rng)),
        320..330 => blocking_now(|| system_call(rng)),
        330..340 => raw_blocking(|| assert!(tid() > 0)),
        340..360 => sleep(rng.micros(200)),
        360..380 => {
            let number = rng.next();
            MINE.with(|m| m.set(m.get() ^ number));
            let before = MINE.with(Cell::get);
            yield_now();
            assert_eq!(MINE.with(Cell::get), before, "another's local");
        }
        380..390 => {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _parks = YieldsWhenDropped;
                panic_any(Carried(some as u64));
            }));
            let carried = caught
                .unwrap_err()
                .downcast::<Carried>()
                .expect("its own panic");
            assert_eq!(carried.0, some as u64);
        }
        390..394 => {
            let (_tx, rx) = chan::bounded::<u8>(some % 2);
            assert!(rx.recv_timeout(rng.micros(100)).is_err());
        }
        394..397 => blocking(|| {
            // A call of the runtime from within.
            world.bump(&mut world.pairs[some % 8].lock(), || {});
            yield_now();
        }),
        _ => rarely(rng),
    }
}

/// What takes long, or costs a thread.
fn rarely(rng: &mut Rng) {
    match rng.below(40) {
        0..10 => nap(rng.micros(200)),
        10..16 => {
            lock_os_thread();
            let thread = tid();
            yield_now();
            sleep(rng.micros(50));
            assert_eq!(tid(), thread, "a locked goroutine changed threads");
            unlock_os_thread();
        }
        16..18 => compute(Duration::from_millis(2), check_preempt),
        // Longer than a slice: its P is taken.
        18 => compute(Duration::from_millis(12), || {}),
        _ => check_preempt(),
    }
}

fn compute(d: Duration, each: fn()) {
    let start = Instant::now();
    while start.elapsed() < d {
        each();
    }
}

/// One random thing that a future does.
async fn act_async(world: &World, rng: &mut Rng) {
    let some = rng.next() as usize;
    match rng.below(200) {
        0..80 => pending_once().await,
        80..110 => world.bump(&mut *world.pairs[some % 8].lock_async().await, || {}),
        110..130 => world.bump(&mut *world.shared[some % 4].write_async().await, || {}),
        130..150 => {
            let pair = world.shared[some % 4].read_async().await;
            assert_eq!(pair.0, pair.1);
        }
        150..170 => {
            world.room.acquire_async(1).await;
            world.enter_room();
        }
        170..180 => gort::time::delay(rng.micros(200)).await,
        180..190 => blocking(|| system_call(rng)),
        190..198 => {
            // Given up in the middle, in whatever state it is.
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let mut lock = std::pin::pin!(world.pairs[some % 8].lock_async());
            drop(lock.as_mut().poll(&mut cx));
        }
        198 => nap(rng.micros(50)),
        _ => {}
    }
}

/// The payload of the panics here.
struct Carried(u64);

/// How a goroutine ends that still owes `rest`.
fn end(how: End, rest: u64) -> u64 {
    match how {
        End::Return => rest,
        End::Panic => panic_any(Carried(rest)),
        End::Exit => goexit(),
        End::ExitLocked => {
            lock_os_thread();
            goexit()
        }
    }
}

/// What a joined goroutine brought, if it ended as it should.
fn brought(child: Child, result: Result<u64, JoinError>) -> u64 {
    match (child.end, result) {
        (End::Return, Ok(n)) => n,
        (End::Exit | End::ExitLocked, Err(e)) if e.is_exited() => 0,
        (End::Panic, Err(e)) if e.is_panic() => {
            e.into_panic()
                .downcast::<Carried>()
                .expect("its own panic")
                .0
        }
        (end, result) => panic!("{end:?} gave {result:?}"),
    }
}

/// The children of a goroutine, once they are started.
struct Started {
    numbers: Option<chan::Receiver<u64>>,
    joins: Vec<(Child, JoinHandle<u64>)>,
}

/// Where a goroutine brings its number, besides its end.
enum To {
    Parent,
    Mailbox(chan::Sender<u64>),
    Strays,
}

impl To {
    /// Says what is owed still.
    fn bring(self, world: &World, number: u64) -> u64 {
        match self {
            Self::Parent => return number,
            Self::Mailbox(tx) => tx.send(number).unwrap(),
            Self::Strays => drop(world.stray_sum.fetch_add(number, SeqCst)),
        }
        0
    }

    async fn bring_async(self, world: &World, number: u64) -> u64 {
        match self {
            Self::Mailbox(tx) => {
                tx.send_async(number).await.unwrap();
                0
            }
            other => other.bring(world, number),
        }
    }
}

fn start(life: Life, child: Child, partner: Option<Partner>, to: To) -> JoinHandle<u64> {
    if child.future {
        spawn(Box::pin(live_async(life, child, partner, to)))
    } else {
        go(move || live(life, child, partner, to))
    }
}

/// Starts all children of a goroutine, which has a permit for each that is a stray.
fn start_children(world: &Arc<World>, shape: &Shape) -> Started {
    let (tx, numbers) = shape.mailbox.map(chan::bounded).unzip();
    let mut joins = Vec::new();
    let mut single: Option<(Child, Life, To)> = None;
    for &child in &shape.children {
        let life = Life::new(world, child.node.index, child.stray);
        if child.stray {
            drop(start(life, child, None, To::Strays));
            continue;
        }
        let to = tx.clone().map_or(To::Parent, To::Mailbox);
        let Some((first, first_life, first_to)) = single.take() else {
            single = Some((child, life, to));
            continue;
        };
        let (a, b) = partners(world.seed, first, child);
        joins.push((first, start(first_life, first, Some(a), first_to)));
        joins.push((child, start(life, child, Some(b), to)));
    }
    if let Some((child, life, to)) = single {
        joins.push((child, start(life, child, None, to)));
    }
    Started { numbers, joins }
}

/// As many permits have to be taken before the children are started, all at once: who has some and
/// waits for more could wait for others that do so. And none are not taken: who wants none still
/// waits behind who waits for all, maybe for this one's own.
fn strays(shape: &Shape) -> Option<NonZeroUsize> {
    NonZeroUsize::new(shape.children.iter().filter(|c| c.stray).count())
}

fn live(life: Life, me: Child, partner: Option<Partner>, to: To) -> u64 {
    life.begins();
    let world = &life.world;
    let mut rng = Rng::new(world.seed, me.node.index, 3);
    (0..rng.below(3)).for_each(|_| act(world, &mut rng));
    let number = own_number(world.seed, me.node.index);
    if let Some(partner) = partner {
        meet(partner, number);
    }
    let shape = Shape::of(world.seed, me.node);
    if let Some(permits) = strays(&shape) {
        world.strays.acquire(permits.get());
    }
    let children = start_children(world, &shape);
    act(world, &mut rng);
    let mut sum = number + children.numbers.iter().flatten().sum::<u64>();
    for (child, handle) in children.joins {
        sum += brought(child, handle.join());
    }
    end(me.end, to.bring(world, sum))
}

async fn live_async(life: Life, me: Child, partner: Option<Partner>, to: To) -> u64 {
    life.begins();
    let world = &life.world;
    let mut rng = Rng::new(world.seed, me.node.index, 3);
    for _ in 0..rng.below(3) {
        act_async(world, &mut rng).await;
    }
    let number = own_number(world.seed, me.node.index);
    if let Some(partner) = partner {
        meet_async(partner, number).await;
    }
    let shape = Shape::of(world.seed, me.node);
    if let Some(permits) = strays(&shape) {
        world.strays.acquire_async(permits.get()).await;
    }
    let children = start_children(world, &shape);
    act_async(world, &mut rng).await;
    let mut sum = number;
    if let Some(numbers) = children.numbers {
        while let Ok(number) = numbers.recv_async().await {
            sum += number;
        }
    }
    for (child, handle) in children.joins {
        sum += brought(child, handle.await);
    }
    end(me.end, to.bring_async(world, sum).await)
}

/// Grows the trees of `indices` and checks what they bring.
fn grow(world: &Arc<World>, indices: std::ops::Range<u32>) {
    let mut rng = Rng::new(world.seed, indices.start, 4);
    let mut growing = VecDeque::new();
    let (mut want, mut got) = ((0, 0), 0);
    let strays_before = world.stray_sum.load(SeqCst);
    let mut next = indices.start;
    while next < indices.end || !growing.is_empty() {
        if growing.len() == TREES || next == indices.end {
            let (root, handle): (Child, JoinHandle<u64>) = growing.pop_front().expect("not empty");
            got += brought(root, handle.join());
            continue;
        }
        let size = (1 + rng.below(u64::from(TREE)) as u32).min(indices.end - next);
        let root = Child {
            stray: false,
            ..Child::random(&mut rng, Node { index: next, size }, false)
        };
        let (joined, strays) = meaning(world.seed, root.node);
        want = (want.0 + joined, want.1 + strays);
        let life = Life::new(world, next, false);
        growing.push_back((root, start(life, root, None, To::Parent)));
        next += size;
    }
    // All permits are back when all strays have brought their numbers.
    world.strays.acquire(STRAYS);
    world.strays.release(STRAYS);
    assert_eq!(got, want.0);
    assert_eq!(world.stray_sum.load(SeqCst) - strays_before, want.1);
}

/// What goroutines wait for that are left when their runtime ends.
struct Never {
    full: (chan::Sender<u64>, chan::Receiver<u64>),
    empty: (chan::Sender<u64>, chan::Receiver<u64>),
    locked: Mutex<()>,
    shared: RwLock<()>,
    none: Semaphore,
}

impl Never {
    fn new() -> Self {
        let never = Self {
            full: chan::bounded(0),
            empty: chan::bounded(1),
            locked: Mutex::new(()),
            shared: RwLock::new(()),
            none: Semaphore::new(0),
        };
        std::mem::forget(never.locked.lock());
        std::mem::forget(never.shared.write());
        never
    }
}

/// Starts a goroutine that ends only when it is made to.
fn leave_waiting(life: Life, never: &Arc<Never>) -> JoinHandle<()> {
    let never = never.clone();
    let index = life.index;
    match index % 14 {
        0..9 => go(move || {
            life.begins();
            let _parks = YieldsWhenDropped;
            match index % 14 {
                0 => drop(never.full.0.send(1)),
                1 => drop(never.empty.1.recv()),
                2 => drop(never.locked.lock()),
                3 => drop(never.shared.read()),
                4 => never.none.acquire(1),
                5 => sleep(AGES),
                6 => loop {
                    yield_now();
                },
                7 => loop {
                    blocking(|| nap(Duration::from_micros(50)));
                    yield_now();
                },
                _ => loop {
                    park(WaitReason::Park);
                },
            }
            unreachable!("the wait {} has ended", index % 14);
        }),
        _ => spawn(async move {
            life.begins();
            match index % 14 {
                9 => drop(never.full.0.send_async(1).await),
                10 => drop(never.empty.1.recv_async().await),
                11 => drop(never.locked.lock_async().await),
                12 => gort::time::delay(AGES).await,
                _ => pending().await,
            }
            unreachable!("the wait {} has ended", index % 14);
        }),
    }
}

/// Changes the number of Ps and stops the world now and then, until it is told to end.
fn meddle(handle: Handle, seed: u64, over: &AtomicBool) {
    let mut rng = Rng::new(seed, 0, 5);
    while !over.load(SeqCst) {
        let procs = 1 + rng.below(8) as usize;
        handle.set_procs(procs).unwrap();
        handle.stop_the_world(|| assert_eq!(handle.procs(), procs));
        std::thread::sleep(rng.micros(3000));
    }
}

/// One runtime's life, on so many Ps, or on a number that changes all the time.
fn one_runtime(world: &Arc<World>, procs: Option<usize>, indices: std::ops::Range<u32>) {
    // SAFETY: nothing here keeps anything bound to its thread across a park.
    let rt = unsafe {
        Runtime::builder()
            .procs(procs.unwrap_or(1))
            .build_stackful()
    }
    .unwrap();
    *world.runtime.lock().unwrap() = Some(rt.handle());
    let over = Arc::new(AtomicBool::new(false));
    let meddler = procs.is_none().then(|| {
        let (handle, seed, over) = (rt.handle(), world.seed, over.clone());
        std::thread::spawn(move || meddle(handle, seed, &over))
    });
    let left = indices.end - LEFT..indices.end;
    let never = Arc::new(Never::new());
    let handles: Vec<_> = rt.run(|| {
        grow(world, indices.start..left.start);
        let life = |i| Life::new(world, i, false);
        let handles = left
            .clone()
            .map(|i| leave_waiting(life(i), &never))
            .collect();
        sleep(Duration::from_millis(1));
        handles
    });
    over.store(true, SeqCst);
    meddler
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    rt.shutdown(Shutdown::Abort(AGES));
    for handle in handles {
        let id = handle.id();
        let error = handle.join().expect_err("it waits for what does not come");
        assert!(error.is_cancelled(), "{id}: {error}");
    }
    for i in indices {
        let lives = world.lives[i as usize].load(SeqCst);
        assert!(
            lives == 17 || lives == 16 && left.contains(&i),
            "{i}: {lives:#x}"
        );
    }
}

/// Says what everybody does, past the harness's capture, and ends the process.
fn stuck(world: &World, ended: usize) -> ! {
    let mut stderr = std::io::stderr();
    let _ = writeln!(
        stderr,
        "seed {}: after {ended} goroutines nothing ends any more",
        world.seed
    );
    if let Some(runtime) = *world.runtime.lock().unwrap() {
        let _ = writeln!(stderr, "{}\n{}", runtime.sched_trace(), runtime.traceback());
    }
    std::process::abort()
}

/// Fails the process if nothing ends for minutes: a wake-up was lost.
fn watched(world: &Arc<World>, run: impl FnOnce()) {
    let over = Arc::new(AtomicBool::new(false));
    let watch = {
        let (over, world) = (over.clone(), world.clone());
        std::thread::spawn(move || {
            let ended = || world.lives.iter().filter(|l| l.load(SeqCst) >= 16).count();
            let (mut last, mut since) = (0, Instant::now());
            while !over.load(SeqCst) {
                std::thread::park_timeout(Duration::from_secs(1));
                let now = ended();
                if now != last {
                    (last, since) = (now, Instant::now());
                }
                if since.elapsed() > Duration::from_secs(120) {
                    stuck(&world, now);
                }
            }
        })
    };
    run();
    over.store(true, SeqCst);
    watch.thread().unpark();
    watch.join().unwrap();
}

/// Keeps the panics of these programs out of the test's output, and no others.
fn quiet_hook() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Carried>() {
                loud(info);
            }
        }));
    });
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        << 10
}

fn a_million_lives(procs: Option<usize>) {
    quiet_hook();
    let seed = std::env::var("GORT_FUZZ_SEED").map_or(0x5EED, |s| s.parse().unwrap());
    println!("GORT_FUZZ_SEED={seed}, {GOROUTINES} goroutines on {procs:?} Ps");
    let world = Arc::new(World::new(seed, GOROUTINES));
    watched(&world, || {
        let each = GOROUTINES / RUNTIMES;
        for n in 0..RUNTIMES {
            one_runtime(&world, procs, n * each..(n + 1) * each);
        }
    });
    assert_eq!(world.alive.load(SeqCst), 0);
    assert!(world.most_alive.load(SeqCst) <= TREES * TREE as usize + STRAYS);
    assert_eq!(world.room.available(), PERMITS);
    let pairs = world
        .pairs
        .iter()
        .map(|p| *p.try_lock().expect("nobody holds it"));
    let shared = world
        .shared
        .iter()
        .map(|p| *p.try_read().expect("nobody holds it"));
    let bumps: u64 = pairs.chain(shared).map(|(a, b)| a.min(b)).sum();
    assert_eq!(bumps, world.bumps.load(SeqCst));
    let peak = peak_memory();
    println!("{procs:?} Ps: peak {} MiB", peak >> 20);
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
}

#[test]
fn on_1_p() {
    a_million_lives(Some(1));
}

#[test]
fn on_2_ps() {
    a_million_lives(Some(2));
}

#[test]
fn on_8_ps() {
    a_million_lives(Some(8));
}

#[test]
fn on_a_changing_number_of_ps() {
    a_million_lives(None);
}
