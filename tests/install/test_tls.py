"""The REST API behind TLS: a token of somebody with few rights, and a certificate that is renewed."""

import ssl
import subprocess

import pytest

from conftest import JOBS, RELEASE, SYSTEM, until

SECRET = "sparkbatch-tls"
FACADE = "app.kubernetes.io/component=facade"


def certificate(cluster, folder, name):
    """A new one for the Service's address, in the Secret; as PEM."""
    address = cluster.get("service", RELEASE, SYSTEM)["spec"]["clusterIP"]
    key, cert = folder / f"{name}.key", folder / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{address}"]
    subprocess.run([*command, "-keyout", key, "-out", cert, *names], check=True, capture_output=True)
    made = ["create", "secret", "tls", SECRET, "--namespace", SYSTEM, "--cert", str(cert), "--key", str(key)]
    manifest = cluster.kubectl(*made, "--dry-run=client", "--output", "yaml")
    cluster.kubectl("apply", "--server-side", "-f", "-", text=manifest)
    return cert.read_text()


@pytest.fixture(scope="module")
def release(cluster, tmp_path_factory):
    """Behind TLS: its certificate, and what was said at the end."""
    cluster.helm({"facade": {"replicas": 1}})
    authority = certificate(cluster, tmp_path_factory.mktemp("tls"), "first")
    done, _ = cluster.helm({"facade": {"replicas": 1, "requireRequestedBy": True, "tls": {"enabled": True, "secretName": SECRET}}})
    # The pod before, which has no TLS, takes connections until every node has heard that it ends.
    until("the pod without TLS to go", lambda: len(cluster.items("pods", "--namespace", SYSTEM, "--selector", FACADE)) == 1)
    yield authority, done.stdout
    cluster.uninstall()
    cluster.kubectl("delete", "secret", SECRET, "--namespace", SYSTEM)


def test_who_may_view_reads_and_submits_nothing(cluster, release):
    authority, _ = release
    token = cluster.token("viewer", "view")
    path = f"/namespaces/{JOBS}/batches"
    status, listed = cluster.rest("GET", path, token, scheme="https", authority=authority)
    assert status == 200 and listed["sessions"] == [], listed
    body = {"file": "/opt/spark/examples/src/main/python/pi.py"}
    status, answer = cluster.rest("POST", path, token, body, scheme="https", authority=authority)
    assert status == 403 and "sparkbatches" in answer, answer
    assert cluster.rest("GET", path, scheme="https", authority=authority)[0] == 401
    assert not cluster.items("sparkbatches", "--namespace", JOBS)


def test_a_renewed_certificate_is_served_without_a_restart(cluster, release, tmp_path):
    authority, _ = release
    before = [(pod["metadata"]["uid"], restarts(pod)) for pod in cluster.pods("facade")]
    address = cluster.get("service", RELEASE, SYSTEM)["spec"]["clusterIP"]
    assert served(address) == authority.strip()
    renewed = certificate(cluster, tmp_path, "second").strip()
    # The kubelet looks at Secrets once a minute, and more.
    until("the new certificate", lambda: served(address) == renewed, 180)
    assert [(pod["metadata"]["uid"], restarts(pod)) for pod in cluster.pods("facade")] == before


def test_what_the_notes_say_runs_a_batch_as_it_is_pasted(cluster, release):
    printed = cluster.paste(release[1])
    print(printed)
    assert "--insecure" in release[1] and "x-requested-by" in release[1]
    assert printed.rstrip().endswith("\n201"), printed
    cluster.until_all_succeeded()


def served(address):
    return ssl.get_server_certificate((address, 8998)).strip()


def restarts(pod):
    return sum(each["restartCount"] for each in pod["status"]["containerStatuses"])
