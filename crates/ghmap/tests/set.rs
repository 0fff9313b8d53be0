//! Sets against `std`'s, pair by pair: what two of them have in common, or not, by every way to ask for it.

use ghmap::HashSet;
use ghmap::hash_set::Entry;
use std::collections::BTreeSet;
use std::hash::RandomState;
use std::ops::Range;
use std::rc::Rc;

type Set = HashSet<u32, RandomState>;
type Model = BTreeSet<u32>;

/// Pairs that are equal, disjoint, one inside the other, or overlap, the larger first or last.
fn pairs() -> impl Iterator<Item = (Set, Set, Model, Model)> {
    let ranges = [0..0, 0..3, 0..100, 50..100, 50..300, 100..110, 0..300];
    let all = |range: &Range<u32>| (range.clone().collect(), range.clone().collect());
    let pairs = ranges.clone().into_iter().flat_map(move |a| {
        let others = ranges.clone().into_iter();
        others.map(move |b| (a.clone(), b))
    });
    pairs.map(move |(a, b)| {
        let ((a, model_a), (b, model_b)) = (all(&a), all(&b));
        (a, b, model_a, model_b)
    })
}

/// Each element once.
fn once(elements: impl IntoIterator<Item = u32>) -> Model {
    let (mut set, mut n) = (Model::new(), 0);
    for element in elements {
        n += 1;
        set.insert(element);
    }
    assert_eq!(n, set.len(), "an element twice");
    set
}

#[test]
fn two_sets_have_in_common_what_std_says() {
    for (a, b, x, y) in pairs() {
        let (difference, both) = (&x - &y, &x & &y);
        let (either, one) = (&x | &y, &x ^ &y);
        assert_eq!(once(a.difference(&b).copied()), difference);
        assert_eq!(once(a.intersection(&b).copied()), both);
        assert_eq!(once(a.union(&b).copied()), either);
        assert_eq!(once(a.symmetric_difference(&b).copied()), one);
        assert_eq!(once(&a - &b), difference);
        assert_eq!(once(&a & &b), both);
        assert_eq!(once(&a | &b), either);
        assert_eq!(once(&a ^ &b), one);
        assert_eq!(a.is_subset(&b), x.is_subset(&y));
        assert_eq!(a.is_superset(&b), x.is_superset(&y));
        assert_eq!(a.is_disjoint(&b), x.is_disjoint(&y));
        assert_eq!(a == b, x == y);
    }
}

#[test]
fn assigning_the_result_is_the_same() {
    for (a, b, x, y) in pairs() {
        let assigned = |operator: fn(&mut Set, &Set)| {
            let mut a = a.clone();
            operator(&mut a, &b);
            assert_eq!(a.len(), a.iter().count());
            once(a)
        };
        assert_eq!(assigned(|a, b| *a -= b), &x - &y);
        assert_eq!(assigned(|a, b| *a &= b), &x & &y);
        assert_eq!(assigned(|a, b| *a |= b), &x | &y);
        assert_eq!(assigned(|a, b| *a ^= b), &x ^ &y);
    }
}

#[test]
fn an_element_that_is_present_stays_unless_it_is_replaced() {
    let [first, second, third] = [(); 3].map(|()| Rc::new(1));
    let mut set: HashSet<Rc<u32>, RandomState> = HashSet::default();
    assert!(set.insert(first.clone()));
    assert!(!set.insert(second.clone()));
    set |= &[second.clone()].into_iter().collect();
    assert!(Rc::ptr_eq(set.get_or_insert(second.clone()), &first));
    assert!(Rc::ptr_eq(
        set.get_or_insert_with(&second, Rc::clone),
        &first
    ));
    set.entry(second.clone()).or_insert();
    assert!(set.get(&second).is_some_and(|e| Rc::ptr_eq(e, &first)));
    let old = set.replace(second.clone());
    assert!(old.is_some_and(|e| Rc::ptr_eq(&e, &first)));
    assert!(set.take(&third).is_some_and(|e| Rc::ptr_eq(&e, &second)));
    assert!(set.replace(third.clone()).is_none());
    match set.entry(second) {
        Entry::Occupied(entry) => assert!(Rc::ptr_eq(&entry.remove(), &third)),
        Entry::Vacant(_) => unreachable!("it was put there"),
    }
    assert!(set.is_empty() && set.take(&first).is_none() && !set.remove(&first));
}

#[test]
#[should_panic(expected = "not equivalent")]
fn no_other_element_is_made_than_was_looked_for() {
    let mut set: HashSet<String, RandomState> = HashSet::default();
    set.get_or_insert_with("a", |_| "b".to_string());
}

#[cfg(feature = "rayon")]
#[test]
fn two_sets_have_in_common_what_std_says_in_parallel() {
    use rayon::iter::{IntoParallelIterator, ParallelExtend, ParallelIterator};
    for (mut a, b, x, y) in pairs() {
        let once = |elements: Vec<u32>| once(elements);
        assert_eq!(once(a.par_difference(&b).copied().collect()), &x - &y);
        assert_eq!(once(a.par_intersection(&b).copied().collect()), &x & &y);
        assert_eq!(once(a.par_union(&b).copied().collect()), &x | &y);
        let one = a.par_symmetric_difference(&b).copied();
        assert_eq!(once(one.collect()), &x ^ &y);
        assert_eq!(a.par_is_subset(&b), x.is_subset(&y));
        assert_eq!(a.par_is_superset(&b), x.is_superset(&y));
        assert_eq!(a.par_is_disjoint(&b), x.is_disjoint(&y));
        assert_eq!(a.par_eq(&b), x == y);
        assert_eq!(once(a.clone().into_par_iter().collect()), x);
        a.par_extend(&b);
        assert_eq!(once((&a).into_par_iter().copied().collect()), &x | &y);
        assert_eq!(once(a.par_drain().collect()), &x | &y);
        assert!(a.is_empty());
        a.par_extend(b.into_par_iter());
        assert_eq!(once(a.into_iter().collect()), y);
    }
}
