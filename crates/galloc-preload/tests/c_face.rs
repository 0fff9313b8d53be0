//! What C promises of `malloc` and its family, in a program whose own they are.

use galloc_preload::{
    aligned_alloc, calloc, free, free_aligned_sized, free_sized, malloc, malloc_trim,
    malloc_usable_size, memalign, posix_memalign, pvalloc, realloc, reallocarray, valloc,
};
use libc::{EINVAL, ENOMEM, c_void};
use std::hint::black_box;
use std::ptr::null_mut;

const MAX: usize = usize::MAX;
/// What errno is before a call.
const BEFORE: i32 = libc::EBADMSG;

/// What `f` returns, and errno after it.
fn errno<R>(f: impl FnOnce() -> R) -> (R, i32) {
    // SAFETY: this thread's errno.
    unsafe {
        *libc::__errno_location() = BEFORE;
        let r = f();
        (r, *libc::__errno_location())
    }
}

/// An object of at least `size` bytes at a multiple of `align`, every one that is usable written to.
fn use_up(p: *mut c_void, size: usize, align: usize) {
    assert!(!p.is_null() && p.addr().is_multiple_of(align.max(16)));
    // SAFETY: the object is there, and so long.
    unsafe {
        let usable = malloc_usable_size(p);
        assert!(usable >= size, "{usable} of {size}");
        p.cast::<u8>().write_bytes(0xa5, usable);
    }
}

fn bytes<'a>(p: *mut c_void, n: usize) -> &'a [u8] {
    // SAFETY: callers have so many bytes, which are initialised, and drop them first.
    unsafe { std::slice::from_raw_parts(p.cast(), n) }
}

/// Every size of a class and its neighbours, and some beyond.
fn sizes() -> impl Iterator<Item = usize> {
    let classes = (1..galloc::NUM_SIZE_CLASSES).map(galloc::class_size);
    let large = [33_000, 100_000, 1 << 20, 3 << 20, 40 << 20];
    let around = |s: usize| [s - 1, s, s + 1];
    classes.chain(large).flat_map(around).filter(|&s| s > 0)
}

#[test]
fn objects_are_aligned_as_long_as_they_say_and_go_without_a_word() {
    for size in sizes() {
        let (p, q) = (malloc(size), calloc(size, 1));
        assert!(bytes(q, size).iter().all(|&b| b == 0), "{size}");
        use_up(p, size, 16);
        use_up(q, size, 16);
        // SAFETY: each is freed once.
        unsafe {
            assert_eq!(errno(|| free(p)).1, BEFORE);
            free_sized(q, size);
            free_aligned_sized(aligned_alloc(64, size), 64, size);
        }
    }
    // SAFETY: null is no object, and may be freed.
    unsafe {
        assert_eq!(errno(|| free(null_mut())).1, BEFORE);
        assert_eq!(malloc_usable_size(null_mut()), 0);
    }
}

#[test]
fn no_bytes_are_an_object_of_its_own() {
    let all = [malloc(0), malloc(0), calloc(0, 8), calloc(8, 0)];
    for (i, &p) in all.iter().enumerate() {
        assert!(!p.is_null() && !all[..i].contains(&p));
        // SAFETY: freed once.
        unsafe { free(p) };
    }
    // SAFETY: the object is realloc's to free; it says so by null.
    unsafe {
        // Hidden from the compiler, which knows these names, and that nobody needs the object.
        let hidden: unsafe extern "C" fn(_, _) -> _ = realloc;
        assert!(black_box(hidden)(malloc(10), 0).is_null());
        let p = realloc(null_mut(), 10);
        use_up(p, 10, 16);
        free(p);
    }
}

