//! A plugin whose declaration says that it has another size.

use gplugin::__private::Declaration;
use gplugin::{Host, InitFailure};

fn init(_: &Host) -> Result<(), InitFailure> {
    unreachable!("it is refused before");
}

/// What this plugin says of itself.
#[unsafe(no_mangle)]
pub static GPLUGIN_DECLARATION: Declaration =
    Declaration::new("other_size", "1.0.0", &[], init).size(8);
