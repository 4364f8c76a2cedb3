//! Requests as they come in: reading them, and carrying them out on the state.

use std::collections::HashMap;

use axum::{body::Bytes, extract::Query};
use http::{HeaderMap, Method, header, request::Parts};
use serde_json::{Value, json};

use super::{
    ApiServer,
    apply::PatchBody,
    calls::Call,
    error::ApiError,
    gc::Deleted,
    kinds::{Kind, Target},
    list::Listing,
    logs,
    ops::Write,
    reply::{Reply, metadata_only, other, review},
    select::Selector,
    store::{Key, State, key_of, meta},
    watch,
};

/// A request, read.
pub(super) struct Incoming {
    pub(super) call: Call,
    target: Option<Target>,
    partial: bool,
    content_type: String,
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
        let body: Option<Value> = serde_json::from_slice(body).ok().or_else(|| serde_saphyr::from_slice(body).ok());
        let body = body.filter(|body| !body.is_null());
        let in_options = |body: &Value| verb.starts_with("delete") && body["dryRun"][0] == "All";
        let dry_run = query.get("dryRun").is_some_and(|v| v == "All") || body.as_ref().is_some_and(in_options);
        let name = target.as_ref().and_then(|t| t.name.clone()).or_else(|| {
            let name = body.as_ref()?.pointer("/metadata/name")?.as_str()?;
            (verb == "create").then(|| name.to_owned())
        });
        let namespace = target.as_ref().map(|t| t.namespace.clone());
        let call = Call {
            client: client.to_owned(),
            authorization: parts.headers.get(header::AUTHORIZATION).map(text_of),
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
                Ok(Reply::Log(logs::read(server, state, kind, &key, &self.call.query)?))
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
            (_, None | Some("status")) => {
                Err(ApiError::new(405, "the server does not allow this method on the requested resource"))
            }
            _ => Err(ApiError::nowhere()),
        }
    }

    fn object(&self, code: u16, object: &Value) -> Reply {
        if self.partial { Reply::Object(code, metadata_only(object)) } else { Reply::Object(code, object.clone()) }
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
        let page = state.list(kind, &target.namespace, &query)?;
        let items = &page.items;
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
        list["metadata"] = json!({"resourceVersion": page.version.to_string()});
        if !page.token.is_empty() {
            list["metadata"]["continue"] = json!(page.token);
            if query.selector.is_empty() {
                list["metadata"]["remainingItemCount"] = json!(page.remaining);
            }
        }
        Ok(Reply::Object(200, list))
    }

    fn delete_all(&self, state: &mut State, target: &Target) -> Result<Reply, ApiError> {
        let kind = &target.kind;
        let options = self.call.body.clone().unwrap_or(json!({}));
        let query = self.listing(kind)?;
        let items = state.list(kind, &target.namespace, &query)?.items;
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

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).map(text_of).unwrap_or_default()
}

fn text_of(value: &header::HeaderValue) -> String {
    value.to_str().unwrap_or_default().to_owned()
}
