#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

#[cfg(feature = "inventory")]
mod auto;
mod builtin;
mod eface;
mod error;
mod global;
mod iface;
mod interface;
mod itab;
mod macros;
mod method;
mod object;
mod rtype;
mod slots;
mod switch;
mod sync;
mod table;

pub use eface::{Eface, EfaceMut, OrNil};
pub use error::TypeAssertionError;
pub use global::{adopt, itab_table};
pub use iface::{Iface, IfaceMut, Interface};
pub use method::{IMethod, Method, Recv, RecvMut};
pub use object::{Assert, Object, expect_dyn, try_dyn};
pub use rtype::{Describe, Kind, RType};
pub use table::{ItabTable, Stats};

/// What the macros use. Not for anybody else.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "inventory")]
    pub use crate::auto::Auto;
    pub use crate::interface::InterfaceType;
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
pub fn register_type<T: Describe>() {
    itab_table().register_type(RType::of_described::<T>());
}
