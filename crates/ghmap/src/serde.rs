//! `Serialize` and `Deserialize`: a map as a map, a set as a sequence.

use crate::{Allocator, HashMap, HashSet};
use ::serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use ::serde::ser::{Serialize, Serializer};
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::marker::PhantomData;

/// What a length that the input claims may reserve at most, in entries: input is not to be trusted
/// with the memory.
const CAUTIOUS: usize = 4096;

impl<K: Serialize + Eq + Hash, V: Serialize, H: BuildHasher, A: Allocator> Serialize
    for HashMap<K, V, H, A>
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<T: Serialize + Eq + Hash, H: BuildHasher, A: Allocator> Serialize for HashSet<T, H, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de, K, V, S, A> Deserialize<'de> for HashMap<K, V, S, A>
where
    K: Deserialize<'de> + Eq + Hash,
    V: Deserialize<'de>,
    S: BuildHasher + Default,
    A: Allocator + Default,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}

struct MapVisitor<K, V, S, A: Allocator>(PhantomData<HashMap<K, V, S, A>>);

impl<'de, K, V, S, A> Visitor<'de> for MapVisitor<K, V, S, A>
where
    K: Deserialize<'de> + Eq + Hash,
    V: Deserialize<'de>,
    S: BuildHasher + Default,
    A: Allocator + Default,
{
    type Value = HashMap<K, V, S, A>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut entries: M) -> Result<Self::Value, M::Error> {
        let n = entries.size_hint().unwrap_or(0).min(CAUTIOUS);
        let mut map = HashMap::with_capacity_and_hasher_in(n, S::default(), A::default());
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(map)
    }
}

impl<'de, T, S, A> Deserialize<'de> for HashSet<T, S, A>
where
    T: Deserialize<'de> + Eq + Hash,
    S: BuildHasher + Default,
    A: Allocator + Default,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut set = HashSet::default();
        Self::deserialize_in_place(deserializer, &mut set)?;
        Ok(set)
    }

    fn deserialize_in_place<D: Deserializer<'de>>(
        deserializer: D,
        place: &mut Self,
    ) -> Result<(), D::Error> {
        place.clear();
        deserializer.deserialize_seq(SetVisitor(place))
    }
}

struct SetVisitor<'a, T, S, A: Allocator>(&'a mut HashSet<T, S, A>);

impl<'de, T, S, A> Visitor<'de> for SetVisitor<'_, T, S, A>
where
    T: Deserialize<'de> + Eq + Hash,
    S: BuildHasher,
    A: Allocator,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<M: SeqAccess<'de>>(self, mut elements: M) -> Result<(), M::Error> {
        self.0
            .reserve(elements.size_hint().unwrap_or(0).min(CAUTIOUS));
        while let Some(element) = elements.next_element()? {
            self.0.insert(element);
        }
        Ok(())
    }
}
