//! Nanoseconds per assertion, over values of 1 type and of 8 types in turn, beside
//! `Any::downcast_ref`. Every loop's answer is verified.
//!
//! What is measured is what the group `itab` of the workspace's `benches` measures, and Go's program there: one
//! loop over 1,024 values that counts answers, compiled as a function of its own. (Inlined into one large `main`
//! the same loop takes 0.2 to 0.4 ns more, for want of registers.) Times are the medians of rounds that take
//! milliseconds, so a machine that is slowed down by its neighbours shows in the range.
//!
//! Eight methods are eight functions, which add different numbers: equal ones would be merged, and a call through
//! a pointer that never changes is predicted.
//!
//! `cargo bench -p gitab`; arguments filter by name.

use std::any::Any;
use std::hint::black_box;
use std::time::Instant;

use gitab::{Assert, Eface, type_switch};

gitab::interface! { trait Get { fn get(&self) -> u64; } }
gitab::interface! { trait Absent { fn get(&self) -> u64; fn set(&self); } }

trait Read {
    fn read(&self) -> u64;
}

macro_rules! types {
    ($($t:ident $n:literal)*) => {
        $(
            struct $t(u64);
            impl $t { fn get(&self) -> u64 { self.0 + $n } }
            impl Read for $t { fn read(&self) -> u64 { self.0 + $n } }
            gitab::describe! { struct $t { fn get(&self) -> u64; } }
        )*
        fn register() { $( gitab::implements!($t: dyn Read); )* }
        const NAMES: &[&str] = &[$( stringify!($t) ),*];
    };
}
types!(T0 0 T1 1 T2 2 T3 3 T4 4 T5 5 T6 6 T7 7);

/// 1,024 values of the first `types` types, in turn.
struct Values {
    boxes: Vec<(usize, Box<dyn Any>)>,
}

impl Values {
    fn new(types: usize) -> Self {
        let value = |i: u64| -> (usize, Box<dyn Any>) {
            match i as usize % types {
                0 => (0, Box::new(T0(i))),
                1 => (1, Box::new(T1(i))),
                2 => (2, Box::new(T2(i))),
                3 => (3, Box::new(T3(i))),
                4 => (4, Box::new(T4(i))),
                5 => (5, Box::new(T5(i))),
                6 => (6, Box::new(T6(i))),
                _ => (7, Box::new(T7(i))),
            }
        };
        Self {
            boxes: (0..1024).map(value).collect(),
        }
    }

    fn efaces(&self) -> Vec<Eface<'_>> {
        self.boxes.iter().map(|(_, b)| eface(&**b)).collect()
    }
}

fn eface(value: &dyn Any) -> Eface<'_> {
    macro_rules! first {
        ($($t:ident)*) => {
            $( if let Some(v) = value.downcast_ref::<$t>() { return Eface::new(v); } )*
        };
    }
    first!(T0 T1 T2 T3 T4 T5 T6 T7);
    unreachable!("one of the eight");
}

/// One pass over the items: a function of its own, so that registers are not shared with the rest of the
/// program.
#[inline(never)]
fn pass<T>(items: &[T], f: &impl Fn(&T) -> u64) -> u64 {
    items.iter().map(f).sum()
}

/// Median and spread, over rounds, of the time of one call of `f` per item.
fn run<T>(name: &str, items: &[T], expect: u64, f: impl Fn(&T) -> u64) {
    if !std::env::args()
        .skip(1)
        .all(|a| a.starts_with('-') || name.contains(&a))
    {
        return;
    }
    let mut rounds = Vec::new();
    for round in 0..12 {
        let start = Instant::now();
        let mut sum = 0u64;
        const REPEAT: usize = 2000;
        for _ in 0..REPEAT {
            sum += pass(black_box(items), &f);
        }
        let ns = start.elapsed().as_nanos() as f64 / (REPEAT * items.len()) as f64;
        assert_eq!(sum, expect * REPEAT as u64, "{name}");
        if round > 1 {
            rounds.push(ns);
        }
    }
    rounds.sort_by(f64::total_cmp);
    println!(
        "{name:<34} {:>6.2} ns  ({:.2} to {:.2})",
        rounds[rounds.len() / 2],
        rounds[0],
        rounds[rounds.len() - 1]
    );
}

fn main() {
    register();
    assert_eq!(NAMES.len(), 8);
    for types in [1, 8] {
        let values = Values::new(types);
        let anys: Vec<&dyn Any> = values.boxes.iter().map(|b| &*b.1).collect();
        let efaces = values.efaces();
        let firsts = values.boxes.iter().filter(|b| b.0 == 0).count() as u64;
        let n = 1024;
        // Each type's methods are code of their own: they add the type's number.
        let kinds: u64 = values.boxes.iter().map(|b| b.0 as u64).sum();
        let called = n * (n - 1) / 2 + kinds;
        let each = |name: &str| format!("{name}, {types} types");

        run(&each("Any::downcast_ref"), &anys, firsts, |a: &&dyn Any| {
            u64::from(a.downcast_ref::<T0>().is_some())
        });
        run(&each("x.(T)"), &efaces, firsts, |e| {
            u64::from(e.downcast::<T0>().is_some())
        });
        run(&each("x.(I) hit"), &efaces, n, |e| {
            u64::from(e.assert::<dyn Get>().is_some())
        });
        run(&each("x.(I) miss"), &efaces, 0, |e| {
            u64::from(e.assert::<dyn Absent>().is_some())
        });
        run(&each("x.(I) hit and call"), &efaces, called, |e| {
            e.assert::<dyn Get>().map_or(0, |i| i.get())
        });
        run(&each("dyn A from Eface"), &efaces, n, |e| {
            u64::from(black_box(e.assert_dyn::<dyn Read>()).is_some())
        });
        run(&each("dyn A from dyn Any"), &anys, n, |a| {
            u64::from(black_box((*a).assert::<dyn Read>()).is_some())
        });
        run(&each("dyn A from dyn Any and call"), &anys, called, |a| {
            (*a).assert::<dyn Read>().map_or(0, |i| i.read())
        });
        run(&each("dyn A miss"), &anys, 0, |a| {
            u64::from((*a).assert::<dyn Send>().is_some())
        });
        run(&each("type switch of 8"), &efaces, kinds + n, |e| {
            type_switch!(*e, {
                _x: T0 => 1, _x: T1 => 2, _x: T2 => 3, _x: T3 => 4,
                _x: T4 => 5, _x: T5 => 6, _x: T6 => 7, _x: T7 => 8,
                _ => 0,
            })
        });
        run(
            &each("type switch of 8, using x"),
            &efaces,
            n * (n - 1) / 2,
            |e| {
                type_switch!(*e, {
                    x: T0 => x.0, x: T1 => x.0, x: T2 => x.0, x: T3 => x.0,
                    x: T4 => x.0, x: T5 => x.0, x: T6 => x.0, x: T7 => x.0,
                    _ => 0,
                })
            },
        );
    }
}
