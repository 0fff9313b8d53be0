//! A library with galloc in it stays when it is closed, for what it leaves behind runs later: the scavenger's thread,
//! the ends of threads, the frees of its objects.

use libc::c_void;
use std::ffi::{CStr, CString};
use std::mem::transmute_copy;
use std::sync::mpsc;
use std::thread;

type Malloc = extern "C" fn(usize) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);

/// The library, which is made along with this program.
fn path() -> CString {
    let exe = std::env::current_exe().unwrap();
    let path = exe.with_file_name("libgalloc_preload.so");
    CString::new(path.into_os_string().into_encoded_bytes()).unwrap()
}

/// # Safety
/// The library has a function of that name and type.
unsafe fn function<F: Copy>(library: *mut c_void, name: &CStr) -> F {
    // SAFETY: the library is open; the type is as the caller promises, and a pointer's size as those above.
    unsafe {
        let f = libc::dlsym(library, name.as_ptr());
        assert!(!f.is_null());
        transmute_copy(&f)
    }
}

#[test]
fn a_closed_library_stays_for_what_it_left() {
    let path = path();
    // SAFETY: the functions are C's; each object is freed once.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        assert!(!library.is_null());
        let malloc: Malloc = function(library, c"malloc");
        let free: Free = function(library, c"free");
        // Free memory enough for its scavenger's thread.
        let all: Vec<_> = (0..200).map(|_| malloc(100_000)).collect();
        all.into_iter().for_each(|p| free(p));
        // A thread that ends when the library is closed.
        let (end, ends) = mpsc::channel::<()>();
        let (made, is_made) = mpsc::channel();
        let thread = thread::spawn(move || {
            made.send(malloc(100).expose_provenance()).unwrap();
            ends.recv().unwrap_err();
        });
        let object = is_made.recv().unwrap();
        assert_eq!(libc::dlclose(library), 0);
        let how = libc::RTLD_NOW | libc::RTLD_NOLOAD;
        assert!(!libc::dlopen(path.as_ptr(), how).is_null(), "it is gone");
        drop(end);
        thread.join().unwrap();
        free(std::ptr::with_exposed_provenance_mut(object));
        free(malloc(100_000));
    }
}
