//! Waiting for initialisations that end badly (R133). A program of its own: the plugins of `plugins.rs`
//! end well there, and a plugin is opened once per process.

mod common;
#[path = "common/waits.rs"]
mod waits;

use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::thread;

use common::{open_with, plugin};
use gplugin::{Host, OpenError};
use waits::{Waiting, assert_previous};

/// Whoever waited for an initialisation that fails gets its failure, and nobody hangs.
#[test]
fn r133_a_failed_initialisation_lets_everybody_go() {
    let (first, others) = Waiting::begin().end(|go_on| go_on.send(false).unwrap());
    let failure = first.unwrap_err();
    assert!(matches!(failure, OpenError::Init { .. }), "{failure}");
    for other in others {
        assert_previous(other.unwrap_err(), &failure);
    }
}

/// Two plugins that open one another from two threads: whoever would close the circle gets an error,
/// and with it both end.
#[test]
fn r133_plugins_that_wait_for_one_another_fail() {
    let (one, two) = (plugin("init_opens"), plugin("init_opens_too"));
    let barrier = Arc::new(Barrier::new(2));
    let open = |mine: &PathBuf, other: &PathBuf| {
        let host = Host::new().provide(other.clone()).provide(barrier.clone());
        let mine = mine.clone();
        thread::spawn(move || open_with(&host, mine).map(|_| ()))
    };
    let threads = [open(&one, &two), open(&two, &one)];
    let errors = threads.map(|t| t.join().unwrap().unwrap_err().to_string());
    let circles = errors.iter().filter(|e| e.ends_with("waits for itself"));
    assert!(circles.count() >= 1, "{errors:?}");
}
