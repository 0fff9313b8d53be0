//! Waiting for an initialisation that panics (R133). A program of its own: a plugin is opened once per process.

mod common;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{open_with, plugin};
use gplugin::{Host, InitFailure, OpenError};

/// Whoever waited for an initialisation that panics gets its failure, and nobody hangs. Nor does the panic get
/// into whoever opened the plugin.
#[test]
fn r133_a_panic_in_an_initialisation_lets_everybody_go() {
    let path = plugin("init_waits");
    let (begun, has_begun) = channel::<()>();
    let (go_on, told) = channel::<bool>();
    type Talk = (Mutex<Sender<()>>, Mutex<Receiver<bool>>);
    let talk: Talk = (Mutex::new(begun), Mutex::new(told));
    let host = Arc::new(Host::new().provide(talk));
    let open = || {
        let (host, path) = (host.clone(), path.clone());
        thread::spawn(move || open_with(&host, path).unwrap_err())
    };
    let first = open();
    has_begun.recv().unwrap();
    let others: Vec<_> = (0..8).map(|_| open()).collect();
    drop(go_on); // nobody will ever tell: its `recv` fails, and it panics
    let failure = first.join().unwrap();
    match &failure {
        OpenError::Init { failure, .. } => match failure {
            InitFailure::Panic(message) => assert!(message.contains("RecvError"), "{message}"),
            other => panic!("{other:?}"),
        },
        other => panic!("{other}"),
    }
    for other in others {
        match other.join().unwrap() {
            OpenError::Previous { failure: f, .. } => assert_eq!(*f, failure),
            other => panic!("{other}"),
        }
    }
}
