//! What can go wrong, said with what was wanted and what was found.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::declaration::InitFailure;

/// Why a plugin could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The path does not lead to a file. Not remembered.
    Path {
        /// The path as it was given.
        path: PathBuf,
        /// What the system says.
        message: String,
    },
    /// The file is no library that can be loaded here. Not remembered, as nothing was loaded.
    Load {
        /// The real path.
        path: PathBuf,
        /// What the dynamic loader says.
        message: String,
    },
    /// The library was not made with [`plugin!`](crate::plugin).
    NotAPlugin {
        /// The real path.
        path: PathBuf,
    },
    /// The library was built otherwise than this program.
    Build {
        /// The real path.
        path: PathBuf,
        /// In what they differ: `compiler`, `panic strategy`, `version of crate x`, ..
        what: String,
        /// What it is here.
        wanted: String,
        /// What it is there.
        found: String,
    },
    /// The library allocates memory elsewhere than this program.
    Allocator {
        /// The real path.
        path: PathBuf,
        /// This program's allocator.
        wanted: String,
        /// The library's.
        found: String,
    },
    /// A plugin of this name has been loaded from another path.
    AlreadyLoaded {
        /// The plugin's name.
        name: String,
        /// The real path.
        path: PathBuf,
        /// The path that it was loaded from before.
        loaded: PathBuf,
    },
    /// The plugin's initialisation failed.
    Init {
        /// The real path.
        path: PathBuf,
        /// How.
        failure: InitFailure,
    },
    /// Opening it has failed before, and a library is not unloaded.
    Previous {
        /// The real path.
        path: PathBuf,
        /// The failure then.
        failure: Arc<OpenError>,
    },
    /// The plugin is being opened by this thread, or by one that waits for this thread: waiting would
    /// never end.
    Cycle {
        /// The real path.
        path: PathBuf,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, message } => {
                write!(f, "plugin {}: {message}", path.display())
            }
            Self::Load { path, message } => {
                write!(f, "plugin {}: cannot be loaded: {message}", path.display())
            }
            Self::NotAPlugin { path } => {
                write!(f, "plugin {}: not a plugin: ", path.display())?;
                f.write_str("it exports no declaration made by plugin!")
            }
            Self::Build {
                path,
                what,
                wanted,
                found,
            } => {
                write!(f, "plugin {}: built with a different ", path.display())?;
                write!(f, "{what}: wanted {wanted}, found {found}")
            }
            Self::Allocator {
                path,
                wanted,
                found,
            } => {
                write!(f, "plugin {}: uses a different allocator: ", path.display())?;
                write!(f, "wanted {wanted}, found {found}")
            }
            Self::AlreadyLoaded { name, path, loaded } => {
                write!(f, "plugin {}: plugin already loaded: ", path.display())?;
                write!(f, "{name} came from {}", loaded.display())
            }
            Self::Init { path, failure } => match failure {
                InitFailure::Error(message) => {
                    write!(
                        f,
                        "plugin {}: initialisation failed: {message}",
                        path.display()
                    )
                }
                InitFailure::Panic(message) => {
                    write!(
                        f,
                        "plugin {}: initialisation panicked: {message}",
                        path.display()
                    )
                }
            },
            Self::Previous { failure, .. } => write!(f, "{failure} (previous failure)"),
            Self::Cycle { path } => {
                write!(
                    f,
                    "plugin {}: its initialisation waits for itself",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Previous { failure, .. } => Some(&**failure),
            _ => None,
        }
    }
}

/// Why a symbol was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LookupError {
    /// There is none of that name.
    Missing {
        /// The plugin's name.
        plugin: &'static str,
        /// The name looked up.
        symbol: String,
    },
    /// There is one of another type.
    Type {
        /// The plugin's name.
        plugin: &'static str,
        /// The name looked up.
        symbol: String,
        /// The type asked for.
        wanted: &'static str,
        /// The type that it has.
        found: &'static str,
    },
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { plugin, symbol } => {
                write!(f, "plugin: symbol {symbol} not found in plugin {plugin}")
            }
            Self::Type {
                plugin,
                symbol,
                wanted,
                found,
            } => {
                write!(
                    f,
                    "plugin: symbol {symbol} of plugin {plugin} has another type: "
                )?;
                write!(f, "wanted {wanted}, found {found}")?;
                if wanted == found {
                    f.write_str(" of another build of its crate")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for LookupError {}
