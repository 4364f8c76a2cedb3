"""What every measurement stands on: namespaces of its own, an account in them, processes on cores of their own."""

import base64
import contextlib
import json
import os
import shlex
import subprocess
import time
from pathlib import Path

from load import Server
from table import Table

# The operator's core, and that of who asks it.
SERVER_CORE, LOAD_CORE = 0, 1


def batches(namespace):
    return f"/apis/sparkbatch.dev/v1alpha1/namespaces/{namespace}/sparkbatches"


class Stand:
    # Of the one who measures, all of them; the last has the account.
    namespaces = []
    # What may be done in them beside batches, and whether pods may be there.
    rules, pods = [], False

    def __init__(self, options):
        self.options, self.table = options, Table()
        self.api = None

    def api_server(self):
        view = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--output", "json"))
        cluster = view["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        arguments = ["bench", "--namespace", self.namespaces[-1], "--duration", "2h"]
        return Server(cluster["server"], self.kubectl("create", "token", *arguments).strip(), authority)

    def folder(self, name):
        folder = self.options.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextlib.contextmanager
    def made(self):
        """The namespaces, for as long as it is entered."""
        self.remove(wait=True)
        items = [manifest for name in self.namespaces for manifest in self.manifests(name)]
        self.apply(items)
        try:
            yield
        finally:
            self.remove(wait=False)

    def remove(self, wait):
        self.kubectl("delete", "namespace", "--ignore-not-found", f"--wait={str(wait).lower()}", *self.namespaces)

    def apply(self, items):
        self.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def kubectl(self, *arguments, text=None):
        command = [*shlex.split(self.options.kubectl), *arguments]
        done = subprocess.run(command, input=text, text=True, stdout=subprocess.PIPE)
        if done.returncode:
            raise SystemExit(f"kubectl {' '.join(arguments)} failed")
        return done.stdout

    def manifests(self, namespace):
        """A namespace, and who measures in it."""
        metadata = {"name": "bench", "namespace": namespace}
        rbac = "rbac.authorization.k8s.io"
        verbs = ["create", "get", "list", "deletecollection"]
        rules = [
            {"apiGroups": ["sparkbatch.dev"], "resources": ["sparkbatches"], "verbs": verbs},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "update"]},
            *self.rules,
        ]
        account = {"kind": "ServiceAccount", "name": "bench", "namespace": self.namespaces[-1]}
        role = {"apiGroup": rbac, "kind": "Role", "name": "bench"}
        bound = {"roleRef": role, "subjects": [account]}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}}
        return [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            *([] if self.pods else [quota]),
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
            {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": metadata} | bound,
        ]


class Process:
    """What /proc says of a server's process."""

    def __init__(self, server):
        self.folder = Path("/proc") / str(server.process.pid)

    def memory(self, field="VmRSS"):
        """In MB."""
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6

    def seconds(self):
        """Of CPU, so far."""
        user, system = (self.folder / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def on_core(core):
    """What begins in here stays on that core, where there is more than one."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def until_quiet(seconds=300):
    """Waits for the operator to be done with all that it was given, or gives up: the API server is busy until then."""
    deadline, before = time.monotonic() + seconds, processors()
    while time.monotonic() < deadline:
        time.sleep(2)
        now = processors()
        idle, passed = (after - earlier for after, earlier in zip(now, before))
        if idle > 0.75 * passed:
            return
        before = now
    print("the machine does not come to rest; what follows was measured beside other work", flush=True)


def processors():
    """How long they were idle, and all the time that passed for them."""
    times = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return times[3] + times[4], sum(times)
