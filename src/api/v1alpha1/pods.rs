//! How the pods of a batch look.

#![allow(clippy::doc_markdown, reason = "these comments become `kubectl explain`, where backticks are noise")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, PodTemplateSpec, SecurityContext, Toleration, TopologySpreadConstraint,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Open;

/// How the driver's pod, or the executors' pods, look.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub env: Vec<EnvVar>,
    /// Secrets and ConfigMaps whose keys become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub env_from: Vec<EnvFromSource>,
    /// Labels. Those of Spark (spark-*) and of the operator (sparkbatch.dev/*) are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::api::crd::labels_schema")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::api::crd::annotations_schema")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::api::crd::labels_schema")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes to tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// Where to mount the batch's volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub volume_mounts: Vec<VolumeMount>,
    /// CPU, GPUs and other resources of the container, over what the cores ask for. Memory is Spark's to
    /// compute: set driverMemory, executorMemory and the overhead keys of conf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ContainerResources>,
    /// Nodes and pods to be near to or far from, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Open<Affinity>>,
    /// How to spread over zones and nodes, as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub topology_spread_constraints: Vec<Open<TopologySpreadConstraint>>,
    /// Priority class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Security context of Spark's container, over the restricted one that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Open<SecurityContext>>,
    /// Everything else, as a pod template: sidecars, init containers, fields of the pod. Fields beside this one
    /// go before it; what the operator sets cannot be set here. Spark's container is spark-kubernetes-driver,
    /// spark-kubernetes-executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<Open<PodTemplateSpec>>,
}

/// Resources of a container.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerResources {
    /// Resources that the scheduler reserves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::api::crd::quantities_schema")]
    pub requests: BTreeMap<String, Quantity>,
    /// Resources that the container may not pass.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::api::crd::quantities_schema")]
    pub limits: BTreeMap<String, Quantity>,
}
