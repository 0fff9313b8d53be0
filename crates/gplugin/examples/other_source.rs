//! A plugin whose declaration was made by another build of gplugin: its `Host` is another type.

use gplugin::__private::Declaration;
use gplugin::{Host, InitFailure};

fn init(_: &Host) -> Result<(), InitFailure> {
    unreachable!("it is refused before");
}

/// What this plugin says of itself.
#[unsafe(no_mangle)]
pub static GPLUGIN_DECLARATION: Declaration =
    Declaration::new("other_source", "1.0.0", &[], init).host::<()>();
