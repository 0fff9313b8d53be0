//! Building entries, and finding them among ten thousand. A pair is built once in a process, so `cold_build` is
//! one pass over 1,024 pairs, the table's growth included.

use ::gitab::Eface;
use gort_benches::harness::{Context, each};

use std::hint::black_box;
use std::time::Instant;

/// A type with 24 methods, of which the interfaces ask for 8.
struct Big<const N: usize>;

macro_rules! big {
    ($($m:ident)*) => {
        impl<const N: usize> Big<N> { $( fn $m(&self) -> usize { N } )* }
        ::gitab::describe! { for[const N: usize] struct Big<N> { $( fn $m(&self) -> usize; )* } }
    };
}
big!(a00 a01 a02 a03 a04 a05 a06 a07 a08 a09 a10 a11 a12 a13 a14 a15 a16 a17 a18 a19 a20 a21 a22 a23);

macro_rules! asks {
    ($($i:ident)*) => {
        $( ::gitab::interface! {
            trait $i {
                fn a01(&self) -> usize;
                fn a04(&self) -> usize;
                fn a07(&self) -> usize;
                fn a10(&self) -> usize;
                fn a13(&self) -> usize;
                fn a16(&self) -> usize;
                fn a19(&self) -> usize;
                fn a22(&self) -> usize;
            }
        } )*
        const ASKS: &[fn(&[Eface]) -> usize] = &[$(
            |values| values.iter().map(|v| v.assert::<dyn $i>().is_some() as usize).sum()
        ),*];
        fn call(value: &Eface) -> usize {
            [$( value.assert::<dyn $i>().map_or(0, |i| {
                i.a01() + i.a04() + i.a07() + i.a10() + i.a13() + i.a16() + i.a19() + i.a22()
            }) ),*].into_iter().sum()
        }
    };
}
asks!(I0 I1 I2 I3 I4 I5 I6 I7 I8 I9 Ia Ib Ic Id Ie If);

/// A type with one method, and a hundred interfaces that ask for it.
struct Small<const N: usize>;
impl<const N: usize> Small<N> {
    fn a01(&self) -> usize {
        N
    }
}
::gitab::describe! { for[const N: usize] struct Small<N> { fn a01(&self) -> usize; } }

macro_rules! hundred {
    ($($d:ident)*) => { hundred!(@each [$($d)*] $($d)*); };
    (@each $all:tt $($d:ident)*) => {
        $( mod $d { hundred!(@inner $all); } )*
        const HUNDRED: &[&[fn(&[::gitab::Eface]) -> usize]] = &[$( $d::ASKS ),*];
    };
    (@inner [$($d:ident)*]) => {
        $( mod $d { ::gitab::interface! { pub(crate) trait Ask { fn a01(&self) -> usize; } } } )*
        pub(crate) const ASKS: &[fn(&[::gitab::Eface]) -> usize] = &[$(
            |values| values.iter().map(|v| v.assert::<dyn $d::Ask>().is_some() as usize).sum()
        ),*];
    };
}
hundred!(d0 d1 d2 d3 d4 d5 d6 d7 d8 d9);

macro_rules! values {
    ($t:ident: $($n:literal)*) => { [$( Eface::new(&$t::<$n>) ),*] };
}

/// Eight of 24 methods.
pub(super) fn cold_build(c: &Context) {
    let big = values!(Big:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62
        63);
    let start = Instant::now();
    let found: usize = ASKS.iter().map(|ask| ask(black_box(&big))).sum();
    let ns = each(start, 1024);
    assert_eq!(found, 1024);
    assert_eq!(big.iter().map(call).sum::<usize>(), 16 * 8 * (63 * 64 / 2));
    assert_eq!(::gitab::itab_table().stats().builds, 1024);
    c.once(ns);
}

/// A hundred types by a hundred interfaces.
pub(super) fn hit_10k(c: &Context) {
    let small = values!(Small:
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62
        63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92
        93 94 95 96 97 98 99);
    let asks: Vec<_> = HUNDRED.iter().copied().flatten().copied().collect();
    c.time(10_000 * 200, || {
        for _ in 0..200 {
            let found: usize = asks.iter().map(|ask| ask(black_box(&small))).sum();
            assert_eq!(found, 10_000);
        }
    });
}
