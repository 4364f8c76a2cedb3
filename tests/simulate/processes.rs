//! The processes: they start, are cut, are stopped for a while as by SIGSTOP, shut down, and start again.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use jiff::SignedDuration;
use sparkbatch::controller::{self, ControllerConfig, Deadlines, Limits};
use sparkbatch::facade::{AuthMode, Clients, Facade, FacadeConfig};
use sparkbatch::ids::IdAllocator;
use sparkbatch::lease::{ElectionConfig, Timing};
use sparkbatch::metrics::Metrics;
use sparkbatch::plan::Defaults;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock;
use super::ledger::OPERATORS;
use super::schedule::{Cut, NS};
use super::stops::{Gate, Gated};
use super::world::{World, lock};

/// What the facade's process is called.
pub const FACADE: &str = "facade";
const LEASES: &str = "operators";
/// For how long a process is stopped in a schedule that is about nothing else.
const STOP: Duration = Duration::from_secs(40);

/// Aborts its task when dropped, as the end of a process does.
pub struct Process {
    pub label: &'static str,
    task: JoinHandle<()>,
    cancel: CancellationToken,
    gate: Arc<Gate>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What becomes of a process's place.
pub enum Place {
    Running(Process),
    /// To be started anew at a time.
    Empty(Instant),
    /// Until it has ended by itself.
    Closing(Process),
}

impl World {
    /// Starts what the schedule has, all but the first replica a little later.
    pub fn start_processes(&mut self) {
        for label in OPERATORS.into_iter().take(self.schedule.replicas) {
            let process = self.operator(label);
            self.places.push((label, Place::Running(process)));
        }
        if self.schedule.facade {
            let process = self.facade();
            self.places.push((FACADE, Place::Running(process)));
        }
        match self.schedule.cut {
            Some(Cut::Dies(crash)) => self.server.crash(OPERATORS[0], crash),
            Some(Cut::Stops(n)) => self.arm_stop(0, n, STOP),
            None => {}
        }
    }

    fn operator(&self, label: &'static str) -> Process {
        let client = self.server.client_as(label);
        let (cancel, gate) = (CancellationToken::new(), Arc::new(Gate::default()));
        let (ids, cancelled) = (IdAllocator::new(client.clone()), cancel.clone());
        let (shards, timing) = (self.schedule.shards, Timing::default());
        let election = ElectionConfig { namespace: LEASES.into(), identity: label.into(), shards, timing };
        let config = ControllerConfig {
            defaults: Defaults { image: Some("spark".into()), service_account: "spark".into(), ..Defaults::default() },
            deadlines: Deadlines { driver_start: SignedDuration::from_secs(120), ..Deadlines::default() },
            concurrency: 8,
            election: self.schedule.elected.then_some(election),
            limits: Limits { default: self.schedule.limit, ..Limits::default() },
            pod_retention: self.schedule.retention,
            ttl_after_finished: self.schedule.ttl.map(|seconds| SignedDuration::from_secs(seconds.into())),
            clock: clock::now,
            ..ControllerConfig::default()
        };
        let work = async move {
            controller::run(client, ids, config, &Metrics::default(), cancelled, || {}).await;
        };
        let task = tokio::spawn(Gated { gate: Arc::clone(&gate), work: Box::pin(work) });
        Process { label, task, cancel, gate }
    }

    fn facade(&mut self) -> Process {
        let client = self.server.client_as(FACADE);
        let clients = Clients { own: client.clone(), anonymous: client.clone() };
        let config = FacadeConfig { default_namespace: NS.into(), auth: AuthMode::None, ..FacadeConfig::default() };
        let facade = Facade::new(clients, IdAllocator::new(client), config, &Metrics::default());
        self.set_router(Some(facade.router()));
        let task = tokio::spawn(async move { facade.feed().await });
        Process { label: FACADE, task, cancel: CancellationToken::new(), gate: Arc::default() }
    }

