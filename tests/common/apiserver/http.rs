//! Requests as they come in: reading, dispatching to the state, and answering.

use std::{collections::HashMap, fmt};

use axum::{
    body::{Body, Bytes},
    extract::Query,
};
use http::{HeaderMap, Method, Response, header, request::Parts};
use serde_json::{Value, json};

use super::{
    ApiServer,
    error::ApiError,
    gc::Deleted,
    kinds::{Kind, Target},
    ops::{Listing, PatchBody, Write},
    select::Selector,
    store::{Key, State, key_of, meta},
    watch,
};

/// A request the server received, for tests to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Label of the client.
    pub client: String,
    /// Verb as in access rules: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection`.
    pub verb: &'static str,
    /// Resource as in access rules (`pods`, `pods/log`), or the path of anything else.
    pub resource: String,
    /// Namespace, if the call was about one.
    pub namespace: Option<String>,
    /// Name, if the call was about one object.
    pub name: Option<String>,
    /// Status code of the answer; `None` if there was none (yet): pending, refused or lost.
    pub code: Option<u16>,
    /// Whether the request reached the state (and did not just fail on the way).
    pub applied: bool,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// The body, if it was JSON or YAML.
    pub body: Option<Value>,
    /// The query, decoded.
    pub query: HashMap<String, String>,
}

impl Call {
    /// Whether the call is of a writing kind.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, "get" | "list" | "watch")
    }
}

impl fmt::Display for Call {
    /// `create pods jobs/driver 201`; instead of the code `lost` or `refused` without an answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}")?,
            (Some(namespace), None) => write!(f, " {namespace}/")?,
            (None, Some(name)) => write!(f, " {name}")?,
            (None, None) => {}
        }
        match self.code {
            Some(code) => write!(f, " {code}"),
            None if self.applied => write!(f, " lost"),
            None => write!(f, " refused"),
        }
    }
}

/// A request, read.
pub(super) struct Incoming {
    pub(super) call: Call,
    target: Option<Target>,
    partial: bool,
    content_type: String,
}

/// An answer, before it becomes HTTP.
pub(super) enum Reply {
    Object(u16, Value),
    Text(String),
    Stream(Body),
}

impl Incoming {
    pub(super) fn read(kinds: &[Kind], client: &str, parts: &Parts, body: &Bytes) -> Self {
        let target = Target::parse(kinds, parts.uri.path());
        let query = Query::<HashMap<String, String>>::try_from_uri(&parts.uri);
        let query = query.map(|Query(query)| query).unwrap_or_default();
        let named = target.as_ref().is_some_and(|t| t.name.is_some());
        let on = |field: &str| query.get(field).is_some_and(|v| v == "true" || v == "1");
        let verb = match parts.method {
            Method::GET if on("watch") => "watch",
            Method::GET if named || target.is_none() => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ => "unknown",
        };
        let body: Option<Value> = serde_json::from_slice(body)
            .ok()
            .or_else(|| serde_saphyr::from_slice(body).ok());
        let body = body.filter(|body| !body.is_null());
        let dry_run = query.get("dryRun").is_some_and(|v| v == "All")
            || body.as_ref().is_some_and(|b| b["kind"].is_null() && b["dryRun"][0] == "All");
        let name = target.as_ref().and_then(|t| t.name.clone()).or_else(|| {
            let name = body.as_ref()?.pointer("/metadata/name")?.as_str()?;
            (verb == "create").then(|| name.to_owned())
        });
        let namespace = target.as_ref().map(|t| t.namespace.clone());
        let call = Call {
            client: client.to_owned(),
            verb,
            resource: match &target {
                Some(target) => target.resource(),
                None => parts.uri.path().to_owned(),
            },
            namespace: namespace.filter(|namespace| !namespace.is_empty()),
            name,
            code: None,
            applied: false,
            dry_run,
            body,
            query,
        };
        let header = |name| header_text(&parts.headers, name);
        Self {
            call,
            target,
            partial: header(header::ACCEPT).contains("as=PartialObjectMetadata"),
            content_type: header(header::CONTENT_TYPE),
        }
    }

