//! Figures of a pool, for reports and tests.

use crate::shards::Shards;
use crate::sync::Ordering;

/// What a pool holds, and what happened in it since it was made. From
/// [`Pool::stats`](crate::Pool::stats). Hits of the thread's own shard are not counted: counting
/// would cost what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Slots that have a shard.
    pub slots: usize,
    /// Items put since the last age and not taken: a moment's truth while others use the pool.
    pub idle: usize,
    /// Items that the next age drops.
    pub victim: usize,
    /// Items made because the pool had none.
    pub created: u64,
    /// Gets served from another slot's shard.
    pub stolen: u64,
    /// Gets served from the victim.
    pub revived: u64,
    /// Ages.
    pub ages: u64,
    /// Items that ages dropped.
    pub aged_out: u64,
}

impl Stats {
    pub(crate) fn of<T>(shards: &Shards<T>, created: u64) -> Self {
        let (slots, idle, victim) = shards.census();
        let counters = &shards.counters;
        Self {
            slots,
            idle,
            victim,
            created,
            stolen: counters.stolen.load(Ordering::Relaxed),
            revived: counters.revived.load(Ordering::Relaxed),
            ages: counters.ages.load(Ordering::Relaxed),
            aged_out: counters.aged_out.load(Ordering::Relaxed),
        }
    }
}
