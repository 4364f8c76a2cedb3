//! Batches run while the operator, the API server and etcd are killed again and again: each comes to the end that it
//! would have come to anyway, by one driver pod per attempt.
//!
//! By default two minutes and ten batches; `make chaos` makes it ten and fifty.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use sparkbatch::api::{Phase, Reason, SparkBatch, SparkBatchStatus};

use crate::world::{JOBS, SYSTEM, World, pods_created, say, until};

const SCRIPT: &str = "import sys, time\ntime.sleep(float(sys.argv[1]))\nsys.exit(int(sys.argv[2]))\n";
const PI: &str = "/opt/spark/examples/src/main/python/pi.py";

/// What a batch is, and how it must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Succeeds,
    Fails,
    /// Fails, is run again, and fails again.
    FailsTwice,
    /// Its driver asks the API server for executors, and may fail for not being answered. Submitted by REST.
    HasExecutor,
}

impl Kind {
    fn of(n: usize) -> Self {
        match n % 5 {
            0 => Self::HasExecutor,
            1 => Self::Fails,
            2 => Self::FailsTwice,
            _ => Self::Succeeds,
        }
    }

    fn spec(self, n: usize) -> Value {
        if self == Self::HasExecutor {
            return json!({ "file": PI, "args": ["2"], "numExecutors": 1 });
        }
        let code = if self == Self::Succeeds { "0" } else { "3" };
        let retries = i32::from(self == Self::FailsTwice);
        json!({
            "file": "/chaos/job.py",
            "args": [(n % 7).to_string(), code],
            "numExecutors": 1,
            "volumes": [{ "name": "job", "configMap": { "name": "chaos" } }],
            "driver": { "volumeMounts": [{ "name": "job", "mountPath": "/chaos" }] },
            "retry": { "applicationRetries": retries, "backoffSeconds": 1 },
            // Long enough for a machine on which many wait for their turn.
            "deadlines": { "pendingSeconds": 3600, "driverStartSeconds": 3600 },
        })
    }

    fn assert_end(self, name: &str, status: &SparkBatchStatus) {
        let end = (status.phase, status.reason, status.attempt);
        let failed = |attempt| (Phase::Failed, Some(Reason::DriverExitNonZero), Some(attempt));
        let succeeded = (Phase::Succeeded, Some(Reason::DriverSucceeded), Some(1));
        match self {
            Self::Succeeds => assert_eq!(end, succeeded, "{name}: {status:?}"),
            Self::Fails => assert_eq!(end, failed(1), "{name}: {status:?}"),
            Self::FailsTwice => assert_eq!(end, failed(2), "{name}: {status:?}"),
            Self::HasExecutor => assert!(end == succeeded || end == failed(1), "{name}: {status:?}"),
        }
    }
}

/// Numbers that look random, and are the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth, MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}: {value} is no number")))
}

