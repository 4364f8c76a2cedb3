//! How the pods of one role look: podTemplate, under the fields beside it.

use std::collections::BTreeMap;

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{Affinity, Container, EnvVar, PodSpec, TopologySpreadConstraint};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{pod, volcano};
use crate::api::{ContainerResources, Open, PodSettings, Scheduling};

/// What a batch says of its driver's pod, or of its executors'. The builders put what they set over it.
#[derive(Clone, Debug, Default)]
pub(super) struct PodShape {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// The pod, with all containers but Spark's.
    pub(super) pod: PodSpec,
    /// Spark's container.
    pub(super) container: Container,
    pub(super) resources: ContainerResources,
}

impl PodShape {
    /// The shape that `settings` give, with Spark's container of the name `spark`. Open fields have been read
    /// before, when the batch was checked.
    pub(super) fn new(settings: &PodSettings, spark: &str) -> Self {
        let template = settings.pod_template.as_ref().map(read_checked).unwrap_or_default();
        let metadata = template.metadata.unwrap_or_default();
        let mut pod = template.spec.unwrap_or_default();
        let (own, sidecars): (Vec<_>, _) = pod.containers.into_iter().partition(|container| container.name == spark);
        pod.containers = sidecars.into_iter().map(without_privileges).collect();
        pod.init_containers = pod.init_containers.map(|all| all.into_iter().map(without_privileges).collect());
        Self {
            labels: over(metadata.labels, &settings.labels),
            annotations: over(metadata.annotations, &settings.annotations),
            pod: placed(pod, settings),
            container: spark_container(own.into_iter().next().unwrap_or_default(), settings),
            resources: settings.resources.clone().unwrap_or_default(),
        }
    }

    /// The shape with what tells schedulers its queue.
    ///
    /// Spark: "Running Spark on Kubernetes", "Using Apache `YuniKorn` as Customized Scheduler". Kueue: "Run Plain Pods".
    pub(super) fn queued(mut self, scheduling: &Scheduling, app_id: &str, pod_group: &str) -> Self {
        if let Some(queue) = &scheduling.kueue_queue {
            self.labels.insert("kueue.x-k8s.io/queue-name".to_owned(), queue.clone());
        }
        if let Some(queue) = &scheduling.yunikorn_queue {
            self.labels.insert("queue".to_owned(), queue.clone());
            self.annotations.insert("yunikorn.apache.org/app-id".to_owned(), app_id.to_owned());
        }
        if scheduling.volcano_queue.is_some() {
            self.annotations.insert(volcano::GROUP_ANNOTATION.to_owned(), pod_group.to_owned());
        }
        self
    }
}

/// The pod with what the typed fields say of its place.
fn placed(pod: PodSpec, settings: &PodSettings) -> PodSpec {
    let affinity: Option<Affinity> = settings.affinity.as_ref().map(read_checked);
    let constraints: Vec<TopologySpreadConstraint> =
        settings.topology_spread_constraints.iter().map(read_checked).collect();
    PodSpec {
        node_selector: pod::non_empty(over(pod.node_selector, &settings.node_selector)),
        tolerations: pod::non_empty(after(pod.tolerations, &settings.tolerations)),
        topology_spread_constraints: pod::non_empty(after(pod.topology_spread_constraints, &constraints)),
        affinity: affinity.or(pod.affinity),
        priority_class_name: settings.priority_class_name.clone().or(pod.priority_class_name),
        security_context: Some(overlaid(pod::security_context(), pod.security_context)),
        ..pod
    }
}

fn spark_container(container: Container, settings: &PodSettings) -> Container {
    let is_replaced = |variable: &EnvVar| settings.env.iter().any(|own| own.name == variable.name);
    let env = container.env.unwrap_or_default().into_iter().filter(|variable| !is_replaced(variable)).collect();
    let own_context = settings.security_context.as_ref().map(read_checked);
    let context = overlaid(pod::container_security_context(), container.security_context);
    Container {
        env: Some(after(Some(env), &settings.env)),
        env_from: pod::non_empty(after(container.env_from, &settings.env_from)),
        volume_mounts: Some(after(container.volume_mounts, &settings.volume_mounts)),
        security_context: Some(overlaid(context, own_context)),
        ..container
    }
}

