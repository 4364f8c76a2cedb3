//! What a batch goes through that is run again, cancelled, or runs too long.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;
use sparkbatch::api::{Phase, Reason, SparkBatchStatus};

use crate::world::{World, drivers_ever_created, until};

const PI: &str = "/opt/spark/examples/src/main/python/pi.py";

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_job_that_fails_is_run_again_as_often_as_it_asks_for() {
    let world = World::new().await;
    let retry = json!({ "applicationRetries": 1, "backoffSeconds": 1 });
    let spec = json!({ "file": PI, "args": ["many"], "numExecutors": 1, "retry": retry });
    let batch = world.apply("fails-twice", spec).await;
    let status = world.until_final("fails-twice").await;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::DriverExitNonZero)), "{status:?}");
    assert_eq!(status.attempt, Some(2));
    let [first] = &status.attempts[..] else { panic!("{:?}", status.attempts) };
    assert_eq!((first.attempt, first.reason, first.exit_code), (1, Some(Reason::DriverExitNonZero), Some(1)));
    assert_ne!(first.app_id, status.app_id);
    assert_eq!(drivers_ever_created(&batch), 2);
    world.remove("fails-twice").await;
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_batch_that_is_cancelled_is_killed_and_kept() {
    let world = World::new().await;
    world.apply("cancelled", json!({ "file": PI, "args": ["100000"], "numExecutors": 1 })).await;
    let runs = |status: &SparkBatchStatus| status.phase == Phase::Running;
    world.until_status("cancelled", "running", runs).await;
    let cancel = Patch::Merge(json!({ "spec": { "cancel": true } }));
    world.batches().patch("cancelled", &PatchParams::default(), &cancel).await.unwrap();
    let status = world.until_final("cancelled").await;
    assert_eq!((status.phase, status.reason), (Phase::Killed, Some(Reason::Cancelled)), "{status:?}");
    until("driver and executors to be gone", Duration::from_secs(30), async || {
        let pods = world.pods_of("cancelled").await;
        pods.iter().all(|pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() != Some("Running")))
    })
    .await;
    let (code, answer) = world.rest("GET", &format!("/batches/{}/state", status.id.unwrap()), None);
    assert_eq!((code, &answer["state"]), (200, &json!("killed")));
    world.remove("cancelled").await;
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_job_that_runs_longer_than_it_may_is_ended() {
    let world = World::new().await;
    let spec = json!({ "file": PI, "args": ["100000"], "numExecutors": 1, "deadlines": { "runningSeconds": 5 } });
    world.apply("too-long", spec).await;
    let status = world.until_final("too-long").await;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::DeadlineExceeded)), "{status:?}");
    until("the driver to be gone", Duration::from_secs(30), async || world.pods_of("too-long").await.is_empty()).await;
    world.remove("too-long").await;
}
