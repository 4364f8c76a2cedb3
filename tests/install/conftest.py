"""The chart on the local cluster: Helm, kubectl, and the REST API as its users reach it."""

import contextlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
CHART = ROOT / "charts/sparkbatch"
GOLDENS = pathlib.Path(__file__).parent / "goldens"
sys.path.append(str(ROOT / "tests/chart"))

from notes import commands  # noqa: E402

RELEASE, SYSTEM, JOBS = "sparkbatch", "sparkbatch-system", "spark-jobs"
# What the local cluster needs; the rest is the chart's defaults.
LOCAL = {
    "image": {"repository": "localhost/sparkbatch", "tag": "dev"},
    # Of its two cores, a driver and an executor would ask for both.
    "spark": {
        "image": "localhost/spark:4.1.4",
        "conf": {f"spark.kubernetes.{part}.request.cores": "100m" for part in ("driver", "executor")},
    },
}
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
PI = "/opt/spark/examples/src/main/python/pi.py"


def pytest_addoption(parser):
    parser.addoption("--cluster", default="deploy/local/cluster", help="how to run kubectl and helm")
    parser.addoption("--write", action="store_true", help="write the goldens anew")


class Cluster:
    def __init__(self, command, folder):
        self.command, self.folder = shlex.split(command), folder

    def run(self, *arguments, text=None, check=True):
        done = subprocess.run(
            [*self.command, *arguments], cwd=ROOT, input=text, capture_output=True, text=True, timeout=600
        )
        assert not check or done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done

    def kubectl(self, *arguments, text=None):
        return self.run("kubectl", *arguments, text=text).stdout

    def get(self, kind, name, namespace=JOBS):
        return json.loads(self.kubectl("get", kind, name, "--namespace", namespace, "--output", "json"))

    def items(self, *arguments):
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))["items"]

    # --- the release

    def helm(self, values, *arguments, chart=CHART, check=True, program="helm"):
        """Installs or upgrades, and waits until all is ready; the answer, and the seconds."""
        file = self.folder / "values.json"
        file.write_text(json.dumps(LOCAL | values))
        words = ["upgrade", "--install", RELEASE, str(chart), "--namespace", SYSTEM, "--values", str(file)]
        began = time.monotonic()
        done = self.run(program, *words, "--wait", "--timeout", "150s", *arguments, check=check)
        return done, time.monotonic() - began

    def uninstall(self):
        self.run("helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--wait", "--timeout", "120s")

    def pods(self, component):
        labels = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
        pods = self.items("pods", "--namespace", SYSTEM, "--selector", labels)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def paste(self, notes):
        """Runs what a release says at its end as somebody who pastes it into a shell; what was printed, and last the
        status of curl's answer."""
        folder, printed = self.folder / "paste", self.folder / "paste/printed"
        folder.mkdir(exist_ok=True)
        program = f'#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.join(self.command)} kubectl "$@"\n'
        (folder / "kubectl").write_text(program)
        (folder / "kubectl").chmod(0o755)
        (folder / ".curlrc").write_text('write-out = "\\n%{http_code}\\n"\nsilent\nshow-error\n')
        environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "CURL_HOME": str(folder)}
        # A file, as the port that is forwarded stays so, and would keep a pipe open; and a session, to end it by.
        with printed.open("w") as file:
            streams = {"stdin": subprocess.PIPE, "stdout": file, "stderr": file, "text": True}
            shell = subprocess.Popen(["bash"], **streams, env=environment, start_new_session=True)
            try:
                shell.communicate(commands(notes), timeout=400)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGTERM)
        return printed.read_text()

    # --- batches

    def submit(self, name, **spec):
        metadata = {"name": name, "namespace": JOBS}
        batch = {"apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch", "metadata": metadata}
        self.kubectl("apply", "-f", "-", text=json.dumps(batch | {"spec": {"file": PI, "numExecutors": 1} | spec}))

    def until_phase(self, name, phase, seconds=180):
        deadline = time.monotonic() + seconds
        while (status := self.get("sparkbatch", name).get("status", {})).get("phase") != phase:
            ended = status.get("phase") in ("Succeeded", "Failed", "Killed")
            assert not ended and time.monotonic() < deadline, f"{name} is not {phase}: {json.dumps(status)}"
            time.sleep(0.5)
        return status

    def until_all_succeeded(self):
        for batch in self.items("sparkbatches", "--namespace", JOBS):
            self.until_phase(batch["metadata"]["name"], "Succeeded")

    # --- people

    def token(self, name, *rights):
        """Of a service account that has a role of Kubernetes, by a binding in the namespace of jobs."""
        for role in rights:
            self.kubectl("create", "serviceaccount", name, "--namespace", JOBS)
            binding = ["rolebinding", name, "--clusterrole", role, "--serviceaccount", f"{JOBS}:{name}"]
            self.kubectl("create", *binding, "--namespace", JOBS)
        return self.kubectl("create", "token", name, "--namespace", JOBS, "--duration", "1h").strip()

    def rest(self, method, path, token=None, body=None, scheme="http", authority=None):
        """The REST API at its Service's address: status and answer."""
        address = self.get("service", RELEASE, SYSTEM)["spec"]["clusterIP"]
        # The second is for facade.requireRequestedBy.
        headers = {"Content-Type": "application/json", "X-Requested-By": "tests"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{scheme}://{address}:8998{path}", data, headers, method=method)
        context = ssl.create_default_context(cadata=authority) if authority else None
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


class Caller(threading.Thread):
    """Somebody who asks the REST API again and again, by a new connection each time; and what did not answer."""

    def __init__(self, cluster, path, token):
        super().__init__(daemon=True)
        self.ask = lambda: cluster.rest("GET", path, token)
        self.answered, self.failures, self.ended = 0, [], threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            try:
                status, answer = self.ask()
            except (OSError, AssertionError) as error:
                status, answer = None, repr(error)
            if status == 200:
                self.answered += 1
            else:
                self.failures.append(f"{time.strftime('%X')}: {status} {answer}")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def until(what, seen, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(1)
    return found


@pytest.fixture(scope="session")
def cluster(request, tmp_path_factory):
    """The local cluster without an operator, and with Pod Security that takes restricted pods alone."""
    cluster = Cluster(request.config.getoption("--cluster"), tmp_path_factory.mktemp("install"))
    for namespace in (SYSTEM, JOBS):
        cluster.kubectl("create", "namespace", namespace)
        cluster.kubectl("label", "namespace", namespace, RESTRICTED)
    yield cluster
    cluster.run("helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--wait", "--ignore-not-found")
    for namespace in (SYSTEM, JOBS):
        cluster.kubectl("delete", "namespace", namespace, "--wait", "--timeout", "180s")
    cluster.kubectl("delete", "--ignore-not-found", "customresourcedefinition/sparkbatches.sparkbatch.dev")


@pytest.fixture
def golden(request):
    """Compares a text with the file of that name, or writes it."""

    def compare(name, text):
        file = GOLDENS / name
        if request.config.getoption("--write"):
            file.write_text(text)
        assert text == file.read_text(), f"differs from {file.name}; tests/run install --write accepts it"

    return compare


@pytest.fixture
def previous(tmp_path):
    """The chart as the version before could have been: none was released yet. Its pods differ, so all are replaced, and
    its definition lacks a column."""
    chart = tmp_path / "sparkbatch"
    shutil.copytree(CHART, chart)
    about = chart / "Chart.yaml"
    lines = about.read_text().splitlines(keepends=True)
    about.write_text("".join("version: 0.0.9\n" if line.startswith("version:") else line for line in lines))
    file = chart / "files/sparkbatches.yaml"
    definition = yaml.safe_load(file.read_text())
    definition["spec"]["versions"][0]["additionalPrinterColumns"].pop()
    file.write_text(yaml.safe_dump(definition, sort_keys=False))
    return chart
