//! gitab: `Eface` is Go's `interface{}`.

use super::{T0, T1, T2, T3, T4, T5, T6, T7, VALUES, answers, cold, of_type, over};

use ::gitab::{Eface, type_switch};
use gort_benches::harness::Context;

::gitab::interface! { trait Get { fn get(&self) -> u64; } }
::gitab::interface! { trait Absent { fn get(&self) -> u64; fn set(&self); } }

/// They live as long as the process.
fn efaces(types: u64) -> Vec<Eface<'static>> {
    let value = |i: u64| of_type!(i, types, T => Eface::new(Box::leak(Box::new(T { 0: i }))));
    (0..VALUES).map(value).collect()
}

fn hit(c: &Context, types: u64) {
    let values = efaces(types);
    let get = |e: &Eface| e.assert::<dyn Get>().map(|i| i.get());
    assert_eq!(values.iter().filter_map(get).sum::<u64>(), answers(types));
    over(c, &values, VALUES, |e| {
        u64::from(e.assert::<dyn Get>().is_some())
    });
}

pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    Some(match name {
        "hit_1" => |c| hit(c, 1),
        "hit_8" => |c| hit(c, 8),
        "miss_8" => |c| {
            over(c, &efaces(8), 0, |e| {
                u64::from(e.assert::<dyn Absent>().is_some())
            });
        },
        "assert_type" => |c| {
            over(c, &efaces(8), VALUES / 8, |e| {
                u64::from(e.downcast::<T0>().is_some())
            });
        },
        "switch_8" => |c| {
            over(c, &efaces(8), VALUES * 36 / 8, |e| {
                type_switch!(*e, {
                    _x: T0 => 1, _x: T1 => 2, _x: T2 => 3, _x: T3 => 4,
                    _x: T4 => 5, _x: T5 => 6, _x: T6 => 7, _x: T7 => 8,
                    _ => 0,
                })
            });
        },
        "cold_build" => cold::cold_build,
        "hit_10k" => cold::hit_10k,
        _ => return None,
    })
}
