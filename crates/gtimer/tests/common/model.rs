//! What the models against a map share: the times that they draw, and how an operation names a timer.

use proptest::prelude::*;
use std::collections::BTreeMap;

/// Often close together, so that timers collide; at times far away, or overflowing.
pub(crate) fn after() -> impl Strategy<Value = i64> {
    prop_oneof![12 => 0..40_i64, 4 => 0..2_000_i64, 1 => Just(i64::MAX)]
}

/// What names a timer in an operation; see [`named`].
pub(crate) fn name() -> impl Strategy<Value = usize> + Clone {
    any::<u16>().prop_map(usize::from)
}

/// The number of the living timer that an operation names: by its place, modulo how many there are.
pub(crate) fn named<T>(living: &BTreeMap<usize, T>, name: usize) -> Option<usize> {
    let place = name.checked_rem(living.len())?;
    living.keys().nth(place).copied()
}
