//! The order in which a thief visits the other Ps (R24).
//!
//! `randomOrder` and `stealWork` of Go 1.19's `proc.go`: a random start and a random step that is
//! coprime to the number of Ps, so that every P is visited exactly once and no two thieves march in
//! step. The last of [`TRIES`] rounds also takes a victim's `runnext`.

use crate::bracket::Rt;
use crate::runtime2::{G, P};
use crate::p_status::PStatus;
use core::sync::atomic::Ordering;
use core::time::Duration;

/// Rounds over all Ps before a thief gives up.
pub(crate) const TRIES: u32 = 4;

/// Visits `0..count` once each.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    left: u32,
    count: u32,
    pos: u32,
    step: u32,
}

impl Order {
    /// The walk that this random number stands for. `count` is not 0.
    pub(crate) fn new(count: u32, random: u32) -> Self {
        let mut step = random / count % count + 1;
        while gcd(step, count) != 1 {
            step += 1;
        }
        Self { left: count, count, pos: random % count, step }
    }
}

impl Iterator for Order {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        let at = self.pos;
        self.pos = (self.pos + self.step) % self.count;
        Some(at)
    }
}

const fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Takes work from another P; null-free, newest of the stolen half.
pub(crate) fn steal_work(rt: &Rt) -> Option<&'static G> {
    let (sched, me) = (rt.sched(), rt.p());
    let procs = sched.procs.load(Ordering::Acquire);
    if procs == 1 {
        return None;
    }
    for (id, last) in visits(procs, || me.random()) {
        let victim = sched.p(id);
        if core::ptr::eq(victim, me) {
            continue;
        }
        let g = me.runq.steal(&victim.runq, || last && owner_will_not(victim));
        // SAFETY: null or a record that the victim's queue held and that is ours now.
        if let Some(g) = unsafe { g.as_ref() } {
            sched.stats.steals.fetch_add(1, Ordering::Relaxed);
            return Some(g);
        }
    }
    None
}

/// All Ps in each round, and whether it is the last, which takes a `runnext` too.
fn visits(procs: u32, mut random: impl FnMut() -> u32) -> impl Iterator<Item = (u32, bool)> {
    (0..TRIES).flat_map(move |round| {
        Order::new(procs, random()).map(move |id| (id, round + 1 == TRIES))
    })
}

/// Whether to take a `runnext`: not at once if its owner runs, because then it is most likely the
/// partner of what runs there and will be run within a microsecond; moving it would cost more.
fn owner_will_not(victim: &P) -> bool {
    if victim.status() == PStatus::Running {
        std::thread::sleep(Duration::from_micros(3));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{Order, TRIES, visits};
    use crate::{Builder, go, sysmon};
    use core::sync::atomic::{AtomicBool, Ordering};
    use core::time::Duration;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn r24_every_p_is_visited_once_whatever_the_random_number() {
        for count in 1..=130 {
            for random in [0, 1, 2, 3, 77, 12_345_678, u32::MAX] {
                let mut seen: Vec<_> = Order::new(count, random).collect();
                seen.sort_unstable();
                assert_eq!(seen, (0..count).collect::<Vec<_>>(), "{count} {random}");
            }
        }
    }

    #[test]
    fn r24_a_runnext_is_stolen_only_after_everybodys_ring_was_looked_at() {
        let mut randoms = [3, 8, 1, 70].into_iter();
        let seen: Vec<_> = visits(5, || randoms.next().unwrap()).collect();
        let (rings, last) = seen.split_at(5 * (TRIES as usize - 1));
        assert!(rings.iter().all(|(_, takes_next)| !takes_next), "{seen:?}");
        let mut last: Vec<_> = last.to_vec();
        last.sort_unstable();
        assert_eq!(last, (0..5).map(|id| (id, true)).collect::<Vec<_>>());
    }

    #[test]
    fn r24_a_runnext_whose_owner_computes_on_is_stolen() {
        // SAFETY: nothing bound to a thread is kept across a park.
        let rt = unsafe { Builder::new().procs(2).build_stackful() }.unwrap();
        let sched = rt.handle().sched;
        // It would take the owner's P.
        sysmon::unwatch(sched);
        let done = Arc::new(AtomicBool::new(false));
        let (ran, start) = (done.clone(), Instant::now());
        let owner = rt.go(move || {
            let flag = ran.clone();
            drop(go(move || flag.store(true, Ordering::SeqCst)));
            while !ran.load(Ordering::SeqCst) && start.elapsed() < Duration::from_secs(60) {
                std::thread::yield_now();
            }
            ran.load(Ordering::SeqCst)
        });
        // Whose thread has run this looks for more.
        while !done.load(Ordering::SeqCst) {
            rt.spawn(async {}).join().unwrap();
        }
        assert!(owner.join().unwrap(), "it was left to its owner");
        sysmon::watch(sched);
    }
}
