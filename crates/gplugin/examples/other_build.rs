//! A plugin that says another compiler built it.

use gplugin::__private::Declaration;
use gplugin::{Build, Host, InitFailure};

fn init(_: &Host) -> Result<(), InitFailure> {
    unreachable!("it is refused before");
}

/// What this plugin says of itself.
#[unsafe(no_mangle)]
pub static GPLUGIN_DECLARATION: Declaration = Declaration::new("other_build", "1.0.0", &[], init)
    .build(Build::current().with_compiler("rustc 1.0.0 (a59de37e9 2015-05-13)"));
