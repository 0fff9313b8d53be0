//! A house whose parts do not know one another: they ask whatever else is plugged in what it can do.
//!
//! `cargo run -p gitab --example components` simulates two winter days, saves the house to text, restores
//! it, and goes on. A part is a `dyn Part`, and that is all that the house knows of it. What a part can do
//! beyond that are capabilities, ordinary traits that it registers next to its definition; a part that
//! needs a capability finds whoever has it, by assertion. The status line at the end asks structurally:
//! whatever has a `status` method is shown, whether it has ever heard of this program or not.

use std::cell::Cell;
use std::collections::BTreeMap;

use gitab::{Assert, Eface, Object};

/// All that the house knows of what is plugged into it.
trait Part: Object {
    fn name(&self) -> &str;
    /// One minute passes.
    fn tick(&self, _minute: u32, _house: &House) {}
    /// The part as a value whose methods can be asked for.
    fn eface(&self) -> Eface<'_>;
}

// ---- capabilities ----

trait Measures {
    /// Degrees Celsius.
    fn measure(&self) -> f64;
}

trait Heats {
    fn switch(&self, on: bool);
    /// Watts now being given off.
    fn power(&self) -> f64;
}

trait Remembers {
    fn save(&self) -> String;
    fn restore(&self, text: &str) -> Result<(), std::num::ParseFloatError>;
}

gitab::interface! {
    /// Whatever can say how it is.
    trait Status {
        fn status(&self) -> String;
    }
}

// ---- the house ----

#[derive(Default)]
struct House {
    parts: Vec<Box<dyn Part>>,
}

impl House {
    fn plug_in(mut self, part: impl Part) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    fn parts(&self) -> impl Iterator<Item = &dyn Part> {
        self.parts.iter().map(|part| &**part)
    }

    /// Every part that has a capability.
    fn able<C: ?Sized + 'static>(&self) -> impl Iterator<Item = &C> {
        self.parts().filter_map(|part| part.assert::<C>())
    }

    fn run(&self, minutes: std::ops::Range<u32>) {
        for minute in minutes {
            for part in self.parts() {
                part.tick(minute, self);
            }
        }
    }

    fn save(&self) -> BTreeMap<String, String> {
        let saved = |part: &dyn Part| {
            let remembers = part.assert::<dyn Remembers>()?;
            Some((part.name().to_string(), remembers.save()))
        };
        self.parts().filter_map(saved).collect()
    }

    fn restore(&self, saved: &BTreeMap<String, String>) -> Result<(), String> {
        for part in self.parts() {
            let Some(text) = saved.get(part.name()) else {
                continue;
            };
            // Go's panic as an error: a part that was saved must remember.
            let remembers = gitab::try_dyn::<_, dyn Remembers>(part).map_err(|e| e.to_string())?;
            remembers.restore(text).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn status(&self) -> Vec<String> {
        let line = |part: &dyn Part| {
            let status = part.eface().assert::<dyn Status>()?;
            Some(format!("{}: {}", part.name(), status.status()))
        };
        self.parts().filter_map(line).collect()
    }
}

/// What every part says in the same words.
macro_rules! part {
    ($t:ident, $name:literal $(, tick: $tick:ident)?) => {
        impl Part for $t {
            fn name(&self) -> &str {
                $name
            }
            fn eface(&self) -> Eface<'_> {
                Eface::new(self)
            }
            $( fn tick(&self, minute: u32, house: &House) {
                self.$tick(minute, house);
            } )?
        }
    };
}

// ---- parts ----

/// A room: warmed by whatever heats, cooled by the winter outside.
struct Room {
    degrees: Cell<f64>,
}

impl Room {
    fn breathe(&self, minute: u32, house: &House) {
        let watts: f64 = house.able::<dyn Heats>().map(Heats::power).sum();
        let hour = f64::from(minute) / 60.0;
        let outside = -3.0 + 5.0 * ((hour - 14.0) * std::f64::consts::TAU / 24.0).cos();
        let flow = watts - 60.0 * (self.degrees.get() - outside);
        self.degrees
            .set(self.degrees.get() + flow * 60.0 / 250_000.0);
    }

    fn status(&self) -> String {
        format!("{:.1} degrees", self.degrees.get())
    }
}

