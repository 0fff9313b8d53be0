//! Go's interface tables.
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(all(feature = "inventory", not(loom)))]
mod auto;
#[cfg(not(loom))]
mod builtin;
#[cfg(not(loom))]
mod eface;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod global;
#[cfg(not(loom))]
mod iface;
mod itab;
#[cfg(not(loom))]
mod macros;
mod method;
#[cfg(not(loom))]
mod object;
mod rtype;
mod slots;
#[cfg(not(loom))]
mod switch;
mod sync;
mod table;

#[cfg(not(loom))]
pub use eface::{Eface, EfaceMut, OrNil};
#[cfg(not(loom))]
pub use error::TypeAssertionError;
#[cfg(not(loom))]
pub use global::{adopt, itab_table};
#[cfg(not(loom))]
pub use iface::{Iface, IfaceMut, Interface};
pub use method::{IMethod, Method, Recv, RecvMut};
#[cfg(not(loom))]
pub use object::{Assert, Object, expect_dyn, try_dyn};
pub use rtype::{Describe, Kind, RType};
pub use table::{ItabTable, Stats};

/// What the macros use. Not for anybody else.
#[cfg(not(loom))]
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "inventory")]
    pub use crate::auto::Auto;
    pub use crate::method::{index_of, sorted, sorted_methods};
    pub use crate::object::Caster;
    #[cfg(feature = "inventory")]
    pub use inventory;
}

/// Makes the methods of a described type known, so that values that come as `dyn Any` or
/// [`Eface::opaque`] can be asserted to interfaces. Doing so twice changes nothing; assertions that
/// failed before for want of it succeed from now on.
///
/// ```
/// use gitab::Eface;
///
/// struct Lamp(u8);
/// impl Lamp { fn watts(&self) -> u8 { self.0 } }
/// gitab::describe! { struct Lamp { fn watts(&self) -> u8; } }
/// gitab::interface! { trait Watts { fn watts(&self) -> u8; } }
///
/// let lamp = Lamp(60);
/// let e = Eface::opaque(&lamp);
/// assert!(e.assert::<dyn Watts>().is_none());
/// gitab::register_type::<Lamp>();
/// assert_eq!(e.assert::<dyn Watts>().unwrap().watts(), 60);
/// ```
#[cfg(not(loom))]
pub fn register_type<T: Describe>() {
    itab_table().register_type(RType::of_described::<T>());
}
