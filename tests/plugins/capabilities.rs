//! A plugin whose types the host has never heard of, and which has never heard of the host's: they meet
//! in the interface table.

use std::any::Any;
use std::fmt::Display;

use gitab::{Assert, Eface, ItabTable};
use gplugin::Host;

struct Celsius(f64);

impl Celsius {
    fn level(&self) -> f64 {
        self.0
    }

    fn unit(&self) -> &str {
        "C"
    }
}

impl Display for Celsius {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} degrees", self.0)
    }
}

gitab::describe! {
    struct Celsius {
        fn level(&self) -> f64;
        fn unit(&self) -> &str;
    }
}

gitab::interface! {
    /// What the host's own type has, under the plugin's name for it.
    trait Leveled {
        fn level(&self) -> f64;
    }
}

fn make(level: f64) -> Box<dyn Any> {
    Box::new(Celsius(level))
}

fn eface(level: f64) -> Eface<'static> {
    Eface::new(Box::leak(Box::new(Celsius(level))))
}

/// The level of the host's value, asked for from this side.
fn level(value: Eface<'_>) -> Option<f64> {
    value.assert::<dyn Leveled>().map(|l| l.level())
}

/// The text of the host's value, whose implementation the host has registered.
fn text(value: &dyn Any) -> Option<String> {
    value.assert::<dyn Display>().map(ToString::to_string)
}

fn init(host: &Host) -> Result<(), String> {
    let table = host
        .get::<&'static ItabTable>()
        .ok_or("the host shares no table")?;
    gitab::adopt(table);
    gitab::implements!(Celsius: dyn Display);
    gitab::register_type::<Celsius>();
    Ok(())
}

gplugin::plugin! {
    init: init,
    symbols: {
        make: fn(f64) -> Box<dyn Any> = make,
        eface: fn(f64) -> Eface<'static> = eface,
        level: fn(Eface<'_>) -> Option<f64> = level,
        text: fn(&dyn Any) -> Option<String> = text,
        boiling: Celsius = Celsius(100.0),
    }
}
