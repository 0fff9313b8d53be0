//! Why a goroutine waits, in the words of Go's tracebacks (`waitReasonStrings`, Go 1.19).

use core::fmt;

/// Why a goroutine waits; shown in reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum WaitReason {
    /// A park by code that gave no other reason.
    Park = 0,
    /// A receive from a channel.
    ChanReceive,
    /// A send to a channel.
    ChanSend,
    /// A receive from a nil channel: for ever.
    ChanReceiveNil,
    /// A send to a nil channel: for ever.
    ChanSendNil,
    /// A select.
    Select,
    /// A select without cases: for ever.
    SelectNoCases,
    /// A sleep.
    Sleep,
    /// The end of another goroutine.
    Join,
    /// A semaphore.
    SemAcquire,
    /// A mutex.
    MutexLock,
    /// The read side of a reader-writer lock.
    RwLockRead,
    /// The write side of a reader-writer lock.
    RwLockWrite,
    /// A condition variable.
    CondWait,
    /// A wait group.
    WaitGroupWait,
    /// Readiness of a file descriptor.
    IoWait,
    /// A future that returned `Pending`.
    Future,
}

impl WaitReason {
    const ALL: [Self; 17] = [
        Self::Park,
        Self::ChanReceive,
        Self::ChanSend,
        Self::ChanReceiveNil,
        Self::ChanSendNil,
        Self::Select,
        Self::SelectNoCases,
        Self::Sleep,
        Self::Join,
        Self::SemAcquire,
        Self::MutexLock,
        Self::RwLockRead,
        Self::RwLockWrite,
        Self::CondWait,
        Self::WaitGroupWait,
        Self::IoWait,
        Self::Future,
    ];

    pub(crate) fn from_u8(v: u8) -> Self {
        Self::ALL[v as usize]
    }

    /// Go's words for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Park => "park",
            Self::ChanReceive => "chan receive",
            Self::ChanSend => "chan send",
            Self::ChanReceiveNil => "chan receive (nil chan)",
            Self::ChanSendNil => "chan send (nil chan)",
            Self::Select => "select",
            Self::SelectNoCases => "select (no cases)",
            Self::Sleep => "sleep",
            Self::Join => "join",
            Self::SemAcquire => "semacquire",
            Self::MutexLock => "sync.Mutex.Lock",
            Self::RwLockRead => "sync.RWMutex.RLock",
            Self::RwLockWrite => "sync.RWMutex.Lock",
            Self::CondWait => "sync.Cond.Wait",
            Self::WaitGroupWait => "sync.WaitGroup.Wait",
            Self::IoWait => "IO wait",
            Self::Future => "future",
        }
    }
}

impl fmt::Debug for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::WaitReason;

    #[test]
    fn every_reason_round_trips_through_its_number() {
        for (i, r) in WaitReason::ALL.into_iter().enumerate() {
            assert_eq!(WaitReason::from_u8(i as u8), r);
        }
    }
}