    /// Carries the request out.
    pub(super) fn apply(
        &self,
        server: &ApiServer,
        state: &mut State,
        client: usize,
        cut_after: Option<usize>,
    ) -> Result<Reply, ApiError> {
        let Some(target) = &self.target else {
            return other(state, &self.call);
        };
        let kind = &target.kind;
        let body = || {
            let missing = || ApiError::new(400, "the body is not an object");
            self.call.body.clone().ok_or_else(missing)
        };
        let write = Write {
            status: target.sub.as_deref() == Some("status"),
            dry_run: self.call.dry_run,
            put: self.call.verb == "update",
        };
        let named = target.name.as_ref();
        let key: Key = (kind.plural, target.namespace.clone(), named.cloned().unwrap_or_default());
        match (self.call.verb, target.sub.as_deref()) {
            (_, Some("status")) if !kind.status => Err(ApiError::nowhere()),
            ("get", Some("log")) if kind.plural == "pods" => {
                Ok(Reply::Text(state.log(kind, &key, &self.call.query)?))
            }
            ("get", None | Some("status")) => Ok(self.object(200, &*state.existing(kind, &key)?)),
            ("create", None) if kind.review => review(state, kind, body()?),
            ("create", None) if named.is_none() => {
                let made = state.create(kind, &target.namespace, body()?, write.dry_run)?;
                Ok(self.object(201, &made))
            }
            ("update", None | Some("status")) if named.is_some() => {
                Ok(self.object(200, &*state.replace(kind, &key, body()?, write)?))
            }
            ("patch", None | Some("status")) if named.is_some() => {
                let (stored, made) = state.patch(kind, &key, &self.patch(body()?)?, write)?;
                Ok(self.object(if made { 201 } else { 200 }, &stored))
            }
            ("delete", None) => {
                let options = self.call.body.clone().unwrap_or(json!({}));
                let deleted = state.delete(kind, &key, &options, write.dry_run)?;
                Ok(self.deleted(kind, &deleted))
            }
            ("list", None) => self.list(state, target),
            ("deletecollection", None) => self.delete_all(state, target),
            ("watch", None) => self.watch(server, state, target, client, cut_after),
            (_, None | Some("status")) => Err(ApiError::new(
                405,
                "the server does not allow this method on the requested resource",
            )),
            _ => Err(ApiError::nowhere()),
        }
    }

    fn object(&self, code: u16, object: &Value) -> Reply {
        if self.partial {
            Reply::Object(code, metadata_only(object))
        } else {
            Reply::Object(code, object.clone())
        }
    }

    fn patch(&self, value: Value) -> Result<PatchBody, ApiError> {
        let manager = || self.call.query.get("fieldManager").cloned().unwrap_or_default();
        let media = self.content_type.split(';').next().unwrap_or_default();
        match media {
            "application/merge-patch+json" => Ok(PatchBody::Merge(value)),
            "application/json-patch+json" => Ok(PatchBody::Json(value)),
            "application/strategic-merge-patch+json" => Ok(PatchBody::Strategic(value)),
            "application/apply-patch+yaml" => Ok(PatchBody::Apply { manager: manager(), value }),
            other => Err(ApiError::new(415, format!("unknown patch format: {other}"))),
        }
    }

