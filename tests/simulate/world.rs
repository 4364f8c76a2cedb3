//! One schedule, run: processes, pods, users and faults on one clock, and then calm until all has come to its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use fastrand::Rng;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::clock;
use super::ledger::{Ledger, attempt_of, has_ended, is_driver, is_final, namespace_of, text};
use super::processes::Place;
use super::schedule::{NS, Schedule, TEAM};
use super::stops::Stops;
use super::users::{Submission, User};
use super::weather::{Dice, decide};
use crate::common::apiserver::{ApiServer, Kind};

/// How long batches may take to their end once the faults have stopped: longer than any pause before another try.
const CALM: Duration = Duration::from_secs(3600);
/// For how long after that is looked at what comes late.
const CLEANUP: Duration = Duration::from_secs(45);
/// How long the operator may take at the most to end what a batch has left: longer than the slowest of answers, for it hears
/// of nothing before, and than its longest pause before another try.
const LONG_CLEANUP: Duration = Duration::from_secs(600);

pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is simulated.
pub struct World {
    pub schedule: Schedule,
    pub server: ApiServer,
    pub rng: Rng,
    pub ledger: Arc<Mutex<Ledger>>,
    pub dice: Arc<Mutex<Dice>>,
    pub stops: Arc<Mutex<Stops>>,
    /// The facade that runs now.
    pub router: Arc<Mutex<Option<Router>>>,
    pub places: Vec<(&'static str, Place)>,
    pub users: Vec<User>,
    pub executors: usize,
    /// Until when the nodes of pods, by their names, do not answer.
    pub silent: HashMap<String, Duration>,
}

/// What tasks of clients have of it.
pub struct Shared {
    pub ledger: Arc<Mutex<Ledger>>,
    pub router: Arc<Mutex<Option<Router>>>,
}

/// What became of a schedule.
pub struct Outcome {
    pub ledger: Ledger,
    /// Requests of each kind of process, in order.
    pub calls: usize,
    /// Each batch's end: phase, reason and attempt; empty if it is gone.
    pub ends: Vec<String>,
}

/// Runs a schedule on this thread.
pub fn run(schedule: &Schedule) -> Outcome {
    // What jitters in the libraries does so by this.
    fastrand::seed(schedule.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(async {
        clock::start();
        let mut world = World::new(schedule.clone());
        world.go().await;
        let ends = world.users.iter().map(|user| world.end_of(user)).collect();
        world.places.clear();
        let calls = world.server.calls().iter().filter(|call| call.client == "operator-a").count();
        let ledger = std::mem::take(&mut *lock(&world.ledger));
        Outcome { ledger, calls, ends }
    })
}

impl World {
    fn new(schedule: Schedule) -> Self {
        let server = ApiServer::new();
        server.options(|options| {
            options.clock_step = SignedDuration::ZERO;
            options.clock = Some(clock::now);
            options.graceful_pod_deletion = true;
        });
        server.register(Kind::namespaced("scheduling.volcano.sh", "v1beta1", "podgroups", "PodGroup"));
        for namespace in [NS, TEAM] {
            server.insert("namespaces", json!({ "metadata": { "name": namespace } }));
        }
        let ledger = Arc::new(Mutex::new(Ledger::of(&schedule)));
        let mut rng = Rng::with_seed(schedule.seed ^ 0x9e37_79b9_7f4a_7c15);
        let dice = Arc::new(Mutex::new(Dice { rng: rng.fork(), chance: schedule.chances.fault }));
        let stops = Arc::<Mutex<Stops>>::default();
        let observing = Arc::clone(&ledger);
        server.observe(move |seen| lock(&observing).change(seen));
        let deciding = (Arc::clone(&ledger), Arc::clone(&dice), Arc::clone(&stops));
        server.decide(move |call| decide(&deciding.0, &deciding.1, &deciding.2, call));
        let users = schedule.batches.iter().map(|plan| User::new(plan.clone(), schedule.ttl.is_some())).collect();
        let (router, places, silent) = (Arc::default(), Vec::new(), HashMap::new());
        Self { schedule, server, rng, ledger, dice, stops, router, places, users, executors: 0, silent }
    }

    pub fn saw(&self, what: &'static str) {
        lock(&self.ledger).seen.insert(what);
    }

    pub fn note(&self, what: &str) {
        lock(&self.ledger).note(what);
    }

    fn violated(&self, what: String) {
        lock(&self.ledger).violated(what);
    }

    fn has_failed(&self) -> bool {
        !lock(&self.ledger).violations.is_empty()
    }

    async fn go(&mut self) {
        self.start_processes();
        for _ in 0..self.schedule.steps {
            let pace = u64::try_from(self.schedule.pace.as_millis()).unwrap_or(1);
            let pause = if self.schedule.scripted { pace } else { self.rng.u64(1..=pace) };
            sleep(Duration::from_millis(pause)).await;
            self.step().await;
            if self.has_failed() || (self.schedule.scripted && self.is_settled()) {
                break;
            }
        }
        if !self.has_failed() {
            self.calm().await;
        }
        if !self.has_failed() {
            self.check_the_end();
            self.delete_all().await;
        }
    }

    async fn step(&mut self) {
        self.users_act().await;
        self.pods_live();
        let chances = self.schedule.chances;
        let mut draw = |chance: u32| self.rng.u32(..1000) < chance;
        let (watch, cut, pause, shutdown) =
            (draw(chances.watch_fault), draw(chances.cut), draw(chances.pause), draw(chances.shutdown));
        if watch {
            self.disturb_watches();
        }
        if cut {
            self.cut_some_process();
        }
        if pause {
            self.stop_some_process();
        }
        if shutdown {
            self.shut_down_some_process();
        }
        self.tend_processes(Duration::from_secs(20));
    }

    /// The faults stop. Every batch has to come to its end.
    async fn calm(&mut self) {
        self.note("the faults stop");
        lock(&self.dice).chance = 0;
        self.release_watches();
        self.wake_stopped(true);
        let end = clock::elapsed() + CALM;
        while !self.is_settled() {
            if clock::elapsed() > end {
                let states: Vec<_> = self.users.iter().map(|user| self.end_of(user)).collect();
                return self.violated(format!("there are batches that never end: {states:?}"));
            }
            sleep(Duration::from_secs(1)).await;
            self.users_finish().await;
            self.pods_behave();
            // As the garbage collector does with what was made for an owner that is gone.
            self.server.collect_garbage();
            self.tend_processes(Duration::ZERO);
            if self.has_failed() {
                return;
            }
        }
        let ended = clock::elapsed();
        while clock::elapsed() < ended + CLEANUP
            || (clock::elapsed() < ended + LONG_CLEANUP && !self.leftovers().is_empty())
        {
            sleep(Duration::from_secs(1)).await;
            self.pods_behave();
            self.server.collect_garbage();
            self.tend_processes(Duration::ZERO);
        }
    }

    /// Whether every batch has come to its end, and is gone if it is to go after that.
    fn is_settled(&self) -> bool {
        let batches = self.server.list("sparkbatches", "");
        let stays = |batch: &Value| self.schedule.ttl.is_none() && batch["spec"]["ttlSecondsAfterFinished"].is_null();
        self.users.iter().all(User::is_done) && batches.iter().all(|batch| is_final(batch) && stays(batch))
    }

    /// How a user's batch ended.
    fn end_of(&self, user: &User) -> String {
        let status = self.batch_of(user).map(|batch| batch["status"].clone()).unwrap_or_default();
        format!("{} {} {}", text(&status, "/phase"), text(&status, "/reason"), status["attempt"])
    }

    fn check_the_end(&self) {
        for left in self.leftovers() {
            self.violated(left);
        }
        let batches = self.server.list("sparkbatches", "");
        for user in &self.users {
            self.check_user(user, &batches);
        }
    }

    /// Every batch is final: what of it still runs, or is too much.
    fn leftovers(&self) -> Vec<String> {
        let batches = self.server.list("sparkbatches", "");
        let pods = self.server.list("pods", "").into_iter().filter(|pod| !has_ended(pod));
        let groups = self.server.list("podgroups", "");
        let outlives = |object: Value| format!("'{}' outlives its batch", text(&object, "/metadata/name"));
        let of_batch = |batch: &Value| [self.drivers_kept(batch), self.secrets_left(batch)].concat();
        pods.chain(groups).map(outlives).chain(batches.iter().flat_map(of_batch)).collect()
    }

    /// The drivers that are not to stay, and do.
    fn drivers_kept(&self, batch: &Value) -> Vec<String> {
        if lock(&self.ledger).keeps_pods(batch) {
            return Vec::new();
        }
        let drivers = self.owned_by("pods", batch).into_iter().filter(is_driver);
        drivers.map(|pod| format!("'{}' is kept against podRetention", text(&pod, "/metadata/name"))).collect()
    }

    /// The Secrets of its attempts but for the last two: the one before stays, since it bars an operator with an old cache
    /// from that attempt.
    fn secrets_left(&self, batch: &Value) -> Vec<String> {
        let (name, current) = (text(batch, "/metadata/name"), batch["status"]["attempt"].as_i64().unwrap_or(1));
        let secrets = self.owned_by("secrets", batch).into_iter().filter(|secret| attempt_of(secret) < current - 1);
        let left = |secret: &Value| {
            format!("'{}' is left of an earlier attempt of '{name}', now {current}", text(secret, "/metadata/name"))
        };
        secrets.map(|secret| left(&secret)).collect()
    }

    fn owned_by(&self, kind: &str, batch: &Value) -> Vec<Value> {
        let mut owned = self.server.list(kind, "");
        owned.retain(|object| text(object, "/metadata/ownerReferences/0/uid") == text(batch, "/metadata/uid"));
        owned
    }

    fn check_user(&self, user: &User, batches: &[Value]) {
        let created = lock(&self.ledger).created(user.file());
        if created > 1 {
            self.violated(format!("{} batches were made for one request of {}", created, user.file()));
        }
        let batch = batches.iter().find(|batch| text(batch, "/spec/file") == user.file());
        match (&user.state, batch) {
            (Submission::Acknowledged(id), Some(batch)) => {
                let shown = batch["metadata"]["labels"]["sparkbatch.dev/id"].as_str();
                if shown != Some(&id.to_string()) {
                    self.violated(format!("{} was acknowledged as {id}, and is {shown:?}", user.file()));
                }
            }
            (Submission::Acknowledged(_) | Submission::Applied, None) if !user.may_be_gone => {
                self.violated(format!("the batch of {} is gone, and nobody wished it so", user.file()));
            }
            _ => {}
        }
        if let Some(batch) = batch
            && !batch["status"]["id"].is_i64()
        {
            self.violated(format!("the batch of {} never got an id", user.file()));
        }
    }

    /// With the batches goes everything that was made for them.
    async fn delete_all(&mut self) {
        for batch in self.server.list("sparkbatches", "") {
            let name = text(&batch, "/metadata/name");
            self.server.remove("sparkbatches", namespace_of(name), name);
        }
        for _ in 0..5 {
            sleep(Duration::from_secs(1)).await;
            self.pods_behave();
            self.server.collect_garbage();
        }
        for kind in ["pods", "secrets", "podgroups"] {
            for left in self.server.list(kind, "") {
                self.violated(format!("{kind} '{}' is left of a deleted batch", text(&left, "/metadata/name")));
            }
        }
    }
}
