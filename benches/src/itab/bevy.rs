//! bevy_reflect: traits of a type by its registry's data.

use super::{T0, T1, T2, T3, T4, T5, T6, T7, VALUES, answers, of_type, over};
use gort_benches::harness::Context;

use ::bevy_reflect::{Reflect, TypeRegistry, reflect_trait};

#[reflect_trait]
pub(crate) trait Ask {
    fn ask(&self) -> u64;
}

/// Nobody has it.
#[reflect_trait]
trait Absent {}

macro_rules! reflected {
    ($($t:ident)*) => {
        $(
            impl Ask for $t {
                fn ask(&self) -> u64 {
                    self.get()
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
reflected!(T0 T1 T2 T3 T4 T5 T6 T7);

fn reflected(types: u64) -> Vec<Box<dyn Reflect>> {
    let value = |i: u64| -> Box<dyn Reflect> { of_type!(i, types, T => Box::new(T { 0: i })) };
    (0..VALUES).map(value).collect()
}

fn find(c: &Context, types: u64) {
    let (registry, values) = (registry(), reflected(types));
    let ask = |r: &dyn Reflect| {
        let data = registry.get_type_data::<ReflectAsk>(r.as_any().type_id())?;
        data.get(r).map(Ask::ask)
    };
    let sum: u64 = values.iter().filter_map(|r| ask(&**r)).sum();
    assert_eq!(sum, answers(types));
    over(c, &values, VALUES, |r| {
        let data = registry.get_type_data::<ReflectAsk>((**r).as_any().type_id());
        u64::from(data.and_then(|data| data.get(&**r)).is_some())
    });
}

pub(super) fn workload(name: &str) -> Option<fn(&Context)> {
    Some(match name {
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