    fn set_router(&self, router: Option<Router>) {
        *lock(&self.router) = router;
    }

    fn start(&mut self, label: &'static str) -> Process {
        self.saw("process: started again");
        self.note(&format!("{label} starts again"));
        lock(&self.stops).disarm(label);
        if label == FACADE { self.facade() } else { self.operator(label) }
    }

    /// Buries the dead, starts whose time has come, and lets those go on whose stop is over.
    pub fn tend_processes(&mut self, longest_absence: Duration) {
        for (label, place) in std::mem::take(&mut self.places) {
            let next = match place {
                Place::Running(process) | Place::Closing(process) if self.server.is_dead(label) => {
                    self.note(&format!("{label} is dead"));
                    if label == FACADE {
                        self.set_router(None);
                    }
                    drop(process);
                    let absence = self.rng.u64(..=u64::try_from(longest_absence.as_millis()).unwrap_or_default());
                    Place::Empty(Instant::now() + Duration::from_millis(absence))
                }
                Place::Closing(process) if process.task.is_finished() => Place::Empty(Instant::now()),
                Place::Empty(at) if at <= Instant::now() => Place::Running(self.start(label)),
                place => place,
            };
            self.places.push((label, next));
        }
        self.wake_stopped(false);
    }

    /// Lets processes go on whose stop is over; all of them if `all`.
    pub fn wake_stopped(&mut self, all: bool) {
        let mut stops = lock(&self.stops);
        for (_, place) in &self.places {
            if let Place::Running(process) | Place::Closing(process) = place
                && stops.is_over(process.label, all)
            {
                process.gate.go_on();
            }
        }
    }

    /// Arms a cut of one process.
    pub fn cut_some_process(&mut self) {
        use crate::common::apiserver::Crash;
        let label = self.places[self.rng.usize(..self.places.len())].0;
        let n = self.rng.u64(1..=8);
        let (crash, name) = match self.rng.u32(..4) {
            0 => (Crash::BeforeCall(n), "cut: before a call"),
            1 => (Crash::AfterCall(n), "cut: after a call"),
            2 => (Crash::BeforeWrite(n), "cut: before a write"),
            _ => (Crash::AfterWrite(n), "cut: after a write"),
        };
        self.saw(name);
        self.note(&format!("{label} is to be cut: {crash:?}"));
        self.server.crash(label, crash);
    }

    /// Stops one replica for a while, now or at one of its next calls; its requests on their way wait, too.
    pub fn stop_some_process(&mut self) {
        let time = Duration::from_millis(self.rng.u64(200..40_000));
        let (place, at_call) = (self.rng.usize(..self.places.len()), self.rng.bool());
        let (label, Place::Running(process)) = &self.places[place] else { return };
        if *label == FACADE || lock(&self.stops).is_stopped(label) {
            return;
        }
        if at_call {
            let n = self.rng.u64(1..=8);
            return self.arm_stop(place, n, time);
        }
        lock(&self.stops).stop(label, &process.gate, time);
        let text = format!("{label} is stopped for {time:?}");
        self.saw("process: stopped for a while");
        self.note(&text);
    }

    fn arm_stop(&self, place: usize, n: u64, time: Duration) {
        let (label, Place::Running(process)) = &self.places[place] else { return };
        self.note(&format!("{label} is to be stopped after {n} calls for {time:?}"));
        lock(&self.stops).arm(label, n, time, Arc::clone(&process.gate));
    }

    /// Asks one replica to shut down, as for an update.
    pub fn shut_down_some_process(&mut self) {
        let at = self.rng.usize(..self.places.len());
        let (label, place) = self.places.swap_remove(at);
        let place = match place {
            Place::Running(process) if label != FACADE => {
                self.saw("process: shut down in order");
                self.note(&format!("{label} is asked to shut down"));
                process.cancel.cancel();
                Place::Closing(process)
            }
            place => place,
        };
        self.places.push((label, place));
    }
}
