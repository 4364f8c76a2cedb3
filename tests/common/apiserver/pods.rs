//! Pods: what scheduler and kubelet would do to them.

use serde_json::{Value, json};

use super::{
    ApiServer,
    store::{meta, rfc3339},
};

/// Sets the state of all containers of a pod.
fn set_containers(pod: &mut Value, state: &Value, ready: bool) {
    let main = pod["spec"]["containers"].as_array().into_iter().flatten();
    let statuses: Vec<Value> = main
        .map(|container| {
            json!({
                "name": container["name"], "image": container["image"], "imageID": "",
                "ready": ready, "started": ready, "restartCount": 0, "state": state,
            })
        })
        .collect();
    pod["status"]["containerStatuses"] = json!(statuses);
}

fn condition(kind: &str, status: &str, at: &str) -> Value {
    json!({"type": kind, "status": status, "lastTransitionTime": at})
}

fn schedule(pod: &mut Value, at: &str, ready: &str) {
    if pod["spec"]["nodeName"].is_null() {
        pod["spec"]["nodeName"] = json!("node-1");
    }
    if pod["status"]["startTime"].is_null() {
        pod["status"]["startTime"] = json!(at);
    }
    pod["status"]["conditions"] = json!([
        condition("PodScheduled", "True", at),
        condition("Initialized", "True", at),
        condition("ContainersReady", ready, at),
        condition("Ready", ready, at),
    ]);
}

impl ApiServer {
    fn pod(&self, namespace: &str, name: &str, set: impl FnOnce(&mut Value, &str)) -> Value {
        let at = rfc3339(self.now());
        self.update("pods", namespace, name, |pod| set(pod, &at))
    }

    /// Sets a pod's phase and nothing else.
    pub fn set_pod_phase(&self, namespace: &str, name: &str, phase: &str) -> Value {
        self.pod(namespace, name, |pod, _| pod["status"]["phase"] = json!(phase))
    }

    /// The pod is scheduled and all its containers run.
    pub fn set_pod_running(&self, namespace: &str, name: &str) -> Value {
        self.pod(namespace, name, |pod, at| {
            schedule(pod, at, "True");
            pod["status"]["phase"] = json!("Running");
            pod["status"]["podIP"] = json!("10.0.0.1");
            set_containers(pod, &json!({"running": {"startedAt": at}}), true);
        })
    }

    /// The pod is scheduled, and its containers wait for this reason (`ImagePullBackOff`, …).
    pub fn set_pod_waiting(&self, namespace: &str, name: &str, reason: &str, msg: &str) -> Value {
        self.pod(namespace, name, |pod, at| {
            schedule(pod, at, "False");
            pod["status"]["phase"] = json!("Pending");
            let waiting = json!({"waiting": {"reason": reason, "message": msg}});
            set_containers(pod, &waiting, false);
        })
    }

    /// The scheduler finds no node for the pod.
    pub fn set_unschedulable(&self, namespace: &str, name: &str, message: &str) -> Value {
        self.pod(namespace, name, |pod, at| {
            pod["status"]["phase"] = json!("Pending");
            let mut scheduled = condition("PodScheduled", "False", at);
            scheduled["reason"] = json!("Unschedulable");
            scheduled["message"] = json!(message);
            pod["status"]["conditions"] = json!([scheduled]);
        })
    }

    /// All containers of the pod end with this exit code: it succeeds (zero) or fails.
    pub fn set_driver_terminated(&self, namespace: &str, name: &str, code: i32, why: &str) -> Value {
        self.pod(namespace, name, |pod, at| {
            schedule(pod, at, "False");
            pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
            let started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
                .as_str()
                .unwrap_or(at)
                .to_owned();
            let ended = json!({"terminated": {
                "exitCode": code, "reason": why, "startedAt": started, "finishedAt": at,
            }});
            set_containers(pod, &ended, false);
        })
    }

    /// Ends the grace period of a deleted pod: it is removed, unless finalizers hold it.
    pub fn finish_pod_deletion(&self, namespace: &str, name: &str) {
        let deleting = self.update("pods", namespace, name, |pod| {
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        });
        assert!(!meta(&deleting, "deletionTimestamp").is_empty(), "pod {namespace}/{name} is not being deleted");
    }
}
