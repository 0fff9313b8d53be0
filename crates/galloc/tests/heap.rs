//! The allocator as the process's own, and the whole of it against a shadow heap: overlap,
//! alignment, contents (R119 to R123).

use galloc::{Galloc, MemStats};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::mpsc;
use std::thread;

#[global_allocator]
static A: Galloc = Galloc;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// An object whose bytes are a function of its tag.
struct Object {
    p: *mut u8,
    layout: Layout,
    tag: u8,
}

// SAFETY: an object is owned memory.
unsafe impl Send for Object {}

impl Object {
    fn new(size: usize, align: usize, tag: u8, zeroed: bool) -> Self {
        let layout = layout(size, align);
        // SAFETY: the size is not 0, and the bytes are the object's.
        unsafe {
            let p = if zeroed {
                A.alloc_zeroed(layout)
            } else {
                A.alloc(layout)
            };
            assert!(!p.is_null() && p.addr().is_multiple_of(align));
            assert!(A.usable_size(p) >= size);
            if zeroed {
                assert!(std::slice::from_raw_parts(p, size).iter().all(|&b| b == 0));
            }
            p.write_bytes(tag, size);
            Self { p, layout, tag }
        }
    }

    fn check(&self, n: usize) {
        // SAFETY: the object is at least `n` initialised bytes.
        let bytes = unsafe { std::slice::from_raw_parts(self.p, n) };
        assert!(
            bytes.iter().all(|&b| b == self.tag),
            "somebody else wrote here"
        );
    }

    fn resize(&mut self, size: usize) {
        // SAFETY: the object is A's, and the new size is not 0.
        unsafe {
            self.p = A.realloc(self.p, self.layout, size);
            assert!(!self.p.is_null() && self.p.addr().is_multiple_of(self.layout.align()));
            self.check(size.min(self.layout.size()));
            self.layout = layout(size, self.layout.align());
            self.p.write_bytes(self.tag, size);
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.check(self.layout.size());
        // SAFETY: the object is A's and ends here.
        unsafe { A.dealloc(self.p, self.layout) }
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1usize..600,
        4 => 600usize..33_000,
        2 => 33_000usize..300_000,
        1 => 300_000usize..3_000_000,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn objects_never_overlap_and_keep_their_bytes(
        steps in prop::collection::vec(
            (0u8..4, size(), 0u32..16, any::<prop::sample::Index>()), 1..200)
    ) {
        let mut live: Vec<Object> = Vec::new();
        for (tag, (what, size, shift, index)) in steps.into_iter().enumerate() {
            match what {
                0 if !live.is_empty() => drop(live.swap_remove(index.index(live.len()))),
                1 if !live.is_empty() => { let i = index.index(live.len()); live[i].resize(size) }
                _ => live.push(Object::new(size, 1 << shift, tag as u8, what == 2)),
            }
        }
    }
}

#[test]
fn every_alignment_up_to_a_gibibyte_is_kept() {
    for shift in 0..=30 {
        for size in [1, 100, 40_000] {
            drop(Object::new(size, 1 << shift, 7, true));
        }
    }
}

/// About here objects become mappings of their own: two fit into an arena beside its record, or do not.
#[test]
fn objects_of_about_half_an_arena_are_apart() {
    let half = 32 << 20;
    for size in [half - (40 << 10), half - (32 << 10), half] {
        for align in [8, half] {
            let mut a = Object::new(size, align, 3, true);
            let b = Object::new(size, align, 5, false);
            a.resize(size + (16 << 10));
            a.resize(size - (16 << 10));
            drop(b);
        }
    }
}

#[test]
fn huge_objects_grow_shrink_and_keep_their_bytes() {
    let mut o = Object::new(30 << 20, 8, 3, false);
    for mib in [40, 80, 64, 20, 33, 1] {
        o.resize(mib << 20);
    }
}

/// Linux grows no mapping of which a part is locked, nor moves it.
#[test]
fn huge_objects_grow_with_a_part_locked() {
    for to in [100, 20] {
        let mut o = Object::new(50 << 20, 8, 3, false);
        let at = o.p.map_addr(|at| (at + (25 << 20)) & !4095);
        // SAFETY: the page lies in the object; to lock it changes nothing in it.
        assert_eq!(unsafe { libc::mlock(at.cast(), 4096) }, 0);
        o.resize(to << 20);
    }
}

/// Objects of pages grow where they are while nothing lies behind, and shrink there.
#[test]
fn large_objects_are_resized_without_a_copy() {
    // Three fit into an arena, and leave room behind the last. Held together, so that arenas are new.
    let [least, old, most] = [
        layout(10 << 20, 8),
        layout(18 << 20, 8),
        layout(24 << 20, 8),
    ];
    // SAFETY: the objects are A's, with the layouts they were last resized to, and freed once.
    unsafe {
        let mut all = [0; 9].map(|_| A.alloc(old));
        let mut grown = 0;
        for p in &mut all {
            let at = *p;
            *p = A.realloc(at, old, most.size());
            grown += usize::from(*p == at);
            let at = *p;
            *p = A.realloc(at, most, least.size());
            assert_eq!(*p, at);
        }
        assert!(grown > 0, "none grew in place");
        for p in all {
            A.dealloc(p, least);
        }
    }
}

/// `mremap` takes the pages along: what was never touched stays so.
#[test]
fn huge_objects_are_not_copied() {
    let layout = layout(256 << 20, 8);
    // SAFETY: the object is A's, long enough, and freed once.
    unsafe {
        let mut p = A.alloc(layout);
        // Nothing can grow where it is with this behind it.
        let behind = libc::mmap(
            p.add(layout.size()).cast(),
            4096,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        );
        p.write(7);
        p = A.realloc(p, layout, 512 << 20);
        assert_eq!(p.read(), 7);
        let mut resident = vec![0u8; layout.size() / 4096];
        let seen = libc::mincore(p.cast(), layout.size(), resident.as_mut_ptr());
        assert_eq!(seen, 0);
        let resident = resident.iter().filter(|&&r| r & 1 != 0).count();
        // A huge page, where the system gives them unasked.
        assert!(resident <= 512 || cfg!(gort_asan), "{resident} pages");
        A.dealloc(p, Layout::from_size_align(512 << 20, 8).unwrap());
        if behind != libc::MAP_FAILED {
            libc::munmap(behind, 4096);
        }
    }
}

#[test]
fn impossible_requests_give_null() {
    for size in [isize::MAX as usize - 4095, 1 << 62, 1 << 50] {
        // SAFETY: the size is not 0.
        assert!(unsafe { A.alloc(layout(size, 8)) }.is_null());
    }
    let o = Object::new(100, 8, 1, false);
    // SAFETY: the object is A's; a failed realloc leaves it alone.
    assert!(unsafe { A.realloc(o.p, o.layout, 1 << 50) }.is_null());
    o.check(100);
}

#[test]
fn objects_may_be_freed_by_any_thread() {
    let (to, from) = mpsc::sync_channel::<Vec<Object>>(4);
    let freer = thread::spawn(move || from.into_iter().map(|batch| batch.len()).sum::<usize>());
    for i in 0..200usize {
        let batch = (0..100).map(|j| Object::new(1 + (i * 37 + j * 11) % 2000, 8, j as u8, false));
        to.send(batch.collect()).unwrap();
    }
    drop(to);
    assert_eq!(freer.join().unwrap(), 20_000);
}

#[test]
fn objects_outlive_the_thread_that_made_them() {
    for _ in 0..50 {
        let made = thread::spawn(|| {
            (0..200usize)
                .map(|i| Object::new(1 + i * 13, 8, i as u8, false))
                .collect::<Vec<_>>()
        });
        drop(made.join().unwrap());
    }
}

#[test]
fn thread_local_destructors_may_allocate() {
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            drop(Object::new(500, 8, 9, true));
        }
    }
    thread_local!(static LATE: Late = const { Late });
    for _ in 0..20 {
        thread::spawn(|| LATE.with(|_| ())).join().unwrap();
    }
}

