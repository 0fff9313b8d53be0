//! The table under the faces. From the lowest: [`tophash`], [`group`], [`bucket`], [`overflow`], [`pages`]
//! and [`array`]; [`hmap`] (lookup, assignment, deletion) with [`grow`], [`evacuate`], [`iter`],
//! [`place`] and [`index`]; [`table`], which adds the allocator and owns the entries. All `unsafe` that
//! touches the table's memory is here; a face has some only to lend out an entry for the life of its own borrow.

mod array;
mod bucket;
mod evacuate;
mod group;
mod grow;
mod hmap;
mod index;
mod iter;
mod overflow;
mod pages;
mod place;
mod table;
mod tophash;

#[cfg(test)]
mod tests;

pub(crate) use hmap::{ByClosure, Rehash, Slot};
pub(crate) use index::Index;
#[cfg(feature = "rayon")]
pub(crate) use iter::Piece;
pub(crate) use iter::RawIter;
pub(crate) use place::{Matches, Place};
pub(crate) use table::{Entries, Extract, RawDrain, RawTable};
