//! Answers: their shapes, what is served besides objects, and how they become HTTP.

use axum::body::Body;
use http::{Response, header};
use serde_json::{Value, json};

use super::{calls::Call, error::ApiError, kinds::Kind, store::State};

/// An answer, before it becomes HTTP.
pub(super) enum Reply {
    Object(u16, Value),
    Text(String),
    Log(Body),
    Stream(Body),
}

/// An object as metadata-only requests get it.
pub(super) fn metadata_only(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// The answer to a review.
pub(super) fn review(state: &State, kind: &Kind, mut body: Value) -> Result<Reply, ApiError> {
    let Some(review) = state.reviews.get(kind.plural) else {
        let why = format!("the test set no answer for {}", kind.plural);
        return Err(ApiError::new(500, why));
    };
    body["status"] = review(&body)?;
    body["apiVersion"] = json!(kind.api_version());
    body["kind"] = json!(kind.kind);
    Ok(Reply::Object(201, body))
}

/// What is served besides objects: health, version and the resources of a group.
pub(super) fn other(state: &State, call: &Call) -> Result<Reply, ApiError> {
    let path = call.resource.trim_end_matches('/');
    match path {
        "/livez" | "/readyz" | "/healthz" => return Ok(Reply::Text("ok".to_owned())),
        "/version" => {
            let version = json!({
                "major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "",
                "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "",
                "platform": "linux/amd64",
            });
            return Ok(Reply::Object(200, version));
        }
        _ => {}
    }
    let group = path.strip_prefix("/apis/").or_else(|| path.strip_prefix("/api/"));
    let of_group = state.kinds.iter().filter(|k| Some(k.api_version().as_str()) == group);
    let mut resources = Vec::new();
    for kind in of_group {
        let entry = |name: String| {
            json!({
                "name": name, "singularName": kind.kind.to_lowercase(), "kind": kind.kind,
                "namespaced": kind.namespaced,
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            })
        };
        resources.push(entry(kind.plural.to_owned()));
        if kind.status {
            resources.push(entry(format!("{}/status", kind.plural)));
        }
    }
    if resources.is_empty() {
        return Err(ApiError::nowhere());
    }
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group,
        "resources": resources,
    });
    Ok(Reply::Object(200, list))
}

/// The HTTP response of an outcome.
pub(super) fn respond(outcome: Result<Reply, ApiError>) -> Response<Body> {
    let json = |value: &Value| ("application/json", Body::from(value.to_string()));
    let mut retry_after = None;
    let (code, (media, body)) = match outcome {
        Ok(Reply::Object(code, value)) => (code, json(&value)),
        Ok(Reply::Text(text)) => (200, ("text/plain", Body::from(text))),
        Ok(Reply::Log(body)) => (200, ("text/plain", body)),
        Ok(Reply::Stream(body)) => (200, ("application/json", body)),
        Err(error) => {
            retry_after = error.retry_after;
            (error.code, json(&error.to_status()))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}
