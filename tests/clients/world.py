"""What the tests see of the world: the REST API, what the cluster holds behind it, and the clients' processes."""

import contextlib
import json
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# A Spark job on a busy machine of two cores, in seconds.
JOB = 600
FINAL = {"success", "dead", "killed", "error"}


class Facade:
    """The REST API. Clients get `url`, `token`, `namespace` and `instance` of it; the rest is for what tests assert."""

    def __init__(self):
        self.url = os.environ["SPARKBATCH_CLIENTS_URL"].rstrip("/")
        # Without authentication, credentials are not looked at; the clients send them all the same.
        self.token = os.environ.get("SPARKBATCH_CLIENTS_TOKEN", "not-looked-at")
        self.namespace = os.environ.get("SPARKBATCH_CLIENTS_NAMESPACE", "spark-jobs")
        self.instance = os.environ.get("SPARKBATCH_CLIENTS_INSTANCE", "43f79a18-768c-44c9-b9c2-b19ec78771bf")
        kubectl = os.environ.get("SPARKBATCH_CLIENTS_KUBECTL", f"{REPOSITORY}/deploy/local/cluster kubectl")
        self._kubectl = [*shlex.split(kubectl), "--namespace", self.namespace]
        self.batches = f"/namespaces/{self.namespace}/batches"
        # Every batch of this run that can have a name begins with it.
        self.prefix = f"clients-{uuid.uuid4().hex[:8]}"

    def name(self, what):
        return f"{self.prefix}-{what}"

    def call(self, method, path):
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def state(self, batch):
        return self.call("GET", f"{self.batches}/{batch}/state")["state"]

    def ids(self, prefix):
        sessions = self.call("GET", f"{self.batches}?size=1000")["sessions"]
        return [each["id"] for each in sessions if (each["name"] or "").startswith(prefix)]

    def ends(self, batch, wanted):
        """Waits for the final state, which must be the wanted one."""
        began, state = time.monotonic(), None
        while state not in FINAL:
            last, state = state, self.state(batch)
            if state != last:
                say(f"{time.monotonic() - began:5.1f} s  batch {batch}: {state}")
            assert time.monotonic() - began < JOB, f"batch {batch} is still {state}; {self._log(batch)}"
            time.sleep(0.5)
        assert state == wanted, f"batch {batch} is {state}; {self._log(batch)}"

    def _log(self, batch):
        return "\n".join(["its log ends with:", *self.call("GET", f"{self.batches}/{batch}/log?size=60")["log"]])

    def kubectl(self, *arguments):
        command = [*self._kubectl, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def spec(self, batch):
        """The spec of the resource that a request has become."""
        return json.loads(self.kubectl("get", "sparkbatch", f"batch-{batch}", "--output", "json"))["spec"]

    def pods(self, batch):
        return self.kubectl("get", "pods", "--selector", f"sparkbatch.dev/batch=batch-{batch}", "--output", "name").split()

    def forget(self, batch):
        """Deletes a batch, if it is still there."""
        with contextlib.suppress(urllib.error.HTTPError):
            self.call("DELETE", f"{self.batches}/{batch}")

    def until_pods_are_gone(self, batch):
        began = time.monotonic()
        until(f"the pods of batch {batch} to be gone", lambda: not self.pods(batch), patience=30)
        say(f"the pods of batch {batch} are gone after {time.monotonic() - began:.1f} s")


def say(line):
    print(f"\n    {line}", end="", flush=True)


def until(what, seen, patience=JOB):
    """Waits until `seen` returns something, and returns that."""
    began = time.monotonic()
    while not (found := seen()):
        if time.monotonic() - began > patience:
            raise TimeoutError(f"waited {patience} s in vain for {what}")
        time.sleep(0.3)
    return found


class Run:
    """A client's own process, its output in a file."""

    def __init__(self, command, log, **options):
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **options)

    def log(self):
        return self._log.read_text(errors="replace")

    def _end_of_log(self):
        return "\n".join(["its output ends with:", *self.log().splitlines()[-60:]])

    def _until(self, what, seen):
        def seen_or_ended():
            # In this order: what comes right before the end is seen after it.
            ended, found = self.process.poll() is not None, seen()
            assert found or not ended, f"ended without {what}; {self._end_of_log()}"
            return found

        try:
            return until(what, seen_or_ended)
        except TimeoutError as error:
            raise AssertionError(f"{error}; {self._end_of_log()}") from None

    def submits(self, facade, what):
        """Waits for the batch of a name, and returns its id."""
        return self._until(f"a batch {what}", lambda: facade.ids(facade.name(what)))[0]

    def tells(self, text):
        self._until(f"{text!r} in the output", lambda: text in self.log())

    def ends(self, code):
        self._until("an end", lambda: self.process.poll() is not None)
        assert self.process.returncode == code, f"exit code {self.process.returncode}; {self._end_of_log()}"
