//! The operator is killed with SIGKILL: one driver pod ever, and the right end.

use std::time::Duration;

use kube::api::PostParams;
use serde_json::json;
use sparkbatch::api::{Phase, SparkBatch};

use crate::world::{World, drivers_ever_created, say};

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn an_operator_killed_while_batches_start_starts_each_once() {
    let world = World::new().await;
    let names: Vec<_> = (0..4).map(|n| format!("kill-starting-{n}")).collect();
    for name in &names {
        world.remove(name).await;
    }
    let spec = json!({ "file": "/opt/spark/examples/src/main/python/pi.py", "args": ["2"], "numExecutors": 1 });
    let mut batches = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let batch = SparkBatch::new(name, serde_json::from_value(spec.clone()).unwrap());
        batches.push(world.batches().create(&PostParams::default(), &batch).await.unwrap());
        if n == 2 {
            // The operator is in the midst of its writes for these by now.
            tokio::time::sleep(Duration::from_millis(10)).await;
            world.kill_operator().await;
        }
    }
    for (name, batch) in names.iter().zip(&batches) {
        let status = world.until_final(name).await;
        assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
        assert_eq!(drivers_ever_created(batch), 1, "{name}");
    }
    world.until_operator_is_back().await;
    for name in &names {
        world.remove(name).await;
    }
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn an_operator_killed_while_a_batch_runs_sees_it_to_its_end() {
    let world = World::new().await;
    let spec = json!({ "file": "/opt/spark/examples/src/main/python/pi.py", "args": ["100"], "numExecutors": 1 });
    let batch = world.apply("kill-running", spec).await;
    world
        .until_status("kill-running", "running with an executor", |status| {
            status.executors.is_some_and(|executors| executors.running == 1)
        })
        .await;
    world.kill_operator().await;
    let status = world.until_final("kill-running").await;
    assert_eq!(status.phase, Phase::Succeeded, "{status:?}");
    assert_eq!(drivers_ever_created(&batch), 1);
    say("    one driver pod was ever created, by the API server's audit log");
    world.until_operator_is_back().await;
    world.remove("kill-running").await;
}
