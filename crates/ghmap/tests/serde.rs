//! A map as a map and a set as a sequence.
#![cfg(all(feature = "serde", feature = "default-hasher"))]

use ghmap::{HashMap, HashSet};

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
