//! A plugin that is open, and its symbols.

use std::any::type_name;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::declaration::{Declaration, Symbol};
use crate::error::LookupError;

/// A plugin. It stays loaded for the rest of the process: there is no unloading, as in Go, because
/// nothing could find every pointer into it.
pub struct Plugin {
    path: PathBuf,
    declaration: &'static Declaration,
}

impl Plugin {
    pub(crate) fn new(path: PathBuf, declaration: &'static Declaration) -> Self {
        Self { path, declaration }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.declaration.name()
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.declaration.version()
    }

    /// The real path that it was loaded from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All its symbols, in the order in which it lists them.
    #[must_use]
    pub fn symbols(&self) -> &'static [Symbol] {
        self.declaration.symbols()
    }

    /// The symbol `name`, if it is a `T`. Complexity: linear in the number of symbols.
    ///
    /// What is found may be called or read through; it lives as long as the process. A panic that would
    /// leave the plugin through a function aborts the process: an image cannot catch what another threw.
    ///
    /// # Errors
    /// If there is no such symbol, or if its type is another, which the error names.
    pub fn lookup<T: 'static>(&self, name: &str) -> Result<&'static T, LookupError> {
        let symbol = self.symbol(name)?;
        symbol.get().ok_or_else(|| LookupError::Type {
            plugin: self.name(),
            symbol: name.into(),
            wanted: type_name::<T>(),
            found: symbol.type_name(),
        })
    }

    /// The symbol `name`, whatever its type: Go's `Lookup`. Its [`value`](Symbol::value) may be asserted to
    /// an interface of gitab. Complexity: linear in the number of symbols.
    ///
    /// # Errors
    /// [`LookupError::Missing`] if there is no such symbol.
    pub fn symbol(&self, name: &str) -> Result<&'static Symbol, LookupError> {
        let found = self.symbols().iter().find(|s| s.name() == name);
        found.ok_or_else(|| LookupError::Missing {
            plugin: self.name(),
            symbol: name.into(),
        })
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name())
            .field("version", &self.version())
            .field("path", &self.path)
            .field("symbols", &self.symbols())
            .finish()
    }
}
