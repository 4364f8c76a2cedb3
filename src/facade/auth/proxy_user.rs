//! On whose behalf a batch may run: the policy on Livy's `proxyUser`.

use http::StatusCode;

use super::{Access, Caller};
use crate::api::SparkBatchSpec;
use crate::facade::AppState;
use crate::facade::config::ProxyUsers;
use crate::facade::error::ApiError;
use crate::livy;

/// The spec of a request in the Apache dialect with the proxy user that it will have, where the policy allows that:
/// the query's `doAs`, else the body's `proxyUser`.
pub(in crate::facade) async fn settle(
    state: &AppState,
    caller: &Caller,
    spec: SparkBatchSpec,
    do_as: Option<&str>,
) -> Result<SparkBatchSpec, ApiError> {
    let spec = livy::on_behalf(spec, do_as)?;
    let Some(user) = &spec.proxy_user else { return Ok(spec) };
    let hint = match (state.config.proxy_users, caller.user()) {
        (ProxyUsers::Any, _) => return Ok(spec),
        (ProxyUsers::Rbac, Some(own)) if own == user => return Ok(spec),
        (ProxyUsers::Rbac, Some(_)) => {
            if state.auth.may(caller, Access::Impersonate { user: user.clone() }).await? {
                return Ok(spec);
            }
            "Ask for a ClusterRole with the verb 'impersonate' on the resource 'users' of that name."
        }
        (ProxyUsers::Rbac, None) => "Without authentication nobody has that right.",
        (ProxyUsers::Refuse, _) => {
            "This server takes neither proxyUser nor doAs; leave them out, or have it run with --proxy-user."
        }
    };
    let text = format!("{} {hint}", livy::may_not_impersonate(caller.user(), user));
    Err(ApiError::new(StatusCode::FORBIDDEN, text))
}
