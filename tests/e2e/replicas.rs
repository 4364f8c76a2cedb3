//! Two replicas of the operator: one leads, and the other takes over, whether the first goes in order or by a crash.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use sparkbatch::api::Phase;

use crate::world::{SYSTEM, World, drivers_ever_created, say, until};

async fn scale(world: &World, replicas: i32) {
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), SYSTEM);
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    api.patch_scale("sparkbatch", &PatchParams::default(), &patch).await.unwrap();
    until(&format!("{replicas} replicas to be ready"), Duration::from_secs(90), async || {
        let status = api.get("sparkbatch").await.unwrap().status.unwrap_or_default();
        status.ready_replicas == Some(replicas) && status.replicas == Some(replicas)
    })
    .await;
}

/// The pod that holds the Lease.
async fn leader(world: &World) -> Option<String> {
    let api: Api<Lease> = Api::namespaced(world.client.clone(), SYSTEM);
    let lease = api.list(&ListParams::default()).await.unwrap().items.into_iter().next()?;
    let holder = lease.spec?.holder_identity.filter(|holder| !holder.is_empty())?;
    // As the Deployment names them: pod and uid.
    Some(holder.split('_').next()?.to_owned())
}

/// Ends the leader's pod, in order or by SIGKILL, and waits until another leads.
async fn replace_leader(world: &World, in_order: bool) -> Duration {
    let before = leader(world).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), SYSTEM);
    let began = Instant::now();
    if in_order {
        pods.delete(&before, &DeleteParams::default()).await.unwrap();
    } else {
        assert!(world.kill_replica(&before).await);
        // Or its container would come back as who it was, and go on leading.
        pods.delete(&before, &DeleteParams::default().grace_period(0)).await.unwrap();
    }
    until("another replica to lead", Duration::from_secs(60), async || {
        leader(world).await.is_some_and(|now| now != before)
    })
    .await;
    began.elapsed()
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_replica_takes_over_from_one_that_ends_and_from_one_that_is_killed() {
    let world = World::new().await;
    scale(&world, 2).await;
    until("a leader", Duration::from_secs(30), async || leader(&world).await.is_some()).await;
    let job = json!({ "file": "/opt/spark/examples/src/main/python/pi.py", "args": ["2"], "numExecutors": 1 });
    let mut batches = vec![world.apply("hand-over-0", job.clone()).await];

    let in_order = replace_leader(&world, true).await;
    say(format!("    a leader that ends in order is followed after {:.1} s", in_order.as_secs_f32()));
    assert!(in_order < Duration::from_secs(10), "{in_order:?}");
    batches.push(world.apply("hand-over-1", job.clone()).await);

    let killed = replace_leader(&world, false).await;
    say(format!("    a leader that is killed is followed after {:.1} s", killed.as_secs_f32()));
    assert!(killed < Duration::from_secs(17), "15 s, and how often this looks: {killed:?}");
    batches.push(world.apply("hand-over-2", job).await);

    for batch in &batches {
        let name = batch.name_any();
        assert_eq!(world.until_final(&name).await.phase, Phase::Succeeded, "{name}");
        assert_eq!(drivers_ever_created(batch), 1, "{name}");
        world.remove(&name).await;
    }
    scale(&world, 1).await;
    world.until_operator_is_back().await;
}
