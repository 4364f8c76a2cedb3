//! Why a reconciliation is tried again. An invalid or refused batch is no error but an outcome.

use kube::core::response::Status;
use thiserror::Error;

use crate::api::calls::is_absent;
use crate::ids::IdError;

#[derive(Debug, Error)]
pub(super) enum Error {
    /// The API server could not be asked, or did not do what was asked.
    #[error("{operation}: {source}")]
    Api {
        operation: &'static str,
        #[source]
        source: kube::Error,
    },
    /// The API server took too long.
    #[error("no answer within {0} seconds")]
    Timeout(u64),
    /// There is no id for the batch yet.
    #[error("no id for the batch yet: {0}")]
    NoId(#[from] IdError),
    /// Another replica leads, or may do so soon.
    #[error("this replica does not lead")]
    NotLeading,
    /// An object vanished between two calls; looking again settles it.
    #[error("{0} changed while it was looked at")]
    Changed(String),
    /// A value of our own has no JSON form.
    #[error("cannot write a status: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// A bounded name for logs and metrics.
    pub(super) fn category(&self) -> &'static str {
        match self {
            Self::Api { source: kube::Error::Api(status), .. } if status.code == 409 => "conflict",
            Self::Api { source: kube::Error::Api(status), .. } if status.code == 403 => "forbidden",
            Self::Api { source: kube::Error::Api(_), .. } => "api",
            Self::Api { .. } => "connection",
            Self::Timeout(_) => "timeout",
            Self::NoId(_) => "no_id",
            Self::NotLeading => "not_leading",
            Self::Changed(_) => "changed",
            Self::Json(_) => "internal",
        }
    }

    /// What the API server said against the call, where it said anything and trying again at once may not help.
    pub(super) fn refused(&self) -> Option<String> {
        match self {
            Self::Api { operation, source: kube::Error::Api(status) } if !self.is_race() => {
                Some(format!("{operation}: {}", status.message))
            }
            _ => None,
        }
    }

    /// Whether the cause is only that something newer exists, so that looking again soon settles it.
    pub(super) fn is_race(&self) -> bool {
        matches!(self.category(), "conflict" | "changed")
    }
}

/// Says which call failed.
pub(super) trait During<T> {
    fn during(self, operation: &'static str) -> Result<T, Error>;
}

impl<T> During<T> for Result<T, kube::Error> {
    fn during(self, operation: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Api { operation, source })
    }
}

/// That what was to be deleted is gone is what was wanted.
pub(super) fn ignore_absent<T>(deleted: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match deleted {
        Err(error) if api_status(&error).is_some_and(is_absent) => Ok(()),
        deleted => deleted.map(|_| ()),
    }
}

/// Whether the API server has certainly not done what it was asked. Of a conflict that is not certain: the client asks
/// again where an answer was lost, and conflicts with itself.
pub(super) fn is_refused(error: &kube::Error) -> bool {
    api_status(error).is_some_and(|status| (400..500).contains(&status.code) && status.code != 409)
}

/// The API server's own answer, if it gave one.
pub(super) fn api_status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}
