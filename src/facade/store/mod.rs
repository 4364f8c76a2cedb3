//! What the facade knows of the cluster: small views of batches and namespaces, fed by watches.

mod cache;
mod journal;
mod namespaces;
mod watch;

pub(super) use cache::BatchCache;
pub(super) use namespaces::{Instance, NamespaceCache};
pub(super) use watch::{Progress, feed};
