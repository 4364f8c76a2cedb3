//! Processes that are stopped for a while, as by SIGSTOP, at any time or between two of their calls.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::world::lock;
use crate::common::apiserver::Call;

/// Lets nothing through while its process is stopped.
#[derive(Default)]
pub struct Gate(Mutex<(bool, Option<Waker>)>);

impl Gate {
    fn stop(&self) {
        lock(&self.0).0 = true;
    }

    pub fn go_on(&self) {
        let mut state = lock(&self.0);
        state.0 = false;
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

/// Work behind a gate.
pub struct Gated<F> {
    pub gate: Arc<Gate>,
    pub work: Pin<Box<F>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut state = lock(&self.gate.0);
            if state.0 {
                state.1 = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        self.work.as_mut().poll(context)
    }
}

/// Which processes are stopped, and which are to be.
#[derive(Default)]
pub struct Stops {
    /// Until when.
    stopped: HashMap<&'static str, Instant>,
    /// After how many more calls, and for how long.
    armed: HashMap<&'static str, (u64, Duration, Arc<Gate>)>,
}

impl Stops {
    pub fn is_stopped(&self, label: &str) -> bool {
        self.stopped.contains_key(label)
    }

    pub fn stop(&mut self, label: &'static str, gate: &Gate, time: Duration) {
        gate.stop();
        self.stopped.insert(label, Instant::now() + time);
    }

    /// Stops the process once its `n`-th call from now on is carried out and before it hears of it.
    pub fn arm(&mut self, label: &'static str, n: u64, time: Duration, gate: Arc<Gate>) {
        self.armed.insert(label, (n, time, gate));
    }

    /// The process is another's.
    pub fn disarm(&mut self, label: &str) {
        self.armed.remove(label);
    }

    /// How long a process is stopped still.
    pub fn left(&self, label: &str) -> Option<Duration> {
        self.stopped.get(label).map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// For how long the process that makes this call is stopped as soon as the call is carried out.
    pub fn falls_due(&mut self, call: &Call) -> Option<Duration> {
        let (label, (left, time, _)) = self.armed.iter_mut().find(|(label, _)| **label == call.client)?;
        // What a watch is asked for is answered at once, and no work waits for it.
        *left = left.saturating_sub(u64::from(call.verb != "watch"));
        let (label, time, is_due) = (*label, *time, *left == 0);
        let (_, _, gate) = is_due.then(|| self.armed.remove(label)).flatten()?;
        self.stop(label, &gate, time);
        Some(time)
    }

    /// Whether the process is to go on: its time is up, or everybody's is.
    pub fn is_over(&mut self, label: &str, all: bool) -> bool {
        if all {
            self.disarm(label);
        }
        let is_over = self.stopped.get(label).is_some_and(|until| all || *until <= Instant::now());
        if is_over {
            self.stopped.remove(label);
        }
        is_over
    }
}
