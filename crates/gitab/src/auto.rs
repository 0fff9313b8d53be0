//! Registrations collected by `inventory` before `main`, taken over when a lookup first misses.
//!
//! They cannot be taken over earlier without a constructor of our own, and need not be: until then
//! there was no answer that they could change. A table that is adopted may hold such answers, so it gets them at
//! once.

use crate::object::Caster;
use crate::sync::Lock;

/// A registration submitted by [`auto_implements!`](crate::auto_implements).
#[derive(Debug)]
pub struct Auto(pub Caster);

inventory::collect!(Auto);

/// Whether the submissions were taken over. Whoever finds them not to be does it; others wait, so that
/// nobody misses what stands in the program.
static TAKEN: Lock<bool> = Lock::new(false);

pub(crate) fn take() {
    TAKEN.with(|taken| {
        if !*taken {
            register_all();
            *taken = true;
        }
    });
}

/// Takes them over, into the table that has just been adopted.
pub(crate) fn take_again() {
    TAKEN.with(|taken| {
        register_all();
        *taken = true;
    });
}

fn register_all() {
    for Auto(caster) in inventory::iter::<Auto> {
        caster.register();
    }
}
