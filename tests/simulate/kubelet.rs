//! Scheduler and kubelet: what becomes of pods. A driver runs only once its Secret is there.

use std::time::Duration;

use serde_json::{Value, json};

use super::clock;
use super::ledger::{attempt_of, has_ended, is_driver, namespace_of, secret_of, text};
use super::schedule::{Scenario, TEAM};
use super::world::World;

impl World {
    /// Lets some time of every pod's life pass, for better or worse.
    pub fn pods_live(&mut self) {
        for pod in self.server.list("pods", "") {
            if self.rng.u32(..1000) < self.schedule.chances.kubelet {
                self.pod_lives(&pod);
            }
        }
    }

    /// Lets every pod do what it should.
    pub fn pods_behave(&mut self) {
        for pod in self.server.list("pods", "") {
            let name = text(&pod, "/metadata/name");
            // One of an earlier pod's end may have taken it along.
            if self.server.get("pods", namespace_of(name), name).is_none() {
                continue;
            }
            if pod["metadata"]["deletionTimestamp"].is_string() {
                self.server.finish_pod_deletion(namespace_of(name), name);
            } else if !has_ended(&pod) && is_driver(&pod) && self.may_run(name) {
                match text(&pod, "/status/phase") {
                    "Running" => self.ends(name, 0, "Completed"),
                    _ => drop(self.server.set_pod_running(namespace_of(name), name)),
                }
            }
        }
    }

    /// What the batch of a pod is there to show.
    fn scenario_of(&self, pod: &Value) -> Scenario {
        let batch = text(pod, "/metadata/labels/sparkbatch.dev~1batch");
        let batch = self.server.get("sparkbatches", namespace_of(batch), batch).unwrap_or_default();
        let user = self.users.iter().find(|user| user.file() == text(&batch, "/spec/file"));
        user.map_or(Scenario::Success, |user| user.plan.scenario)
    }

    fn may_run(&self, driver: &str) -> bool {
        self.server.get("secrets", namespace_of(driver), &secret_of(driver)).is_some()
    }

    fn pod_lives(&mut self, pod: &Value) {
        let name = text(pod, "/metadata/name");
        if self.server.get("pods", namespace_of(name), name).is_none() || self.is_silent(pod, name) {
            return;
        }
        if pod["metadata"]["deletionTimestamp"].is_string() {
            self.pod_goes(pod, name);
        } else if !is_driver(pod) {
            self.executor_lives(pod, name);
        } else if has_ended(pod) {
            if !self.schedule.scripted && self.rng.u32(..100) < 4 {
                self.saw("pod: collected after its end");
                self.server.remove("pods", namespace_of(name), name);
            }
        } else if !self.may_run(name) {
            self.driver_waits_for_its_secret(name);
        } else if text(pod, "/status/phase") == "Running" {
            self.driver_runs(pod, name);
        } else {
            self.driver_waits(pod, name);
        }
    }

    /// Whether the pod's node does not answer, which may begin now: nothing is heard of the pod, and it does not go.
    fn is_silent(&mut self, pod: &Value, name: &str) -> bool {
        let now = clock::elapsed();
        if let Some(until) = self.silent.get(name) {
            return now < *until;
        }
        let begins = !self.schedule.scripted && pod["spec"]["nodeName"].is_string() && self.rng.u32(..1000) < 8;
        if begins {
            self.saw("pod: its node is silent");
            let time = Duration::from_millis(self.rng.u64(1000..120_000));
            self.silent.insert(name.to_owned(), now + time);
        }
        begins
    }

    /// Within its grace period a driver may still end in any way, and its node may be long in telling.
    fn pod_goes(&mut self, pod: &Value, name: &str) {
        let ends_first = is_driver(pod) && !has_ended(pod) && text(pod, "/status/phase") == "Running";
        match self.rng.u32(..10) {
            _ if self.schedule.scripted => self.server.finish_pod_deletion(namespace_of(name), name),
            0 => self.saw("pod: long in going"),
            1 if ends_first => self.ends(name, 0, "Completed"),
            2..=5 if ends_first => self.ends(name, 143, "Error"),
            _ => self.server.finish_pod_deletion(namespace_of(name), name),
        }
    }

    fn executor_lives(&mut self, pod: &Value, name: &str) {
        match (text(pod, "/status/phase"), self.rng.u32(..10)) {
            ("Pending" | "", 0..=5) => drop(self.server.set_pod_phase(namespace_of(name), name, "Running")),
            ("Running", 0) => drop(self.server.set_pod_phase(namespace_of(name), name, "Failed")),
            _ => {}
        }
    }

