//! Whether all are asleep for good: the looks that decide it, by sysmon (R52).
//!
//! A look takes the census, lists the process's threads, asks who could wake somebody, and takes the census again.
//! Why nobody is on the way if the two are equal, and as many threads as they know of are there and asleep:
//! - whoever the runtimes know of has not moved meanwhile, for every move is counted before its effect;
//! - whoever they do not know of is on the list, unless it had ended before: and then all that it did had been
//!   counted, or is seen by asking afterwards. (One that ends between the list and the look at it may have
//!   started another: it counts as awake.)
//!
//! All has to be the same in two looks, for somebody who counts as parked may be awake still, and asleep just
//! now for a moment, waiting for a lock.

use crate::census::{Census, Counts};

/// What a look found.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Not a deadlock.
    No,
    /// It may be, but somebody is still on the way to sleep: look again soon.
    Unsure,
    /// Nobody will ever wake: said once.
    Yes,
}

/// The threads of the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Threads {
    pub(crate) count: usize,
    /// All but the calling one are asleep, and none has ended meanwhile.
    pub(crate) asleep: bool,
}

/// What the looks before came to, while they were unsure.
#[derive(Default, Debug)]
pub(crate) struct Suspicion {
    census: Option<Census>,
    /// Looks that found the same census.
    looks: u32,
    /// Of the last deadlock: as long as nothing moves it is the same one.
    found: Option<Census>,
}

/// A thread that nobody knows of may be one of ours that is starting or ending, on a machine that
/// has other things to do. It is given about a second before sysmon sleeps for longer.
const LOOKS: u32 = 14;

impl Suspicion {
    /// How long to wait before the next look: 1 ms, doubling to 128.
    #[cfg(not(loom))]
    pub(crate) fn nap(&self) -> core::time::Duration {
        core::time::Duration::from_millis(1 << self.looks.min(7))
    }

    /// Where threads that nobody knows of keep all this from being a deadlock: how long until the next look whether they
    /// have ended, for nobody tells. A second, doubling to 16.
    #[cfg(not(loom))]
    pub(crate) fn beside_strangers(&self) -> Option<core::time::Duration> {
        let later = self.looks.checked_sub(LOOKS)?;
        Some(core::time::Duration::from_secs(1 << later.min(4)))
    }

