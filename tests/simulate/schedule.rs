//! What a seed stands for: everything that is decided before a schedule begins.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use sparkbatch::api::PodRetention;

use crate::common::apiserver::Crash;

/// Where batches are.
pub const NS: &str = "jobs";
/// Where some of them are when there are shards: of two and of three, it is in another. Names of all that is there begin so.
pub const TEAM: &str = "team";

/// What a batch is there to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Success,
    Retry,
    Suspend,
    Cancel,
    Delete,
    TimeToLive,
    LostPod,
    Deadline,
    /// The replica that leads dies, or leads no more.
    LeaderChange,
}

impl Scenario {
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::Retry,
        Self::Suspend,
        Self::Cancel,
        Self::Delete,
        Self::TimeToLive,
        Self::LostPod,
        Self::Deadline,
        Self::LeaderChange,
    ];

    /// Its name in the table of what was covered.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "scenario: success",
            Self::Retry => "scenario: retry",
            Self::Suspend => "scenario: suspend",
            Self::Cancel => "scenario: cancel",
            Self::Delete => "scenario: delete",
            Self::TimeToLive => "scenario: time to live",
            Self::LostPod => "scenario: lost pod",
            Self::Deadline => "scenario: deadline",
            Self::LeaderChange => "scenario: leader change",
        }
    }
}

/// How a batch comes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Kubectl,
    /// One POST, not repeated.
    Post,
    /// A POST with an Idempotency-Key, repeated until it is answered.
    KeyedPost,
}

/// One batch of a schedule.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    pub scenario: Scenario,
    pub via: Via,
    /// Whether it is in the other namespace.
    pub elsewhere: bool,
    /// When it is submitted.
    pub at: Duration,
    /// The resource's spec, or for a POST the request's body.
    pub spec: Value,
}

/// How often things happen, each in thousandths: faults of each call, the others of each step of the world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chances {
    pub fault: u32,
    pub watch_fault: u32,
    pub cut: u32,
    pub pause: u32,
    pub shutdown: u32,
    /// A pod being looked at by its kubelet.
    pub kubelet: u32,
    /// What users do though their scenario does not ask for it.
    pub whim: u32,
}

/// What becomes of the process of the first replica, in a schedule that is about nothing else.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    Dies(Crash),
    /// It is stopped once its n-th call is carried out, for longer than another needs to take over and run the job.
    Stops(u64),
}

/// What happens in one run of the world, but for what is drawn on the way.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub replicas: usize,
    pub elected: bool,
    /// Among how many Leases the namespaces are divided.
    pub shards: u16,
    pub facade: bool,
    /// How many batches may have a driver at once; 0 for any number.
    pub limit: u32,
    /// What is kept of the pods of finished batches that do not say so themselves.
    pub retention: PodRetention,
    /// How long batches stay after their end that do not say so themselves, in seconds.
    pub ttl: Option<u32>,
    pub batches: Vec<BatchPlan>,
    pub chances: Chances,
    /// Longest time between two steps of the world.
    pub pace: Duration,
    /// Steps until the faults stop.
    pub steps: u32,
    /// Where the first replica's process is cut.
    pub cut: Option<Cut>,
    /// Whether pods and users do what the scenario says and nothing else.
    pub scripted: bool,
}

