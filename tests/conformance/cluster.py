"""A namespace in which drivers run the stub in place of Spark. The operator is the cluster's own and does all else."""

import base64
import http.server
import json
import ssl
import subprocess
import threading

from servers import HERE, free_port

NAME = "livy-conformance"
# A driver's pod as the stub needs it: no Spark, no memory to speak of, and gone at once when it is deleted.
COMMAND = ["/bin/bash", "-c", (HERE / "stub.sh").read_text(), "stub"]
PATCH = [
    {"op": "add", "path": "/spec/containers/0/command", "value": COMMAND},
    {"op": "add", "path": "/spec/containers/0/resources", "value": {"requests": {"cpu": "1m", "memory": "16Mi"}}},
    {"op": "add", "path": "/spec/terminationGracePeriodSeconds", "value": 1},
]


class Cluster:
    """Namespaces with that webhook, as long as this lives."""

    def __init__(self, kubectl, folder, namespaces):
        self.kubectl_command, self.folder, self.namespaces = kubectl, folder, namespaces
        self.server = None

    def __enter__(self):
        self.remove()
        self.serve()
        manifests = [self.webhook(), *map(self.namespace, self.namespaces)]
        self.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
        for namespace in self.namespaces:
            self.kubectl("apply", "--namespace", namespace, "-k", str(HERE.parent.parent / "deploy/kustomize/driver"))
        return self

    def __exit__(self, *_):
        self.remove(wait=False)
        if self.server:
            self.server.shutdown()

    def remove(self, wait=True):
        # The webhook last: as long as pods can be made, they are the stub's.
        gone = ["--ignore-not-found", f"--wait={str(wait).lower()}"]
        self.kubectl("delete", "namespace", *gone, *self.namespaces)
        self.kubectl("delete", "mutatingwebhookconfiguration", *gone, NAME)

    def kubectl(self, *arguments, text=None):
        done = subprocess.run([*self.kubectl_command, *arguments], input=text, text=True, capture_output=True)
        if done.returncode:
            raise SystemExit(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def namespace(self, name):
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {NAME: "stub"}}}

    def webhook(self):
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
        certificate = base64.b64encode((self.folder / "webhook.crt").read_bytes()).decode()
        hook = {
            "name": f"{NAME}.sparkbatch.dev",
            "clientConfig": {"url": f"https://127.0.0.1:{self.server.server_port}/", "caBundle": certificate},
            "rules": [rule],
            "namespaceSelector": {"matchLabels": {NAME: "stub"}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
        }
        kind = "MutatingWebhookConfiguration"
        metadata = {"name": NAME}
        return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": metadata, "webhooks": [hook]}

    def serve(self):
        key, certificate = self.folder / "webhook.key", self.folder / "webhook.crt"
        make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        make += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Admission)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Admission(http.server.BaseHTTPRequestHandler):
    """Answers each review of a pod with the patch."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = base64.b64encode(json.dumps(PATCH).encode()).decode()
        response = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
