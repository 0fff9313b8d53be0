//! Where G and M records come from and where dead ones wait (R19, R23).
//!
//! `allgs`, `gfget`, `gfput` and `allocm` of Go 1.19's `proc.go`. Records are cut from chunks that
//! are never freed, so `allgs` is the list of chunks. Dead Gs wait on the list of a P (no lock);
//! beyond 64 half of them move to the global list.

use crate::bracket::Rt;
use crate::runtime2::{G, M, P, Sched};
use crate::status::GStatus;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use parking_lot::Mutex;

/// A P keeps fewer dead Gs than this...
const LOCAL_MAX: u32 = 64;
/// ... and goes down to, or up to, so many when it goes to the global list.
const LOCAL_HALF: u32 = 32;
/// Ids that a P takes at a time.
const ID_BATCH: u64 = 64;
/// Records of the first chunk and of the largest.
const CHUNK_MIN: usize = 64;
const CHUNK_MAX: usize = 16 << 10;

struct Pool {
    chunks: Vec<&'static [G]>,
    /// Records of the last chunk that have been handed out.
    used: usize,
    free: Option<&'static G>,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { chunks: Vec::new(), used: 0, free: None });
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
static NEXT_M: AtomicU32 = AtomicU32::new(0);
static FREE_MS: Mutex<Vec<&'static M>> = Mutex::new(Vec::new());

// SAFETY: the references inside point at type-stable records, which are Sync.
unsafe impl Send for Pool {}

impl Pool {
    fn get(&mut self) -> &'static G {
        if let Some(g) = self.free {
            self.free = g.link.take();
            return g;
        }
        let last = self.chunks.last().map_or(0, |c| c.len());
        if self.used == last {
            let n = if last == 0 { CHUNK_MIN } else { (last * 2).min(CHUNK_MAX) };
            self.chunks.push((0..n).map(|_| G::new()).collect::<Vec<_>>().leak());
            self.used = 0;
        }
        let g = &self.chunks[self.chunks.len() - 1][self.used];
        self.used += 1;
        g.set_status(GStatus::Dead);
        g
    }
}

/// A dead record, with the P's next id.
#[inline]
pub(crate) fn get_g(rt: &Rt) -> (&'static G, u64) {
    let p = rt.p();
    let g = match p.gfree.get() {
        Some(g) => {
            p.gfree.set(g.link.take());
            p.ngfree.set(p.ngfree.get() - 1);
            g
        }
        None => refill(rt),
    };
    let (next, end) = p.goids.get();
    if next == end {
        let first = NEXT_ID.fetch_add(ID_BATCH, Ordering::Relaxed);
        p.goids.set((first + 1, first + ID_BATCH));
        return (g, first);
    }
    p.goids.set((next + 1, end));
    (g, next)
}

#[cold]
fn refill(rt: &Rt) -> &'static G {
    let p = rt.p();
    let mut pool = POOL.lock();
    let mut list = None;
    for _ in 0..LOCAL_HALF - 1 {
        let g = pool.get();
        g.link.set(list);
        list = Some(g);
    }
    p.gfree.set(list);
    p.ngfree.set(LOCAL_HALF - 1);
    pool.get()
}

/// A dead record and an id, for a thread that holds no P.
pub(crate) fn get_g_foreign() -> (&'static G, u64) {
    (POOL.lock().get(), NEXT_ID.fetch_add(1, Ordering::Relaxed))
}

/// Gives a dead record back.
#[inline]
pub(crate) fn put_g(rt: &Rt, g: &'static G) {
    debug_assert_eq!(g.status(), GStatus::Dead);
    let p = rt.p();
    g.link.set(p.gfree.get());
    p.gfree.set(Some(g));
    p.ngfree.set(p.ngfree.get() + 1);
    if p.ngfree.get() >= LOCAL_MAX {
        spill(rt);
    }
}

#[cold]
fn spill(rt: &Rt) {
    let p = rt.p();
    let (first, mut last) = (p.gfree.get(), p.gfree.get());
    for _ in 1..LOCAL_HALF {
        last = last.and_then(|g| g.link.get());
    }
    let Some(last) = last else { return };
    p.gfree.set(last.link.get());
    p.ngfree.set(p.ngfree.get() - LOCAL_HALF);
    let mut pool = POOL.lock();
    last.link.set(pool.free);
    pool.free = first;
}

/// Gives all dead records of a P that is gone back. Under the runtime's lock.
pub(crate) fn give_gs(p: &P) {
    p.ngfree.set(0);
    let Some(first) = p.gfree.take() else { return };
    let mut last = first;
    while let Some(next) = last.link.get() {
        last = next;
    }
    let mut pool = POOL.lock();
    last.link.set(pool.free);
    pool.free = Some(first);
}

/// Gives a dead record back from a thread that holds no P.
pub(crate) fn put_g_foreign(g: &'static G) {
    debug_assert_eq!(g.status(), GStatus::Dead);
    let mut pool = POOL.lock();
    g.link.set(pool.free);
    pool.free = Some(g);
}

/// Every record ever handed out, dead ones included (`allgs`).
pub(crate) fn all_gs() -> Vec<&'static G> {
    let pool = POOL.lock();
    let n = pool.chunks.len();
    pool.chunks
        .iter()
        .enumerate()
        .flat_map(|(i, c)| if i + 1 == n { &c[..pool.used] } else { c })
        .collect()
}

/// Records ever handed out: what `len(allgs)` is in Go.
pub(crate) fn all_gs_len() -> usize {
    let pool = POOL.lock();
    let n = pool.chunks.len();
    pool.chunks.iter().take(n.saturating_sub(1)).map(|c| c.len()).sum::<usize>() + pool.used
}

/// The live goroutines of one runtime.
pub(crate) fn live_gs(sched: &'static Sched) -> impl Iterator<Item = &'static G> {
    all_gs().into_iter().filter(move |g| {
        !matches!(g.status(), GStatus::Dead | GStatus::Idle)
            && g.last_sched().is_some_and(|s| core::ptr::eq(s, sched))
    })
}

/// An M that serves nobody.
pub(crate) fn new_m() -> &'static M {
    match FREE_MS.lock().pop() {
        Some(m) => m,
        None => Box::leak(Box::new(M::new(NEXT_M.fetch_add(1, Ordering::Relaxed)))),
    }
}

/// Gives the record of an M back whose thread is past its last use of it.
pub(crate) fn free_m(m: &'static M) {
    FREE_MS.lock().push(m);
}
