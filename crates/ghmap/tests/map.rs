//! Rules of `std`'s map that the model of `model.rs` does not see.

use ghmap::hash_map::{Entry, EntryRef};
use ghmap::{HashMap, HashSet};
use std::hash::{Hash, Hasher, RandomState};
use std::ops::Range;
use std::rc::Rc;

#[test]
fn a_key_that_is_present_stays_when_its_value_is_replaced() {
    let (first, second) = (Rc::new(1), Rc::new(1));
    let mut map: HashMap<Rc<u32>, u32, RandomState> = HashMap::default();
    map.insert(first.clone(), 1);
    assert_eq!(map.insert(second.clone(), 2), Some(1));
    map.entry(second.clone()).and_modify(|v| *v += 1);
    map.extend([(second.clone(), 4)]);
    let (key, value) = map.get_key_value(&second).expect("present");
    assert!(Rc::ptr_eq(key, &first));
    assert_eq!((*value, Rc::strong_count(&second)), (4, 1));
}

#[test]
#[should_panic(expected = "duplicate")]
fn one_value_is_not_lent_twice() {
    let mut map: HashMap<u32, u32, RandomState> = HashMap::default();
    map.extend((0..100).map(|i| (i, i)));
    let _ = map.get_disjoint_mut([&1, &2, &1]);
}

#[test]
fn absent_keys_may_be_asked_for_twice() {
    let mut map: HashMap<u32, u32, RandomState> = HashMap::default();
    map.insert(1, 1);
    assert_eq!(
        map.get_disjoint_mut([&2, &1, &2]),
        [None, Some(&mut 1), None]
    );
}

#[test]
fn extract_if_promises_no_more_than_it_has_not_looked_at() {
    let mut map: HashMap<u32, u32, RandomState> = HashMap::default();
    map.extend((0..100).map(|i| (i, i)));
    let mut looked = 0;
    let mut walk = map.extract_if(|_, v| {
        looked += 1;
        *v % 2 == 0
    });
    assert_eq!(walk.size_hint(), (0, Some(100)));
    assert!(walk.next().is_some());
    let (_, most) = walk.size_hint();
    assert_eq!(walk.by_ref().count(), 49);
    assert_eq!(walk.size_hint(), (0, Some(0)));
    assert!(most.is_some_and(|most| (49..100).contains(&most)));
    assert_eq!(looked, 100);
}

#[test]
fn an_empty_map_reserves_what_an_iterator_promises() {
    /// An iterator that promises a thousand.
    struct Promising<I>(I);
    impl<I: Iterator> Iterator for Promising<I> {
        type Item = I::Item;
        fn next(&mut self) -> Option<I::Item> {
            self.0.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (1000, None)
        }
    }
    let ten = || Promising((0..10).map(|i| (i, i)));
    let mut extended: HashMap<u32, u32, RandomState> = HashMap::default();
    extended.extend(ten());
    let collected: HashMap<u32, u32, RandomState> = ten().collect();
    assert!(extended.capacity() >= 1000 && collected.capacity() >= 1000);
    // One that has entries grows by the way.
    extended.shrink_to_fit();
    extended.extend(ten());
    assert!(extended.capacity() < 1000 && extended == collected);
}

#[test]
fn set_operations_hint_at_their_length_and_lend_what_hashbrown_lends() {
    /// Equal by its number, whoever's it is.
    struct Owned(u32, char);
    impl PartialEq for Owned {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Owned {}
    impl Hash for Owned {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }
    let set = |range: Range<u32>, owner| -> HashSet<Owned, RandomState> {
        range.map(|n| Owned(n, owner)).collect()
    };
    let (large, small) = (set(0..10, 'l'), set(8..11, 's'));
    assert_eq!(large.difference(&small).size_hint(), (7, Some(10)));
    assert_eq!(small.difference(&large).size_hint(), (0, Some(3)));
    for (a, b) in [(&large, &small), (&small, &large)] {
        assert_eq!(a.intersection(b).size_hint(), (0, Some(3)));
        let both: Vec<char> = a.intersection(b).map(|o| o.1).collect();
        assert_eq!(both, ['s', 's'], "of the smaller");
        assert_eq!(a.union(b).filter(|o| o.1 == 'l').count(), 10, "the larger");
        assert_eq!(a.union(b).count(), 11);
    }
}

#[test]
fn a_map_is_not_equal_to_a_larger_one_that_has_all_of_it() {
    let small: HashMap<u32, u32, RandomState> = (0..3).map(|i| (i, i)).collect();
    let large: HashMap<u32, u32, RandomState> = (0..4).map(|i| (i, i)).collect();
    assert_ne!(small, large);
    assert_ne!(large, small);
    assert_eq!(small, small.clone());
    let other: HashMap<u32, u32, RandomState> = (0..3).map(|i| (i, 2)).collect();
    assert_ne!(small, other);
}

#[test]
#[should_panic(expected = "replaced Key is not equal to the new Key")]
fn a_key_is_not_replaced_by_another() {
    let mut map: HashMap<u32, u32, RandomState> = [(1, 1)].into_iter().collect();
    if let Entry::Occupied(mut entry) = map.entry(1) {
        entry.replace_key(2);
    }
}

#[test]
#[should_panic(expected = "not equivalent to the one used for insertion")]
fn an_entry_takes_no_other_key_than_was_looked_for() {
    let mut map: HashMap<String, u32, RandomState> = HashMap::default();
    if let EntryRef::Vacant(entry) = map.entry_ref("a") {
        entry.insert_with_key("b".to_string(), 1);
    }
}

#[test]
fn a_map_is_extended_by_borrowed_entries() {
    let from: HashMap<u32, u32, RandomState> = (0..100).map(|i| (i, i)).collect();
    let mut map: HashMap<u32, u32, RandomState> = HashMap::default();
    map.extend(&from);
    map.extend(&[(100, 1), (101, 2)]);
    assert_eq!((map.len(), map[&99], map[&101]), (102, 99, 2));
}

#[cfg(feature = "rayon")]
#[test]
fn maps_are_compared_and_shown_in_parallel_as_they_are_by_one() {
    use rayon::iter::{IntoParallelRefIterator, IntoParallelRefMutIterator};
    let map = |n: u32, plus: u32| -> HashMap<u32, u32, RandomState> {
        (0..n).map(|i| (i, i + plus)).collect()
    };
    for (a, b) in [((0, 0), (0, 1)), ((50, 0), (50, 0)), ((50, 0), (50, 1))] {
        let (a, b) = (map(a.0, a.1), map(b.0, b.1));
        assert_eq!(a.par_eq(&b), a == b);
        assert!(!a.par_eq(&map(60, 0)) && !map(60, 0).par_eq(&a));
    }
    let mut few = map(5, 10);
    let shown = [
        format!("{:?}", few.par_iter()),
        format!("{:?}", few.par_keys()),
        format!("{:?}", few.par_values()),
        format!("{:?}", few.par_iter_mut()),
        format!("{:?}", few.par_values_mut()),
    ];
    let (entries, keys, values) = (few.iter(), few.keys(), few.values());
    let (entries, values) = (format!("{entries:?}"), format!("{values:?}"));
    assert_eq!(
        shown.each_ref(),
        [&entries, &format!("{keys:?}"), &values, &entries, &values]
    );
}
