//! The one table of the program, and how a plugin comes to share its host's.
//!
//! A static library linked into several images exists several times, and so do its statics. A plugin
//! therefore starts with an empty table of its own; [`adopt`] points it at the host's, after which
//! every assertion on either side sees every registration of both.
//!
//! Memory ordering: `HOME` is stored with release and loaded with acquire, because the table behind
//! it may have been filled by another thread.

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::itab::Itab;
use crate::slots::{INIT_SIZE, Slots};
use crate::table::ItabTable;

static STARTER: [AtomicPtr<Itab>; INIT_SIZE] =
    [const { AtomicPtr::new(ptr::null_mut()) }; INIT_SIZE];
static SLOTS: Slots = Slots::over(&STARTER);
static OWN: ItabTable = ItabTable::over(&SLOTS);

/// The table in use: `OWN`, or what `adopt` was given.
static HOME: AtomicPtr<ItabTable> = AtomicPtr::new((&raw const OWN).cast_mut());

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
    // SAFETY: `HOME` holds the address of `OWN` or of the `&'static` that `adopt` was given.
    unsafe { &*HOME.load(Ordering::Acquire) }
}

/// Uses another copy's table from now on: what a plugin does first, with the table that its host
/// hands over.
///
/// What was registered here before stays behind, in this copy's own table. Safe, because the layout
/// of [`ItabTable`] is a matter of its type: whoever got a `&'static ItabTable` across an image
/// boundary has vouched there that both images were built alike (`gplugin` checks it).
///
/// ```
/// // In a plugin: `host_table` came with the call of its initialisation.
/// let host_table = gitab::itab_table();
/// gitab::adopt(host_table);
/// assert!(core::ptr::eq(gitab::itab_table(), host_table));
/// ```
pub fn adopt(table: &'static ItabTable) {
    HOME.store(ptr::from_ref(table).cast_mut(), Ordering::Release);
}
