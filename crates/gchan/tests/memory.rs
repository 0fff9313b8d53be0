//! What a channel weighs, counted at the allocator: idle, filled, drained, dropped.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::task::{Context, Waker};

/// Bytes and blocks in use, as far as this thread took and gave them: the test harness's threads allocate when they
/// like.
struct Counting;

thread_local! {
    static USED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

// SAFETY: `System`'s, with a count beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (bytes, blocks) = USED.get();
        USED.set((bytes.wrapping_add(layout.size()), blocks.wrapping_add(1)));
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let (bytes, blocks) = USED.get();
        USED.set((bytes.wrapping_sub(layout.size()), blocks.wrapping_sub(1)));
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOC: Counting = Counting;

fn now() -> (usize, usize) {
    USED.get()
}

/// Bytes and blocks that `make` takes and keeps.
fn cost<T>(make: impl FnOnce() -> T) -> ((usize, usize), T) {
    let before = now();
    let made = make();
    let after = now();
    (
        (
            after.0.wrapping_sub(before.0),
            after.1.wrapping_sub(before.1),
        ),
        made,
    )
}

/// A channel without its buffer, as the README says.
const IDLE: usize = 320;

#[test]
fn r10_a_channel_weighs_what_it_holds() {
    let start = now();

    // Idle: one block for the header; a buffer has one of its own, elements of no size none.
    let ((bytes, blocks), chan) = cost(|| gchan::bounded::<u64>(0));
    assert!(
        bytes <= IDLE && blocks == 1,
        "{bytes} bytes, {blocks} blocks"
    );
    drop(chan);
    let ((bytes, blocks), chan) = cost(|| gchan::bounded::<u64>(100));
    assert!(
        bytes <= IDLE + 800 && blocks == 2,
        "{bytes} bytes, {blocks} blocks"
    );
    drop(chan);
    let ((bytes, blocks), chan) = cost(|| gchan::bounded::<()>(1000));
    assert!(
        bytes <= IDLE && blocks == 1,
        "{bytes} bytes, {blocks} blocks"
    );
    drop(chan);
    let ((bytes, blocks), chan) = cost(gchan::unbounded::<u64>);
    assert!(
        bytes <= IDLE && blocks == 1,
        "{bytes} bytes, {blocks} blocks"
    );
    drop(chan);
    let ((_, blocks), chan) = cost(|| gchan::make::<u64>(0));
    assert_eq!(blocks, 1);
    drop(chan);
    assert_eq!(now(), start, "a dropped channel leaves nothing");

    // Unbounded: memory follows the number of messages, up and down.
    let (s, r) = gchan::unbounded::<u64>();
    for round in 0..3 {
        (0..100_000).for_each(|n| s.send(n).unwrap());
        let full = now().0.wrapping_sub(start.0);
        assert!(
            (800_000..1_000_000).contains(&full),
            "round {round}: {full} bytes for 100,000 messages"
        );
        (0..50_000).for_each(|n| assert_eq!(r.recv(), Ok(n)));
        let half = now().0.wrapping_sub(start.0);
        assert!(
            half < 500_000,
            "round {round}: {half} bytes for 50,000 messages"
        );
        (50_000..100_000).for_each(|n| assert_eq!(r.recv(), Ok(n)));
        let drained = now().0.wrapping_sub(start.0);
        assert!(
            drained < 1024,
            "round {round}: {drained} bytes when drained"
        );
    }
    // A batch gives back as well.
    (0..10_000).for_each(|n| s.send(n).unwrap());
    let mut batch = Vec::new();
    while r.try_recv_many(&mut batch, 333).is_ok() {}
    assert_eq!(batch.len(), 10_000);
    drop(batch);
    assert!(now().0.wrapping_sub(start.0) < 1024);
    // Large values keep no block at all.
    let (big, bigs) = gchan::unbounded::<[u64; 512]>();
    (0..100).for_each(|n| big.send([n; 512]).unwrap());
    assert_eq!(bigs.drain().map(|v| v[7]).sum::<u64>(), 4950);
    let left = now().0.wrapping_sub(start.0);
    assert!(left < 2048, "{left}: no block is kept");
    // Nor the one that a sender brought along and did not need, because a receiver stood there.
    let mut future = Box::pin(bigs.recv_async());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    big.send([7; 512]).unwrap();
    assert!(future.as_mut().poll(&mut cx).is_ready());
    drop(future);
    let left = now().0.wrapping_sub(start.0);
    assert!(left < 2048, "{left}: no block is kept");
    drop((s, r, big, bigs));
    assert_eq!(now(), start);

    // A channel dropped full frees blocks and values.
    let (s, r) = gchan::unbounded();
    (0..1000).for_each(|n| s.send(Box::new(n)).unwrap());
    drop((s, r));
    assert_eq!(now(), start);

    // Waiting and choosing allocate for nobody but the thread's own record, once.
    let (s, r) = gchan::bounded::<u64>(0);
    let (_, other) = gchan::bounded::<u64>(1);
    assert!(r.recv_timeout(std::time::Duration::from_millis(1)).is_err());
    let before = now();
    for _ in 0..10 {
        assert!(r.recv_timeout(std::time::Duration::from_millis(1)).is_err());
        assert!(
            s.send_timeout(1, std::time::Duration::from_millis(1))
                .is_err()
        );
        gchan::select! { recv(r) -> _ => unreachable!(), recv(other) -> end => assert!(end.is_err()) }
    }
    assert_eq!(now(), before);
}
