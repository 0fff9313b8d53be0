//! Sends and receives that do not wait: the lock is taken once, and what follows the unlock is done here.

use crate::hchan::{After, Dir, Got, Hchan, Locked, Sent, Turn};
use crate::list::Block;
use crate::op::Step;
use std::ptr;

/// Sends if that needs no waiting. `NeedBlock` means that there is no memory for one.
///
/// # Safety
/// `src` holds a value, moved out of it only when the answer is `Done`.
#[inline]
pub(crate) unsafe fn send<T>(chan: &Hchan<T>, src: *const T) -> Sent {
    let mut locked = chan.lock();
    // SAFETY: passed on.
    unsafe {
        let turn = locked.turn(Dir::Send);
        if turn == Turn::Pass {
            locked.pass(Dir::Send, src.cast_mut());
            return Sent::Done;
        }
        send_otherwise(chan, locked, turn, src)
    }
}

#[inline(never)]
unsafe fn send_otherwise<T>(
    chan: &Hchan<T>,
    mut locked: Locked<'_, T>,
    turn: Turn,
    src: *const T,
) -> Sent {
    if turn == Turn::Meet {
        // SAFETY: passed on; it is its turn.
        match unsafe { locked.meet(Dir::Send, src.cast_mut()) } {
            Ok(()) => return Sent::Done,
            Err(guard) => locked = guard,
        }
    }
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

/// Sends into an unbounded channel, for callers that cannot hand the value back: without memory for a block the program
/// ends, as it does when a `Vec` cannot grow.
///
/// # Safety
/// `src` holds a value, moved out of it unless the answer is `Closed`.
pub(crate) unsafe fn send_unbounded<T>(chan: &Hchan<T>, src: *const T) -> Step {
    // SAFETY: passed on.
    match unsafe { send_with_block(chan, src) } {
        Sent::NeedBlock => std::alloc::handle_alloc_error(Block::<T>::LAYOUT),
        Sent::Closed => Step::Closed,
        Sent::Done | Sent::Full => Step::Passed,
    }
}

/// Sends with a block in hand, that the buffer may want.
///
/// # Safety
/// As [`send`].
#[cold]
unsafe fn send_with_block<T>(chan: &Hchan<T>, src: *const T) -> Sent {
    loop {
        // Outside the lock, as the free below: an allocator may be slow, and is user code.
        let Some(block) = Block::new() else {
            return Sent::NeedBlock;
        };
        let mut after = After::nothing();
        let mut locked = chan.lock();
        let refused = locked.give_block(block);
        // SAFETY: passed on.
        let sent = unsafe { locked.send(src, &mut after) };
        let surplus = locked.take_surplus();
        drop(locked);
        drop((refused, surplus));
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
    let mut locked = chan.lock();
    // SAFETY: passed on.
    unsafe {
        let turn = locked.turn(Dir::Recv);
        if turn == Turn::Pass {
            locked.pass(Dir::Recv, dst);
            return Got::Received;
        }
        recv_otherwise(chan, locked, turn, dst)
    }
}

#[inline(never)]
unsafe fn recv_otherwise<T>(
    chan: &Hchan<T>,
    mut locked: Locked<'_, T>,
    turn: Turn,
    dst: *mut T,
) -> Got {
    if turn == Turn::Meet {
        // SAFETY: passed on; it is its turn.
        match unsafe { locked.meet(Dir::Recv, dst) } {
            Ok(()) => return Got::Received,
            Err(guard) => locked = guard,
        }
    }
    let mut after = After::nothing();
    // SAFETY: passed on; no node is given to pair.
    let got = unsafe { locked.recv(dst, ptr::null_mut(), &mut after) };
    drop(locked);
    match got {
        // SAFETY: there is a value.
        Got::Received => unsafe { after.run_received(chan, dst) },
        _ => after.run(chan),
    }
    got
}
