//! What a program hands to its plugins.

use std::alloc::GlobalAlloc;
use std::any::{Any, type_name};
use std::fmt;
use std::path::Path;
use std::sync::RwLock;

use crate::alloc::{Allocator, Functions};
use crate::error::OpenError;
use crate::open::open_here;
use crate::plugin::Plugin;

/// Opening is a function of the host's image: an image has statics of its own, and two lists of opened
/// plugins would open a plugin twice.
pub(crate) type OpenFn = unsafe fn(&Host, &Path) -> Result<&'static Plugin, OpenError>;

/// What a host made in this image begins with.
#[derive(Clone, Copy)]
struct Image {
    open: OpenFn,
    allocator: Allocator,
    functions: &'static Functions,
}

/// Written by `adopt`, when this image is a plugin being initialised.
static IMAGE: RwLock<Image> = RwLock::new(Image {
    open: open_here,
    allocator: Allocator::SYSTEM,
    functions: Functions::HERE,
});

/// What a program hands to the plugins that it opens: services by type, and what they must agree in.
///
/// ```
/// use gplugin::Host;
/// use std::sync::atomic::AtomicU32;
///
/// let host = Host::new()
///     .provide(AtomicU32::new(7))
///     .crate_version("shapes", "1.2.0");
/// assert!(host.get::<AtomicU32>().is_some());
/// // SAFETY: there is no such file, so nothing of it runs.
/// let error = unsafe { host.open("./no_such_plugin.so") }.unwrap_err();
/// assert!(error.to_string().contains("no_such_plugin.so"));
/// ```
pub struct Host {
    services: Vec<(&'static str, Box<dyn Any + Send + Sync>)>,
    crates: Vec<(String, String)>,
    image: Image,
}

impl Host {
    /// A host without services, which uses the system's allocator. In a plugin, whose memory is its host's, the
    /// allocator of the host that opened it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            services: Vec::new(),
            crates: Vec::new(),
            image: *IMAGE.read().unwrap_or_else(|e| e.into_inner()),
        }
    }

    /// With a value that plugins find by its type. The first of a type is the one found.
    #[must_use]
    pub fn provide<T: Any + Send + Sync>(mut self, service: T) -> Self {
        self.services.push((type_name::<T>(), Box::new(service)));
        self
    }

    /// With the version of a crate whose types this program shares with plugins. A plugin that lists the
    /// crate with another version is refused.
    #[must_use]
    pub fn crate_version(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.crates.push((name.into(), version.into()));
        self
    }

    /// With the program's global allocator, if it declares one.
    #[must_use]
    pub fn allocator<A: GlobalAlloc>(mut self, allocator: &'static A) -> Self {
        self.image.allocator = Allocator::of(allocator);
        self
    }

    /// The service of a type. Complexity: linear in the number of services.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.services.iter().find_map(|(_, s)| s.downcast_ref())
    }

    /// Opens the plugin at `path`, or returns it if it is open: see [`open`](crate::open).
    ///
    /// # Errors
    /// [`OpenError`]
    ///
    /// # Safety
    /// As for [`open`](crate::open).
    pub unsafe fn open(&self, path: impl AsRef<Path>) -> Result<&'static Plugin, OpenError> {
        // SAFETY: the caller's contract, passed on.
        unsafe { (self.image.open)(self, path.as_ref()) }
    }

    pub(crate) fn version_of(&self, name: &str) -> Option<&str> {
        let (_, version) = self.crates.iter().find(|(n, _)| n == name)?;
        Some(version)
    }

    pub(crate) fn allocator_used(&self) -> Allocator {
        self.image.allocator
    }

    pub(crate) fn functions(&self) -> &'static Functions {
        self.image.functions
    }

    /// Makes this image, a plugin, open plugins as its host does, into its host's list and for its host's
    /// allocator: that is the plugin's too, or the plugin would have been refused.
    pub(crate) fn adopt(&self) {
        *IMAGE.write().unwrap_or_else(|e| e.into_inner()) = self.image;
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<_> = self.services.iter().map(|(name, _)| name).collect();
        f.debug_struct("Host")
            .field("services", &services)
            .field("crates", &self.crates)
            .field("allocator", &self.image.allocator)
            .finish_non_exhaustive()
    }
}