    fn deleted(&self, kind: &Kind, deleted: &Deleted) -> Reply {
        match deleted {
            Deleted::Gone(last) if kind.plural != "pods" => {
                let details = json!({
                    "name": meta(last, "name"), "group": kind.group,
                    "kind": kind.plural, "uid": meta(last, "uid"),
                });
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {},
                    "status": "Success", "details": details,
                });
                Reply::Object(200, status)
            }
            Deleted::Gone(object) | Deleted::Waiting(object) => self.object(200, object),
        }
    }

    fn selector(&self, kind: &Kind) -> Result<Selector, ApiError> {
        let part = |field: &str| self.call.query.get(field).map_or("", String::as_str);
        Selector::parse(kind, part("labelSelector"), part("fieldSelector"))
    }

    fn version(&self) -> Result<u64, ApiError> {
        let given = self.call.query.get("resourceVersion").map_or("", String::as_str);
        if given.is_empty() {
            return Ok(0);
        }
        let bad = |_| ApiError::new(400, format!("invalid resource version: {given}"));
        given.parse().map_err(bad)
    }

    fn listing(&self, kind: &Kind) -> Result<Listing, ApiError> {
        let query = &self.call.query;
        Ok(Listing {
            selector: self.selector(kind)?,
            limit: query.get("limit").and_then(|v| v.parse().ok()).unwrap_or(0),
            token: query.get("continue").cloned().unwrap_or_default(),
            version: self.version()?,
            exact: query.get("resourceVersionMatch").is_some_and(|v| v == "Exact"),
        })
    }

    fn list(&self, state: &mut State, target: &Target) -> Result<Reply, ApiError> {
        let kind = &target.kind;
        let query = self.listing(kind)?;
        let (items, version, token, left) = state.list(kind, &target.namespace, &query)?;
        let mut list = if self.partial {
            let items: Vec<Value> = items.iter().map(|item| metadata_only(item)).collect();
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "items": items,
            })
        } else {
            let mut items: Vec<Value> = items.iter().map(|item| (**item).clone()).collect();
            if !kind.is_custom() {
                // Items of built-in lists do not repeat their type.
                for fields in items.iter_mut().filter_map(Value::as_object_mut) {
                    fields.remove("apiVersion");
                    fields.remove("kind");
                }
            }
            json!({
                "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
                "items": items,
            })
        };
        list["metadata"] = json!({"resourceVersion": version.to_string()});
        if !token.is_empty() {
            list["metadata"]["continue"] = json!(token);
            if query.selector.is_empty() {
                list["metadata"]["remainingItemCount"] = json!(left);
            }
        }
        Ok(Reply::Object(200, list))
    }

    fn delete_all(&self, state: &mut State, target: &Target) -> Result<Reply, ApiError> {
        let kind = &target.kind;
        let options = self.call.body.clone().unwrap_or(json!({}));
        let query = self.listing(kind)?;
        let (items, ..) = state.list(kind, &target.namespace, &query)?;
        for item in &items {
            // Collecting garbage may have been faster.
            if state.objects.contains_key(&key_of(kind, item)) {
                state.delete(kind, &key_of(kind, item), &options, self.call.dry_run)?;
            }
        }
        let items: Vec<Value> = items.iter().map(|item| (**item).clone()).collect();
        let list = json!({
            "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
            "metadata": {"resourceVersion": state.version.to_string()}, "items": items,
        });
        Ok(Reply::Object(200, list))
    }

    fn watch(
        &self,
        server: &ApiServer,
        state: &mut State,
        target: &Target,
        client: usize,
        cut_after: Option<usize>,
    ) -> Result<Reply, ApiError> {
        let on = |field: &str| self.call.query.get(field).is_some_and(|v| v == "true" || v == "1");
        let version = self.version()?;
        let request = watch::Request {
            client,
            kind: target.kind,
            namespace: target.namespace.clone(),
            selector: self.selector(&target.kind)?,
            from: (version > 0 && !on("sendInitialEvents")).then_some(version),
            bookmarks: on("allowWatchBookmarks"),
            initial_events: on("sendInitialEvents"),
            partial: self.partial,
            cut_after,
        };
        Ok(Reply::Stream(watch::open(server, state, request)))
    }
}

/// An object as metadata-only requests get it.
pub(super) fn metadata_only(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn review(state: &State, kind: &Kind, mut body: Value) -> Result<Reply, ApiError> {
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
fn other(state: &State, call: &Call) -> Result<Reply, ApiError> {
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
