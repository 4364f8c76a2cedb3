//! End to end: the operator as its Deployment, real pods, real Spark, on the local cluster. Run by `make e2e`, which
//! brings all of it up; on their own these tests have nothing to talk to.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

mod admission;
mod auth;
mod chaos;
mod cos;
mod crash;
mod credentials;
mod fields;
mod latency;
mod lifecycle;
mod outcomes;
mod refused;
mod replicas;
mod rest;
mod ui;
mod world;
