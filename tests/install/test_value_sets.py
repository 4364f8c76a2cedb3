"""Every set of values that a page shows is one that a real API server takes."""

import json

import pytest
import yaml

from conftest import CHART, LOCAL, RELEASE, SYSTEM
from value_sets import ALL

# Kinds of others, of which the local cluster has no definition: any object of them is taken.
OTHERS = {
    "monitoring.coreos.com/v1": ["ServiceMonitor", "PodMonitor", "PrometheusRule"],
    "cert-manager.io/v1": ["Certificate"],
    "gateway.networking.k8s.io/v1": ["HTTPRoute"],
}


def definition(group_version, kind):
    group, version = group_version.split("/")
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    versions = [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Groups of Kubernetes itself need a word of approval.
        "metadata": {"name": f"{plural}.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": versions},
    }


@pytest.fixture(scope="module")
def kinds(cluster):
    definitions = [definition(version, kind) for version, kinds in OTHERS.items() for kind in kinds]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions})
    cluster.kubectl("apply", "--server-side", "-f", "-", text=text)
    cluster.kubectl("wait", "--for", "condition=Established", "--timeout", "60s", "-f", "-", text=text)
    made = []
    yield made
    cluster.kubectl("delete", "-f", "-", text=text)
    for namespace in made:
        cluster.kubectl("delete", "namespace", namespace)


@pytest.mark.parametrize("name", ALL)
def test_the_api_server_takes_it(cluster, kinds, tmp_path, name):
    local, own = tmp_path / "local.json", tmp_path / "values.json"
    local.write_text(json.dumps(LOCAL))
    own.write_text(json.dumps(ALL[name] or {}))
    words = ["template", RELEASE, str(CHART), "--namespace", SYSTEM, "--values", str(local), "--values", str(own)]
    text = cluster.run("helm", *words).stdout
    objects = [each for each in yaml.safe_load_all(text) if each]
    there = {each["metadata"]["name"] for each in cluster.items("namespaces")}
    for namespace in {each["metadata"].get("namespace") for each in objects} - {None} - there:
        cluster.kubectl("create", "namespace", namespace)
        kinds.append(namespace)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", text=text)
