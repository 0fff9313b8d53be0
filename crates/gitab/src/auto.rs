//! Registrations collected by `inventory` before `main`, taken over when a lookup first misses.
//!
//! They cannot be taken over earlier without a constructor of our own, and need not be: until then
//! there was no answer that they could change.

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
            for Auto(caster) in inventory::iter::<Auto> {
                caster.register();
            }
            *taken = true;
        }
    });
}
