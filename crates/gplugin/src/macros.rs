//! The macro that makes a `cdylib` a plugin.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::declaration::InitFailure;
use crate::host::Host;

/// Makes the crate, a `cdylib`, a plugin: exports its symbols with their types. Once per crate.
///
/// Everything but `symbols` may be left out; the order is fixed:
///
/// ```
/// use gplugin::Host;
/// use std::sync::atomic::AtomicU32;
///
/// fn greet(name: &str) -> String { format!("hello, {name}") }
/// static CALLS: AtomicU32 = AtomicU32::new(0);
/// fn init(_host: &Host) -> Result<(), String> { Ok(()) }
///
/// gplugin::plugin! {
///     name: "sample",                       // else the package's
///     crates: [("shapes", "1.2.0")],        // versions that must not differ from the host's
///     init: init,                           // runs once, when the plugin is opened
///     symbols: {
///         greet: fn(&str) -> String = greet,
///         CALLS: &'static AtomicU32 = &CALLS,
///         answer: u32 = 42,
///     }
/// }
/// # fn main() {}
/// ```
///
/// A plugin with a `#[global_allocator]` of its own says so, by `allocator: NAME` before `init`, or
/// `allocator: host NAME` for a [`HostAlloc`](crate::HostAlloc). A symbol's value is a constant of a `Sync`
/// type:
///
/// ```compile_fail,E0277
/// gplugin::plugin! {
///     symbols: { cell: std::cell::Cell<u8> = std::cell::Cell::new(1) }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    (
        $(name: $name:expr,)?
        $(version: $version:expr,)?
        $(crates: $crates:expr,)?
        $(allocator: $allocator:ident $($static:ident)?,)?
        $(init: $init:expr,)?
        symbols: { $($symbol:ident: $t:ty = $value:expr),* $(,)? } $(,)?
    ) => {
        /// What this plugin says of itself.
        #[unsafe(no_mangle)]
        pub static GPLUGIN_DECLARATION: $crate::__private::Declaration = {
            const __GPLUGIN_NAME: &str = $crate::__or!([$($name)?] [::core::env!("CARGO_PKG_NAME")]);
            const __GPLUGIN_VERSION: &str = $crate::__or!([$($version)?] [::core::env!("CARGO_PKG_VERSION")]);
            const __GPLUGIN_SYMBOLS: &[$crate::Symbol] = &[$({
                static __GPLUGIN_VALUE: $t = $value;
                $crate::Symbol::new::<$t>(::core::stringify!($symbol), &__GPLUGIN_VALUE)
            }),*];
            fn __gplugin_init(
                host: &$crate::Host,
            ) -> ::core::result::Result<(), $crate::InitFailure> {
                $crate::__private::init(host, || {
                    $( let () = ($init)(host).map_err(|e| ::std::string::ToString::to_string(&e))?; )?
                    ::core::result::Result::Ok(())
                })
            }
            $crate::__private::Declaration::new(
                __GPLUGIN_NAME, __GPLUGIN_VERSION, __GPLUGIN_SYMBOLS, __gplugin_init,
            )
                $(.crates(&$crates))?
                $(.allocator($crate::__allocator!($allocator $($static)?)))?
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __or {
    ([$given:expr] [$default:expr]) => {
        $given
    };
    ([] [$default:expr]) => {
        $default
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __allocator {
    (host $static:ident) => {
        $crate::__private::Allocator::host(&$static)
    };
    ($static:ident) => {
        $crate::__private::Allocator::of(&$static)
    };
}

/// Runs a plugin's initialisation, in the plugin's image: a panic is caught where it was thrown,
/// because another image's runtime could not catch it.
pub fn init(host: &Host, run: impl FnOnce() -> Result<(), String>) -> Result<(), InitFailure> {
    host.adopt();
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(InitFailure::Error),
        Err(payload) => {
            let message = payload
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "a payload that is no text".into());
            // A payload may panic again when it is dropped.
            std::mem::forget(payload);
            Err(InitFailure::Panic(message))
        }
    }
}
