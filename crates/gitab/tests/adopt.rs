//! A program that changes tables: nothing that was found in the former one is found any more.
//!
//! A process of its own, because the table in use is the process's.

use gitab::{Assert, Eface, ItabTable, adopt, itab_table, register_type};
use std::any::Any;
use std::fmt::Debug;

gitab::interface! { trait Name { fn name(&self) -> &str; } }

struct Named;
impl Named {
    fn name(&self) -> &str {
        "named"
    }
}
gitab::describe! { struct Named { fn name(&self) -> &str; } }

/// R133: a plugin that adopts its host's table has the host's answers, also to what it had asked before.
#[test]
fn r133_answers_come_from_the_table_in_use() {
    let value = Eface::opaque(&Named);
    let any: &dyn Any = &7u8;
    let (first, second) = (itab_table(), ItabTable::leak());

    register_type::<Named>();
    gitab::implements!(u8: dyn Debug);
    for _ in 0..3 {
        assert_eq!(value.assert::<dyn Name>().unwrap().name(), "named");
        assert!(any.assert::<dyn Debug>().is_some());
    }

    adopt(second);
    for _ in 0..3 {
        assert!(value.assert::<dyn Name>().is_none(), "not known here");
        assert!(any.assert::<dyn Debug>().is_none());
    }
    register_type::<Named>();
    assert_eq!(value.assert::<dyn Name>().unwrap().name(), "named");

    adopt(first);
    assert!(value.assert::<dyn Name>().is_some());
    assert!(any.assert::<dyn Debug>().is_some());
    assert_eq!(first.stats().builds, 2);
}
