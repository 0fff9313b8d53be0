//! Random goroutine programs against their sequential meaning: spawn, yield, join, send, panic.

use gort::{Runtime, chan, go, spawn, yield_now};
use proptest::prelude::*;

/// A program computes a number; what it does on the way must not change it.
#[derive(Clone, Debug)]
enum Program {
    Const(u32),
    /// The sum of its parts, each in a goroutine.
    Spawn(Vec<Program>),
    /// As `Spawn`, in futures.
    Async(Vec<Program>),
    /// The sum of its parts, sent over a channel of this capacity.
    Send(usize, Vec<Program>),
    /// Yields, then the part.
    Yield(u8, Box<Program>),
    /// The part in a `blocking` section.
    Blocking(Box<Program>),
    /// The part ends in a panic that carries the number.
    Panic(Box<Program>),
    /// The part is started and its handle dropped; counts nothing.
    Detach(Box<Program>),
}

fn meaning(p: &Program) -> u64 {
    match p {
        Program::Const(n) => u64::from(*n),
        Program::Spawn(ps) | Program::Async(ps) | Program::Send(_, ps) => {
            ps.iter().map(meaning).sum()
        }
        Program::Yield(_, p) | Program::Blocking(p) | Program::Panic(p) => meaning(p),
        Program::Detach(_) => 0,
    }
}

fn run(p: Program) -> u64 {
    match p {
        Program::Const(n) => n.into(),
        Program::Spawn(ps) => {
            let hs: Vec<_> = ps.into_iter().map(|p| go(move || run(p))).collect();
            hs.into_iter().map(|h| h.join().unwrap()).sum()
        }
        Program::Async(ps) => {
            let hs: Vec<_> = ps
                .into_iter()
                .map(|p| spawn(async move { go(move || run(p)).await.unwrap() }))
                .collect();
            hs.into_iter().map(|h| h.join().unwrap()).sum()
        }
        Program::Send(cap, ps) => {
            let (tx, rx) = chan::bounded(cap);
            for p in ps {
                let tx = tx.clone();
                drop(go(move || tx.send(run(p)).unwrap()));
            }
            drop(tx);
            rx.iter().sum()
        }
        Program::Yield(n, p) => {
            (0..n).for_each(|_| yield_now());
            run(*p)
        }
        Program::Blocking(p) => gort::blocking(|| run(*p)),
        Program::Panic(p) => {
            let h = go(move || {
                let n = run(*p);
                std::panic::resume_unwind(Box::new(n));
            });
            *h.join()
                .unwrap_err()
                .into_panic()
                .downcast::<u64>()
                .unwrap()
        }
        Program::Detach(p) => {
            drop(go(move || run(*p)));
            0
        }
    }
}

fn program() -> impl Strategy<Value = Program> {
    let leaf = any::<u32>().prop_map(Program::Const);
    leaf.prop_recursive(5, 60, 6, |p| {
        let many = prop::collection::vec(p.clone(), 0..6);
        prop_oneof![
            many.clone().prop_map(Program::Spawn),
            many.clone().prop_map(Program::Async),
            (0..3_usize, many).prop_map(|(c, ps)| Program::Send(c, ps)),
            (0..4_u8, p.clone()).prop_map(|(n, p)| Program::Yield(n, p.into())),
            p.clone().prop_map(|p| Program::Blocking(p.into())),
            p.clone().prop_map(|p| Program::Panic(p.into())),
            p.prop_map(|p| Program::Detach(p.into())),
        ]
    })
}

#[test]
fn random_programs_mean_what_they_mean_sequentially() {
    for procs in [1, 2, 8] {
        // SAFETY: the programs keep nothing bound to a thread across a park.
        let rt = unsafe { Runtime::builder().procs(procs).build_stackful() }.unwrap();
        proptest!(ProptestConfig::with_cases(100), |(p in program())| {
            let want = meaning(&p);
            prop_assert_eq!(rt.run(move || run(p)), want);
        });
    }
}