    /// One look, at a moment's census. `can_wake` says whether something other than a thread could wake one;
    /// `threads`, if it can be known, which there are.
    pub(crate) fn look(
        &mut self,
        counts: &Counts,
        now: Census,
        can_wake: impl Fn() -> bool,
        threads: impl FnOnce() -> Option<Threads>,
    ) -> Verdict {
        if self.found == Some(now) {
            return Verdict::No;
        }
        if !now.all_asleep() || can_wake() {
            *self = Self::default();
            return Verdict::No;
        }
        // Without a list nobody can tell whether other threads exist.
        let Some(threads) = threads() else {
            return Verdict::No;
        };
        let again = self.census == Some(now);
        self.looks = if again { self.looks + 1 } else { 0 };
        self.census = Some(now);
        if threads.count != now.known_threads() {
            return if self.looks < LOOKS {
                Verdict::Unsure
            } else {
                Verdict::No
            };
        }
        if again && threads.asleep && !can_wake() && counts.take() == now {
            *self = Self {
                found: Some(now),
                ..Self::default()
            };
            Verdict::Yes
        } else {
            Verdict::Unsure
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::{LOOKS, Suspicion, Threads, Verdict};
    use crate::census::Counts;
    use crate::counted::{Blocking, Foreign, end_sleep, sleep_on};
    use crate::park_word::ParkWord;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use loom::thread::{self, Thread};

    /// A process, whose main thread is sysmon. It ends in a deadlock, which sysmon has to find, and not before
    /// everything that is hoped for has come.
    struct Process {
        counts: Counts,
        /// What the kernel knows of each thread but sysmon: two bits each.
        kernel: AtomicU32,
        hope: AtomicU32,
        timer: AtomicU32,
        found: AtomicBool,
        word: ParkWord,
    }

    const fn exists(thread: u32) -> u32 {
        1 << (2 * thread)
    }

    const fn asleep(thread: u32) -> u32 {
        2 << (2 * thread)
    }

    impl Process {
        /// Thread 0 is an M that is idle. There are as many `others`, which run.
        fn new(others: u32) -> Arc<Self> {
            let word = ParkWord::dead();
            word.begin();
            let process = Self {
                counts: Counts::new(),
                kernel: AtomicU32::new(0),
                hope: AtomicU32::new(1),
                timer: AtomicU32::new(0),
                found: AtomicBool::new(false),
                word,
            };
            process.counts.m_starts();
            process.counts.m_idles();
            process.starts(0);
            process.sleeps(0);
            (1..=others).for_each(|thread| process.starts(thread));
            Arc::new(process)
        }

        // What the kernel sees.

        fn starts(&self, thread: u32) {
            self.kernel.fetch_or(exists(thread), Ordering::AcqRel);
        }

        fn sleeps(&self, thread: u32) {
            self.kernel.fetch_or(asleep(thread), Ordering::AcqRel);
        }

        fn runs(&self, thread: u32) {
            self.kernel.fetch_and(!asleep(thread), Ordering::AcqRel);
        }

        fn ends(&self, thread: u32) {
            self.kernel.fetch_and(!exists(thread), Ordering::AcqRel);
        }

        /// Until sysmon has found the deadlock.
        fn sleeps_for_good(&self, thread: u32) {
            while !self.found.load(Ordering::Acquire) {
                self.sleeps(thread);
                thread::park();
            }
        }

        /// A sleep that ends by itself.
        fn naps(&self, thread: u32) {
            self.sleeps(thread);
            self.runs(thread);
        }

        // What threads do.

        fn hope_is_fulfilled(&self) {
            self.hope.store(0, Ordering::Release);
        }

        fn sleeps_on_word(&self, thread: u32) {
            sleep_on(&self.counts, &self.word, |word| {
                self.sleeps(thread);
                if word.still_on_thread() {
                    thread::park();
                }
                self.runs(thread);
            });
        }

        fn unparks(&self, thread: u32, handle: &Thread) {
            if self.word.unpark().is_some() {
                end_sleep(&self.counts, || {
                    self.runs(thread);
                    handle.unpark();
                });
            }
        }

        /// The M that is idle gets a P, runs a goroutine that fulfils the hope, and goes idle.
        fn m_works(&self) {
            self.counts.m_wakes();
            self.counts.sysmon.wake();
            self.runs(0);
            self.naps(0);
            self.hope_is_fulfilled();
            self.counts.m_idles();
            self.sleeps(0);
        }

        // What sysmon does.

        fn threads(&self) -> Option<Threads> {
            let read = || self.kernel.fetch_or(0, Ordering::AcqRel);
            let list = read();
            let mut threads = Threads {
                count: 0,
                asleep: true,
            };
            for thread in (0..4).filter(|thread| list & exists(*thread) > 0) {
                let as_it_should = exists(thread) | asleep(thread);
                threads.count += 1;
                threads.asleep &= read() & as_it_should == as_it_should;
            }
            Some(threads)
        }

        /// Sysmon's loop, until the deadlock.
        fn watch(&self) {
            self.watch_on(Suspicion::default());
        }

        fn watch_on(&self, mut suspicion: Suspicion) {
            let can_wake = || self.timer.fetch_or(0, Ordering::AcqRel) > 0;
            loop {
                let now = self.counts.take();
                match suspicion.look(&self.counts, now, can_wake, || self.threads()) {
                    Verdict::Yes => break,
                    Verdict::Unsure => thread::yield_now(),
                    Verdict::No => {
                        let still = || self.counts.take() == now;
                        self.counts.sysmon.sleep_if(None, still);
                    }
                }
            }
            let hope = self.hope.fetch_or(0, Ordering::AcqRel);
            assert_eq!(hope, 0, "a report of a deadlock that is none");
            self.found.store(true, Ordering::Release);
            self.word.unpark();
        }
    }

    type Body = fn(&Process);

    /// Thread 1 does `first`, thread 2 `second`, given thread 1, and ends unknown.
    fn two_threads(first: Body, second: fn(&Process, &Thread)) {
        let mut model = loom::model::Builder::new();
        (model.preemption_bound, model.max_branches) = (Some(2), 10_000);
        model.check(move || {
            let process = Process::new(2);
            let p = process.clone();
            let one = thread::spawn(move || first(&p));
            let (p, handle) = (process.clone(), one.thread().clone());
            let two = thread::spawn(move || {
                second(&p, &handle);
                p.ends(2);
            });
            process.watch();
            one.thread().unpark();
            one.join().unwrap();
            two.join().unwrap();
        });
    }

    /// Thread 1 does this.
    fn one_thread(body: Body) {
        loom::model(move || {
            let process = Process::new(1);
            let p = process.clone();
            let one = thread::spawn(move || body(&p));
            process.watch();
            one.thread().unpark();
            one.join().unwrap();
        });
    }

    /// A thread that sleeps for good.
    #[test]
    fn loom_deadlock_of_one_that_sleeps() {
        one_thread(|p| {
            p.hope_is_fulfilled();
            p.sleeps_on_word(1);
        });
    }

    /// A thread that nobody knew of, and that sleeps when sysmon waits for it no longer.
    #[test]
    fn loom_deadlock_of_one_that_sleeps_in_the_end() {
        loom::model(|| {
            let process = Process::new(1);
            process.hope_is_fulfilled();
            let census = Some(process.counts.take());
            let p = process.clone();
            let one = thread::spawn(move || p.sleeps_on_word(1));
            process.watch_on(Suspicion {
                census,
                looks: LOOKS,
                found: None,
            });
            one.thread().unpark();
            one.join().unwrap();
        });
    }

    /// An M that goes idle, as the last one.
    #[test]
    fn loom_deadlock_of_an_m_that_goes_idle() {
        one_thread(|p| {
            p.counts.m_starts();
            p.naps(1);
            p.hope_is_fulfilled();
            p.counts.m_idles();
            p.sleeps(1);
        });
    }

    /// An M that ends, as the last one.
    #[test]
    fn loom_deadlock_of_an_m_that_ends() {
        one_thread(|p| {
            p.counts.thread_parks();
            p.counts.thread_unparks();
            p.counts.m_starts();
            p.naps(1);
            p.hope_is_fulfilled();
            p.counts.m_ends();
            p.ends(1);
        });
    }

    /// The M of a goroutine that naps within its wait.
    #[test]
    fn loom_deadlock_of_an_m_that_naps_within_its_wait() {
        one_thread(|p| {
            let blocking = Blocking::new();
            p.counts.m_starts();
            blocking.sleep(&p.counts, true, || {
                blocking.sleep(&p.counts, false, || {
                    p.naps(1);
                    p.hope_is_fulfilled();
                });
                p.sleeps_for_good(1);
            });
        });
    }

    /// The M of a future that waits as a thread, for good, within a wait.
    #[test]
    fn loom_deadlock_of_an_m_that_sleeps_within_its_wait() {
        one_thread(|p| {
            let blocking = Blocking::new();
            p.counts.m_starts();
            p.hope_is_fulfilled();
            blocking.sleep(&p.counts, true, || {
                blocking.sleep_as_thread(&p.counts, || p.sleeps_on_word(1));
            });
        });
    }

    /// A thread that is no M, and naps within its wait.
    #[test]
    fn loom_deadlock_of_a_thread_that_naps_within_its_wait() {
        one_thread(|p| {
            let thread = Foreign::new();
            thread.count(&p.counts, true);
            let within = thread.count(&p.counts, false);
            p.naps(1);
            p.hope_is_fulfilled();
            thread.count(&p.counts, within);
            p.sleeps_for_good(1);
        });
    }

    /// A goroutine that readies another within its wait, which is a call of the runtime's.
    #[test]
    fn loom_deadlock_of_an_m_that_readies_another_within_its_wait() {
        one_thread(|p| {
            let blocking = Blocking::new();
            p.counts.m_starts();
            blocking.sleep(&p.counts, true, || {
                blocking.counts_again(&p.counts);
                p.naps(1);
                p.m_works();
                blocking.counts_as_told(&p.counts);
                p.sleeps_for_good(1);
            });
        });
    }

    /// A thread that is woken while sysmon looks, by one that ends meanwhile.
    #[test]
    fn loom_deadlock_of_one_that_is_woken_meanwhile() {
        two_threads(
            |p| {
                p.sleeps_on_word(1);
                p.naps(1);
                p.hope_is_fulfilled();
                p.sleeps_on_word(1);
            },
            |p, one| p.unparks(1, one),
        );
    }

    /// An M that waits as a thread, within a wait, and is woken so.
    #[test]
    fn loom_deadlock_of_an_m_that_is_woken_within_its_wait() {
        two_threads(
            |p| {
                let blocking = Blocking::new();
                p.counts.m_starts();
                blocking.sleep(&p.counts, true, || {
                    blocking.sleep_as_thread(&p.counts, || p.sleeps_on_word(1));
                    p.hope_is_fulfilled();
                    p.sleeps_for_good(1);
                });
            },
            |p, one| p.unparks(1, one),
        );
    }

    /// An idle M that a thread gives work while sysmon looks; the thread ends.
    #[test]
    fn loom_deadlock_of_an_m_that_gets_work_of_one_that_ends() {
        one_thread(|p| {
            p.counts.m_wakes();
            p.counts.sysmon.wake();
            p.runs(0);
            p.ends(1);
            p.naps(0);
            p.hope_is_fulfilled();
            p.counts.m_idles();
            p.sleeps(0);
        });
    }

    /// A thread that starts another, which will wake somebody, and ends.
    #[test]
    fn loom_deadlock_beside_a_thread_with_an_heir() {
        one_thread(|p| {
            p.sleeps(1);
            p.runs(1);
            p.starts(2);
            p.sleeps(2);
            p.ends(1);
            p.runs(2);
            p.m_works();
            p.ends(2);
        });
    }

    /// A thread that sets a timer, and ends; the M that the timer wakes sleeps until then.
    #[test]
    fn loom_deadlock_beside_a_thread_that_sets_a_timer() {
        one_thread(|p| {
            p.timer.fetch_or(1, Ordering::AcqRel);
            p.ends(1);
            p.counts.m_wakes();
            p.counts.sysmon.wake();
            p.runs(0);
            p.timer.fetch_and(0, Ordering::AcqRel);
            p.naps(0);
            p.hope_is_fulfilled();
            p.counts.m_idles();
            p.sleeps(0);
        });
    }
}
