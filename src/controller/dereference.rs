//! What a batch's confFrom brings.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use super::error::{During as _, Error, api_status};
use crate::api::ConfSource;

/// The conf of each of `sources` in order, or the first that is not there or must not be read, in words.
///
/// # RBAC needed
/// `secrets` get, `configmaps` get.
pub(super) async fn conf_from(
    client: &Client,
    namespace: &str,
    sources: &[ConfSource],
) -> Result<Result<Vec<BTreeMap<String, String>>, String>, Error> {
    let mut layers = Vec::with_capacity(sources.len());
    for source in sources {
        match read(client, namespace, source).await? {
            Ok(layer) => layers.push(layer),
            Err(missing) => return Ok(Err(missing)),
        }
    }
    Ok(Ok(layers))
}

async fn read(
    client: &Client,
    namespace: &str,
    source: &ConfSource,
) -> Result<Result<BTreeMap<String, String>, String>, Error> {
    if let Some(reference) = &source.secret_ref {
        let found = get::<Secret>(client, namespace, "Secret", &reference.name).await?;
        return Ok(found.and_then(|found| match found {
            Some(secret) => {
                texts(secret).ok_or_else(|| format!("Secret '{}' holds a value that is no UTF-8 text", reference.name))
            }
            None => absent("Secret", &reference.name, reference.optional),
        }));
    }
    let Some(reference) = &source.config_map_ref else { return Ok(Ok(BTreeMap::new())) };
    let found = get::<ConfigMap>(client, namespace, "ConfigMap", &reference.name).await?;
    Ok(found.and_then(|found| match found {
        Some(config_map) => Ok(config_map.data.unwrap_or_default()),
        None => absent("ConfigMap", &reference.name, reference.optional),
    }))
}

/// The object, if it is there, or in words that it must not be read.
async fn get<K>(client: &Client, namespace: &str, kind: &str, name: &str) -> Result<Result<Option<K>, String>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    match Api::<K>::namespaced(client.clone(), namespace).get_opt(name).await {
        Err(error) if api_status(&error).is_some_and(|status| status.code == 403) => Ok(Err(format!(
            "confFrom: the operator may not read {kind} '{name}': grant its service account the right to get it"
        ))),
        found => found.during("read what confFrom names").map(Ok),
    }
}

fn absent(kind: &str, name: &str, optional: Option<bool>) -> Result<BTreeMap<String, String>, String> {
    if optional == Some(true) { Ok(BTreeMap::new()) } else { Err(format!("confFrom: {kind} '{name}' does not exist")) }
}

fn texts(secret: Secret) -> Option<BTreeMap<String, String>> {
    let data = secret.data.unwrap_or_default().into_iter();
    data.map(|(key, value)| String::from_utf8(value.0).ok().map(|value| (key, value))).collect()
}
