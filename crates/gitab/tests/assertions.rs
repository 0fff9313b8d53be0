//! Assertions as a user writes them: every pointer kind, every message, every way to be late.

use std::any::Any;
use std::cell::Cell;
use std::fmt::{Debug, Display};
use std::ops::Deref;
use std::panic::catch_unwind;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;

use gitab::{Assert, Eface, EfaceMut, Iface, IfaceMut, Object, OrNil, RType, type_switch};

gitab::interface! {
    trait Reader {
        fn read(&self, at: usize) -> Option<u8>;
        fn len(&self) -> usize;
    }
}

gitab::interface! {
    trait Writer {
        fn write(&mut self, byte: u8) -> usize;
        fn len(&self) -> usize;
        fn last<'a>(&'a mut self, or: &'a mut u8) -> &'a mut u8;
    }
}

gitab::interface! {
    trait Closer {
        fn close(&self);
    }
}

gitab::interface! {
    /// Every type implements it.
    trait Empty {}
}

struct File<T>(Vec<T>);

impl<T: Copy + Into<u8>> File<T> {
    fn read(&self, at: usize) -> Option<u8> {
        self.0.get(at).map(|&x| x.into())
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl File<u8> {
    fn write(&mut self, byte: u8) -> usize {
        self.0.push(byte);
        1
    }
    fn last<'a>(&'a mut self, or: &'a mut u8) -> &'a mut u8 {
        self.0.last_mut().unwrap_or(or)
    }
}

gitab::describe! {
    struct File<u8> {
        fn write(&mut self, byte: u8) -> usize;
        fn read(&self, at: usize) -> Option<u8>;
        fn len(&self) -> usize;
        fn last<'a>(&'a mut self, or: &'a mut u8) -> &'a mut u8;
    }
}
gitab::describe! {
    struct File<bool> {
        fn len(&self) -> usize;
        fn read(&self, at: usize) -> Option<u8>;
    }
}

/// Has `close`, with another signature.
struct Door;
impl Door {
    fn close(&self, gently: bool) -> bool {
        gently
    }
}
gitab::describe! { struct Door { fn close(&self, gently: bool) -> bool; } }

#[test]
fn r98_interfaces_are_sorted_and_methods_reach_their_type() {
    let names: Vec<_> = <dyn Writer as gitab::Interface>::METHODS
        .iter()
        .map(|m| m.name())
        .collect();
    assert_eq!(names, ["last", "len", "write"]);

    let mut file = File(vec![7u8]);
    let reader: Iface<dyn Reader> = Eface::new(&file).expect_iface();
    assert_eq!(
        (reader.read(0), reader.read(1), reader.len()),
        (Some(7), None, 1)
    );

    let mut writer: IfaceMut<dyn Writer> = EfaceMut::new(&mut file).assert().unwrap();
    assert_eq!(writer.write(9), 1);
    let mut other = 0;
    *writer.last(&mut other) = 11;
    assert_eq!(writer.len(), 2);
    assert_eq!(writer.shared().rtype(), RType::of::<File<u8>>());
    // Back to the type, and to another interface from there.
    let back = writer.eface().downcast::<File<u8>>().unwrap();
    assert_eq!(back.0, [7, 11]);
}

/// Instances of one generic type are types of their own.
#[test]
fn generic_types_implement_by_instance() {
    let (bytes, bits) = (File(vec![1u8]), File(vec![true, false]));
    let mut sum = 0;
    for e in [Eface::new(&bytes), Eface::new(&bits)] {
        sum += e.assert::<dyn Reader>().unwrap().len();
        assert_eq!(e.assert::<dyn Writer>().is_some(), e.is::<File<u8>>());
    }
    assert_eq!(sum, 3);
}

/// R139 and Go's messages: the comma-ok form gives the zero value, the others say what is wrong.
#[test]
fn r139_messages_are_gos() {
    let (n, file) = (5i32, File(vec![true]));
    let e = Eface::new(&n);
    assert_eq!(e.comma_ok::<i32>(), (5, true));
    assert_eq!(e.comma_ok::<String>(), (String::new(), false));

    let says = |r: Result<(), gitab::TypeAssertionError>| r.unwrap_err().to_string();
    let me = module_path!();
    assert_eq!(
        says(e.try_downcast::<u64>().map(drop)),
        "interface conversion: interface is i32, not u64"
    );
    let f = Eface::new(&file);
    assert_eq!(
        says(f.try_assert::<dyn Writer>().map(drop)),
        format!(
            "interface conversion: {me}::File<bool> is not dyn {me}::Writer: missing method last"
        )
    );
    assert_eq!(
        says(Eface::new(&Door).try_assert::<dyn Closer>().map(drop)),
        format!(
            "interface conversion: {me}::Door is not dyn {me}::Closer: missing method close \
             (there is one with another signature)"
        )
    );
    let reader = f.expect_iface::<dyn Reader>();
    assert_eq!(
        says(reader.try_downcast::<u8>().map(drop)),
        format!("interface conversion: dyn {me}::Reader is {me}::File<bool>, not u8")
    );
    let nil: Option<Iface<dyn Reader>> = None;
    assert_eq!(
        says(nil.or_nil::<u8>().map(drop)),
        format!("interface conversion: dyn {me}::Reader is nil, not u8")
    );
    assert_eq!(
        says(gitab::try_dyn::<_, dyn Debug>(&n).map(drop)),
        "interface conversion: i32 is not dyn core::fmt::Debug: not registered by implements!"
    );
    let error = f.try_assert::<dyn Closer>().unwrap_err();
    assert_eq!(error.missing(), Some("close"));
    assert_eq!(error.asserted(), format!("dyn {me}::Closer"));

    let message = |p: Box<dyn Any + Send>| *p.downcast::<String>().unwrap();
    let panic = catch_unwind(|| *Eface::new(&5u8).expect::<u16>()).unwrap_err();
    assert_eq!(
        message(panic),
        "interface conversion: interface is u8, not u16"
    );
    let panic = catch_unwind(|| Eface::new(&Door).expect_iface::<dyn Reader>().len()).unwrap_err();
    assert!(message(panic).ends_with("missing method len"));
    let panic = catch_unwind(|| {
        let empty = Eface::new(&Door).expect_iface::<dyn Empty>();
        empty.expect_iface::<dyn Reader>().len()
    });
    assert!(message(panic.unwrap_err()).ends_with("missing method len"));
}

/// A failure asked for a second time names the method again, though the table keeps only the answer.
#[test]
fn r99_a_cached_failure_names_its_method() {
    for _ in 0..2 {
        let error = Eface::new(&1u8).try_assert::<dyn Closer>().unwrap_err();
        assert_eq!(error.missing(), Some("close"));
    }
}

#[test]
fn everything_is_an_empty_interface() {
    for e in [
        Eface::new(&1u8),
        Eface::new(&Door),
        Eface::opaque(&Cell::new(1)),
    ] {
        assert_eq!(e.expect_iface::<dyn Empty>().rtype(), e.rtype());
    }
}

/// Counts its drops.
struct Counted(&'static AtomicUsize);
impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}
trait Tell {
    fn tell(&self) -> usize;
}
impl Tell for Counted {
    fn tell(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Ownership goes over whole, and comes back whole where the assertion fails.
#[test]
fn owning_pointers_drop_once() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    gitab::implements!(Counted: dyn Tell, dyn Send);
    let boxed: Box<dyn Any> = Box::new(Counted(&DROPS));
    let Err(boxed) = boxed.assert::<dyn Display>() else {
        panic!("not registered")
    };
    let boxed = boxed.assert::<dyn Tell>().map_err(drop).unwrap();
    assert_eq!(boxed.tell(), 0);
    drop(boxed);
    assert_eq!(DROPS.load(Relaxed), 1);

    let rc: Rc<dyn Any> = Rc::new(Counted(&DROPS));
    let (twin, weak): (_, Weak<dyn Any>) = (rc.clone(), Rc::downgrade(&rc));
    let told: Rc<dyn Tell> = rc.assert().map_err(drop).unwrap();
    assert_eq!((Rc::strong_count(&told), Rc::weak_count(&told)), (2, 1));
    drop(told);
    assert!(
        twin.assert::<dyn Display>().is_err(),
        "the error is dropped, and with it the value"
    );
    assert_eq!(DROPS.load(Relaxed), 2);
    assert!(weak.upgrade().is_none());

    let arc: Arc<dyn Any + Send + Sync> = Arc::new(Counted(&DROPS));
    let twin = arc.clone();
    let told: Arc<dyn Tell> = arc.assert().map_err(drop).unwrap();
    drop(twin);
    assert_eq!(told.tell(), 2);
    drop(told);
    assert_eq!(DROPS.load(Relaxed), 3);
}

/// What cannot be asserted comes back as it was: the same value, counted as before.
#[test]
fn what_cannot_be_asserted_is_handed_back() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    fn address<T: ?Sized>(value: &T) -> usize {
        (&raw const *value).addr()
    }
    let boxed: Box<dyn Any> = Box::new(Counted(&DROPS));
    let at = address(&*boxed);
    let boxed = boxed.assert::<dyn Display>().map(drop).unwrap_err();
    assert_eq!(address(&*boxed), at);

    let rc: Rc<dyn Any> = Rc::new(Counted(&DROPS));
    let weak = Rc::downgrade(&rc);
    let rc = rc.assert::<dyn Display>().map(drop).unwrap_err();
    assert_eq!((Rc::strong_count(&rc), Rc::weak_count(&rc)), (1, 1));

    let arc: Arc<dyn Any + Send + Sync> = Arc::new(Counted(&DROPS));
    let twin = arc.clone();
    let arc = arc.assert::<dyn Display>().map(drop).unwrap_err();
    assert!(Arc::ptr_eq(&arc, &twin) && Arc::strong_count(&arc) == 2);

    assert_eq!(DROPS.load(Relaxed), 0);
    drop((boxed, rc, arc, twin));
    assert_eq!((DROPS.load(Relaxed), weak.strong_count()), (3, 0));
}

/// A trait object has its supertraits, and one with auto traits or other parameters is another.
#[test]
fn traits_are_told_apart_by_all_that_they_say() {
    trait Loud: Tell + Debug {
        fn loud(&self) -> String {
            format!("{self:?}: {}!", self.tell())
        }
    }
    trait Gives<T> {
        fn gives(&self) -> T;
    }
    #[derive(Debug)]
    struct Horn;
    impl Tell for Horn {
        fn tell(&self) -> usize {
            3
        }
    }
    impl Loud for Horn {}
    impl Gives<u8> for Horn {
        fn gives(&self) -> u8 {
            8
        }
    }
    impl Gives<u16> for Horn {
        fn gives(&self) -> u16 {
            16
        }
    }
    gitab::implements!(Horn: dyn Loud + Send, dyn Gives<u16>);
    let any: &dyn Any = &Horn;
    assert!(any.assert::<dyn Loud>().is_none());
    assert!(any.assert::<dyn Loud + Send + Sync>().is_none());
    let loud = any.assert::<dyn Loud + Send>().unwrap();
    assert_eq!(loud.loud(), "Horn: 3!");
    let told: &dyn Tell = loud;
    assert_eq!(told.tell(), 3);
    assert!(any.assert::<dyn Gives<u8>>().is_none());
    assert_eq!(any.assert::<dyn Gives<u16>>().unwrap().gives(), 16);
    gitab::implements!(Horn: dyn Loud, dyn Gives<u8>);
    assert_eq!(any.assert::<dyn Loud>().unwrap().tell(), 3);
    assert_eq!(any.assert::<dyn Gives<u8>>().unwrap().gives(), 8);
}

/// Two types may share a name, in two scopes or in two versions of a crate: they are two, and the message says so.
#[test]
fn types_of_one_name_are_told_apart() {
    let one = {
        struct Twin;
        Eface::opaque(&Twin)
    };
    struct Twin;
    let two = Eface::opaque(&Twin);
    let name = one.rtype().name();
    assert_eq!(name, two.rtype().name());
    assert_ne!(one.rtype(), two.rtype());
    assert!(two.is::<Twin>() && !one.is::<Twin>());
    assert_eq!(
        one.try_downcast::<Twin>()
            .map(drop)
            .unwrap_err()
            .to_string(),
        format!(
            "interface conversion: interface is {name}, not {name} \
             (types from different crates or scopes)"
        )
    );
}

/// A trait of one's own over `Object` is asserted like `dyn Any`; so is a value whose type is known.
#[test]
fn any_object_can_be_asserted() {
    trait Part: Object {}
    #[derive(Debug)]
    struct Wheel(u64);
    impl Part for Wheel {}
    #[derive(Debug)]
    struct Nothing;
    impl Part for Nothing {}
    gitab::implements!(Wheel: dyn Debug, dyn Any);
    gitab::implements!(Nothing: dyn Debug);

    let parts: Vec<Box<dyn Part>> = vec![Box::new(Wheel(1)), Box::new(Nothing)];
    let shown: Vec<_> = parts
        .iter()
        .map(|p| format!("{:?}", (**p).assert::<dyn Debug>().unwrap()))
        .collect();
    assert_eq!(shown, ["Wheel(1)", "Nothing"]);
    let mut wheel = Wheel(2);
    assert!(wheel.assert::<dyn Debug>().is_some());
    let any = (&mut wheel as &mut dyn Part).assert::<dyn Any>().unwrap();
    any.downcast_mut::<Wheel>().unwrap().0 += 1;
    assert_eq!(wheel.0, 3);
    assert!(Eface::opaque(&wheel).assert_dyn::<dyn Debug>().is_some());
    // Its methods, though the part is not known to have any.
    gitab::describe! { struct Wheel { fn turn(&mut self) -> u64; } }
    impl Wheel {
        fn turn(&mut self) -> u64 {
            self.0 += 1;
            self.0
        }
    }
    gitab::interface! { trait Turn { fn turn(&mut self) -> u64; } }
    fn turn(part: &mut dyn Part) -> Option<IfaceMut<'_, dyn Turn>> {
        EfaceMut::from_any(part)?.assert().ok()
    }
    let part: &mut dyn Part = &mut wheel;
    assert!(turn(part).is_none());
    gitab::register_type::<Wheel>();
    assert_eq!(turn(part).map(|mut t| t.turn()), Some(4));
    assert!(Eface::from_any(part).unwrap().is::<Wheel>());
    assert!(EfaceMut::from_any(&mut wheel as &mut dyn Any).is_some());
    // A value without a size, at an odd address: the coercion of a type of size 0.
    let nothing: Rc<dyn Part> = Rc::new(Nothing);
    assert_eq!(
        format!("{:?}", nothing.assert::<dyn Debug>().map_err(drop).unwrap()),
        "Nothing"
    );
}

/// Unsizing is not only for traits: an array may be registered as a slice.
#[test]
fn arrays_assert_to_slices() {
    gitab::implements!([u8; 3]: [u8]);
    let any: Box<dyn Any> = Box::new([1u8, 2, 3]);
    assert_eq!(any.as_ref().assert::<[u8]>().unwrap(), [1, 2, 3]);
    assert_eq!(any.assert::<[u8]>().unwrap().len(), 3);
}

/// An alignment that differs from the reference counts' moves the value within its allocation.
#[test]
fn overaligned_values_keep_their_address() {
    #[repr(align(128))]
    struct Wide(u8);
    impl Tell for Wide {
        fn tell(&self) -> usize {
            assert!((&raw const *self).addr().is_multiple_of(128));
            self.0.into()
        }
    }
    gitab::implements!(Wide: dyn Tell);
    let arc: Arc<dyn Any + Send + Sync> = Arc::new(Wide(3));
    assert_eq!(arc.assert::<dyn Tell>().map_err(drop).unwrap().tell(), 3);
    let boxed: Box<dyn Any + Send> = Box::new(Wide(4));
    assert_eq!(boxed.assert::<dyn Tell>().map_err(drop).unwrap().tell(), 4);
}

/// A registration that comes late turns the answer that was given before it, in both layers.
#[test]
fn late_registration_turns_answers() {
    struct Late(u8);
    impl Late {
        fn close(&self) {
            assert_eq!(self.0, 1);
        }
    }
    gitab::describe! { struct Late { fn close(&self); } }
    impl Tell for Late {
        fn tell(&self) -> usize {
            self.0.into()
        }
    }
    let any: &dyn Any = &Late(1);
    for _ in 0..2 {
        assert!(any.assert::<dyn Tell>().is_none());
    }
    assert!(Eface::from_any(any).is_none(), "nobody has heard of it");
    gitab::implements!(Late: dyn Tell);
    assert_eq!(any.assert::<dyn Tell>().unwrap().tell(), 1);
    let e = Eface::from_any(any).expect("its registration named its type");
    for _ in 0..2 {
        assert!(
            e.assert::<dyn Closer>().is_none(),
            "its methods are not known yet"
        );
    }
    gitab::register_type::<Late>();
    e.assert::<dyn Closer>().unwrap().close();
    assert!(e.as_any().is::<Late>());
}

/// R102, R107: threads assert and register at once, while the table grows; each finds what it must.
#[test]
fn racing_assertions_agree() {
    struct N<const I: usize>(usize);
    impl<const I: usize> Tell for N<I> {
        fn tell(&self) -> usize {
            self.0 * 1000 + I
        }
    }
    macro_rules! all {
        ($run:ident: $($i:literal)*) => { $( $run::<$i>(); )* };
    }
    fn one<const I: usize>() {
        let value: Box<dyn Any> = Box::new(N::<I>(I));
        let _ = value.as_ref().assert::<dyn Tell>();
        assert!(value.as_ref().assert::<dyn Closer>().is_none());
        gitab::implements!(N<I>: dyn Tell);
        assert_eq!(
            value.as_ref().assert::<dyn Tell>().unwrap().tell(),
            I * 1001
        );
        let _ = value.as_ref().assert::<dyn Sync>();
    }
    let before = gitab::itab_table().stats().count;
    let barrier = Barrier::new(16);
    thread::scope(|s| {
        for _ in 0..16 {
            s.spawn(|| {
                barrier.wait();
                all!(one: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
                    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62
                    63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79 80 81 82 83 84 85 86 87 88 89 90 91 92 93
                    94 95 96 97 98 99 100 101 102 103 104 105 106 107 108 109 110 111 112 113 114 115 116 117
                    118 119 120 121 122 123 124 125 126 127 128 129 130 131 132 133 134 135 136 137 138 139 140
                    141 142 143 144 145 146 147 148 149);
            });
        }
    });
    let stats = gitab::itab_table().stats();
    assert!(
        stats.count >= before + 450,
        "three entries for each of 150 types"
    );
    assert!(stats.size >= 1024 && stats.count <= stats.size / 4 * 3);
}

/// R108: a switch takes the first arm that fits, on values and on interfaces.
#[test]
fn r108_type_switches() {
    gitab::implements!(u16: dyn Display);
    let name = |e: Eface| {
        type_switch!(e, {
            n: u8 => format!("u8 {n}"),
            d: dyn Display => format!("displayed {d}"),
            r: iface dyn Reader => format!("reader of {}", r.len()),
            _: Door => "door".to_string(),
            _ => "else".to_string(),
        })
    };
    assert_eq!(name(Eface::new(&1u8)), "u8 1");
    assert_eq!(name(Eface::new(&2u16)), "displayed 2");
    assert_eq!(name(Eface::new(&File(vec![3u8]))), "reader of 1");
    assert_eq!(name(Eface::new(&Door)), "door");
    assert_eq!(name(Eface::new(&4u32)), "else");

    let file = File(vec![true]);
    let reader = Eface::new(&file).expect_iface::<dyn Reader>();
    let kind = type_switch!(reader, {
        _: File<u8> => 1,
        f: File<bool> => 1 + f.len(),
        _ => 0,
    });
    assert_eq!(kind, 2);
    assert_eq!(reader.type_hash(), RType::of::<File<bool>>().hash());
}

/// What a switch looks at may be another value each time: the arm that is taken has the value that it asked for.
#[test]
fn a_switch_trusts_no_deref() {
    struct Flips<'a>(Cell<usize>, [Eface<'a>; 2]);
    impl<'a> Deref for Flips<'a> {
        type Target = Eface<'a>;
        fn deref(&self) -> &Eface<'a> {
            self.0.set(self.0.get() + 1);
            &self.1[self.0.get() % 2]
        }
    }
    let (text, numbers) = (String::from("text"), [usize::MAX; 3]);
    for first in [0, 1] {
        let flips = Flips(Cell::new(first), [Eface::new(&text), Eface::new(&numbers)]);
        let what = type_switch!(flips, {
            t: String => t.clone(),
            n: [usize; 3] => format!("{n:?}"),
            _ => "neither time".to_string(),
        });
        let wanted = ["neither time", "text"][first];
        assert_eq!((what.as_str(), flips.0.get()), (wanted, 2));
    }
}