impl Schedule {
    /// The schedule of a seed.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let elected = rng.u32(..100) < 60;
        let replicas = if elected && rng.u32(..100) < 70 { 2 } else { 1 };
        let facade = rng.u32(..100) < 35;
        let limit = if rng.u32(..100) < 25 { rng.u32(1..=2) } else { 0 };
        // Where there is a limit, there often is somebody to wait.
        let least = if limit > 0 && rng.bool() { limit as usize + 1 } else { 1 };
        let count = [1, 1, 1, 2, 2, 3][rng.usize(..6)].max(least);
        let mut batches: Vec<_> = (0..count).map(|n| batch(&mut rng, n, facade, replicas)).collect();
        if limit > 0 {
            // So that they stand in line while there is trouble.
            for batch in &mut batches {
                batch.at /= 5;
            }
        }
        let shards = divide(seed, elected, &mut batches);
        let one_of = |rng: &mut Rng, of: &[u32]| of[rng.usize(..of.len())];
        let chances = Chances {
            fault: one_of(&mut rng, &[0, 10, 50, 150, 300]),
            watch_fault: one_of(&mut rng, &[0, 30, 100, 250]),
            cut: one_of(&mut rng, &[0, 20, 60, 120]),
            pause: one_of(&mut rng, &[0, 0, 30, 80]),
            shutdown: one_of(&mut rng, &[0, 0, 20]),
            kubelet: one_of(&mut rng, &[200, 500, 900]),
            whim: one_of(&mut rng, &[0, 0, 5, 15]),
        };
        let pace = Duration::from_millis(one_of(&mut rng, &[20, 200, 1500, 6000]).into());
        let steps = rng.u32(15..52);
        let retention = RETENTIONS[rng.usize(..3)];
        // A POST that is repeated after its batch has gone would make it anew.
        let ttl = (!facade && rng.u32(..100) < 25).then(|| rng.u32(5..20));
        // The limit reckons with a pod that no watch tells of for a minute: no watch is held for that long.
        let pace = if limit > 0 { pace.min(Duration::from_millis(200)) } else { pace };
        Self {
            seed,
            replicas,
            elected,
            shards,
            facade,
            limit,
            retention,
            ttl,
            batches,
            chances,
            pace,
            steps,
            cut: None,
            scripted: false,
        }
    }

    /// A schedule about one scenario and one place to cut the process that acts.
    pub fn cut(scenario: Scenario, cut: Option<Cut>) -> Self {
        let change = scenario == Scenario::LeaderChange;
        let spec = match scenario {
            Scenario::Retry => {
                let retry = json!({ "infrastructureRetries": 1, "applicationRetries": 1, "backoffSeconds": 2 });
                json!({ "retry": retry, "scheduling": { "volcanoQueue": "etl" } })
            }
            Scenario::Cancel => json!({ "scheduling": { "volcanoQueue": "etl" } }),
            Scenario::TimeToLive => json!({ "ttlSecondsAfterFinished": 5 }),
            Scenario::Deadline => json!({ "deadlines": { "runningSeconds": 10 } }),
            _ => json!({}),
        };
        let plan = BatchPlan {
            scenario,
            via: Via::Kubectl,
            elsewhere: false,
            at: Duration::from_secs(1),
            spec: with_file(spec, 0),
        };
        Self {
            seed: 0,
            replicas: if change { 2 } else { 1 },
            elected: change,
            shards: 1,
            facade: false,
            limit: 0,
            // One that was stopped finds no driver left of the name.
            retention: if change { PodRetention::Never } else { PodRetention::Always },
            ttl: None,
            batches: vec![plan],
            chances: Chances { kubelet: 1000, ..Chances::default() },
            pace: Duration::from_millis(700),
            steps: 200,
            cut,
            scripted: true,
        }
    }
}

const RETENTIONS: [PodRetention; 3] = [PodRetention::Always, PodRetention::OnFailure, PodRetention::Never];

fn with_file(mut spec: Value, n: usize) -> Value {
    spec["file"] = json!(format!("/opt/{n}.py"));
    spec["numExecutors"] = json!(2);
    spec
}

/// How many shards there are; where there are some, batches that nobody posts are in both namespaces. Drawn apart, so that
/// what else a seed stands for stays as it was.
fn divide(seed: u64, elected: bool, batches: &mut [BatchPlan]) -> u16 {
    let mut rng = Rng::with_seed(seed ^ 0x5bd1_e995_7b93_a1c4);
    let shards = if elected { [1, 1, 2, 3][rng.usize(..4)] } else { 1 };
    for plan in batches.iter_mut().filter(|plan| shards > 1 && plan.via == Via::Kubectl) {
        plan.elsewhere = rng.bool();
    }
    shards
}

fn batch(rng: &mut Rng, n: usize, facade: bool, replicas: usize) -> BatchPlan {
    let kinds = if replicas > 1 { 9 } else { 8 };
    let scenario = Scenario::ALL[rng.usize(..kinds)];
    let at = Duration::from_millis(rng.u64(..5000));
    if facade && rng.bool() {
        let via = if rng.u32(..3) == 0 { Via::Post } else { Via::KeyedPost };
        return BatchPlan { scenario, via, elsewhere: false, at, spec: with_file(json!({}), n) };
    }
    let mut spec = with_file(json!({}), n);
    if scenario == Scenario::Retry || rng.u32(..100) < 40 {
        spec["retry"] = json!({
            "infrastructureRetries": rng.u32(..4), "applicationRetries": rng.u32(..4), "backoffSeconds": rng.u32(1..4),
        });
    }
    if scenario == Scenario::Deadline {
        spec["deadlines"] = json!({
            "pendingSeconds": rng.u32(5..60), "driverStartSeconds": rng.u32(5..60), "runningSeconds": rng.u32(3..60),
        });
    }
    if scenario == Scenario::TimeToLive {
        spec["ttlSecondsAfterFinished"] = json!(rng.u32(..30));
    }
    if scenario == Scenario::Suspend && rng.u32(..4) == 0 {
        spec["suspend"] = json!(true);
    }
    if rng.u32(..100) < 15 {
        spec["scheduling"] = json!({ "volcanoQueue": "etl" });
    }
    if rng.u32(..100) < 30 {
        spec["podRetention"] = json!(RETENTIONS[rng.usize(..3)]);
    }
    BatchPlan { scenario, via: Via::Kubectl, elsewhere: false, at, spec }
}
