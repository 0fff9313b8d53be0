//! The one table of the program, and how a plugin comes to share its host's.
//!
//! A static library linked into several images exists several times, and so do its statics. A plugin
//! therefore starts with an empty table of its own; [`adopt`] points it at the host's, after which
//! every assertion on either side sees every registration of both.
//!
//! Memory ordering: `HOME` is stored with release and loaded with acquire, because the table behind
//! it may have been filled by another thread.

use alloc::vec::Vec;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::interface::InterfaceType;
#[cfg(not(loom))]
use crate::slots::{Slots, Starter};
#[cfg(not(loom))]
use crate::sync::Lock;
use crate::table::ItabTable;

/// The table of this copy of the crate.
#[cfg(not(loom))]
const fn own() -> *mut ItabTable {
    static STARTER: Starter = Starter::new();
    static OWN: ItabTable = ItabTable::over(Slots::of(&STARTER));
    (&raw const OWN).cast_mut()
}

/// Loom's atomics cannot stand in statics; models make tables of their own.
#[cfg(loom)]
const fn own() -> *mut ItabTable {
    ptr::null_mut()
}

/// The table in use: this copy's own, or what `adopt` was given.
static HOME: AtomicPtr<ItabTable> = AtomicPtr::new(own());

/// The table that every assertion of this program looks into.
///
/// ```
/// let stats = gitab::itab_table().stats();
/// assert!(stats.size.is_power_of_two());
/// assert!(stats.count <= stats.size / 4 * 3);
/// ```
#[must_use]
#[inline]
pub fn itab_table() -> &'static ItabTable {
    #[cfg(loom)]
    assert!(
        !HOME.load(Ordering::Acquire).is_null(),
        "models use tables of their own"
    );
    // SAFETY: `HOME` holds the address of a static or of the `&'static` that `adopt` was given.
    unsafe { &*HOME.load(Ordering::Acquire) }
}

/// Uses another copy's table from now on: what a plugin does first, with the table that its host
/// hands over.
///
/// A library that carries its own copy of this crate (a `cdylib` does) and adopts nothing has a table of its own:
/// what is registered on one side is not known on the other. What an assertion gave works on either side.
///
/// What was registered here before stays behind, in this copy's own table, but what `auto_implements!` submitted
/// goes into the adopted one as well.
///
/// Safe, because the layout of [`ItabTable`] is a matter of its type: whoever got a `&'static ItabTable` across an
/// image boundary has vouched there that both images were built alike (`gplugin` checks it), and that neither is
/// ever unloaded: the table keeps addresses of both.
///
/// ```
/// // In a plugin: `host_table` came with the call of its initialisation.
/// let host_table = gitab::itab_table();
/// gitab::adopt(host_table);
/// assert!(core::ptr::eq(gitab::itab_table(), host_table));
/// ```
pub fn adopt(table: &'static ItabTable) {
    remembering(|interfaces| {
        HOME.store(ptr::from_ref(table).cast_mut(), Ordering::Release);
        // What was found in the former table is not to be found any more.
        for interface in interfaces {
            interface.forget();
        }
    });
    #[cfg(all(feature = "inventory", not(loom)))]
    crate::auto::take_again();
}

/// Whether assertions look into this table.
pub(crate) fn in_use(table: &'static ItabTable) -> bool {
    cfg!(loom) || ptr::eq(table, itab_table())
}

/// Runs `f` under the lock under which interfaces remember entries, on the list of those that do.
#[cfg(not(loom))]
pub(crate) fn remembering<R>(f: impl FnOnce(&mut Vec<&'static InterfaceType>) -> R) -> R {
    static REMEMBERING: Lock<Vec<&'static InterfaceType>> = Lock::new(Vec::new());
    REMEMBERING.with(f)
}

/// Loom's locks cannot stand in statics either. Models do without: they do not adopt, and their threads store
/// entries that are as good as one another's.
#[cfg(loom)]
pub(crate) fn remembering<R>(f: impl FnOnce(&mut Vec<&'static InterfaceType>) -> R) -> R {
    f(&mut Vec::new())
}
