//! Which types may cross threads, said at compile time.
//!
//! Values travel by move and no `&T` is ever made, so `T: Send` is all that any of these needs. (A channel of a type
//! that is not `Send` exists, as in `std`, and stays on its thread: doctests of [`Sender`] show what does not compile.)

use crate::err::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError,
    SendTimeoutError, TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
use crate::park::{Handle, HookAlreadySet, Reason};
use crate::{
    Chan, Drain, IntoIter, Iter, Range, Receiver, RecvFut, RecvOnly, RecvStream, Select,
    SelectCase, SelectFut, SendFut, SendOnly, Sender, TryIter, oneshot,
};
use std::cell::Cell;

/// `Send` and not `Sync`: the least that a value must be.
type Value = Cell<u8>;

const fn crosses_threads<T: Send + Sync>() {}
const fn moves<T: Send>() {}
const fn unwinds<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}

const _: () = {
    crosses_threads::<Sender<Value>>();
    crosses_threads::<Receiver<Value>>();
    crosses_threads::<Chan<Value>>();
    crosses_threads::<SendOnly<Value>>();
    crosses_threads::<RecvOnly<Value>>();
    crosses_threads::<oneshot::OneSender<Value>>();
    crosses_threads::<oneshot::OneReceiver<Value>>();
    crosses_threads::<Iter<'_, Value>>();
    crosses_threads::<TryIter<'_, Value>>();
    crosses_threads::<IntoIter<Value>>();
    crosses_threads::<Range<'_, Value>>();
    crosses_threads::<Drain<'_, Value>>();
    crosses_threads::<Select<'_>>();
    crosses_threads::<Handle>();
    crosses_threads::<Reason>();
    crosses_threads::<HookAlreadySet>();
    crosses_threads::<RecvStream<'_, Value>>();
    crosses_threads::<RecvFut<'_, Value>>();
    moves::<SendFut<'_, Value>>();
    moves::<SelectFut<'_, '_>>();
    moves::<SelectCase<'_, Value>>();
    crosses_threads::<RecvError>();
    crosses_threads::<RecvTimeoutError>();
    crosses_threads::<TryRecvError>();
    crosses_threads::<SelectTimeoutError>();
    crosses_threads::<TrySelectError>();
    crosses_threads::<ReadyTimeoutError>();
    crosses_threads::<TryReadyError>();
    moves::<SendError<Value>>();
    moves::<SendTimeoutError<Value>>();
    moves::<TrySendError<Value>>();
    unwinds::<Sender<Value>>();
    unwinds::<Receiver<Value>>();
};
