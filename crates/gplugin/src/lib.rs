#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!("gplugin loads libraries with dlopen");

mod alloc;
mod build;
mod declaration;
mod error;
mod host;
mod macros;
mod open;
mod plugin;

use std::path::Path;

pub use alloc::HostAlloc;
pub use build::{Build, Text};
pub use declaration::{InitFailure, Symbol};
pub use error::{LookupError, OpenError};
pub use host::Host;
pub use plugin::Plugin;

/// What the macro uses. Not for anybody else.
#[doc(hidden)]
pub mod __private {
    pub use crate::alloc::Allocator;
    pub use crate::declaration::Declaration;
    pub use crate::macros::init;
}

/// Opens the plugin at `path`, or returns it if it is open.
///
/// A plugin is known by its real path, symbolic links resolved. The first call loads the library, compares
/// how both sides were built, and runs the plugin's initialisation; calls that come meanwhile block their
/// thread until that has ended. A failure after loading is remembered: later calls fail with
/// [`OpenError::Previous`]. Initialisation must not be suspended and resumed on another thread, nor wait for a
/// thread that opens the plugin: that thread waits for it.
///
/// A plugin may open plugins, in its initialisation or later: into its host's list, as its host would.
///
/// ```no_run
/// // SAFETY: the library is ours, and built in this workspace.
/// let plugin = unsafe { gplugin::open("target/debug/libsample.so") }?;
/// let greet = plugin.lookup::<fn(&str) -> String>("greet")?;
/// assert_eq!(greet("you"), "hello, you");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`OpenError`] says what was wanted and what was found.
///
/// # Safety
/// This runs the library's constructors and initialisation; the caller vouches for them, and for the
/// following. If the library exports `GPLUGIN_DECLARATION`, [`plugin!`] made it. What it says of its
/// allocator is true, and so is what the [`Host`] says (this function's: [`Host::new`]). Functions that it exports
/// do what their types say; a panic that leaves one aborts the process. Types of one identity are one type: both
/// sides were built from the same source of every crate that they share. (The identity holds a crate's name,
/// version and features, not what is in its files.)
pub unsafe fn open(path: impl AsRef<Path>) -> Result<&'static Plugin, OpenError> {
    // SAFETY: the caller's contract, passed on.
    unsafe { Host::new().open(path) }
}
