"""As much of an API server as Helm asks before it installs anything: what there is, and a few objects."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESOURCES = {
    "/api/v1": ["ConfigMap", "Namespace", "Secret", "Service", "ServiceAccount"],
    "/apis/apiextensions.k8s.io/v1": ["CustomResourceDefinition"],
    "/apis/apps/v1": ["Deployment"],
    "/apis/autoscaling/v2": ["HorizontalPodAutoscaler"],
    "/apis/cert-manager.io/v1": ["Certificate"],
    "/apis/gateway.networking.k8s.io/v1": ["HTTPRoute"],
    "/apis/monitoring.coreos.com/v1": ["PodMonitor", "PrometheusRule", "ServiceMonitor"],
    "/apis/networking.k8s.io/v1": ["Ingress", "NetworkPolicy"],
    "/apis/policy/v1": ["PodDisruptionBudget"],
    "/apis/rbac.authorization.k8s.io/v1": ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
}
OF_THE_CLUSTER = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}


def _discovery(path, objects):
    if path == "/version":
        return {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [path.removeprefix("/apis/") for path in [*RESOURCES, *objects] if re.fullmatch("/apis/[^/]+/[^/]+", path)]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(each) for each in groups]}
    if path in RESOURCES:
        return _kinds(path, RESOURCES[path])
    return None


def _kinds(path, kinds):
    resources = [
        {"name": _plural(kind), "kind": kind, "namespaced": kind not in OF_THE_CLUSTER, "verbs": ["get"]} for kind in kinds
    ]
    return {"kind": "APIResourceList", "groupVersion": path.split("/", 2)[2], "resources": resources}


def _plural(kind):
    word = kind.lower()
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "ch")) else f"{word}s"


def _group(version):
    version = {"groupVersion": version, "version": version.partition("/")[2]}
    return {"name": version["groupVersion"].partition("/")[0], "versions": [version], "preferredVersion": version}


def _failure(reason, code):
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code}


class Cluster:
    """Serves objects by their paths until closed; `forbidden` is an expression of paths that the caller may not get."""

    def __init__(self, objects, forbidden="nothing"):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                path = self.path.partition("?")[0]
                found = _discovery(path, objects) or objects.get(path)
                if re.fullmatch(forbidden, path):
                    self.answer(403, _failure("Forbidden", 403))
                else:
                    self.answer(200 if found else 404, found or _failure("NotFound", 404))

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # How long it may take to close, in seconds: half of one would be most of a test.
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def kubeconfig(self, folder):
        file = folder / "kubeconfig"
        cluster = {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}
        context = {"name": "fake", "context": {"cluster": "fake", "user": "fake"}}
        whole = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
        file.write_text(json.dumps({**whole, "users": [{"name": "fake"}], "current-context": "fake"}))
        return str(file)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def owned_by(release, namespace):
    """Metadata of what Helm made."""
    annotations = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
    return {"annotations": annotations, "labels": {"app.kubernetes.io/managed-by": "Helm"}}


def namespace(name, **metadata):
    return {f"/api/v1/namespaces/{name}": {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name, **metadata}}}


def secret(name, namespace):
    metadata = {"name": name, "namespace": namespace}
    return {f"/api/v1/namespaces/{namespace}/secrets/{name}": {"kind": "Secret", "apiVersion": "v1", "metadata": metadata}}


def served(*versions):
    """What everybody may ask of a definition: that its kind is served."""
    paths = [f"/apis/sparkbatch.dev/{version}" for version in versions]
    return {path: _kinds(path, ["SparkBatch"]) for path in paths}


def definition(stored=("v1alpha1",), **metadata):
    name = "sparkbatches.sparkbatch.dev"
    whole = {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": name, **metadata},
        "status": {"storedVersions": list(stored)},
    }
    return {f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}": whole, **served(*stored)}
