//! What a batch's confFrom brings.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use super::error::{During as _, Error};
use crate::api::ConfSource;

/// The conf of each of `sources` in order, or the first that is not there, in words.
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
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let found = api.get_opt(&reference.name).await.during("read a Secret of confFrom")?;
        return Ok(match found {
            Some(secret) => {
                texts(secret).ok_or_else(|| format!("Secret '{}' holds a value that is no UTF-8 text", reference.name))
            }
            None => absent("Secret", &reference.name, reference.optional),
        });
    }
    let Some(reference) = &source.config_map_ref else { return Ok(Ok(BTreeMap::new())) };
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let found = api.get_opt(&reference.name).await.during("read a ConfigMap of confFrom")?;
    Ok(match found {
        Some(config_map) => Ok(config_map.data.unwrap_or_default()),
        None => absent("ConfigMap", &reference.name, reference.optional),
    })
}

fn absent(kind: &str, name: &str, optional: Option<bool>) -> Result<BTreeMap<String, String>, String> {
    if optional == Some(true) { Ok(BTreeMap::new()) } else { Err(format!("confFrom: {kind} '{name}' does not exist")) }
}

fn texts(secret: Secret) -> Option<BTreeMap<String, String>> {
    let data = secret.data.unwrap_or_default().into_iter();
    data.map(|(key, value)| String::from_utf8(value.0).ok().map(|value| (key, value))).collect()
}
