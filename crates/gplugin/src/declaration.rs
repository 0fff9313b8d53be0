//! What a plugin exports: one static, which says how it was built, what it is called and what is in it.
//!
//! Go's compiler writes the same into a plugin's module data (`pluginpath`, `ptab`, `pkghashes`); here the
//! macro [`plugin!`](crate::plugin) does.
//!
//! Invariant: fields are read in order. `magic` and `size` say that the rest is a [`Declaration`]; `build`
//! is readable whoever compiled it; everything behind `build` is read only once `build` was found equal
//! to the host's, because only then do both sides lay out Rust's types alike.

use std::alloc::Layout;
use std::any::{Any, TypeId};
use std::fmt;

use crate::alloc::Allocator;
use crate::build::Build;
use crate::host::Host;

/// The name under which the declaration is exported.
pub(crate) const EXPORT: &[u8] = b"GPLUGIN_DECLARATION\0";

const MAGIC: [u8; 8] = *b"gplugin1";

/// A plugin's account of itself, exported by [`plugin!`](crate::plugin).
#[derive(Debug)]
#[repr(C)]
pub struct Declaration {
    // All constant: written by the macro.
    magic: [u8; 8],
    size: usize,
    build: Build,
    /// The type of the host's handle: it tells builds of this crate apart that `build` does not.
    host: TypeId,
    name: &'static str,
    version: &'static str,
    crates: &'static [(&'static str, &'static str)],
    allocator: Allocator,
    symbols: &'static [Symbol],
    init: fn(&Host) -> Result<(), InitFailure>,
}

/// Why a plugin's initialisation did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitFailure {
    /// It returned this error.
    Error(String),
    /// It panicked with this message. (Where panics abort, the process is gone instead.)
    Panic(String),
}

impl Declaration {
    /// A declaration of a plugin built as this crate was.
    #[must_use]
    pub const fn new(
        name: &'static str,
        version: &'static str,
        symbols: &'static [Symbol],
        init: fn(&Host) -> Result<(), InitFailure>,
    ) -> Self {
        Self {
            magic: MAGIC,
            size: size_of::<Self>(),
            build: Build::current(),
            host: TypeId::of::<Host>(),
            name,
            version,
            crates: &[],
            allocator: Allocator::SYSTEM,
            symbols,
            init,
        }
    }

    /// With the versions of crates whose types it shares with the host.
    #[must_use]
    pub const fn crates(mut self, crates: &'static [(&'static str, &'static str)]) -> Self {
        self.crates = crates;
        self
    }

    /// With the allocator that it uses.
    #[must_use]
    pub const fn allocator(mut self, allocator: Allocator) -> Self {
        self.allocator = allocator;
        self
    }

    /// With another build, for tests of what refuses it, as the next two.
    #[must_use]
    pub const fn build(mut self, build: Build) -> Self {
        self.build = build;
        self
    }

    /// With another size.
    #[must_use]
    pub const fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// With another type in place of the host's.
    #[must_use]
    pub const fn host<H: 'static>(mut self) -> Self {
        self.host = TypeId::of::<H>();
        self
    }

    /// The build, if there is a declaration at `at`.
    ///
    /// # Safety
    /// `at` is the address of a static that a library exports as `GPLUGIN_DECLARATION`, of at least
    /// eight bytes.
    pub(crate) unsafe fn probe(at: *const Self) -> Option<Build> {
        // SAFETY: eight bytes are there by contract; the rest is there if they are the magic ones,
        // which nothing but `new` writes. Fields are read one by one, because those behind `build`
        // need not be valid here.
        unsafe {
            ((&raw const (*at).magic).read() == MAGIC).then(|| (&raw const (*at).build).read())
        }
    }

    /// The size that it has there.
    ///
    /// # Safety
    /// `at` passed [`probe`](Self::probe).
    pub(crate) unsafe fn size_at(at: *const Self) -> usize {
        // SAFETY: `size` stands before `build`, which `probe` has read.
        unsafe { (&raw const (*at).size).read() }
    }

    pub(crate) fn host_type(&self) -> TypeId {
        self.host
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn version(&self) -> &'static str {
        self.version
    }

    pub(crate) fn crate_versions(&self) -> &'static [(&'static str, &'static str)] {
        self.crates
    }

    pub(crate) fn allocator_used(&self) -> Allocator {
        self.allocator
    }

    pub(crate) fn symbols(&self) -> &'static [Symbol] {
        self.symbols
    }

    pub(crate) fn init(&self, host: &Host) -> Result<(), InitFailure> {
        (self.init)(host)
    }
}

/// A name, a type, and a value of that type.
pub struct Symbol {
    // All constant.
    name: &'static str,
    type_name: fn() -> &'static str,
    /// An identity holds the names of a type's fields, and not their types: an edited crate may have given them
    /// others.
    layout: Layout,
    value: &'static (dyn Any + Sync),
}

impl Symbol {
    /// A symbol.
    #[must_use]
    pub const fn new<T: Sync + 'static>(name: &'static str, value: &'static T) -> Self {
        Self {
            name,
            type_name: std::any::type_name::<T>,
            layout: Layout::new::<T>(),
            value,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The name of its type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        (self.type_name)()
    }

    /// The value, if it is a `T` by identity and laid out as one.
    pub(crate) fn get<T: 'static>(&self) -> Option<&'static T> {
        let value: &dyn Any = self.value;
        value
            .downcast_ref()
            .filter(|_| self.layout == Layout::new::<T>())
    }

    /// The value, whatever it is: Go's `plugin.Symbol`, which is an empty interface. Identities of types
    /// are comparable across images, because a [`Plugin`](crate::Plugin) comes into being only where one
    /// compiler built both.
    #[must_use]
    pub const fn value(&self) -> &'static (dyn Any + Sync) {
        self.value
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.type_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R133: a type whose crate was edited between the builds has the same identity, and is told by its layout.
    #[test]
    fn r133_a_symbol_of_another_layout_is_another_type() {
        static VALUE: u32 = 42;
        let symbol = Symbol::new("answer", &VALUE);
        assert_eq!(symbol.get::<u32>(), Some(&42));
        assert_eq!(symbol.get::<i32>(), None);
        for layout in [Layout::new::<u8>(), Layout::new::<[u16; 2]>()] {
            assert_eq!(Symbol { layout, ..symbol }.get::<u32>(), None);
        }
    }
}
