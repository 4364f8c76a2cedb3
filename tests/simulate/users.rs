//! Users: they submit, suspend, resume, cancel and delete, with kubectl or through the facade.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use http::{Request, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::clock;
use super::ledger::{attempt_of, is_driver, namespace_of, text};
use super::schedule::{BatchPlan, Scenario, TEAM, Via};
use super::world::{Shared, World, lock};

const BATCHES: &str = "/batches";
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(35);
/// How long nobody changes their mind about a batch that was just posted: longer than a create of it is late that was
/// given up and tried again.
const MIND: SignedDuration = SignedDuration::from_secs(3);

/// One batch and what its user has done.
pub struct User {
    pub plan: BatchPlan,
    pub state: Submission,
    deletion: Option<JoinHandle<()>>,
    /// Whether its user wanted it gone, or allowed it to go.
    pub may_be_gone: bool,
    acted: bool,
}

/// How far a batch is on its way to the API server.
pub enum Submission {
    NotYet,
    /// Sent to the facade; the id once it was acknowledged.
    Posted(JoinHandle<Option<i64>>),
    Acknowledged(i64),
    /// Not acknowledged, and not tried again.
    Unknown,
    Applied,
}

impl User {
    pub fn new(plan: BatchPlan, may_be_gone: bool) -> Self {
        let may_be_gone = may_be_gone || plan.scenario == Scenario::TimeToLive;
        Self { plan, state: Submission::NotYet, deletion: None, may_be_gone, acted: false }
    }

    pub fn file(&self) -> &str {
        text(&self.plan.spec, "/file")
    }

    /// Whether nothing more is under way.
    pub fn is_done(&self) -> bool {
        let is_deleting = self.deletion.as_ref().is_some_and(|task| !task.is_finished());
        !is_deleting && !matches!(self.state, Submission::NotYet | Submission::Posted(_))
    }
}

impl World {
    /// Each user may do something.
    pub async fn users_act(&mut self) {
        let mut users = std::mem::take(&mut self.users);
        for (n, user) in users.iter_mut().enumerate() {
            self.user_submits(n, user).await;
            if let Some(batch) = self.batch_of(user) {
                self.user_acts(user, &batch);
            }
        }
        self.users = users;
    }

    /// The resource of a user's batch, while it exists.
    pub fn batch_of(&self, user: &User) -> Option<Value> {
        let batches = self.server.list("sparkbatches", "");
        batches.into_iter().find(|batch| text(batch, "/spec/file") == user.file())
    }

    async fn user_submits(&mut self, n: usize, user: &mut User) {
        match &mut user.state {
            Submission::NotYet if user.plan.at <= clock::elapsed() => {
                self.saw(user.plan.scenario.name());
                user.state = self.submission(n, &user.plan);
            }
            Submission::Posted(task) if task.is_finished() => {
                user.state = task.await.ok().flatten().map_or(Submission::Unknown, Submission::Acknowledged);
            }
            _ => {}
        }
    }

    fn submission(&mut self, n: usize, plan: &BatchPlan) -> Submission {
        match plan.via {
            Via::Kubectl => {
                let name = format!("{}{n}", if plan.elsewhere { TEAM } else { "batch" });
                let metadata = json!({ "name": name, "namespace": namespace_of(&name) });
                self.server.insert("sparkbatches", json!({ "metadata": metadata, "spec": plan.spec }));
                return Submission::Applied;
            }
            Via::Post => self.saw("facade: POST"),
            Via::KeyedPost => self.saw("facade: POST with a key"),
        }
        let (shared, body, key) = (self.shared(), plan.spec.to_string(), format!("key-{n}"));
        let key = (plan.via == Via::KeyedPost).then_some(key);
        Submission::Posted(tokio::spawn(async move { shared.post(body, key).await }))
    }

    fn user_acts(&mut self, user: &mut User, batch: &Value) {
        let name = text(batch, "/metadata/name");
        if self.schedule.scripted {
            return self.user_follows_the_script(user, name);
        }
        let whim = self.rng.u32(..1000) < self.schedule.chances.whim;
        let is_due = self.rng.u32(..100) < 10;
        let waits = text(batch, "/status/reason") == "Queued" && self.rng.u32(..100) < 12;
        let wish = match (whim, user.plan.scenario) {
            (_, _) if waits => [Scenario::Suspend, Scenario::Cancel][self.rng.usize(..2)],
            (_, _) if is_due && batch["spec"]["suspend"] == true => Scenario::Suspend,
            (true, _) => [Scenario::Suspend, Scenario::Cancel, Scenario::Delete][self.rng.usize(..3)],
            (false, wish) if is_due => wish,
            _ => return,
        };
        match wish {
            Scenario::Suspend => self.set(name, "suspend", json!(batch["spec"]["suspend"] != true)),
            Scenario::Cancel => self.set(name, "cancel", json!(true)),
            Scenario::Delete => self.user_deletes(user, batch),
            // One that is repeated after the batch has gone would make it anew.
            Scenario::TimeToLive if !matches!(user.state, Submission::Posted(_)) => {
                let seconds = self.rng.u32(3..30);
                self.set(name, "ttlSecondsAfterFinished", json!(seconds));
            }
            _ => {}
        }
    }

