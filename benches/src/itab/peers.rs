//! intertrait's casts between trait objects, and bevy_reflect's type data.

use super::{T0, T1, T2, T3, T4, T5, T6, T7, VALUES, of_type, over};

use ::intertrait::cast::CastRef;
use ::intertrait::{CastFrom, castable_to};
use bevy_reflect::{Reflect, TypeRegistry, reflect_trait};
use gort_benches::harness::Context;

/// What intertrait casts from.
trait Source: CastFrom {}

/// What the values are asked for.
trait Read {
    fn read(&self) -> u64;
}

/// Nobody has it.
trait Lacks {}

#[reflect_trait]
pub(crate) trait Ask {
    fn ask(&self) -> u64;
}

/// Nobody has it.
#[reflect_trait]
trait Absent {}

macro_rules! sources {
    ($($t:ident)*) => {
        $(
            impl Source for $t {}
            castable_to!($t => Read);
            impl Read for $t {
                fn read(&self) -> u64 {
                    self.0
                }
            }
            impl Ask for $t {
                fn ask(&self) -> u64 {
                    self.0
                }
            }
        )*
        fn registry() -> TypeRegistry {
            let mut registry = TypeRegistry::new();
            $( registry.register::<$t>(); )*
            registry
        }
    };
}
sources!(T0 T1 T2 T3 T4 T5 T6 T7);

fn sources(types: u64) -> Vec<Box<dyn Source>> {
    let value = |i: u64| -> Box<dyn Source> { of_type!(i, types, T => Box::new(T { 0: i })) };
    (0..VALUES).map(value).collect()
}

fn reflected(types: u64) -> Vec<Box<dyn Reflect>> {
    let value = |i: u64| -> Box<dyn Reflect> { of_type!(i, types, T => Box::new(T { 0: i })) };
    (0..VALUES).map(value).collect()
}

fn cast(c: &Context, types: u64) {
    let sources = sources(types);
    let read = |s: &dyn Source| s.cast::<dyn Read>().map(Read::read);
    let sum: u64 = sources.iter().filter_map(|s| read(&**s)).sum();
    assert_eq!(sum, VALUES * (VALUES - 1) / 2);
    over(c, &sources, VALUES, |s| {
        u64::from((**s).cast::<dyn Read>().is_some())
    });
}

pub(super) fn intertrait(workload: &str) -> Option<fn(&Context)> {
    Some(match workload {
        "hit_1" => |c| cast(c, 1),
        "hit_8" => |c| cast(c, 8),
        "miss_8" => |c| {
            over(c, &sources(8), 0, |s| {
                u64::from((**s).cast::<dyn Lacks>().is_some())
            });
        },
        _ => return None,
    })
}

fn find(c: &Context, types: u64) {
    let (registry, values) = (registry(), reflected(types));
    let ask = |r: &dyn Reflect| {
        let data = registry.get_type_data::<ReflectAsk>(r.as_any().type_id())?;
        data.get(r).map(Ask::ask)
    };
    let sum: u64 = values.iter().filter_map(|r| ask(&**r)).sum();
    assert_eq!(sum, VALUES * (VALUES - 1) / 2);
    over(c, &values, VALUES, |r| {
        let data = registry.get_type_data::<ReflectAsk>((**r).as_any().type_id());
        u64::from(data.and_then(|data| data.get(&**r)).is_some())
    });
}

pub(super) fn bevy(workload: &str) -> Option<fn(&Context)> {
    Some(match workload {
        "hit_1" => |c| find(c, 1),
        "hit_8" => |c| find(c, 8),
        "miss_8" => |c| {
            let registry = registry();
            over(c, &reflected(8), 0, |r| {
                let data = registry.get_type_data::<ReflectAbsent>((**r).as_any().type_id());
                u64::from(data.and_then(|data| data.get(&**r)).is_some())
            });
        },
        "assert_type" => |c| {
            over(c, &reflected(8), VALUES / 8, |r| {
                u64::from(r.downcast_ref::<T0>().is_some())
            });
        },
        _ => return None,
    })
}
