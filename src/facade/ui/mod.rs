//! The Spark UI of a batch that runs, below the batch's own path and for those who may see it.
//!
//! The facade calls the driver's pod by its address: passing through the API server would need the right to reach
//! every port of every pod. See docs/adr/0005-spark-ui.md.

mod address;
mod headers;
mod hop;
mod path;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{HOST, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::Empty;

use super::AppState;
use super::auth::{Allowed, Ui};
use super::batches::{Answer, find};
use super::error::ApiError;
use super::external::{ExternalUrl, is_authority};
use super::extract::Asked;
use super::tenant::Tenant;
use crate::api::Phase;
use crate::livy::BatchView;

/// Seconds after which a batch that starts may be asked for its UI again.
const RETRY_START: u32 = 5;

/// `…/ui`: links of a UI are relative to `…/ui/`.
pub(super) async fn enter(State(state): State<AppState>, Allowed { tenant, .. }: Allowed<Ui>, asked: Asked) -> Answer {
    find(&state, &tenant, &asked).await?;
    Ok((StatusCode::FOUND, [(LOCATION, "ui/")]).into_response())
}

/// `…/ui/*`: a page of the driver's. Reads only: whoever may see a UI need not be one who may end its jobs.
pub(super) async fn show(
    State(state): State<AppState>,
    Allowed { tenant, .. }: Allowed<Ui>,
    asked: Asked,
    Within(path): Within,
    request: Request,
) -> Answer {
    let view = find(&state, &tenant, &asked).await?;
    let address = view.ui_address.as_deref().ok_or_else(|| not_up(&state, &tenant, &view))?;
    let address = address::of_pod(address, state.config.ui_on_loopback)
        .ok_or_else(|| ApiError::new(StatusCode::BAD_GATEWAY, "the driver's address is not one of a pod"))?;
    let permit = state.streams.permit()?;
    let root = Root::new(&state, &tenant, &view, request.headers()).ok_or_else(malformed)?;

    let authority = address.to_string();
    let host = HeaderValue::try_from(authority.as_str()).map_err(|_| malformed())?;
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut sent = http::Request::new(Empty::<Bytes>::new());
    *sent.method_mut() = request.method().clone();
    *sent.uri_mut() = format!("/{path}{query}").parse().map_err(|_| malformed())?;
    *sent.headers_mut() = headers::to_driver(request.headers(), &root, &host);
    let answer = hop::send(address, sent, state.config.limits.ui, permit).await?;

    let location = headers::redirect(answer.headers(), &root, &authority).map_err(|headers::Elsewhere| {
        let text = "the driver's Spark UI redirects to another server, where it is not followed";
        ApiError::new(StatusCode::BAD_GATEWAY, text)
    })?;
    let (head, body) = answer.into_parts();
    let mut shown = Response::new(Body::new(body));
    *shown.status_mut() = head.status;
    *shown.headers_mut() = headers::to_caller(&head.headers, &root);
    shown.headers_mut().extend(location.map(|location| (LOCATION, location)));
    Ok(shown)
}

fn malformed() -> ApiError {
    ApiError::bad_request("the address of the request is malformed")
}

/// Why there is no UI, and what to do.
fn not_up(state: &AppState, tenant: &Tenant, view: &BatchView) -> ApiError {
    let id = view.id;
    match view.phase {
        Phase::Pending | Phase::Starting => {
            let text = format!("batch {id} does not run yet, so it has no Spark UI; try again once it does");
            ApiError::unavailable(text).retry_after(RETRY_START)
        }
        Phase::Running => ApiError::not_found(format!(
            "batch {id} has no Spark UI: its conf has spark.ui.enabled=false or spark.ui.port=0, or its pod was started by \
             an older operator"
        )),
        Phase::Succeeded | Phase::Failed | Phase::Killed => {
            let links = state.config.links(&tenant.base, &tenant.namespace);
            let elsewhere = links.history(view).map_or_else(
                || "a history server would show it, if it wrote an event log (spark.eventLog.enabled)".to_owned(),
                |url| format!("if it wrote an event log, the history server shows it: {url}"),
            );
            ApiError::not_found(format!("batch {id} has ended, and its Spark UI with it; {elsewhere}"))
        }
    }
}

/// Where a UI stands.
struct Root {
    /// The path that its links start with, as browsers see it; without a slash at its end.
    path: HeaderValue,
    /// What a browser lets its pages do.
    policy: HeaderValue,
}

impl Root {
    fn new(state: &AppState, tenant: &Tenant, view: &BatchView, caller: &HeaderMap) -> Option<Self> {
        let external = state.config.external_url.as_ref();
        let prefix = external.map_or("", ExternalUrl::prefix);
        let path = format!("{prefix}{}/{}/ui", tenant.base, view.id);
        // Browsers come by the external URL, or to this process itself.
        let host = caller.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| is_authority(host));
        let known = [external.map(ExternalUrl::authority), host];
        let mut sources: Vec<_> = known.into_iter().flatten().map(|authority| format!("{authority}{path}/")).collect();
        sources.dedup();
        let sources = if sources.is_empty() { "'none'".to_owned() } else { sources.join(" ") };
        Some(Self {
            policy: HeaderValue::try_from(headers::policy(&sources)).ok()?,
            path: HeaderValue::try_from(path).ok()?,
        })
    }
}

/// The path below `…/ui/`, as the caller encoded it.
pub(super) struct Within(String);

impl FromRequestParts<AppState> for Within {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let route = MatchedPath::from_request_parts(parts, state).await.map_err(|_| malformed())?;
        let before = route.as_str().split('/').take_while(|segment| *segment != "ui").count();
        let within = parts.uri.path().splitn(before + 2, '/').nth(before + 1).unwrap_or_default();
        path::check(within).map_err(|error| match error {
            path::BadPath::Malformed => ApiError::bad_request(error.to_string()),
            path::BadPath::Kill => ApiError::new(StatusCode::FORBIDDEN, error.to_string()),
        })?;
        Ok(Self(within.to_owned()))
    }
}
