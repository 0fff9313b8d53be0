//! Go's channels for Rust.
#![warn(missing_docs)]

mod alarm;
mod case;
mod channel;
mod clock;
mod err;
mod future;
mod hchan;
mod iter;
mod list;
mod lock;
mod now;
mod op;
pub mod park;
mod ring;
mod select;
mod select_macro;
mod selectgo;
mod sync;
mod thread_parker;
mod wait;
mod waitq;

pub use channel::{Receiver, Sender, after, at, bounded, never, tick, unbounded};
pub use err::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError,
    SendTimeoutError, TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
pub use future::{RecvFut, RecvStream, SendFut, block_on};
pub use iter::{IntoIter, Iter, TryIter};
pub use select::{Select, SelectFut, SelectedOperation, internal};
