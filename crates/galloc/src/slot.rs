//! Slots: a cache leased to an OS thread.
//!
//! A thread without a slot leases the lowest free one at first use, so few threads at a time means
//! few caches. The lease ends when the thread says so ([`release_slot`]) or exits, and by that
//! thread alone. The thread-local word that holds the cache is read afresh by every operation, and
//! nothing between that read and the operation's end parks or runs user code, but for the call of a
//! scavenger's host, which finds the word empty. On x86-64 it is read
//! by an asm load that the compiler may neither keep nor move across another: a goroutine that
//! moves to another OS thread between two operations reads that thread's word.
//!
//! The load uses the initial-exec model. An executable's linker turns it into one `mov` from `fs`;
//! a preloaded library uses the static block; there is no call into the dynamic loader, which
//! could allocate.
//!
//! Thread exit is a `pthread` key's destructor: it runs after Rust's thread-local destructors, in each
//! of the four rounds that POSIX has for those of keys, so that other keys' may allocate. With the last
//! the thread is past its end and leases no more: what it still frees (glibc frees its own buffers
//! after that) goes through the shared cache, for nobody would end the lease.
//!
//! Ordering: a lease is taken by an Acquire CAS on its bit and ended by a Release clear, so the
//! next lessee sees the cache as the last one left it.

use crate::lock::Mutex;
use crate::mcache::Cache;
use crate::{fork, persistent_alloc, scavenge, sys};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

const SLOTS: usize = 4096;
/// How often a thread that ends calls the destructors of keys whose values are set again
/// (`PTHREAD_DESTRUCTOR_ITERATIONS`).
const ROUNDS: usize = 4;

/// A bit per slot: leased.
static LEASED: [AtomicU64; SLOTS / 64] = [const { AtomicU64::new(0) }; SLOTS / 64];
/// The caches made so far; never unmade.
static CACHES: [AtomicPtr<Cache>; SLOTS] = [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS];
/// For threads beyond the last slot, or where a cache finds no memory.
pub(crate) static SHARED: Mutex<Cache> = Mutex::new(Cache::new(usize::MAX, usize::MAX));

/// 0, 1 while one thread sets the process up, 2.
static SETUP: AtomicU32 = AtomicU32::new(0);
static KEY: AtomicU32 = AtomicU32::new(0);

#[cfg(target_arch = "x86_64")]
mod tls {
    //! Two words as a symbol of our own. It is hidden, and named after a static, whose name the compiler makes
    //! a different one in every copy of this crate that a program may hold.

    use crate::mcache::Cache;
    use core::arch::{asm, global_asm};

    /// What this copy's symbol is named after. Used, lest link-time optimisation give it a name that the
    /// symbol does not have.
    #[used]
    static COPY: u8 = 0;

    global_asm!(
        ".pushsection .tbss.galloc_slot,\"awT\",@nobits",
        ".globl {copy}.slot",
        ".hidden {copy}.slot",
        ".type {copy}.slot,@object",
        ".size {copy}.slot,16",
        ".p2align 3",
        "{copy}.slot:",
        ".zero 16",
        ".popsection",
        copy = sym COPY,
    );

    #[inline(always)]
    pub(super) fn get() -> *const Cache {
        let cache;
        // SAFETY: reads this thread's word, which lives as long as the thread.
        unsafe {
            asm!(
                "mov {0}, qword ptr [rip + {copy}.slot@GOTTPOFF]",
                "mov {0}, qword ptr fs:[{0}]",
                out(reg) cache,
                copy = sym COPY,
                options(nostack, preserves_flags, readonly)
            );
        }
        cache
    }

