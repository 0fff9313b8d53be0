//! Random registrations and assertions, beside a model that keeps sets.
//!
//! Runs for `GORT_FUZZ_SECONDS` (1) from the seed `GORT_FUZZ_SEED`. Each round has a table of its own: a
//! quiet one compares every answer with the model; then threads do what may be done in any order, and the
//! answers are compared at the end.

use std::any::Any;
use std::collections::HashSet;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

use gitab::{Assert, Eface, ItabTable, adopt, itab_table};

/// Xorshift: the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// What every value holds.
const VALUE: usize = 1000;

macro_rules! interfaces {
    ($($i:ident { $($m:ident)* })*) => {
        $( gitab::interface! { trait $i { $( fn $m(&self) -> usize; )* } } )*
        /// What each interface asks for.
        const ASKED: &[&[&str]] = &[$( &[$( stringify!($m) ),*] ),*];
        const STRUCTURAL: &[fn(Eface) -> bool] = &[$( |e| {
            let face = e.assert::<dyn $i>();
            $( if let Some(f) = &face { assert_eq!(f.$m(), VALUE + stringify!($m).len()); } )*
            face.is_some()
        } ),*];
    };
}
interfaces! {
    Sa { a } Sab { a bb } Sabc { a bb ccc } Sbd { bb dddd } Sad { a dddd } Se { eeeee } Sall { a bb ccc dddd eeeee }
}

trait N0 {
    fn n(&self) -> usize;
}
trait N1 {
    fn n(&self) -> usize;
}
trait N2 {
    fn n(&self) -> usize;
}

macro_rules! types {
    ($($t:ident { $($m:ident)* })*) => {
        $(
            struct $t(usize);
            impl $t { $( fn $m(&self) -> usize { self.0 + stringify!($m).len() } )* }
            gitab::describe! { struct $t { $( fn $m(&self) -> usize; )* } }
            impl N0 for $t { fn n(&self) -> usize { self.0 } }
            impl N1 for $t { fn n(&self) -> usize { self.0 + 1 } }
            impl N2 for $t { fn n(&self) -> usize { self.0 + 2 } }
        )*
        const TYPES: &[Type] = &[$( Type {
            methods: &[$( stringify!($m) ),*],
            described: |ask| ask(Eface::new(&$t(VALUE))),
            opaque: |ask| ask(Eface::opaque(&$t(VALUE))),
            learn: gitab::register_type::<$t>,
            register: [
                || gitab::implements!($t: dyn N0),
                || gitab::implements!($t: dyn N1),
                || gitab::implements!($t: dyn N2),
            ],
            value: || Box::new($t(VALUE)),
        } ),*];
    };
}
types! {
    T0 {} T1 { a } T2 { bb a } T3 { ccc bb a } T4 { dddd bb } T5 { eeeee } T6 { a bb ccc dddd eeeee }
    T7 { ccc } T8 { a dddd eeeee }
}

struct Type {
    methods: &'static [&'static str],
    /// Asks a value whose descriptor carries its methods.
    described: fn(fn(Eface) -> bool) -> bool,
    /// Asks a value whose descriptor does not.
    opaque: fn(fn(Eface) -> bool) -> bool,
    learn: fn(),
    register: [fn(); 3],
    value: fn() -> Box<dyn Any>,
}

const NOMINAL: [fn(Box<dyn Any>) -> bool; 3] = [
    |v| {
        v.assert::<dyn N0>()
            .map(|n| assert_eq!(n.n(), VALUE))
            .is_ok()
    },
    |v| {
        v.as_ref()
            .assert::<dyn N1>()
            .map(|n| assert_eq!(n.n(), VALUE + 1))
            .is_some()
    },
    |mut v| {
        v.as_mut()
            .assert::<dyn N2>()
            .map(|n| assert_eq!(n.n(), VALUE + 2))
            .is_some()
    },
];

fn has(typ: usize, inter: usize) -> bool {
    ASKED[inter].iter().all(|m| TYPES[typ].methods.contains(m))
}

fn quiet_round(random: &mut Random) {
    let (mut known, mut pairs) = (HashSet::new(), HashSet::new());
    for _ in 0..10_000 {
        let (t, i, n) = (
            random.below(TYPES.len()),
            random.below(ASKED.len()),
            random.below(3),
        );
        match random.below(16) {
            0 => {
                (TYPES[t].learn)();
                known.insert(t);
            }
            1 => {
                (TYPES[t].register[n])();
                pairs.insert((t, n));
            }
            2..5 => {
                assert_eq!((TYPES[t].described)(STRUCTURAL[i]), has(t, i));
                // A cached yes is answered without looking at the type; a no, or nothing, is not.
                if !known.contains(&t) {
                    let before = itab_table().stats();
                    assert_eq!((TYPES[t].described)(STRUCTURAL[i]), has(t, i));
                    assert_eq!(itab_table().stats(), before, "asked twice, built once");
                }
                known.insert(t);
            }
            5..11 => {
                let found = (TYPES[t].opaque)(STRUCTURAL[i]);
                assert_eq!(
                    found,
                    (known.contains(&t) || ASKED[i].is_empty()) && has(t, i)
                );
            }
            _ => assert_eq!(NOMINAL[n]((TYPES[t].value)()), pairs.contains(&(t, n))),
        }
    }
    let stats = itab_table().stats();
    assert!(stats.count <= TYPES.len() * (ASKED.len() + 3));
}

fn racing_round(random: &mut Random) {
    let seeds = [random.0 | 1, random.0.rotate_left(17) | 1];
    thread::scope(|s| {
        for seed in seeds {
            s.spawn(move || {
                let mut random = Random(seed);
                for _ in 0..5000 {
                    let (t, i, n) = (
                        random.below(TYPES.len()),
                        random.below(ASKED.len()),
                        random.below(3),
                    );
                    match random.below(4) {
                        0 => {
                            (TYPES[t].register[n])();
                            assert!(NOMINAL[n]((TYPES[t].value)()), "registered by this thread");
                        }
                        1 => assert_eq!((TYPES[t].described)(STRUCTURAL[i]), has(t, i)),
                        2 => {
                            // Another thread may have made the type known or not; a yes must be true.
                            assert!(!(TYPES[t].opaque)(STRUCTURAL[i]) || has(t, i));
                        }
                        _ => {
                            let _ = NOMINAL[n]((TYPES[t].value)());
                        }
                    }
                }
            });
        }
    });
    for (t, typ) in TYPES.iter().enumerate() {
        (typ.learn)();
        for (i, ask) in STRUCTURAL.iter().enumerate() {
            assert_eq!((typ.opaque)(*ask), has(t, i));
        }
    }
}

#[test]
fn fuzz_the_table_beside_a_model() {
    let number =
        |name: &str, default: u64| env::var(name).map_or(default, |s| s.parse().expect("a number"));
    let seconds = number("GORT_FUZZ_SECONDS", 1);
    let seed = number("GORT_FUZZ_SEED", 0x5eed_17ab);
    println!("GORT_FUZZ_SEED={seed}");
    let mut random = Random(seed | 1);
    let (end, mut rounds) = (Instant::now() + Duration::from_secs(seconds), 0);
    while Instant::now() < end {
        adopt(ItabTable::leak());
        if rounds % 8 == 7 {
            racing_round(&mut random);
        } else {
            quiet_round(&mut random);
        }
        rounds += 1;
    }
    println!("{rounds} rounds");
    assert!(rounds > 0);
}