/// A container beside Spark's, without privileges unless it asks for them.
fn without_privileges(container: Container) -> Container {
    let context = overlaid(pod::unprivileged(), container.security_context);
    Container { security_context: Some(context), ..container }
}

fn read_checked<T: DeserializeOwned + Serialize + Default>(object: &Open<T>) -> T {
    object.read().unwrap_or_default()
}

fn over(template: Option<BTreeMap<String, String>>, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut merged = template.unwrap_or_default();
    merged.extend(own.clone());
    merged
}

fn after<T: Clone>(template: Option<Vec<T>>, own: &[T]) -> Vec<T> {
    let mut all = template.unwrap_or_default();
    all.extend_from_slice(own);
    all
}

/// `object` with every field that `upper` sets in place of its own.
fn overlaid<T: DeepMerge>(mut object: T, upper: Option<T>) -> T {
    if let Some(upper) = upper {
        object.merge_from(upper);
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shape(settings: Value) -> PodShape {
        PodShape::new(&serde_json::from_value(settings).unwrap(), "spark")
    }

    #[test]
    fn fields_go_before_the_template() {
        let shape = shape(json!({
            "labels": { "a": "field" },
            "env": [{ "name": "A", "value": "field" }],
            "nodeSelector": { "disk": "ssd" },
            "priorityClassName": "high",
            "podTemplate": {
                "metadata": { "labels": { "a": "template", "b": "template" } },
                "spec": {
                    "nodeSelector": { "disk": "hdd", "zone": "a" },
                    "priorityClassName": "low",
                    "dnsPolicy": "None",
                    "containers": [{ "name": "spark", "env": [{ "name": "A", "value": "t" }, { "name": "B", "value": "t" }] }],
                },
            },
        }));
        assert_eq!(json!(shape.labels), json!({ "a": "field", "b": "template" }));
        assert_eq!(json!(shape.pod.node_selector), json!({ "disk": "ssd", "zone": "a" }));
        assert_eq!(shape.pod.priority_class_name.as_deref(), Some("high"));
        assert_eq!(shape.pod.dns_policy.as_deref(), Some("None"));
        assert!(shape.pod.containers.is_empty());
        let env = json!([{ "name": "B", "value": "t" }, { "name": "A", "value": "field" }]);
        assert_eq!(json!(shape.container.env), env);
    }

    #[test]
    fn a_security_context_changes_what_it_names_and_leaves_the_rest_restricted() {
        let shape = shape(json!({
            "securityContext": { "readOnlyRootFilesystem": false, "capabilities": { "add": ["SYS_PTRACE"] } },
            "podTemplate": { "spec": {
                "securityContext": { "fsGroup": 1000 },
                "containers": [{ "name": "proxy", "securityContext": { "runAsUser": 1 } }],
            } },
        }));
        let own = shape.container.security_context.unwrap();
        assert_eq!((own.read_only_root_filesystem, own.allow_privilege_escalation), (Some(false), Some(false)));
        assert_eq!(json!(own.capabilities), json!({ "add": ["SYS_PTRACE"], "drop": ["ALL"] }));
        let pod = shape.pod.security_context.unwrap();
        assert_eq!((pod.fs_group, pod.run_as_user, pod.run_as_non_root), (Some(1000), Some(185), Some(true)));
        let sidecar = shape.pod.containers[0].security_context.clone().unwrap();
        assert_eq!((sidecar.run_as_user, sidecar.allow_privilege_escalation), (Some(1), Some(false)));
        assert_eq!(sidecar.read_only_root_filesystem, None);
    }
}
