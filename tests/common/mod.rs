//! What the test targets share. Each uses only a part of it.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::panic,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use
)]

pub mod apiserver;
