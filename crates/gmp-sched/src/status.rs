//! The states of a G and of a P, and the edges between them (R27, R28).
//!
//! Re-creates the `_Gidle ...` and `_Pidle ...` constants of Go 1.19's `runtime2.go` together with
//! the rules that Go keeps only in comments: which state may follow which. A status is written
//! only by whoever owns the G or the P at that moment, so it is a record of what the owner does
//! and never itself a lock; debug builds abort on an edge that is not in the table.
//!
//! Go's `_Gcopystack`, `_Gpreempted` and the `_Gscan` bit are absent: stacks do not move, there is
//! no signal preemption and no collector.

use core::fmt;

/// The state of a goroutine.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum GStatus {
    /// Just allocated, not yet initialised.
    Idle = 0,
    /// On a run queue, or on its way to one.
    Runnable = 1,
    /// Runs on an M that holds a P.
    Running = 2,
    /// Runs on an M whose P is lent out or may be taken.
    Syscall = 3,
    /// Parked: off all queues until somebody readies it.
    Waiting = 4,
    /// Finished, or on a free list.
    Dead = 6,
}

/// The state of a processor.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PStatus {
    /// On the idle list, or between two owners.
    Idle = 0,
    /// Owned by an M that runs goroutines or looks for one.
    Running = 1,
    /// Its M is in a syscall; any M may take it by one CAS.
    Syscall = 2,
    /// Halted by stop-the-world.
    Gcstop = 3,
    /// Beyond the current `procs`.
    Dead = 4,
}

impl GStatus {
    pub(crate) const fn from_u8(v: u8) -> Self {
        match v {
            0 => Self::Idle,
            1 => Self::Runnable,
            2 => Self::Running,
            3 => Self::Syscall,
            4 => Self::Waiting,
            6 => Self::Dead,
            _ => panic!("not a goroutine status"),
        }
    }

    /// Whether the edge `self -> to` is one the scheduler may take.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        use GStatus::{Dead, Idle, Runnable, Running, Syscall, Waiting};
        matches!(
            (self, to),
            (Idle, Dead)                    // a fresh record joins a free list
                | (Dead, Runnable)          // go
                | (Runnable, Running)       // execute
                | (Running, Runnable)       // yield, preempt
                | (Running, Waiting)        // park
                | (Running, Syscall)        // entersyscall, retake
                | (Running, Dead)           // goexit
                | (Waiting, Runnable)       // ready
                | (Syscall, Running)        // exitsyscall, fast
                | (Syscall, Runnable) // exitsyscall, slow
        )
    }

    /// Go's word for the state in a traceback.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Runnable => "runnable",
            Self::Running => "running",
            Self::Syscall => "syscall",
            Self::Waiting => "waiting",
            Self::Dead => "dead",
        }
    }
}

impl PStatus {
    pub(crate) const fn from_u8(v: u8) -> Self {
        match v {
            0 => Self::Idle,
            1 => Self::Running,
            2 => Self::Syscall,
            3 => Self::Gcstop,
            4 => Self::Dead,
            _ => panic!("not a processor status"),
        }
    }

    /// Whether the edge `self -> to` is one the scheduler may take.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        use PStatus::{Dead, Gcstop, Idle, Running, Syscall};
        matches!(
            (self, to),
            (Idle, Running)                 // acquirep
                | (Running, Idle)           // releasep, retake of a running P
                | (Running, Syscall)        // entersyscall
                | (Syscall, Idle)           // exitsyscall and sysmon: the P changes hands by way of idle
                | (Running | Syscall | Idle, Gcstop) // stop-the-world
                | (Gcstop, Idle)            // start-the-world
                | (Gcstop, Dead)            // set_procs lowers the count
                | (Dead, Gcstop) // set_procs raises it again
        )
    }

    /// The state's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Syscall => "syscall",
            Self::Gcstop => "gcstop",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Debug for GStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{GStatus, PStatus};

    const GS: [GStatus; 6] = [
        GStatus::Idle,
        GStatus::Runnable,
        GStatus::Running,
        GStatus::Syscall,
        GStatus::Waiting,
        GStatus::Dead,
    ];
    const PS: [PStatus; 5] = [
        PStatus::Idle,
        PStatus::Running,
        PStatus::Syscall,
        PStatus::Gcstop,
        PStatus::Dead,
    ];

    #[test]
    fn r28_goroutine_edges_are_exactly_these() {
        let edges: Vec<_> = GS
            .iter()
            .flat_map(|a| GS.iter().map(move |b| (*a, *b)))
            .filter(|(a, b)| a.may_become(*b))
            .map(|(a, b)| format!("{a:?}>{b:?}"))
            .collect();
        assert_eq!(
            edges.join(" "),
            "idle>dead runnable>running running>runnable running>syscall running>waiting \
             running>dead syscall>runnable syscall>running waiting>runnable dead>runnable"
        );
    }

    #[test]
    fn r27_syscall_reaches_running_only_by_way_of_idle() {
        assert!(!PStatus::Syscall.may_become(PStatus::Running));
        assert!(PStatus::Syscall.may_become(PStatus::Idle));
        assert!(PStatus::Idle.may_become(PStatus::Running));
        for p in PS {
            assert!(!p.may_become(p), "{p:?} has no edge to itself");
        }
    }

    #[test]
    fn numbers_round_trip() {
        for g in GS {
            assert_eq!(GStatus::from_u8(g as u8), g);
        }
        for p in PS {
            assert_eq!(PStatus::from_u8(p as u8), p);
        }
    }
}
