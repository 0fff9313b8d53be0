//! Opening a plugin once, however often and from wherever it is asked for.
//!
//! Re-creates `open` of Go 1.19's `plugin/plugin_dlopen.go`: a map from real path to plugin, in which a
//! placeholder stands while the plugin is being initialised.
//!
//! Invariants (R133)
//! - A path is in one of four states: absent, opening (by one thread), open, failed. Only the thread that
//!   made it opening moves it on, and it always does: [`Opening`] does so when it is dropped, whatever
//!   happened. (Go's code returns from the middle of its symbol loop without closing `loaded`, and whoever
//!   opens the path later hangs.)
//! - Failures are remembered once the library was loaded, because it is not unloaded. What fails before
//!   that leaves no trace: another file may stand at that path tomorrow.
//! - A name is loaded from one path. A copy of a library, or a hard link to it, is refused.
//! - No lock is held while foreign code runs: neither during `dlopen`, which runs constructors, nor during
//!   initialisation. Both may open other plugins.
//! - Nobody waits here for a thread that waits here for it: before waiting, the chain of who waits for whom is
//!   followed, and a chain that ends here is an error (Go deadlocks). Waits elsewhere are not seen: an
//!   initialisation that joins a thread which opens the plugin hangs, as its documentation says.

use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};

use crate::build::Build;
use crate::declaration::{Declaration, EXPORT};
use crate::error::OpenError;
use crate::host::Host;
use crate::plugin::Plugin;

/// What is known of a real path.
enum State {
    Opening(ThreadId),
    Open(&'static Plugin),
    Failed(Arc<OpenError>),
}

struct Plugins {
    paths: Option<HashMap<PathBuf, State>>,
    /// The path that a plugin of a name was loaded from.
    names: Option<HashMap<String, PathBuf>>,
    /// The path that a thread waits for.
    waiting: Option<HashMap<ThreadId, PathBuf>>,
}

static PLUGINS: Mutex<Plugins> = Mutex::new(Plugins {
    paths: None,
    names: None,
    waiting: None,
});

/// Signalled whenever a path stops being in the state `Opening`.
static MOVED_ON: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Plugins> {
    // Whatever panicked with the lock held did so between whole changes.
    PLUGINS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plugins {
    fn paths(&mut self) -> &mut HashMap<PathBuf, State> {
        self.paths.get_or_insert_default()
    }

    /// Whether waiting for `path` would be waiting for `me`.
    fn leads_to(&mut self, path: &Path, me: ThreadId) -> bool {
        let mut path = path.to_path_buf();
        while let Some(State::Opening(owner)) = self.paths().get(&path) {
            let owner = *owner;
            if owner == me {
                return true;
            }
            match self.waiting.get_or_insert_default().get(&owner) {
                Some(next) => path = next.clone(),
                None => return false,
            }
        }
        false
    }

    /// Says that `path` holds the plugin `name`.
    fn claim(&mut self, name: &str, path: &Path) -> Result<(), OpenError> {
        let names = self.names.get_or_insert_default();
        if let Some(loaded) = names.get(name) {
            return Err(OpenError::AlreadyLoaded {
                name: name.into(),
                path: path.into(),
                loaded: loaded.clone(),
            });
        }
        names.insert(name.into(), path.into());
        Ok(())
    }
}

/// The duty to move a path on from the state `Opening`.
struct Opening {
    path: PathBuf,
    /// What it moves on to; absent if nothing is to be remembered.
    then: Option<State>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut plugins = lock();
        match self.then.take() {
            Some(state) => plugins.paths().insert(self.path.clone(), state),
            None => plugins.paths().remove(&self.path),
        };
        drop(plugins);
        MOVED_ON.notify_all();
    }
}

/// Opens a plugin with this image's list of plugins.
///
/// # Safety
/// As for [`open`](crate::open).
pub(crate) unsafe fn open_here(host: &Host, path: &Path) -> Result<&'static Plugin, OpenError> {
    let path = path.canonicalize().map_err(|e| OpenError::Path {
        path: path.into(),
        message: e.to_string(),
    })?;
    let mut opening = match begin(path)? {
        Begin::Found(plugin) => return Ok(plugin),
        Begin::Mine(opening) => opening,
    };
    // SAFETY: the caller's contract, passed on.
    let result = unsafe { load(host, &opening.path) };
    opening.then = match &result {
        Ok(plugin) => Some(State::Open(plugin)),
        Err(OpenError::Load { .. }) => None,
        Err(e) => Some(State::Failed(Arc::new(e.clone()))),
    };
    result
}

