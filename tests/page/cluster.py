"""As much of a Kubernetes API server as the facade asks for, with batches that a test moves along, and logs that it writes."""

import collections
import http.server
import json
import threading
import time
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "spark"
NOW = "2026-01-31T08:00:00Z"
# Seconds after which a watch ends, to be begun again.
LONGEST = 300


class Cluster(http.server.ThreadingHTTPServer):
    """Serves what is in it to a facade; `token` is the only one that is anybody's."""

    daemon_threads = True

    def __init__(self, token="good"):
        super().__init__(("127.0.0.1", 0), Handler)
        self.token, self.version, self.changed = token, 0, threading.Condition()
        # By resource, namespace and name.
        self.objects, self.events = {}, collections.deque(maxlen=50_000)
        self.logs, self.is_ended = collections.defaultdict(list), set()
        self.put("namespaces", {"metadata": {"name": NAMESPACE}})
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()

    def kubeconfig(self):
        name = {"name": "fake"}
        cluster = name | {"cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}
        context = name | {"context": {"cluster": "fake", "user": "fake"}}
        return json.dumps({"clusters": [cluster], "contexts": [context], "users": [name | {"user": {}}], "current-context": "fake"})

    # What tests do.

    def add(self, id, phase="Running", name=None, owner="alice", namespace=NAMESPACE, conf=None, **status):
        """A batch, as the facade would have made it and the operator have moved it along."""
        metadata = {"name": f"batch-{id}", "namespace": namespace, "labels": {"sparkbatch.dev/id": str(id)}}
        metadata |= {"annotations": {"sparkbatch.dev/owner": owner}}
        spec = {"file": "s3a://jobs/daily/report.py", "args": ["--day", "2026-01-31"], "conf": conf or {}}
        if name:
            spec["name"] = name
        self.put("sparkbatches", {"metadata": metadata, "spec": spec, "status": self.status(id, phase, **status)})

    def status(self, id, phase, **more):
        status = {"id": id, "phase": phase, "attempt": 1}
        if phase != "Pending":
            status |= {"appId": f"spark-{id:08x}", "driver": {"podName": f"batch-{id}-driver", "podUid": "u"}, "startTime": NOW}
        if phase == "Running":
            executors = {"requested": 4, "pending": 1, "running": 3, "succeeded": 0, "failed": 0}
            status |= {"reason": "DriverRunning", "runningTime": self.now(), "executors": executors}
            status["driver"]["uiAddress"] = "127.0.0.1:4040"
        if phase in ("Succeeded", "Failed", "Killed"):
            status |= {"runningTime": NOW, "completionTime": "2026-01-31T08:12:34Z"}
            status["reason"] = {"Succeeded": "DriverSucceeded", "Failed": "DriverExitNonZero", "Killed": "Cancelled"}[phase]
        return status | more

    def move(self, id, phase, namespace=NAMESPACE, **more):
        with self.changed:
            batch = dict(self.objects["sparkbatches", namespace, f"batch-{id}"])
            self.put("sparkbatches", batch | {"status": self.status(id, phase, **more)})

    def write(self, id, *lines):
        with self.changed:
            self.logs[f"batch-{id}-driver"] += lines
            self.changed.notify_all()

    def end_log(self, id):
        with self.changed:
            self.is_ended.add(f"batch-{id}-driver")
            self.changed.notify_all()

    def of(self, resource):
        with self.changed:
            return [value for (kind, _, _), value in self.objects.items() if kind == resource]

    # What the API does.

    @staticmethod
    def now():
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def put(self, resource, value, event="MODIFIED"):
        with self.changed:
            self.version += 1
            metadata = value["metadata"] | {"resourceVersion": str(self.version)}
            metadata.setdefault("uid", f"00000000-0000-4000-8000-{self.version:012x}")
            metadata.setdefault("creationTimestamp", self.now())
            metadata.setdefault("generation", 1)
            kind = {"sparkbatches": ("sparkbatch.dev/v1alpha1", "SparkBatch"), "configmaps": ("v1", "ConfigMap"),
                    "secrets": ("v1", "Secret"), "namespaces": ("v1", "Namespace")}[resource]
            value = value | {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata}
            key = resource, metadata.get("namespace"), metadata["name"]
            event = event if key in self.objects else "ADDED"
            self.objects[key] = value
            self.tell(key, event, value)
            return value

    def remove(self, resource, namespace, name):
        with self.changed:
            value = self.objects.pop((resource, namespace, name), None)
            if value:
                self.version += 1
                value = value | {"metadata": value["metadata"] | {"resourceVersion": str(self.version)}}
                self.tell((resource, namespace, name), "DELETED", value)
            return value

    def tell(self, key, event, value):
        self.events.append((self.version, key, {"type": event, "object": value}))
        self.changed.notify_all()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one write.
    wbufsize = -1

    def route(self):
        """Resource, namespace, name and part of the path, and the query."""
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = None
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        return parts[0], namespace, *(parts[1:] + [None, None])[:2], query

    def do_GET(self):
        resource, namespace, name, part, query = self.route()
        if part == "log":
            return self.log(name, query)
        with self.server.changed:
            if name:
                value = self.server.objects.get((resource, namespace, name))
                return self.answer(200, value) if value else self.fail(404)
            wanted = [label.split("=") for label in query.get("labelSelector", "").split(",") if "=" in label]
            items = [value for (kind, place, _), value in self.server.objects.items()
                     if kind == resource and namespace in (None, place)
                     and all(value["metadata"].get("labels", {}).get(key) == label for key, label in wanted)]
            version = self.server.version
        if query.get("watch") == "true":
            return self.watch(resource, namespace, int(query.get("resourceVersion") or version))
        first = int(query.get("continue") or 0)
        after = first + int(query.get("limit") or len(items) + 1)
        metadata = {"resourceVersion": str(version)} | ({"continue": str(after)} if after < len(items) else {})
        kind = {"kind": "SparkBatchList", "apiVersion": "sparkbatch.dev/v1alpha1"}
        if resource == "namespaces":
            kind = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        self.answer(200, kind | {"metadata": metadata, "items": items[first:after]})

    def do_POST(self):
        resource, namespace, *_ = self.route()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if resource == "tokenreviews":
            known = body["spec"]["token"] == self.server.token
            user = {"user": {"username": "alice", "groups": []}} if known else {}
            return self.answer(201, body | {"status": {"authenticated": known} | user})
        if resource == "subjectaccessreviews":
            return self.answer(201, body | {"status": {"allowed": True}})
        body["metadata"]["namespace"] = namespace
        with self.server.changed:
            if (resource, namespace, body["metadata"]["name"]) in self.server.objects:
                return self.fail(409, "AlreadyExists")
            self.answer(201, self.server.put(resource, body))

    def do_PUT(self):
        resource, *_ = self.route()
        self.answer(200, self.server.put(resource, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

    def do_DELETE(self):
        resource, namespace, name, *_ = self.route()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        value = self.server.remove(resource, namespace, name)
        self.answer(200, value) if value else self.fail(404)

    def fail(self, code, reason="NotFound"):
        self.answer(code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": reason})

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def watch(self, resource, namespace, version):
        self.begin("application/json")
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            with self.server.changed:
                news = [(at, event) for at, (kind, place, _), event in self.server.events
                        if at > version and kind == resource and namespace in (None, place)]
                if not news:
                    self.server.changed.wait(5)
                    continue
            version = news[-1][0]
            self.chunk("".join(json.dumps(event) + "\n" for _, event in news))
        self.chunk("")

    def log(self, pod, query):
        self.begin("text/plain")
        lines, stamp = self.server.logs[pod], (lambda at: f"2026-01-31T08:{at // 60000 % 60:02}:{at // 1000 % 60:02}.{at % 1000:03}000000Z")
        sent = max(0, len(lines) - int(query["tailLines"])) if "tailLines" in query else 0
        while True:
            with self.server.changed:
                news = [(at, lines[at]) for at in range(sent, len(lines))]
                is_over = query.get("follow") != "true" or pod in self.server.is_ended
                if not news and not is_over:
                    self.server.changed.wait(5)
                    continue
            if not news:
                return self.chunk("")
            self.chunk("".join(f"{stamp(at)} {line}\n" for at, line in news))
            sent = news[-1][0] + 1

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            pass
