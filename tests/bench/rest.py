"""How fast the facade is: beside the bare calls to the API server that it is made of, and beside Livy 0.7.1.

Called by tests/run bench. The facade has one core to itself, and what asks it another. Prints a table: what was
measured, its ratio to what was measured beside it, and whether it is what the project promises.
"""

import contextlib
import json
import sys
import threading
import time
from pathlib import Path

from crowd import CONF, NAMESPACE, Crowd
from load import Reader, Server, Write, Writer, compare
from stand import LOAD_CORE, SERVER_CORE, Process, Stand, batches, on_core, until_quiet

sys.path.append(str(Path(__file__).parent.parent / "conformance"))
from servers import Facade, Livy, arguments  # noqa: E402
from wire import Request, send  # noqa: E402

# Namespaces: of batches posted, of batches created past the facade, and of many that wait.
POSTED, BARE, MANY = NAMESPACES = [f"sparkbatch-bench-{name}" for name in ("posted", "bare", "many")]
SPEC = {"file": "/data/report.py", "args": ["--day", "2026-01-01"], "conf": CONF}
COUNTER = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bench"}, "data": {"next": "$n"}}
# Batches in an API server that does nothing but list them, and the MB that they may take.
CROWDS = {10_000: 120, 100_000: 600}


def create(namespace, spec):
    """The call by which the facade creates a batch."""
    metadata = {"name": "batch-$n", "labels": {"sparkbatch.dev/id": "$n"}}
    body = {"apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch", "metadata": metadata, "spec": spec}
    return Write("POST", batches(namespace), body, 201)