    fn driver_waits_for_its_secret(&mut self, name: &str) {
        match self.rng.u32(..20) {
            _ if self.schedule.scripted => {}
            0 => self.lose(name),
            1..=10 => drop(self.server.set_pod_waiting(namespace_of(name), name, "ContainerCreating", "")),
            _ => {}
        }
    }

    fn driver_waits(&mut self, pod: &Value, name: &str) {
        match self.rng.u32(..100) {
            _ if self.schedule.scripted => drop(self.server.set_pod_running(namespace_of(name), name)),
            0..=59 => drop(self.server.set_pod_running(namespace_of(name), name)),
            60..=64 => drop(self.server.set_unschedulable(namespace_of(name), name, "0/1 nodes are available")),
            65..=69 => drop(self.server.set_pod_waiting(namespace_of(name), name, "ImagePullBackOff", "no such image")),
            70..=73 => self.evict(name),
            74..=77 => self.lose(name),
            78..=88 => self.driver_ends(pod, name),
            _ => {}
        }
    }

    fn driver_runs(&mut self, pod: &Value, name: &str) {
        let scenario = self.scenario_of(pod);
        if self.schedule.scripted {
            return self.driver_follows_its_script(pod, name, scenario);
        }
        match self.rng.u32(..100) {
            0..=29 if scenario == Scenario::LostPod => self.lose(name),
            0..=24 => self.driver_ends(pod, name),
            25..=39 => self.add_executor(pod),
            40..=43 => self.evict(name),
            44..=46 => self.lose(name),
            _ => {}
        }
    }

    /// Until what the scenario is about has happened, which users do as the driver runs.
    fn driver_follows_its_script(&mut self, pod: &Value, name: &str, scenario: Scenario) {
        let is_first = attempt_of(pod) == 1;
        if self.server.list("pods", "").len() == 1 {
            return self.add_executor(pod);
        }
        match scenario {
            Scenario::Retry if is_first => self.ends(name, 1, "Error"),
            Scenario::LostPod if is_first => self.lose(name),
            Scenario::Suspend | Scenario::Cancel | Scenario::Delete | Scenario::Deadline if is_first => {}
            _ => self.ends(name, 0, "Completed"),
        }
    }

    fn driver_ends(&mut self, pod: &Value, name: &str) {
        let fails = if self.scenario_of(pod) == Scenario::Retry { 60 } else { 12 };
        match self.rng.u32(..100) {
            at if at < fails => self.ends(name, 1, "Error"),
            at if at < fails + 6 => self.ends(name, 137, "OOMKilled"),
            _ => self.ends(name, 0, "Completed"),
        }
    }

    fn ends(&mut self, name: &str, code: i32, why: &str) {
        self.saw(if code == 0 { "pod: ended well" } else { "pod: ended badly" });
        self.server.set_driver_terminated(namespace_of(name), name, code, why);
    }

    fn evict(&mut self, name: &str) {
        self.saw("pod: evicted");
        self.server.update("pods", namespace_of(name), name, |pod| {
            pod["status"]["phase"] = json!("Failed");
            pod["status"]["reason"] = json!("Evicted");
            pod["status"]["containerStatuses"] = Value::Null;
        });
    }

    fn lose(&mut self, name: &str) {
        self.saw("pod: lost");
        self.server.remove("pods", namespace_of(name), name);
    }

    fn add_executor(&mut self, driver: &Value) {
        self.saw("pod: executor");
        self.executors += 1;
        let labels = &driver["metadata"]["labels"];
        let namespace = text(driver, "/metadata/namespace");
        let prefix = if namespace == TEAM { TEAM } else { "" };
        let name = format!("{prefix}exec-{}", self.executors);
        self.server.insert(
            "pods",
            json!({
                "metadata": {
                    "name": name, "namespace": namespace,
                    "labels": {
                        "spark-role": "executor",
                        "sparkbatch.dev/batch": labels["sparkbatch.dev/batch"],
                        "spark-app-selector": labels["spark-app-selector"],
                        "sparkbatch.dev/attempt": labels["sparkbatch.dev/attempt"],
                    },
                    "ownerReferences": [{
                        "apiVersion": "v1", "kind": "Pod", "name": driver["metadata"]["name"],
                        "uid": driver["metadata"]["uid"], "controller": true,
                    }],
                },
                "spec": { "containers": [{ "name": "executor" }] },
                "status": { "phase": "Pending" },
            }),
        );
    }
}
