//! What the cluster refuses: a quota, Pod Security, a service account that is missing, a namespace on its way out.
//! The batch says why, others are unharmed, and nothing is tried in a hurry.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use sparkbatch::api::{Phase, Reason, SparkBatch};

use crate::world::{World, say, until, writes_in};

const PI: &str = "/opt/spark/examples/src/main/python/pi.py";

/// A namespace of its own, in which batches of the operator can be refused without harm to others.
async fn namespace(world: &World, name: &str, labels: Value, accounts: &[&str]) {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    drop(namespaces.delete(name, &DeleteParams::default()).await);
    until(&format!("an old namespace {name} to be gone"), Duration::from_secs(60), async || {
        namespaces.get_opt(name).await.unwrap().is_none()
    })
    .await;
    let object = serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } })).unwrap();
    namespaces.create(&PostParams::default(), &object).await.unwrap();
    let api: Api<ServiceAccount> = Api::namespaced(world.client.clone(), name);
    for account in accounts {
        let object = serde_json::from_value(json!({ "metadata": { "name": account } })).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }
}

async fn apply(world: &World, namespace: &str, name: &str, spec: Value) {
    let api: Api<SparkBatch> = Api::namespaced(world.client.clone(), namespace);
    let batch = SparkBatch::new(name, serde_json::from_value(spec).unwrap());
    api.create(&PostParams::default(), &batch).await.unwrap();
}

/// Waits until a batch waits for this, and its message.
async fn until_refused(world: &World, namespace: &str, name: &str) -> String {
    let api: Api<SparkBatch> = Api::namespaced(world.client.clone(), namespace);
    let mut message = String::new();
    until(&format!("{namespace}/{name} to be refused"), Duration::from_secs(30), async || {
        let status = api.get(name).await.unwrap().status.unwrap_or_default();
        message = status.message.unwrap_or_default();
        (status.phase, status.reason) == (Phase::Pending, Some(Reason::DriverRefused))
    })
    .await;
    say(format!("    {namespace}: {message}"));
    message
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_batch_that_the_cluster_refuses_says_why_and_is_not_tried_in_a_hurry() {
    let world = World::new().await;
    let restricted = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    namespace(&world, "refused-quota", restricted.clone(), &["spark"]).await;
    namespace(&world, "refused-security", restricted.clone(), &["spark"]).await;
    namespace(&world, "refused-account", restricted, &[]).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), "refused-quota");
    let quota =
        serde_json::from_value(json!({ "metadata": { "name": "no-pods" }, "spec": { "hard": { "pods": "0" } } }));
    quotas.create(&PostParams::default(), &quota.unwrap()).await.unwrap();
    until("the quota to be counted", Duration::from_secs(30), async || {
        quotas.get("no-pods").await.unwrap().status.is_some_and(|status| status.hard.is_some())
    })
    .await;

    let deadlines = json!({ "pendingSeconds": 600 });
    let plain = json!({ "file": PI, "numExecutors": 1, "deadlines": deadlines });
    // The resource takes volumes of every kind; Pod Security refuses those of the node.
    let of_the_node = json!({
        "file": PI,
        "deadlines": deadlines,
        "volumes": [{ "name": "node", "hostPath": { "path": "/" } }],
        "driver": { "volumeMounts": [{ "name": "node", "mountPath": "/node" }] },
    });
    let refused = [
        ("refused-quota", plain.clone(), "exceeded quota: no-pods"),
        ("refused-security", of_the_node, "violates PodSecurity"),
        ("refused-account", plain, "serviceaccount \"spark\" not found"),
    ];
    let before = refused.each_ref().map(|(namespace, ..)| writes_in(namespace));
    for (namespace, spec, part) in &refused {
        apply(&world, namespace, "batch", spec.clone()).await;
        let message = until_refused(&world, namespace, "batch").await;
        assert!(message.contains(part), "{message}");
    }

    // Meanwhile others run.
    world.apply("unharmed", json!({ "file": PI, "args": ["2"], "numExecutors": 1 })).await;
    assert_eq!(world.until_final("unharmed").await.phase, Phase::Succeeded);
    world.remove("unharmed").await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    for ((namespace, ..), before) in refused.iter().zip(before) {
        // The batch itself, what was refused, ever less often, and one status.
        let writes = writes_in(namespace) - before;
        assert!(writes <= 10, "{namespace}: {writes} writes");
    }

    // What is put right is noticed without anybody's help.
    quotas.delete("no-pods", &DeleteParams::default()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "refused-quota");
    until("the batch to start when the quota is gone", Duration::from_secs(160), async || {
        !pods.list(&ListParams::default()).await.unwrap().items.is_empty()
    })
    .await;

    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    for (namespace, ..) in &refused {
        namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
    }
    until("the namespaces to be gone with all that is in them", Duration::from_secs(90), async || {
        let left = namespaces.list(&ListParams::default()).await.unwrap();
        !left.items.iter().any(|namespace| namespace.name_any().starts_with("refused-"))
    })
    .await;
}
