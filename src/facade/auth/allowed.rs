//! The only way to a tenant: a request whose sender may do what the route does.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::{Caller, LoggedUser};
use crate::facade::AppState;
use crate::facade::error::ApiError;
use crate::facade::extract::path_param;
use crate::facade::tenant::{Tenant, locate};

/// What a route does, in the terms of RBAC: a verb on `sparkbatches.sparkbatch.dev`, or on a part of them.
pub(in crate::facade) trait Right: Send {
    const VERB: &'static str;
    const SUBRESOURCE: &'static str = "";
}

macro_rules! rights {
    ($($(#[$doc:meta])* $name:ident: $verb:literal $($subresource:literal)?;)*) => {$(
        $(#[$doc])*
        pub(in crate::facade) enum $name {}

        impl Right for $name {
            const VERB: &'static str = $verb;
            $(const SUBRESOURCE: &'static str = $subresource;)?
        }
    )*};
}

rights! {
    /// To submit a batch.
    Create: "create";
    /// To see all batches.
    List: "list";
    /// To see one batch.
    Get: "get";
    /// To end a batch and remove it.
    Delete: "delete";
    /// To read the log of a batch's driver.
    Log: "get" "log";
    /// To use the Spark UI of a batch.
    Ui: "get" "ui";
}

/// The tenant that a request speaks of, and who sent it: somebody with the right `R` there.
pub(in crate::facade) struct Allowed<R> {
    pub(in crate::facade) tenant: Tenant,
    pub(in crate::facade) caller: Caller,
    right: PhantomData<R>,
}

impl<R: Right> FromRequestParts<AppState> for Allowed<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if !state.progress.is_synced() {
            return Err(ApiError::unavailable("the list of batches is still being read; try again"));
        }
        let caller = state.auth.caller(&parts.headers).await?;
        if let (Some(log), Some(user)) = (parts.extensions.get::<LoggedUser>(), caller.user()) {
            log.set(user);
        }
        let instance = path_param(parts, state, "instance_id").await;
        let namespace = path_param(parts, state, "namespace").await;
        let candidate = locate(state, instance, namespace).await?;
        // Before anything is said of what there is.
        if !state.auth.may(&caller, candidate.access::<R>()).await? {
            return Err(candidate.refusal::<R>(caller.user().unwrap_or_default()));
        }
        Ok(Self { tenant: candidate.enter(state).await?, caller, right: PhantomData })
    }
}
