"""How fast the controller is, and what it takes: a thousand batches at once and ten thousand in all, on nodes that only
pretend to run their drivers, beside the bare calls to the API server that a batch is made of.

Called by tests/run bench. The controller has one core to itself, and what asks it another; the cluster has both.
"""

import contextlib
import json
import re
import shlex
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request as UrlRequest, urlopen

from load import Write, Writer, compare
from stand import LOAD_CORE, SERVER_CORE, Process, Stand, batches, on_core, until_quiet

sys.path.append(str(Path(__file__).parent.parent / "conformance"))
from servers import Server as Program, arguments, free_port  # noqa: E402

BARE, SCALE = NAMESPACES = [f"sparkbatch-bench-{name}" for name in ("triples", "scale")]
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
DRIVER = {"nodeSelector": {"type": "kwok"}, "tolerations": [TAINT | {"operator": "Equal"}]}
CONF = {f"spark.example.setting{n}": "a value of some length" for n in range(20)}
SPEC = {
    "file": "/data/report.py",
    "args": ["--day", "2026-01-01"],
    "conf": CONF,
    "numExecutors": 1,
    "image": "spark:4.1",
    "driver": DRIVER,
}
AT_ONCE, CONNECTIONS = 1000, 16
WRITES = "create|patch|delete"
SAMPLE = re.compile(r'^(\w+)(?:\{(.*)\})? ([0-9.e+-]+)$')


def batch(name):
    return {
        "apiVersion": "sparkbatch.dev/v1alpha1",
        "kind": "SparkBatch",
        "metadata": {"name": name},
        "spec": SPEC,
    }


class Controller(Program):
    """The built program, out of the cluster, as the only controller there is."""

    def __init__(self, program, kubeconfig, folder):
        self.admin = free_port()
        command = [program, "controller", "--leader-elect", "false", "--admin-listen", f"127.0.0.1:{self.admin}"]
        super().__init__("the controller", command, self.admin, {"KUBECONFIG": kubeconfig}, folder)

    def metrics(self):
        """Of each family, its samples: labels as text, and the value."""
        found = {}
        with urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if match := SAMPLE.match(line):
                    found.setdefault(match[1], {})[match[2] or ""] = float(match[3])
        return found

    def calls(self, verbs="", resources=""):
        """To the API server, of verbs and resources that match."""
        wanted = re.compile(f'verb="({verbs or ".*"})",resource="({resources or ".*"})",')
        calls = self.metrics().get("sparkbatch_api_calls_total", {})
        return sum(count for labels, count in calls.items() if wanted.match(labels))

    def batches(self, phase):
        return self.metrics().get("sparkbatch_batches", {}).get(f'phase="{phase}"', 0)


