//! `done()` of a context as a channel, for select: Go's `<-ctx.Done()`.
//!
//! A channel is made for a context when it is first asked for, and kept with it; what cancels the
//! context drops its only sender, which closes it.

use gchan::Receiver;
use gmp_sched::Context;
use std::sync::OnceLock;

/// What gort adds to [`Context`].
pub trait ContextExt {
    /// A channel that is closed when the context is done; nothing is ever sent on it. All calls on one
    /// context, and on what [`Context::with_value`] makes of it, give the same channel.
    ///
    /// ```
    /// use gort::{Context, ContextExt, go};
    ///
    /// // SAFETY: nothing here holds thread-locals or `!Send` guards across a park.
    /// let rt = unsafe { gort::Builder::new().build_stackful() }.unwrap();
    /// rt.run(|| {
    ///     let (ctx, cancel) = Context::background().with_cancel();
    ///     let (tx, rx) = gort::chan::bounded::<u32>(0);
    ///     let worker = go(move || {
    ///         let done = ctx.done_chan();
    ///         gort::chan::select! {
    ///             recv(rx) -> n => Some(n.unwrap()),
    ///             recv(done) -> _ => None,
    ///         }
    ///     });
    ///     cancel.cancel();
    ///     assert_eq!(worker.join().unwrap(), None);
    ///     drop(tx);
    /// });
    /// ```
    fn done_chan(&self) -> Receiver<()>;
}

impl ContextExt for Context {
    fn done_chan(&self) -> Receiver<()> {
        let made = self.attachment(|| {
            let (sender, done) = gchan::bounded::<()>(1);
            self.after_func(move || drop(sender)).keep();
            done
        });
        made.unwrap_or_else(|| never()).clone()
    }
}

/// For the background, which is never done.
fn never() -> &'static Receiver<()> {
    static NEVER: OnceLock<(gchan::Sender<()>, Receiver<()>)> = OnceLock::new();
    &NEVER.get_or_init(|| gchan::bounded(1)).1
}
