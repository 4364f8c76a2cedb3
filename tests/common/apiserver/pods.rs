//! Pods: their logs, and what scheduler and kubelet would do to them.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    ApiServer,
    error::ApiError,
    kinds::Kind,
    store::{Key, State, meta, rfc3339, text},
};

/// A line a container wrote, and when.
#[derive(Clone, Debug)]
pub(super) struct LogLine {
    at: Timestamp,
    text: String,
}

fn containers(pod: &Value) -> Vec<String> {
    let list = |field: &str| pod["spec"][field].as_array().into_iter().flatten();
    let names = list("containers").chain(list("initContainers"));
    let name = |c: &Value| c["name"].as_str().unwrap_or_default().to_owned();
    names.map(name).collect()
}

impl State {
    /// The text of a pod's log, as the query wants it.
    pub(super) fn log(&self, kind: &Kind, key: &Key, query: &HashMap<String, String>) -> Result<String, ApiError> {
        let bad = |why: String| Err(ApiError::new(400, why));
        let pod = self.existing(kind, key)?;
        let name = &key.2;
        let names = containers(&pod);
        let container = match query.get("container") {
            Some(asked) if names.contains(asked) => asked,
            Some(asked) => return bad(format!("container {asked} is not valid for pod {name}")),
            None if pod["spec"]["containers"].as_array().is_some_and(|c| c.len() > 1) => {
                let names = names.join(" ");
                return bad(format!("a container name must be specified for pod {name}, choose one of: [{names}]"));
            }
            None => names.first().map_or("", String::as_str),
        };
        if text(&pod, "/spec/nodeName").is_none_or(str::is_empty) {
            // Not scheduled: the real server has nowhere to ask, and answers with nothing.
            return Ok(String::new());
        }
        let statuses = pod["status"]["containerStatuses"].as_array();
        let status = statuses.and_then(|list| list.iter().find(|s| s["name"] == container));
        let waiting = status.map_or(&Value::Null, |s| &s["state"]["waiting"]);
        if waiting.is_object() || (pod["status"]["phase"] == "Pending" && status.is_none()) {
            let why = waiting["reason"].as_str().unwrap_or("ContainerCreating");
            return bad(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}"));
        }
        let flag = |field: &str| query.get(field).is_some_and(|v| v == "true" || v == "1");
        if flag("previous") {
            return bad(format!("previous terminated container \"{container}\" in pod \"{name}\" not found"));
        }
        let number = |field: &str| query.get(field).and_then(|v| v.parse::<i64>().ok());
        let since = query
            .get("sinceTime")
            .and_then(|v| v.parse().ok())
            .or_else(|| number("sinceSeconds").map(|seconds| self.clock - SignedDuration::from_secs(seconds)));
        let log_key = (key.1.clone(), name.clone(), container.to_owned());
        let lines = self.logs.get(&log_key).map_or(&[][..], Vec::as_slice);
        let tail = number("tailLines").map_or(lines.len(), |n| usize::try_from(n).unwrap_or(0));
        let mut out = String::new();
        for line in &lines[lines.len() - tail.min(lines.len())..] {
            if since.is_none_or(|since: Timestamp| line.at >= since) {
                if flag("timestamps") {
                    out.push_str(&line.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string());
                }
                out.push_str(&line.text);
                out.push('\n');
            }
        }
        if let Some(limit) = number("limitBytes") {
            let limit = usize::try_from(limit).unwrap_or(0).min(out.len());
            // The real server may cut through a character; a string cannot.
            out.truncate((0..=limit).rfind(|at| out.is_char_boundary(*at)).unwrap_or(0));
        }
        Ok(out)
    }
}

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

    /// Replaces the log of a pod's container; all lines are written now.
    pub fn set_log(&self, namespace: &str, name: &str, container: &str, text: &str) {
        self.write_log(namespace, name, container, text, true);
    }

    /// Appends to the log of a pod's container; the new lines are written now.
    pub fn append_log(&self, namespace: &str, name: &str, container: &str, text: &str) {
        self.write_log(namespace, name, container, text, false);
    }

    fn write_log(&self, namespace: &str, name: &str, container: &str, text: &str, replace: bool) {
        let mut state = self.lock();
        let at = state.clock;
        let key = (namespace.to_owned(), name.to_owned(), container.to_owned());
        let log = state.logs.entry(key).or_default();
        if replace {
            log.clear();
        }
        log.extend(text.lines().map(|line| LogLine { at, text: line.to_owned() }));
    }

    /// Ends the grace period of a deleted pod: it is removed, unless finalizers hold it.
    pub fn finish_pod_deletion(&self, namespace: &str, name: &str) {
        let deleting = self.update("pods", namespace, name, |pod| {
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        });
        assert!(!meta(&deleting, "deletionTimestamp").is_empty(), "pod {namespace}/{name} is not being deleted");
    }
}
