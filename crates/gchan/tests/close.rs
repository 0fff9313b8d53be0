//! Closing a channel at which others wait.

use gchan::{Chan, Select, SendError, TryRecvError, bounded, make, unbounded};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

/// What each of the woken senders finds in the channel.
struct Looks(Chan<u32>, Mutex<Vec<Result<u32, TryRecvError>>>);

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        let found = self.0.try_recv();
        self.1.lock().unwrap().push(found);
    }
}

#[test]
fn r5_nothing_is_received_from_the_blocked_senders_of_a_closed_channel() {
    for cap in [0, 1] {
        let c = make::<u32>(cap);
        let mut expected = [Err(TryRecvError::Disconnected); 9];
        for buffered in &mut expected[..cap] {
            c.send(100);
            *buffered = Ok(100);
        }
        let looks = Arc::new(Looks(c.clone(), Mutex::default()));
        let waker = Waker::from(looks.clone());
        let mut sends: Vec<_> = (0..9).map(|n| Box::pin(c.send_async(n))).collect();
        for send in &mut sends {
            let polled = send.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        c.close();
        assert_eq!(*looks.1.lock().unwrap(), expected);
        for send in &mut sends {
            let polled = AssertUnwindSafe(|| send.as_mut().poll(&mut Context::from_waker(&waker)));
            assert!(catch_unwind(polled).is_err(), "it was refused");
        }
    }
}

#[test]
fn r5_a_select_that_sends_to_nobody_is_refused_and_keeps_its_value() {
    for (s, r) in [bounded(0), bounded(1), unbounded()] {
        drop(r);
        let mut select = Select::new();
        select.send(&s);
        let chosen = select.try_select().expect("it need not wait");
        assert_eq!(chosen.send(&s, 7), Err(SendError(7)));
        let polled = pin!(select.select_async()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(chosen) = polled else {
            panic!("it need not wait");
        };
        assert_eq!(chosen.send(&s, 7), Err(SendError(7)));
    }
}
