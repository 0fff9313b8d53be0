#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod alarm;
mod auto;
mod block;
mod case;
mod chan;
mod channel;
mod clock;
mod err;
mod future;
mod hchan;
mod iter;
mod list;
mod lock;
mod many;
#[cfg(all(test, loom))]
mod models;
mod now;
pub mod oneshot;
mod op;
pub mod park;
mod permit;
mod ring;
mod select;
mod select_macro;
mod selectgo;
mod sync;
#[cfg(not(loom))]
mod thread_parker;
mod veneer;
mod wait;
mod waitq;

pub use chan::{Chan, Range, RecvOnly, SelectCase, SendOnly, make, select_cases, try_select_cases};
pub use channel::{Receiver, Sender, after, at, bounded, never, tick, unbounded};
pub use err::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError,
    SendTimeoutError, TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
#[cfg(not(loom))]
pub use future::block_on;
pub use future::{RecvFut, RecvStream, SendFut};
pub use iter::{IntoIter, Iter, TryIter};
pub use many::Drain;
pub use select::{Select, SelectFut, SelectedOperation, internal};