/// A method that panics leaves value, table and lock as they were.
#[test]
fn a_panicking_method_breaks_nothing() {
    struct Fuse(Cell<u8>);
    impl Fuse {
        fn close(&self) {
            self.0.set(self.0.get() + 1);
            assert!(self.0.get() > 1, "blown");
        }
    }
    gitab::describe! { struct Fuse { fn close(&self); } }
    let fuse = Fuse(Cell::new(0));
    let closer = Eface::new(&fuse).expect_iface::<dyn Closer>();
    let call = std::panic::AssertUnwindSafe(|| closer.close());
    assert!(catch_unwind(call).is_err());
    closer.close();
    assert_eq!(fuse.0.get(), 2);
    assert!(Eface::new(&fuse).assert::<dyn Reader>().is_none());
}

#[test]
fn what_is_shared_between_threads_may_be() {
    fn shared<T: Send + Sync>() {}
    shared::<gitab::ItabTable>();
    shared::<RType>();
    shared::<gitab::Method>();
    shared::<gitab::IMethod>();
    shared::<gitab::TypeAssertionError>();
    assert_eq!(size_of::<Eface>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<EfaceMut>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<Iface<dyn Reader>>(), 2 * size_of::<usize>());
    assert_eq!(
        size_of::<Option<IfaceMut<dyn Writer>>>(),
        2 * size_of::<usize>()
    );
}

/// The error about a value whose methods came by registration names the method that is missing indeed.
#[test]
fn the_error_about_a_registered_type_knows_its_methods() {
    gitab::interface! { trait Both { fn first_of_two(&self); fn second_of_two(&self); } }
    struct First;
    impl First {
        fn first_of_two(&self) {}
    }
    gitab::describe! { struct First { fn first_of_two(&self); } }

    gitab::register_type::<First>();
    First.first_of_two();
    let error = gitab::Eface::opaque(&First)
        .try_assert::<dyn Both>()
        .unwrap_err();
    assert_eq!(error.missing(), Some("second_of_two"));
}
