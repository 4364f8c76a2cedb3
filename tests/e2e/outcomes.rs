//! What becomes of a batch that is applied with kubectl: each end, with its phase and reason.

use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::json;
use sparkbatch::api::{Phase, Reason, SparkBatchStatus};

use crate::world::{World, say, until};

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_job_succeeds_with_two_executors() {
    let world = World::new().await;
    let spec = json!({
        "file": "/opt/spark/examples/src/main/python/pi.py",
        "args": ["40"],
        "numExecutors": 2,
        "conf": { "spark.scheduler.minRegisteredResourcesRatio": "1.0" },
    });
    world.apply("two-executors", spec).await;
    let running = world
        .until_status("two-executors", "running with two executors", |status| {
            status.executors.is_some_and(|executors| executors.running == 2)
        })
        .await;
    assert_eq!(running.executors.unwrap().requested, 2);
    let status = world.until_final("two-executors").await;
    assert_eq!((status.phase, status.reason), (Phase::Succeeded, Some(Reason::DriverSucceeded)));
    assert_eq!(status.driver.as_ref().unwrap().exit_code, Some(0));
    assert!(
        status.id.is_some()
            && status.completion_time >= status.running_time
            && status.running_time >= status.start_time
    );
    assert!(world.log_of(&status).await.contains("Pi is roughly 3.1"));
    until("the executors to be gone", Duration::from_secs(30), async || {
        world.pods_of("two-executors").await.len() == 1
    })
    .await;
    world.remove("two-executors").await;
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_job_that_raises_an_error_fails_with_the_end_of_its_log() {
    let world = World::new().await;
    world
        .apply(
            "raises",
            json!({ "file": "/opt/spark/examples/src/main/python/pi.py", "args": ["many"], "numExecutors": 1 }),
        )
        .await;
    let status = world.until_final("raises").await;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::DriverExitNonZero)));
    assert!(status.message.as_ref().unwrap().starts_with("exit code 1: "), "{:?}", status.message);
    assert!(world.log_of(&status).await.contains("ValueError: invalid literal for int()"));
    world.remove("raises").await;
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_job_whose_file_is_missing_fails() {
    let world = World::new().await;
    world.apply("missing-file", json!({ "file": "local:///opt/spark/nowhere.py", "numExecutors": 1 })).await;
    let status = world.until_final("missing-file").await;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::DriverExitNonZero)));
    assert!(status.message.as_ref().unwrap().contains("nowhere.py"), "{:?}", status.message);
    world.remove("missing-file").await;
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_driver_that_cannot_start_fails_for_the_cause_of_its_wait() {
    let world = World::new().await;
    let pi = "/opt/spark/examples/src/main/python/pi.py";
    let deadlines = json!({ "driverStartSeconds": 30 });
    let no_image = json!({ "file": pi, "image": "localhost/no-such-image:1", "deadlines": deadlines });
    let no_node = json!({ "file": pi, "driver": { "nodeSelector": { "disk": "none" } }, "deadlines": deadlines });
    world.apply("no-image", no_image).await;
    world.apply("no-node", no_node).await;
    let causes = [("no-image", Reason::ImagePullFailed), ("no-node", Reason::Unschedulable)];
    for (name, reason) in causes {
        let waits = |status: &SparkBatchStatus| status.phase == Phase::Starting && status.reason == Some(reason);
        world.until_status(name, "waiting for its cause", waits).await;
    }
    for (name, reason) in causes {
        let status = world.until_final(name).await;
        assert_eq!((status.phase, status.reason), (Phase::Failed, Some(reason)));
        until("the driver to be deleted", Duration::from_secs(30), async || world.pods_of(name).await.is_empty()).await;
        world.remove(name).await;
    }
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_driver_over_its_memory_limit_is_told_so() {
    let world = World::new().await;
    // A heap that the container's limit has no room for: the JVM touches it all at its start.
    let conf = json!({
        "spark.driver.memory": "400m",
        "spark.driver.memoryOverhead": "1m",
        "spark.driver.extraJavaOptions": "-XX:+AlwaysPreTouch -Xms400m",
    });
    world
        .apply(
            "out-of-memory",
            json!({ "file": "/opt/spark/examples/src/main/python/pi.py", "conf": conf, "numExecutors": 1 }),
        )
        .await;
    let status = world.until_final("out-of-memory").await;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::DriverOOMKilled)), "{status:?}");
    assert_eq!(status.driver.unwrap().exit_code, Some(137));
    world.remove("out-of-memory").await;
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_driver_deleted_by_hand_is_lost_and_its_executors_go() {
    let world = World::new().await;
    world
        .apply(
            "by-hand",
            json!({ "file": "/opt/spark/examples/src/main/python/pi.py", "args": ["20000"], "numExecutors": 1 }),
        )
        .await;
    let status = world
        .until_status("by-hand", "running with an executor", |status| {
            status.executors.is_some_and(|executors| executors.running == 1)
        })
        .await;
    say("    deleting the driver pod");
    world.pods().delete(&status.driver.unwrap().pod_name, &DeleteParams::default()).await.unwrap();
    let status = world.until_final("by-hand").await;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::DriverLost)));
    until("driver and executors to be gone", Duration::from_secs(30), async || {
        world.pods_of("by-hand").await.is_empty()
    })
    .await;
    world.remove("by-hand").await;
}
