//! Whose batches a path speaks of: the namespace, and the dialect that its caller expects.
//!
//! Who may not use a namespace does not learn whether it exists. A namespace that is addressed by its name is told to
//! be missing only to those who may use it. An instance id is public, so what is nobody's is told to be missing; who
//! may not use an instance is not told which namespace it is. Where an instance id is a namespace's name, one that may
//! not be used and one that is missing look the same.

use http::StatusCode;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, ResourceExt as _};

use super::AppState;
use super::auth::{Access, Right};
use super::error::{ApiError, shown};
use super::store::Instance;
use super::upstream::call;
use crate::api::object_names::{is_dns_label, is_label_value};
use crate::api::{GROUP, LABEL_INSTANCE_ID};
use crate::livy::Dialect;

/// A namespace as a caller addresses it who may use it: [`super::auth::Allowed`] has one.
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

/// A tenant that nobody has been let in to yet.
pub(super) struct Candidate {
    tenant: Tenant,
    address: Address,
}

/// How a path names a tenant.
enum Address {
    Namespace,
    /// By an instance id that is the namespace's label.
    Label(String),
    /// By an instance id that is the namespace's name.
    Name(String),
}

/// The tenant that an instance id or a namespace stands for; the default namespace's if neither is given.
///
/// What the watch has not shown yet is looked up, so that a namespace can be used as soon as it exists.
///
/// # RBAC needed
/// `namespaces`: `get` and `list`, where all namespaces are served.
pub(super) async fn locate(
    state: &AppState,
    instance: Option<String>,
    namespace: Option<String>,
) -> Result<Candidate, ApiError> {
    if let Some(instance) = instance {
        return of_instance(state, instance).await;
    }
    let base = namespace.as_ref().map_or_else(|| "/batches".to_owned(), |name| format!("/namespaces/{name}/batches"));
    let namespace = namespace.unwrap_or_else(|| state.config.default_namespace.clone());
    // What is no name needs no secrecy.
    if !is_dns_label(&namespace) {
        return Err(no_namespace(&namespace));
    }
    let tenant = Tenant { namespace, dialect: Dialect::Apache, base, extensions: true };
    Ok(Candidate { tenant, address: Address::Namespace })
}

async fn of_instance(state: &AppState, instance: String) -> Result<Candidate, ApiError> {
    let mut found = state.namespaces.instance(&instance);
    if found == Instance::Unknown {
        found = look_up(state, &instance).await?;
    }
    let base = format!("/v3/analytics_engines/{instance}/livy/batches");
    let (namespace, address) = match found {
        Instance::Of(namespace) if state.config.serves(&namespace) => (namespace, Address::Label(instance)),
        Instance::Ambiguous => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                format!("several namespaces have the label {LABEL_INSTANCE_ID}={instance}; remove it from all but one"),
            ));
        }
        _ if state.config.instance_id_from_namespace_name && is_dns_label(&instance) => {
            (instance.clone(), Address::Name(instance))
        }
        _ => return Err(no_instance(&instance)),
    };
    let extensions = state.config.instance_extensions;
    Ok(Candidate { tenant: Tenant { namespace, dialect: Dialect::Instance, base, extensions }, address })
}

impl Candidate {
    /// What a caller needs for the right `R` on this tenant's batches.
    pub(super) fn access<R: Right>(&self) -> Access {
        let namespace = self.tenant.namespace.clone();
        Access::Batches { verb: R::VERB, subresource: R::SUBRESOURCE, namespace }
    }

    /// The answer to `user`, who does not have the right `R` here.
    pub(super) fn refusal<R: Right>(&self, user: &str) -> ApiError {
        let place = match &self.address {
            Address::Namespace => format!("in the namespace '{}'", self.tenant.namespace),
            Address::Label(instance) => format!("of the instance '{}'", shown(instance)),
            Address::Name(instance) => return no_instance(instance),
        };
        let (verb, part) = (R::VERB, R::SUBRESOURCE);
        let resource = if part.is_empty() { "sparkbatches".to_owned() } else { format!("sparkbatches/{part}") };
        let text = format!(
            "User '{}' cannot {verb} resource '{resource}' in API group '{GROUP}' {place}. Ask for a Role there with \
             the verb '{verb}' on it.",
            shown(user)
        );
        ApiError::new(StatusCode::FORBIDDEN, text)
    }

    /// The tenant, for one who may know whether it exists.
    pub(super) async fn enter(self, state: &AppState) -> Result<Tenant, ApiError> {
        let missing = match &self.address {
            Address::Label(_) => return Ok(self.tenant),
            Address::Namespace => no_namespace(&self.tenant.namespace),
            Address::Name(instance) => no_instance(instance),
        };
        if exists(state, &self.tenant.namespace).await? { Ok(self.tenant) } else { Err(missing) }
    }
}

fn no_namespace(namespace: &str) -> ApiError {
    ApiError::not_found(format!("Namespace '{}' not found.", shown(namespace)))
}

fn no_instance(instance: &str) -> ApiError {
    ApiError::not_found(format!("Instance '{}' not found.", shown(instance)))
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
    if !state.config.serves(namespace) {
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
