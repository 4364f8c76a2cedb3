//! Pods as kubelets and controllers leave them, and what is read from them.

use serde_json::json;

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "the callers write it on the spot")]
fn state_of(status: serde_json::Value) -> DriverState {
    driver_facts(&serde_json::from_value(json!({ "metadata": { "name": "d" }, "status": status })).unwrap()).state
}

#[expect(clippy::needless_pass_by_value, reason = "the callers write it on the spot")]
fn container(state: serde_json::Value) -> serde_json::Value {
    json!([
        { "name": "sidecar", "ready": true, "restartCount": 0, "image": "", "imageID": "", "state": { "running": {} } },
        { "name": DRIVER_CONTAINER, "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state },
    ])
}

fn end_of(status: serde_json::Value) -> DriverEnd {
    match state_of(status) {
        DriverState::Ended(end) => end,
        other => panic!("not ended: {other:?}"),
    }
}

#[test]
fn a_driver_that_ended_beside_a_running_sidecar_has_ended() {
    let ended = container(json!({ "terminated": { "exitCode": 0, "reason": "Completed" } }));
    let end = end_of(json!({ "phase": "Running", "containerStatuses": ended }));
    assert_eq!((end.cause, end.exit_code), (EndCause::Exit, Some(0)));
}

#[test]
fn the_ui_listens_at_the_pods_address_on_the_port_that_the_pod_names() {
    let address = |ip: serde_json::Value, ports: serde_json::Value| {
        let container = json!({ "name": DRIVER_CONTAINER, "ports": ports });
        let sidecar = json!({ "name": "s", "ports": [{ "name": UI_PORT_NAME, "containerPort": 1 }] });
        let pod = json!({ "metadata": {}, "spec": { "containers": [sidecar, container] }, "status": { "podIP": ip } });
        driver_facts(&serde_json::from_value(pod).unwrap()).ui_address
    };
    let ui = json!([{ "containerPort": 7078 }, { "name": UI_PORT_NAME, "containerPort": 4041 }]);
    assert_eq!(address(json!("10.0.0.1"), ui.clone()).as_deref(), Some("10.0.0.1:4041"));
    assert_eq!(address(json!("fd00::1"), ui.clone()).as_deref(), Some("[fd00::1]:4041"));
    assert_eq!(address(json!(null), ui), None);
    assert_eq!(address(json!("10.0.0.1"), json!([])), None);
}

#[test]
fn a_driver_over_its_memory_limit_is_told_from_one_that_failed() {
    let oom = container(json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }));
    assert_eq!(end_of(json!({ "containerStatuses": oom })).cause, EndCause::OutOfMemory);
    let killed = container(json!({ "terminated": { "exitCode": 137, "reason": "Error" } }));
    assert_eq!(end_of(json!({ "containerStatuses": killed })).cause, EndCause::Exit);
}

#[test]
fn an_eviction_is_no_failure_of_the_application() {
    let end = end_of(json!({ "phase": "Failed", "reason": "Evicted", "message": "node was low on memory" }));
    assert_eq!((end.cause, end.exit_code), (EndCause::Evicted, None));
    assert_eq!(end.message, "Evicted: node was low on memory");
}

