//! How an image was built, in a form that may be read before anything else about it is known.
//!
//! Everything here is `repr(C)`: two compilers may lay out Rust's own types differently, and telling
//! that they are two is what this is for. Go's counterpart are the package hashes that
//! `plugin_lastmoduleinit` compares (Go 1.19's `runtime/plugin.go`).

use std::fmt;

/// A string that any compiler reads alike.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Text {
    // Both constant, from a `&'static str`.
    ptr: *const u8,
    len: usize,
}

// SAFETY: it is a `&'static str` in two words.
unsafe impl Send for Text {}
// SAFETY: as above.
unsafe impl Sync for Text {}

impl Text {
    /// The text of a string.
    #[must_use]
    pub const fn new(s: &'static str) -> Self {
        Self {
            ptr: s.as_ptr(),
            len: s.len(),
        }
    }

    /// The string.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        // SAFETY: `new` is the only maker, so these are the parts of a `&'static str`. (In another
        // image as well: images are never unloaded, and whoever opens one vouches for it.)
        unsafe { str::from_utf8_unchecked(std::slice::from_raw_parts(self.ptr, self.len)) }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// How an image was built. A host and its plugins must agree in all of it.
///
/// ```
/// let build = gplugin::Build::current();
/// assert!(build.compiler().starts_with("rustc 1."));
/// assert_eq!(build.panic_strategy(), "unwind");
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Build {
    gplugin: Text,
    compiler: Text,
    target: Text,
    target_features: Text,
    panic_strategy: Text,
}

impl Build {
    /// How this crate was built.
    #[must_use]
    pub const fn current() -> Self {
        Self {
            gplugin: Text::new(env!("CARGO_PKG_VERSION")),
            compiler: Text::new(env!("GPLUGIN_COMPILER")),
            target: Text::new(env!("GPLUGIN_TARGET")),
            target_features: Text::new(env!("GPLUGIN_TARGET_FEATURES")),
            panic_strategy: Text::new(if cfg!(panic = "abort") {
                "abort"
            } else {
                "unwind"
            }),
        }
    }

    /// The same with the words of somebody else, for tests of what refuses them.
    #[doc(hidden)]
    #[must_use]
    pub const fn with_compiler(mut self, compiler: &'static str) -> Self {
        self.compiler = Text::new(compiler);
        self
    }

    /// The version of this crate.
    #[must_use]
    pub const fn gplugin(&self) -> &'static str {
        self.gplugin.as_str()
    }

    /// The compiler's version and commit.
    #[must_use]
    pub const fn compiler(&self) -> &'static str {
        self.compiler.as_str()
    }

    /// The target triple.
    #[must_use]
    pub const fn target(&self) -> &'static str {
        self.target.as_str()
    }

    /// The target features that code may use: they decide how vectors are passed.
    #[must_use]
    pub const fn target_features(&self) -> &'static str {
        self.target_features.as_str()
    }

    /// `unwind` or `abort`.
    #[must_use]
    pub const fn panic_strategy(&self) -> &'static str {
        self.panic_strategy.as_str()
    }

    /// The first thing in which `found` differs: its name, what it is here, what it is there.
    pub(crate) fn difference(&self, found: &Self) -> Option<(&'static str, String, String)> {
        let all = |b: &Self| {
            [
                ("gplugin version", b.gplugin),
                ("compiler", b.compiler),
                ("target", b.target),
                ("target features", b.target_features),
                ("panic strategy", b.panic_strategy),
            ]
        };
        let differs = |(w, f): &((_, Text), (_, Text))| w.1.as_str() != f.1.as_str();
        let pair = all(self).into_iter().zip(all(found)).find(differs)?;
        Some((pair.0.0, pair.0.1.as_str().into(), pair.1.1.as_str().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R133: whatever a build differs in is found, and named with what it is here and there.
    #[test]
    fn r133_every_difference_of_a_build_is_named() {
        let here = Build::current();
        assert_eq!(here.difference(&Build::current()), None);
        type Field = fn(&mut Build) -> &mut Text;
        let fields: [(&str, Field, &str); 5] = [
            ("gplugin version", |b| &mut b.gplugin, here.gplugin()),
            ("compiler", |b| &mut b.compiler, here.compiler()),
            ("target", |b| &mut b.target, here.target()),
            (
                "target features",
                |b| &mut b.target_features,
                here.target_features(),
            ),
            (
                "panic strategy",
                |b| &mut b.panic_strategy,
                here.panic_strategy(),
            ),
        ];
        for (name, field, wanted) in fields {
            let mut other = here;
            *field(&mut other) = Text::new("another");
            let difference = here.difference(&other).expect("they differ");
            assert_eq!(difference, (name, wanted.into(), "another".into()));
        }
    }
}
