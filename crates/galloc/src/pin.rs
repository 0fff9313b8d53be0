//! Keeping the library that galloc is in loaded.
//!
//! A shared library that takes its memory from galloc leaves behind what runs later: the scavenger's thread, the end
//! of each thread with a cache, and its objects, which others may free. After `dlclose` all these would be code
//! and data that are no longer there. So a constructor marks the library as one that `dlclose` does not unload
//! (`-z nodelete` would, which only who links it can say). It runs while the loader is at rest with the library, which
//! the first allocation may not: that may come from within the loader. An executable, and a library that is linked to
//! one, is never unloaded; there the mark changes nothing.

use core::ffi::c_char;
use core::ptr;

// SAFETY: an entry of this section is called with these arguments, once, after the library's relocations.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn(i32, *const *const c_char, *const *const c_char) = pin;

extern "C" fn pin(_: i32, _: *const *const c_char, _: *const *const c_char) {
    let program = holder(entry_of_program());
    let here = holder(ptr::from_ref(&CONSTRUCTOR).addr());
    let (Some(program), Some(here)) = (program, here) else {
        return;
    };
    if here.dli_fbase != program.dli_fbase {
        let how = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
        // SAFETY: the name is the loader's own of the library that this code is in. Nothing is loaded, and the
        // handle is never closed.
        unsafe { libc::dlopen(here.dli_fname, how) };
    }
}

/// What the loader knows of the file that an address is in.
fn holder(at: usize) -> Option<libc::Dl_info> {
    // SAFETY: the loader looks the address up and writes the record, for which zeroes are valid.
    unsafe {
        let mut info = core::mem::zeroed();
        (libc::dladdr(ptr::without_provenance(at), &mut info) != 0).then_some(info)
    }
}

fn entry_of_program() -> usize {
    // SAFETY: asks for a number.
    unsafe { libc::getauxval(libc::AT_ENTRY) as usize }
}