    /// Acts once the first driver has an executor.
    fn user_follows_the_script(&mut self, user: &mut User, name: &str) {
        let pods = self.server.list("pods", "");
        let runs = pods.len() > 1 && pods.iter().all(|pod| attempt_of(pod) == 1);
        match user.plan.scenario {
            Scenario::Suspend if runs && !user.acted => self.set(name, "suspend", json!(true)),
            Scenario::Suspend if user.acted && !pods.iter().any(is_driver) => self.set(name, "suspend", json!(false)),
            Scenario::Cancel if runs => self.set(name, "cancel", json!(true)),
            Scenario::Delete if runs => {
                user.may_be_gone = true;
                self.server.remove("sparkbatches", namespace_of(name), name);
            }
            _ => return,
        }
        user.acted = true;
    }

    fn set(&mut self, name: &str, field: &str, value: Value) {
        self.server.update("sparkbatches", namespace_of(name), name, |batch| batch["spec"][field] = value);
    }

    fn user_deletes(&mut self, user: &mut User, batch: &Value) {
        user.may_be_gone = true;
        match user.state {
            _ if user.plan.via != Via::Kubectl && age(batch) < MIND => {}
            Submission::Acknowledged(id) if user.deletion.is_none() => {
                self.saw("facade: DELETE");
                let shared = self.shared();
                user.deletion = Some(tokio::spawn(async move { shared.delete(id).await }));
            }
            Submission::Posted(_) => {}
            _ => {
                let name = text(batch, "/metadata/name");
                self.server.remove("sparkbatches", namespace_of(name), name);
            }
        }
    }

    /// Every user lets their batch come to its end.
    pub async fn users_finish(&mut self) {
        let mut users = std::mem::take(&mut self.users);
        for (n, user) in users.iter_mut().enumerate() {
            self.user_submits(n, user).await;
            if let Some(batch) = self.batch_of(user).filter(|batch| batch["spec"]["suspend"] == true) {
                self.set(text(&batch, "/metadata/name"), "suspend", json!(false));
            }
        }
        self.users = users;
    }
}

fn age(batch: &Value) -> SignedDuration {
    let created = text(batch, "/metadata/creationTimestamp").parse::<Timestamp>();
    created.map_or(SignedDuration::MAX, |created| clock::now().duration_since(created))
}

impl Shared {
    /// POSTs a batch, with a key again and again until there is an answer for good.
    async fn post(self, body: String, key: Option<String>) -> Option<i64> {
        loop {
            let mut request = Request::post(BATCHES).header("content-type", "application/json");
            if let Some(key) = &key {
                request = request.header("idempotency-key", key);
            }
            let request = request.body(Body::from(body.clone())).ok()?;
            match self.send(request).await {
                Some((StatusCode::CREATED | StatusCode::OK, answer)) => return answer["id"].as_i64(),
                _ if key.is_none() => return None,
                _ => sleep(Duration::from_secs(1)).await,
            }
        }
    }

    /// DELETEs a batch until it is gone.
    async fn delete(self, id: i64) {
        loop {
            let Ok(request) = Request::delete(format!("{BATCHES}/{id}")).body(Body::empty()) else { return };
            if let Some((StatusCode::OK | StatusCode::NOT_FOUND, _)) = self.send(request).await {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// An answer of the facade that runs now, if there is one.
    async fn send(&self, request: Request<Body>) -> Option<(StatusCode, Value)> {
        let what = format!("{} {}", request.method(), request.uri());
        let router: Option<Router> = lock(&self.router).clone();
        let answer = timeout(PATIENCE, router?.oneshot(request)).await.ok()?.ok()?;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await.ok()?;
        lock(&self.ledger).note(&format!("client {what} {status}"));
        Some((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

/// What tasks of clients share with the world.
impl World {
    fn shared(&self) -> Shared {
        Shared { ledger: Arc::clone(&self.ledger), router: Arc::clone(&self.router) }
    }
}
