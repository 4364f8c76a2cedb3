//! `GET /batches`.

use axum::extract::State;
use http::HeaderMap;

use super::auth::{Allowed, List};
use super::batches::{Answer, links};
use super::extract::Parameters;
use super::{AppState, etag, watch};
use crate::livy::{BatchListBody, ListQuery};

/// Livy 0.9: `SessionServlet`, `GET /`. Filters, order and watch are none of Livy's. The managed services know no
/// parameters at all, and ignore them.
pub(super) async fn list(
    State(state): State<AppState>,
    Allowed { tenant, .. }: Allowed<List>,
    Parameters(parameters): Parameters,
    headers: HeaderMap,
) -> Answer {
    let query = if tenant.extensions { ListQuery::parse(&parameters)? } else { ListQuery::default() };
    if query.watch {
        return watch::many(&state, tenant, query.filter, query.details);
    }
    let (total, views) = state.batches.list(&tenant.namespace, &query, tenant.dialect);
    let from = query.page(tenant.dialect).map_or(0, |(from, _)| from);
    let views = views.iter().map(AsRef::as_ref);
    let links = links(&state, &tenant);
    Ok(etag::answer(&headers, &BatchListBody::new(from, total, views, query.details, tenant.dialect, &links)))
}
