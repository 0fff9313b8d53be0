//! R133 with R98 to R108: a plugin's initialisation registers types with the host's interface table, and a
//! symbol is an interface value.

use std::any::Any;
use std::fmt::Display;
use std::path::PathBuf;
use std::process::Command;

use gitab::{Assert, Eface};
use gplugin::Host;

gitab::interface! {
    trait Level {
        fn level(&self) -> f64;
        fn unit(&self) -> &str;
    }
}

struct Metres(f64);

impl Metres {
    fn level(&self) -> f64 {
        self.0
    }
}

impl Display for Metres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} metres", self.0)
    }
}

gitab::describe! {
    struct Metres {
        fn level(&self) -> f64;
    }
}

fn plugin() -> PathBuf {
    let exe = std::env::current_exe().expect("this program has a path");
    // <target>/<profile>/deps/<this>
    let profile = exe.ancestors().nth(2).expect("cargo put it there");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "-p",
            "gort-tests",
            "--example",
            "capabilities",
        ])
        .arg("--target-dir")
        .arg(profile.parent().expect("cargo put it there"))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success());
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    profile
        .join("examples")
        .join(format!("{prefix}capabilities{suffix}"))
}

#[test]
fn r133_a_plugin_registers_with_its_hosts_table() {
    // Before the plugin is there, its trait has an answer that its registration must turn.
    let metres: &dyn Any = &Metres(3.0);
    assert!(metres.assert::<dyn Display>().is_none());

    let host = Host::new().provide(gitab::itab_table());
    // SAFETY: the plugin is an example of this package.
    let plugin = unsafe { host.open(plugin()) }.unwrap();

    let make = plugin.lookup::<fn(f64) -> Box<dyn Any>>("make").unwrap();
    let value = make(21.5);
    // A trait of std, implemented there, asserted here.
    assert_eq!(
        value.as_ref().assert::<dyn Display>().unwrap().to_string(),
        "21.5 degrees"
    );
    // An interface of ours, which the plugin's type has never heard of.
    let level = Eface::from_any(&*value)
        .unwrap()
        .assert::<dyn Level>()
        .unwrap();
    assert_eq!((level.level(), level.unit()), (21.5, "C"));
    // An owned value changes its trait object and is freed here.
    let owned: Box<dyn Display> = value.assert().unwrap();
    assert_eq!(owned.to_string(), "21.5 degrees");

    // A symbol is itself a value of any type, of one here that the host cannot name.
    let boiling = plugin.symbol("boiling").unwrap().value();
    assert_eq!(
        boiling.assert::<dyn Display>().unwrap().to_string(),
        "100 degrees"
    );
    let level = Eface::from_any(boiling)
        .unwrap()
        .expect_iface::<dyn Level>();
    assert_eq!((level.level(), level.unit()), (100.0, "C"));

    // And a symbol may hand out interface values.
    let eface = plugin.lookup::<fn(f64) -> Eface<'static>>("eface").unwrap();
    let level = eface(4.0).expect_iface::<dyn Level>();
    assert_eq!(level.level(), 4.0);

    // The other way round: the plugin asserts our values to its interfaces, and to traits for which
    // they are registered here, before or after it was opened.
    let their_level = plugin
        .lookup::<fn(Eface<'_>) -> Option<f64>>("level")
        .unwrap();
    assert_eq!(their_level(Eface::new(&Metres(2.0))), Some(2.0));
    assert_eq!(their_level(Eface::new(&2u8)), None);
    let text = plugin
        .lookup::<fn(&dyn Any) -> Option<String>>("text")
        .unwrap();
    assert_eq!(text(metres), None);
    gitab::implements!(Metres: dyn Display);
    assert_eq!(text(metres).as_deref(), Some("3 metres"));
}
