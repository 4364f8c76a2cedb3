//! Whose batches a path speaks of: the namespace, and the dialect that its caller expects.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, ResourceExt as _};

use super::AppState;
use super::error::ApiError;
use super::store::Instance;
use super::upstream::call;
use crate::api::LABEL_INSTANCE_ID;
use crate::api::object_names::is_dns_label;
use crate::livy::Dialect;

/// A namespace as a caller addresses it.
#[derive(Clone, Debug)]
pub(super) struct Tenant {
    pub(super) namespace: String,
    pub(super) dialect: Dialect,
    /// Path of the collection of batches.
    pub(super) base: String,
    /// Whether logs, pages, filters and watches are served: always, but to an instance only where that is allowed.
    pub(super) extensions: bool,
}

impl Tenant {
    /// The dialect whose requests are taken: with extensions an instance takes every field that Livy knows.
    pub(super) fn takes(&self) -> Dialect {
        if self.extensions { Dialect::Apache } else { self.dialect }
    }
}

/// The tenant of an instance id or of a namespace; the default namespace's if neither is given.
///
/// What the watch has not shown yet is looked up, so that a namespace can be used as soon as it exists.
///
/// # RBAC needed
/// `namespaces`: `get` and `list`, where all namespaces are served.
pub(super) async fn resolve(
    state: &AppState,
    instance: Option<String>,
    namespace: Option<String>,
) -> Result<Tenant, ApiError> {
    if let Some(instance) = instance {
        let namespace = namespace_of(state, &instance).await?;
        let base = format!("/v3/analytics_engines/{instance}/livy/batches");
        let extensions = state.config.instance_extensions;
        return Ok(Tenant { namespace, dialect: Dialect::Instance, base, extensions });
    }
    let base = namespace.as_ref().map_or_else(|| "/batches".to_owned(), |name| format!("/namespaces/{name}/batches"));
    let namespace = namespace.unwrap_or_else(|| state.config.default_namespace.clone());
    if !exists(state, &namespace).await? {
        return Err(ApiError::not_found(format!("Namespace '{}' not found.", shown(&namespace))));
    }
    Ok(Tenant { namespace, dialect: Dialect::Apache, base, extensions: true })
}

async fn namespace_of(state: &AppState, instance: &str) -> Result<String, ApiError> {
    let mut found = state.namespaces.instance(instance);
    if found == Instance::Unknown {
        found = look_up(state, instance).await?;
    }
    match found {
        Instance::Of(namespace) if state.config.serves(&namespace) => Ok(namespace),
        Instance::Ambiguous => Err(ApiError::new(
            http::StatusCode::CONFLICT,
            format!("several namespaces have the label {LABEL_INSTANCE_ID}={instance}; remove it from all but one"),
        )),
        _ if state.config.instance_id_from_namespace_name && exists(state, instance).await? => Ok(instance.to_owned()),
        _ => Err(ApiError::not_found(format!("Instance '{}' not found.", shown(instance)))),
    }
}

async fn look_up(state: &AppState, instance: &str) -> Result<Instance, ApiError> {
    if !state.config.namespaces.is_empty() || !is_label_value(instance) {
        return Ok(Instance::Unknown);
    }
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(state.client.clone());
    let params = ListParams::default().labels(&format!("{LABEL_INSTANCE_ID}={instance}")).limit(2);
    let found = call(state.config.limits.upstream, api.list(&params)).await;
    let found = found.map_err(|failure| failure.answer(instance))?;
    Ok(match &found.items[..] {
        [] => Instance::Unknown,
        [namespace] => Instance::Of(namespace.name_any()),
        _ => Instance::Ambiguous,
    })
}

async fn exists(state: &AppState, namespace: &str) -> Result<bool, ApiError> {
    // The name goes into paths of the API server: what is no name gets no further.
    if !is_dns_label(namespace) || !state.config.serves(namespace) {
        return Ok(false);
    }
    if state.namespaces.contains(namespace) {
        return Ok(true);
    }
    if !state.config.namespaces.is_empty() {
        return Ok(false);
    }
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(state.client.clone());
    let found = call(state.config.limits.upstream, api.get_opt(namespace)).await;
    Ok(found.map_err(|failure| failure.answer(namespace))?.is_some())
}

fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

fn is_label_value(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a=b")]
    #[case("a,b")]
    #[case("a)")]
    #[case(".")]
    #[case("")]
    #[case("../x")]
    fn only_label_values_reach_a_selector(#[case] value: &str) {
        assert!(!is_label_value(value));
    }
}
