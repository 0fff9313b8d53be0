//! Who plugs into whom: the one place that knows all components.
//!
//! | seam | plugged in |
//! |---|---|
//! | `gchan::park::Park` | goroutines park through gmp-sched; threads that wait are counted by it |
//! | `gmp_sched::Poll` | one heap of gtimer per P ([`crate::time`]) |
//! | `gmp_sched::Alarms` | deadlines of locks and contexts, on the same heaps |
//! | `gmp_sched::set_chore` | galloc's scavenger: sysmon gives free memory back, in place of galloc's own thread |
//! | `on_thread_idle` | gpool's and galloc's slots are given back, so that they follow the threads that run |

/// Plugs everything into everything, once for the process.
pub(crate) fn install() {
    #[cfg(feature = "timer")]
    {
        // Somebody else's stays, as below.
        let _ = gmp_sched::set_alarms(&crate::time::Deadlines);
    }
    #[cfg(feature = "chan")]
    {
        // Somebody else's hook stays: then channels are parked by that runtime, and ours treat
        // goroutines as threads. There is only one such hook in a process.
        let _ = gchan::park::set_hook(&channels::GoroutinePark);
    }
}

/// Once there is a sysmon: it does the work of galloc's scavenger, unless the program or the environment chose
/// another. Does nothing unless galloc is the program's allocator.
pub(crate) fn sysmon_runs() {
    #[cfg(feature = "alloc")]
    if gmp_sched::set_chore(galloc::scavenge_step) {
        galloc::host_scavenger(gmp_sched::call_chore);
    }
}

/// What a thread of the runtime does when it goes idle.
pub(crate) fn thread_idle() {
    #[cfg(feature = "pool")]
    gpool::release_slot();
    // Does nothing unless galloc is the program's allocator.
    #[cfg(feature = "alloc")]
    galloc::release_slot();
}

#[cfg(feature = "chan")]
mod channels {
    use gchan::park::{Handle, Park, Reason};
    use gmp_sched::{Goroutine, WaitReason};
    use std::time::Instant;

    pub(super) struct GoroutinePark;

    // SAFETY: a parked goroutine's stack stays mapped and unused until it is resumed; at shutdown
    // `park` unwinds; what outlives the shutdown is leaked, never reused.
    unsafe impl Park for GoroutinePark {
        fn current(&self) -> Option<Handle> {
            let g = Goroutine::current()?;
            // SAFETY: goroutine records are type-stable: a late unpark finds a record in some state
            // and at most gives it a permit. It never blocks and runs no user code.
            Some(unsafe { Handle::new(g.as_ptr(), Goroutine::unpark_record) })
        }

        unsafe fn park(&self, me: Handle, reason: Reason, deadline: Option<Instant>) {
            match deadline {
                // SAFETY: the handle came from `current`, called by this goroutine.
                None => unsafe { Goroutine::from_ptr(me.data()).park(wait_reason(reason)) },
                #[cfg(feature = "timer")]
                Some(deadline) => {
                    // SAFETY: as above.
                    let g = unsafe { Goroutine::from_ptr(me.data()) };
                    crate::time::park_for_channel(g, wait_reason(reason), deadline);
                }
                #[cfg(not(feature = "timer"))]
                Some(deadline) => park_on_thread(deadline),
            }
        }

        fn blocking(&self, _reason: Reason, deadline: Option<Instant>, wait: &mut dyn FnMut()) {
            match deadline {
                None => gmp_sched::thread_waits(wait),
                Some(_) => gmp_sched::thread_naps(wait),
            }
        }
    }

    /// Without timers a wait with a deadline is a nap of the thread's, its P lent to others.
    #[cfg(not(feature = "timer"))]
    fn park_on_thread(deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let nap = left.min(std::time::Duration::from_millis(1));
        gmp_sched::blocking_now(|| std::thread::sleep(nap));
    }

    fn wait_reason(reason: Reason) -> WaitReason {
        match reason {
            Reason::ChanReceive => WaitReason::ChanReceive,
            Reason::ChanSend => WaitReason::ChanSend,
            Reason::ChanReceiveNil => WaitReason::ChanReceiveNil,
            Reason::ChanSendNil => WaitReason::ChanSendNil,
            Reason::Select => WaitReason::Select,
            Reason::SelectNoCases => WaitReason::SelectNoCases,
            Reason::Sleep => WaitReason::Sleep,
            _ => WaitReason::Park,
        }
    }
}
