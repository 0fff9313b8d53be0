//! A library that can be loaded and is no plugin.

/// Something to export.
#[unsafe(no_mangle)]
pub extern "C" fn gplugin_not_a_plugin() -> i32 {
    1
}
