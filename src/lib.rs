//! Livy's batches API for Kubernetes, with nothing but Kubernetes behind it.
//!
//! ```text
//! HTTP JSON ─► livy::BatchRequest ─► SparkBatchSpec ─► plan::PodSet ─► API server ─► observe::Observation ─► SparkBatchStatus ─► livy::Batch ─► HTTP JSON
//!    facade        livy::convert       the resource      controller      kubelet          controller           the resource      livy::convert    facade
//! ```
//!
//! The resource is the only meeting point: the facade never sees a pod set, the controller never sees a
//! Livy type. Pure modules ([`api`], [`kubeflow`], [`livy`], [`spark`], [`plan`], [`observe`]) decide and name no client, runtime,
//! HTTP, environment, file system or clock; the others act. `tests/architecture.rs` holds this.

pub mod admin;
pub mod api;
mod bounded;
pub mod cli;
pub mod client;
pub mod controller;
pub mod credentials;
pub mod facade;
pub mod ids;
pub mod kubeflow;
pub mod lease;
pub mod livy;
pub mod metrics;
pub mod observe;
pub mod plan;
pub mod server;
pub mod shutdown;
pub mod spark;
pub mod telemetry;
pub mod traces;
