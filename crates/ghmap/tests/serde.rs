//! A map as a map and a set as a sequence.
#![cfg(all(feature = "serde", feature = "default-hasher"))]

use ghmap::{HashMap, HashSet};
use serde::Deserialize;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};

#[test]
fn maps_and_sets_survive_the_round_trip() {
    let map: HashMap<String, u32> = (0..500).map(|i| (format!("k{i}"), i)).collect();
    let text = serde_json::to_string(&map).expect("serialised");
    let back: HashMap<String, u32> = serde_json::from_str(&text).expect("deserialised");
    assert!(back == map);
    let set: HashSet<u32> = (0..500).collect();
    let text = serde_json::to_string(&set).expect("serialised");
    let back: HashSet<u32> = serde_json::from_str(&text).expect("deserialised");
    assert!(back == set);
    let mut place: HashSet<u32> = [9].into();
    let mut input = serde_json::Deserializer::from_str("[1,2]");
    serde::Deserialize::deserialize_in_place(&mut input, &mut place).expect("deserialised");
    assert!(place == [1, 2].into());
    assert!(serde_json::from_str::<HashMap<u32, u32>>("[1]").is_err());
}

/// An iterator that claims to be endless.
struct Boastful<I>(I);

impl<I: Iterator> Iterator for Boastful<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, Some(usize::MAX))
    }
}

#[test]
fn what_the_input_claims_reserves_little() {
    let input = MapDeserializer::<_, Error>::new(Boastful((0..3u32).map(|i| (i, i))));
    let map = HashMap::<u32, u32>::deserialize(input).expect("three entries");
    assert_eq!((map.len(), map.get(&2)), (3, Some(&2)));
    assert!(map.capacity() < 10_000);
    let input = SeqDeserializer::<_, Error>::new(Boastful(0..3u32));
    let set = HashSet::<u32>::deserialize(input).expect("three elements");
    assert!(set.len() == 3 && set.capacity() < 10_000);
}