    pub(super) fn set(cache: *const Cache) {
        // SAFETY: writes this thread's word.
        unsafe {
            asm!(
                "mov {0}, qword ptr [rip + {copy}.slot@GOTTPOFF]",
                "mov qword ptr fs:[{0}], {1}",
                out(reg) _,
                in(reg) cache,
                copy = sym COPY,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Rounds of its end that the thread has gone through: the word after its cache's.
    pub(super) fn rounds() -> usize {
        let rounds;
        // SAFETY: reads this thread's second word.
        unsafe {
            asm!(
                "mov {0}, qword ptr [rip + {copy}.slot@GOTTPOFF]",
                "mov {0}, qword ptr fs:[{0} + 8]",
                out(reg) rounds,
                copy = sym COPY,
                options(nostack, preserves_flags, readonly)
            );
        }
        rounds
    }

    pub(super) fn set_rounds(rounds: usize) {
        // SAFETY: writes this thread's second word.
        unsafe {
            asm!(
                "mov {0}, qword ptr [rip + {copy}.slot@GOTTPOFF]",
                "mov qword ptr fs:[{0} + 8], {1}",
                out(reg) _,
                in(reg) rounds,
                copy = sym COPY,
                options(nostack, preserves_flags)
            );
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod tls {
    use crate::mcache::Cache;
    use core::cell::Cell;
    use core::ptr;

    std::thread_local! {
        // Constant and without a destructor: never allocates, never gone.
        static SLOT: Cell<*const Cache> = const { Cell::new(ptr::null()) };
        static ROUNDS: Cell<usize> = const { Cell::new(0) };
    }

    /// Rounds of its end that the thread has gone through.
    #[inline(never)]
    pub(super) fn rounds() -> usize {
        ROUNDS.with(Cell::get)
    }

    #[inline(never)]
    pub(super) fn set_rounds(rounds: usize) {
        ROUNDS.with(|r| r.set(rounds));
    }

    // Not inlined, so that the address is not kept across a change of threads.
    #[inline(never)]
    pub(super) fn get() -> *const Cache {
        SLOT.with(Cell::get)
    }

    #[inline(never)]
    pub(super) fn set(cache: *const Cache) {
        SLOT.with(|slot| slot.set(cache));
    }
}

/// This thread's cache; null without one.
#[inline(always)]
pub(crate) fn own() -> *const Cache {
    tls::get()
}

/// Runs one operation on this thread's cache. Where `f` calls back here (to wake the scavenger may
/// allocate), it has left the cache as it may be found, and expects it changed.
#[inline(always)]
pub(crate) fn with_cache<R>(f: impl FnOnce(&Cache) -> R) -> R {
    let cache = tls::get();
    if cache.is_null() {
        return with_new_cache(f);
    }
    // SAFETY: caches are never unmade, and this one is leased to this thread.
    f(unsafe { &*cache })
}

#[cold]
#[inline(never)]
fn with_new_cache<R>(f: impl FnOnce(&Cache) -> R) -> R {
    // A free may be the first that a thread asks for.
    let cache = sys::keep_errno(lease);
    if cache.is_null() {
        return f(&SHARED.lock());
    }
    // SAFETY: as in `with_cache`.
    f(unsafe { &*cache })
}

/// The slot `i` for the caller, if it is free.
fn try_lease(i: usize) -> bool {
    let bit = 1 << (i % 64);
    LEASED[i / 64].fetch_or(bit, Ordering::Acquire) & bit == 0
}

fn unlease(i: usize) {
    LEASED[i / 64].fetch_and(!(1 << (i % 64)), Ordering::Release);
}

/// Null if there is no slot or no memory for its cache, or if the thread is past its end.
#[cold]
#[inline(never)]
fn lease() -> *const Cache {
    if tls::rounds() == ROUNDS {
        return ptr::null();
    }
    for (w, word) in LEASED.iter().enumerate() {
        loop {
            let free = (!word.load(Ordering::Relaxed)).trailing_zeros() as usize;
            if free == 64 {
                break;
            }
            let i = w * 64 + free;
            if !try_lease(i) {
                continue;
            }
            let cache = cache_of(i);
            if cache.is_null() {
                unlease(i);
                return cache;
            }
            tls::set(cache);
            set_up();
            return cache;
        }
    }
    ptr::null()
}

/// The cache of a slot this thread leases, made at first need.
fn cache_of(i: usize) -> *const Cache {
    let mut cache = CACHES[i].load(Ordering::Relaxed);
    if cache.is_null()
        && let Some(p) = persistent_alloc(size_of::<Cache>(), align_of::<Cache>())
    {
        cache = p.as_ptr().cast();
        // SAFETY: the right size and alignment, and nobody else's.
        unsafe { cache.write(Cache::new(cache.addr(), i)) };
        CACHES[i].store(cache, Ordering::Release);
    }
    cache
}

/// Once per process the environment, the key and the fork handlers, once per lease the key's value.
/// All but the first may allocate, which finds the slot leased already.
fn set_up() {
    if SETUP.load(Ordering::Acquire) != 2 {
        if SETUP
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Acquire)
            .is_ok()
        {
            scavenge::configure();
            let mut key = 0;
            // SAFETY: `exit` is a function for any value.
            if unsafe { libc::pthread_key_create(&mut key, Some(exit)) } == 0 {
                KEY.store(key + 1, Ordering::Relaxed);
            }
            fork::install();
            SETUP.store(2, Ordering::Release);
        }
        // Bounded, for the thread that does it may not be there: a child of `fork` has but one. Then
        // this thread's cache is not emptied at its exit, and that is all.
        for _ in 0..10_000 {
            if SETUP.load(Ordering::Acquire) == 2 {
                break;
            }
            std::thread::yield_now();
        }
    }
    arm();
}

/// Has the environment read now, if it has not been: what the program sets afterwards counts.
pub(crate) fn ensure_set_up() {
    if SETUP.load(Ordering::Acquire) != 2 {
        with_cache(|_| ());
    }
}

/// Has [`exit`] run when this thread ends, or in the next round of its end.
fn arm() {
    let key = KEY.load(Ordering::Relaxed);
    if key != 0 {
        // SAFETY: the key exists; any value but null makes the destructor run.
        unsafe { libc::pthread_setspecific(key - 1, ptr::without_provenance(1)) };
    }
}

extern "C" fn exit(_: *mut libc::c_void) {
    let rounds = tls::rounds() + 1;
    tls::set_rounds(rounds);
    if rounds < ROUNDS {
        arm();
    }
    let cache = tls::get();
    if !cache.is_null() {
        // SAFETY: leased to this thread until the next line.
        unsafe { (*cache).flush() };
        release_slot();
    }
}

/// Ends this thread's lease of a cache, which keeps its spans for the next lessee (the scavenger
/// gives them back if none comes). For a thread that goes idle; the next allocation leases the
/// lowest free slot again. Exiting threads need no call.
///
/// Cheap enough for every time a thread goes idle: O(1), one atomic operation on the slot's own
/// word, and no other thread's state is looked at. The lease that follows is an atomic operation,
/// a scan of at most 64 words of bits (one, below 64 threads), and a `pthread_setspecific`.
///
/// ```
/// galloc::release_slot();
/// let still_fine = Box::new(1);
/// ```
pub fn release_slot() {
    let cache = tls::get();
    if !cache.is_null() {
        tls::set(ptr::null());
        // SAFETY: caches are never unmade; `slot` does not change.
        unlease(unsafe { (*cache).slot });
    }
}

/// Runs `f`, which is the program's, in the middle of an operation on this thread's cache: without that
/// cache. What `f` allocates comes from another, and it cannot give this one up. `f` does not unwind.
pub(crate) fn aside(f: extern "C" fn()) {
    let cache = tls::get();
    tls::set(ptr::null());
    f();
    release_slot();
    tls::set(cache);
}

/// This thread has a cache of its own.
pub(crate) fn is_leased() -> bool {
    !tls::get().is_null()
}

/// Empties this thread's cache, if it has one.
pub(crate) fn flush_own() {
    let cache = tls::get();
    if !cache.is_null() {
        // SAFETY: leased to this thread.
        unsafe { (*cache).flush() };
    }
}

fn caches() -> impl Iterator<Item = (usize, *const Cache)> {
    CACHES
        .iter()
        .map(|c| c.load(Ordering::Acquire).cast_const())
        .enumerate()
        .filter(|(_, c)| !c.is_null())
}

pub(crate) fn bytes_of_caches() -> usize {
    caches().count() * size_of::<Cache>()
}

/// Empties the caches that no thread leases, and the shared one unless it is in use, by the caller perhaps.
pub(crate) fn flush_idle() {
    if let Some(shared) = SHARED.try_lock() {
        shared.flush();
    }
    for (i, cache) in caches() {
        if try_lease(i) {
            // SAFETY: leased to this thread until the next line.
            unsafe { (*cache).flush() };
            unlease(i);
        }
    }
}

/// All caches, the shared one too, for what any thread may do.
fn any_caches() -> impl Iterator<Item = *const Cache> {
    caches().map(|(_, cache)| cache).chain([SHARED.as_ptr()])
}

/// Frees the large objects on the shelves of all threads.
pub(crate) fn clear_shelves() {
    for cache in any_caches() {
        // SAFETY: caches are never unmade, no `&mut` to one is ever made, and this is for any thread.
        unsafe { (*cache).clear_shelf() };
    }
}

/// Frees those that have lain there since the last call; true if anything was there.
pub(crate) fn age_shelves() -> bool {
    let mut any = false;
    for cache in any_caches() {
        // SAFETY: as above.
        any |= unsafe { (*cache).age_shelf() };
    }
    any
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Galloc;
    use core::alloc::{GlobalAlloc, Layout};
    use std::sync::mpsc;
    use std::thread;

    fn object(size: usize, tag: u8) -> (usize, Layout, u8) {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the size is not 0, and the bytes are the object's.
        unsafe {
            let p = Galloc.alloc(layout);
            assert!(!p.is_null());
            p.write_bytes(tag, size);
            (p.expose_provenance(), layout, tag)
        }
    }

    fn free((at, layout, tag): (usize, Layout, u8)) {
        let p = ptr::with_exposed_provenance_mut::<u8>(at);
        // SAFETY: an object of `object`, freed once.
        unsafe {
            let bytes = core::slice::from_raw_parts(p, layout.size());
            assert!(bytes.iter().all(|&b| b == tag));
            Galloc.dealloc(p, layout);
        }
    }

    /// Four threads without a slot: each frees one half of its objects, the next one the other half.
    fn share() {
        let taken: Vec<usize> = (0..SLOTS).filter(|&i| try_lease(i)).collect();
        thread::scope(|s| {
            let (ends, mut starts): (Vec<_>, Vec<_>) = (0..4).map(|_| mpsc::channel()).unzip();
            starts.rotate_left(1);
            for (tag, (to, from)) in ends.into_iter().zip(starts).enumerate() {
                s.spawn(move || {
                    for round in 0..20 {
                        let sizes = (1..200).map(|i| if i % 50 == 0 { i << 10 } else { i * 13 });
                        let all = sizes.map(|size| object(size, tag as u8 + round * 4));
                        let (here, there): (Vec<_>, _) = all.partition(|o| o.1.size() % 2 == 0);
                        to.send(there).unwrap();
                        here.into_iter().for_each(free);
                        from.recv().unwrap().into_iter().for_each(free);
                    }
                    assert!(!is_leased());
                });
            }
        });
        // Its shelf is cleared while somebody is at work on the cache, too.
        let lies_there = || {
            let shared = SHARED.lock();
            let span = shared.alloc_large(13, 1);
            if !span.is_null() {
                // SAFETY: it came from there just now.
                unsafe { shared.free_large(span) };
            }
            !span.is_null()
        };
        let one = thread::spawn(move || {
            free(object(13 * crate::PAGE_SIZE, 1));
            assert!(lies_there());
            let in_use = SHARED.lock();
            scavenge::empty_caches();
            drop(in_use);
            assert!(!lies_there());
        });
        one.join().unwrap();
        taken.into_iter().for_each(unlease);
        let one = thread::spawn(|| {
            free(object(100, 1));
            is_leased()
        });
        assert!(one.join().unwrap(), "slots are free again");
    }

    #[test]
    fn what_runs_aside_has_another_cache() {
        extern "C" fn f() {
            assert!(!is_leased());
            free(object(100, 2));
            free(object(1_900_000, 3));
            assert!(is_leased());
            release_slot();
            free(object(100, 4));
        }
        free(object(100, 1));
        let cache = own();
        let slot = with_cache(|c| c.slot);
        aside(f);
        assert_eq!(own(), cache);
        assert!(!try_lease(slot), "it was this thread's all the time");
    }

    /// glibc frees a thread's buffers (`getaddrinfo`'s, `strerror`'s) when no destructor is left to run.
    #[test]
    fn a_thread_past_its_end_leases_no_slot() {
        static KEY: AtomicU32 = AtomicU32::new(0);
        static LEASED_IN: Mutex<[Option<bool>; ROUNDS]> = Mutex::new([None; ROUNDS]);
        /// Runs after galloc's, whose key is older, in every round.
        extern "C" fn ends(round: *mut libc::c_void) {
            free(object(100, 1));
            free(object(100_000, 2));
            LEASED_IN.lock()[round.addr() - 1] = Some(is_leased());
            // SAFETY: the key exists.
            unsafe {
                libc::pthread_setspecific(
                    KEY.load(Ordering::Relaxed),
                    ptr::without_provenance(round.addr() + 1),
                )
            };
        }
        free(object(100, 3));
        let mut key = 0;
        // SAFETY: `ends` is a destructor for the values it sets.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(ends)) }, 0);
        assert!(key >= super::KEY.load(Ordering::Relaxed));
        KEY.store(key, Ordering::Relaxed);
        let thread = thread::spawn(move || {
            free(object(100, 4));
            // SAFETY: the key exists.
            unsafe { libc::pthread_setspecific(key, ptr::without_provenance(1)) };
        });
        thread.join().unwrap();
        let [.., before, last] = *LEASED_IN.lock();
        assert_eq!(before, Some(true), "destructors of keys may allocate");
        assert_eq!(last, Some(false), "nobody would end this lease");
    }

    /// As beyond 4096 threads. In a child, where no other test gives a slot back meanwhile.
    #[test]
    fn threads_without_a_slot_share_a_cache() {
        // SAFETY: the child works and leaves by `_exit`.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(i32::from(std::panic::catch_unwind(share).is_err()));
            }
            let mut status = -1;
            libc::waitpid(child, &mut status, 0);
            assert_eq!(status, 0, "the child says why");
        }
    }
}
