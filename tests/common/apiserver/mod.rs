//! A Kubernetes API server for tests: in process, stateful, deterministic.
//!
//! ```ignore
//! let server = ApiServer::new();
//! let client = server.client_as("operator");
//! let pods: Api<Pod> = Api::namespaced(client, "jobs");
//! server.inject(Fault::on("create", "pods").lose_response());
//! assert!(pods.create(&PostParams::default(), &pod).await.is_err());
//! server.set_driver_terminated("jobs", "driver", 1, "Error");
//! assert_eq!(server.writes(), ["create pods jobs/driver lost"]);
//! ```
//!
//! Nothing in here sleeps (but for [`Fault::delay`]); time stands still unless a test moves it or
//! creates objects. Every method may be called at any time from any thread, except from inside
//! the closures of [`ApiServer::update`], [`ApiServer::admit`] and [`ApiServer::on_review`].

mod apply;
mod calls;
mod controls;
mod error;
mod faults;
mod gc;
mod helpers;
mod http;
mod kinds;
mod list;
mod logs;
mod ops;
mod patch;
mod pods;
mod reply;
mod select;
mod serve;
mod store;
mod validate;
mod watch;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch as signal;

use self::store::State;
pub use self::{
    calls::Call,
    error::ApiError,
    faults::{Crash, Fault},
    kinds::{KINDS, Kind},
    serve::Connection,
    store::{Options, Seen},
};

/// How long [`ApiServer::until`] waits before the test fails.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks while nothing happens on the server.
const GLANCE: Duration = Duration::from_millis(5);

/// The server; clones are handles on the same one.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    /// Counts up whenever something happened that someone may wait for.
    signal: signal::Sender<u64>,
}

impl Default for ApiServer {
    fn default() -> Self {
        Self::new()
    }
}

impl ApiServer {
    /// An empty server with the kinds of [`KINDS`].
    pub fn new() -> Self {
        let inner = Inner { state: Mutex::new(State::new()), signal: signal::Sender::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// Serves one more kind.
    pub fn register(&self, kind: Kind) {
        self.lock().kinds.push(kind);
    }

    /// Switches behaviours.
    pub fn options(&self, set: impl FnOnce(&mut Options)) {
        set(&mut self.lock().options);
    }

    /// A new client, labelled `client`. Needs a Tokio runtime.
    pub fn client(&self) -> kube::Client {
        self.client_as("client")
    }

    /// A new client; the label names it in calls, faults and crashes. Needs a Tokio runtime.
    pub fn client_as(&self, label: &str) -> kube::Client {
        kube::Client::new(self.connection(label), "default")
    }

    /// The time on the server: 2026-01-01T00:00:00Z to begin with.
    pub fn now(&self) -> Timestamp {
        self.lock().clock
    }

    /// Moves the server's clock on.
    pub fn advance(&self, by: Duration) {
        self.change(|state| {
            state.clock += SignedDuration::try_from(by).unwrap_or(SignedDuration::ZERO);
        });
    }

    /// Sets the server's clock.
    pub fn set_now(&self, now: Timestamp) {
        self.change(|state| state.clock = now);
    }

    /// Waits until `seen` is true, looking again whenever something happened on the server, and
    /// now and then besides: `seen` may be about what the clients made of it.
    ///
    /// # Panics
    /// If that takes ten seconds; `what` is then said to have been missing.
    pub async fn until(&self, what: &str, mut seen: impl FnMut(&Self) -> bool) {
        let mut signal = self.subscribe();
        let waiting = async {
            loop {
                signal.borrow_and_update();
                if seen(self) {
                    return;
                }
                // The clients' caches follow on their own time.
                drop(tokio::time::timeout(GLANCE, signal.changed()).await);
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let calls: Vec<String> = self.calls().iter().map(ToString::to_string).collect();
            panic!("waited in vain for {what}; calls:\n{}", calls.join("\n"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clock) = state.options.clock {
            state.clock = clock();
        }
        state
    }

    /// Changes the state and tells everyone who waits.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.wake();
        changed
    }

    fn wake(&self) {
        self.inner.signal.send_modify(|count| *count += 1);
    }

    fn subscribe(&self) -> signal::Receiver<u64> {
        self.inner.signal.subscribe()
    }
}