class Drivers(threading.Thread):
    """When the driver pod of each batch was first seen, by a watch of its own."""

    def __init__(self, api, namespace):
        super().__init__(daemon=True)
        self.api, self.namespace, self.seen = api, namespace, {}
        self.start()

    def run(self):
        path = f"/api/v1/namespaces/{self.namespace}/pods?watch=true&labelSelector=spark-role%3Ddriver&resourceVersion=0"
        headers = self.api.headers() | {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
        context = ssl.create_default_context(cadata=self.api.authority)
        request = UrlRequest(self.api.url + path, headers=headers)
        with urlopen(request, context=context, timeout=3600) as events:
            for line in events:
                event = json.loads(line)
                labels = event["object"]["metadata"].get("labels", {})
                if name := labels.get("sparkbatch.dev/batch"):
                    self.seen.setdefault(name, time.perf_counter())

    def until(self, names, seconds=600):
        deadline = time.monotonic() + seconds
        while not all(name in self.seen for name in names):
            if time.monotonic() > deadline:
                raise SystemExit(f"{sum(name not in self.seen for name in names)} batches got no driver")
            time.sleep(0.05)


class Scale(Stand):
    namespaces, pods = NAMESPACES, True
    rules = [{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["create", "list", "watch", "deletecollection"]}]

    def run(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.alone())
            stack.enter_context(self.made())
            stack.enter_context(self.nodes())
            self.api = self.api_server()
            bare = self.bare()
            drivers = Drivers(self.api, SCALE)
            with self.controller("controller") as controller:
                controller.wait("/readyz", controller.admin)
                self.table.memory("controller: memory without batches", Process(controller).memory(), 40)
                self.one_by_one(drivers, bare)
                self.crowd(controller, drivers, bare, AT_ONCE, "at once")
                rest = self.options.batches - AT_ONCE
                if rest > 0:
                    self.crowd(controller, drivers, bare, rest, f"more, {self.options.batches} in all")
                process = Process(controller)
                self.table.memory(f"controller: memory with {self.options.batches} batches", process.memory(), 120)
                self.table.memory("  at its peak", process.memory("VmHWM"))
            self.restart()
        self.table.print()

    def manifests(self, namespace):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "spark", "namespace": namespace}}
        return [*super().manifests(namespace), account]

    def bare(self):
        """The three creates that a batch is made of, by nobody but the one who measures."""
        pod, secret = self.rendered()
        core = f"/api/v1/namespaces/{BARE}"
        calls = [
            Write("POST", batches(BARE), batch("bare-$n"), 201),
            Write("POST", f"{core}/pods", pod, 201),
            Write("POST", f"{core}/secrets", secret, 201),
        ]
        writer = Writer(self.api, calls)
        with on_core(LOAD_CORE):
            compare([writer], 1, 50, CONNECTIONS)
            (one,) = compare([writer], 3, 30)
            (many,) = compare([writer], 3, 300, CONNECTIONS)
        self.table.add("bare: resource, pod and Secret created", f"p50 {one.p50:.1f} ms, {many.rate:.0f}/s by {CONNECTIONS}")
        for kind, path in [("pods", core), ("secrets", core), ("sparkbatches", batches(BARE).rsplit("/", 1)[0])]:
            Writer(self.api, [Write("DELETE", f"{path}/{kind}", {}, 200)]).round(1, 1)
        until_quiet()
        return one, many

    def rendered(self):
        """A driver's pod and Secret, of the size that they really have."""
        manifest = json.dumps(batch("bare-batch") | {"metadata": {"name": "bare-batch", "namespace": BARE}})
        command = [self.options.facade, "render", "-"]
        done = subprocess.run(command, input=manifest, text=True, check=True, stdout=subprocess.PIPE)
        # Between them words for people, and after them what executors are made from.
        texts = [text for text in done.stdout.split("\n---\n") if "\nkind: " in text][:2]
        as_json = ["create", "--dry-run=client", "--output", "json", "-f", "-"]
        pod, secret = (json.loads(self.kubectl(*as_json, text=text)) for text in texts)
        for found in (pod, secret):
            found["metadata"].pop("ownerReferences", None)
            found["metadata"]["name"] = "bare-$n"
        return pod, secret

    def one_by_one(self, drivers, bare):
        names = [f"one-{n}" for n in range(self.options.samples)]
        times = sorted(self.latency(drivers, name) for name in names)
        self.made = len(names)
        p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
        one, _ = bare
        ratio = p50 / one.p50
        self.table.add(
            "apply to driver pod, one at a time", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms", f"{ratio:.2f} × of the bare three", "≤ 2 ×", ratio <= 2
        )

    def latency(self, drivers, name):
        began = self.submit(name)
        drivers.until([name], 30)
        time.sleep(0.1)
        return (drivers.seen[name] - began) * 1e3

    def submit(self, name):
        began = time.perf_counter()
        connection, headers = self.api.connect(), self.api.headers()
        Write("POST", batches(SCALE), batch(name), 201).send(connection, headers, 0)
        connection.close()
        return began

    def crowd(self, controller, drivers, bare, number, what):
        process, names = Process(controller), [f"{number}-{n}" for n in range(number)]
        before = process.seconds(), controller.calls(), controller.calls(WRITES), controller.calls("update", "configmaps")
        began = time.perf_counter()
        with on_core(LOAD_CORE), ThreadPoolExecutor(CONNECTIONS) as pool:
            started = dict(sum(pool.map(self.share, (names[n::CONNECTIONS] for n in range(CONNECTIONS))), []))
        submitted = time.perf_counter() - began
        drivers.until(names)
        times = sorted((drivers.seen[name] - started[name]) * 1e3 for name in names)
        rate = number / (max(drivers.seen[name] for name in names) - began)
        _, many = bare
        self.table.add(
            f"{number} batches {what}: apply to driver pod", f"p50 {times[number // 2]:.0f} ms, p99 {times[int(number * 0.99)]:.0f} ms"
        )
        share = rate / many.rate
        self.table.add("  per second", f"{rate:.0f}/s", f"{share:.2f} × of {many.rate:.0f}/s bare", "≥ 0.7 ×", share >= 0.7)
        self.table.add("  submitted in", f"{submitted:.1f} s")
        self.made += number
        self.until_succeeded(controller, self.made)
        self.table.add("  all ended after", f"{time.perf_counter() - began:.0f} s")
        after = process.seconds(), controller.calls(), controller.calls(WRITES), controller.calls("update", "configmaps")
        spent, of_all, writes, ids = ((now - then) / number for then, now in zip(before, after))
        self.table.add("  CPU of the controller per 1000 batches", f"{spent * 1000:.1f} s")
        text = f"{of_all:.2f}, {writes:.2f} writes with 2 Events, and {ids:.2f} for ids"
        self.table.add("  calls per batch", text, "", "≤ 7 writes", writes <= 7.05)

    def share(self, names):
        connection, headers, started = self.api.connect(), self.api.headers(), []
        for name in names:
            started.append((name, time.perf_counter()))
            Write("POST", batches(SCALE), batch(name), 201).send(connection, headers, 0)
        connection.close()
        return started

    def until_succeeded(self, controller, number, seconds=1200):
        deadline = time.monotonic() + seconds
        while (there := controller.batches("Succeeded")) < number:
            if time.monotonic() > deadline:
                raise SystemExit(f"of {number} batches {there:.0f} succeeded; the log is {controller.log}")
            time.sleep(0.5)

    def restart(self):
        """With all of them there: how soon it is ready, and that it starts nothing."""
        until_quiet()
        with self.controller("restarted") as controller:
            began = time.perf_counter()
            controller.wait("/readyz", controller.admin, 120)
            ready = time.perf_counter() - began
            number = self.options.batches
            self.table.add(f"restart with {number} batches: ready after", f"{ready:.1f} s", "", "≤ 5 s", ready <= 5)
            time.sleep(10)
            self.table.memory("  memory", Process(controller).memory(), 120)
            self.table.memory("  at its peak", Process(controller).memory("VmHWM"))
            created = controller.calls("create", "pods")
            self.table.add("  driver pods created", f"{created:.0f}", "", "0", created == 0)

    def controller(self, name):
        with on_core(SERVER_CORE):
            return Controller(self.options.facade, self.options.kubeconfig, self.folder(name))

    @contextlib.contextmanager
    def alone(self):
        """Without the operator that is in the cluster."""
        deployment = ["--namespace", "sparkbatch-system", "deployment/sparkbatch"]
        self.kubectl("scale", "--replicas", "0", *deployment)
        self.kubectl("wait", "--for", "delete", "pod", "--all", "--namespace", "sparkbatch-system", "--timeout", "60s")
        try:
            yield
        finally:
            self.kubectl("scale", "--replicas", "1", *deployment)

    @contextlib.contextmanager
    def nodes(self):
        """Nodes that pretend, and the program that does it for them."""
        log = (self.folder("kwok") / "kwok.log").open("wb")
        stages = Path(__file__).parent / "nodes.yaml"
        selector = "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake"
        command = [*shlex.split(self.options.kwok), "--config", str(stages), "--manage-all-nodes=false", selector]
        pretended = [node(f"pretended-{n}") for n in range(4)]
        process = subprocess.Popen([*command, "--node-lease-duration-seconds=40"], stdout=log, stderr=log)
        try:
            self.apply(pretended)
            names = [f"node/{found['metadata']['name']}" for found in pretended]
            self.kubectl("wait", "--for", "condition=Ready", "--timeout", "120s", *names)
            yield
        finally:
            process.terminate()
            process.wait(20)
            self.kubectl("delete", "--ignore-not-found", *[f"node/{found['metadata']['name']}" for found in pretended])


def node(name):
    metadata = {
        "name": name,
        "labels": {"type": "kwok", "kubernetes.io/hostname": name},
        "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": [TAINT]}}


def main():
    parser = arguments(__doc__)
    parser.add_argument("--kwok", required=True, help="the command")
    parser.add_argument("--batches", type=int, default=10_000, help="batches in all")
    parser.add_argument("--samples", type=int, default=50, help="batches submitted one at a time")
    options = parser.parse_args()
    Scale(options).run()


if __name__ == "__main__":
    main()