/// Tries until an answer comes: the API server may be down.
async fn insist<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, kube::Error>) -> T {
    let began = Instant::now();
    loop {
        match attempt().await {
            Ok(answer) => return answer,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(180), "{what}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn cluster(arguments: &[&str]) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/cluster");
    let done = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(done.success(), "deploy/local/cluster {arguments:?}: {done}");
}

/// Kills it, and has it come back; not an operator that does not run yet.
async fn kill(world: &World, victim: &'static str, chance: &mut Chance) -> Option<&'static str> {
    if victim == "operator" {
        if !world.kill_replica("").await {
            return None;
        }
        // In a new pod: the kubelet would let a container that crashes so often wait for minutes.
        let pods: Api<Pod> = Api::namespaced(world.client.clone(), SYSTEM);
        let all = ListParams::default().labels("app.kubernetes.io/name=sparkbatch");
        let now = DeleteParams::default().grace_period(0);
        insist("delete the operator's pod", async || pods.delete_collection(&now, &all).await).await;
    } else {
        cluster(&["kill", victim]);
        tokio::time::sleep(Duration::from_secs(chance.below(4))).await;
        cluster(&["up"]);
    }
    Some(victim)
}

/// Submits as kubectl does, or as a REST client that repeats what was not answered; the name of the batch.
async fn submit(world: &World, n: usize) -> String {
    let kind = Kind::of(n);
    if kind == Kind::HasExecutor {
        return post(world, n, &kind.spec(n).to_string()).await;
    }
    let name = format!("chaos-{n}");
    let batch = SparkBatch::new(&name, serde_json::from_value(kind.spec(n)).unwrap());
    insist("create a batch", async || match world.batches().create(&PostParams::default(), &batch).await {
        // An answer that was lost on the way.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    })
    .await;
    name
}

async fn post(world: &World, n: usize, body: &str) -> String {
    let key = format!("Idempotency-Key: chaos-{n}-{}", std::process::id());
    let mut id = None;
    until("the REST API to take a batch", Duration::from_secs(300), async || {
        let (code, answer) = world.rest_with("POST", "/batches", &[&key], Some(body));
        id = answer["id"].as_i64().filter(|_| code == 201 || code == 200);
        assert!(id.is_some() || code == 0 || code >= 429, "{code}: {answer}");
        id.is_some()
    })
    .await;
    let id = format!("sparkbatch.dev/id={}", id.unwrap());
    let found = insist("find a batch", async || world.batches().list(&ListParams::default().labels(&id)).await).await;
    assert_eq!(found.items.len(), 1, "{id}");
    found.items[0].name_any()
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn whatever_is_killed_each_batch_ends_as_it_would_have_by_one_driver_per_attempt() {
    let seconds = setting("SPARKBATCH_CHAOS_SECONDS").unwrap_or(120);
    let seed = setting("SPARKBATCH_CHAOS_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) >> 1);
    let count = usize::try_from(seconds / 12).unwrap();
    say(format!("    {count} batches in {seconds} s, SPARKBATCH_CHAOS_SEED={seed}"));
    let (world, mut chance) = (World::new().await, Chance(seed));
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), JOBS);
    let job = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "chaos" }, "data": { "job.py": SCRIPT } });
    api.patch("chaos", &PatchParams::apply("e2e").force(), &Patch::Apply(job)).await.unwrap();

    let (began, mut kills) = (Instant::now(), BTreeMap::new());
    let mut ends: HashMap<usize, SparkBatchStatus> = HashMap::new();
    let submitting = async {
        let mut names = Vec::new();
        for n in 0..count {
            names.push(submit(&world, n).await);
            tokio::time::sleep(Duration::from_secs(seconds) * 4 / 5 / u32::try_from(count).unwrap()).await;
        }
        names
    };
    let killing = async {
        // By chance, but each as often as the others: in two minutes there are some nine kills.
        let mut victims = Vec::new();
        while began.elapsed() < Duration::from_secs(seconds) {
            tokio::time::sleep(Duration::from_secs(3 + chance.below(12))).await;
            if victims.is_empty() {
                victims.extend(["operator", "kube-apiserver", "etcd"]);
            }
            let next = usize::try_from(chance.below(victims.len() as u64)).unwrap();
            let Some(victim) = kill(&world, victims[next], &mut chance).await else { continue };
            victims.remove(next);
            *kills.entry(victim).or_insert(0) += 1;
            say(format!("    {:5.0} s  killed {victim}", began.elapsed().as_secs_f32()));
        }
    };
    let (names, ()) = futures::join!(submitting, killing);
    world.until_operator_is_back().await;

    until("every batch to end", Duration::from_secs(300 + 30 * seconds / 10), async || {
        let batches = insist("list the batches", async || world.batches().list(&ListParams::default()).await).await;
        for batch in batches.items {
            let Some(n) = names.iter().position(|name| *name == batch.name_any()) else { continue };
            let status = batch.status.unwrap_or_default();
            if let Some(end) = ends.get(&n) {
                assert_eq!(*end, status, "an end does not change");
            } else if status.phase.is_final() {
                ends.insert(n, status);
            }
        }
        ends.len() == count
    })
    .await;

    let pods = world.pods().list(&ListParams::default().labels("spark-role=driver")).await.unwrap();
    let (mut drivers, mut untold) = (0, 0);
    for (n, name) in names.iter().enumerate() {
        let status = &ends[&n];
        Kind::of(n).assert_end(name, status);
        for attempt in 1..=status.attempt.unwrap() {
            let labels = [("sparkbatch.dev/batch", name.clone()), ("sparkbatch.dev/attempt", attempt.to_string())];
            let is_its = |pod: &&Pod| labels.iter().all(|(key, value)| pod.labels().get(*key) == Some(value));
            let found: Vec<_> = pods.items.iter().filter(is_its).collect();
            let [pod] = found[..] else { panic!("{name}, attempt {attempt}: {} driver pods", found.len()) };
            // An API server that is killed before it has told its log of what it has stored never does.
            let created = pods_created(|name| name == pod.name_any());
            assert!(created <= 1, "{name}, attempt {attempt}: created {created} times");
            (drivers, untold) = (drivers + 1, untold + (1 - created));
        }
    }
    let killed: usize = kills.values().sum();
    assert!(untold <= killed, "{untold} creations are not in the audit log");
    let lost = (0..count).filter(|n| Kind::of(*n) == Kind::HasExecutor && ends[n].phase == Phase::Failed).count();
    say(format!(
        "    {count} batches, {count} ends, {drivers} driver pods for as many attempts ({untold} created as the API \
         server was killed); kills: {kills:?}; {lost} drivers failed for want of the API server; {:.0} s",
        began.elapsed().as_secs_f32()
    ));
    assert!(seconds < 60 || kills.len() == 3, "not everything was killed: {kills:?}");
    for name in names {
        world.remove(&name).await;
    }
    api.delete("chaos", &DeleteParams::default()).await.unwrap();
}
