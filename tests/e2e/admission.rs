//! The rules of the definition, held by a real API server.

use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sparkbatch::api::{Phase, Reason};

use crate::world::{World, say};

async fn refusal(world: &World, name: &str, spec: Value) -> Option<String> {
    let batch = json!({ "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch", "metadata": { "name": name }, "spec": spec });
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let api = kube::Api::<kube::api::DynamicObject>::namespaced_with(
        world.client.clone(),
        crate::world::JOBS,
        &kube::api::ApiResource::erase::<sparkbatch::api::SparkBatch>(&()),
    );
    api.create(&params, &serde_json::from_value(batch).unwrap()).await.err().map(|error| error.to_string())
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn what_cel_can_say_is_refused_at_admission() {
    let world = World::new().await;
    assert_eq!(refusal(&world, "good", json!({ "file": "/a.py" })).await, None);
    let cases = [
        ("no-file", json!({}), "file"),
        ("file-uri", json!({ "file": "file:///a.py" }), "local://"),
        ("relative", json!({ "file": "a.py" }), "local://"),
        ("jar-without-class", json!({ "file": "s3a://bucket/a.jar" }), "className"),
        ("memory", json!({ "file": "/a.py", "driverMemory": "1.5g" }), "driverMemory"),
        ("cores", json!({ "file": "/a.py", "executorCores": 0 }), "executorCores"),
        ("conf-key", json!({ "file": "/a.py", "conf": { "spark.master": "local" } }), "operator owns"),
        (
            "conf-prefix",
            json!({ "file": "/a.py", "conf": { "spark.kubernetes.authenticate.oauthToken": "x" } }),
            "operator owns",
        ),
        ("conf-name", json!({ "file": "/a.py", "conf": { "master": "local" } }), "spark."),
        ("conf-from", json!({ "file": "/a.py", "confFrom": [{}] }), "exactly one"),
        (
            "conf-name-path",
            json!({ "file": "/a.py", "confFrom": [{ "secretRef": { "name": "../../x/secrets/y" } }] }),
            "secretRef.name",
        ),
        ("policy", json!({ "file": "/a.py", "imagePullPolicy": "Sometimes" }), "imagePullPolicy"),
        ("Name", json!({ "file": "/a.py" }), "metadata.name"),
        ("a.b", json!({ "file": "/a.py" }), "DNS label"),
        (&"n".repeat(64), json!({ "file": "/a.py" }), "DNS label"),
    ];
    for (name, spec, part) in cases {
        let refusal = refusal(&world, name, spec).await;
        assert!(refusal.as_ref().is_some_and(|text| text.contains(part)), "{name}: {refusal:?}");
    }
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn what_runs_cannot_be_changed_and_what_may_change_can() {
    let world = World::new().await;
    world.apply("frozen", json!({ "file": "/a.py", "suspend": true, "args": ["1"] })).await;
    let change = async |spec: Value| {
        let patch = Patch::Merge(json!({ "spec": spec }));
        world.batches().patch("frozen", &PatchParams::default(), &patch).await.err().map(|error| error.to_string())
    };
    for (spec, field) in [
        (json!({ "file": "/b.py" }), "file"),
        (json!({ "args": ["2"] }), "args"),
        (json!({ "args": null }), "args"),
        (json!({ "conf": { "spark.a": "b" } }), "conf"),
        (json!({ "driver": { "env": [{ "name": "A", "value": "B" }] } }), "driver"),
    ] {
        let refusal = change(spec.clone()).await;
        assert!(
            refusal.as_ref().is_some_and(|text| text.contains(&format!("{field} is immutable"))),
            "{spec}: {refusal:?}"
        );
    }
    assert_eq!(change(json!({ "ttlSecondsAfterFinished": 60, "suspend": true })).await, None);
    world.remove("frozen").await;
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn what_cel_cannot_say_fails_with_every_problem() {
    let world = World::new().await;
    let spec = json!({
        "file": "/a.py",
        "conf": { "spark.kubernetes.driver.secrets.s": "/s", "spark.driver.memoryOverhead": "lots" },
        "executor": { "labels": { "spark-role": "driver" } },
    });
    world.apply("invalid", spec).await;
    let status = world.until_final("invalid").await;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::InvalidSpec)));
    let message = status.message.unwrap();
    say(format!("    {message}"));
    for part in ["spark.kubernetes.driver.secrets.s", "volumeMounts", "memoryOverhead", "executor.labels"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(world.pods_of("invalid").await.is_empty());
    world.remove("invalid").await;
}