class Bench(Stand):
    # No pod can be there, whatever the operator makes of the batches.
    namespaces = NAMESPACES

    def run(self):
        for number, limit in CROWDS.items():
            self.crowd(number, limit)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.made())
            self.api = self.api_server()
            livy = stack.enter_context(self.livy())
            facade = stack.enter_context(self.facade("facade"))
            livy.ready()
            facade.ready()
            self.table.memory("memory without batches", Process(facade).memory(), 40)
            self.posts(at(facade), at(livy))
            self.fill(facade)
            self.states(facade, livy)
            self.lists(at(facade), at(livy))
            guarded = stack.enter_context(self.facade("guarded", ["--rate-limit", "0"], auth="kubernetes"))
            guarded.ready()
            self.tokens(guarded, facade)
            self.table.memory("memory of Livy", Process(livy).memory())
        self.table.print()

    def crowd(self, number, limit):
        """What so many batches take, be they more than etcd should hold."""
        server = Crowd(number)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kubeconfig = self.folder("crowd") / "kubeconfig"
        kubeconfig.write_text(json.dumps(server.kubeconfig()))
        with self.facade("crowd", kubeconfig=str(kubeconfig)) as facade:
            facade.wait("/readyz", facade.admin, 300)
            until_there(facade, NAMESPACE, number)
            self.compare([Reader(at(facade), f"/namespaces/{NAMESPACE}/batches/17/state")], 1, 1)
            self.table.memory(f"memory, started with {number} batches", Process(facade).memory(), limit)
            self.table.memory("  at its peak", Process(facade).memory("VmHWM"), limit)
        server.shutdown()

    def posts(self, facade, livy):
        """One at a time, and eight at once. The bare calls: an id is taken from the counter, and the batch created."""
        counters = f"/api/v1/namespaces/{BARE}/configmaps"
        Writer(self.api, [Write("POST", counters, COUNTER, 201)]).round(1, 1)
        bare = Writer(self.api, [Write("PUT", f"{counters}/bench", COUNTER, 200), create(BARE, SPEC)])
        ours = Writer(facade, [Write("POST", f"/namespaces/{POSTED}/batches", SPEC, 201)])
        livys = Writer(livy, [Write("POST", "/batches", SPEC, 201)])
        self.compare([ours, bare, livys], 1, 10, tidy=self.forget)
        mine, calls, livys = self.compare([ours, bare, livys], 7, 30, tidy=self.forget)
        self.table.times("POST, to the bare calls", mine, calls, "p50 ≤ 2 ×", mine.p50 <= 2 * calls.p50)
        self.table.times("POST, to Livy", mine, livys)
        mine, calls = self.compare([ours, bare], 5, 80, 8, self.forget)
        self.table.rates("POST, 8 at once, to the bare calls", mine, calls, "≥ 0.7 ×", mine.rate >= 0.7 * calls.rate)

    def forget(self):
        """Ends what was submitted: the operator would go on trying to start its drivers, and be measured, too."""
        gone = [Write("DELETE", batches(namespace), {}, 200) for namespace in (POSTED, BARE)]
        Writer(self.api, gone).round(1, 1)

    def fill(self, facade):
        """Many batches that wait, with the ids and names that the facade would have given them."""
        self.kubectl("delete", "namespace", POSTED, BARE)
        number = self.options.batches
        (calls,) = self.compare([Writer(self.api, [create(MANY, SPEC | {"suspend": True})])], 1, number, 16)
        self.table.add("bare creates of suspended batches, 16 at once", f"{calls.rate:.0f}/s")
        until_there(facade, MANY, number)
        self.table.memory(f"memory, {number} batches later", Process(facade).memory(), 120)
        until_quiet()

    def states(self, facade, livy):
        latest = json.loads(send(livy.port, Request("GET", "/batches?size=1")).body)["sessions"][0]["id"]
        ours = Reader(at(facade), f"/namespaces/{MANY}/batches/17/state")
        bare = Reader(self.api, f"{batches(MANY)}/batch-17")
        livys = Reader(at(livy), f"/batches/{latest}/state")
        self.compare([ours, livys], 1, 2)
        mine, calls, its = self.compare([ours, bare, livys], 5, 2)
        self.table.times("GET state, to a bare GET", mine, calls, "p50 ≤ 0.2 ms", mine.p50 <= 0.2)
        self.table.times("GET state, to Livy", mine, its)
        before = Process(facade).seconds()
        mine, its = self.compare([ours, livys], 5, 1, 16)
        # What its core had to leave to others does not count.
        per_second = mine.requests / (Process(facade).seconds() - before)
        self.table.rates("GET state, 16 at once, to Livy", mine, its)
        self.table.add("  per second of one core", f"{per_second:.0f}/s", "", "≥ 20000/s", per_second >= 20_000)
        # A route of axum's that says "ok", behind no layer.
        least = Reader(Server(f"http://127.0.0.1:{facade.admin}"), "/livez")
        mine, bare = self.compare([ours, least], 5, 1, 16)
        self.table.rates("GET state, 16 at once, to a bare answer of axum", mine, bare)

    def lists(self, facade, livy):
        ours = Reader(facade, f"/namespaces/{MANY}/batches?from={self.options.batches // 2}&size=100")
        bare = Reader(self.api, f"{batches(MANY)}?limit=100")
        mine, calls, its = self.compare([ours, bare, Reader(livy, "/batches?size=100")], 5, 3)
        self.table.times(f"list of 100 of {self.options.batches}, to a bare list", mine, calls)
        self.table.times("list of 100, to Livy's of 100 of 220", mine, its)

    def tokens(self, guarded, facade):
        """As users run it: each request carries a token, and what Kubernetes said of it is remembered for a while."""
        process = Process(guarded)
        self.table.memory(f"memory, started with {self.options.batches} batches", process.memory(), 120)
        self.table.memory("  at its peak", process.memory("VmHWM"))
        path = f"/namespaces/{MANY}/batches/17/state"
        token = Server(at(guarded).url, self.api.token)
        self.compare([Reader(token, path)], 1, 1)
        mine, without = self.compare([Reader(token, path), Reader(at(facade), path)], 5, 1)
        self.table.times("GET state with a token, to without", mine, without)

    def compare(self, *arguments, **options):
        with on_core(LOAD_CORE):
            return compare(*arguments, **options)

    def facade(self, name, flags=(), auth="none", kubeconfig=None):
        with on_core(SERVER_CORE):
            kubeconfig = kubeconfig or self.options.kubeconfig
            return Facade(self.options.facade, kubeconfig, self.folder(name), POSTED, [*flags, *self.options.flag], auth)

    def livy(self):
        """On the same core as the facade, which is idle while it is asked."""
        with on_core(SERVER_CORE):
            return Livy(self.options.livy, self.folder("livy"), {}, java=())

def until_there(facade, namespace, number):
    """Waits until the facade shows so many batches."""
    deadline, first = time.monotonic() + 60, Request("GET", f"/namespaces/{namespace}/batches?size=1")
    while (there := json.loads(send(facade.port, first).body)["total"]) < number:
        if time.monotonic() > deadline:
            raise SystemExit(f"of {number} batches the facade shows {there}; its log is {facade.log}")
        time.sleep(0.1)


def at(server):
    return Server(f"http://127.0.0.1:{server.port}")


def main():
    parser = arguments(__doc__)
    parser.add_argument("--livy", required=True, help="folder with Livy's jars")
    parser.add_argument("--batches", type=int, default=10_000, help="batches in the cluster")
    parser.add_argument("--flag", action="append", default=[], help="one more flag of the facade")
    options = parser.parse_args()
    Bench(options).run()


if __name__ == "__main__":
    main()