#[test]
fn a_waiting_driver_says_why() {
    let pull = container(json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } }));
    let expected = waiting(Reason::ImagePullFailed, "ImagePullBackOff: no such image");
    assert_eq!(state_of(json!({ "phase": "Pending", "containerStatuses": pull })), expected);
    let creating = container(json!({ "waiting": { "reason": "ContainerCreating" } }));
    assert_eq!(state_of(json!({ "containerStatuses": creating })), waiting(Reason::DriverPending, ""));
    let condition =
        json!([{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" }]);
    assert_eq!(state_of(json!({ "conditions": condition })), waiting(Reason::Unschedulable, "0/1 nodes"));
    assert_eq!(state_of(json!({})), waiting(Reason::DriverPending, ""));
}

#[test]
fn what_went_wrong_is_not_hidden_behind_an_orderly_shutdown() {
    let told = |message: &str| {
        let failed = container(json!({ "terminated": { "exitCode": 1, "message": message } }));
        end_of(json!({ "containerStatuses": failed })).message
    };
    let chatter = "26/11/23 10:13:23 INFO SparkUI: Stopped Spark web UI";
    assert_eq!(told(&format!("ValueError: no\n{chatter}\n{chatter}\n")), "ValueError: no");
    assert_eq!(told(chatter), chatter);
}

#[test]
fn the_end_of_a_long_message_is_kept() {
    let message = format!("{}the cause", "x".repeat(5000));
    let failed = container(json!({ "terminated": { "exitCode": 1, "message": message } }));
    let end = end_of(json!({ "containerStatuses": failed }));
    assert_eq!(end.message.chars().count(), MAX_MESSAGE);
    assert!(end.message.ends_with("the cause"));
}

fn with_init_container(init: &serde_json::Value, status: &serde_json::Value) -> DriverState {
    let container = json!({ "name": DRIVER_CONTAINER });
    let sidecar = json!({ "name": "proxy", "restartPolicy": "Always" });
    let pod = json!({
        "metadata": {}, "spec": { "containers": [container], "initContainers": [sidecar, { "name": "fetch" }] },
        "status": status,
    });
    let mut pod: Pod = serde_json::from_value(pod).unwrap();
    let names = ["proxy", "fetch"].into_iter().zip([json!({ "terminated": { "exitCode": 137 } }), init.clone()]);
    let statuses = names.map(|(name, state)| {
        json!({ "name": name, "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state })
    });
    let statuses = serde_json::from_value(statuses.collect()).unwrap();
    pod.status.as_mut().unwrap().init_container_statuses = statuses;
    driver_facts(&pod).state
}

#[test]
fn an_init_container_that_fails_is_the_applications_failure() {
    let end_of = |init: serde_json::Value, status: serde_json::Value| match with_init_container(&init, &status) {
        DriverState::Ended(end) => end,
        other => panic!("not ended: {other:?}"),
    };
    let waits = container(json!({ "waiting": { "reason": "PodInitializing" } }));
    let failed = json!({ "terminated": { "exitCode": 3, "reason": "Error", "message": "404 Not Found\n" } });
    let end = end_of(failed.clone(), json!({ "phase": "Failed", "containerStatuses": waits }));
    assert_eq!((end.cause, end.exit_code), (EndCause::Exit, Some(3)));
    assert_eq!((end.init_container.as_deref(), end.message.as_str()), (Some("fetch"), "404 Not Found"));
    let oom = json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
    let end = end_of(oom, json!({ "phase": "Failed" }));
    assert_eq!((end.cause, end.init_container.as_deref()), (EndCause::OutOfMemory, Some("fetch")));
    let evicted = json!({ "phase": "Failed", "reason": "Evicted", "message": "disk" });
    let end = end_of(failed, evicted);
    assert_eq!((end.cause, end.message.as_str()), (EndCause::Evicted, "Evicted: disk"));
    let vanished = json!({ "terminated": { "exitCode": 255, "reason": "Unknown" } });
    assert_eq!(end_of(vanished, json!({ "phase": "Failed" })).cause, EndCause::NodeLost);
}

#[test]
fn a_driver_says_what_its_init_container_waits_for() {
    let pull = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } });
    let waits = container(json!({ "waiting": { "reason": "PodInitializing" } }));
    let state = with_init_container(&pull, &json!({ "phase": "Pending", "containerStatuses": waits }));
    assert_eq!(state, waiting(Reason::ImagePullFailed, "ImagePullBackOff: no such image"));
}

#[test]
fn a_container_that_the_kubelet_has_lost_has_no_exit_code_of_its_own() {
    for (code, reason) in [(255, "Unknown"), (137, "ContainerStatusUnknown")] {
        let lost = container(json!({ "terminated": { "exitCode": code, "reason": reason, "message": "not found" } }));
        let end = end_of(json!({ "phase": "Failed", "containerStatuses": lost }));
        assert_eq!((end.cause, end.exit_code), (EndCause::NodeLost, None), "{reason}");
        assert_eq!(end.message, format!("{reason}: not found"));
        let evicted = end_of(json!({ "phase": "Failed", "reason": "Evicted", "containerStatuses": lost }));
        assert_eq!(evicted.cause, EndCause::Evicted);
    }
    let own = container(json!({ "terminated": { "exitCode": 255, "reason": "Error" } }));
    assert_eq!(end_of(json!({ "containerStatuses": own })).cause, EndCause::Exit);
}

#[test]
fn eviction_preemption_and_the_loss_of_a_node_are_told_apart_in_kubernetes_words() {
    let killed = container(json!({ "terminated": { "exitCode": 143, "reason": "Error", "message": "the log" } }));
    let by_condition = |reason: &str| {
        let target = json!([{ "type": "DisruptionTarget", "status": "True", "reason": reason, "message": "why" }]);
        end_of(json!({ "phase": "Failed", "conditions": target, "containerStatuses": killed }))
    };
    let by_reason = |reason: &str| {
        end_of(json!({ "phase": "Failed", "reason": reason, "message": "why", "containerStatuses": killed }))
    };
    let check = |end: DriverEnd, reason: &str, cause| {
        assert_eq!((end.cause, end.message), (cause, format!("{reason}: why")));
    };
    for (reason, cause) in [
        ("PreemptionByScheduler", EndCause::Preempted),
        ("DeletionByTaintManager", EndCause::NodeLost),
        ("DeletionByPodGC", EndCause::NodeLost),
        ("EvictionByEvictionAPI", EndCause::Evicted),
        ("TerminationByKubelet", EndCause::Evicted),
    ] {
        check(by_condition(reason), reason, cause);
    }
    for (reason, cause) in [
        ("Preempting", EndCause::Preempted),
        ("NodeShutdown", EndCause::NodeLost),
        ("Shutdown", EndCause::NodeLost),
        ("Terminated", EndCause::NodeLost),
        ("NodeLost", EndCause::NodeLost),
        ("Evicted", EndCause::Evicted),
    ] {
        check(by_reason(reason), reason, cause);
    }
    let target =
        json!([{ "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": "low" }]);
    let shut_down = json!({ "phase": "Failed", "reason": "Terminated", "conditions": target });
    assert_eq!(
        (end_of(shut_down.clone()).cause, end_of(shut_down).message.as_str()),
        (EndCause::NodeLost, "Terminated: low")
    );
}

#[test]
fn a_pod_that_scheduling_gates_hold_waits_for_them() {
    let spec = json!({ "containers": [], "schedulingGates": [{ "name": "kueue.x-k8s.io/admission" }] });
    let gated = json!([{ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "m" }]);
    for status in [json!({ "phase": "Pending", "conditions": gated }), json!(null)] {
        let pod = json!({ "metadata": {}, "spec": spec, "status": status });
        let state = driver_facts(&serde_json::from_value(pod).unwrap()).state;
        assert_eq!(state, waiting(Reason::DriverGated, "held by scheduling gates: kueue.x-k8s.io/admission"));
    }
}

#[test]
fn of_a_driver_whose_pod_is_gone_its_end_is_remembered_or_what_took_it_away() {
    let after = |status: serde_json::Value| {
        let pod = json!({ "metadata": {}, "status": status });
        driver_facts(&serde_json::from_value(pod).unwrap()).after_deletion()
    };
    let runs = container(json!({ "running": { "startedAt": "2026-01-01T00:00:00Z" } }));
    assert_eq!(after(json!({ "phase": "Running", "containerStatuses": runs })), None);
    let target = json!([{ "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler" }]);
    let taken = after(json!({ "phase": "Running", "containerStatuses": runs, "conditions": target })).unwrap();
    let DriverState::Ended(end) = taken.state else { panic!("not ended") };
    assert_eq!((end.cause, end.exit_code, end.started.is_some()), (EndCause::Preempted, None, true));
    let ended = container(json!({ "terminated": { "exitCode": 0 } }));
    assert!(after(json!({ "containerStatuses": ended })).unwrap().has_succeeded());
}