enum Begin {
    Found(&'static Plugin),
    Mine(Opening),
}

/// Finds the plugin, waits for whoever is opening it, or takes the duty to open it.
fn begin(path: PathBuf) -> Result<Begin, OpenError> {
    let me = thread::current().id();
    let mut plugins = lock();
    loop {
        match plugins.paths().get(&path) {
            Some(State::Open(plugin)) => return Ok(Begin::Found(plugin)),
            Some(State::Failed(failure)) => {
                let failure = failure.clone();
                return Err(OpenError::Previous { path, failure });
            }
            Some(State::Opening(_)) => {
                if plugins.leads_to(&path, me) {
                    return Err(OpenError::Cycle { path });
                }
                plugins
                    .waiting
                    .get_or_insert_default()
                    .insert(me, path.clone());
                plugins = MOVED_ON
                    .wait(plugins)
                    .unwrap_or_else(PoisonError::into_inner);
                plugins.waiting.get_or_insert_default().remove(&me);
            }
            None => {
                plugins.paths().insert(path.clone(), State::Opening(me));
                return Ok(Begin::Mine(Opening { path, then: None }));
            }
        }
    }
}

/// Loads the library, checks what it says of itself, and initialises it.
///
/// # Safety
/// As for [`open`](crate::open).
unsafe fn load(host: &Host, path: &Path) -> Result<&'static Plugin, OpenError> {
    // SAFETY: the caller vouches for the library's constructors.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) };
    let library = library.map_err(|e| OpenError::Load {
        path: path.into(),
        message: std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string),
    })?;
    // Never unloaded: pointers into it are handed out as 'static.
    let library = ManuallyDrop::new(library);
    // SAFETY: the export, if it is there, is a static: its address is what is asked for.
    let export = unsafe { library.get::<*const Declaration>(EXPORT) };
    let not_a_plugin = || OpenError::NotAPlugin { path: path.into() };
    let at = export.map_err(|_| not_a_plugin())?.as_raw_ptr();
    let at = at.cast::<Declaration>().cast_const();
    // SAFETY: the address of a static exported under that name; the caller vouches that what is called
    // so is ours.
    let build = unsafe { Declaration::probe(at) }.ok_or_else(not_a_plugin)?;
    let different = |what: &str, wanted: &str, found: &str| OpenError::Build {
        path: path.into(),
        what: what.into(),
        wanted: wanted.into(),
        found: found.into(),
    };
    if let Some((what, wanted, found)) = Build::current().difference(&build) {
        return Err(different(what, &wanted, &found));
    }
    // SAFETY: `probe` found it.
    let (wanted, found) = (size_of::<Declaration>(), unsafe {
        Declaration::size_at(at)
    });
    if wanted != found {
        let bytes = |n| format!("{n} bytes");
        return Err(different("declaration", &bytes(wanted), &bytes(found)));
    }
    // SAFETY: it is a declaration, written by the same version of this crate, compiled by the same
    // compiler for the same target, and it lives as long as the library, which is never unloaded.
    let declaration: &'static Declaration = unsafe { &*at };
    check(host, path, declaration)?;
    lock().claim(declaration.name(), path)?;
    if let Some(allocator) = declaration.allocator_used().forward() {
        allocator
            .connect(host.functions())
            .map_err(|early| OpenError::Allocator {
                path: path.into(),
                wanted: "the host's from the start".into(),
                found: format!("{early} blocks allocated before the plugin was opened"),
            })?;
    }
    declaration.init(host).map_err(|failure| OpenError::Init {
        path: path.into(),
        failure,
    })?;
    Ok(Box::leak(Box::new(Plugin::new(path.into(), declaration))))
}

/// Compares everything that both sides must agree in beyond the build.
fn check(host: &Host, path: &Path, declaration: &Declaration) -> Result<(), OpenError> {
    let different = |what: String, wanted: &str, found: &str| OpenError::Build {
        path: path.into(),
        what,
        wanted: wanted.into(),
        found: found.into(),
    };
    if declaration.host_type() != std::any::TypeId::of::<Host>() {
        return Err(different(
            "build of crate gplugin".into(),
            "this program's",
            "one of other features, profile or source (build both in one workspace)",
        ));
    }
    for (name, found) in declaration.crate_versions() {
        match host.version_of(name) {
            Some(wanted) if wanted != *found => {
                return Err(different(format!("version of crate {name}"), wanted, found));
            }
            _ => {}
        }
    }
    let (wanted, found) = (host.allocator_used(), declaration.allocator_used());
    if found.forward().is_none() && wanted != found {
        return Err(OpenError::Allocator {
            path: path.into(),
            wanted: wanted.to_string(),
            found: found.to_string(),
        });
    }
    Ok(())
}
