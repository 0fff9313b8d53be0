//! intertrait: casts between trait objects, found in a hash table of what was registered.

use super::{T0, T1, T2, T3, T4, T5, T6, T7, VALUES, answers, of_type, over};
use gort_benches::harness::Context;

use ::intertrait::cast::CastRef;
use ::intertrait::{CastFrom, castable_to};

/// What intertrait casts from.
trait Source: CastFrom {}

/// What the values are asked for.
trait Read {
    fn read(&self) -> u64;
}

/// Nobody has it.
trait Lacks {}

macro_rules! sources {
    ($($t:ident)*) => {
        $(
            impl Source for $t {}
            castable_to!($t => Read);
            impl Read for $t {
                fn read(&self) -> u64 {
                    self.get()
                }
            }
        )*
    };
}
sources!(T0 T1 T2 T3 T4 T5 T6 T7);

fn sources(types: u64) -> Vec<Box<dyn Source>> {
    let value = |i: u64| -> Box<dyn Source> { of_type!(i, types, T => Box::new(T { 0: i })) };
    (0..VALUES).map(value).collect()
}

fn cast(c: &Context, types: u64) {
    let sources = sources(types);
    let read = |s: &dyn Source| s.cast::<dyn Read>().map(Read::read);
    let sum: u64 = sources.iter().filter_map(|s| read(&**s)).sum();
    assert_eq!(sum, answers(types));
    over(c, &sources, VALUES, |s| {
        u64::from((**s).cast::<dyn Read>().is_some())
    });
}

pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    Some(match name {
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
