//! Whole programs and properties that cross crates: see `tests/tests`.
