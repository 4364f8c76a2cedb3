"""A release from its install to its end: it runs batches, is upgraded below them, and leaves them when it goes."""

import pathlib
import re

import pytest

from conftest import JOBS, RELEASE, SYSTEM, Caller, until

DEFINITION = "customresourcedefinition/sparkbatches.sparkbatch.dev"


@pytest.fixture(scope="module")
def release(cluster):
    """The defaults, of nothing."""
    done, seconds = cluster.helm({})
    yield done.stdout, seconds
    cluster.uninstall()
    cluster.kubectl("delete", "--ignore-not-found", DEFINITION)


def test_it_is_ready_soon(release):
    _, seconds = release
    print(f"helm install to ready: {seconds:.1f} s")
    assert seconds < 15


def test_it_takes_little_memory(cluster, release):
    """Of one controller and one REST API: the resident pages of their processes, which run on this machine."""
    parts = {part: resident(cluster.pods(part)[0]) / 1e6 for part in ("controller", "facade")}
    print(f"memory idle, of one pod each: {', '.join(f'{part} {size:.0f} MB' for part, size in parts.items())}")
    assert all(size > 5 for size in parts.values()), "that is not the program"
    # 40 are aimed at, and 38 to 39 were measured: docs/benchmarks.md says why the limit is not that.
    assert sum(parts.values()) < 45


def resident(pod):
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if container in (process / "cgroup").read_text():
                return int(re.search(r"VmRSS:\s+(\d+) kB", (process / "status").read_text())[1]) * 1024
        except OSError:
            continue
    raise AssertionError(f"no process of {container}")


def test_a_batch_runs_that_kubectl_applies(cluster, release):
    cluster.submit("applied")
    cluster.until_phase("applied", "Succeeded")


def test_a_batch_runs_that_somebody_with_the_role_edit_posts(cluster, release):
    token = cluster.token("editor", "edit")
    body = {"file": "/opt/spark/examples/src/main/python/pi.py", "name": "posted"}
    status, batch = cluster.rest("POST", f"/namespaces/{JOBS}/batches", token, body)
    assert status == 201, batch
    path = f"/namespaces/{JOBS}/batches/{batch['id']}/state"

    def has_ended():
        state = cluster.rest("GET", path, token)[1]["state"]
        assert state not in ("dead", "killed"), state
        return state == "success"

    until("the batch to succeed", has_ended, 180)


def test_what_the_notes_say_runs_a_batch_as_it_is_pasted(cluster, release):
    printed = cluster.paste(release[0])
    print(printed)
    assert printed.rstrip().endswith("\n201"), printed
    assert cluster.get("sparkbatch", "pi")["status"]["phase"] == "Succeeded", printed
    cluster.until_all_succeeded()


def test_an_upgrade_leaves_a_running_batch_alone(cluster, release, previous):
    cluster.helm({"commonLabels": {"before": "true"}}, chart=previous)
    assert "sparkbatch-0.0.9" in cluster.run("helm", "list", "--namespace", SYSTEM).stdout
    cluster.submit("upgraded", args=["200"])
    before = cluster.until_phase("upgraded", "Running")
    replaced = uids(cluster.pods("controller") + cluster.pods("facade"))
    with Caller(cluster, f"/namespaces/{JOBS}/batches?size=1", cluster.token("caller", "view")) as caller:
        _, seconds = cluster.helm({})
        until("the replaced pods to go", lambda: not replaced & uids(cluster.items("pods", "--namespace", SYSTEM)))
    print(f"helm upgrade to ready: {seconds:.1f} s, {caller.answered} requests answered meanwhile")
    assert caller.answered > 20 and not caller.failures, caller.failures
    assert len(uids(cluster.pods("controller") + cluster.pods("facade"))) == len(replaced)
    after = cluster.until_phase("upgraded", "Succeeded", 240)
    assert after["driver"]["podName"] == before["driver"]["podName"] and after["attempt"] == 1
    drivers = cluster.items("pods", "--namespace", JOBS, "--selector", "sparkbatch.dev/batch=upgraded,spark-role=driver")
    assert len(drivers) == 1


def uids(pods):
    return {pod["metadata"]["uid"] for pod in pods}


def columns(cluster):
    return len(cluster.get(*DEFINITION.split("/"))["spec"]["versions"][0]["additionalPrinterColumns"])


def test_the_way_back_leaves_the_newer_definition_and_the_next_upgrade_takes_it_up(cluster, release, previous):
    newer = columns(cluster)
    cluster.helm({"crds": {"enabled": False}}, chart=previous)
    assert "sparkbatch-0.0.9" in cluster.run("helm", "list", "--namespace", SYSTEM).stdout
    assert columns(cluster) == newer
    cluster.submit("back")
    cluster.until_phase("back", "Succeeded")
    cluster.helm({})
    manifest = cluster.run("helm", "get", "manifest", RELEASE, "--namespace", SYSTEM).stdout
    assert "kind: CustomResourceDefinition" in manifest and columns(cluster) == newer


def test_a_rollback_takes_the_definition_back_as_the_page_on_upgrades_warns(cluster, release, previous):
    newer = columns(cluster)
    cluster.helm({}, chart=previous)
    cluster.helm({})
    cluster.run("helm", "rollback", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "120s")
    assert columns(cluster) == newer - 1
    cluster.helm({})
    assert columns(cluster) == newer


def test_an_uninstall_leaves_batches_and_an_install_takes_them_up_again(cluster, release):
    cluster.submit("left", args=["200"])
    before = cluster.until_phase("left", "Running")
    cluster.uninstall()
    assert not cluster.items("deployments", "--namespace", SYSTEM)
    left = {batch["metadata"]["name"]: batch["status"]["id"] for batch in cluster.items("sparkbatches", "--namespace", JOBS)}
    assert "left" in left

    def driver_has_ended():
        return cluster.get("pod", before["driver"]["podName"])["status"]["phase"] == "Succeeded"

    until("the driver to end, without an operator", driver_has_ended, 240)
    cluster.helm({})
    after = cluster.until_phase("left", "Succeeded")
    assert after["driver"]["podName"] == before["driver"]["podName"] and after["attempt"] == 1
    status, listed = cluster.rest("GET", f"/namespaces/{JOBS}/batches?size=100", cluster.token("editor"))
    assert status == 200, listed
    assert {batch["id"] for batch in listed["sessions"]} == set(left.values())


def test_an_uninstall_takes_the_batches_along_if_told_so(cluster, release):
    cluster.helm({"crds": {"keep": False}})
    cluster.uninstall()
    assert not cluster.kubectl("get", "--ignore-not-found", DEFINITION)
    # What uninstalls the release once more at the end finds one.
    cluster.helm({})
    assert not cluster.items("sparkbatches", "--namespace", JOBS)


def test_without_its_rights_it_says_which_to_grant(cluster, release):
    # Watches that are open go on.
    cluster.uninstall()
    cluster.helm({"rbac": {"create": False}}, "--wait=false")

    def told():
        return [line for line in logs(cluster) if "forbidden" in line and "sparkbatches" in line]

    try:
        print(until("the controller to say what it may not", told, 90)[-1])
        pods = until("pods that are not ready", lambda: cluster.pods("controller"), 10)
        assert not any(each["ready"] for pod in pods[-1:] for each in pod["status"].get("containerStatuses", []))
    finally:
        cluster.helm({})


def logs(cluster):
    lines = []
    for pod in cluster.pods("controller"):
        done = cluster.run("kubectl", "logs", "--namespace", SYSTEM, pod["metadata"]["name"], "--tail", "200", check=False)
        lines += done.stdout.splitlines()
    return lines
