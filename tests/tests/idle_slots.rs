//! A thread of the runtime that goes idle gives its slot back, so that slots, and what was put into them, follow the
//! threads that run. Alone in its process: slots are the process's.

use gort::Runtime;
use gpool::Pool;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often the thread may be found not to be idle yet: a minute's worth.
const TRIES: u32 = 60_000;

#[test]
fn an_idle_thread_gives_its_slot_back() {
    // SAFETY: the goroutine keeps nothing bound to a thread across a park.
    let rt = unsafe { Runtime::builder().procs(1).build_stackful() }.unwrap();
    for _ in 0..TRIES {
        let pool = Arc::new(Pool::new(String::new as fn() -> String));
        let put = |pool: &Arc<_>| {
            let pool: Arc<Pool<String>> = Arc::clone(pool);
            move || pool.put(String::from("kept"))
        };
        rt.go(put(&pool)).join().unwrap();
        thread::sleep(Duration::from_millis(1));
        // The lowest free slot: the runtime's, if that is free.
        thread::spawn(put(&pool)).join().unwrap();
        assert_eq!(pool.stats().idle, 2);
        if pool.stats().slots == 1 {
            return;
        }
    }
    panic!("the runtime's thread kept its slot while it had nothing to do");
}