impl Measures for Room {
    fn measure(&self) -> f64 {
        self.degrees.get()
    }
}

impl Remembers for Room {
    fn save(&self) -> String {
        self.degrees.get().to_string()
    }
    fn restore(&self, text: &str) -> Result<(), std::num::ParseFloatError> {
        self.degrees.set(text.parse()?);
        Ok(())
    }
}

part!(Room, "room", tick: breathe);
gitab::describe! { struct Room { fn status(&self) -> String; } }

/// A radiator: heats, and counts what that costs.
struct Radiator {
    on: Cell<bool>,
    watt_minutes: Cell<f64>,
}

impl Radiator {
    fn count(&self, _: u32, _: &House) {
        self.watt_minutes
            .set(self.watt_minutes.get() + self.power());
    }

    fn status(&self) -> String {
        format!("{:.1} kWh", self.watt_minutes.get() / 60_000.0)
    }
}

impl Heats for Radiator {
    fn switch(&self, on: bool) {
        self.on.set(on);
    }
    fn power(&self) -> f64 {
        if self.on.get() { 2000.0 } else { 0.0 }
    }
}

impl Remembers for Radiator {
    fn save(&self) -> String {
        let sign = if self.on.get() { "" } else { "-" };
        format!("{sign}{}", self.watt_minutes.get())
    }
    fn restore(&self, text: &str) -> Result<(), std::num::ParseFloatError> {
        let signed: f64 = text.parse()?;
        self.on.set(signed.is_sign_positive());
        self.watt_minutes.set(signed.abs());
        Ok(())
    }
}

part!(Radiator, "radiator", tick: count);
gitab::describe! { struct Radiator { fn status(&self) -> String; } }

/// A thermostat: switches whatever heats by whatever measures.
struct Thermostat {
    wanted: f64,
}

impl Thermostat {
    fn control(&self, _: u32, house: &House) {
        let coldest = house
            .able::<dyn Measures>()
            .map(Measures::measure)
            .fold(f64::MAX, f64::min);
        for heater in house.able::<dyn Heats>() {
            if coldest < self.wanted - 0.5 {
                heater.switch(true);
            } else if coldest > self.wanted + 0.5 {
                heater.switch(false);
            }
        }
    }
}

part!(Thermostat, "thermostat", tick: control);
gitab::describe! { struct Thermostat }

/// A vase. It can do nothing, and nobody minds.
struct Vase;

part!(Vase, "vase");
gitab::describe! { struct Vase }

fn house() -> House {
    House::default()
        .plug_in(Room {
            degrees: Cell::new(12.0),
        })
        .plug_in(Vase)
        .plug_in(Thermostat { wanted: 20.0 })
        .plug_in(Radiator {
            on: Cell::new(false),
            watt_minutes: Cell::new(0.0),
        })
}

fn main() -> Result<(), String> {
    gitab::implements!(Room: dyn Measures, dyn Remembers);
    gitab::implements!(Radiator: dyn Heats, dyn Remembers);

    let first = house();
    first.run(0..24 * 60);
    println!("after a day      {}", first.status().join(", "));

    let saved = first.save();
    assert_eq!(saved.keys().collect::<Vec<_>>(), ["radiator", "room"]);
    first.run(24 * 60..48 * 60);
    println!("after two        {}", first.status().join(", "));

    // A house restored from what was saved goes on as the first one did.
    let second = house();
    second.restore(&saved)?;
    second.run(24 * 60..48 * 60);
    println!("restored, two    {}", second.status().join(", "));
    assert_eq!(second.status(), first.status());
    let degrees = second
        .able::<dyn Measures>()
        .next()
        .expect("there is a room")
        .measure();
    assert!(
        (degrees - 20.0).abs() < 1.0,
        "the thermostat keeps the room warm"
    );

    // What was saved for a part that cannot remember is an error that says so.
    let wrong = BTreeMap::from([("vase".to_string(), "broken".to_string())]);
    println!("restoring a vase {}", house().restore(&wrong).unwrap_err());

    let stats = gitab::itab_table().stats();
    println!(
        "{} answers in the table, {} of them no; {} built in all",
        stats.count, stats.negatives, stats.builds
    );
    Ok(())
}
