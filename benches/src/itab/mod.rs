//! Assertions on 1,024 values, of one type or of eight in turn: to an interface that they have (`hit`), to one
//! that they lack (`miss`), to a type, by a switch over eight types; building entries, and finding them among
//! ten thousand. Every loop's count is verified.

#[cfg(feature = "bevy_reflect")]
mod bevy;
mod cold;
mod gitab;
#[cfg(feature = "intertrait")]
mod intertrait;

use gort_benches::harness::{Context, Entry, Procs, Program, each};

use std::any::Any;
use std::hint::black_box;
use std::time::Instant;

const WORKLOADS: [&str; 7] = [
    "hit_1",
    "hit_8",
    "miss_8",
    "assert_type",
    "switch_8",
    "cold_build",
    "hit_10k",
];
const VALUES: u64 = 1024;

/// Eight types of one field. Each answers with a number of its own, lest the linker make one function of
/// eight.
macro_rules! types {
    ($($t:ident $n:literal)*) => {
        $(
            #[derive(Debug)]
            #[cfg_attr(feature = "bevy_reflect", derive(bevy_reflect::Reflect))]
            #[cfg_attr(feature = "bevy_reflect", reflect(bevy::Ask))]
            pub(crate) struct $t(u64);
            impl $t {
                fn get(&self) -> u64 {
                    self.0 + $n
                }
            }
            ::gitab::describe! { struct $t { fn get(&self) -> u64; } }
        )*
    };
}
types!(T0 0 T1 1 T2 2 T3 3 T4 4 T5 5 T6 6 T7 7);

/// Runs `$body` with `$t` as the type of value `$i`, of `$types` types in turn.
macro_rules! of_type {
    ($i:expr, $types:expr, $t:ident => $body:expr) => {
        match $i % $types {
            0 => {
                type $t = T0;
                $body
            }
            1 => {
                type $t = T1;
                $body
            }
            2 => {
                type $t = T2;
                $body
            }
            3 => {
                type $t = T3;
                $body
            }
            4 => {
                type $t = T4;
                $body
            }
            5 => {
                type $t = T5;
                $body
            }
            6 => {
                type $t = T6;
                $body
            }
            _ => {
                type $t = T7;
                $body
            }
        }
    };
}
use of_type;

fn anys(types: u64) -> Vec<Box<dyn Any>> {
    let value = |i: u64| -> Box<dyn Any> { of_type!(i, types, T => Box::new(T { 0: i })) };
    (0..VALUES).map(value).collect()
}

/// What the answers of all values come to.
fn answers(types: u64) -> u64 {
    (0..VALUES).map(|i| i + i % types).sum()
}

/// Nanoseconds for each call of `f`, whose sum over all `items` is `sum`.
fn over<T>(c: &Context, items: &[T], sum: u64, f: impl Fn(&T) -> u64) {
    const ROUNDS: u64 = 5_000;
    c.repeat(|| {
        let start = Instant::now();
        let mut got = 0u64;
        for _ in 0..ROUNDS {
            got += black_box(items).iter().map(&f).sum::<u64>();
        }
        let ns = each(start, ROUNDS * items.len() as u64);
        assert_eq!(got, sum * ROUNDS);
        ns
    });
}

/// std: a chain of `downcast_ref`.
fn std(workload: &str) -> Option<fn(&Context)> {
    Some(match workload {
        "assert_type" => |c| {
            over(c, &anys(8), VALUES / 8, |a| {
                u64::from(a.downcast_ref::<T0>().is_some())
            });
        },
        "switch_8" => |c| {
            over(c, &anys(8), VALUES * 36 / 8, |a| {
                macro_rules! first {
                    ($($t:ident $n:literal)*) => {
                        $( if a.is::<$t>() { return $n; } )*
                    };
                }
                first!(T0 1 T1 2 T2 3 T3 4 T4 5 T5 6 T6 7 T7 8);
                0
            });
        },
        _ => return None,
    })
}

pub(crate) fn entries() -> Vec<Entry> {
    let mut all = Vec::new();
    for workload in WORKLOADS {
        let mut add = |subject, peer, run: Option<fn(&Context)>| {
            let name = ("itab", workload, subject);
            all.extend(run.map(|run| Entry::new(name, peer, Procs::One, "ns", Program::Here(run))));
        };
        add("gitab", false, gitab::workload(workload));
        add("std", true, std(workload));
        #[cfg(feature = "intertrait")]
        add("intertrait", true, intertrait::workload(workload));
        #[cfg(feature = "bevy_reflect")]
        add("bevy_reflect", true, bevy::workload(workload));
        if workload != "hit_10k" {
            let name = ("itab", workload, "go");
            all.push(Entry::new(name, true, Procs::One, "ns", Program::Go));
        }
    }
    all
}