#[test]
fn what_overflows_or_is_not_there_is_null_and_enomem() {
    for (n, size) in [(MAX, 2), (2, MAX), (MAX / 2, 3), (1 << 32, 1 << 32)] {
        assert_eq!(errno(|| calloc(n, size)), (null_mut(), ENOMEM));
        // SAFETY: null is no object.
        let r = errno(|| unsafe { reallocarray(null_mut(), n, size) });
        assert_eq!(r, (null_mut(), ENOMEM));
    }
    for size in [MAX, isize::MAX as usize + 1, isize::MAX as usize, 1 << 50] {
        assert_eq!(errno(|| malloc(size)), (null_mut(), ENOMEM));
        assert_eq!(errno(|| pvalloc(size)), (null_mut(), ENOMEM));
        assert_eq!(errno(|| aligned_alloc(64, size)), (null_mut(), ENOMEM));
        // A resize that fails leaves the object as it was.
        for old in [100, 100_000, 40 << 20] {
            let p = malloc(old);
            use_up(p, old, 16);
            // SAFETY: the object is there, and stays.
            unsafe {
                assert_eq!(errno(|| realloc(p, size)), (null_mut(), ENOMEM));
                assert_eq!(errno(|| reallocarray(p, MAX, 2)), (null_mut(), ENOMEM));
                assert!(bytes(p, old).iter().all(|&b| b == 0xa5));
                free(p);
            }
        }
    }
}

#[test]
fn resizes_keep_the_bytes() {
    for align in [16, 256, 8192, 1 << 20, 64 << 20] {
        for (old, new) in [
            (1, 2),
            (100, 40_000),
            (40_000, 7),
            (60_000, 3 << 20),
            (50 << 20, 80 << 20),
        ] {
            let p = aligned_alloc(align, old);
            use_up(p, old, align);
            // SAFETY: the object is there; the new one takes its place.
            unsafe {
                let p = reallocarray(p, new, 1);
                assert!(bytes(p, old.min(new)).iter().all(|&b| b == 0xa5));
                use_up(p, new, 16);
                free(p);
            }
        }
    }
}

#[test]
fn posix_memalign_returns_its_errors_and_leaves_the_rest() {
    let mut untouched = null_mut();
    let out = &raw mut untouched;
    // SAFETY: `out` may be written to.
    unsafe {
        for wrong in [0, 1, 4, 24, 100, MAX] {
            assert_eq!(errno(|| posix_memalign(out, wrong, 8)), (EINVAL, BEFORE));
        }
        for size in [MAX, 1 << 50] {
            assert_eq!(errno(|| posix_memalign(out, 64, size)), (ENOMEM, BEFORE));
        }
        assert_eq!(errno(|| posix_memalign(out, 1 << 62, 8)), (ENOMEM, BEFORE));
        assert!(untouched.is_null());
        for shift in 3..=30 {
            let mut p = null_mut();
            let r = errno(|| posix_memalign(&raw mut p, 1 << shift, 100));
            assert_eq!(r, (0, BEFORE));
            use_up(p, 100, 1 << shift);
            free(p);
        }
    }
}

#[test]
fn alignments_are_powers_of_two_or_refused_or_rounded_up() {
    for wrong in [0, 3, 24, 100, MAX] {
        assert_eq!(errno(|| aligned_alloc(wrong, 8)), (null_mut(), EINVAL));
    }
    assert_eq!(errno(|| memalign(MAX, 8)), (null_mut(), EINVAL));
    // SAFETY: asks for a number; each object is freed once.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        for (p, size, align) in [
            (aligned_alloc(64, 100), 100, 64),
            (memalign(0, 8), 8, 1),
            (memalign(24, 8), 8, 32),
            (memalign(4096, 100_000), 100_000, 4096),
            (valloc(10), 10, page),
            (pvalloc(0), page, page),
            (pvalloc(page + 1), 2 * page, page),
        ] {
            use_up(p, size, align);
            free(p);
        }
    }
}

#[test]
fn the_family_is_the_programs_own() {
    // SAFETY: a copy of a C string, freed once, which is galloc's if `malloc` is.
    unsafe {
        let p = libc::strdup(c"made by the C library".as_ptr());
        assert!(malloc_usable_size(p.cast()) >= 22);
        assert_eq!(*bytes(p.cast(), 4), *b"made");
        free(p.cast());
        assert_eq!(
            libc::malloc as *const () as usize,
            malloc as *const () as usize
        );
    }
    let all: Vec<_> = (0..2000).map(|_| malloc(10_000)).collect();
    all.iter().for_each(|&p| use_up(p, 10_000, 16));
    // SAFETY: each is freed once.
    all.into_iter().for_each(|p| unsafe { free(p) });
    assert_eq!(malloc_trim(0), 1);
}
