//! Waiting for an initialisation that panics (R133). A program of its own: a plugin is opened once per process.

mod common;

use common::{Waiting, assert_previous};
use gplugin::{InitFailure, OpenError};

/// Whoever waited for an initialisation that panics gets its failure, and nobody hangs. Nor does the panic get
/// into whoever opened the plugin.
#[test]
fn r133_a_panic_in_an_initialisation_lets_everybody_go() {
    // Nobody will ever tell: its `recv` fails, and it panics.
    let (first, others) = Waiting::begin().end(drop);
    let failure = first.unwrap_err();
    match &failure {
        OpenError::Init {
            failure: InitFailure::Panic(message),
            ..
        } => assert!(message.contains("RecvError"), "{message}"),
        other => panic!("{other}"),
    }
    for other in others {
        assert_previous(other.unwrap_err(), &failure);
    }
}
