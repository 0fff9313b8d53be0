//! What `MemStats` says of the classes and of the records. A program of one test: the statistics are the
//! process's.

use galloc::{MemStats, class_of, class_size};

#[global_allocator]
static A: galloc::Galloc = galloc::Galloc;

#[test]
fn classes_and_records_are_counted() {
    // Spans that lie on a shelf count, and are not to go in between.
    galloc::set_scavenger(galloc::Scavenger::Off);
    for size in [1792, 20_480, 100_000, 40 << 20] {
        let class = if size > galloc::MAX_SMALL_SIZE {
            0
        } else {
            class_of(size)
        };
        let bytes = if class == 0 {
            galloc::round_up_size(size)
        } else {
            class_size(class)
        };
        let mut all = Vec::with_capacity(500);
        let before = MemStats::read();
        let n = if size < 1 << 20 { 500 } else { 3 };
        all.extend((0..n).map(|_| Vec::<u8>::with_capacity(size)));
        let now = MemStats::read();
        let [was, is] = [before.by_size[class], now.by_size[class]];
        assert_eq!(is.objects - was.objects, n, "{size}");
        assert!(now.heap_objects >= before.heap_objects + n);
        assert!(now.heap_alloc >= before.heap_alloc + n * bytes);
        let spans = is.spans - was.spans;
        let in_span = if class == 0 {
            1
        } else {
            galloc::class_pages(class) * galloc::PAGE_SIZE / bytes
        };
        // One span may have had room before.
        assert!(
            (n / in_span..=n.div_ceil(in_span)).contains(&spans),
            "{spans} spans of {size}"
        );
        assert!(now.mspan_inuse >= before.mspan_inuse + spans * 64);
        assert!(now.mcache_inuse > 0 && now.other_sys >= now.mspan_inuse + now.mcache_inuse);
    }
}
