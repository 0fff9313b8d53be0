//! Random sequences of calls, compared step by step with a reference: a queue, a capacity and a closed flag.

use gchan::{Receiver, Sender, TryRecvError, TrySendError};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use std::collections::VecDeque;

#[derive(Clone, Debug)]
struct Reference {
    cap: Option<usize>,
    queue: VecDeque<u32>,
    sender: bool,
    next: u32,
}

#[derive(Clone, Debug)]
enum Step {
    TrySend,
    TryRecv,
    RecvMany(usize),
    /// A select over the receiver, with a default.
    Select,
    /// A chosen select send that is completed, or given up.
    SelectSend(bool),
    DropSender,
}

impl Reference {
    fn has_room(&self) -> bool {
        self.cap.is_none_or(|cap| self.queue.len() < cap)
    }
}

impl ReferenceStateMachine for Reference {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let cap = prop_oneof![Just(None), (0..5usize).prop_map(Some)];
        cap.prop_map(|cap| Self {
            cap,
            queue: VecDeque::new(),
            sender: true,
            next: 0,
        })
        .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        prop_oneof![
            8 => Just(Step::TrySend),
            5 => Just(Step::TryRecv),
            2 => (0..40usize).prop_map(Step::RecvMany),
            3 => Just(Step::Select),
            3 => any::<bool>().prop_map(Step::SelectSend),
            1 => Just(Step::DropSender),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        match step {
            Step::TrySend | Step::SelectSend(true) if state.sender => {
                if state.has_room() {
                    state.queue.push_back(state.next);
                }
                state.next += 1;
            }
            Step::TryRecv | Step::Select => {
                state.queue.pop_front();
            }
            Step::RecvMany(n) => {
                let n = (*n).min(state.queue.len());
                state.queue.drain(..n);
            }
            Step::DropSender => state.sender = false,
            Step::TrySend | Step::SelectSend(_) => {}
        }
        state
    }
}

struct Channel {
    sender: Option<Sender<u32>>,
    receiver: Receiver<u32>,
    /// The reference before the step.
    before: Reference,
}

impl Channel {
    fn expect_recv(&self, got: Result<u32, TryRecvError>) {
        let expected = match self.before.queue.front() {
            Some(&value) => Ok(value),
            None if self.before.sender => Err(TryRecvError::Empty),
            None => Err(TryRecvError::Disconnected),
        };
        assert_eq!(got, expected);
    }
}

impl StateMachineTest for Channel {
    type SystemUnderTest = Self;
    type Reference = Reference;

    fn init_test(reference: &Reference) -> Self {
        let (sender, receiver) = reference.cap.map_or_else(gchan::unbounded, gchan::bounded);
        Self {
            sender: Some(sender),
            receiver,
            before: reference.clone(),
        }
    }

    fn apply(mut this: Self, after: &Reference, step: Step) -> Self {
        let (room, next) = (this.before.has_room(), this.before.next);
        match (step, &this.sender) {
            (Step::TrySend, Some(s)) => {
                let expected = if room {
                    Ok(())
                } else {
                    Err(TrySendError::Full(next))
                };
                assert_eq!(s.try_send(next), expected);
            }
            (Step::SelectSend(keep), Some(s)) => {
                let leave = |value: Option<u32>| -> Option<bool> {
                    gchan::select! {
                        send(s, value?) -> sent => Some(sent.is_ok()),
                        default => Some(false),
                    }
                };
                let expected = if keep || !room { Some(room) } else { None };
                assert_eq!(leave(keep.then_some(next)), expected);
            }
            (Step::TryRecv, _) => this.expect_recv(this.receiver.try_recv()),
            (Step::Select, _) => {
                let got = gchan::select! {
                    recv(this.receiver) -> value => value.map_err(TryRecvError::from),
                    default => Err(TryRecvError::Empty),
                };
                this.expect_recv(got);
            }
            (Step::RecvMany(n), _) => {
                let mut got = Vec::new();
                let _ = this.receiver.try_recv_many(&mut got, n);
                let expected: Vec<_> = this.before.queue.iter().take(n).copied().collect();
                assert_eq!(got, expected);
            }
            (Step::DropSender, _) => this.sender = None,
            (Step::TrySend | Step::SelectSend(_), None) => {}
        }
        assert_eq!(this.receiver.len(), after.queue.len());
        this.before = after.clone();
        this
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_channel_does_what_a_queue_does(sequential 1..100 => Channel);
}
