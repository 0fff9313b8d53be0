//! Sends and receives that do not wait: the lock is taken once, and what follows the unlock is done here.

use crate::hchan::{After, Got, Hchan, Locked, Sent};
use crate::list::Block;
use std::ptr;

/// Sends if that needs no waiting; never `NeedBlock`.
///
/// # Safety
/// `src` holds a value, moved out of it only when the answer is `Done`.
#[inline]
pub(crate) unsafe fn send<T>(chan: &Hchan<T>, src: *const T) -> Sent {
    // SAFETY: passed on; the value was not moved if the guard comes back.
    unsafe {
        match chan.lock().send_plain(src) {
            None => Sent::Done,
            Some(locked) => send_general(chan, locked, src),
        }
    }
}

#[inline(never)]
unsafe fn send_general<T>(chan: &Hchan<T>, mut locked: Locked<'_, T>, src: *const T) -> Sent {
    let mut after = After::nothing();
    // SAFETY: passed on.
    let sent = unsafe { locked.send(src, &mut after) };
    drop(locked);
    if sent == Sent::NeedBlock {
        // SAFETY: passed on; the value was not moved.
        return unsafe { send_with_block(chan, src) };
    }
    after.run(chan);
    sent
}

/// Sends with a block in hand, that the buffer may want.
///
/// # Safety
/// As [`send`].
#[cold]
pub(crate) unsafe fn send_with_block<T>(chan: &Hchan<T>, src: *const T) -> Sent {
    loop {
        let block = Block::new();
        let mut after = After::nothing();
        let mut locked = chan.lock();
        let surplus = locked.give_block(block);
        // SAFETY: passed on.
        let sent = unsafe { locked.send(src, &mut after) };
        drop(locked);
        drop(surplus);
        if sent != Sent::NeedBlock {
            after.run(chan);
            return sent;
        }
    }
}

/// Receives if that needs no waiting.
///
/// # Safety
/// `dst` may be written, and is when the answer is `Received`.
#[inline]
pub(crate) unsafe fn recv<T>(chan: &Hchan<T>, dst: *mut T) -> Got {
    // SAFETY: passed on.
    unsafe {
        match chan.lock().recv_plain(dst) {
            None => Got::Received,
            Some(locked) => recv_general(chan, locked, dst),
        }
    }
}

#[inline(never)]
unsafe fn recv_general<T>(chan: &Hchan<T>, mut locked: Locked<'_, T>, dst: *mut T) -> Got {
    let mut after = After::nothing();
    // SAFETY: passed on; no node is given to pair.
    let got = unsafe { locked.recv(dst, ptr::null_mut(), &mut after) };
    drop(locked);
    after.run(chan);
    got
}