#[test]
fn a_released_slot_is_leased_again() {
    let o = Object::new(64, 8, 4, false);
    for i in 0..1000 {
        galloc::release_slot();
        drop(Object::new(1 + i, 8, 5, false));
    }
    o.check(64);
}

#[test]
fn freed_memory_goes_back() {
    let before = MemStats::read().total_released;
    let many: Vec<_> = (0..20_000)
        .map(|i| Object::new(1024, 8, i as u8, false))
        .collect();
    let s = MemStats::read();
    assert!(s.heap_alloc >= 20_000 << 10 && s.heap_inuse >= s.heap_alloc);
    drop(many);
    galloc::release();
    assert!(MemStats::read().total_released >= before + (10 << 20));
    drop(Object::new(20 << 20, 8, 1, true));
}

#[test]
fn a_forked_child_allocates_while_other_threads_did() {
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(
                        (0..300)
                            .map(|i| Object::new(1 + i * 150, 8, 2, false))
                            .collect::<Vec<_>>(),
                    );
                }
            });
        }
        for _ in 0..20 {
            // SAFETY: the child allocates, which is what is tested, and leaves by _exit.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let failed = std::panic::catch_unwind(|| {
                    let new = |i: usize| Object::new(1 + i * 90, 8, 6, true);
                    drop((0..500).map(new).collect::<Vec<_>>());
                });
                // SAFETY: leaves at once. A panic must not come out in the child's copy of the harness.
                unsafe { libc::_exit(i32::from(failed.is_err())) };
            }
            let mut status = -1;
            // SAFETY: waits for the child made above.
            unsafe { libc::waitpid(child, &mut status, 0) };
            assert_eq!(status, 0);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
