//! The fake API server, used through real kube clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

#[path = "apiserver/deletes.rs"]
mod deletes;
#[path = "apiserver/faults.rs"]
mod faults;
#[path = "apiserver/logs.rs"]
mod logs;
#[path = "apiserver/reads.rs"]
mod reads;
#[path = "apiserver/watches.rs"]
mod watches;
#[path = "apiserver/writes.rs"]
mod writes;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::apiserver::{ApiError, ApiServer, Crash, Fault, Kind};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{TokenReview, TokenReviewSpec},
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace, Pod, Secret},
        events::v1::Event as K8sEvent,
    },
};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions,
        WatchEvent, WatchParams,
    },
    core::Status,
    runtime::{
        WatchStreamExt,
        events::{Event, EventType, Recorder, Reporter},
        reflector,
        watcher::{self, watcher},
    },
};
use rstest::rstest;
use serde_json::{Value, json};

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn status<T: std::fmt::Debug>(result: Result<T, Error>) -> Status {
    match result {
        Err(Error::Api(status)) => *status,
        other => panic!("not refused: {other:?}"),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> u16 {
    status(result).code
}

/// Whether the connection broke instead of an answer.
fn broke<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Service(_)))
}

fn pod(name: &str) -> Pod {
    of(json!({
        "metadata": {"name": name, "labels": {"app": name, "tier": "driver"}},
        "spec": {"containers": [{"name": "main", "image": "spark"}]},
    }))
}

fn owned(name: &str, owner: &Value, block: bool) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "a", "ownerReferences": [{
            "apiVersion": owner["apiVersion"], "kind": owner["kind"],
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
            "controller": true, "blockOwnerDeletion": block,
        }]},
    })
}

fn batch(name: &str) -> Value {
    json!({
        "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch",
        "metadata": {"name": name, "namespace": "a"}, "spec": {"file": "local:///x.py"},
    })
}

fn batches(client: Client) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "sparkbatch.dev".into(),
        version: "v1alpha1".into(),
        api_version: "sparkbatch.dev/v1alpha1".into(),
        kind: "SparkBatch".into(),
        plural: "sparkbatches".into(),
    };
    Api::namespaced_with(client, "a", &resource)
}

fn pods(client: Client) -> Api<Pod> {
    Api::namespaced(client, "a")
}

fn post() -> PostParams {
    PostParams::default()
}

fn by(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}

fn names<K: ResourceExt>(items: &[K]) -> Vec<String> {
    items.iter().map(ResourceExt::name_any).collect()
}
