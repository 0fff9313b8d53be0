//! Waiting for an initialisation that panics, and panics that leave a plugin (R133). A program of its own: a plugin is opened once per process.

mod common;
#[path = "common/waits.rs"]
mod waits;

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::panic::catch_unwind;
use std::process::Command;

use common::{open_with, plugin};
use gplugin::{Host, InitFailure, OpenError};
use waits::{Waiting, assert_previous};

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

/// A panic that leaves a plugin's function ends the process, rather than unwind an image that did not throw it.
#[test]
fn r133_a_panic_that_leaves_a_plugin_aborts() {
    const CHILD: &str = "GPLUGIN_TEST_PANICS";
    if env::var_os(CHILD).is_some() {
        let sample = open_with(&Host::new(), plugin("sample_plugin")).unwrap();
        let fails = sample.lookup::<fn()>("fails").unwrap();
        let caught = catch_unwind(fails);
        println!("caught: {}", caught.is_err());
        return;
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "r133_a_panic_that_leaves_a_plugin_aborts",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(6), "{said}");
    assert!(said.contains("as it was told"), "{said}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("caught"));
}
