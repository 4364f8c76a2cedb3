//! Livy's batches on the wire: what a request says, what an answer looks like, and how both map to the
//! `SparkBatch` resource.
//!
//! Pure. Two dialects share one model: that of Apache Livy 0.9, and that of the managed Spark services whose
//! batches live under `/v3/analytics_engines/{instance_id}/livy/batches`. Where Livy would answer 500, or leave
//! a batch behind that it refused, these functions refuse with a message that says what to change.

mod answers;
mod client;
mod convert;
mod details;
mod links;
mod paging;
mod proxy_user;
mod query;
mod request;
mod state;
mod value;
mod view;

pub use answers::{BatchBody, BatchListBody, LogBody, Message, StateBody, VersionBody};
pub use client::{AppInfoAnswer, BatchAnswer, ErrorAnswer, ListAnswer, LogAnswer, body_of, phase_of};
pub use convert::{Rejection, read_spec, spec_of};
pub use details::{Details, DetailsBody};
pub use links::{HistoryUrl, HistoryUrlError, Links, encoded};
pub use paging::{BadInteger, LogWindow};
pub use paging::{DEFAULT_SIZE, MAX_LIST_SIZE, MAX_LOG_LINES, list_range, log_window, parse_int};
pub use proxy_user::{may_not_impersonate, on_behalf};
pub use query::{BadQuery, BatchFilter, ListQuery, flag, parameter};
pub use request::{BatchRequest, FIELDS};
pub use state::LivyState;
pub use view::BatchView;

/// Which of the two APIs a caller speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Apache Livy 0.9: `/batches`.
    Apache,
    /// The managed services' API: `/v3/analytics_engines/{instance_id}/livy/batches`. It knows no `proxyUser`,
    /// `archives` and `queue`, no paging and no logs.
    Instance,
}

impl Dialect {
    /// Both dialects.
    pub const ALL: [Self; 2] = [Self::Apache, Self::Instance];

    /// The fields of a request that this dialect refuses.
    #[must_use]
    pub fn refused_fields(self) -> &'static [&'static str] {
        match self {
            Self::Apache => &[],
            Self::Instance => &["proxyUser", "archives", "queue"],
        }
    }
}
