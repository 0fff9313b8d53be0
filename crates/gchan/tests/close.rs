//! Closing a channel at which others wait.

use gchan::{Chan, TryRecvError, make};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

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
    let c = make::<u32>(0);
    let looks = Arc::new(Looks(c.clone(), Mutex::default()));
    let waker = Waker::from(looks.clone());
    let mut sends: Vec<_> = (0..9).map(|n| Box::pin(c.send_async(n))).collect();
    for send in &mut sends {
        let polled = send.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    c.close();
    assert_eq!(
        *looks.1.lock().unwrap(),
        [Err(TryRecvError::Disconnected); 9]
    );
    for send in &mut sends {
        let polled = AssertUnwindSafe(|| send.as_mut().poll(&mut Context::from_waker(&waker)));
        assert!(catch_unwind(polled).is_err(), "it was refused");
    }
}
