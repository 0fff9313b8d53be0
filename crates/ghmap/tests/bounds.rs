//! What must compile because it does with hashbrown: types that are covariant in their entries, and what may be
//! sent, pinned or used after a panic whatever the entries are.

use ghmap::{HashMap, HashSet, HashTable, hash_map, hash_set, hash_table};
use std::cell::Cell;
use std::marker::PhantomPinned;
use std::panic::UnwindSafe;

type Long = &'static str;

#[test]
fn what_only_gives_entries_away_is_covariant() {
    fn map<'s>(x: HashMap<Long, Long>) -> HashMap<&'s str, &'s str> {
        x
    }
    fn set<'s>(x: HashSet<Long>) -> HashSet<&'s str> {
        x
    }
    fn table<'s>(x: HashTable<Long>) -> HashTable<&'s str> {
        x
    }
    fn map_iter<'s>(
        x: hash_map::Iter<'static, Long, Long>,
    ) -> hash_map::Iter<'s, &'s str, &'s str> {
        x
    }
    fn map_into<'s>(x: hash_map::IntoIter<Long, Long>) -> hash_map::IntoIter<&'s str, &'s str> {
        x
    }
    fn map_keys<'s>(
        x: hash_map::Keys<'static, Long, Long>,
    ) -> hash_map::Keys<'s, &'s str, &'s str> {
        x
    }
    fn map_values<'s>(
        x: hash_map::Values<'static, Long, Long>,
    ) -> hash_map::Values<'s, &'s str, &'s str> {
        x
    }
    fn map_drain<'s>(
        x: hash_map::Drain<'static, Long, Long>,
    ) -> hash_map::Drain<'s, &'s str, &'s str> {
        x
    }
    fn set_iter<'s>(x: hash_set::Iter<'static, Long>) -> hash_set::Iter<'s, &'s str> {
        x
    }
    fn set_drain<'s>(x: hash_set::Drain<'static, Long>) -> hash_set::Drain<'s, &'s str> {
        x
    }
    fn table_drain<'s>(x: hash_table::Drain<'static, Long>) -> hash_table::Drain<'s, &'s str> {
        x
    }
    fn table_unsafe<'s>(
        x: hash_table::UnsafeIter<'static, Long>,
    ) -> hash_table::UnsafeIter<'s, &'s str> {
        x
    }
    let _ = (map, set, table, map_iter, map_into, map_keys, map_values);
    let _ = (map_drain, set_iter, set_drain, table_drain, table_unsafe);
}

#[test]
fn iterators_and_entries_are_what_references_to_the_entries_would_be() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    fn unpin<T: Unpin>() {}
    fn unwind_safe<T: UnwindSafe>() {}
    // A key that may be sent and not shared: nobody else has a reference to it meanwhile.
    send::<hash_map::IterMut<'_, Cell<u8>, u8>>();
    send::<hash_map::ValuesMut<'_, Cell<u8>, Cell<u8>>>();
    send::<hash_map::Drain<'_, Cell<u8>, Cell<u8>>>();
    send::<hash_set::Drain<'_, Cell<u8>>>();
    send::<hash_table::UnsafeIter<'_, Cell<u8>>>();
    // What a shared one lends are references.
    sync::<hash_table::UnsafeIter<'_, u8>>();
    unpin::<hash_map::Iter<'_, PhantomPinned, PhantomPinned>>();
    unpin::<hash_map::IterMut<'_, PhantomPinned, PhantomPinned>>();
    unpin::<hash_map::OccupiedEntry<'_, PhantomPinned, PhantomPinned, ()>>();
    unpin::<hash_table::IterHash<'_, PhantomPinned>>();
    unpin::<hash_table::OccupiedEntry<'_, PhantomPinned>>();
    unpin::<hash_set::Iter<'_, PhantomPinned>>();
    unpin::<hash_map::Drain<'_, PhantomPinned, PhantomPinned>>();
    unpin::<hash_set::Drain<'_, PhantomPinned>>();
    unpin::<hash_table::Drain<'_, PhantomPinned>>();
    unpin::<hash_table::UnsafeIter<'_, PhantomPinned>>();
    unwind_safe::<HashMap<u8, Cell<u8>>>();
    unwind_safe::<hash_map::Iter<'_, Option<&mut u8>, u8>>();
    unwind_safe::<hash_map::Drain<'_, u8, u8>>();
}

#[cfg(feature = "rayon")]
#[test]
fn parallel_iterators_ask_of_the_entries_what_they_use() {
    use rayon::iter::{IntoParallelIterator, ParallelExtend, ParallelIterator};
    let mut map: HashMap<i32, i32, std::hash::RandomState> = HashMap::default();
    map.extend((0..100).map(|i| (i, i)));
    let mut by_cell: HashMap<Rare, Cell<i32>, std::hash::RandomState> = HashMap::default();
    by_cell.extend((0..100).map(|i| (Rare(Cell::new(i)), Cell::new(i))));
    by_cell.par_values_mut().for_each(|v| v.set(v.get() + 1));
    assert_eq!(by_cell.values().map(Cell::get).sum::<i32>(), 5050);
    let drained: hash_map::rayon::ParDrain<'_, _, _, ghmap::Global> = map.par_drain();
    assert_eq!(drained.count(), 100);
    let owned: hash_map::rayon::IntoParIter<_, _, ghmap::Global> = by_cell.into_par_iter();
    assert_eq!(owned.map(|(k, _)| k.0.get()).sum::<i32>(), 4950);
    map.par_extend(
        &[(1, 2), (3, 4)]
            .into_iter()
            .collect::<std::collections::HashMap<_, _>>(),
    );
    assert_eq!(map[&3], 4);

    // References are cloned, not what they are to.
    fn clone<T: Clone>() {}
    clone::<hash_map::rayon::ParIter<'_, Rare, Rare>>();
    clone::<hash_set::rayon::ParIter<'_, Rare>>();
    clone::<hash_table::rayon::ParIter<'_, Rare>>();

    #[derive(PartialEq, Eq)]
    struct Rare(Cell<i32>);

    impl std::hash::Hash for Rare {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.get().hash(state);
        }
    }
}
