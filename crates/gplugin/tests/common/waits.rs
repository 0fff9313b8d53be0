//! Opens of a plugin that is being initialised.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use gplugin::{Host, OpenError};

use crate::common::{open_with, plugin};

/// That another call's failure was passed on.
pub(crate) fn assert_previous(error: OpenError, first: &OpenError) {
    match error {
        OpenError::Previous { failure, .. } => assert_eq!(*failure, *first),
        other => panic!("{other}"),
    }
}

/// How often a plugin had been initialised when it was open, or why it is not open.
pub(crate) type Opened = Result<u32, OpenError>;

/// `init_waits` while its initialisation waits to be told how to end, and eight more threads open it.
pub(crate) struct Waiting {
    first: JoinHandle<Opened>,
    others: Vec<JoinHandle<Opened>>,
    go_on: Sender<bool>,
}

impl Waiting {
    /// Once for each process: a plugin is opened once.
    pub(crate) fn begin() -> Self {
        type Talk = (Mutex<Sender<()>>, Mutex<Receiver<bool>>);
        let (begun, has_begun) = channel();
        let (go_on, told) = channel();
        let talk: Talk = (Mutex::new(begun), Mutex::new(told));
        let host = Arc::new(Host::new().provide(talk));
        let open = || {
            let host = host.clone();
            thread::spawn(move || {
                let plugin = open_with(&host, plugin("init_waits"))?;
                let inits = plugin.lookup::<&'static AtomicU32>("INITS").unwrap();
                Ok(inits.load(Relaxed))
            })
        };
        let first = open();
        has_begun.recv().unwrap();
        let others = (0..8).map(|_| open()).collect();
        Self {
            first,
            others,
            go_on,
        }
    }

    /// Lets the initialisation end by `end`. What the thread that runs it and the others were told.
    pub(crate) fn end(self, end: impl FnOnce(Sender<bool>)) -> (Opened, Vec<Opened>) {
        end(self.go_on);
        let others = self.others.into_iter().map(|t| t.join().unwrap());
        (self.first.join().unwrap(), others.collect())
    }
}
