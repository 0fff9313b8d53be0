//! The states of a G, and the edges between them (R28); those of a P stand in [`crate::p_status`].
//!
//! Re-creates the `_Gidle ...` constants of Go 1.19's `runtime2.go` together with the rules that Go
//! keeps only in comments: which state may follow which. A status is written only by whoever owns
//! the G at that moment, so it is a record of what the owner does
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

impl fmt::Debug for GStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::GStatus;

    const GS: [GStatus; 6] = [
        GStatus::Idle,
        GStatus::Runnable,
        GStatus::Running,
        GStatus::Syscall,
        GStatus::Waiting,
        GStatus::Dead,
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
    #[cfg(debug_assertions)]
    #[should_panic(expected = "no edge dead -> running")]
    fn r28_an_edge_that_is_not_there_trips() {
        let g = crate::runtime2::G::new();
        g.set_status(GStatus::Dead);
        g.set_status(GStatus::Running);
    }

    #[test]
    fn numbers_round_trip() {
        for g in GS {
            assert_eq!(GStatus::from_u8(g as u8), g);
        }
    }
}
