//! What `auto_implements!` submits is in whatever table is in use. A process of its own, as `adopt.rs` is.
#![cfg(feature = "inventory")]

use gitab::{Assert, ItabTable, adopt};
use std::any::Any;
use std::fmt::{Binary, LowerHex};

gitab::auto_implements!(i64: dyn LowerHex, dyn LowerHex + Send);

/// R133: a plugin's submissions are known in the table of its host, however late that is adopted.
#[test]
fn r133_submissions_follow_into_the_table_in_use() {
    let value: &dyn Any = &0x5eed_i64;
    let hex = || Some(format!("{:x}", value.assert::<dyn LowerHex>()?));
    assert_eq!(hex().as_deref(), Some("5eed"));
    assert!(
        value.assert::<dyn Binary>().is_none(),
        "nobody submitted it"
    );
    for _ in 0..2 {
        let table = ItabTable::leak();
        adopt(table);
        assert_eq!(table.stats().count, 2, "before anybody asks");
        assert_eq!(hex().as_deref(), Some("5eed"));
        assert!(value.assert::<dyn LowerHex + Send>().is_some());
    }
}
