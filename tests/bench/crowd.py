"""An API server with more batches than a real one on the same machine could take in within minutes: as much of one as
the facade's caches ask for."""

import http.server
import json
import time
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "crowd"
CONF = {f"spark.example.setting{n}": "a value of some length" for n in range(20)}
VERSION = "1000000"


class Crowd(http.server.ThreadingHTTPServer):
    """Serves pages of so many batches, and watches in which nothing happens."""

    daemon_threads = True

    def __init__(self, batches):
        super().__init__(("127.0.0.1", 0), Handler)
        self.batches = batches

    def kubeconfig(self):
        name = {"name": "crowd"}
        cluster = name | {"cluster": {"server": f"http://127.0.0.1:{self.server_port}"}}
        context = name | {"context": {"cluster": "crowd", "user": "crowd"}}
        users = [name | {"user": {}}]
        return {"clusters": [cluster], "contexts": [context], "users": users, "current-context": "crowd"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one write.
    wbufsize = -1

    def do_GET(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if query.get("watch") == "true":
            return self.watch()
        metadata = {"resourceVersion": VERSION}
        if url.path.endswith("/sparkbatches"):
            first = int(query.get("continue", 1))
            after = min(first + int(query.get("limit", self.server.batches)), self.server.batches + 1)
            if after <= self.server.batches:
                metadata["continue"] = str(after)
            items = [batch(n) for n in range(first, after)]
            return self.answer({"apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatchList"}, metadata, items)
        kind = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList"}
        self.answer(kind, metadata, [{"metadata": {"name": NAMESPACE, "resourceVersion": "1"}}])

    def answer(self, kind, metadata, items):
        body = json.dumps(kind | {"metadata": metadata, "items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def watch(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        time.sleep(3600)

    def log_message(self, *_):
        pass


def batch(n):
    """That has run, as a scheduler would have submitted it."""
    metadata = {
        "namespace": NAMESPACE,
        "name": f"batch-{n}",
        "uid": f"00000000-0000-4000-8000-{n:012x}",
        "resourceVersion": str(n),
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"sparkbatch.dev/id": str(n)},
        "annotations": {"sparkbatch.dev/owner": "system:serviceaccount:airflow:scheduler"},
    }
    args = ["--day", "2026-01-01", "--output", "s3a://reports/daily"]
    spec = {"file": "s3a://jobs/daily/report.py", "name": f"daily-report-{n}", "args": args, "conf": CONF}
    driver = {"podName": f"batch-{n}-3f2504e04f89-driver", "podUid": f"10000000-0000-4000-8000-{n:012x}"}
    status = {"phase": "Succeeded", "id": n, "appId": f"spark-{n:032x}", "driver": driver}
    kind = {"apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch"}
    return kind | {"metadata": metadata, "spec": spec, "status": status}
