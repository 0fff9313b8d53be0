//! Stack overflow: a report that names the goroutine, instead of a bare SIGSEGV (R36).
//!
//! A goroutine that runs off its stack touches the guard page below it. The handler runs on the M's
//! alternate signal stack, finds by the address whose guard it was, prints its id and where it was
//! spawned, and aborts. Any other fault goes to whoever handled the signal before.
//!
//! Only async-signal-safe things happen in the handler: loads, formatting into a buffer on the
//! stack, `write`, `abort`.

use crate::stack;
use core::fmt::{self, Write};
use core::sync::atomic::Ordering;
use std::sync::OnceLock;

const ALT_STACK: usize = 64 << 10;

struct Previous {
    segv: libc::sigaction,
    bus: libc::sigaction,
}

static PREVIOUS: OnceLock<Previous> = OnceLock::new();

/// Installs the handler, once for the process.
pub(crate) fn install() {
    PREVIOUS.get_or_init(|| Previous { segv: handle(libc::SIGSEGV), bus: handle(libc::SIGBUS) });
}

fn handle(signal: libc::c_int) -> libc::sigaction {
    // SAFETY: both structs are plain data for which zero is valid; `handler` has the signature that
    // SA_SIGINFO asks for and does only what a signal handler may.
    unsafe {
        let mut new: libc::sigaction = core::mem::zeroed();
        let mut old: libc::sigaction = core::mem::zeroed();
        new.sa_sigaction = handler as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut new.sa_mask);
        libc::sigaction(signal, &raw const new, &raw mut old);
        old
    }
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo for a synchronous fault.
    let addr = unsafe { (*info).si_addr() } as usize;
    if let Some(s) = stack::overflowed(addr) {
        report(s);
    }
    chain(signal, info, context);
}

fn report(s: &crate::runtime2::Stack) -> ! {
    let mut line = Line { buf: [0; 512], len: 0 };
    let _ = match s.g.get() {
        Some(g) => {
            // SAFETY: null or a `&'static Location` that the spawner stored.
            let at = unsafe { g.spawned_at.load(Ordering::Relaxed).as_ref() };
            let id = g.id.load(Ordering::Relaxed);
            match at {
                Some(at) => writeln!(
                    line,
                    "fatal error: stack overflow in goroutine {id}, spawned at {at}; \
                     Builder::stack_size sets how much a goroutine may use"
                ),
                None => writeln!(line, "fatal error: stack overflow in goroutine {id}"),
            }
        }
        None => writeln!(line, "fatal error: stack overflow in the scheduler"),
    };
    // SAFETY: writes a live buffer to stderr; abort is async-signal-safe.
    unsafe {
        libc::write(2, line.buf.as_ptr().cast(), line.len);
        libc::abort()
    }
}

/// Lets the previous handler have the fault.
fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(previous) = PREVIOUS.get() else { return default_action(signal) };
    let old = if signal == libc::SIGBUS { &previous.bus } else { &previous.segv };
    match old.sa_sigaction {
        // Returning runs the faulting instruction again, now with the default action.
        libc::SIG_DFL | libc::SIG_IGN => default_action(signal),
        f if old.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: a handler installed with SA_SIGINFO has this signature.
            let f: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { core::mem::transmute(f) };
            f(signal, info, context);
        }
        f => {
            // SAFETY: a handler installed without SA_SIGINFO has this signature.
            let f: extern "C" fn(libc::c_int) = unsafe { core::mem::transmute(f) };
            f(signal);
        }
    }
}

fn default_action(signal: libc::c_int) {
    // SAFETY: resets a disposition; async-signal-safe.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// A line of text without an allocation.
struct Line {
    buf: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.buf.len() - self.len);
        self.buf[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// The alternate signal stack of an M's thread: while its goroutine overflows, the handler needs
/// another stack to run on.
pub(crate) struct AltStack {
    memory: Vec<u8>,
    old: libc::stack_t,
}

impl AltStack {
    pub(crate) fn install() -> Self {
        let mut memory = vec![0_u8; ALT_STACK];
        let new = libc::stack_t {
            ss_sp: memory.as_mut_ptr().cast(),
            ss_flags: 0,
            ss_size: memory.len(),
        };
        let mut old = libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
        // SAFETY: the memory lives as long as the guard, which puts the old stack back.
        unsafe { libc::sigaltstack(&raw const new, &raw mut old) };
        Self { memory, old }
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        debug_assert_eq!(self.memory.len(), ALT_STACK);
        // SAFETY: the old stack was the thread's before and still is std's to free.
        unsafe { libc::sigaltstack(&raw const self.old, core::ptr::null_mut()) };
    }
}
